"""Trajectories while a sweep runs: what has ended is seen while a slow run still runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition import Trajectory
from expedition.errors import RecordNotFoundError
from tests.durability.laboratory import Laboratory

SWEEP = """
import os, time
from pathlib import Path
from expedition import experiment

side = Path(os.environ["SIDE"])

@experiment.parametrize("a", list(range(6)))
def exp_a(e, a: int):
    e["y"] = 2 * a
    if a == 4:
        (side / "slow").touch()
        while not (side / "go").exists():
            time.sleep(0.02)
"""


def seen(lab: Laboratory) -> list[str]:
    """Statuses by row of what is published now."""
    try:
        with Trajectory.open(lab.sweep()) as traj:
            return list(traj.runs.status.values.tolist())
    except (RecordNotFoundError, ValueError):
        return []


@pytest.mark.parametrize("options", [(), ("-n", "2", "--maxschedchunk", "1")], ids=["alone", "workers"])
def test_finished_runs_are_seen_while_a_slow_one_runs(tmp_path: Path, options: tuple[str, ...]) -> None:
    lab = Laboratory(tmp_path / "lab")
    lab.write("pytest.ini", "[pytest]\nexperiment_archive = results\nexperiment_snapshot_interval = 0.2\n")
    lab.write("exp_a.py", SWEEP)
    started = lab.start(*options)
    started.wait_for((lab.side / "slow").exists)
    started.wait_for(lambda: seen(lab)[:4] == ["done"] * 4)
    with Trajectory.open(lab.sweep()) as traj:
        assert traj.runs.status[4] in ("running", "pending")
        assert len(traj) == 6
        assert traj.res.y[:4].tolist() == [0, 2, 4, 6]
        assert traj.attrs["complete"] == 0
        (lab.side / "go").touch()
        started.end().exits(0)
        assert traj.refresh()
        assert traj.runs.status.values.tolist() == ["done"] * 6
        assert traj.attrs["complete"] == 1
        assert traj.res.y.values.tolist() == [0, 2, 4, 6, 8, 10]
    assert not list(lab.sweep().glob("*.tmp-*"))


def test_none_where_none_are_wanted(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "lab")
    lab.write("pytest.ini", "[pytest]\nexperiment_archive = results\nexperiment_snapshot_interval = 0\n")
    text = SWEEP.replace(
        "if a == 4:", "e['seen'] = (e.sweep_path / 'trajectory.h5').exists()\n    if a == 9:"
    )
    lab.write("exp_a.py", text.replace('e["y"]', 'time.sleep(0.05)\n    e["y"]'))
    lab.run().exits(0)
    assert {r.data["seen"] for r in lab.archive.runs()} == {False}
    assert seen(lab) == ["done"] * 6


@pytest.mark.parametrize("value", ["", "soon", "-1", "1e3"])
def test_an_interval_that_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    lab = Laboratory(tmp_path / "lab")
    lab.write("exp_a.py", SWEEP)
    out = lab.run("-o", f"experiment_snapshot_interval={value}").exits(4)
    assert "experiment_snapshot_interval must be a number of seconds" in out.text
    out = lab.run("-o", "experiment_max_generations=0").exits(4)
    assert "experiment_max_generations must be a whole number of at least 1" in out.text
