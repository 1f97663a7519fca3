"""What a program and the pytest that it started tell each other: parameters one way, sweep folders the other.

Both are files in a folder that an environment variable names; it is gone when the program has its records.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from expedition.authoring.overrides import Override
from expedition.errors import ExperimentError, UnstorableError
from expedition.recording.journal import Journal, read_journal
from expedition.values import dumps, encode

VARIABLE = "EXPEDITION_LAUNCH"
ORIGIN = "expedition.run"
"""Where a parameter that a program gave has its value from."""

_FOLDER = pytest.StashKey[str | None]()
_INPUT = "expedition_launch"
_PARAMETERS = "params.json"
_SWEEPS = "sweeps.jsonl"


def write_parameters(folder: Path, params: Mapping[str, Any]) -> None:
    """Note the values that a program gives to parameters, exactly.

    Raises `ExperimentError` for a name that is no text, and for a value that cannot be stored.
    """
    tagged = {}
    for name, value in params.items():
        if not isinstance(name, str) or not name:
            raise ExperimentError(f"params maps names of parameters to values, but got the name {name!r}")
        try:
            tagged[name] = encode(value, name=name)
        except UnstorableError as error:
            raise ExperimentError(f"params: {error}") from None
    (folder / _PARAMETERS).write_text(dumps(tagged), encoding="utf-8")


def take_over(config: pytest.Config) -> None:
    """In a pytest that a program started, take note of it; what the runs start is not meant by it any more."""
    worker = getattr(config, "workerinput", None)
    config.stash[_FOLDER] = os.environ.pop(VARIABLE, None) if worker is None else worker[_INPUT]


def pass_on(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Let a worker of pytest-xdist know what this process took note of."""
    workerinput[_INPUT] = config.stash[_FOLDER]


def read_overrides(config: pytest.Config) -> list[Override]:
    """Return the values that the program which started this pytest gives to parameters."""
    folder = config.stash.get(_FOLDER, None)
    if folder is None:
        return []
    tagged = json.loads((Path(folder) / _PARAMETERS).read_text(encoding="utf-8"))
    found = []
    for key, tree in tagged.items():
        experiment, _, name = key.rpartition(":")
        found.append(Override(experiment or None, name, ORIGIN, value=tree, form="tagged"))
    return found


def tell_sweep(config: pytest.Config, node: str, sweep: Path, keys: Collection[str]) -> None:
    """Tell the program where the runs of an experiment are: the last word on each `node` counts.

    `keys` are the run keys of its present design; the folder may have others.
    """
    folder = config.stash.get(_FOLDER, None)
    if folder is None:
        return
    journal = Journal(Path(folder) / _SWEEPS)
    journal.write(json.dumps({"node": node, "sweep": str(sweep), "keys": sorted(keys)}))
    journal.close()


def told_sweeps(folder: Path) -> list[tuple[Path, frozenset[str]]]:
    """Return the sweep folders that a pytest told of, with the run keys that it meant, in the order of the design."""
    told = {
        line["node"]: (Path(line["sweep"]), frozenset(line["keys"]))
        for line in read_journal(folder / _SWEEPS)
    }
    return list(told.values())
