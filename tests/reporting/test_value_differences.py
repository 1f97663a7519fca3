"""How two values differ: all and only that is told."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.reporting.run_contents import Unread
from expedition.reporting.value_differences import difference

NAN = math.nan
MIN, MAX = np.iinfo(np.int64).min, np.iinfo(np.int64).max

SAME: list[tuple[Any, Any]] = [
    (1, 1),
    (NAN, NAN),
    ("a", "a"),
    (None, None),
    ([1, [NAN]], [1, [NAN]]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    (np.float32(1), np.float32(1)),
    (np.array([1.0, NAN]), np.array([1.0, NAN])),
    (np.array(["NaT"], "M8[s]"), np.array(["NaT"], "M8[s]")),
    (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 9], mask=[0, 1])),
    (np.zeros((0, 3)), np.zeros((0, 3))),
    (pd.DataFrame({"a": [1.0, NAN]}), pd.DataFrame({"a": [1.0, NAN]})),
    (Decimal("1.10"), Decimal("1.10")),
]


@pytest.mark.parametrize(("first", "second"), SAME, ids=[repr(pair[0])[:30] for pair in SAME])
def test_equal_values(first: Any, second: Any) -> None:
    assert difference(first, second) is None


DIFFERENT: list[tuple[Any, Any, str, str]] = [
    (1, 3, "value", "+2 (+200 %)"),
    (-2.0, -3.0, "value", "-1 (-50 %)"),
    (0, 0.5, "value", "+0.5, type int → float"),
    (NAN, 1.0, "value", "nan"),
    (10**400, 10**400 + 1, "value", "+1"),
    (2j, 5j, "value", "+3 (+150 %)"),
    (np.uint8(250), np.uint8(1), "value", "-249 (-99.6 %)"),
    (np.int64(MAX), np.int64(MIN), "value", "-1.84467e19 (-200 %)"),
    (Decimal("1.5"), Decimal("3.0"), "value", "+1.5 (+100 %)"),
    (Fraction(1, 2), Fraction(1, 4), "value", "-0.25 (-50 %)"),
    (1, 1.0, "type", "type int → float"),
    (True, 1, "type", "type bool → int"),
    (1.0, np.float64(1.0), "type", "type float → float64"),
    ((1, 2), [1, 2], "type", "type tuple → list"),
    ("a", "b", "value", ""),
    ("1", 1, "value", "type str → int"),
    (None, 0, "value", "type NoneType → int"),
    (date(2020, 1, 1), date(2020, 1, 2), "value", ""),
    ([1, 2, 3], [1, 5, 4], "value", "2 of 3 items differ"),
    ([1], [1.0], "value", "1 of 1 items differ"),
    ([1], [1, 2], "value", "1 → 2 items"),
    ({"a": 1, "b": 1, "c": 1}, {"a": 2, "d": 1}, "value", "1 changed, 2 removed, 1 added"),
    (np.array([1, 2, 3]), np.array([1, 5, 2]), "value", "2 of 3 differ, most 3 at [1]"),
    (np.array([[1.0, NAN]]), np.array([[NAN, 2.0]]), "value", "2 of 2 differ"),
    (np.array([1.0, NAN, 0]), np.array([1.0, 2.0, 0.5]), "value", "2 of 3 differ, most 0.5 at [2]"),
    (np.array([MAX, 0]), np.array([MIN, 0]), "value", "1 of 2 differ, most 1.84467e19 at [0]"),
    (np.array([1, 2]), np.array([1.0, 2.0]), "type", "type ndarray of int64 → ndarray of float64"),
    (np.array([True, False]), np.array([True, True]), "value", "1 of 2 differ"),
    (np.array(["a", "b"]), np.array(["a", "c"]), "value", "1 of 2 differ"),
    (np.zeros(3), np.zeros((3, 1)), "value", "shape [3] → [3×1]"),
    (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 0]), "value", "1 of 2 differ"),
    (np.zeros(2, "i4,f4"), np.ones(2, "i4,f4"), "value", "2 of 2 differ"),
    (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 3]}), "value", "1 of 2 cells differ"),
    (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": [1, 2]}), "value", "other columns"),
    (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1]}), "value", "shape [2×1] → [1×1]"),
    (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]}), "type", "other dtypes or attributes"),
    (pd.Series([1, 2], index=["a", "b"]), pd.Series([1, 2], index=["a", "c"]), "value", "another index"),
    (Unread("float64[3]"), 1, "unread", ""),
]


@pytest.mark.parametrize(
    ("first", "second", "kind", "text"), DIFFERENT, ids=[f"{case[0]!r} {case[3]}"[:40] for case in DIFFERENT]
)
def test_different_values(first: Any, second: Any, kind: str, text: str) -> None:
    found = difference(first, second)
    assert found is not None
    assert (found.kind, found.text) == (kind, text)


def test_measures_for_programs() -> None:
    found = difference(2.0, 3.0)
    assert found is not None
    assert found.measures == {"absolute": 1.0, "relative": 0.5}
    found = difference(0.0, 3.0)
    assert found is not None
    assert found.measures == {"absolute": 3.0}
    found = difference(np.array([MAX]), np.array([MIN]))
    assert found is not None
    assert found.measures["largest"] == 2**64 - 1
    found = difference(np.array([[0, 0], [0, 7]]), np.array([[0, 1], [0, 4]]))
    assert found is not None
    assert found.measures == {"elements": 2, "of": 4, "largest": 3, "at": [1, 1]}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_any_values(first: Any, second: Any) -> None:
    assert difference(first, first) is None
    forth, back = difference(first, second), difference(second, first)
    assert (forth is None) == (back is None)
    if forth is None:
        assert repr(first) == repr(second) or first == second
    elif forth.kind == "type":
        assert type(first) is not type(second)
