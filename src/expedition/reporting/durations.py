"""Durations, sizes and times as people read them, and the time a sweep still needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

__all__ = ["estimate_remaining", "format_age", "format_bytes", "format_duration", "format_when"]

_NONE = "–"
_MINUTES = len("2026-11-22 14:30")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_duration(seconds: float | None) -> str:
    """Write seconds as ``85 µs``, ``850 ms``, ``12.3 s``, ``4:05 min`` or ``2:03:11 h``.

    None and NaN give ``–``; hours are not folded into days.
    """
    if seconds is None or math.isnan(seconds):
        return _NONE
    sign = "-" if seconds < 0 else ""
    seconds = abs(seconds)
    if math.isinf(seconds):
        return f"{sign}∞"
    # The unit is chosen after rounding, so that there is no "1000 ms" and no "60.0 s"
    if seconds < 0.9995:
        if seconds == 0 or seconds >= 0.0009995:
            return f"{sign}{seconds * 1e3:.0f} ms"
        return f"{sign}{seconds * 1e6:.0f} µs"
    if seconds < 59.95:
        return f"{sign}{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{sign}{minutes}:{whole:02} min"
    return f"{sign}{minutes // 60}:{minutes % 60:02}:{whole:02} h"


def format_bytes(size: int | None) -> str:
    """Write a number of bytes as ``512 B``, ``1.5 KiB``, ``23.0 MiB``; the units are powers of 1024."""
    if size is None:
        return _NONE
    if abs(size) < 1024:
        return f"{size} B"
    amount = float(size)
    units = ("KiB", "MiB", "GiB", "TiB", "PiB")
    for unit in units:
        amount /= 1024
        if abs(amount) < 1023.95 or unit == units[-1]:  # not "1024.0 KiB"
            return f"{amount:.1f} {unit}"
    raise AssertionError("the last unit takes everything")


def format_when(when: datetime | int | None) -> str:
    """Write a time as local ISO text in minutes, ``2026-11-22 14:30``.

    :param when: a time with a zone, one without (taken as local), or microseconds since 1970-01-01 UTC.
    """
    if when is None:
        return _NONE
    try:
        moment = when if isinstance(when, datetime) else _EPOCH + timedelta(microseconds=when)
        return moment.astimezone().isoformat(" ", "minutes")[:_MINUTES]
    except (OverflowError, ValueError, OSError):  # outside of the years 1 … 9999, or of the C library
        return str(when)


def format_age(when: datetime | None, now: datetime) -> str:
    """Write how long ago a time was, in the largest unit that makes two of it: ``50 s ago``, ``47 h ago``, ``2 d ago``.

    A time to come, by a clock that is ahead, is ``just now``.
    """
    if when is None:
        return _NONE
    seconds = (now - when).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago" if seconds >= 1 else "just now"


def estimate_remaining(
    durations_done: Sequence[float], n_left: int, n_workers: int, elapsed: float
) -> float | None:
    """Estimate the seconds that a sweep still needs.

    From the mean duration of the finished runs, shared among the workers. Once every worker has finished two
    runs, the observed pace (elapsed time per finished run) counts instead where it is slower, since it
    contains what happens between runs. Early on it would mislead: most of the work done is not finished.

    :param durations_done: seconds of each run finished in this invocation.
    :param n_left: runs not yet finished, those under way included.
    :param n_workers: runs at a time.
    :param elapsed: seconds since the first run started.
    :returns: None as long as nothing is known.
    """
    if n_left <= 0:
        return 0.0
    known = [duration for duration in durations_done if math.isfinite(duration) and duration >= 0]
    if not known:
        return None
    mean = math.fsum(known) / len(known)
    workers = max(1, n_workers)
    estimate = max(mean * n_left / workers, mean if n_left < workers else 0.0)
    if len(known) >= 2 * workers and elapsed > 0:
        estimate = max(estimate, elapsed / len(known) * n_left)
    return estimate
