"""pytest-xdist: the same records whoever runs them, and clear words when workers disagree."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.thoroughness import further

SWEEP = """
import random

import numpy as np
import pytest

SCALE: float = 2.0

@pytest.mark.xdist_group("own")
@experiment.parametrize("a", [1, 2, 3])
@experiment.replicate(2)
def exp_a(e, a: int, b: str = "x"):
    for step in range(3):
        e.track("loss", float(e.rng.random()) * a, step=2 * step)
    e["arrays/squares"] = np.arange(a) ** 2
    e["random"] = random.random()
    e["scaled"] = SCALE * a
    e["seed"] = e.seed
    e.commit_raw("text.txt", f"{a}")
    print("printed", a)
    if a == 2 and e.replicate == 1:
        raise RuntimeError("this one fails")
    if a == 3 and e.replicate == 0:
        pytest.skip("this one skips")

@pytest.mark.xdist_group("other")
@experiment
def exp_single(e):
    e["x"] = 1
"""


def content(lab, archive):
    """What the runs of an archive hold, by experiment and id, without what may differ."""
    from expedition import Archive

    found = {}
    for r in Archive(lab.path / archive).runs():
        found[r.experiment, r.id] = {
            "key": r.key,
            "index": r.index,
            "status": r.status,
            "params": r.params,
            "data": {k: v.tolist() if hasattr(v, "tolist") else v for k, v in r.flat_data.items()},
            "series": {n: (s.step.tolist(), s.value.tolist()) for n, s in r.series.items()},
            "seed": r.seed,
            "log": "printed" in r.log,
            "error": r.error and (r.error.type, r.error.message),
            "reason": r.reason,
            "artifacts": {n: p.read_text() for n, p in r.artifacts.items()},
            "folder": r.path.name if r.id != "exp_single" else ".",
        }
    return found


@pytest.mark.parametrize(
    "distributions", [("load", "loadgroup"), *further(("worksteal", "loadscope", "loadfile"))]
)
def test_every_distribution_gives_the_same_records(lab, distributions):
    lab.experiment(SWEEP)
    lab.run("--archive", "alone").exits(1)
    alone = content(lab, "alone")
    assert len(alone) == 7
    assert sorted(r["status"] for r in alone.values()) == ["done"] * 5 + ["failed", "skipped"]
    for dist in distributions:
        lab.run("-n2", "--dist", dist, "--archive", dist).exits(1).says("1 failed, 5 passed, 1 skipped")
        assert content(lab, dist) == alone, dist
        assert sorted(p.name for p in (lab.path / dist).rglob("trajectory.h5")) == ["trajectory.h5"] * 2
        listed = lab.pytest(
            "--archive-tail", "9", "--archive-select", "status == 'failed'", "--archive", dist
        )
        assert [line for line in listed.exits(0).out.splitlines() if "exp_" in line and "[a=2-rep=1]" in line]


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_the_short_summary_has_the_reasons_of_skips(lab, workers):
    lab.experiment(
        """
        @experiment.parametrize("a", [1, 2, 3])
        def exp_a(e, a: int):
            if a > 1:
                e.skip("too large")
        """
    )
    outcome = lab.run("-ra", *workers).exits(0).says("1 passed, 2 skipped")
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("SKIPPED [2]")]
    assert line.endswith(": too large")


def test_workers_are_recorded_and_threads_shared(lab):
    lab.experiment(
        """
        import os

        @experiment.replicate(4)
        def exp_a(e):
            e["threads"] = os.environ["OMP_NUM_THREADS"]
            e["worker"] = os.environ["PYTEST_XDIST_WORKER"]
            print("said by", e.replicate)
        """
    )
    shown = lab.run("-n2", "-v").exits(0)
    for record in lab.records():
        assert record.meta["process"]["worker"] == record.data["worker"]
        assert record.data["threads"] == "1"
    assert {r.data["worker"] for r in lab.records()} == {"gw0", "gw1"}
    shown.says("exp_a.py::exp_a[rep=3]", "DONE")
    for replicate in range(4):
        assert f"said by {replicate}" in lab.records()[replicate].log


@pytest.mark.skipif(not hasattr(os, "nice"), reason="a matter of POSIX")
def test_workers_are_as_nice_as_the_invocation(lab):
    lab.experiment("import os\n\n@experiment.replicate(2)\ndef exp_a(e): e['nice'] = os.nice(0)")
    command = ["nice", "-n", "3", sys.executable, "-m", "pytest", "--experiments", ".", "-n2"]
    subprocess.run(command, cwd=lab.path, check=True, capture_output=True, timeout=120)
    assert [record.data["nice"] for record in lab.records()] == [min(os.nice(0) + 3, 19)] * 2


def test_workers_that_disagree_are_found_out(lab):
    """Each process imports the file for itself: a sweep that differs is an error, never a false record."""
    lab.experiment(
        """
        import random

        @experiment.parametrize("a", list({str(i) for i in range(50)}))
        @experiment.parametrize("b", random.sample(range(10**9), 2))
        def exp_a(e, a, b):
            e["a"] = a, b
        """
    )
    outcome = lab.spawn("--experiments", ".", "-n2", PYTHONHASHSEED="random")
    outcome.exits(1).says("Different tests were collected")
    assert lab.records() == []


def test_workers_that_agree_with_each_other_only(lab):
    """Ids that are equal everywhere, but a constant which differs: the keys of the manifest find it out."""
    lab.experiment(
        """
        import os

        PROCESS = int("PYTEST_XDIST_WORKER" in os.environ)

        @experiment.parametrize("a", [1, 2])
        def exp_a(e, a):
            e["a"] = a
        """
    )
    lab.run("-n2").exits(1).says("parameters differ between", "deterministic")
    assert not [r for r in lab.records() if r.status == "done"]


def test_maxfail_and_interrupted_runs(lab):
    lab.experiment(
        """
        import time

        @experiment.parametrize("a", list(range(12)))
        def exp_a(e, a: int):
            e["a"] = a
            assert a != 0
            time.sleep(0.3)  # longer than it takes to hear of the failure
        """
    )
    outcome = lab.run("-n2", "-x")
    assert outcome.code == 2
    outcome.says("did not finish; --resume goes on")
    assert {r.status for r in lab.records()} == {"done", "failed"}
    lab.run("--resume", "--deselect", "exp_a.py::exp_a[a=0]").exits(0)
    assert [r.status for r in lab.records()] == ["failed"] + ["done"] * 11
