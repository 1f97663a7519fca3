"""Arrays, and values made of several arrays, in the file itself: exact, and each once where they repeat."""

from __future__ import annotations

import json
import random
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.errors import DamagedError, TrajectoryFormatError
from expedition.trajectory import Trajectory, compile_trajectory
from expedition.trajectory.reading.stored_column import StoredColumn
from tests.thoroughness import examples
from tests.trajectory.conftest import BuildSweep, SweepBuilder
from tests.values.equality import exactly_equal

ABSENT = object()


def same(left: Any, right: Any) -> bool:
    """Equal in value and type, with the arrays that sparse matrices are made of and the kinds of indices."""
    if sp.issparse(left) and sp.issparse(right):
        names = {"csr": "data indices indptr", "csc": "data indices indptr", "bsr": "data indices indptr"}
        parts = names.get(left.format, {"dia": "data offsets"}.get(left.format, "")).split()
        return (
            type(left) is type(right)
            and left.dtype == right.dtype
            and all(exactly_equal(getattr(left, name), getattr(right, name)) for name in parts)
            and exactly_equal(left, right)
        )
    if isinstance(left, pd.DataFrame | pd.Series) and type(left) is type(right):
        return type(left.index) is type(right.index) and exactly_equal(left, right)
    return exactly_equal(left, right)


def check(builder: SweepBuilder, cells: Sequence[Any], encoding: str | None = None) -> None:
    """Store `cells` as ``x``, take the run folders away, and compare what the file alone gives."""
    for index, value in enumerate(cells):
        builder.run(index, {} if value is ABSENT else {"x": value})
    path = compile_trajectory(builder.path)
    for index in range(len(cells)):
        shutil.rmtree(builder.folder(index))
    with Trajectory.open(path) as traj:
        if all(value is ABSENT for value in cells):
            return
        column = traj.res.x
        if encoding is not None:
            assert column.encoding == encoding
        listed = column.tolist(missing=ABSENT)
        for index, value in enumerate(cells):
            if value is ABSENT:
                assert listed[index] is ABSENT
                assert not column.has(index)
            else:
                assert same(listed[index], value), (listed[index], value)
                assert same(column[index], value)
        assert len(column[1:]) == len(column.values) - 1


# every kind of value --------------------------------------------------------------------------------------------

dtypes = st.sampled_from(
    [
        "?",
        "<i1",
        "<u2",
        ">i4",
        "<u8",
        "<f2",
        "<f4",
        "<f8",
        "<c8",
        "<c16",
        "<M8[ns]",
        "<M8[D]",
        ">M8[us]",
        "<m8[ms]",
    ]
)
shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=12)
plain_arrays = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes))
odd_arrays = st.one_of(
    hnp.arrays("<f8", ()),
    hnp.arrays(np.dtype("U4"), (2,), elements=st.text(st.characters(codec="utf-8"), max_size=4)),
    st.just(np.arange(3, dtype=np.longdouble)),
)
RECORDS: list[list[Any]] = [
    [("a", "<i4"), ("b", "<f8")],
    [("a", ">u2"), ("b", [("c", "<f2"), ("d", "<c8", (2,))])],
    [("obs_start", "?"), ("form", "<M8[ns]"), ("a_dim1", "i1")],
    [("n", "<i8"), ("t", "S3")],
]
MASKED = ["<f8", "<i2", "?", "<f2"]
STYLES = ["csr", "csc", "bsr", "coo", "dia", "dok", "lil"]


def records(descrs: list[Any]) -> st.SearchStrategy[Any]:
    """Structured arrays."""
    shapes = hnp.array_shapes(max_dims=2, max_side=5)
    return st.builds(filled, st.sampled_from(descrs).map(np.dtype), shapes)


def filled(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An array of any dtype, of numbers that count up."""
    raw = np.arange(int(np.prod(shape)) * dtype.itemsize, dtype=np.uint8) % 2
    return np.frombuffer(raw.tobytes(), dtype).reshape(shape).copy()


@st.composite
def masked_arrays(draw: Callable[..., Any], kinds: Sequence[str]) -> Any:
    data = draw(st.sampled_from(kinds).flatmap(lambda d: hnp.arrays(d, shapes)))
    mask = draw(st.one_of(st.just(np.ma.nomask), hnp.arrays(bool, data.shape)))
    value = np.ma.MaskedArray(data, mask=mask, fill_value=draw(st.sampled_from([None, 1])))
    if draw(st.booleans()):
        value.harden_mask()
    return value


@st.composite
def sparse_values(draw: Callable[..., Any], styles: Sequence[str]) -> Any:
    style = draw(st.sampled_from(styles))
    dense = np.zeros(
        (2 * draw(st.integers(1, 20)), 2 * draw(st.integers(1, 4))), draw(st.sampled_from(["f8", "f4", "i2"]))
    )
    for _ in range(draw(st.integers(0, 6))):
        dense[draw(st.integers(0, dense.shape[0] - 1)), draw(st.integers(0, dense.shape[1] - 1))] = draw(
            st.integers(1, 9)
        )
    family = draw(st.sampled_from(["array", "matrix"]))
    value = getattr(sp, f"{style}_{family}")(dense)
    if style in ("csr", "csc") and draw(st.booleans()):
        value.indices, value.indptr = value.indices.astype(np.int64), value.indptr.astype(np.int64)
    return value


LENGTH = st.integers(0, 5)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
columns_of_frames: dict[str, Callable[[int], st.SearchStrategy[Any]]] = {
    "float": lambda n: hnp.arrays("f8", n),
    "int8": lambda n: hnp.arrays("i1", n),
    "bool": lambda n: hnp.arrays("?", n),
    "complex": lambda n: hnp.arrays("c16", n),
    "text": lambda n: st.lists(texts, min_size=n, max_size=n).map(lambda v: pd.array(v, dtype="str")),
    "string": lambda n: st.lists(st.one_of(texts, st.none()), min_size=n, max_size=n).map(
        lambda v: pd.array(v, dtype="string")
    ),
    "object": lambda n: st.lists(
        st.one_of(texts, st.none(), st.integers(), st.floats()), min_size=n, max_size=n
    ).map(lambda v: pd.Series(v, dtype=object).array),
    "Int64": lambda n: st.lists(st.one_of(st.integers(-9, 9), st.none()), min_size=n, max_size=n).map(
        lambda v: pd.array(v, dtype="Int64")
    ),
    "boolean": lambda n: st.lists(st.sampled_from([True, False, None]), min_size=n, max_size=n).map(
        lambda v: pd.array(v, dtype="boolean")
    ),
    "category": lambda n: st.lists(st.sampled_from(["u", "v", None]), min_size=n, max_size=n).map(
        lambda v: pd.Categorical(v, categories=["v", "u", "w"], ordered=True)
    ),
    "when": lambda n: st.just(pd.date_range("2026-01-01", periods=n, freq="h")),
    "zoned": lambda n: st.just(pd.date_range("2026-03-29", periods=n, freq="h", tz="Europe/Berlin")),
    "delta": lambda n: st.just(pd.to_timedelta(np.arange(n), unit="s")),
    "period": lambda n: st.just(pd.period_range("2026-01", periods=n, freq="M")),
}


def indices(n: int) -> st.SearchStrategy[Any]:
    """Indices of length n of every kind."""
    return st.sampled_from(
        [
            pd.RangeIndex(n),
            pd.RangeIndex(5, 5 + 2 * n, 2, name="step"),
            pd.Index(np.arange(n) / 2, name="x"),
            pd.Index([f"r{k}" for k in range(n)], name="name", dtype="str"),
            pd.date_range("2026-01-01", periods=n, freq="D", name="day"),
            pd.date_range("2026-01-01", periods=n, tz="UTC").tz_convert("Asia/Tokyo"),
            pd.MultiIndex.from_arrays([np.arange(n) % 2, [f"k{i}" for i in range(n)]], names=["a", None]),
            pd.CategoricalIndex(["u"] * n, categories=["u", "v"]),
        ]
    )


@st.composite
def frames(draw: Callable[..., Any], names: Sequence[str]) -> Any:
    n = draw(LENGTH)
    columns = {name: draw(columns_of_frames[name](n)) for name in names}
    return pd.DataFrame(columns, index=draw(indices(n)))


@st.composite
def named_series(draw: Callable[..., Any]) -> Any:
    n = draw(LENGTH)
    kind = draw(st.sampled_from(list(columns_of_frames)))
    return pd.Series(
        draw(columns_of_frames[kind](n)),
        index=draw(indices(n)),
        name=draw(st.sampled_from(["v", None, ("a", 1), 3])),
    )


def alike(dtype: str) -> st.SearchStrategy[st.SearchStrategy[Any]]:
    """Arrays of one dtype and number of axes, of one shape or not."""
    shape = hnp.array_shapes(min_dims=1, max_dims=2, max_side=30)
    return st.one_of(
        shape.map(lambda one: hnp.arrays(dtype, one, fill=st.nothing())),
        st.just(hnp.arrays(dtype, st.integers(0, 300))),
        st.just(hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12))),
    )


kinds = st.one_of(
    dtypes.flatmap(alike),
    st.sampled_from(RECORDS).map(lambda descr: records([descr])),
    st.sampled_from(MASKED).map(lambda dtype: masked_arrays([dtype])),
    st.sampled_from(STYLES).map(lambda style: sparse_values([style])),
    st.sampled_from(
        [
            plain_arrays,
            odd_arrays,
            records(RECORDS),
            masked_arrays(MASKED),
            sparse_values(STYLES),
            frames(list(columns_of_frames)),
            frames(["float", "text"]),
            st.sets(st.sampled_from(list(columns_of_frames))).flatmap(lambda names: frames(sorted(names))),
            named_series(),
            st.one_of(plain_arrays, masked_arrays(MASKED), named_series(), st.integers()),
        ]
    ),
)
columns = kinds.flatmap(
    lambda kind: st.lists(st.one_of(kind, kind, kind, st.none(), st.just(ABSENT)), min_size=1, max_size=4)
)


@settings(deadline=None, max_examples=examples(50), suppress_health_check=list(HealthCheck))
@given(cells=columns)
def test_any_column_of_arrays_is_exact_without_its_run_folders(tmp_path: Path, cells: list[Any]) -> None:
    shutil.rmtree(tmp_path / "sweep", ignore_errors=True)
    check(SweepBuilder(tmp_path / "sweep", [{"i": i} for i in range(len(cells))]), cells)


@settings(deadline=None, max_examples=examples(20), suppress_health_check=list(HealthCheck))
@given(
    values=kinds.flatmap(lambda kind: st.lists(kind, min_size=1, max_size=3)),
    rows=st.lists(st.integers(0, 2), min_size=1),
)
def test_parameters_of_any_kind_are_stored_once(tmp_path: Path, values: list[Any], rows: list[int]) -> None:
    shutil.rmtree(tmp_path / "sweep", ignore_errors=True)
    chosen = [values[row % len(values)] for row in rows]
    builder = SweepBuilder(tmp_path / "sweep", [{"w": value} for value in chosen], {"fixed": values[0]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        for row, value in enumerate(chosen):
            assert same(traj.par.w[row], value)
            assert same(traj[row].params.fixed, values[0])
        for column in (traj.par.w, traj.par.fixed):
            listed = column.tolist()
            assert all(same(one, column[row]) for row, one in enumerate(listed))


# each distinct array once ----------------------------------------------------------------------------------------


def entry_of(path: Path, name: str) -> dict[str, Any]:
    """What the schema says of a column."""
    with h5py.File(path) as file:
        entry: dict[str, Any] = json.loads(file["_meta/schema"].asstr()[()])["columns"][name]
    return entry


def test_fifty_runs_with_two_arrays_store_two(build_sweep: BuildSweep) -> None:
    rows = [
        {"w": np.arange(2000.0) + i % 2, "r": np.arange(3 + i % 2), "m": np.full((2, 2), True)}
        for i in range(50)
    ]
    builder = build_sweep(rows, {"fixed": np.arange(4, dtype=">i2")})
    path = compile_trajectory(builder.path)
    with h5py.File(path) as file:
        assert file["parameters/w/value"].shape == (2, 2000)
        assert file["parameters/w/index"][:].tolist() == [0, 1] * 25
        assert file["parameters/r/value"][:].tolist() == [0, 1, 2, 0, 1, 2, 3]
        assert file["parameters/m/value"].shape == (1, 2, 2)
        assert file["parameters/fixed/value"][:].tolist() == [[0, 1, 2, 3]]
        assert dict(file["parameters/r"].attrs)["encoding"] == "indexed"
    with Trajectory.open(path) as traj:
        column = traj.par.w
        assert (column.encoding, column.layout, column.shape, column.dtype) == (
            "indexed",
            "stacked",
            (50, 2000),
            "f8",
        )
        assert column[3].tolist() == (np.arange(2000.0) + 1).tolist()
        assert column[-1, 5:7].tolist() == [6.0, 7.0]
        assert column[3:5, 1].tolist() == [2.0, 1.0]
        assert column[10:0:-3].shape == (4, 2000)
        assert column[[0, 49, 3]][:, 0].tolist() == [0.0, 1.0, 1.0]
        assert column[..., 0].tolist() == [0.0, 1.0] * 25
        assert column.values.tolist() == [row["w"].tolist() for row in rows]
        assert traj[7].params.r.tolist() == [0, 1, 2, 3]
        assert column.distinct(7) == 1
        assert traj.par.m.values.dtype == bool
        assert traj.par.fixed[49].dtype == ">i2"
        listed = column.tolist()
        assert listed[1] is listed[3]
        with pytest.raises(ValueError, match="read-only"):
            listed[0][0] = 1
        column[0][0] = 1  # what is read anew is the reader's own
        assert traj.select([1, 2]).par.w.values[:, 0].tolist() == [1.0, 0.0]


def test_holes_of_indexed_arrays_are_those_of_other_columns(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(8)])
    for i in range(6):
        data = {
            "x": np.arange(4000.0) + i % 2,
            "b": np.arange(30_000) % 2 == 0,
            "n": np.arange(4000, dtype="u2"),
        }
        builder.run(i, {name: None if i == 5 else value for name, value in data.items()})
    path = compile_trajectory(builder.path)
    with h5py.File(path) as file:
        assert file["results/x/index"][:].tolist() == [0, 1, 0, 1, 0, -1, -1, -1]
    with Trajectory.open(path) as traj:
        assert traj.res.x.states.tolist() == [1, 1, 1, 1, 1, 2, 0, 0]
        assert np.isnan(traj.res.x.values[5:]).all()
        assert traj.res.x[5] is None
        assert not traj.res.x.has(6)
        assert traj.res.b.encoding == traj.res.n.encoding == "indexed"
        assert traj.res.b.values[6, :3].tolist() == [None] * 3
        assert traj.res.b[0].dtype == bool
        assert traj.res.n[4:7, 1].tolist() == [1, None, None]
        assert np.isnan(traj.res.x[6:8]).all()


def test_results_are_indexed_only_where_that_saves_room(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(10)])
    for i in range(10):
        data = {"small": np.arange(10), "own": np.arange(5000.0) + i, "pairs": np.arange(5000.0) + i // 2}
        builder.run(
            i, {**data, "three": np.arange(5000.0) + i % 6, "csr": sp.csr_matrix(np.eye(200) * (i % 2 + 1))}
        )
    path = compile_trajectory(builder.path)
    encodings = {
        name: entry_of(path, f"results/{name}").get("encoding") for name in ("small", "own", "pairs", "three")
    }
    assert encodings == {"small": None, "own": None, "pairs": "indexed", "three": None}
    assert entry_of(path, "results/csr")["values"] == "csr-per-run"
    with Trajectory.open(path) as traj:
        assert traj.res.pairs[7, 1] == 4.0
        assert same(traj.res.csr[9], sp.csr_matrix(np.eye(200) * 2))


def test_arrays_that_only_share_a_checksum_stay_apart(build_sweep: BuildSweep) -> None:
    numbers = random.Random(0)
    seen: dict[int, bytes] = {}
    while True:
        content = numbers.randbytes(8) * 500
        other_content = seen.setdefault(zlib.crc32(content), content)
        if other_content != content:
            break
    one, other = np.frombuffer(content, "<u8"), np.frombuffer(other_content, "<u8")
    assert zlib.crc32(one.tobytes()) == zlib.crc32(other.tobytes())
    builder = build_sweep([{"i": i, "p": (one, other)[i % 2]} for i in range(20)])
    for i in range(20):
        builder.run(i, {"x": (one, other)[i % 2]})
    path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        assert traj.res.x.encoding == "indexed"
        for i in range(20):
            assert same(traj.res.x[i], (one, other)[i % 2])
            assert same(traj.par.p[i], (one, other)[i % 2])


# layouts ---------------------------------------------------------------------------------------------------------


def test_what_plain_h5py_finds_of_a_sparse_matrix(build_sweep: BuildSweep) -> None:
    matrices = [sp.random_array((30, 20 + i), density=0.1, format="csr", rng=i) for i in range(3)]
    builder = build_sweep([{"i": i} for i in range(4)])
    for i, matrix in enumerate(matrices):
        builder.run(i, {"A": matrix})
    path = compile_trajectory(builder.path)
    with h5py.File(path) as file:
        group = file["results/A"]
        assert group.attrs["encoding"] == "csr-per-run"
        for i, matrix in enumerate(matrices):
            nonzero = slice(group["nnz_start"][i], group["nnz_start"][i] + group["nnz_count"][i])
            pointer = slice(group["ptr_start"][i], group["ptr_start"][i] + group["ptr_count"][i])
            parts = group["data"][nonzero], group["indices"][nonzero], group["indptr"][pointer]
            again = sp.csr_array(parts, shape=tuple(group["shape"][i]))
            assert (again != matrix).nnz == 0
        assert group["nnz_count"][3] == 0


def test_what_plain_h5py_finds_of_a_frame(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for i in range(3):
        frame = pd.DataFrame(
            {
                "x": np.arange(i + 1) / 2,
                "index": pd.array([None, *range(i)], dtype="Int64"),
                "class": pd.Categorical(["b"] * (i + 1), categories=["a", "b"]),
                "a/b ": ["é"] * (i + 1),
                "when": pd.date_range("2026", periods=i + 1, tz="UTC"),
            },
            index=pd.Index(list(range(i + 1)), name="row"),
        )
        builder.run(i, {"f": frame})
    path = compile_trajectory(builder.path)
    with h5py.File(path) as file:
        group = file["results/f"]
        start, count = group["row_start"][2], group["row_count"][2]
        assert group["x"][start : start + count].tolist() == [0, 0.5, 1]
        assert group["row"][start : start + count].tolist() == [0, 1, 2]
        assert group["index_"][start : start + count].tolist() == [0, 0, 1]
        assert group["index__missing"][start : start + count].tolist() == [1, 0, 0]
        labels = json.loads(group["class"].attrs["categories"])
        assert [labels[code] for code in group["class"][:]] == ["b"] * 6
        (odd,) = (name for name in group if name.startswith("a-b~"))
        assert group[odd].asstr()[:].tolist() == ["é"] * 6
        assert group["when"].attrs["pandas_dtype"] == "datetime64[us, UTC]"
    with Trajectory.open(path) as traj:
        assert traj.res.f[2, "x"].tolist() == [0, 0.5, 1]
        assert traj.res.f[1].columns.tolist() == ["x", "index", "class", "a/b ", "when"]


def test_frames_of_runs_without_events_share_the_columns(build_sweep: BuildSweep) -> None:
    """An empty list gives a column of another dtype, an empty frame none at all."""
    frames_ = [
        pd.DataFrame({"t": [1.5], "what": ["hit"]}),
        pd.DataFrame({"t": [], "what": []}),
        pd.DataFrame(),
        pd.DataFrame({"t": [2.5, 3.5], "what": ["hit", None]}),
    ]
    builder = build_sweep([{"i": i} for i in range(4)])
    check(builder, frames_, "frame-per-run")


def test_masked_and_structured_arrays_of_one_shape_are_stacked(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    descr = np.dtype([("a", "<i4"), ("b", [("x", "<f8"), ("y", "?", (2,))])])
    for i in range(2):
        masked = np.ma.masked_array(np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3) % 2 == i)
        builder.run(
            i, {"m": masked if i else np.ma.masked_array(np.ones((2, 3))), "s": np.full((4,), i, descr)}
        )
    path = compile_trajectory(builder.path)
    with h5py.File(path) as file:
        assert file["results/m/value"].shape == file["results/m/mask"].shape == (3, 2, 3)
        assert file["results/m/mask"][1].tolist() == [[0, 1, 0], [1, 0, 1]]
        assert file["results/m/value"].dims[1][0] == file["results/m/mask"].dims[1][0]
        assert file["results/s/a"].shape == (3, 4)
        assert file["results/s/b.y"].shape == (3, 4, 2)
    with Trajectory.open(path) as traj:
        assert traj.res.m[0].mask is np.ma.nomask
        assert traj.res.m[1, 0].tolist() == [0.0, None, 2.0]
        assert traj.res.s[1]["b"]["x"].tolist() == [1.0] * 4


@pytest.mark.parametrize(
    "cells",
    [
        [sp.csr_array(np.eye(3)), sp.csc_array(np.eye(3))],
        [sp.csr_array(np.eye(3)), np.eye(3)],
        [pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})],
        [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["x"]})],
        [np.ma.masked_array([1]), np.ma.masked_array([[1]])],
        [np.ma.masked_array(1.5, True), np.ma.masked_array(1.5)],
        [pd.DataFrame({i: [i] for i in range(300)}), ABSENT],
        [np.array([("a", 1)], [("t", "U3"), ("n", "i4")]), np.array([("b", 2)], [("t", "U3"), ("n", "i4")])],
        [
            [np.arange(2000.0), {"f": pd.DataFrame({"a": [1.5]}), "s": sp.csr_matrix(np.eye(50))}],
            None,
            ABSENT,
        ],
        [np.arange(300.0), np.arange(300), np.zeros((2, 2))],
        [pd.Index([1, 2]), pd.Timestamp("2026")],
    ],
    ids=[
        "formats",
        "dense",
        "columns",
        "dtypes",
        "axes",
        "scalars",
        "wide",
        "text",
        "nested",
        "arrays",
        "pandas",
    ],
)
def test_what_has_no_common_layout_is_json_in_the_file(build_sweep: BuildSweep, cells: list[Any]) -> None:
    check(build_sweep([{"i": i} for i in range(len(cells))]), cells, "json")


def test_numbers_of_several_widths_share_a_layout(build_sweep: BuildSweep) -> None:
    small, large = sp.csr_matrix(np.eye(3, dtype="f4")), sp.csr_matrix(np.eye(4))
    large.indices = large.indices.astype(np.int64)
    builder = build_sweep([{"i": i} for i in range(2)])
    check(builder, [small, large], "csr-per-run")
    with h5py.File(builder.path / "trajectory.h5") as file:
        assert (file["results/x/data"].dtype, file["results/x/indices"].dtype) == ("f8", "i8")


# large and damaged values ----------------------------------------------------------------------------------------

MIB = 1 << 20


def test_large_values_stay_references_and_small_ones_are_in_the_file(build_sweep: BuildSweep) -> None:
    dense = np.random.default_rng(0).random((600, 600))
    cells = {
        "r": [np.arange(10), np.arange(MIB), np.arange(20)],
        "csr": [sp.csr_array(np.eye(5)), sp.csr_array(dense), sp.csr_array(np.eye(6))],
        "frame": [pd.DataFrame({"x": [1.5]}), pd.DataFrame({"x": dense.ravel()}), pd.DataFrame({"x": []})],
        "masked": [np.ma.masked_array([1.0]), np.ma.masked_array(dense), np.ma.masked_array([2.0])],
        "odd": [[1], [dense], {"a": np.arange(3)}],
    }
    builder = build_sweep([{"i": i} for i in range(3)])
    for i in range(3):
        builder.run(i, {name: values[i] for name, values in cells.items() if name != "masked" or i != 1})
    path = compile_trajectory(builder.path)
    assert path.stat().st_size < MIB
    with Trajectory.open(path) as traj:
        for name, values in cells.items():
            for i, value in enumerate(values):
                if name != "masked" or i != 1:
                    assert same(traj.results[name][i], value)
        assert traj.res.r.states.tolist() == [1, 4, 1]
        column = traj.res.csr
        assert isinstance(column, StoredColumn)
        assert column.reference(0) is None
        reference = column.reference(1)
        assert reference is not None
        assert (reference["$"], reference["shape"]) == ("sparse", [600, 600])
    shutil.rmtree(builder.folder(1))
    with Trajectory.open(path) as traj:
        assert same(traj.res.r[2], np.arange(20))
        for name in ("r", "csr", "frame", "odd"):
            with pytest.raises(DamagedError, match=r"0001-x.*missing"):
                _ = traj.results[name][1]


def test_large_arrays_of_one_shape_are_in_the_file_whatever_they_are(build_sweep: BuildSweep) -> None:
    rng = np.random.default_rng(0)
    builder = build_sweep([{"i": i} for i in range(4)])
    descr = np.dtype([("a", "<i8"), ("b", [("x", "<f8"), ("y", "<f4", (2,))])])
    cells: dict[int, dict[str, Any]] = {}
    for i in (0, 1, 3):
        masked = np.ma.masked_array(rng.random((500, 500)), rng.random((500, 500)) < 0.5, fill_value=i)
        bare = np.ma.masked_array(rng.random(200_000), np.ma.nomask if i else rng.random(200_000) < 0.5)
        records_ = np.zeros((30_000, 2), descr)
        records_["b"]["y"] = rng.random((30_000, 2, 2))
        records_["a"] = i
        cells[i] = {
            "m": masked,
            "bare": bare,
            "s": np.asfortranarray(records_),
            "f": np.asfortranarray(masked.data),
        }
        builder.run(i, cells[i])
    path = compile_trajectory(builder.path)
    for i in range(4):
        shutil.rmtree(builder.folder(i))
    with Trajectory.open(path) as traj:
        for i, values in cells.items():
            for name, value in values.items():
                assert same(traj.results[name][i], value), name
        assert traj.res.m.states.tolist() == [1, 1, 0, 1]
    with h5py.File(path) as file:
        assert file["results/m/value"].shape == (4, 500, 500)
        assert file["results/s/b.y"].shape == (4, 30_000, 2, 2)


def damage(file: Path) -> None:
    """Change a byte in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)


def test_a_damaged_value_stays_a_reference_that_says_so(build_sweep: BuildSweep) -> None:
    rng = np.random.default_rng(0)
    builder = build_sweep([{"i": i} for i in range(3)])
    for i in range(3):
        large = rng.random(200_000)
        data = {"csr": sp.csr_array(np.eye(100 + i)), "m": np.ma.masked_array(large, large < 0.5)}
        builder.run(i, {**data, "s": large.view([("a", "f8"), ("b", "f8")]), "n": np.ma.masked_array(large)})
    for name in ("csr.npz", "m.npz", "s.npy"):
        damage(builder.folder(1) / "data" / name)
    (builder.folder(2) / "data" / "n.npz").unlink()
    path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        for name, row in (("csr", 1), ("m", 1), ("s", 1), ("n", 2)):
            column = traj.results[name]
            with pytest.raises(DamagedError, match=rf"000{row}-x/data/{name}"):
                _ = column[row]
            assert column.states.tolist() == [4 if i == row else 1 for i in range(3)]
            assert type(column[0]) is not type(None)


@pytest.mark.parametrize(
    ("at", "values"),
    [
        ("parameters/w/index", [0, 7]),
        ("parameters/w/index", [0, -1]),
        ("results/csr/nnz_start", [0, 10**12]),
        ("results/csr/nnz_count", [0, -5]),
        ("results/csr/indices", None),
        ("results/csr/shape", [[1, 1], [1, 1]]),
        ("results/frame/row_count", [2, 10**15]),
        ("results/frame/form", [0, 9]),
        ("results/frame/forms", ["{", '{"$":"part","at":"x","axis":"row","dtype":"O"}']),
        ("results/frame/forms", ['{"$":"fields","dtype":[["a","|V1000000000000"]],"fields":[]}'] * 2),
        ("results/masked/shape", [[1], [10**12]]),
        ("series/a/value_start", [0, 10**9]),
        ("series/a/shape", [[2], [-3]]),
    ],
)
def test_parts_that_do_not_fit_are_damage(build_sweep: BuildSweep, at: str, values: list[Any] | None) -> None:
    builder = build_sweep([{"i": i, "w": np.arange(3.0) + i} for i in range(2)])
    for i in range(2):
        frame = pd.DataFrame({"x": np.arange(2 + i)}, index=pd.RangeIndex(i, 2 + 2 * i))
        masked = np.ma.masked_array(np.arange(3 + i))
        data = {"csr": sp.csr_array(np.eye(3)), "frame": frame, "masked": masked}
        builder.run(i, data, series={"a": [np.arange(2 + i)] * 2})
    path = compile_trajectory(builder.path)
    with h5py.File(path, "a") as file:
        if values is None:
            file[at][...] = 99
        else:
            file[at][...] = values
    with Trajectory.open(path) as traj:
        branch, name = at.split("/")[:2]
        with pytest.raises(TrajectoryFormatError, match=r"trajectory\.h5: .*rebuild it"):
            _ = traj[f"{branch}/{name}"][1]


def test_no_part_leads_to_another_column(build_sweep: BuildSweep) -> None:
    """Fields that have names of the layout, and columns that have names of dimensions."""
    names = ["obs_start", "form", "forms", "json", "index", "value_dim1", "shape", "x_obs", "x_dim1", "x_row"]
    descr = np.dtype([(name, "i4") for name in names])
    frame = pd.DataFrame({name: [number] for number, name in enumerate(names)}).rename(
        columns={"form": "a_missing"}
    )
    frame["a"] = pd.array([None], dtype="string")
    for number, cells in enumerate(
        (
            [np.full(3, i, descr) for i in range(2)],
            [np.full(3 + i, i, descr) for i in range(2)],
            [frame, pd.concat([frame] * 2, ignore_index=True)],
        )
    ):
        builder = SweepBuilder(build_sweep([]).path.parent / f"sweep{number}", [{"i": 0}, {"i": 1}])
        check(builder, cells)
