"""Limits of a run: how long one attempt may take, and how often a run that failed is tried again."""

from __future__ import annotations

from expedition.errors import ExperimentError

MOST_RETRIES = 1000
"""Retries of one run at most: every attempt stays in the run's folder."""

LONGEST_TIMEOUT = 10 * 366 * 24 * 3600.0
"""Seconds of the longest timeout, ten years: beyond that somebody took another unit."""


def check_timeout(value: object, given: str) -> float:
    """Return a timeout in seconds; 0 is no timeout. `given` says where it stands, for the message.

    Raises `ExperimentError` for what is no number from 0 to `LONGEST_TIMEOUT`.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= LONGEST_TIMEOUT:  # type: ignore[operator]
        raise ExperimentError(
            f"{given}: a timeout is a number of seconds, such as 3600 (0 for none), and ten years at most, but got "
            f"{_shown(value)}"
        )
    return float(value)  # type: ignore[arg-type]


def check_retries(value: object, given: str) -> int:
    """Return how often a failed run is tried again. `given` says where it stands, for the message.

    Raises `ExperimentError` for what is no whole number from 0 to `MOST_RETRIES`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RETRIES:
        raise ExperimentError(
            f"{given}: retries is a whole number from 0 to {MOST_RETRIES:,}, how often a run that failed is tried "
            f"again, but got {_shown(value)}"
        )
    return value


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to write more than 4300 digits
        return f"a number of some {value.bit_length() * 0.301:.0f} digits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
