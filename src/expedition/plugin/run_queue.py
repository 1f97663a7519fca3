"""Which run goes to which worker next: the long ones early, and runs that share fixtures to one worker."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

SHORT = 0.05
"""Seconds below which a run is given together with others: asking for each would cost more than it gains."""

CHUNK = 16
"""Runs that a worker has at most at a time, and all of them short."""

_RECENT = 8
"""Durations of this session by which the runs of an experiment are known to be short; a pair is the least."""

_STEPS = 4
"""Steps per doubling in which durations are compared: within one they differ by chance."""

_PRESSING = 2
"""A run is not kept waiting for the sake of fixtures when it alone takes 1/2 of what is left to each worker."""


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """What the queue knows of a run.

    `expected` is how long it takes in seconds, None where nobody knows; `experiment` is that which it belongs to.
    Runs with one `place` use fixtures that are set up once for all that follow each other; "" is none.
    """

    expected: float | None = None
    experiment: str = ""
    place: str = ""


class RunQueue:
    """The runs, known by their index, that no worker has yet.

    Longest first, those of which nothing is known before the others, equals in order: what is about as long, and all
    that is short. `ordered` keeps to the order of the indices whatever is known.
    """

    def __init__(self, runs: Sequence[QueuedRun], *, ordered: bool = False) -> None:
        self._runs = runs
        self._ordered = ordered
        self._recent: dict[str, deque[float]] = {}
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

    def ended(self, index: int, seconds: float) -> None:
        """Take note of how long a run took."""
        recent = self._recent.setdefault(self._runs[index].experiment, deque(maxlen=_RECENT))
        recent.append(seconds)

    def forget(self, worker: Hashable) -> None:
        """A worker is gone, and so are its fixtures."""
        self._at.pop(worker, None)

    def seconds(self, index: int) -> float | None:
        """How long a run may take: by history and by what was seen in this session, the longer of them."""
        run = self._runs[index]
        recent = self._recent.get(run.experiment, ())
        known = [*recent] if len(recent) > 1 else []
        if run.expected is not None:
            known.append(run.expected)
        return max(known, default=None)

    def is_short(self, index: int) -> bool:
        """Whether a run may be given to a worker that is not free yet."""
        seconds = self.seconds(index)
        return seconds is not None and seconds < SHORT

    def take(self, worker: Hashable, *, workers: int, room: int = CHUNK, busy: bool = False) -> list[int]:
        """Take what a worker is to run next: one run, or up to `room` short ones; to a `busy` one only short ones.

        Of these no more than its share when all of the `workers` are as quick.
        """
        taken: list[int] = []
        left = SHORT
        most = min(room, CHUNK, max(1, len(self) // (2 * max(1, workers))))
        while self and len(taken) < most:
            lane = self._lane(worker, workers)
            index = self._lanes[lane][0][1] if lane is not None else self._last[0]
            seconds = self.seconds(index)
            if (taken or busy) and (seconds is None or seconds > left):
                break
            if lane is None:
                self._last.pop(0)
            else:
                self._pop(lane)
                self._at[worker] = lane
            taken.append(index)
            if seconds is None or seconds >= SHORT:
                break
            left -= seconds
        return taken

    def _pop(self, lane: str) -> None:
        _, index = heapq.heappop(self._lanes[lane])
        if not self._lanes[lane]:
            del self._lanes[lane]
        self._size -= 1
        self._seconds = max(0.0, self._seconds - (self._runs[index].expected or 0.0)) if self._size else 0.0

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
    return -round(_STEPS * math.log2(max(seconds, SHORT))) if seconds is not None else -(1 << 20)
