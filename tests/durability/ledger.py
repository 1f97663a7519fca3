"""What the runs of a sweep acknowledged to have recorded, written beside the archive.

`EXPERIMENT` writes one line for each call that records something, after the call has returned; each process writes
into a book of its own. Every value follows from the run and the step, so that whatever is read can be told right
from wrong, and what a run records is always the beginning of `CALLS`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from expedition.archive.sweep import SweepFolder

RUNS = 8
STEPS = 40

EXPERIMENT = f"""
import json, os, time
from pathlib import Path
import numpy as np
from expedition import experiment

side = Path(os.environ["SIDE"])  # in lower case: it is no parameter

def book():
    born = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]  # numbers of processes come again
    return side / f"{{os.getpid()}}-{{born}}.book"

@experiment.parametrize("x", list(range({RUNS})))
def exp_ledger(e, x: int = 0):
    attempt = json.loads((e.path / "experiment_meta.json").read_bytes())["attempt"]
    descriptor = os.open(book(), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def acknowledge(*what):
        os.write(descriptor, json.dumps([x, attempt, *what]).encode() + b"\\n")
    acknowledge("began", 0)
    order = json.loads(os.environ.get("ORDER", "null")) or {{}}
    for i in range({STEPS}):
        if (x, i) == (order.get("x"), order.get("step")):
            acknowledge("struck", i)
            exec(order["code"])
        value = x + i / 7
        e.track("value", value)
        acknowledge("value", i)
        if i % 4 == 0:
            e.track("field", np.full(200, value))
            acknowledge("field", i // 4)
        if i % 3 == 0:
            e[f"at/{{i}}"] = [value, i]
            acknowledge("at", i)
        if i % 10 == 0:
            e.commit(f"file-{{i}}.txt", f"{{x}} {{i}} " * 500)
            acknowledge("file", i)
        if i % 8 == 0:
            print("step", x, i)
            acknowledge("step", i)
        time.sleep(0.001)
    e["array"] = np.arange(300.0) + x
    acknowledge("array", 0)
    acknowledge("ended", 0)
    os.close(descriptor)
"""


class Call(NamedTuple):
    """One call that records something: what, and which of its kind."""

    kind: str
    number: int


def _calls() -> list[Call]:
    found = []
    for i in range(STEPS):
        found.append(Call("value", i))
        if i % 4 == 0:
            found.append(Call("field", i // 4))
        found += [Call(kind, i) for kind, every in (("at", 3), ("file", 10), ("step", 8)) if i % every == 0]
    return [*found, Call("array", 0)]


CALLS = _calls()
"""What a run records, in this order."""

BYTES_OF_A_RUN = sum(len(json.dumps([0, 0, *call])) + 1 for call in CALLS)
"""How much one run acknowledges."""

Key = tuple[int, int]
"""A run, and which attempt of it."""


@dataclass
class Attempt:
    """What one attempt acknowledged.

    Attributes
    ----------
    calls : how many of `CALLS` have returned.
    struck : whether it came to the place where it was told to come to grief.
    ended : whether the function came to its end.
    over : whether another one began later in the same process, so that the record of this one has its end.
    """

    calls: int = 0
    struck: bool = False
    ended: bool = False
    over: bool = False


@dataclass
class Ledger:
    """The acknowledgements in the folder `side`, and the only sweep below the archive `root`."""

    side: Path
    root: Path
    _read: dict[Path, tuple[int, dict[Key, Attempt]]] = field(default_factory=dict)

    def attempts(self) -> dict[Key, Attempt]:
        """Return what every attempt acknowledged whose function was called."""
        found: dict[Key, Attempt] = {}
        for book in sorted(self.side.glob("*.book")):
            size = book.stat().st_size
            if self._read.get(book, (-1,))[0] != size:
                self._read[book] = size, _read_book(book.read_bytes())
            written = self._read[book][1]
            assert not written.keys() & found.keys(), "an attempt was made twice"
            found |= written
        return found

    def count(self) -> int:
        """How many bytes of acknowledgements there are, by which one can tell how far the sweep is."""
        return sum(book.stat().st_size for book in self.side.glob("*.book"))

    def sweep(self) -> SweepFolder | None:
        """The sweep folder; None when the invocation did not get so far."""
        found = sorted(self.root.rglob("sweep.json"))
        return SweepFolder.open(found[-1].parent) if found else None


def _read_book(content: bytes) -> dict[Key, Attempt]:
    found: dict[Key, Attempt] = {}
    for line in content.split(b"\n")[:-1]:  # a torn last line was never acknowledged
        x, number, kind, which = json.loads(line)
        if kind == "began":
            for earlier in found.values():
                earlier.over = True
            assert (x, number) not in found, "an attempt was made twice"
            found[x, number] = Attempt()
            continue
        attempt = found[x, number]
        if kind == "struck":
            attempt.struck = True
        elif kind == "ended":
            assert attempt.calls == len(CALLS)
            attempt.ended = True
        else:
            assert (kind, which) == CALLS[attempt.calls], "this experiment does something else"
            attempt.calls += 1
    return found
