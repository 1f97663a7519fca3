"""The runs of a trajectory that pytest made: by their ids, with their folders, and the numbers of the terminal."""

from __future__ import annotations

import shutil

import pytest

from expedition import RunRecord, Trajectory
from expedition.errors import RecordNotFoundError

SWEEP = """
LAYERS = [1, 2]

@experiment.parametrize("alpha", [0.1, 1.0])
@experiment.replicate(3)
def exp_a(e, alpha: float):
    e["rmse/mean"] = alpha + e.rng.random()
    e.annotate("rmse/mean", "root of the mean square", unit="K")
    e.derived("double", 2 * alpha)
    e.track("loss", alpha)
    e.track("loss", alpha / 2)
    e.commit("sub/notes.txt", "hello")
    e.log("a word")
    assert alpha < 1 or e["rmse/mean"] < 0
"""


@pytest.fixture
def traj(lab):
    lab.experiment(SWEEP)
    lab.run().exits(1)
    with Trajectory.open(lab.sweeps()[0]) as traj:
        yield traj


def test_runs_by_all_their_names(traj):
    run = traj[4]
    assert run.id == "alpha=1.0-rep=1"
    for name in (run.id, f"exp_a[{run.id}]", f"exp_a.py::exp_a[{run.id}]", run.key, run.key[:10]):
        assert traj[name] == run
        assert name in traj
    assert traj[-2] == run
    assert traj[3:][1] == run
    assert traj[3:][run.id] == run
    with pytest.raises(RecordNotFoundError, match=r"no run 'alpha=1.0-rep=7' .*did you mean 'alpha=1.0-rep="):
        traj["alpha=1.0-rep=7"]
    with pytest.raises(RecordNotFoundError):
        traj[:3][run.id]


def test_the_one_run_of_an_experiment_without_a_sweep(lab):
    lab.experiment("def exp_b(e):\n    e['x'] = 1\n".replace("def", "@experiment\ndef", 1))
    lab.run().exits(0)
    with Trajectory.open(lab.sweeps()[0]) as traj:
        assert traj["exp_b"] == traj[0]
        assert traj["exp_b"].res.x == 1
        assert traj[0].record.data == {"x": 1}
        assert traj.to_xarray()["x"].item() == 1


def test_a_run_has_its_record_and_artifacts(traj, lab):
    run = traj["alpha=0.1-rep=2"]
    record = run.record
    assert isinstance(record, RunRecord)
    assert (record.key, record.index, record.path) == (run.key, run.index, run.folder)
    assert record.data == {"rmse": {"mean": run.res.rmse.mean}}
    assert "a word" in record.log
    assert run.artifacts["sub/notes.txt"].read_text() == "hello"
    assert list(run.artifacts) == ["sub/notes.txt"]
    assert (run.params.alpha, run.params.LAYERS, run.derived.double) == (0.1, [1, 2], 0.2)
    assert run.series.loss.value.tolist() == [0.1, 0.05]
    assert run.config.to_dict() == traj[0].config.to_dict()
    failed = traj["alpha=1.0-rep=0"]
    assert failed.status == "failed"
    assert failed.error.startswith("AssertionError")
    assert "assert" in failed.record.error.traceback


def test_a_run_folder_that_is_gone(traj, lab, tmp_path):
    shutil.rmtree(traj[0].folder)
    with pytest.raises(
        RecordNotFoundError, match=r"the run folder .* of run 0 \(alpha=0.1-rep=0\) is gone: .* in the file"
    ):
        _ = traj[0].artifacts
    with pytest.raises(RecordNotFoundError):
        _ = traj[0].record
    assert traj[0].res.rmse.mean > 0
    assert traj[1].artifacts["sub/notes.txt"].exists()
    alone = shutil.copy(traj.path, tmp_path / "alone.h5")
    with Trajectory.open(alone) as copy:
        assert copy[1].res.rmse.mean == traj[1].res.rmse.mean
        with pytest.raises(RecordNotFoundError, match="is gone"):
            _ = copy[1].record


def test_a_run_that_was_never_started(lab):
    lab.experiment(SWEEP)
    lab.run("--where", "alpha < 1").exits(0)
    with Trajectory.open(lab.sweeps()[0]) as traj:
        assert traj[5].status == "pending"
        with pytest.raises(RecordNotFoundError, match=r"run 5 \(alpha=1.0-rep=2\) was never started"):
            _ = traj[5].artifacts


def test_the_numbers_are_those_of_the_terminal(lab):
    lab.experiment(SWEEP.replace("    assert alpha < 1 or", "    assert").replace("< 0", "> 0"))
    outcome = lab.run().exits(0)
    with Trajectory.open(lab.sweeps()[0]) as traj:
        rows = repr(traj.aggregate()).splitlines()[2:]
    for row in rows:
        alpha, estimate = row.split(None, 1)
        mean, _, _ = estimate.partition(" (n=3)")
        assert f"{float(alpha):g}" in outcome.out
        assert mean in outcome.out


def test_the_grid_of_a_sweep(traj):
    ds = traj.to_xarray()
    assert dict(ds.sizes) == {"alpha": 2, "replicate": 3}
    assert ds["rmse.mean"].attrs == {"units": "K", "comment": "root of the mean square"}
    for run in traj:
        assert ds["rmse.mean"].sel(alpha=run.params.alpha, replicate=run.replicate) == run.res.rmse.mean
    assert ds["status"].values.tolist() == [["done"] * 3, ["failed"] * 3]
