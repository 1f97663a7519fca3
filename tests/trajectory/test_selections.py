"""Views of some runs: the same values as slicing the whole, and nothing read that is not asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import (
    ClosedError,
    ExpeditionError,
    NameNotFoundError,
    RecordNotFoundError,
    SelectionError,
    TrajectoryFormatError,
)
from expedition.trajectory import Trajectory, compile_trajectory
from expedition.trajectory.reading.run_set import RunSet
from tests.thoroughness import examples
from tests.trajectory.conftest import BuildSweep, SweepBuilder

N = 40


@pytest.fixture(scope="module")
def traj(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trajectory]:
    builder = SweepBuilder(tmp_path_factory.mktemp("selections") / "sweep", [{"i": i} for i in range(N)])
    for i in range(N):
        data: dict[str, Any] = {
            "x": i / 2,
            "n": i,
            "text": f"t{i}",
            "mixed": [i, "a", None][i % 3],
            "V": np.arange(200.0) + i,
            "R": np.arange(i % 5),
            "flag": bool(i % 2),
        }
        if i % 7 == 3:
            data = {"x": None}
        builder.run(i, data, series={"s": [0.5 * i] * (i % 4), "img": [np.full((2, 3), i)] * (i % 3)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray) and one.dtype != object:
        return bool(one.dtype == two.dtype and np.array_equal(one, two, equal_nan=one.dtype.kind == "f"))
    if isinstance(one, list | np.ndarray):
        return len(one) == len(two) and all(map(equal, one, two))
    return type(one) is type(two) and bool(one == two or one != one)


bounds = st.none() | st.integers(-N - 3, N + 3)
slices = st.builds(slice, bounds, bounds, st.none() | st.integers(1, 5) | st.integers(-5, -1))
lists = st.lists(st.integers(-N, N - 1), max_size=60)
masks = st.lists(st.booleans(), min_size=N, max_size=N).map(np.array)
COLUMNS = (
    "results/x",
    "results/n",
    "results/text",
    "results/mixed",
    "results/V",
    "results/R",
    "results/flag",
)


@settings(max_examples=examples(40))
@given(slices | lists | masks, slices, st.sampled_from([*COLUMNS, "parameters/i"]))
def test_views_are_what_slicing_gives(traj: Trajectory, first: Any, second: slice, path: str) -> None:
    whole, exact = traj[path].values, traj[path].tolist("-")
    rows = np.arange(N)[first if len(np.shape(first)) == 0 or len(first) else []]
    view = traj[first]
    assert view.rows.tolist() == rows.tolist()
    assert equal(view[path].values, whole[rows])
    assert equal(view[path].tolist("-"), [exact[row] for row in rows])
    assert equal(view[path].states, traj[path].states[rows])
    assert equal(traj[path][first], whole[rows])
    again = view[second]
    assert equal(again[path].values, whole[rows[second]])
    assert equal(view[path][second], whole[rows[second]])
    assert [run.index for run in again] == rows[second].tolist()
    for position, row in list(enumerate(rows.tolist()))[:3]:
        assert equal(view[path].get(position, "-"), exact[row])
        assert view[position].index == row
        assert view[position - len(rows)].index == row


@settings(max_examples=examples(20))
@given(slices | lists | masks)
def test_series_of_a_view(traj: Trajectory, key: Any) -> None:
    rows = np.arange(N)[key if len(np.shape(key)) == 0 or len(key) else []]
    view = traj[key]
    assert view.series.s.counts.tolist() == [row % 4 for row in rows]
    for position, row in list(enumerate(rows.tolist()))[:5]:
        assert view.series.s[position].value.tolist() == [0.5 * row] * (row % 4)
        assert view.series.img[position].value.shape[0] == row % 3
    frame = view.to_pandas(series=["s", "img"])
    wanted = [row for row in rows for _ in range(row % 4)], [row for row in rows for _ in range(row % 3)]
    for name, runs in zip(("s", "img"), wanted, strict=True):
        part = frame[frame["series"] == name]
        assert part["run"].tolist() == runs
        assert part["step"].tolist() == [k for row in rows for k in range(row % (4 if name == "s" else 3))]


def break_chunks(path: Path, dataset: str, but: set[int]) -> None:
    """Overwrite the stored chunks of a dataset, except for some, so that reading them fails."""
    with h5py.File(path) as file:
        node = file[dataset].id
        chunks = [node.get_chunk_info(number) for number in range(node.get_num_chunks())]
    with open(path, "r+b") as stream:
        for number, chunk in enumerate(chunks):
            if number not in but:
                stream.seek(chunk.byte_offset)
                stream.write(b"\xff" * chunk.size)


VIEWS: dict[str, Callable[[Trajectory], RunSet]] = {
    "slice": lambda traj: traj[1030:1090],
    "whole chunk": lambda traj: traj.select(list(range(1024, 2048))),
    "any order": lambda traj: traj.select([2047, 1024, 1500]),
    "strided": lambda traj: traj[1024:2048:100],
    "backwards": lambda traj: traj[1100:1000:-1].select("i >= 1024"),
}


@pytest.mark.parametrize("select", VIEWS.values(), ids=VIEWS)
def test_a_selection_reads_only_its_chunks(
    build_sweep: BuildSweep, select: Callable[[Trajectory], RunSet]
) -> None:
    builder = build_sweep([{"i": i} for i in range(4000)])
    rng = random.Random(0)
    for i in range(4000):
        builder.run(i, {"x": rng.random(), "word": str(i)})
    path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        expected = select(traj).res.x.values
        words = select(traj).res.word.tolist()
    for name in ("results/x", "results/word"):
        break_chunks(path, name, but={1})
    with Trajectory.open(path) as traj:
        view = select(traj)
        assert view.res.x.values.tolist() == expected.tolist()
        assert view.res.word.tolist() == words
        assert view.to_pandas(["x"])["x"].tolist() == expected.tolist()
        assert (view.collect("x") == expected).all()
        assert len(view.find("x < 2")) == len(view)
        with pytest.raises(TrajectoryFormatError, match="results/x cannot be read"):
            _ = traj.res.x.values


def test_a_selection_of_arrays_reads_only_their_runs(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(60)])
    for i in range(60):
        builder.run(i, {"V": np.arange(40_000.0) + i})  # a chunk of its own
    path = compile_trajectory(builder.path)
    rows = [50, *range(10, 45)]
    with h5py.File(path) as file:
        assert file["results/V"].chunks == (1, 40_000)
    break_chunks(path, "results/V", but=set(rows))
    with Trajectory.open(path) as traj:
        values = traj.select(rows).res.V.values
        assert values.shape == (36, 40_000)
        assert (values[0] == np.arange(40_000.0) + 50).all()
        with pytest.raises(TrajectoryFormatError):
            _ = traj.res.V.values


def test_opening_and_selecting_read_no_column(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(10)])
    for i in range(10):
        builder.run(i, {"x": i / 3, "y": float(i)})
    path = compile_trajectory(builder.path)
    for name in ("results/x", "parameters/i", "runs/id", "runs/status", "runs/key"):
        break_chunks(path, name, but=set())
    with Trajectory.open(path) as traj:
        view = traj[2:8]
        assert len(view[::2]) == 3
        assert view.res.y[1:3].tolist() == [3.0, 4.0]
        assert view[1].res.y == 3.0
        assert "x" in view
        assert traj.res.x.unit is None
        assert traj.find("y > 5").tolist() == [6, 7, 8, 9]


WRONG: dict[str, Callable[[Any], object]] = {
    "t[N]": lambda t: t[N],
    "t[-N - 1]": lambda t: t[-N - 1],
    "t[[0, N]]": lambda t: t[[0, N]],
    "t[np.ones(3, bool)]": lambda t: t[np.ones(3, bool)],
    "t[True]": lambda t: t[True],
    "t[1.5]": lambda t: t[1.5],
    "t[None]": lambda t: t[None],
    "t[[[0, 1]]]": lambda t: t[[[0, 1]]],
    "t.select([N])": lambda t: t.select([N]),
    "t.res.x[N]": lambda t: t.res.x[N],
    "t.res.x[-N - 1]": lambda t: t.res.x[-N - 1],
    "t.res.x[[0, N]]": lambda t: t.res.x[[0, N]],
    "t.res.x[np.ones(3, bool)]": lambda t: t.res.x[np.ones(3, bool)],
    "t.res.x['a']": lambda t: t.res.x["a"],
    "t.res.x[True]": lambda t: t.res.x[True],
    "t.res.x[1:3, 0]": lambda t: t.res.x[1:3, 0],
    "t.res.R[1:3, 0]": lambda t: t.res.R[1:3, 0],
    "t.res.V[N, 0]": lambda t: t.res.V[N, 0],
    "t.res.V[[N], 0]": lambda t: t.res.V[[N], 0],
    "t.res.V[2, 200]": lambda t: t.res.V[2, 200],
    "t.res.x.get(N)": lambda t: t.res.x.get(N),
    "t.res.x.has(-N - 1)": lambda t: t.res.x.has(-N - 1),
    "t.series.s[N]": lambda t: t.series.s[N],
    "t[:3][3]": lambda t: t[:3][3],
    "t[:3].res.x[3]": lambda t: t[:3].res.x[3],
}


@pytest.mark.parametrize("ask", WRONG.values(), ids=WRONG)
def test_out_of_range(traj: Trajectory, ask: Callable[[Trajectory], object]) -> None:
    with pytest.raises(SelectionError) as error:
        ask(traj)
    assert isinstance(error.value, IndexError)
    assert isinstance(error.value, ExpeditionError)
    assert isinstance(error.value, RecordNotFoundError)


def test_messages_of_what_is_out_of_range(traj: Trajectory) -> None:
    with pytest.raises(SelectionError, match=rf"no run {N}: there are {N} in .*trajectory\.h5"):
        _ = traj[N]
    with pytest.raises(
        SelectionError, match=rf"results/x has {N} runs, there is no run 99 in .*trajectory\.h5"
    ):
        _ = traj.res.x[99]
    with pytest.raises(SelectionError, match=r"runs of .*trajectory\.h5: .*out of bounds"):
        _ = traj[[99]]
    with pytest.raises(NameNotFoundError, match=r"run 3 \(.*\) has no results/n"):
        _ = traj.res.n[3]


def test_everything_of_a_closed_trajectory_says_so(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    builder.run(0, {"x": 1.0, "V": np.arange(300.0)}, series={"s": [1.0]})
    traj = Trajectory.open(compile_trajectory(builder.path))
    column, run, view = traj.res.x, traj[0], traj[:2]
    traj.close()
    asks: list[Callable[[], object]] = [
        lambda: column.values,
        lambda: column[0],
        lambda: run.status,
        lambda: run.res.x,
        lambda: view.res.x.values,
        lambda: traj.res.V[0],
        lambda: traj.series.s[0],
        lambda: traj.to_pandas(),
        lambda: traj.find(i=1),
        lambda: traj.aggregate(),
        lambda: traj.to_xarray(),
        lambda: traj["0123456789abcdef"],
    ]
    for ask in asks:
        with pytest.raises(ClosedError, match=r"trajectory\.h5 is closed: .*refresh") as error:
            ask()
        assert isinstance(error.value, ValueError)
    assert traj.refresh()
    assert column.values[0] == 1.0
    traj.close()


ends = st.none() | st.integers(-7, 7)
inner = st.integers(-5, 4) | st.builds(slice, ends, ends, st.sampled_from([None, 2, -1]))


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trajectory, np.ndarray[Any, Any]]]:
    """Results and parameters of six runs that are (5, 5) arrays, and their series of such arrays."""
    data = np.arange(6 * 25).reshape(6, 5, 5)
    path = tmp_path_factory.mktemp("cube") / "sweep"
    builder = SweepBuilder(path, [{"P": data[i]} for i in range(6)])
    for i in range(6):
        builder.run(i, {"A": data[i]}, series={"s": list(data)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj, data


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(st.integers(-6, 5), min_size=1, max_size=4), st.lists(inner, max_size=2))
@pytest.mark.parametrize("path", ["results/A", "parameters/P"])
def test_parts_of_arrays_are_those_that_numpy_takes(
    cube: tuple[Trajectory, np.ndarray[Any, Any]], path: str, rows: list[int], rest: list[Any]
) -> None:
    traj, data = cube
    for runs, wanted in ((traj, data), (traj.select(rows), data[rows])):
        column = runs[path]
        for first in (0, -1, slice(None), slice(None, None, -2), Ellipsis):
            assert np.array_equal(column[(first, *rest)], wanted[(first, *rest)])


@pytest.mark.parametrize("path", ["results/A", "parameters/P"])
def test_lists_of_inner_indices_are_those_of_numpy(
    cube: tuple[Trajectory, np.ndarray[Any, Any]], path: str
) -> None:
    traj, data = cube
    for runs, wanted in ((traj, data), (traj.select([4, 1, 1]), data[[4, 1, 1]])):
        column = runs[path]
        for key in [(Ellipsis, [0, -1]), (0, [2, 1]), (slice(None), [3, 0])]:
            assert np.array_equal(column[key], wanted[key])
        for key in [(Ellipsis, 5), (0, [5]), ([0], [1])]:
            with pytest.raises(SelectionError):
                column[key]
    lazy = traj.series.s.lazy(0).value
    assert np.array_equal(lazy[[5, 0, 1], [4, 0, 2]], data[[5, 0, 1], [4, 0, 2]])


def test_what_was_taken_before_a_refresh_shows_the_file_of_now(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(4)])
    for i in range(2):
        builder.run(i, {"x": i, "g/y": i, "V": np.zeros(2)})
    compile_trajectory(builder.path)
    with Trajectory.open(builder.path) as traj:
        view, run = traj.select([0, 2]), traj[2]
        x, y, array, group = traj.res.x, traj["res/g/y"], traj.res.V, traj.res.g
        builder.run(2, {"x": "text", "g": 5, "V": "none"})
        compile_trajectory(builder.path)
        assert traj.refresh()
        assert x.tolist() == [0, 1, "text", None]
        assert (x.kind, len(x)) == ("json", 4)
        assert view.res.x.tolist() == [0, "text"]
        assert view.res.g.tolist() == [{"y": 0}, 5]
        assert run.res.to_dict() == {"x": "text", "g": 5, "V": "none"}
        assert "json" in repr(view)
        for taken in (y, array):
            with pytest.raises(NameNotFoundError, match="opened again: take the column anew"):
                _ = taken.values
        with pytest.raises(NameNotFoundError, match="opened again: take the group anew"):
            _ = group.y


def test_numbers_beyond_two_to_the_53_are_found_exactly(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for i in range(3):
        builder.run(i, {"n": 2**53 + i, "f": float(2**53 + 2 * i), "u": np.uint64(2**63 + i)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.find(n=2**53 + 1).tolist() == [1]
        assert traj.find(n=float(2**53)).tolist() == [0]
        assert traj.find(f=2**53 + 1).tolist() == []
        assert traj.find(f=2**53 + 2).tolist() == [1]
        assert traj.find(u=2**63 + 1).tolist() == [1]
        assert traj.find(n=float("inf")).tolist() == traj.find(n=2**70).tolist() == []
