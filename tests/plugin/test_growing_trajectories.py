"""The harness keeps a trajectory up to date by what is new; the file is what a whole compile gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition import Trajectory
from tests.durability.laboratory import Laboratory
from tests.thoroughness import further
from tests.trajectory.growing import steps, update_and_compare

EXPERIMENT = """
import os, time
import numpy as np
from pathlib import Path
from expedition import experiment

@experiment.parametrize("x", range({runs}))
def exp_grown(e, x: int = 0, name: str = "mnist"):
    e["half"] = x / 2
    e["text"] = f"run {{x}}"
    e["field"] = np.full(5, x)
    for step in range(3):
        e.track("loss", x + step / 4)
    e.annotate("half", unit="m")
    time.sleep({pause})
    assert x != 3 or Path(os.environ["SIDE"], "mended").exists()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")


@pytest.mark.parametrize("workers", [0, *further(2)])
def test_a_resume_extends_what_the_first_invocation_wrote(lab: Laboratory, workers: int) -> None:
    lab.write("exp_grown.py", EXPERIMENT.format(runs=8, pause=0))
    lab.run("-n", workers, "-k", "not 5").exits(1)
    sweep = lab.sweep()
    assert steps(sweep) == 0
    (lab.side / "mended").touch()
    lab.run("-n", workers, "--resume").exits(0)
    assert steps(sweep) == 1
    assert update_and_compare(sweep) == 1
    lab.write("exp_grown.py", EXPERIMENT.format(runs=12, pause=0))
    lab.run("-n", workers, "--resume").exits(0)
    assert steps(sweep) == 2
    assert update_and_compare(sweep) == 2
    with Trajectory.open(sweep) as traj:
        assert sorted(run.res.half for run in traj) == [x / 2 for x in range(12)]
        assert [run.attempt for run in traj][3] == 1
        assert traj[3].series.loss.value.tolist() == [3, 3.25, 3.5]


def test_snapshots_build_on_each_other(lab: Laboratory) -> None:
    lab.write("exp_grown.py", EXPERIMENT.format(runs=40, pause=0.2))
    with (lab.path / "pytest.ini").open("a", encoding="utf-8") as ini:
        ini.write("experiment_snapshot_interval = 0.05\n")
    (lab.side / "mended").touch()
    lab.run("-n", 2).exits(0)
    assert steps(lab.sweep()) > 0
    assert update_and_compare(lab.sweep()) > 0
    with Trajectory.open(lab.sweep()) as traj:
        assert sorted(run.res.half for run in traj) == [x / 2 for x in range(40)]
