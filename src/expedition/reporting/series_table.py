"""The series of a run as rows: bars, and first, least, greatest and last value with their steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from expedition.archive.series import SeriesValues
from expedition.reporting.pages import MOST_ROWS, Grid, more_rows
from expedition.reporting.run_contents import RunContents, Unread
from expedition.reporting.sparkline import sparkline
from expedition.reporting.value_text import integer_text, number_text, shape_text, value_text

__all__ = ["float_values", "series_grid"]

_NARROW = 110  # columns of a terminal below which bars and digits are fewer
_BARS = 20


def series_grid(contents: RunContents, *, width: int | None) -> Grid:
    """Return the series of a run as part of a page; values of arrays and pictures are not read."""
    narrow = width is not None and width < _NARROW
    shown = list(contents.series_list.items())[: None if width is None else MOST_ROWS]
    left_out = len(contents.series_list) - len(shown)
    return Grid(
        "series",
        ("name", "n", "", "first", "min", "max", "last"),
        [[name, *_cells(contents, name, about, narrow)] for name, about in shown],
        right=(1,),
        notes=(more_rows(left_out),) if left_out else (),
    )


def float_values(values: Sequence[Any]) -> list[float] | None:
    """Return the values of a series as floats, None when one of them is no real number."""
    found: list[float] = []
    for value in values:
        if type(value).__name__.startswith("complex"):
            return None
        try:
            found.append(float(value))
        except OverflowError:
            found.append(math.inf if value > 0 else -math.inf)
        except (TypeError, ValueError):
            return None
    return found


def _cells(contents: RunContents, name: str, about: dict[str, Any], narrow: bool) -> list[str]:
    kind, n = about.get("kind") or "scalar", about.get("n")
    entries = contents.entries(name)
    count = str(len(entries)) if n in (None, len(entries)) else f"{len(entries)} of {n}"
    if not entries:
        read = contents.series(name)
        return [str(n or 0), read.text if isinstance(read, Unread) else "", "", "", "", ""]
    steps = [step for step, _, _ in entries]
    ends = (f"@{steps[0]}", "", "", f"@{steps[-1]}")
    if kind != "scalar":
        # Such values have no place below the titles of numbers.
        which = f"steps {steps[0]} to {steps[-1]}" if len(steps) > 1 else f"step {steps[0]}"
        return [count, f"{_kind_text(kind, about, entries[0][2])}, {which}", "", "", "", ""]
    read = contents.series(name)
    if isinstance(read, Unread):
        return [count, read.text, *ends]
    return [count, *_scalar_cells(read, narrow)]


def _kind_text(kind: str, about: dict[str, Any], tagged: Any) -> str:
    if kind == "picture":
        return "pictures"
    tag = tagged if isinstance(tagged, dict) else {}
    shape = about.get("shape", tag.get("sh", tag.get("shape", [])))
    dtype = about.get("dtype", tag.get("d", tag.get("dtype", "")))
    if isinstance(dtype, str):
        import numpy as np

        try:
            dtype = np.dtype(dtype).name
        except TypeError:
            dtype = "array"
    return f"{dtype}{shape_text(shape) if isinstance(shape, list) else ''}"


def _scalar_cells(series: SeriesValues, narrow: bool) -> list[str]:
    values = list(series.value)
    steps = series.step.tolist()
    numbers = float_values(values)
    if numbers is None:
        return [
            type(values[0]).__name__,
            *(
                f"{value_text(values[i], exact=False)} @{steps[i]}" if i is not None else ""
                for i in (0, None, None, -1)
            ),
        ]
    known = [i for i, number in enumerate(numbers) if not math.isnan(number)]
    # Of equal extremes the first is meant.
    low = min(known, key=lambda i: numbers[i], default=None)
    high = max(known, key=lambda i: numbers[i], default=None)
    bars = sparkline(numbers, _BARS // 2 if narrow else _BARS)
    return [bars, *(_at(values, steps, i, narrow) for i in (0, low, high, len(values) - 1))]


def _at(values: Sequence[Any], steps: Sequence[int], position: int | None, narrow: bool) -> str:
    if position is None:
        return ""
    value = values[position]
    if type(value).__name__ in ("bool", "bool_"):
        text = str(value)
    elif isinstance(value, int) or type(value).__name__.startswith(("int", "uint")):
        text = integer_text(int(value))
    else:
        text = _short(float(value)) if narrow else number_text(value, exact=False)
    return f"{text} @{steps[position]}"


def _short(number: float) -> str:
    mantissa, e, exponent = f"{number:.4g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa
