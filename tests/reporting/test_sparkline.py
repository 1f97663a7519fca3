"""A series as bars."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.reporting.sparkline import sparkline

INF = math.inf


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([3], "▁"),
        ([2, 2, 2], "▁▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([1, math.nan, 0], "█ ▁"),
        ([math.nan], " "),
        ([-INF, 0, 1, INF], "▁▁██"),
        ([-1.7e308, 1.7e308], "▁█"),
        ([True, False], "█▁"),
    ],
)
def test_bars(values: list[float], bars: str) -> None:
    assert sparkline(values) == bars


def test_many_values_are_means_of_neighbours() -> None:
    assert sparkline([0, 0, 0, 7, 7, 7], 2) == "▁█"
    assert sparkline([0, 2, 1, 1, 0, 14], 3) == "▁▁█"
    assert sparkline([1.7e308] * 4 + [0] * 4, 2) == "█▁"
    assert sparkline([math.nan, 1, 0, 0], 2) == "█▁"


@given(st.lists(st.floats(), max_size=300), st.integers(1, 30))
def test_any_values(values: list[float], cells: int) -> None:
    bars = sparkline(values, cells)
    assert len(bars) == min(len(values), cells)
    assert set(bars) <= set(" ▁▂▃▄▅▆▇█")
