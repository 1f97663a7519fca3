"""Series: CF ragged arrays made from the journals of the runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from expedition.recording.journal import Journal
from expedition.trajectory import Trajectory, compile_trajectory
from tests.trajectory.conftest import START, BuildSweep


def test_scalars_of_all_runs(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(4)])
    for index in (2, 0):
        builder.run(index, series={"fold/rmse": [index + k / 10 for k in range(index + 2)]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        series = traj.series["fold/rmse"]
        step, time, value = series[2]
        assert step.tolist() == [0, 1, 2, 3]
        assert time.dtype == "M8[us]"
        assert time.astype(np.int64).tolist() == [START + 2_000_000 + k for k in range(4)]
        assert value.tolist() == [2.0, 2.1, 2.2, 2.3]
        assert series.counts.tolist() == [2, 0, 4, 0]
        assert series[1].value.tolist() == []
        assert [each and len(each.value) for each in series] == [2, None, 4, None]
        assert traj[0].series.fold.rmse.value.tolist() == [0.0, 0.1]
        assert list(traj[0].series) == ["fold"]
        assert list(traj[1].series) == []
        assert "fold/rmse" not in traj[3].series


VALUES: dict[str, tuple[list[Any], str]] = {
    "float": ([1.0, math.nan, math.inf], "float64"),
    "int": ([1, -5, 2**62], "int64"),
    "bool": ([True, False], "bool"),
    "int and float": ([1, 2.5, 3], "object"),
    "float and None": ([1.0, None], "object"),
    "bool and None": ([True, None, False], "object"),
    "float32": ([np.float32(0.1), np.float32(2)], "float32"),
    "float16": ([np.float16(0.1)], "float16"),
    "int8": ([np.int8(-3)], "int8"),
    "numpy bool": ([np.True_, np.False_], "bool"),
    "too large for float": ([2**53 + 1, 0.5], "object"),
    "big": ([2**70, 1], "object"),
    "mixed": ([1, True, np.float32(1.5), None, 2.5], "object"),
    "complex": ([1j, 2.0], "object"),
    "text": (["a", "b"], "object"),
}


@pytest.mark.parametrize(("values", "dtype"), VALUES.values(), ids=VALUES.keys())
def test_values_keep_their_type(build_sweep: BuildSweep, values: list[Any], dtype: str) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    builder.run(0, series={"s": values})
    builder.run(1, series={"s": values[::-1]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        for index, expected in enumerate((values, values[::-1])):
            found = traj[index].series.s.value
            assert found.dtype == dtype
            for left, right in zip(found.tolist() if dtype == "object" else found, expected, strict=True):
                assert (right is None and left != left) or left == right or (left != left and right != right)
                assert dtype != "object" or type(left) is type(right)


def test_states_tell_ints_and_none_among_floats(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, series={"s": [1.0] * 9000 + [1, None]})
    with h5py.File(compile_trajectory(builder.path)) as file:
        assert file["_state/series/s"][-3:].tolist() == [1, 3, 2]
        assert (
            file["_state/series/s"].attrs["flag_meanings"]
            == "missing value none int_in_float see_json numpy_scalar"
        )


def test_numpy_and_builtin_numbers_share_a_series(build_sweep: BuildSweep) -> None:
    values = [np.float64(0.5), 0.25, None, np.float64("nan")]
    builder = build_sweep([{"i": 0}])
    builder.run(0, series={"s": values})
    with h5py.File(compile_trajectory(builder.path)) as file:
        assert file["series/s/value"].dtype == np.float64
        assert file["_state/series/s"][:].tolist() == [5, 1, 2, 5]
    with Trajectory.open(builder.path) as trajectory:
        found = trajectory.series["s"][0].value.tolist()
        assert list(map(type, found)) == [np.float64, float, type(None), np.float64]
        assert found[:3] == values[:3]


@pytest.mark.parametrize("shape", [(3,), (20, 30)])
def test_arrays_of_one_shape_are_stacked(build_sweep: BuildSweep, shape: tuple[int, ...]) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for index in (0, 2):
        arrays = [np.full(shape, index + k / 4, np.float32) for k in range(300)]
        builder.run(index, series={"img": arrays})
    path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        value = traj[2].series.img.value
        assert (value.shape, value.dtype) == ((300, *shape), np.float32)
        assert value[299].ravel()[0] == 2 + 299 / 4
        assert traj.series.img[0].value[1].ravel()[-1] == 0.25
    with h5py.File(path) as file:
        assert file["series/img/value"].shape == (600, *shape)


def test_other_arrays_stay_exact(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    ragged = [np.arange(k) for k in range(3)]
    builder.run(
        0, series={"r": ragged, "both": [np.arange(500.0), 1.5], "when": [np.array(["2026"], "M8[Y]")]}
    )
    builder.run(1, series={"r": [np.arange(500.0)]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert [each.tolist() for each in traj[0].series.r.value] == [[], [0], [0, 1]]
        assert traj[1].series.r.value[0].tolist() == np.arange(500.0).tolist()
        assert traj[0].series.both.value[0][499] == 499.0
        assert traj[0].series.both.value[1] == 1.5
        assert traj[0].series.when.value[0] == np.array(["2026"], "M8[Y]")


def test_files_are_paths(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    names = [f"data/series/plot_{k:06d}.png" for k in range(3)]
    builder.run(0, series={"plot": [{"$": "file", "file": name} for name in names]})
    path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        assert traj[0].series.plot.value.tolist() == [str(builder.path / "0000-x" / name) for name in names]
    with h5py.File(path) as file:
        assert file["series/plot/value"].asstr()[:].tolist() == names


def test_torn_journals_and_damaged_arrays(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    builder.run(0, series={"s": [1.0, 2.0], "a": [np.arange(300.0), np.arange(300.0)]})
    builder.run(1, series={"s": [3.0], "a": [np.arange(300.0)]})
    journal = builder.folder(0) / "experiment_journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"e":"track","n":"s","s":9')
    data = builder.folder(0) / "data" / "series.bin"
    data.write_bytes(data.read_bytes()[:-8])
    with pytest.warns(UserWarning, match="series 'a'"):
        path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        assert traj[0].series.s.value.tolist() == [1.0, 2.0]
        assert traj[0].series.a.value[0, 299] == 299.0
        assert np.isnan(traj[0].series.a.value[1]).all()
        assert traj[1].series.a.value[0, 299] == 299.0


def test_the_step_that_the_run_gave(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, series={"s": [1.0]})
    journal = Journal(builder.folder(0) / "experiment_journal.jsonl")
    journal.write('{"e":"track","n":"s","s":-7,"t":5,"v":2.5}')
    journal.write('{"e":"track","n":"unknown","s":0,"t":5,"v":2.5}')
    journal.close()
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj[0].series.s.step.tolist() == [0, -7]


def test_more_observations_than_one_batch(build_sweep: BuildSweep, tmp_path: Path) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    for index in range(2):
        builder.run(index, series={"a": [k * 0.5 for k in range(9001)], "b": [1] * 10, "c": ["t"] * 300})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj[1].series.a.value.tolist() == [k * 0.5 for k in range(9001)]
        assert traj[1].series.a.step.tolist() == list(range(9001))
        assert traj[1].series.b.value.tolist() == [1] * 10
        assert traj[1].series.c.value.tolist() == ["t"] * 300
    assert not list(builder.path.glob("*tmp*"))


@pytest.mark.parametrize("runs", [[0, 1], [0]])
def test_a_series_of_which_the_journals_are_gone_costs_no_other_column(
    build_sweep: BuildSweep, runs: list[int]
) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    for index in range(2):
        builder.run(index, {"x": index}, series={"loss": [0.5, 1.5]})
    for index in runs:  # as while what an earlier attempt left is set aside
        (builder.folder(index) / "experiment_journal.jsonl").unlink()
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.res.x.tolist() == [0, 1]
        assert traj.series.loss.counts.tolist() == [0 if index in runs else 2 for index in range(2)]
        assert traj.series.loss[0].value.tolist() == []
        assert len(traj.series.loss.to_pandas()) == 2 * (2 - len(runs))
