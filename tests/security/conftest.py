"""A small archive with everything that can stand in one, for all tests of reading what is hostile."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from expedition.cli.main import main as expedition
from tests.durability.laboratory import Laboratory
from tests.plugin.conftest import lab  # noqa: F401 - a fixture

EXPERIMENT = '''
"""Everything that a file of an archive can say."""
import os
import signal
import numpy as np
import pandas as pd
from PIL import Image
from datetime import datetime, UTC
from fractions import Fraction
from expedition import Secret, experiment
from exp_child import exp_child

SIZE: int = 3  # how many
KEY: Secret[str] = "a-secret-of-the-suite"

@experiment(tags=["paper"])
@experiment.parametrize("alpha", [0.1, 1.0])  # and 2.0 later
def exp_all(e, alpha: float = 1.0, kind: str = "a"):
    """Records everything that can be recorded."""
    print("hello", alpha)
    e["scores/mean"] = alpha / 2
    e["scores/all"] = [alpha, None, (1, 2), {"a": {1, 2}}]
    e["array"] = np.arange(600.0) * alpha
    e["small"] = np.arange(6, dtype="i4").reshape(2, 3)
    e["frame"] = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    e["masked"] = np.ma.masked_array([1.0, 2.0], [True, False])
    e["when"] = datetime(2026, 1, 2, tzinfo=UTC)
    e["part"] = Fraction(1, 3)
    e["odd"] = [1 + 2j, b"bytes", float("nan"), 2**80]
    for i in range(4):
        e.track("fold/rmse", alpha * i)
        e.track("field", np.full(200, i * alpha))
    e.track("picture", Image.new("L", (2, 2), int(alpha)))
    e.commit("notes/a.txt", "text")
    if alpha > 1:
        file = e.open("unfinished.txt", "w")
        print("half of", file=file, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    e.annotate("scores/mean", "mean score", unit="m")
    e.derived("double", 2 * alpha)
    e.tag(f"kind-{kind}")
    e.note("noted")
    e.run_child(exp_child, depth=2)
    assert alpha < 1, "too large"

@experiment.after_sweep
def summed(sweep, e):
    e["total"] = 3
'''

CHILD = """
from expedition import experiment

@experiment
def exp_child(e, depth: int = 1):
    e["x"] = depth
    e.track("inner", depth)
"""


def make_archive(folder: Path) -> None:
    """Run a sweep of two runs with a child and a summary, then another of which one run is deleted.

    The first sweep grows, the run that failed is tried again, and the new one dies with an artifact open.
    """
    project = Laboratory(folder / "lab")
    project.write("exp_all.py", EXPERIMENT)
    project.write("exp_child.py", CHILD)
    project.pytest("--experiments", "exp_all.py", "--note", "from the command line", "--tag", "cli").exits(1)
    project.write("exp_all.py", EXPERIMENT.replace("1.0])  # and 2.0 later", "1.0, 2.0])"))
    project.pytest("--experiments", "exp_all.py", "--resume", "--ignore-code").exits(-signal.SIGKILL)
    for depth in (1, 3):
        project.pytest("--experiments", "exp_child.py", "-P", f"depth={depth}").exits(0)
    for words in (
        ("delete", "--select", "depth == 3", "--yes"),
        ("modify", "set data.scores.mean=0.3", "--select", "alpha == 0.1", "--yes"),
        ("list",),
    ):
        assert expedition(["archive", *words, "--archive", str(folder / "lab" / "results")]) == 0


@pytest.fixture(scope="session")
def small(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The archive root; nobody may change it."""
    return made_once("hostile", make_archive) / "lab" / "results"


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    """A project folder whose commands run in processes of their own."""
    return Laboratory(tmp_path / "laboratory")
