"""How long something took, whatever is done to the clock of the system in the meantime."""

from __future__ import annotations

import time
from functools import partial

# A clock that goes on while the machine sleeps, as the one on the wall does; not every system has it.
_read = (
    partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic_ns
)


def steady_now() -> int:
    """Return the microseconds of a clock that nobody sets; only the difference of two of them means something."""
    return _read() // 1000
