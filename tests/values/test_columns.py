"""Columns: the narrowest type that keeps every cell, and every cell back as it was."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.errors import DamagedError
from expedition.values import (
    MISSING,
    ColumnData,
    FileSink,
    MissingType,
    State,
    build_column,
    cell,
    encode,
    restore,
)
from tests.thoroughness import examples
from tests.values.equality import exactly_equal
from tests.values.test_tagged import scalars, values

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
quick = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
UTC = UTC
SECOND = timedelta(seconds=1)


def column_of(items: list[Any]) -> ColumnData:
    column = build_column([item if item is MISSING else encode(item) for item in items])
    assert len(column.values) == len(items)
    assert exactly_equal(column.restore(), items)
    for i, item in enumerate(items):
        state = 1 if column.state is None else column.state[i]
        assert exactly_equal(cell(column.kind, column.attrs, column.values[i], state), item)
    if column.state is not None:
        assert column.state.dtype == np.uint8
        assert (column.state != State.VALUE).any()
    return column


holes = st.sampled_from([MISSING, None])
alike = st.sampled_from(
    [
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(),
        st.floats(),
        st.integers() | st.floats(),
        st.integers(-(2**53), 2**53) | st.floats(),
        st.text(st.characters(exclude_categories=[])),
        st.complex_numbers(),
        st.datetimes(),
        st.datetimes(timezones=st.just(UTC)),
        st.timedeltas(),
        st.timedeltas(-SECOND * 10**6, SECOND * 10**6),
        st.floats(width=32).map(np.float32),
        st.floats(width=16).map(np.float16),
        st.floats().map(np.float64),
        st.floats().map(np.longdouble),
        st.integers(0, 2**64 - 1).map(np.uint64),
        st.integers(-128, 127).map(np.int8),
        st.booleans().map(np.bool_),
        st.complex_numbers(width=64).map(np.complex64),
        st.text().map(np.str_),
        st.integers(-(2**63), 2**63 - 1).map(lambda n: np.datetime64(n, "ns")),
        st.integers(-(2**63), 2**63 - 1).map(lambda n: np.timedelta64(n, "ms")),
        scalars,
        values,
    ]
).flatmap(lambda item: st.lists(item, max_size=5) | st.lists(item | holes, max_size=5))


@quick
@given(alike)
def test_every_cell_comes_back(items: list[Any]) -> None:
    column_of(items)


@pytest.mark.parametrize(
    ("items", "kind", "dtype", "attrs"),
    [
        ([1.5, float("nan")], "float", "f8", {}),
        ([1, 2], "int", "i8", {}),
        ([1, 2.5], "float", "f8", {}),
        ([1, float("nan")], "float", "f8", {}),
        ([0, float("-inf")], "float", "f8", {}),
        ([2**53 + 1, float("nan")], "json", None, {"encoding": "json"}),
        ([2**53 + 1, 2.5], "json", None, {"encoding": "json"}),
        ([2**63], "json", None, {"encoding": "json"}),
        ([True, False], "bool", "i1", {"dtype": "bool"}),
        ([True, 1], "json", None, {"encoding": "json"}),
        (["a", ""], "text", None, {}),
        (["a", 1], "json", None, {"encoding": "json"}),
        (["a\0"], "json", None, {"encoding": "json"}),
        (["\ud800"], "json", None, {"encoding": "json"}),
        ([1j], "complex", "c16", {}),
        ([np.float32(0.1)], "float", "f4", {"dtype_orig": "float32"}),
        ([np.float16(0.1)], "float", "f4", {"dtype_orig": "float16"}),
        ([np.float64(0.1)], "float", "f8", {"dtype_orig": "float64"}),
        ([np.float64(0.1), 0.1], "float", "f8", {}),
        ([np.float64(0.1), 0.1, 3, None, MISSING], "json", None, {"encoding": "json"}),
        ([np.int64(7), 2], "int", "i8", {}),
        ([np.bool_(True), False], "bool", "i1", {"dtype": "bool"}),
        ([np.complex128(1j), 1j], "complex", "c16", {}),
        ([np.int64(7), 2.5], "json", None, {"encoding": "json"}),
        ([np.float32(0.1), np.float64(1)], "json", None, {"encoding": "json"}),
        ([np.longdouble(1)], "json", None, {"encoding": "json"}),
        ([np.uint8(3)], "int", "u1", {"dtype_orig": "uint8"}),
        ([np.bool_(True)], "bool", "i1", {"dtype": "bool", "dtype_orig": "bool"}),
        ([np.complex64(1)], "complex", "c8", {"dtype_orig": "complex64"}),
        ([np.str_("x")], "text", None, {"dtype_orig": "str"}),
        ([np.datetime64("2026-01", "M")], "json", None, {"encoding": "json"}),
        ([datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)], "json", None, {"encoding": "json"}),
        ([datetime(2026, 1, 1, fold=1)], "json", None, {"encoding": "json"}),
        ([datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))], "json", None, {"encoding": "json"}),
        ([SECOND * 1.5], "timedelta", "f8", {"unit": "s"}),
        ([timedelta.max - timedelta(microseconds=1)], "json", None, {"encoding": "json"}),
        ([timedelta(days=999_999_999)], "json", None, {"encoding": "json"}),
        ([(1,)], "json", None, {"encoding": "json"}),
        ([b"x"], "json", None, {"encoding": "json"}),
        ([], "float", "f8", {}),
    ],
    ids=range(40),
)
def test_types(items: list[Any], kind: str, dtype: str | None, attrs: dict[str, Any]) -> None:
    column = column_of(items)
    assert (column.kind, column.attrs) == (kind, attrs)
    if dtype is None:
        assert isinstance(column.values, list)
    else:
        assert isinstance(column.values, np.ndarray)
        assert column.values.dtype == dtype
    kinds = {type(item) for item in items}
    mixed = len(kinds) > 1 and (kind != "json" or MissingType in kinds)
    assert (column.state is None) is not mixed


def test_numpy_scalars_share_a_column_with_the_builtin_numbers() -> None:
    column = column_of([np.float64("nan"), 0.1, None, MISSING, -0.0, np.float64(2)])
    assert column.kind == "float"
    assert column.state is not None
    assert column.state.tolist() == [State.NUMPY, 1, State.NONE, State.MISSING, 1, State.NUMPY]


def test_times_have_units() -> None:
    column = column_of([datetime(1970, 1, 1, 0, 0, 1, 5), None, MISSING])
    assert column.kind == "datetime"
    assert column.values[0] == 1_000_005  # type: ignore[comparison-overlap]
    assert column.attrs["units"] == "microseconds since 1970-01-01"
    assert column.attrs["timezone"] == "naive"
    assert column_of([datetime(1970, 1, 1, tzinfo=UTC)]).attrs["timezone"] == "UTC"
    assert column_of([np.datetime64(5, "ns")]).attrs["units"] == "nanoseconds since 1970-01-01"


def test_missing_is_not_nan_is_not_none() -> None:
    column = column_of([MISSING, float("nan"), None, 1, 0.5])
    assert column.state is not None
    assert column.state.tolist() == [0, 1, 2, 3, 1]
    assert np.isnan(column.values[:3]).all()  # type: ignore[arg-type]
    assert np.isnan(column.attrs["_FillValue"])
    least = -(2**63)
    column = column_of([MISSING, least, None])
    assert column.values.tolist() == [least] * 3  # type: ignore[union-attr]
    assert column.attrs["_FillValue"] == least
    column = column_of([MISSING, "", None])
    assert column.values == ["", "", ""]
    column = column_of([MISSING, True, None])
    assert column.values.tolist() == [-1, 1, -1]  # type: ignore[union-attr]
    assert column.attrs["flag_meanings"] == "false true"
    assert "dtype" not in column.attrs
    column = column_of([MISSING, None, [None]])
    assert column.values == ["", "null", "[null]"]
    assert column_of([MISSING, MISSING]).kind == column_of([None, MISSING]).kind == "float"
    assert not MISSING
    assert repr(MISSING) == "MISSING"


@pytest.mark.parametrize(
    "items",
    [
        [1.5, MISSING, None, 3],
        [True, None],
        [True, False],
        ["ü", "", MISSING],
        [1, None],
        [np.float16(1.5), MISSING],
        [np.uint64(2**64 - 1), None],
        [1j, None],
        [datetime(2026, 1, 1, tzinfo=UTC), None],
        [SECOND, MISSING],
        [{"a": (1, None)}, MISSING, None, 1.5],
    ],
    ids=range(11),
)
def test_through_hdf5(items: list[Any], tmp_path: Path) -> None:
    column = build_column([item if item is MISSING else encode(item) for item in items])
    with h5py.File(tmp_path / "x.h5", "w") as file:
        kind = h5py.string_dtype() if isinstance(column.values, list) else None
        dataset = file.create_dataset("x", data=column.values, dtype=kind)
        dataset.attrs.update(column.attrs)
    with h5py.File(tmp_path / "x.h5", "r") as file:
        attrs, raw = dict(file["x"].attrs), file["x"][:]
        assert exactly_equal(restore(column.kind, attrs, raw, column.state), items)
        state = 1 if column.state is None else column.state[0]
        assert exactly_equal(cell(column.kind, attrs, file["x"][0], state), items[0])


def test_files_in_json_cells(tmp_path: Path) -> None:
    array = np.arange(1000.0)
    column = build_column([encode(array, name="x", sink=FileSink(tmp_path)), MISSING])
    assert exactly_equal(column.restore(folder=tmp_path), [array, MISSING])
    with pytest.raises(DamagedError, match="read it with folder="):
        column.restore()


def test_json_in_a_text_column() -> None:
    assert restore("text", {}, [b'{"$":"tuple","v":[1]}', "x"], [4, 1]) == [(1,), "x"]


@pytest.mark.parametrize(
    ("kind", "attrs", "raw", "state"),
    [
        ("json", {}, "{", 1),
        ("float", {}, 1.5, 9),
        ("datetime", {}, 5, 1),
        ("datetime", {"timezone": "naive"}, 2**62, 1),
        ("timedelta", {}, 1e300, 1),
        ("text", {}, b"\xff", 1),
        ("float", {"dtype_orig": "no"}, 1.5, 1),
    ],
    ids=range(7),
)
def test_damage_is_told(kind: str, attrs: dict[str, Any], raw: Any, state: int) -> None:
    with pytest.raises(DamagedError):
        cell(kind, attrs, raw, state)
    with pytest.raises(DamagedError, match="1 values with 2 states"):
        restore("float", {}, [1.5], [1, 1])


def test_plain_columns_are_fast() -> None:
    cells = np.random.default_rng(1).random(100_000).tolist()
    spans = []
    for _ in range(5):
        start = time.perf_counter()
        build_column(cells)
        spans.append(time.perf_counter() - start)
    assert min(spans) < 0.06  # 9 ms here; the budget is 30 ms
