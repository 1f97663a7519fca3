"""Natural naming, search, selections and tables."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from expedition.errors import (
    AmbiguousNameError,
    ExperimentError,
    ExpressionError,
    NameNotFoundError,
    RecordNotFoundError,
)
from expedition.trajectory import Trajectory, compile_trajectory
from tests.trajectory.conftest import BuildSweep


@pytest.fixture
def traj(build_sweep: BuildSweep) -> Iterator[Trajectory]:
    """Three points × two replicates; run 4 failed without results, run 5 was never started."""
    rows = [{"alpha": a, "name": n} for a, n in ((0.1, "x"), (1.0, "y"), (10.0, "z")) for _ in range(2)]
    builder = build_sweep(rows, {"N": 5, "model.depth": 2})
    for i in range(4):
        data: dict[str, Any] = {
            "rmse/mean": i + 0.5,
            "rmse/std": 0.1,
            "deep/er/mean": 1,
            "count": i,
            "loss": i * 2.0,
            "keys": "k",
            "V": np.arange(100.0) * i,
            "mixed": [1, 1.5, None, "t"][i],
            "late": i if i < 2 else None,
            "flags": {"a": 1} if i else (1, 2),
        }
        if i < 3:
            data["some"] = i
            data["ok"] = bool(i)
            data["when"] = dt.datetime(2026, 1, i + 1, tzinfo=dt.UTC)
            data["word"] = f"w{i}"
        builder.run(i, data, series={"loss": [1.0] * i, "acc": [0.5]}, derived={"total": i * 10})
    builder.run(4, status="failed", error="ValueError: no")
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


def test_columns_by_attribute_item_and_get(traj: Trajectory) -> None:
    for column in (
        traj.results.rmse.mean,
        traj.res.rmse.mean,
        traj["results/rmse/mean"],
        traj["rmse/mean"],
        traj["res.rmse.mean"],
        traj.res["rmse/mean"],
        traj.rmse.mean,
        traj.get("results/rmse/mean"),
    ):
        assert column.path == "results/rmse/mean"
    assert traj.par.alpha.values.tolist() == [0.1, 0.1, 1, 1, 10, 10]
    assert traj.alpha[2] == 1.0
    assert traj.dpar.total[1] == 10
    assert traj.depth[0] == 2
    assert traj.par["model.depth"][0] == 2
    assert traj.conf.testing[0] is False
    assert traj.loss.path == "results/loss"  # series are looked at last
    assert traj.acc.path == "series/acc"
    assert traj.get("nothing") is None
    assert traj.get("nothing", 3) == 3


def test_shortened_names(traj: Trajectory) -> None:
    assert traj.std.path == "results/rmse/std"
    assert traj.mean.path == "results/rmse/mean"  # less deep than results/deep/er/mean
    assert traj.res.deep.mean.path == "results/deep/er/mean"
    with pytest.raises(NameNotFoundError, match=r"has no 'rmse/maen' \(did you mean .*mean"):
        _ = traj["rmse/maen"]
    with pytest.raises(AttributeError, match="did you mean 'alpha'"):
        _ = traj.alhpa
    with pytest.raises(KeyError):
        _ = traj.results["alpha"]


def test_ambiguous_names(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"alpha": 1.0}])
    builder.run(0, {"alpha": 2.0, "a/x": 1, "b/x": 2})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        with pytest.raises(AmbiguousNameError, match="'parameters/alpha' and 'results/alpha'"):
            _ = traj.alpha
        with pytest.raises(AmbiguousNameError, match="'results/a/x' and 'results/b/x'"):
            _ = traj.x
        with pytest.raises(AmbiguousNameError, match=r"write 'parameters\.alpha' or 'results\.alpha'"):
            traj.find("alpha == 1")
        assert traj.find("parameters.alpha == 1").tolist() == [0]
        assert traj.find("data.alpha == 2").tolist() == [0]
        assert list(traj.to_pandas()) == [
            "alpha",
            "replicate",
            "status",
            "results.alpha",
            "a.x",
            "b.x",
        ]


def test_names_like_methods_are_items(traj: Trajectory) -> None:
    assert callable(traj.res.keys)
    assert traj.res["keys"][0] == "k"
    assert traj.res["count"][3] == 3


def test_completion(traj: Trajectory) -> None:
    assert {"par", "results", "series", "find", "runs"} <= set(dir(traj))
    assert "results/rmse/mean" in traj._ipython_key_completions_()
    assert "rmse" in dir(traj.res)
    assert "rmse/std" in traj.res._ipython_key_completions_()
    assert list(traj.res.rmse) == ["mean", "std"]
    assert "status" in dir(traj.runs)
    assert "alpha" in dir(traj[0].params)


def test_columns_slice_like_numpy(traj: Trajectory) -> None:
    column = traj.res.rmse.mean
    assert (len(column), column.shape, column.dtype) == (6, (6,), np.float64)
    assert column[1] == 1.5
    assert column[-4] == 2.5
    assert column[1:3].tolist() == [1.5, 2.5]
    assert column[[3, 0]].tolist() == [3.5, 0.5]
    assert column[np.arange(6) < 2].tolist() == [0.5, 1.5]
    assert column[3::-1].tolist() == [3.5, 2.5, 1.5, 0.5]
    assert np.asarray(column)[2] == 2.5
    assert np.isnan(column.values[4:]).all()
    assert (column.get(0), column.get(5), column.has(4)) == (0.5, None, False)
    assert traj.res["count"].values.tolist() == [0, 1, 2, 3, None, None]
    assert traj.res.late.tolist(missing="-") == [0, 1, None, None, "-", "-"]
    with pytest.raises(IndexError, match="there is no run 6"):
        _ = column[6]
    with pytest.raises(NameNotFoundError, match=r"run 4 .* has no results/rmse/mean"):
        _ = column[4]


def test_stacked_arrays_slice_like_numpy(traj: Trajectory) -> None:
    column = traj.res.V
    assert column.shape == (6, 100)
    assert column[2, 10:13].tolist() == [20, 22, 24]
    assert column[2, 10] == 20.0
    assert column[1:3, 5].tolist() == [5, 10]
    assert column[[0, 3], 1:3].tolist() == [[0, 0], [3, 6]]
    assert column[..., 1].tolist()[:4] == [0, 1, 2, 3]
    assert column[2][-1] == 198.0
    assert column.values.shape == (6, 100)
    assert np.isnan(column[4:]).all()
    with pytest.raises(NameNotFoundError):
        _ = column[5, 10:20]
    with pytest.raises((IndexError, ValueError)):
        _ = column[2, 100]


def test_runs_by_number_key_and_id(traj: Trajectory) -> None:
    run = traj[3]
    assert (run.index, run.status, run.replicate) == (3, "done", 1)
    assert traj[-3] == run
    assert traj[np.int64(3)] == run
    assert traj[run.id] == run
    assert traj[run.key] == run
    assert traj[run.key[:12]] == run
    assert [each.index for each in traj] == list(range(6))
    assert len({*traj}) == 6
    with pytest.raises(RecordNotFoundError, match="there are 6"):
        _ = traj[6]
    with pytest.raises(RecordNotFoundError, match="no run with the key '0123456789'"):
        _ = traj["0123456789"]
    with pytest.raises(RecordNotFoundError, match="did you mean"):
        _ = traj[run.id.replace("name=y", "name=q")]


def test_an_ambiguous_key(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    row = {"index": 1, "id": "x::y", "folder": "1-x", "params": {"i": 1}, "replicate": 0}
    key = builder.sweep.entries[0].key
    builder.sweep.add_invocation({"runs": [{**row, "key": key[:8] + "0" * 56}]})
    builder.run(0, {key[:5]: 1})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        with pytest.raises(AmbiguousNameError, match=r"exp_x.* or 'x::y'"):
            _ = traj[key[:8]]
        with pytest.raises(AmbiguousNameError, match="or <Column"):
            _ = traj[key[:5]]
        assert traj[key].index == 0


def test_one_run(traj: Trajectory) -> None:
    run = traj[1]
    assert run.params.alpha == 0.1
    assert run.par["model/depth"] == 2
    assert run.results["rmse/mean"] == run.res.rmse.mean == run.mean == run["rmse/mean"] == 1.5
    assert run.derived.total == run.dpar.total == 10
    assert run.res.rmse.to_dict() == {"mean": 1.5, "std": 0.1}
    assert run.series.acc.value.tolist() == [0.5]
    assert run.res.flat()["deep/er/mean"] == 1
    assert traj[0].res.flags == (1, 2)
    assert run.res.flags == {"a": 1}
    assert traj[2].res.mixed is None
    assert traj[3].res.mixed == "t"
    assert list(traj[4].results) == []
    assert "rmse/mean" in run.res
    assert "rmse/mean" not in traj[4].res
    assert run.res.get("nothing", 7) == 7
    with pytest.raises(NameNotFoundError, match=r"run 4 \(.*\) has no results/rmse/mean"):
        _ = traj[4].res.rmse.mean


def test_find(traj: Trajectory) -> None:
    assert traj.find(alpha=0.1).tolist() == [0, 1]
    assert traj.find(alpha=1.0, rep=1).tolist() == [3]
    assert traj.find(name="z").tolist() == [4, 5]
    assert traj.find(status="pending").tolist() == [5]
    assert traj.find(mixed=None).tolist() == [2]
    assert traj.find(mixed="t").tolist() == [3]
    assert traj.find(ok=False).tolist() == [0]
    assert traj.find(flags=(1, 2)).tolist() == [0]
    assert traj.find("alpha < 1 and status == 'done'").tolist() == [0, 1]
    assert traj.find("rmse.mean > 1 or status == 'failed'").tolist() == [1, 2, 3, 4]
    assert traj.find("params.alpha == 1 and data.rmse.mean < 3").tolist() == [2]
    assert traj.find("started > '2020-01-01' and duration < '1s'").tolist() == [0, 1, 2, 3, 4]
    assert traj.find("model.depth == 2").size == 6
    assert traj.find("some == 0").tolist() == [0]
    assert traj.find(lambda alpha, rep: alpha > 0.5 and rep == 0).tolist() == [2, 4]
    assert traj.find(lambda some: True).tolist() == [0, 1, 2]
    assert traj.find("alpha > 0", rep=1).tolist() == [1, 3, 5]
    assert traj.find(alpha=0.1).dtype == np.int64


def test_find_over_a_product(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"x": x, "y": y} for x in (1, 2, 3, 4) for y in (6, 7, 8)])
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        expected = [2, 3, 4, 5, 8, 11]
        assert traj.find(lambda x, y: x == 2 or y == 8).tolist() == expected
        assert traj.find("x == 2 or y == 8").tolist() == expected
        assert [run.index for run in traj.select("x == 2 or y == 8")] == expected
        assert [run.index for run in traj[1:10:4]] == [1, 5, 9]


def test_errors_of_a_function_are_not_hidden(traj: Trajectory) -> None:
    with pytest.raises(ZeroDivisionError):
        traj.find(lambda alpha: alpha > 1 / 0)
    with pytest.raises(TypeError):
        traj.find(lambda alpha: alpha < "1")


def test_find_refuses_what_it_cannot_mean(traj: Trajectory) -> None:
    with pytest.raises(ExpressionError, match=r"(?s)no run has 'alhpa'.*did you mean 'alpha'"):
        traj.find("alhpa < 1")
    with pytest.raises(NameNotFoundError, match="did you mean 'alpha'"):
        traj.find(alhpa=1)
    with pytest.raises(NameNotFoundError, match="'rmse' is a group"):
        traj.find(rmse=1)
    with pytest.raises(ExperimentError, match="needs an expression"):
        traj.find()
    with pytest.raises(ExperimentError, match=r"has \*names"):
        traj.find(lambda *names: True)
    with pytest.raises(ExpressionError):
        traj.find("__import__('os')")


def test_selections_have_the_same_api(traj: Trajectory) -> None:
    view = traj.select("rep == 1")
    assert (len(view), view.rows.tolist()) == (3, [1, 3, 5])
    assert view[1].index == 3
    assert [run.index for run in view] == [1, 3, 5]
    assert view.res.rmse.mean[1] == 3.5
    assert view.res.V[1, 10:12].tolist() == [30, 33]
    assert view.res.V[:2, 1].tolist() == [1, 3]
    assert (view.path, view.attrs["n_runs"]) == (traj.path, 6)
    assert view.runs.status.values.tolist() == ["done", "done", "pending"]
    assert view.runs.index.values.tolist() == [1, 3, 5]
    assert view.find("status == 'done'").tolist() == [0, 1]
    assert view.find(name="y").tolist() == [1]
    assert view.select(name="y").rows.tolist() == [3]
    assert view.select([2, 0]).rows.tolist() == [5, 1]
    assert traj[1:3].rows.tolist() == [1, 2]
    assert traj.select(np.arange(6) > 3).rows.tolist() == [4, 5]
    assert view.to_pandas().index.tolist() == [1, 3, 5]
    assert view.series.acc.counts.tolist() == [1, 1, 0]
    assert view.collect("rmse/mean")[:2].tolist() == [1.5, 3.5]
    assert view[view[1].key[:10]].index == 3
    with pytest.raises(RecordNotFoundError):
        _ = view[traj[0].key]
    assert not traj.select("alpha > 100")


def test_collect_is_aligned_with_the_runs(traj: Trajectory) -> None:
    def plain(values: Any) -> list[Any]:
        return [None if isinstance(v, float) and v != v else v for v in values]

    assert plain(traj.collect("rmse/mean").tolist()) == [0.5, 1.5, 2.5, 3.5, None, None]
    assert plain(traj.collect("count").tolist()) == [0, 1, 2, 3, None, None]
    assert traj.collect("alpha").dtype == np.float64
    assert traj.collect("N").dtype == np.int64
    assert traj.collect("word").tolist() == ["w0", "w1", "w2", None, None, None]
    assert traj.collect("mixed").tolist() == [1, 1.5, None, "t", None, None]
    assert traj.collect("status")[4:].tolist() == ["failed", "pending"]
    assert [None if each is None else each.shape for each in traj.collect("V")][2:] == [(100,)] * 2 + [
        None
    ] * 2
    assert traj.collect("results/rmse/std")[0] == 0.1


def test_unique_points(traj: Trajectory) -> None:
    points = [{"alpha": 0.1, "name": "x"}, {"alpha": 1.0, "name": "y"}, {"alpha": 10.0, "name": "z"}]
    assert traj.unique_points() == points
    assert traj.select(name="y").unique_points() == points[1:2]


def test_to_pandas(traj: Trajectory, tmp_path: Any) -> None:
    frame = traj.to_pandas()
    assert frame.index.name == "run"
    assert list(frame)[:6] == ["alpha", "name", "N", "model.depth", "replicate", "status"]
    assert frame["alpha"].dtype == np.float64
    assert frame["rmse.mean"].iloc[:4].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert frame["count"].dtype == pd.Int64Dtype()
    assert frame["count"].iloc[3] == 3
    assert frame["count"].iloc[4] is pd.NA
    assert frame["ok"].tolist()[:3] == [False, True, True]
    assert frame["when"].iloc[1] == pd.Timestamp("2026-01-02", tz="UTC")
    assert frame["when"].isna().tolist() == [False] * 3 + [True] * 3
    assert frame["word"].iloc[0] == "w0"
    assert frame["word"].isna().tolist() == [False] * 3 + [True] * 3
    assert frame["mixed"].tolist()[:4] == [1, 1.5, None, "t"]
    assert "V" not in frame
    traj.to_csv(tmp_path / "x.csv")
    assert len(pd.read_csv(tmp_path / "x.csv", index_col="run")) == 6


def test_refresh_opens_the_file_that_replaced_it(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}, {"i": 1}])
    builder.run(0, {"x": 1})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert not traj.refresh()
        builder.run(1, {"x": 2, "y": 3})
        compile_trajectory(builder.path)
        assert traj.runs.status[1] == "pending"
        assert traj.refresh()
        assert traj[1].res.y == 3
        assert traj.runs.status.values.tolist() == ["done", "done"]


def test_importing_costs_nothing() -> None:
    heavy = ("numpy", "h5py", "pandas", "xarray")
    code = f"import sys, expedition.trajectory; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
