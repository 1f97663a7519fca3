"""The faults that strike a sweep in `test_faults`, each as it comes in life: kills, signals, a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.durability.comparison import Harm
from tests.durability.laboratory import Started
from tests.durability.ledger import RUNS, STEPS, Key

CRASHED = frozenset({"crashed"})
INTERRUPTED = frozenset({"interrupted"})
FAILED = frozenset({"failed"})


@dataclass(frozen=True)
class Fault:
    """One way in which a sweep comes to grief.

    Attributes
    ----------
    workers : with how many workers the sweep runs.
    strike : does it, from outside, to a running invocation whose archive is at a path; returns whether it did.
    statuses : those that a run may have which did not come to its end.
    codes : exit codes of the invocation.
    most : how many runs may come to harm.
    lasts : whether it goes on while further runs begin.
    code : what a run executes, where it does it to itself at a random step.
    needs_small_disk : whether the archive has to be on a disk that can be filled.
    weight : how often it is chosen, compared with others.
    """

    name: str
    workers: int
    statuses: frozenset[str]
    codes: frozenset[int]
    strike: Callable[[Started, Path, random.Random], bool] | None = None
    most: int = 1
    lasts: bool = False
    code: str = ""
    needs_small_disk: bool = False
    weight: int = 2

    @property
    def is_signal(self) -> bool:
        """Whether the invocation is asked to end in order."""
        return self.name.startswith("SIG")

    def harm(self, culprit: int, over: frozenset[Key]) -> Harm:
        """What it may have done; `culprit` is the run that was told to do it to itself, where one was."""
        return Harm(self.statuses, self.most, culprit if self.code else None, over, self.lasts)

    def may_end_with(self, code: int, *, has_begun: bool, is_complete: bool) -> bool:
        """Whether an invocation that it struck may have an exit code.

        Parameters
        ----------
        has_begun : whether a run had begun.
        is_complete : whether every run of the sweep is done. Only then there was nothing to complain of.
        """
        if code in self.codes or (code == 0 and is_complete):
            return True
        # Before and after the session the system ends a process as it ends any other.
        is_outside = not has_begun or is_complete
        return (
            self.is_signal and is_outside and code in (-signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, 130)
        )

    def leaves_all_up_to_date(self, code: int, *, is_complete: bool) -> bool:
        """Whether the session came to its end, so that it has brought the trajectory up to date."""
        is_cut = self.lasts or self.name == "SIGINT twice" or (self.is_signal and is_complete)
        return code in (0, 1, 2) and not is_cut

    def order(self, chance: random.Random, culprit: int) -> str:
        """What the experiment is told by its environment: at which run and step to come to grief, and how."""
        if not self.code:
            return "null"
        return json.dumps({"x": culprit, "step": chance.randrange(STEPS), "code": self.code})


def processes_below(pid: int) -> list[int]:
    """The children of a process that run Python, alive ones only."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] not in "ZX":
                found.append(int(status.parent.name))
    return sorted(found)


def _send(number: int, *, group: bool = False) -> Callable[[Started, Path, random.Random], bool]:
    def strike(started: Started, archive: Path, chance: random.Random) -> bool:
        with contextlib.suppress(ProcessLookupError):
            started.signal(number, group=group)
            return True
        return False

    return strike


def _twice(number: int) -> Callable[[Started, Path, random.Random], bool]:
    def strike(started: Started, archive: Path, chance: random.Random) -> bool:
        with contextlib.suppress(ProcessLookupError):
            started.signal(number)
            time.sleep(chance.uniform(0, 0.4))
            started.signal(number)
            return True
        return False

    return strike


def _kill_worker(started: Started, archive: Path, chance: random.Random) -> bool:
    workers = processes_below(started.process.pid)
    if not workers:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(workers), signal.SIGKILL)
        return True
    return False


def _fill_disk(started: Started, archive: Path, chance: random.Random) -> bool:
    """Leave no byte on the disk of the archive for a while, or to the end."""
    ballast = archive.parent / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    give_up = time.monotonic() + chance.choice((0.05, 0.3, 60.0))
    while started.process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.01)
    ballast.unlink()
    return True


_MEMORY = """
import resource
limits = resource.getrlimit(resource.RLIMIT_AS)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), limits[1]))
try:
    hoard = [bytearray(8 << 20) for _ in range(1000)]
finally:
    resource.setrlimit(resource.RLIMIT_AS, limits)
"""
_SEGFAULT = "import ctypes; ctypes.string_at(0)"
_RECURSION = "(f := lambda n: f(n + 1))(0)"

FAULTS = (
    Fault("kill -9", 0, CRASHED, frozenset({-9}), _send(signal.SIGKILL)),
    Fault("SIGINT", 0, INTERRUPTED, frozenset({2}), _send(signal.SIGINT)),
    Fault("SIGTERM", 0, INTERRUPTED, frozenset({2}), _send(signal.SIGTERM)),
    Fault("SIGHUP", 0, INTERRUPTED, frozenset({2}), _send(signal.SIGHUP)),
    Fault("SIGINT twice", 0, INTERRUPTED | CRASHED, frozenset({2, -2, 130}), _twice(signal.SIGINT)),
    Fault(
        "full disk",
        0,
        FAILED,
        frozenset({1}),
        _fill_disk,
        most=RUNS,
        lasts=True,
        needs_small_disk=True,
        weight=4,
    ),
    Fault("os._exit", 0, CRASHED, frozenset({7}), code="os._exit(7)"),
    Fault("os.abort", 0, CRASHED, frozenset({-6}), code="os.abort()", weight=1),
    Fault("segfault", 0, CRASHED, frozenset({-11}), code=_SEGFAULT, weight=1),
    Fault("sys.exit", 0, FAILED, frozenset({1}), code="import sys; sys.exit(3)", weight=1),
    Fault("recursion", 0, FAILED, frozenset({1}), code=_RECURSION, weight=1),
    Fault("MemoryError", 0, FAILED, frozenset({1}), code=_MEMORY, weight=1),
    Fault("kill -9 of a worker", 2, CRASHED, frozenset({1}), _kill_worker, weight=3),
    Fault("kill -9 of all", 2, CRASHED, frozenset({-9}), _send(signal.SIGKILL, group=True), most=2),
    Fault(
        "kill -9 of the controller",
        2,
        CRASHED | INTERRUPTED,
        frozenset({-9}),
        _send(signal.SIGKILL),
        most=2,
        weight=1,
    ),
    Fault("SIGINT", 2, INTERRUPTED, frozenset({2}), _send(signal.SIGINT), most=2, weight=1),
    Fault(
        "SIGINT of all", 2, INTERRUPTED, frozenset({2}), _send(signal.SIGINT, group=True), most=2, weight=1
    ),
    Fault(
        "SIGTERM of all", 2, INTERRUPTED, frozenset({2}), _send(signal.SIGTERM, group=True), most=2, weight=1
    ),
    Fault("segfault", 2, CRASHED, frozenset({1}), code=_SEGFAULT, weight=1),
)


def choose(chance: random.Random, *, has_small_disk: bool) -> Fault:
    """Return one of the faults that can be made here."""
    found = [fault for fault in FAULTS if has_small_disk or not fault.needs_small_disk]
    return chance.choices(found, [fault.weight for fault in found])[0]
