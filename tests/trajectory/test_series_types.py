"""Series whose values have several types: equal in value and type to what the record of the run says."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.trajectory import Trajectory, compile_trajectory, merge
from tests.thoroughness import examples
from tests.trajectory.conftest import BuildSweep, recorded_series
from tests.trajectory.growing import GrowingSweep, update_and_compare

INTS = st.integers(-(2**53), 2**53)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 2.5, math.nan, math.inf, -math.inf, 1e300])
NUMPY = st.sampled_from([np.float64(0.5), np.int64(7), np.True_, np.float32(0.1), np.int8(-3)])
ANY = st.one_of(INTS, FLOATS, st.booleans(), st.none(), NUMPY, st.just(2**60 + 1), st.just(2**70))
TRACKED = st.one_of(
    *(st.lists(kind, max_size=5) for kind in (INTS, FLOATS, st.booleans(), st.one_of(INTS, FLOATS), ANY))
)
"""What a run tracks: often values of one type."""
RUNS = st.lists(TRACKED, min_size=1, max_size=3)


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float | np.floating) and left != left:
        return bool(right != right)
    return bool(left == right) and math.copysign(1, left or 0) == math.copysign(1, right or 0)


def assert_like_records(traj: Trajectory, folders: list[Path]) -> None:
    """Every run of a trajectory has the series of the record of its folder, in the same dtype, whole and in parts."""
    for number, folder in enumerate(folders):
        series = recorded_series(folder)
        assert ("s" in traj[number].series) == ("s" in series)
        if "s" not in series:
            continue
        expected, found, lazy = (
            series["s"].value,
            traj[number].series.s.value,
            traj.series.s.lazy(number).value,
        )
        assert found.dtype == expected.dtype
        assert all(map(same, found, expected)), (found, expected)
        if traj.series.s.kind != "json":  # of JSON the type shows when it is read
            assert lazy.dtype == lazy[:1].dtype == expected.dtype
            assert same(lazy[-1], expected[-1])


def grown(path: Path, runs: list[list[Any]], start: int = 0) -> GrowingSweep:
    sweep = GrowingSweep(path, [{"i": start + index} for index in range(len(runs))])
    for index, values in enumerate(runs):
        sweep.run(index, series={"s": values} if values else {})
    return sweep


@settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RUNS, RUNS, RUNS)
def test_a_trajectory_has_the_types_of_the_records(
    first: list[list[Any]], more: list[list[Any]], others: list[list[Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sweep = grown(Path(folder, "one"), first)
        with Trajectory.open(compile_trajectory(sweep.path)) as traj:
            assert_like_records(traj, [sweep.folder(index) for index in range(len(first))])
        sweep.expand([{"i": len(first) + index} for index in range(len(more))])
        for index, values in enumerate(more, len(first)):
            sweep.run(index, series={"s": values} if values else {})
        update_and_compare(sweep.path)
        folders = [sweep.folder(index) for index in range(len(first) + len(more))]
        with Trajectory.open(sweep.path) as traj:
            assert_like_records(traj, folders)
        other = grown(Path(folder, "two"), others, start=100)
        inputs = sweep.path, compile_trajectory(other.path)
        with merge(*inputs, to=Path(folder, "both.h5")) as traj:
            assert_like_records(traj, [*folders, *(other.folder(index) for index in range(len(others)))])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2.5, 3], object),
        ([1, 2, 3], np.int64),
        ([0.5, 2.5], np.float64),
        ([0.5, np.float64(2.5)], np.float64),
        ([None, 2.5], object),
    ],
)
def test_the_type_is_that_of_one_run(build_sweep: BuildSweep, values: list[Any], dtype: type) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    builder.run(0, series={"s": values})
    builder.run(1, series={"s": [1, 0.5, None]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        found = traj[0].series.s.value
        assert found.dtype == recorded_series(builder.folder(0))["s"].value.dtype == dtype
        assert found.tolist() == values
        assert traj.series.s[0, 1:].value.dtype == dtype


def test_a_bool_is_a_bool_beside_a_run_with_none(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    builder.run(0, series={"s": [True, False]})
    builder.run(1, series={"s": [True, None]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj[0].series.s.value.dtype == bool
        assert traj[1].series.s.value.tolist() == [True, None]


def test_ints_and_floats_of_two_sweeps_are_merged_as_they_are(tmp_path: Path) -> None:
    ints, floats = grown(tmp_path / "a", [[1, 2]]), grown(tmp_path / "b", [[0.5, 2.0]], start=5)
    inputs = [compile_trajectory(sweep.path) for sweep in (ints, floats)]
    with merge(*inputs, to=tmp_path / "both.h5") as traj:
        assert traj[0].series.s.value.dtype == np.int64
        assert traj[1].series.s.value.dtype == np.float64
        assert traj.series.s.to_pandas()["value"].dtype == np.float64


def test_series_of_one_type_have_no_states(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, series={"a": [1, 2], "b": [0.5, 2.0], "c": [True, False]})
    with h5py.File(compile_trajectory(builder.path)) as file:
        assert "series" not in file["_state"]
