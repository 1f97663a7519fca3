"""A sweep that was resumed, however often and after whatever, equals one that ran through at once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from expedition import Trajectory
from tests.thoroughness import further

from .laboratory import Laboratory

EXPERIMENT = """
import os
import shutil
import signal
from pathlib import Path

import numpy as np
from child import exp_child
from expedition import experiment
from helper import count, shift
from one.util import low
from two.util import high

here = str(Path(__file__).parent)
marks = {{object(), shift}}

@experiment.parametrize("a", {values})
@experiment.replicate(2)
def exp_a(e, a: int = 0, scale: float = 1.0):
    @e.cache.cached("load")
    def load():
        return int(e.input("cached.txt").read_text())

    assert shift in marks
    e["x"] = shift(a) * scale + float(e.input("offset.txt").read_text())
    e["of_files"] = [low(), high(), count("aabbcc"), load()]
    if a:
        import lazy
        e["lazy"] = lazy.value(a)
    e["child"] = e.run_child(exp_child, n=a).data["y"]
    e["vector"] = np.arange(3) + a
    e.derived("twice", 2 * a)
    for step in range(3):
        e.track("loss", e.rng.random() + step)
    if a == int(os.environ.get("EDITOR", -1)):
        edited = Path(os.environ["NEXT"])
        for file in edited.rglob("*.*"):
            copy = shutil.copy(file, Path(os.environ["SIDE"]) / f"{{file.name}}-{{os.getpid()}}")
            os.replace(copy, Path(here) / file.relative_to(edited))
    if a == int(os.environ.get("BAD", -1)):
        raise ValueError(f"bad {{a}}")
    if a == int(os.environ.get("DEAD", -1)):
        os.kill(os.getpid(), signal.SIGKILL)
"""
READER = """
import pytest
from expedition import experiment

{mark}
@experiment
def exp_b(e, results):
    e["sum"] = sum(run.data["x"] for run in results("exp_a", where="a < 2", sweep="all"))
"""
HELPER = """
import re

letters = re.compile("[{letters}]")

def shift(a):
    return a + {by}

def count(text):
    return len(letters.findall(text))
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

EDITS = [
    ("grow", "code", "lazy", "seed", "child", "cached"),
    ("shrink", "stem", "mark", "constant", "input", "reorder"),
]
"""What is edited between the invocations on one sweep, in any order: one thing at a time, so that it counts alone."""
WHILE_IT_RUNS = {"code", "lazy", "stem", "child", "constant", "input", "cached"}
"""What a worker may find edited that takes the place of one that died."""


class Project:
    """The files of an experiment, edited from step to step."""

    def __init__(self) -> None:
        self.values = [0, 1, 2]
        self.by = self.high = self.lazy = self.child = self.offset = self.cached = self.seed = 0
        self.letters = "a"
        self.mark = ""

    def write(self, to: Path) -> None:
        files = {
            "pytest.ini": f"[pytest]\nexperiment_archive = results\nexperiment_seed = {self.seed}\n",
            "exp_a.py": EXPERIMENT.format(values=self.values),
            "exp_b.py": READER.format(mark=self.mark),
            "helper.py": HELPER.format(by=self.by, letters=self.letters),
            "one/util.py": "limit = 1\n\ndef low():\n    return limit\n",
            "two/util.py": f"limit = {self.high}\n\ndef high():\n    return limit\n",
            "lazy.py": f"def value(a):\n    return a + {self.lazy}\n",
            "child.py": "from expedition import experiment\n\n@experiment\ndef exp_child(e, n: int = 0):\n"
            f"    e['y'] = n + {self.child}\n",
            "offset.txt": str(self.offset),
            "cached.txt": str(self.cached),
        }
        for name, text in files.items():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_text(text, encoding="utf-8")

    def edit(self, what: str, chance: random.Random) -> None:
        if what == "grow":
            self.values.insert(chance.randrange(len(self.values) + 1), max(self.values) + 1)
        elif what == "shrink":
            self.values.remove(2)
        elif what == "reorder":
            self.values.reverse()
        elif what == "code":
            self.by += 1
        elif what == "constant":
            self.letters = "ab"
        elif what == "stem":
            self.high += 1
        elif what == "input":
            self.offset += 1
        elif what == "mark":
            self.mark = ""
        else:
            setattr(self, what, getattr(self, what) + 1)


def columns(folder: Any) -> dict[str, dict[str, Any]]:
    """What the trajectory tells of every run, by run key: all columns and series but those of the attempt."""
    with Trajectory.open(folder) as trajectory:
        frame = trajectory.to_pandas()
        names = [n for n in frame.columns if n.rpartition("/")[2].rpartition(".")[2] not in OWN_OF_AN_ATTEMPT]
        found = {}
        for position, key in enumerate(trajectory.runs.key.values):
            row = {name: repr(frame[name].iloc[position]) for name in names}
            if "loss" in trajectory.series:
                steps, _, values = trajectory.series["loss"][position]
                row["loss"] = list(steps), list(values)
            found[str(key)] = row
        return found


def sweeps(lab: Laboratory) -> dict[str, Path]:
    return {sweep.name: sweep.path for sweep in lab.archive.sweeps()}


@pytest.mark.parametrize("seed", [0, *further(*range(1, len(EDITS)))])
def test_a_resumed_sweep_equals_an_uninterrupted_one(tmp_path, seed) -> None:
    chance = random.Random(seed)
    lab = Laboratory(tmp_path / "resumed")
    project = Project()
    edits = chance.sample(EDITS[seed], len(EDITS[seed]))
    # At that one a worker dies in any case, and another one goes on with what was edited meanwhile.
    first = next(what for what in edits if what in WHILE_IT_RUNS)
    if "mark" in edits:
        project.mark = "@pytest.mark.skip"
    project.write(lab.path)
    history: list[Any] = []
    lab.run(*chance.choice([(), ("-n", "2")]), **{chance.choice(["BAD", "DEAD"]): str(chance.choice([0, 1]))})
    for what in edits:
        project.edit(what, chance)
        fate = {chance.choice(["BAD", "DEAD", "NONE"]): str(chance.choice(project.values))}
        options = ["--resume", *chance.choice([(), (), ("-n", "2")])]
        if what == first or (what in WHILE_IT_RUNS and chance.random() < 0.3):
            if what == first:
                options, fate = ["--resume", "-n", "2"], {"DEAD": str(chance.choice(project.values))}
            project.write(tmp_path / "next")
            fate |= {"EDITOR": str(chance.choice(project.values)), "NEXT": str(tmp_path / "next")}
            options.append("--force")
        else:
            project.write(lab.path)
        history.append((what, options, fate))
        lab.run(*options, **fate)
        project.write(lab.path)
    for _ in range(4):  # what reads the runs of another sweep has its turn when these are complete
        final = lab.run("--resume")
        if final.text.count("nothing to do") == 2:
            break
    assert final.exits(0).text.count("nothing to do") == 2, (history, final.text)

    other = Laboratory(tmp_path / "whole")
    project.write(other.path)
    other.run().exits(0)

    for name, whole in sweeps(other).items():
        expected, resumed = columns(whole), columns(sweeps(lab)[name])
        assert len(expected) == (2 * len(project.values) if name == "exp_a" else 1)
        assert {key: resumed[key] for key in expected} == expected, history
        of_whole = {record.key: record for record in other.archive.runs(f"experiment == '{name}'")}
        for record in lab.archive.runs(f"experiment == '{name}'"):
            if record.key in of_whole:
                assert record.code == of_whole[record.key].code, history
