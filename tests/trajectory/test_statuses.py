"""The status of runs that a trajectory file says are running: what the archive says of them now."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from expedition.archive.record import RunRecord
from expedition.recording import outcomes
from expedition.recording.writer import SweepWriter
from expedition.trajectory import Trajectory, compile_trajectory
from tests.trajectory.growing import GrowingSweep


def end_of(folder: Path, status: str, **process: str) -> None:
    """Change the meta file of a run as its writer, or a restart of the host, does."""
    file = folder / "experiment_meta.json"
    meta = json.loads(file.read_text())
    meta |= {"status": status, "process": {**meta["process"], **process}}
    file.write_text(json.dumps(meta))


@pytest.fixture
def sweep(tmp_path: Path) -> GrowingSweep:
    """A sweep whose trajectory says that the runs 1 to 3 are running; since then all of it was killed."""
    sweep = GrowingSweep(tmp_path / "sweep", [{"i": i} for i in range(5)])
    sweep.run(0, {"x": 1.0})
    for index in (1, 2, 3):
        sweep.begin(index, {"x": 2.0})
    compile_trajectory(sweep.path)
    end_of(sweep.folder(1), "running", boot_id="another")
    end_of(sweep.folder(2), "interrupted")
    end_of(sweep.folder(3), "running", writer="gw0-nobody")
    return sweep


NOW = ["done", "crashed", "interrupted", "crashed", "pending"]


def test_is_that_of_the_archive(sweep: GrowingSweep) -> None:
    before = (sweep.path / "trajectory.h5").read_bytes()
    with Trajectory.open(sweep.path) as traj:
        records = [RunRecord(sweep.folder(index)).status for index in (1, 2, 3)]
        assert traj.runs.status.values.tolist() == NOW == ["done", *records, "pending"]
        assert traj.runs.status[::2].tolist() == NOW[::2]
        assert [run.status for run in traj] == NOW
        assert "crashed" in repr(traj[1])
        assert "2 crashed" in repr(traj)
        assert "running" not in repr(traj)
        assert traj.find("status == 'crashed'").tolist() == [1, 3]
        assert traj.select(status="interrupted").runs.status.values.tolist() == ["interrupted"]
        assert traj.find(status="running").tolist() == []
        assert traj.runs.to_pandas()["status"].tolist() == NOW
        assert traj.to_pandas()["status"].tolist() == NOW
        assert traj.aggregate(status="crashed", results=["x"]).to_pandas()["x", "n"].tolist() == [
            0,
            1,
            0,
            1,
            0,
        ]
    assert (sweep.path / "trajectory.h5").read_bytes() == before


def test_of_a_file_that_stands_alone_is_what_it_says(sweep: GrowingSweep, tmp_path: Path) -> None:
    alone = shutil.copy(sweep.path / "trajectory.h5", tmp_path / "alone.h5")
    with Trajectory.open(alone) as traj:
        assert traj.runs.status.values.tolist() == ["done", "running", "running", "running", "pending"]


def test_of_a_run_that_has_ended_comes_with_its_values_while_the_sweep_is_written(
    sweep: GrowingSweep,
) -> None:
    with contextlib.closing(SweepWriter(sweep.path, "main")), Trajectory.open(sweep.path) as traj:
        assert traj.runs.status.values.tolist() == ["done", "crashed", "running", "crashed", "pending"]
    with Trajectory.open(sweep.path) as traj:
        assert traj[2].status == outcomes.INTERRUPTED


def test_of_runs_that_are_running_is_running(tmp_path: Path) -> None:
    sweep = GrowingSweep(tmp_path / "sweep", [{"i": 0}, {"i": 1}])
    sweep.begin(0)
    sweep.begin(1)
    with Trajectory.open(compile_trajectory(sweep.path)) as traj:
        (sweep.folder(1) / "experiment_meta.json").write_text("{")
        assert traj.runs.status.values.tolist() == ["running", "running"]
