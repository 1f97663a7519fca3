"""How the series of two runs differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from expedition.archive.series import SeriesValues
from expedition.recording.plain_files import open_plain
from expedition.reporting.changes import Change, encoded, names_of_both
from expedition.reporting.run_contents import RunContents, Unread
from expedition.reporting.value_differences import elements_difference
from expedition.reporting.value_text import number_text, shape_text, value_text
from expedition.values import dumps

__all__ = ["series_changes"]

_BLOCK = 1 << 20


def series_changes(first: RunContents, second: RunContents) -> Iterator[Change]:
    """Yield the series that differ, by the values at the steps that both runs have; the times do not count."""
    for name in names_of_both(first.series_list, second.series_list):
        if name not in second.series_list:
            yield Change(
                name, "removed", _length(first, name), "", "", {"first": {"n": len(first.entries(name))}}
            )
        elif name not in first.series_list:
            yield Change(
                name, "added", "", _length(second, name), "", {"second": {"n": len(second.entries(name))}}
            )
        else:
            change = _series_change(name, first, second)
            if change is not None:
                yield change


def _length(contents: RunContents, name: str) -> str:
    return f"{len(contents.entries(name))} values"


def _series_change(name: str, first: RunContents, second: RunContents) -> Change | None:
    a, b = ([[step, value] for step, _, value in contents.entries(name)] for contents in (first, second))
    kinds = [contents.series_list[name].get("kind") for contents in (first, second)]
    # As texts, since 1 == 1.0 == True
    if kinds[0] == kinds[1] and dumps(a) == dumps(b) and not any(_is_in_file(value) for _, value in a):
        return None
    x, y = first.series(name), second.series(name)
    if isinstance(x, Unread) or isinstance(y, Unread):
        return Change(name, "unread", _ends(x), _ends(y), "not compared")
    content: dict[str, Any] = {
        "first": {"n": len(x.step), "last": a[-1][1] if a else None},
        "second": {"n": len(y.step), "last": b[-1][1] if b else None},
    }
    if "picture" in kinds:
        return _pictures(name, x, y, content)
    parts: list[str] = []
    if len(x.step) != len(y.step):
        parts.append(f"{len(x.step)} → {len(y.step)} values")
    elif x.step.tolist() != y.step.tolist():
        parts.append("other steps")
    if x.value.dtype != y.value.dtype:
        parts.append(f"type {x.value.dtype} → {y.value.dtype}")
    elif x.value.dtype.kind == "O" and [*map(type, x.value)] != [*map(type, y.value)]:
        parts.append("values of other types")
    text, measures = _largest(x, y)
    parts += [text] if text else []
    if not parts:
        return None
    kind = "type" if len(parts) == 1 and not text and x.value.dtype != y.value.dtype else "value"
    return Change(name, kind, _ends(x), _ends(y), ", ".join(parts), {**content, **encoded(measures)})


def _largest(first: SeriesValues, second: SeriesValues) -> tuple[str, dict[str, Any]]:
    """The largest difference at the steps that both series have."""
    import numpy as np

    x, y, steps = _aligned(first, second)
    if x.shape[1:] != y.shape[1:]:
        return f"shape {shape_text(x.shape[1:])} → {shape_text(y.shape[1:])}", {}
    if not len(x):
        return "no step in common", {}
    count, largest, where = elements_difference(x, y)
    if not count:
        return "", {}
    axes = tuple(range(1, x.ndim))
    try:
        unequal = ~((x == y) | ((x != x) & (y != y)))
        entries = int(np.count_nonzero(unequal.any(axis=axes) if axes else unequal))
    except (TypeError, ValueError, AttributeError):
        entries = count
    text = f"{entries} of {len(x)} differ"
    measures: dict[str, Any] = {"differing": entries, "compared": len(x)}
    if largest is not None and where is not None:
        measures |= {"largest": largest, "step": int(steps[where[0]])}
        text += f", most {number_text(largest, exact=False)} @{int(steps[where[0]])}"
    return text, measures


def _aligned(first: SeriesValues, second: SeriesValues) -> tuple[Any, Any, Any]:
    """The values at common steps; one by one where a series has a step twice."""
    import numpy as np

    a, b = first.step, second.step
    if len(np.unique(a)) == len(a) and len(np.unique(b)) == len(b):
        steps, i, j = np.intersect1d(a, b, assume_unique=True, return_indices=True)
        return first.value[i], second.value[j], steps
    n = min(len(a), len(b))
    return first.value[:n], second.value[:n], a[:n]


def _ends(series: SeriesValues | Unread) -> str:
    if isinstance(series, Unread):
        return series.text
    last = series.value[-1]
    shown = (
        value_text(last, exact=False) if series.value.ndim == 1 else f"{last.dtype}{shape_text(last.shape)}"
    )
    return f"{shown} @{int(series.step[-1])}, n={len(series.step)}"


def _pictures(name: str, first: SeriesValues, second: SeriesValues, content: dict[str, Any]) -> Change | None:
    parts = []
    if first.step.tolist() != second.step.tolist():
        parts.append("other steps" if len(first.step) == len(second.step) else "another number")
    unequal = 0
    try:
        for a, b in zip(first.value.tolist(), second.value.tolist(), strict=False):
            unequal += not _have_same_content(a, b)
    except (OSError, TypeError) as error:
        parts.append(f"not compared: {error}")
    if unequal:
        parts.append(f"{unequal} of {min(len(first.step), len(second.step))} differ")
    if not parts:
        return None
    a, b = (f"{len(series.step)} pictures" for series in (first, second))
    return Change(name, "value", a, b, ", ".join(parts), content)


def _have_same_content(first: str, second: str) -> bool:
    with open_plain(first) as one, open_plain(second) as other:
        while True:
            block = one.read(_BLOCK)
            if block != other.read(_BLOCK):
                return False
            if not block:
                return True


def _is_in_file(tagged: Any) -> bool:
    return isinstance(tagged, dict) and tagged.get("$") in ("bin", "file")
