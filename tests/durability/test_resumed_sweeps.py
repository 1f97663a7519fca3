"""A sweep that was resumed, however often and after whatever, equals one that ran through at once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from expedition import Trajectory

from .laboratory import Laboratory

EXPERIMENT = """
import os
import signal
import numpy as np
from expedition import experiment
from helper import shift

@experiment.parametrize("a", {values})
@experiment.replicate(2)
def exp_a(e, a: int = 0, scale: float = 1.0):
    offset = e.input("offset.txt").read_text()
    e["x"] = shift(a) * scale + float(offset)
    e["vector"] = np.arange(3) + a
    e.derived("twice", 2 * a)
    for step in range(3):
        e.track("loss", e.rng.random() + step)
    if str(a) in os.environ.get("BAD", "").split(","):
        raise ValueError(f"bad {{a}}")
    if str(a) in os.environ.get("DEAD", "").split(","):
        os.kill(os.getpid(), signal.SIGKILL)
"""
OWN_OF_AN_ATTEMPT = {
    "start",
    "stop",
    "duration",
    "worker",
    "attempt",
    "folder",
    "run",
    "index",
    "host",
    "pid",
}
"""Columns that tell when, where and how often a run was made, and at which place of the sweep it stands."""


class Project:
    """The files of an experiment, edited from step to step."""

    def __init__(self, lab: Laboratory, chance: random.Random) -> None:
        self.lab, self.chance = lab, chance
        self.values = [0, 1, 2]
        self.by, self.offset = 0, 0
        self.write()

    def write(self) -> None:
        self.lab.write("exp_a.py", EXPERIMENT.format(values=self.values))
        self.lab.write("helper.py", f"def shift(a):\n    return a + {self.by}\n")
        self.lab.write("offset.txt", str(self.offset))

    def edit(self) -> str:
        what = self.chance.choice(["grow", "shrink", "reorder", "code", "input", "nothing"])
        if what == "grow":
            self.values.insert(self.chance.randrange(len(self.values) + 1), max(self.values) + 1)
        elif what == "shrink" and len(self.values) > 2:
            self.values.remove(self.chance.choice(self.values))
        elif what == "reorder":
            self.chance.shuffle(self.values)
        elif what == "code":
            self.by += 1
        elif what == "input":
            self.offset += 1
        self.write()
        return what


def columns(folder: Any) -> dict[str, dict[str, Any]]:
    """What the trajectory tells of every run, by run key: all columns and series but those of the attempt."""
    with Trajectory.open(folder) as trajectory:
        frame = trajectory.to_pandas()
        names = [n for n in frame.columns if n.rpartition("/")[2].rpartition(".")[2] not in OWN_OF_AN_ATTEMPT]
        found = {}
        for position, key in enumerate(trajectory.runs.key.values):
            row = {name: repr(frame[name].iloc[position]) for name in names}
            steps, _, values = trajectory.series["loss"][position]
            found[str(key)] = row | {"loss": (list(steps), list(values))}
        return found


@pytest.mark.parametrize("seed", range(3))
def test_a_resumed_sweep_equals_an_uninterrupted_one(tmp_path, seed) -> None:
    chance = random.Random(seed)
    lab = Laboratory(tmp_path / "resumed")
    project = Project(lab, chance)
    history = []
    lab.run(
        *chance.choice([(), ("-n", "2")]), **{chance.choice(["BAD", "DEAD"]): str(chance.choice([0, 1, 2]))}
    )
    for _ in range(3):
        what = project.edit()
        fate, value = chance.choice(["BAD", "DEAD", "NONE"]), str(chance.choice(project.values))
        workers = chance.choice([(), ("-n", "2")])
        history.append((what, fate, value, workers))
        lab.run("--resume", *workers, **{fate: value})
    final = lab.run("--resume").exits(0)
    lab.run("--resume").exits(0)

    other = Laboratory(tmp_path / "whole")
    whole = Project(other, chance)
    whole.values, whole.by, whole.offset = project.values, project.by, project.offset
    whole.write()
    other.run().exits(0)

    expected = columns(other.sweep())
    resumed = columns(lab.sweep())
    assert len(expected) == 2 * len(project.values), final.text
    assert {key: resumed[key] for key in expected} == expected, history
    assert {record.code for record in lab.archive.runs() if record.key in expected} == {
        record.code for record in other.archive.runs()
    }
