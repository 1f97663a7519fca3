"""A series of numbers as one line of bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["sparkline"]

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], cells: int = 20) -> str:
    """Return bars between the smallest and the largest of `values`, at most `cells` of them.

    Where there are more values, each bar stands for the mean of as many neighbours; the extremes of `values` may then
    be none of the bars. Equal values are bars of the least height. NaN leaves a blank, infinities are the least and
    the highest bar.
    """
    n = min(len(values), cells)
    means = [_mean(values[len(values) * i // n : len(values) * (i + 1) // n]) for i in range(n)]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = high / 2 - low / 2  # half of it, since the whole of it may be too large for a float

    def bar(mean: float) -> str:
        if math.isnan(mean):
            return " "
        if math.isinf(mean):
            return _BARS[-1] if mean > 0 else _BARS[0]
        height = (mean / 2 - low / 2) / span if span else 0.0
        return _BARS[min(int(height * len(_BARS)), len(_BARS) - 1)]

    return "".join(map(bar, means))


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are numbers, NaN without any."""
    numbers = [float(value) for value in values if not math.isnan(value)]
    if not numbers:
        return math.nan
    infinite = [value for value in numbers if math.isinf(value)]
    if infinite:
        return infinite[0] if len(set(infinite)) == 1 else math.nan
    return math.fsum(value / len(numbers) for value in numbers)
