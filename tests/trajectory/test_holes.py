"""Runs without a value: what columns, masks and tables made of them show, and never the fill of the file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from expedition.errors import NameNotFoundError, SelectionError, TrajectoryFormatError
from expedition.trajectory import Trajectory, compile_trajectory
from tests.trajectory.conftest import BuildSweep

VALUES: dict[str, Any] = {
    "float": 2.5,
    "int": 7,
    "flag": True,
    "u8": np.uint8(255),
    "f2": np.float16(0.5),
    "when": dt.datetime(2024, 1, 3, tzinfo=dt.UTC),
    "lag": dt.timedelta(seconds=3),
    "day64": np.datetime64("2024-01-03"),
    "complex": 1 + 2j,
    "text": "a",
    "json": [1, 2],
    "V": np.arange(3),
    "F": np.arange(3.0),
    "B": np.array([True, False]),
    "D": np.array(["2024-01-01", "2024-01-02"], "M8[D]"),
    "R": None,
}


@pytest.fixture
def path(build_sweep: BuildSweep) -> Path:
    """Five runs: 0 and 1 have values, 2 has None, 3 has nothing, 4 was never started."""
    builder = build_sweep([{"i": i} for i in range(5)])
    for i in range(2):
        builder.run(i, {**VALUES, "int": 7 - i, "flag": not i, "R": np.arange(i + 1), "whole": i})
    builder.run(2, {**dict.fromkeys(VALUES), "whole": 2})
    builder.run(3, {"whole": 3})
    return compile_trajectory(builder.path)


@pytest.fixture
def traj(path: Path) -> Iterator[Trajectory]:
    with Trajectory.open(path) as traj:
        yield traj


@pytest.mark.parametrize(
    ("name", "dtype", "first"),
    [("int", "int64", 7), ("flag", "bool", True), ("u8", "uint8", 255)],
)
def test_whole_numbers_and_bools_are_masked(traj: Trajectory, name: str, dtype: str, first: Any) -> None:
    column = traj.res[name]
    for values in (
        column.values,
        column[:],
        column[[0, 1, 2, 3, 4]],
        traj.select([0, 1, 2, 3, 4]).res[name][:],
    ):
        assert isinstance(values, np.ma.MaskedArray)
        assert values.dtype == column.dtype == np.dtype(dtype)
        assert np.ma.getmaskarray(values).tolist() == [False, False, True, True, True]
        assert values.tolist()[0] == first
    assert type(column[:2]) is np.ndarray
    assert type(traj[:2].res[name].values) is np.ndarray
    assert column[::-1].tolist() == column.values.tolist()[::-1]


def test_arithmetic_leaves_holes_out(traj: Trajectory) -> None:
    values = traj.res.int.values
    assert (values.argmin(), values.min(), values.mean(), values.sum()) == (1, 6, 6.5, 13)
    assert traj.res.flag.values.sum() == 1
    plain = np.asarray(traj.res.int)
    assert plain.tolist() == [7, 6, None, None, None]
    assert np.nansum(np.asarray(traj.res.int, float)) == 13


@pytest.mark.parametrize("name", ["float", "f2", "complex", "F"])
def test_floats_are_nan(traj: Trajectory, name: str) -> None:
    values = traj.res[name].values
    assert type(values) is np.ndarray
    assert values.dtype == np.asarray(VALUES[name]).dtype
    assert np.isnan(values[2:]).all()
    assert not np.isnan(values[:2]).any()


@pytest.mark.parametrize("name", ["when", "lag", "day64", "D"])
def test_times_are_nat(traj: Trajectory, name: str) -> None:
    values = traj.res[name].values
    assert np.isnat(values[2:]).all()
    assert not np.isnat(values[:2]).any()


@pytest.mark.parametrize("name", ["text", "json", "R"])
def test_texts_and_objects_are_none(traj: Trajectory, name: str) -> None:
    values = traj.res[name].values
    assert values.dtype == object
    assert values[2:].tolist() == [None] * 3
    assert all(value is not None for value in values[:2])


def test_stacked_arrays_are_masked_row_by_row(traj: Trajectory) -> None:
    for name in ("V", "B"):
        column = traj.res[name]
        assert column.values.dtype == column.dtype == VALUES[name].dtype
        for values in (
            column.values,
            column[:, :],
            column[::-1][::-1],
            column[...],
            column[list(range(5)), 0:],
        ):
            assert (
                values.mask.any(axis=1).tolist()
                == values.mask.all(axis=1).tolist()
                == [False] * 2 + [True] * 3
            )
        assert column[1:4, 0].mask.tolist() == [False, True, True]
        assert type(column[:2]) is np.ndarray
        assert column[2] is None
        with pytest.raises(NameNotFoundError, match=f"has no results/{name}"):
            column[3]


def test_a_run_without_a_value_raises_as_before(traj: Trajectory) -> None:
    assert traj[2].res.int is None
    with pytest.raises(NameNotFoundError):
        _ = traj[3].res.int


def test_what_is_masked_is_not_selected(traj: Trajectory) -> None:
    mask = traj.res.int.values > 0
    assert isinstance(mask, np.ma.MaskedArray)
    assert traj[mask].rows.tolist() == traj.select(mask).rows.tolist() == [0, 1]
    assert traj[~mask].rows.tolist() == []
    assert traj.res.whole[mask].tolist() == [0, 1]
    with pytest.raises(SelectionError, match="compressed"):
        _ = traj[np.ma.MaskedArray([0, 1], [False, True])]


def test_fields_of_runs_that_have_not_started(traj: Trajectory) -> None:
    seed = traj.runs.seed.values
    assert seed.tolist() == [1000, 1001, 1002, 1003, None]
    assert seed.min() == 1000
    assert traj.runs.worker.values.tolist() == ["main"] * 4 + [None]
    assert np.isnan(traj.runs.duration.values[4])
    assert "1000 … 1003" in repr(traj.runs.seed) or "1000, 1001, 1002, 1003" in repr(traj.runs.seed)
    assert traj.to_pandas(["runs.seed"])["seed"].isna().tolist() == [False] * 4 + [True]
    assert np.isnan(traj.to_xarray(grid=False, columns=["runs.seed"])["seed"].values[4])


# collect --------------------------------------------------------------------------------------------------------------


def test_collect_says_none_where_a_dtype_has_no_nan(traj: Trajectory) -> None:
    assert traj.collect("whole").dtype == object
    assert traj.collect("whole").tolist() == [0, 1, 2, 3, None]
    assert traj[:4].collect("whole").dtype == np.int64
    assert [type(value) for value in traj.collect("int")] == [int, int] + [type(None)] * 3
    assert traj.collect("flag").tolist() == [True, False, None, None, None]
    assert traj.collect("float").dtype == np.float64
    assert np.isnan(traj.collect("float")[2:]).all()
    assert traj.collect("complex").tolist() == [1 + 2j] * 2 + [None] * 3
    assert traj.collect("when").tolist() == [VALUES["when"]] * 2 + [None] * 3
    assert traj.collect("text").tolist() == ["a", "a", None, None, None]
    arrays = traj.collect("V")
    assert arrays.shape == (5,)
    assert arrays[0].tolist() == [0, 1, 2]
    assert arrays[2:].tolist() == [None] * 3
    assert traj[:2].collect("V").shape == (2, 3)
    assert traj.collect("R")[1].tolist() == [0, 1]
    assert traj.collect("worker").tolist() == ["main"] * 4 + [None]


def test_large_whole_numbers_are_collected_exactly(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    builder.run(0, {"n": 2**62 + 1}, series={"s": [1, 2]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.collect("n").tolist() == [2**62 + 1, None]
        series = traj.collect("series/s")
        assert series[0].value.tolist() == [1, 2]
        assert series[1] is None


# files whose states are gone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["int", "flag", "float", "when", "lag", "V", "B", "F", "mixed"])
def test_a_column_without_the_states_it_needs_is_damaged(build_sweep: BuildSweep, name: str) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for i in range(2):
        builder.run(i, {**VALUES, "R": 1, "mixed": [1, 2.5][i], "whole": i})
    path = compile_trajectory(builder.path)
    with h5py.File(path, "a") as file:
        del file[f"_state/results/{name}"]
    with Trajectory.open(path) as traj:
        column = traj.res[name]
        for read in (lambda: column.values, lambda: column[2], column.tolist, lambda: column[:1]):
            with pytest.raises(
                TrajectoryFormatError, match=rf"trajectory\.h5: /results/{name} .*_state/results/{name}"
            ):
                read()
        assert "whole" in repr(traj)
        assert traj.par.i.values.tolist() == [0, 1, 2]


def test_indexed_arrays_without_the_states_they_need_are_damaged(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for i in range(2):
        builder.run(i, {"A": np.arange(30_000.0)})
    path = compile_trajectory(builder.path)
    with h5py.File(path, "a") as file:
        del file["_state/results/A"]
    with Trajectory.open(path) as traj, pytest.raises(TrajectoryFormatError, match=r"results/A .*is gone"):
        _ = traj.res.A[:, 0]


def test_a_series_without_the_states_it_needs_is_damaged(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, series={"s": [1, None, 3]})
    path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        assert traj.series.s[0].value.tolist() == [1, None, 3]
    with h5py.File(path, "a") as file:
        del file["_state/series/s"]
    with Trajectory.open(path) as traj, pytest.raises(TrajectoryFormatError, match=r"series/s .*is gone"):
        _ = traj.series.s[0]
