"""Sums over runs: how many ended how, how long they took, what they take of the disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from expedition.archive.rows import DAMAGED, RunRow
from expedition.recording import outcomes
from expedition.reporting.cells import Rate

STATUSES = (*outcomes.STATUSES, DAMAGED)
"""All that a row can have as its status, in the order in which reports name them."""

FAILURES = frozenset({outcomes.FAILED, outcomes.INTERRUPTED, outcomes.CRASHED, outcomes.TIMEOUT})
"""Outcomes that are no success. Runs that were skipped or pruned are neither, nor are those that have not ended."""


@dataclass
class Tally:
    """What was counted of some runs, one after the other.

    Attributes
    ----------
    seconds : durations of the runs that have one.
    size, files : bytes of the run folders, and how many files these are.
    first : when the first began. last : when the last began. last_done : when the last ended as done.
    longest : the run that took longest.
    """

    runs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    size: int = 0
    files: int = 0
    first: datetime | None = None
    last: datetime | None = None
    last_done: datetime | None = None
    longest: RunRow | None = None

    def add(self, row: RunRow) -> None:
        """Count one run."""
        self.runs += 1
        self.statuses[row.status] += 1
        self.size += row.size
        self.files += row.files
        if row.duration is not None:
            self.seconds.append(row.duration)
            if self.longest is None or row.duration > (self.longest.duration or 0.0):
                self.longest = row
        if row.started is not None:
            self.first = row.started if self.first is None else min(self.first, row.started)
            self.last = row.started if self.last is None else max(self.last, row.started)
        if row.status == outcomes.DONE and row.stopped is not None:
            self.last_done = row.stopped if self.last_done is None else max(self.last_done, row.stopped)

    @property
    def success(self) -> Rate:
        """How many are done, of those that ended as done or in one of `FAILURES`."""
        done = self.statuses[outcomes.DONE]
        return Rate(done, done + sum(self.statuses[status] for status in FAILURES))

    @property
    def total(self) -> float:
        """Seconds of all runs together."""
        return math.fsum(self.seconds)

    @property
    def mean(self) -> float | None:
        """Mean seconds of a run, None without any that ended."""
        return self.total / len(self.seconds) if self.seconds else None

    @property
    def median(self) -> float | None:
        """Median seconds of a run, None without any that ended."""
        import statistics

        return statistics.median(self.seconds) if self.seconds else None


def status_text(statuses: Mapping[str, int]) -> str:
    """Return ``11 done, 1 failed``."""
    known = [*STATUSES, *(status for status in statuses if status not in STATUSES)]
    return ", ".join(f"{statuses[status]:,} {status}" for status in known if statuses.get(status))


def count_text(number: int, noun: str) -> str:
    """Return ``1 run``, ``12 runs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
