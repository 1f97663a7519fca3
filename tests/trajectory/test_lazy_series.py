"""Series of arrays: numeric in every run as `RunRecord` has them, and read in parts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.errors import SelectionError
from expedition.trajectory import Trajectory, compile_trajectory
from tests.thoroughness import examples
from tests.trajectory.conftest import BuildSweep, SweepBuilder, recorded_series
from tests.values.equality import exactly_equal

SERIES: dict[str, list[list[Any]]] = {
    "one shape": [[np.full((2, 3), i)] * i for i in range(3)],
    "large": [[np.random.default_rng(i).random((20, 30)) for _ in range(i + 1)] for i in range(3)],
    "a shape per run": [[np.full((i + 1, 2), i / 2)] * (i + 2) for i in range(3)],
    "large, a shape per run": [
        [np.random.default_rng(i).random(200 + i) for _ in range(3)] for i in range(3)
    ],
    "empty": [[np.zeros((0, 3))] * 2, [np.zeros((2, 3))], [np.zeros((0, 3))]],
    "times": [[np.array(["2026-01-01", "NaT"], "M8[s]")] * 2, [np.array(["2026-01-02"], "M8[s]")], []],
    "durations": [[np.array([1, -1], "m8[ms]")] * 2, [np.array([5, 7], "m8[ms]")], []],
    "big-endian": [[np.array([1, 2], ">i2")] * 2, [np.array([3], ">i2")], []],
    "half precision": [[np.array([0.1, 2], "f2")] * 2, [np.array([3], "f2")], []],
    "bool": [[np.array([True])] * 2, [np.array([True, False])], []],
    "complex": [[np.array([1j])] * 2, [np.array([1j, 2])], []],
    "dtypes": [[np.array([1.5])] * 2, [np.array([1])] * 3, []],
    "axes": [[np.array([1.5])] * 2, [np.ones((2, 2))] * 3, []],
    "large dtypes": [[np.arange(500.0)] * 2, [np.arange(600)] * 3, [np.ones((20, 20), "f4")]],
    "arrays and numbers": [[np.array([1.5])] * 2, [1.5, 2.5], []],
    "complex numbers": [[1j, 2j], [1.5, 2.5], [3]],
}


@pytest.mark.parametrize("runs", SERIES.values(), ids=SERIES.keys())
def test_values_are_those_of_the_record_without_its_folder(
    build_sweep: BuildSweep, runs: list[list[Any]]
) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for index, values in enumerate(runs):
        builder.run(index, series={"s": values} if values else {})
    path = compile_trajectory(builder.path)
    expected = [recorded_series(builder.folder(index)) for index in range(3)]
    values_of = [reader.get("s") for reader in expected]
    for index in range(3):
        shutil.rmtree(builder.folder(index))
    with Trajectory.open(path) as traj:
        for index, recorded in enumerate(values_of):
            found = traj.series.s[index]
            if recorded is None:
                assert len(found.value) == 0
                continue
            for name in ("step", "time", "value"):
                assert exactly_equal(getattr(found, name), getattr(recorded, name)), name
            lazy = traj.series.s.lazy(index)
            assert len(recorded.value) < 2 or exactly_equal(lazy.value[1:], recorded.value[1:])
            assert exactly_equal(np.asarray(lazy.value), recorded.value)


def test_what_plain_h5py_finds_of_a_shape_per_run(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(4)])
    for index in (0, 2, 3):
        builder.run(index, series={"s": [np.full((index, 2), index + k) for k in range(3)]})
    with h5py.File(compile_trajectory(builder.path)) as file:
        group = file["series/s"]
        assert group.attrs["encoding"] == "ragged-arrays"
        count, shape, start = group["obs_count"][2], group["shape"][2], group["value_start"][2]
        values = group["value"][start : start + count * shape.prod()].reshape(count, *shape)
        assert values[:, 0, 0].tolist() == [2, 3, 4]
        assert group["obs_count"][1] == 0


@pytest.fixture
def tracked(build_sweep: BuildSweep) -> SweepBuilder:
    builder = build_sweep([{"i": i} for i in range(3)])
    for index in (0, 2):
        series = {
            "V": [np.arange(600.0).reshape(20, 30) + 1000 * k for k in range(7)],
            "own": [np.full((index + 1, 4), k) for k in range(5)],
            "loss": [k / 2 for k in range(10)],
            "odd": ["a", 1, None, np.arange(3)],
            "picture": [{"$": "file", "file": f"data/{k}.png"} for k in range(3)],
        }
        builder.run(index, series=series)
    compile_trajectory(builder.path)
    return builder


def test_a_lazy_series_knows_its_form(tracked: SweepBuilder) -> None:
    with Trajectory.open(tracked.path) as traj:
        lazy = traj.series.V.lazy(2)
        assert (len(lazy), lazy.value.shape, lazy.value.dtype, lazy.value.ndim) == (7, (7, 20, 30), "f8", 3)
        assert (lazy.value.size, lazy.value.nbytes) == (4200, 33600)
        assert (lazy.step.shape, lazy.time.dtype) == ((7,), "M8[us]")
        assert "(7, 20, 30) float64" in repr(lazy.value)
        assert traj.series.V.lazy(1).value.shape == (0, 20, 30)
        assert traj.series.own.lazy(2).value.shape == (5, 3, 4)
        assert [part.shape for part in traj.series.own.lazy(0).value] == [(1, 4)] * 5
        assert traj.series.odd.lazy(0).value.shape == (4,)
        assert traj.series.odd.lazy(0).value[1:3].tolist() == [1, None]
        assert traj.series.picture.lazy(2).value[-1] == str(tracked.folder(2) / "data/2.png")
        assert traj.select([2]).series.V.lazy(0).value[6, 0, 0] == 6000
        with pytest.raises(IndexError, match="there is no run 3"):
            traj.series.V.lazy(3)
        with pytest.raises(SelectionError, match="has no observation 7: they are 0 to 6"):
            _ = lazy.value[7]


def test_part_of_a_series_by_two_indices(tracked: SweepBuilder) -> None:
    with Trajectory.open(tracked.path) as traj:
        part = traj.series.V[2, 2:4]
        assert (part.step.tolist(), part.value.shape) == ([2, 3], (2, 20, 30))
        assert traj.series.V[2, -1, 0, 5].value == 6005
        assert traj.series.V[2, 1:3, 4].value.shape == (2, 30)
        assert traj.series.loss[0, [1, 3]].value.tolist() == [0.5, 1.5]


def test_slicing_reads_only_what_is_asked_for(tracked: SweepBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    from expedition.trajectory.file.store import Store

    read, sizes = Store.read, []

    def spy(store: Store, path: str, selection: Any) -> Any:
        found = read(store, path, selection)
        if path.endswith("/value"):
            sizes.append(np.asarray(found).size)
        return found

    with Trajectory.open(tracked.path) as traj:
        monkeypatch.setattr(Store, "read", spy)
        stacked, own = traj.series.V.lazy(2).value, traj.series.own.lazy(2).value
        _ = stacked[3:5], stacked[1], stacked[2:4, 5:7], stacked[:, 3, -1], own[1:3], own[4]
        assert sizes == [1200, 600, 120, 7, 24, 12]


KEYS = st.one_of(
    st.integers(-8, 7),
    st.slices(8),
    st.lists(st.integers(-7, 6), max_size=4),
    hnp.arrays(bool, 7),
    st.just(Ellipsis),
    st.just(()),
    st.just(None),
)


@settings(deadline=None, max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(key=st.one_of(KEYS, st.tuples(KEYS, st.one_of(st.integers(-3, 3), st.slices(5), st.just(Ellipsis)))))
@pytest.mark.parametrize("width", [0, 1], ids=["stacked", "a shape per run"])
def test_a_lazy_array_is_indexed_like_numpys(
    tmp_path_factory: pytest.TempPathFactory, width: int, key: Any
) -> None:
    file = _indexed_file(tmp_path_factory, width)
    whole = np.arange(7 * 4.0).reshape(7, 4)
    with Trajectory.open(file) as traj:
        lazy = traj.series.s.lazy(1).value
        try:
            expected = whole[key]
        except IndexError:
            with pytest.raises(IndexError):
                _ = lazy[key]
            return
        assert exactly_equal(np.asarray(lazy[key]), np.asarray(expected))


_FILES: dict[int, Path] = {}


def _indexed_file(folders: pytest.TempPathFactory, width: int) -> Path:
    """A trajectory in whose run 1 seven arrays were tracked; made once."""
    if width not in _FILES:
        builder = SweepBuilder(folders.mktemp("lazy") / "sweep", [{"i": 0}, {"i": 1}])
        builder.run(0, series={"s": [np.zeros(4 + width)] * 2})
        builder.run(1, series={"s": list(np.arange(7 * 4.0).reshape(7, 4))})
        _FILES[width] = compile_trajectory(builder.path)
    return _FILES[width]
