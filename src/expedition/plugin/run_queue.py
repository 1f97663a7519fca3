"""Which run goes to which worker next: the long ones early, and runs that share fixtures to one worker."""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

_SHORT = 0.05
"""Seconds below which durations are equal."""

_STEPS = 4
"""Steps per doubling in which durations are compared: within one they differ by chance."""

_PRESSING = 2
"""A run is not kept waiting for the sake of fixtures when it alone takes 1/2 of what is left to each worker."""


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """What the queue knows of a run.

    `expected` is how long it takes in seconds, None where nobody knows. Runs with one `place` use fixtures that are set
    up once for all that follow each other; "" is none.
    """

    expected: float | None = None
    place: str = ""


class RunQueue:
    """The runs, known by their index, that no worker has yet.

    Longest first, those of which nothing is known before the others, equals in order: what is about as long, and all
    that is short. `ordered` keeps to the order of the indices whatever is known.
    """

    def __init__(self, runs: Sequence[QueuedRun], *, ordered: bool = False) -> None:
        self._runs = runs
        self._ordered = ordered
        self._at: dict[Hashable, str] = {}
        self._last: list[int] = []
        self._lanes: dict[str, list[tuple[int, int]]] = {}
        self._size = 0
        self._seconds = 0.0  # that all waiting runs of known duration take together
        for index in range(len(runs)):
            self.put(index)

    def __len__(self) -> int:
        return self._size + len(self._last)

    def put(self, index: int, *, last: bool = False) -> None:
        """Have a run wait; behind all others with `last`."""
        if last:
            self._last.append(index)
            return
        run = self._runs[index]
        before = 0 if self._ordered else _rank(run.expected)
        heapq.heappush(self._lanes.setdefault("" if self._ordered else run.place, []), (before, index))
        self._size += 1
        self._seconds += run.expected or 0.0

    def clear(self) -> None:
        """Forget all that wait."""
        self._lanes.clear()
        self._last.clear()
        self._size, self._seconds = 0, 0.0

    def forget(self, worker: Hashable) -> None:
        """A worker is gone, and so are its fixtures."""
        self._at.pop(worker, None)

    def take(self, worker: Hashable, *, workers: int) -> int:
        """Take the run that a worker, one of so many, is to run next. Raises IndexError when none waits."""
        lane = self._lane(worker, workers)
        if lane is None:
            return self._last.pop(0)
        self._at[worker] = lane
        return self._pop(lane)

    def _pop(self, lane: str) -> int:
        _, index = heapq.heappop(self._lanes[lane])
        if not self._lanes[lane]:
            del self._lanes[lane]
        self._size -= 1
        self._seconds = max(0.0, self._seconds - (self._runs[index].expected or 0.0)) if self._size else 0.0
        return index

    def _lane(self, worker: Hashable, workers: int) -> str | None:
        """The place whose first run is next; None when only those wait that are to come last."""
        if len(self._lanes) <= 1:
            return next(iter(self._lanes), None)
        first = min(self._lanes, key=lambda lane: self._lanes[lane][0])
        seconds = self._runs[self._lanes[first][0][1]].expected
        if self._seconds and (seconds is None or _PRESSING * seconds * workers >= self._seconds):
            return first
        own = self._at.get(worker, "")
        if own and own in self._lanes:
            return own
        busy = [place for other, place in self._at.items() if other != worker]
        return min(self._lanes, key=lambda lane: (busy.count(lane) if lane else 0, self._lanes[lane][0]))


def _rank(seconds: float | None) -> int:
    """Where a run stands by its duration: the longest first, before these one of which nothing is known."""
    return -round(_STEPS * math.log2(max(seconds, _SHORT))) if seconds is not None else -(1 << 20)
