"""Trajectories of real sweeps, merged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from expedition import Trajectory
from expedition.errors import MergeError, RecordNotFoundError
from expedition.trajectory import merge, merge_folder
from tests.plugin.conftest import Lab

RIDGE = """
@experiment.parametrize("alpha", {values})
@experiment.replicate(2)
def exp_a(e, alpha: float = 1.0{more}):
    e["rmse"] = alpha
    e["draw"] = float(e.rng.random())
    e.track("loss", alpha)
    e.track("loss", alpha / 2)
    e.commit("note.txt", f"alpha is {{alpha}}")
    assert alpha < {limit}
"""


def sweep(lab: Lab, values: list[float], *arguments: str, limit: float = 100, more: str = "") -> Path:
    """Run a sweep and return its folder."""
    before = set(lab.sweeps())
    lab.experiment(RIDGE.format(values=values, limit=limit, more=more))
    lab.run(*arguments)
    (new,) = set(lab.sweeps()) - before
    return new


def test_sweeps_of_an_experiment_become_one_trajectory(lab: Lab) -> None:
    first = sweep(lab, [0.1, 1.0, 5.0], limit=2)  # the runs of 5.0 fail
    second = sweep(lab, [5.0, 10.0], "--where", "alpha < 7", limit=9)
    with merge_folder(lab.path / "results" / "exp_a") as traj:
        assert traj.par.alpha.values.tolist() == [0.1, 0.1, 1.0, 1.0, 5.0, 5.0, 10.0, 10.0]
        assert traj.runs.status.values.tolist() == ["done"] * 6 + ["pending"] * 2
        assert traj.runs.origin.values.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
        assert [source["sweep_id"] for source in traj.sources] == [first.name, second.name]
        run = traj.select(alpha=5.0)[0]
        assert run.artifacts["note.txt"].read_text() == "alpha is 5.0"
        assert run.record.key == run.key
        assert run.record.sweep == second.name
        assert run.series.loss.value.tolist() == [5.0, 2.5]
        assert traj.aggregate(over="replicate")["rmse"].n.tolist() == [2, 2, 2, 0]
        assert traj.to_pandas().loc[0, "alpha"] == 0.1
        with pytest.raises(RecordNotFoundError, match="the run was never started"):
            _ = traj[7].folder
        shutil.rmtree(first)
        with pytest.raises(RecordNotFoundError, match=f"the sweep {first.name} or this file was moved"):
            _ = traj[0].artifacts
    with Trajectory.open(lab.path / "results" / "exp_a") as traj:
        assert len(traj) == 8


def test_a_second_set_of_replicates(lab: Lab) -> None:
    lab.file("pytest.ini", "[pytest]\nexperiment_seed = 0\n")
    first = sweep(lab, [0.1, 1.0])
    lab.file("pytest.ini", "[pytest]\nexperiment_seed = 1\n")
    second = sweep(lab, [0.1, 1.0])
    with merge(first, second, to=lab.path / "all.h5", trial="replicate") as traj:
        assert traj.runs.replicate.values.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
        assert len(set(traj.res.draw.values.tolist())) == 8
        assert traj.aggregate(over="replicate")["draw"].n.tolist() == [4, 4]


def test_a_parameter_that_was_added_later(lab: Lab) -> None:
    first = sweep(lab, [0.1, 1.0])
    second = sweep(lab, [0.1, 1.0], more=", beta: float = 0.5")
    with pytest.raises(MergeError, match=r"no parameter 'beta'; for a parameter .*fill=\{'beta': …\}"):
        merge(first, second, to=lab.path / "all.h5")
    with merge(first, second, to=lab.path / "all.h5", fill={"beta": 0.0}) as traj:
        assert traj.par.beta.values.tolist() == [0.0] * 4 + [0.5] * 4
        assert traj.attrs["explored"] == ["alpha", "beta"]


def test_the_archive_does_not_take_a_merged_file_for_a_sweep(lab: Lab) -> None:
    sweep(lab, [0.1, 1.0])
    merge_folder(lab.path / "results" / "exp_a").close()
    assert len(lab.sweeps()) == 1
    assert len(lab.records()) == 4
    lab.pytest("--archive-list").exits(0).says("4 runs")
    sweep(lab, [0.1, 1.0, 2.0])
    with merge_folder(lab.path / "results" / "exp_a", overwrite=True) as traj:
        assert len(traj) == 6
