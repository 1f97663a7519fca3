"""A project whose archive has everything that can stand in one: for the tests of the format."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from expedition import Archive, Trajectory
from expedition.archive.rows import RunRow
from expedition.plugin.acting.deletion import plan_deletion
from expedition.plugin.acting.modification import plan_modification
from expedition.plugin.acting.restoration import plan_restoration
from expedition.sweeps import points
from tests.durability.laboratory import Laboratory

VALUES = '''
"""Every form of value, every kind of event, and every end."""
import dataclasses, datetime, decimal, enum, fractions, os, pathlib, signal, uuid
import numpy as np
import pandas as pd
import pytest
from collections import OrderedDict
from expedition import Secret, experiment
from exp_child import exp_child

API_KEY: Secret[str] = "sk-1234567890"  # opens the door
SIZE: int = 3
SHAPE: tuple[int, ...] = (1, 2)
EMPTY = object()

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int

@experiment.testing
def small(e):
    e.SIZE = 1

@experiment.analysis
def look(record):
    return record.status

@experiment.hook("words", replace=False)
def words(e):
    """Gives words."""
    return ["a", "ü"]

@experiment(tags=["paper"])
@experiment.parametrize("x", [0, 1, 2, 3, 4, 5])
@experiment.replicate(2, paired=True)
def exp_values(e, x: int = 0, name: str = "é"):
    """Records everything."""
    print("hello")
    e["words"] = e.apply_hook("words")
    e["deep/er/x"] = x
    e["empty"] = {}
    e["no group"] = {"a/b": 1, "$": 2}
    e["big"] = 2 ** 80
    e["odd"] = [float("nan"), float("-inf"), 1j, (1, None), {2}, frozenset([3]), b"x", bytearray(b"y"), "\\ud800"]
    e["standard"] = [
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.date(2026, 1, 1), datetime.time(1, 2),
        datetime.timedelta(1), decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=5),
        pathlib.PurePosixPath("a/b"), range(3), slice(1, None), OrderedDict(a=1), {1: 2},
    ]
    e["objects"] = [Color.RED, Point(1)]
    e["numpy"] = [np.float32(1.5), np.int64(3), np.datetime64("2026-01-01", "ns"), np.complex64(1j), np.longdouble(1)]
    e["array"] = np.arange(600.0)
    e["small"] = np.zeros((2, 0, 3), dtype=[("a", "<i4"), ("b", "<f8")])
    e["masked"] = [np.ma.masked_equal(np.arange(3), 1), np.ma.masked]
    e["masked large"] = np.ma.masked_equal(np.arange(400), 1)
    import scipy.sparse
    e["sparse"] = scipy.sparse.eye(40, format="csr")
    e["sparse block"] = scipy.sparse.bsr_matrix(np.eye(4), blocksize=(2, 2))
    e["frame"] = pd.DataFrame({"a": range(300), "b": np.linspace(0, 1, 300)})
    e["column"] = pd.Series([1.0, 2.0], name="c")
    e["pandas"] = [pd.Timestamp("2026-01-01", tz="UTC"), pd.Timedelta("1h"), pd.NaT, pd.NA, pd.Index(["a"])]
    e["gone"] = 1
    del e["gone"]
    for i in range(3):
        e.track("fold/loss", x / (i + 1))
        e.track("field", np.full(200, i))
        e.track("little", np.full(2, i))
        if x == e.replicate == 0:
            e.track("picture", picture())
    e.commit("notes/ä.txt", "text")
    e.commit_json("a.json", {"a": 1})
    e.commit_array("a.npy", np.arange(3))
    with e.open("log.txt", "w") as file:
        file.write("written")
    e.annotate("deep/er/x", "how deep", unit="m")
    e.derived("twice", 2 * x)
    e.derived("grid", np.arange(300))
    e.tag("mine")
    e.note("noted")
    e.rng.random()
    if e.replicate == 0:
        e["child"] = e.run_child(exp_child, DEPTH=2).data["y"]
    if x == 1:
        e.skip("too odd")
    if x == 2:
        pytest.xfail("known")
    if x == 3:
        e.prune()
    assert x != 4, "four"
    if x == 5 and not os.path.exists(os.path.join(os.environ["SIDE"], "survive")):
        os.kill(os.getpid(), signal.SIGKILL)

def picture():
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(1, 1))
    axes.plot([0, 1])
    return figure
'''
CHILD = """
from expedition import experiment
DEPTH: int = 1

@experiment
def exp_child(e):
    e["y"] = DEPTH
    if DEPTH > 1:
        e.run_child(exp_child, DEPTH=DEPTH - 1)
"""
GROWING = """
from expedition import experiment

__VERSION__ = "1.2"

@experiment.parametrize("x", [1.0, 2.0])
def exp_growing(e, x: float = 0.0, steps: int = 3):
    e["y"] = x * steps

@experiment.after_sweep
def refine(traj, e):
    e["best"] = float(max(traj.collect("y")))
    e.track("n", len(traj))
    if len(traj) < 5:
        return [{"x": float(len(traj) + 1)}]
"""
PAPER = """
import os
from expedition import experiment

@experiment
def exp_paper(e, results):
    e["best"] = max(run.data["y"] for run in results("exp_growing", sweep="all"))

@experiment.parametrize("n", [1, 2])
def exp_dying(e, n: int = 0):
    e["n"] = n
    with e.open("open.txt", "w") as file:
        file.write("begun")
        file.flush()
        os._exit(3)
"""
CONFIG = """
extend: exp_growing.py
name: wide
parameters: {steps: 4}
sweep:
  random: {n: 2, seed: 1, x: {uniform: [0.0, 1.0]}}
"""


def make_wide(lab: Laboratory) -> None:
    """Fill the archive of `lab`: with sweeps of all kinds, a crash, a resume, points added, debug and testing runs."""
    lab.write("exp_values.py", VALUES)
    lab.write("exp_child.py", CHILD)
    lab.write("deep/exp_growing.py", GROWING)
    lab.write("deep/exp_wide.yml", CONFIG)
    lab.write(".gitignore", "results\nside\n")
    if shutil.which("git"):
        for command in ("init -q", "add exp_child.py", "-c user.name=n -c user.email=e@x commit -q -m first"):
            subprocess.run(["git", *command.split(" ")], cwd=lab.path, check=True)
    killed = lab.run("-n", 2, "--where", "x < 5 or rep == 1", "--tag", "cli", "--note", "said")
    assert killed.code != 0, killed.text
    (lab.side / "survive").touch()
    grown = next(sweep.path for sweep in lab.archive.sweeps() if sweep.name == "exp_growing")
    with Trajectory.open(grown) as traj:
        traj.expand(points([{"x": 9.0}]))
        traj.annotate("results/y", comment="product", unit="m")
        traj.link("best", "results/y")
        traj.link("gone", "results/y")
        traj.unlink("gone")
    lab.run("--resume", "-P", "SIZE=3").exits(1)
    lab.write("deep/exp_growing.py", GROWING.replace("steps: int = 3", "steps: int = 5, extra: str = 'new'"))
    lab.pytest("--experiments", "deep/exp_growing.py", "--resume", "-k", "1.0").exits(0)
    lab.pytest("--experiments", "exp_child.py", "--debug-run").exits(0)
    lab.pytest(
        "--experiments", "exp_values.py", "--testing", "--where", "x == 0 and rep == 1", "--run-prefix", "try"
    ).exits(0)
    lab.pytest("--experiments", "deep/exp_growing.py", "--archive-select", "x == 2.0 and steps == 3").exits(0)
    lab.write("late/exp_paper.py", PAPER)
    lab.pytest("--experiments", "late/exp_paper.py::exp_paper").exits(0)
    assert lab.pytest("--experiments", "late/exp_paper.py::exp_dying").code == 3
    _change(lab.path / "results")


def _change(root: Path) -> None:
    """Edit runs of all kinds, one that died among them; delete one, and another that is brought back."""

    def rows(select: str) -> list[RunRow]:
        return list(Archive(root).rows(select))

    operations = [
        "rename params.steps=rounds",
        "set data.y=1.5",
        "rename data.y=data.why",
        "tag edited",
        "note 'ä'",
    ]
    for select, wanted in (("experiment == 'exp_growing' and x < 3", operations), ("n == 1", ["tag died"])):
        action = plan_modification(root, rows(select), wanted)
        assert list(action.apply())
        assert not action.problems, action.problems
    for select in ("experiment == 'exp_growing' and x == 4.0", "experiment == 'exp_growing' and x == 5.0"):
        assert list(plan_deletion(root, rows(select)[:1]).apply())
    assert list(plan_restoration(root).apply())
    assert list(plan_deletion(root, rows("experiment == 'exp_growing' and x == 4.0")[:1]).apply())
