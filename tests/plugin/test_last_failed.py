"""``--lf``, ``--ff`` and ``--nf``: the archive knows which runs failed."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.thoroughness import further

SWEEP = """
import os
from pathlib import Path

BAD: list[int] = [1, 3]

@experiment.parametrize("a", [0, 1, 2, 3])
def exp_a(e, a: int, b: float = 0.5):
    with open(Path(e.sweep_path) / "order.txt", "a") as stream:
        stream.write(f"{a}\\n")
    bad = Path(__file__).with_name("bad.txt").read_text().split()
    if f"x{a}" in bad:
        os._exit(3)
    assert str(a) not in bad
"""


@pytest.fixture
def failing(lab):
    """A sweep of four runs of which 1 and 3 failed; which runs fail is no parameter."""
    lab.experiment(SWEEP.replace("BAD: list[int] = [1, 3]\n", ""))
    lab.file("bad.txt", "1 3")
    lab.run("-q").exits(1)
    return lab


def ran(lab):
    """Which runs the latest sweep has, in the order in which they began."""
    sweep = max((path for path in lab.sweeps() if path.name != "debug"), key=lambda path: path.name)
    return [int(line) for line in (sweep / "order.txt").read_text().split()]


@pytest.mark.parametrize("options", [(), *further(("-n2",))])
def test_only_what_failed_runs_again(failing, options):
    failing.run("--lf", *options).exits(1).says("run-last-failure: rerun previous 2 failures", "2 failed")
    assert sorted(ran(failing)) == [1, 3]
    newest = max(failing.sweeps(), key=lambda path: path.name)
    assert len(json.loads((newest / "sweep.json").read_bytes())["runs"]) == 4
    failing.file("bad.txt", "3")
    failing.run("--lf", *options).exits(1).says("rerun previous 2 failures", "1 failed, 1 passed")
    failing.run("--lf", *options).exits(1).says("rerun previous 1 failure", "1 failed", "3 deselected")
    failing.file("bad.txt")
    failing.run("--lf", *options).exits(0).says("rerun previous 1 failure", "1 passed")
    failing.run("--lf", *options).exits(0).says(
        "run-last-failure: no previously failed runs, not deselecting items.", "4 passed"
    )
    failing.run("--lf", "--lfnf", "none", *options).exits(5).says("deselecting all items.")


@pytest.mark.parametrize("how", ["cleared", "gone", "without", "copied"])
def test_it_needs_no_cache(failing, how):
    if how == "cleared":
        failing.run("--lf", "--cache-clear").exits(1).says("rerun previous 2 failures")
        return
    shutil.rmtree(failing.path / ".pytest_cache", ignore_errors=True)
    if how == "without":
        shutil.rmtree(failing.path / "results")
        failing.run("-q", "-p", "no:cacheprovider").exits(1)
    if how == "copied":
        shutil.move(failing.path / "results", failing.path / "kept")
        failing.run("--lf", "--archive", "kept").exits(1).says("rerun previous 2 failures")
        return
    failing.run("--lf").exits(1).says("rerun previous 2 failures")


def test_runs_whose_worker_died_count(failing):
    failing.file("bad.txt", "x2")
    failing.spawn("--experiments", ".", "-n2", "-q").exits(1)
    failing.file("bad.txt")
    failing.run("--lf").exits(0).says("rerun previous 1 failure")
    assert ran(failing) == [2]


@pytest.mark.parametrize("options", [(), ("-n1",)])
def test_failed_first(failing, options):
    failing.file("bad.txt")
    failing.run("--ff", *options).exits(0).says(
        "run-last-failure: rerun previous 2 failures first", "4 passed"
    )
    assert ran(failing) == [1, 3, 0, 2]


@pytest.mark.parametrize("options", [(), *further(("-n1",))])
def test_new_first(failing, options):
    failing.file("bad.txt")
    file = failing.path / "exp_a.py"
    failing.file("exp_a.py", file.read_text().replace("[0, 1, 2, 3]", "[0, 1, 2, 3, 4, 5]"))
    failing.run("--nf", *options).exits(0).omits("run-last-failure")
    assert ran(failing) == [4, 5, 0, 1, 2, 3]


def test_a_run_is_known_by_its_parameters(failing):
    failing.file("bad.txt")
    # With another value of b it is another run, though it goes by the same name.
    failing.run("-q", "-P", "b=2").exits(0)
    failing.run("--lf", "--collect-only", "-q", "-P", "b=2").exits(0)
    assert failing.run("--lf", "--collect-only", "-q").ids() == [f"exp_a.py::exp_a[a={a}]" for a in (1, 3)]
    assert len(failing.run("--lf", "--collect-only", "-q", "-P", "b=2").ids()) == 4


def test_other_options_select_before(failing):
    failing.run("--lf", "--where", "a < 2").exits(1).says("rerun previous 1 failure")
    assert ran(failing) == [1]
    failing.run("--lf", "--where", "a == 0", "--collect-only").says("2 known failures not in selected runs")


def test_the_latest_of_a_sweep_that_was_resumed_counts(failing):
    first = failing.sweeps()[0]
    failing.run("-q", "--lf").exits(1)
    newest = max(failing.sweeps(), key=lambda path: path.name)
    shutil.move(newest, failing.path / "aside")
    failing.file("bad.txt")
    failing.run("-q", "--resume").exits(0)
    shutil.move(failing.path / "aside", newest)
    assert first.name < newest.name
    failing.run("--lf").exits(0).says("no previously failed runs")


def test_past_runs_count_too(failing):
    failing.file("bad.txt")
    failing.run("-q", "--archive-select", "status == 'failed'").exits(0)
    failing.run("--lf").exits(0).says("no previously failed runs")


def test_testing_mode_and_debug_runs_are_apart(failing):
    failing.file("bad.txt", "0")
    failing.run("-q", "--testing").exits(1)
    failing.run("-q", "--debug-run").exits(1)
    failing.file("bad.txt")
    assert failing.run("--lf", "--collect-only", "-q").ids() == [f"exp_a.py::exp_a[a={a}]" for a in (1, 3)]
    failing.run("--lf", "--testing").exits(0).says("rerun previous 1 failure")
    assert ran(failing) == [0]


def test_tests_keep_theirs(failing):
    failing.file("test_b.py", "def test_b():\n    assert False\n")
    failing.pytest("test_b.py").exits(1)
    failing.run("-q").exits(1)
    failing.pytest("--lf", "test_b.py").exits(1).says("rerun previous 1 failure")
    failing.run("--lf").exits(1).says("rerun previous 2 failures")
