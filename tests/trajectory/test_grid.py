"""Runs as an xarray Dataset: over the grid of the sweep, or over the runs."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import ExperimentError, NameNotFoundError
from expedition.trajectory import Trajectory, compile_trajectory
from expedition.values import decode, loads
from tests.thoroughness import examples
from tests.trajectory.conftest import BuildSweep, SweepBuilder

ALPHAS, DEPTHS = (10.0, 0.1, 1.0), (1, 2)


@pytest.fixture
def traj(build_sweep: BuildSweep) -> Iterator[Trajectory]:
    """alpha × depth × two replicates; run 6 has arrays missing, run 11 was never started."""
    rows = [{"alpha": a, "model.depth": d} for a in ALPHAS for d in DEPTHS for _ in range(2)]
    builder = build_sweep(rows, {"data": "mnist", "N": 5, "layers": [1, 2], "w": np.arange(3.0)})
    for i in range(11):
        data: dict[str, Any] = {
            "rmse/mean": i / 4,
            "count": i,
            "huge": 2**60 + i,
            "ok": bool(i % 2),
            "word": f"w{i}",
            "when": dt.datetime(2026, 1, 1 + i, tzinfo=dt.UTC),
            "lag": dt.timedelta(seconds=i),
            "mixed": [1, "a", None][i % 3],
            "small": np.float32(i),
            "c": complex(i, 1),
            "V": np.arange(4.0) + i,
            "M": np.full((2, 3), i, np.int32),
            "mask": np.array([True, i % 2 == 0]),
            "R": np.arange(i),
            "alpha": -i,
        }
        if i == 6:
            for name in ("V", "M", "mask", "ok"):
                del data[name]
        notes = {
            "rmse/mean": {"unit": "K", "comment": "root"},
            "count": {"unit": "seconds"},
            "alpha": {"unit": "mm"},
        }
        builder.run(i, data, derived={"total": i}, annotations=notes)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


def test_the_grid(traj: Trajectory) -> None:
    ds = traj.to_xarray()
    assert {k: v for k, v in ds.sizes.items() if "_dim" not in k} == {
        "alpha": 3,
        "model.depth": 2,
        "replicate": 2,
    }
    assert ds["rmse.mean"].dims == ("alpha", "model.depth", "replicate")
    assert ds["alpha"].values.tolist() == list(ALPHAS)
    assert ds["model.depth"].values.tolist() == list(DEPTHS)
    for i, (a, d, r) in enumerate(itertools.product(ALPHAS, DEPTHS, range(2))):
        at = ds.sel({"alpha": a, "model.depth": d, "replicate": r})
        assert at["run"] == i
        if i == 11:
            assert np.isnan(at["rmse.mean"])
            assert np.isnan(at["count"])
            assert np.isnan(at["ok"].item())
            assert np.isnan(at["word"].item())
            assert np.isnat(at["when"])
            assert np.isnat(at["lag"])
            assert np.isnan(at["V"]).all()
            assert at["status"].item() == "pending"
            continue
        assert at["rmse.mean"] == i / 4
        assert at["count"] == at["total"] == -at["results.alpha"] == i
        assert at["huge"].item() == 2**60 + i
        assert at["word"].item() == f"w{i}"
        assert at["when"].values == np.datetime64(f"2026-01-{1 + i:02d}")
        assert at["mixed"].item() == ["1", '"a"', "null"][i % 3]
        assert at["c"].item() == complex(i, 1)
        if i != 6:
            assert at["V"].values.tolist() == [i, i + 1, i + 2, i + 3]
            assert at["M"].values.tolist() == [[i] * 3] * 2
            assert at["mask"].values.tolist() == [True, i % 2 == 0]
    assert ds["V"].dims == ("alpha", "model.depth", "replicate", "V_dim1")
    assert ds["small"].dtype == np.float32
    assert ds["data"].item() == "mnist"
    assert ds["N"].item() == 5
    assert ds["layers"].item() == "[1,2]"
    assert ds["w"].values.tolist() == [0, 1, 2]
    assert set(ds.coords) == {
        "alpha",
        "model.depth",
        "replicate",
        "run",
        "status",
        "data",
        "N",
        "layers",
        "w",
    }
    assert ds.attrs["left_out"] == ["R"]
    assert ds.attrs["experiment"] == "exp_x"


def test_units_and_comments(traj: Trajectory) -> None:
    for ds in (traj.to_xarray(), traj.to_xarray(grid=False)):
        assert ds["rmse.mean"].attrs == {"units": "K", "comment": "root"}
        assert ds["count"].attrs == {"unit": "seconds"}  # no time of a reader of CF
        assert ds["alpha"].attrs["comment"] == "about alpha"
        assert ds["results.alpha"].attrs == {"units": "mm"}


def test_statistics_over_the_grid_are_those_of_the_runs(traj: Trajectory) -> None:
    mean = traj.to_xarray()["rmse.mean"].mean("replicate")
    table = traj.aggregate(results=["rmse/mean"])
    assert mean.values.ravel().tolist() == table["rmse/mean"].mean.tolist()


def test_over_the_runs(traj: Trajectory) -> None:
    ds = traj.to_xarray(grid=False)
    assert ds["run"].values.tolist() == list(range(12))
    assert ds["alpha"].dims == ("run",)
    assert ds["V"].dims == ("run", "V_dim1")
    assert ds["V"].values[3].tolist() == [3, 4, 5, 6]
    assert np.isnan(ds["V"].values[6]).all()
    assert ds["w"].dims == ("w_dim1",)  # the same in all runs, so there is one
    assert ds["M"].dtype == np.float64
    assert ds["word"].values.tolist()[10] == "w10"
    assert ds["word"].isnull().values.tolist() == [False] * 11 + [True]
    assert {"alpha", "model.depth", "N", "replicate", "status", "run"} <= set(ds.coords)
    grid = ds[["rmse.mean"]].set_index(run=["alpha", "model.depth", "replicate"]).unstack("run")
    same = traj.to_xarray(columns=["rmse.mean"]).sortby("alpha")
    assert np.array_equal(grid["rmse.mean"].values, same["rmse.mean"].values, equal_nan=True)


def test_a_complete_grid_keeps_the_dtypes(traj: Trajectory) -> None:
    ds = traj.select("params.alpha > 5").to_xarray()
    assert dict(ds.sizes)["alpha"] == 1
    assert ds["count"].dtype == np.int64
    assert ds["huge"].dtype == np.int64
    assert ds["ok"].dtype == bool
    assert ds["M"].dtype == np.int32
    assert ds["mask"].dtype == bool
    assert ds["count"].values.ravel().tolist() == [0, 1, 2, 3]


def test_views_and_columns(traj: Trajectory) -> None:
    ds = traj.select("replicate == 1 and params.alpha < 5").to_xarray(columns=["count"])
    assert dict(ds.sizes) == {"alpha": 2, "model.depth": 2, "replicate": 1, "w_dim1": 3}
    assert list(ds.data_vars) == ["count"]
    assert ds["run"].values.ravel().tolist() == [5, 7, 9, 11]
    holes = traj.select([0, 7]).to_xarray(columns=["count"])
    assert holes["run"].values.ravel().tolist() == [0, -1, -1, -1, -1, -1, -1, 7]
    assert holes["status"].values.ravel().tolist()[0] == "done"
    assert holes["status"].isnull().values.ravel().tolist() == [False, *[True] * 6, False]
    assert holes["count"].values.ravel().tolist()[::7] == [0, 7]
    assert traj[:0].to_xarray().sizes["alpha"] == 0
    with pytest.raises(NameNotFoundError):
        traj.to_xarray(columns=["nothing"])


def test_it_can_be_written_by_xarray(traj: Trajectory, tmp_path: Path) -> None:
    for engine in ("h5netcdf", "netcdf4"):
        file = tmp_path / f"{engine}.nc"
        ds = traj.to_xarray().drop_vars(["c", "ok", "mask", "huge"])
        ds.to_netcdf(file, engine=engine)
        with xr.open_dataset(file, engine=engine) as again:
            assert again["rmse.mean"].attrs["units"] == "K"
            assert np.array_equal(again["rmse.mean"].values, ds["rmse.mean"].values, equal_nan=True)
            assert again["count"].dtype == np.float64


def test_zipped_parameters_make_a_diagonal(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"a": i, "b": -i} for i in range(4)])
    for i in range(4):
        builder.run(i, {"x": float(i)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        ds = traj.to_xarray()
        assert dict(ds.sizes) == {"a": 4, "b": 4}
        assert np.diag(ds["x"].values).tolist() == [0, 1, 2, 3]
        assert int(np.isnan(ds["x"]).sum()) == 12
        assert ds["x"].sel(a=2, b=-2) == 2.0


def test_two_runs_at_one_point_are_refused(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"a": 0}, {"a": 1}])
    row = {"index": 2, "id": "x", "key": "0" * 64, "folder": "2-x", "params": {"a": 1}, "replicate": 0}
    builder.sweep.add_invocation({"runs": [row]})
    for i in range(3):
        builder.run(i, {"x": float(i)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        with pytest.raises(
            ExperimentError,
            match=r"no grid: runs 1 and 2 are both at a=1; use to_xarray\(grid=False\), select",
        ):
            traj.to_xarray()
        assert traj.to_xarray(grid=False).sizes["run"] == 3
        assert traj[:2].to_xarray()["x"].values.tolist() == [0, 1]


def test_a_grid_of_nearly_nothing_but_holes_is_refused(build_sweep: BuildSweep) -> None:
    rng = np.random.default_rng(0)
    builder = build_sweep(
        [{name: float(v) for name, v in zip("abcd", rng.random(4), strict=True)} for _ in range(300)]
    )
    builder.run(0, {"x": 1.0})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        with pytest.raises(
            ExperimentError,
            match=r"no grid: 300 a × 300 b × 300 c × 300 d would be 8,100,000,000 cells .*grid=False",
        ):
            traj.to_xarray()
        assert traj.to_xarray(grid=False)["x"].values[0] == 1.0


def test_axes_of_every_kind(build_sweep: BuildSweep) -> None:
    moments = [dt.datetime(2026, 1, day) for day in (1, 2)]
    axes: dict[str, list[Any]] = {
        "text": ["a", "b"],
        "flag": [True, False],
        "mixed": [None, 0.5],
        "when": moments,
        "zone": [moment.replace(tzinfo=dt.UTC) for moment in moments],
        "lag": [dt.timedelta(seconds=1), dt.timedelta(days=1)],
        "list": [[1], [1, 2]],
        "tuple": [(1, 2), "x" * 100],
        "array": [np.arange(2), np.arange(200)],
        "number": [1, 2.5],
        "nan": [float("nan"), 1.0],
    }
    builder = build_sweep([{name: values[k] for name, values in axes.items()} for k in range(2)])
    for k in range(2):
        builder.run(k, {"x": k})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        ds = traj.to_xarray(columns=["x"])
        assert set(ds.sizes) == set(axes)
        assert ds["text"].values.tolist() == ["a", "b"]
        assert ds["flag"].values.tolist() == [True, False]
        assert ds["mixed"].values.tolist() == [None, 0.5]
        assert ds["when"].values[1] == ds["zone"].values[1] == np.datetime64("2026-01-02")
        assert ds["lag"].values[1] == np.timedelta64(1, "D")
        assert ds["list"].values.tolist() == ["[1]", "[1,2]"]
        assert ds["tuple"].values[0] == '{"$":"tuple","v":[1,2]}'
        assert ds["array"].values[0] == "[0,1]"
        assert len(ds["array"].values[1]) == 59
        assert ds["number"].values.tolist() == [1.0, 2.5]
        assert np.isnan(ds["nan"].values[0])
        corner = dict.fromkeys(axes, 1)
        assert ds["x"].isel(corner) == 1


def test_an_array_that_has_the_name_of_a_dimension(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}, {"i": 1}])
    for i in range(2):
        builder.run(i, {"V": np.arange(3.0), "V_dim1": 5.0, "W": np.arange(2.0)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        ds = traj.to_xarray()
        assert ds["V"].dims == ("i", "V_dim1_")
        assert ds["V_dim1"].values.tolist() == [5.0, 5.0]


def test_arrays_that_are_swept_or_stand_in_run_folders(build_sweep: BuildSweep) -> None:
    weights = [np.zeros(300), np.ones(300), np.zeros(300)]
    builder = build_sweep([{"w": each} for each in weights])
    for i in range(3):
        large = np.zeros((3, 200_000 if i else 7))  # another shape, and too large for the file
        builder.run(i, {"x": i, "large": large})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert [point["w"][0] for point in traj.unique_points()] == [0.0, 1.0]
        assert [view.rows.tolist() for _, view in traj.group_by()] == [[0, 2], [1]]
        assert traj.select([2, 1]).aggregate()["x"].mean.tolist() == [2.0, 1.0]
        ds = traj.to_xarray()
        assert ds.attrs["left_out"] == ["large"]
        assert dict(ds.sizes) == {"w": 2, "replicate": 2}
        assert ds["x"].values[:, 0].tolist() == [0, 1]


def test_nothing_swept(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{}], {"N": 1})
    builder.run(0, {"x": 1.5, "V": np.arange(2.0)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        ds = traj.to_xarray()
        assert ds["x"].item() == 1.5
        assert ds["V"].values.tolist() == [0, 1]
        assert ds["N"].item() == 1


@settings(max_examples=examples(20), deadline=None)
@given(st.data())
def test_every_run_is_at_its_place(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Against the runs one by one: any subset of a grid in any order, with values of any kind missing."""
    points = data.draw(st.permutations(list(itertools.product((3, 1, 2), ("x", "y"), (0.5, 0.25)))))
    rows = [
        dict(zip(("a", "b", "c"), point, strict=True)) for point in points[: data.draw(st.integers(1, 12))]
    ]
    builder = SweepBuilder(tmp_path_factory.mktemp("grid") / "s", rows)
    values = st.sampled_from([None, 0.5, float("inf"), 3, 2**60, True, "t", (1,)])
    stored = [data.draw(values) for _ in rows]
    for i, value in enumerate(stored):
        builder.run(i, {} if value is None else {"v": value})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        ds = traj.to_xarray()
        assert (ds["run"].values >= 0).sum() == len(rows)
        if "v" not in ds:
            return
        flat = traj.to_xarray(grid=False)["v"]
        for i, row in enumerate(rows):
            there, one = ds["v"].sel(row).item(), flat.values.tolist()[i]
            assert there == one or (there != there and one != one)
            if traj.res.v.kind == "json":
                assert one != one if stored[i] is None else decode(loads(one)) == stored[i]
            elif stored[i] is not None:
                assert there == stored[i]


def test_whole_numbers_of_an_axis_never_become_floats(build_sweep: BuildSweep) -> None:
    values = [-1, 2**63, 2**63 + 1]
    builder = build_sweep([{"n": value} for value in values])
    for i in range(3):
        builder.run(i, {"x": i})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.to_xarray()["n"].values.tolist() == values
