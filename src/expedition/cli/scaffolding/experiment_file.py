"""The text of a new experiment file."""

from __future__ import annotations

from expedition.cli.scaffolding.literals import docstring

_TEXT = """{docstring}

from expedition import experiment

STEPS: int = 20  # how many steps a run takes


@experiment.parametrize("rate", [0.1, 0.5])
@experiment.replicate(2)
def {function}(e, rate: float = 0.1):
    value = 1.0
    for _ in range(STEPS):
        value *= 1 - rate * e.rng.random()
        e.track("value", value)
    e["value/last"] = value
    e.commit_json("summary.json", {{"rate": rate, "value": value}})
    assert value <= 1  # acceptance criterion


@experiment.testing
def in_testing_mode():
    return {{"STEPS": 2}}


experiment.main()
"""


def experiment_text(function: str, description: str) -> str:
    """Return the text of an experiment file whose function is called `function`."""
    return _TEXT.format(docstring=docstring(description or "What is tried, and why."), function=function)
