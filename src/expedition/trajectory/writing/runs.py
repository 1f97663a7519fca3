"""Writes ``/runs``: what is known of every run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from expedition.archive.sweep import SweepFolder
from expedition.trajectory.file import format as fmt
from expedition.trajectory.writing.gather import Gathered
from expedition.trajectory.writing.writer import FileWriter

if TYPE_CHECKING:
    import numpy as np


def write_runs(writer: FileWriter, sweep: SweepFolder, table: Gathered) -> None:
    """Write what is known of every run; its text as characters, since it is most of a small file."""
    import numpy as np

    entries = sweep.entries
    for name, texts in (
        ("id", [entry.id for entry in entries]),
        ("key", [entry.key for entry in entries]),
        ("folder", [entry.folder for entry in entries]),
        ("status", table.status),
        ("worker", table.worker),
        ("error", table.error),
    ):
        writer.chars(f"{fmt.RUNS}/{name}", texts)
    started, stopped = times(table.start), times(table.stop)
    for name, moments in (("start", started), ("stop", stopped)):
        fill = fmt.INT64_MIN if (moments == fmt.INT64_MIN).any() else None
        attrs = {"units": fmt.TIME_UNITS, "calendar": fmt.CALENDAR, "timezone": "UTC"}
        writer.column(f"{fmt.RUNS}/{name}", moments, attrs, fill)
    seconds = durations(started, stopped)
    writer.column(f"{fmt.RUNS}/duration", seconds, {"unit": "s"}, np.nan if np.isnan(seconds).any() else None)
    writer.column(f"{fmt.RUNS}/replicate", np.array([e.replicate for e in entries], np.int64), {})
    writer.column(f"{fmt.RUNS}/attempt", np.array(table.attempt, np.int64), {})
    write_seeds(writer, table.seed)


def times(moments: Iterable[int | None]) -> np.ndarray[Any, Any]:
    """Return times in µs as int64, the minimum where there is none."""
    import numpy as np

    return np.array([fmt.INT64_MIN if t is None else t for t in moments], np.int64)


def durations(started: np.ndarray[Any, Any], stopped: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the seconds between `times`, NaN where one is missing."""
    import numpy as np

    ended = (started != fmt.INT64_MIN) & (stopped != fmt.INT64_MIN)
    seconds = np.where(ended, stopped - np.where(ended, started, 0), 0) / 1e6
    seconds[~ended] = np.nan
    return seconds


def write_seeds(writer: FileWriter, seeds: Iterable[int | None]) -> None:
    """Write ``/runs/seed``: int64, or JSON text where a seed is beyond 64 bits."""
    from expedition.values.columns import MISSING, build_column

    given = list(seeds)
    if all(seed is None or -(2**63) < seed < 2**63 for seed in given):  # none at all are numbers as well
        numbers = times(given)
        fill = fmt.INT64_MIN if (numbers == fmt.INT64_MIN).any() else None
        writer.column(f"{fmt.RUNS}/seed", numbers, {}, fill)
        return
    column = build_column([MISSING if seed is None else seed for seed in given])
    assert isinstance(column.values, list)
    writer.text(f"{fmt.RUNS}/seed", column.values, column.attrs)
