"""Sorting values of any kinds: as people expect it, and never an error."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from expedition.reporting.ordering import order

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.datetimes()
    | st.dates()
    | st.timedeltas()
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


def ordered(values: list[Any], **options: bool) -> list[Any]:
    return sorted(values, key=lambda value: order(value, **options))


def test_natural_order() -> None:
    assert ordered(["a10", "B2", "a9", "a", "10", "9"]) == ["9", "10", "a", "a9", "a10", "B2"]
    assert ordered([10, 2.5, True, np.float32(0.5), -math.inf]) == [-math.inf, 0.5, True, 2.5, 10]
    assert ordered([datetime(2026, 1, 2), date(2026, 1, 1)])[0] == date(2026, 1, 1)
    assert ordered([timedelta(1), timedelta(0)]) == [timedelta(0), timedelta(1)]


def test_what_is_missing_comes_last_either_way() -> None:
    values = [None, 1, math.nan, "x", 2]
    assert ordered(values)[:3] == [1, 2, "x"]
    assert ordered(values, descending=True)[:3] == ["x", 2, 1]


@given(st.lists(ANY, max_size=6), st.booleans())
def test_all_kinds_together(values: list[Any], descending: bool) -> None:
    found = ordered([*values, Path("a"), {1}, 1j], descending=descending)
    assert len(found) == len(values) + 3
