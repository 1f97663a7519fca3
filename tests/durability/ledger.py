"""What an experiment acknowledged to have recorded, and what of it stands in the archive.

`EXPERIMENT` writes, beside the archive, one line for each call that records something, after the call has returned.
Every value follows from the run and the step, so that whatever is read can be told right from wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from expedition import RunRecord, Trajectory
from expedition.archive.commits import latest_commits
from expedition.archive.liveness import is_held
from expedition.archive.sweep import SweepFolder
from expedition.errors import ExpeditionError, RecordNotFoundError

RUNS = 8
STEPS = 40
FIGURES = "figures of durability"
"""Under this name a report carries what a test found."""

ENDED = "ended"
"""The acknowledgement that the function of a run came to its end."""

EXPERIMENT = f'''
import json, os, time
from pathlib import Path
import numpy as np
from expedition import experiment

side = Path(os.environ["SIDE"])  # in lower case: it is no parameter

@experiment.parametrize("x", list(range({RUNS})))
def exp_ledger(e, x: int = 0):
    attempt = json.loads((e.path / "experiment_meta.json").read_bytes())["attempt"]
    book = os.open(side / f"{{x}}-{{attempt}}.acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def acknowledge(*what):
        os.write(book, json.dumps(what).encode() + b"\\n")
    order = json.loads(os.environ.get("ORDER", "null")) or {{}}
    for i in range({STEPS}):
        if (x, i) == (order.get("x"), order.get("step")):
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
    acknowledge("{ENDED}", 0)
    os.close(book)
'''


@dataclass
class Figures:
    """What comparisons found: `lost`, `torn` and `false` are counts, `findings` says each of them in words.

    `slowest` are the most seconds from a signal to the end of the processes.
    """

    faults: int = 0
    records: int = 0
    lost: int = 0
    torn: int = 0
    false: int = 0
    slowest: float = 0.0
    findings: list[str] = field(default_factory=list)

    def numbers(self) -> dict[str, float]:
        """The counts by name, for a report."""
        return {name: value for name, value in vars(self).items() if name != "findings"}

    @classmethod
    def sum(cls, several: Iterable[Mapping[str, Any]]) -> Figures:
        """Add up the numbers of several tests."""
        total = cls()
        for numbers in several:
            for name, value in numbers.items():
                before = getattr(total, name)
                setattr(total, name, max(before, value) if name == "slowest" else before + value)
        return total

    def line(self) -> str:
        return (
            f"faults tried {self.faults}, records acknowledged {self.records}, lost {self.lost}, "
            f"torn {self.torn}, false statuses {self.false}"
        )

    def is_clean(self) -> bool:
        return not (self.lost or self.torn or self.false)

    def note(self, kind: str, text: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        self.findings.append(f"{kind}: {text}")


class Ledger:
    """Compares what stands in `side` with the only sweep below the archive `root`.

    Attributes
    ----------
    allowed : which statuses a run may have that did not come to its end, by run and attempt; fixed by the fault
        during which the attempt was made.
    """

    def __init__(self, side: Path, root: Path) -> None:
        self._side = side
        self._root = root
        self._counted: dict[tuple[int, int], int] = {}
        self.allowed: dict[tuple[int, int], frozenset[str]] = {}

    def attempts(self) -> Iterator[tuple[int, int, list[tuple[str, int]]]]:
        """Yield run, attempt and what was acknowledged, for every attempt that began."""
        for file in sorted(self._side.glob("*.acknowledged")):
            x, attempt = map(int, file.stem.split("-"))
            lines = file.read_bytes().split(b"\n")[:-1]  # a torn last line was never acknowledged
            yield x, attempt, [(kind, number) for kind, number in map(json.loads, lines)]

    def count(self) -> int:
        """How many bytes of acknowledgements there are, by which one can tell how far the sweep is."""
        return sum(file.stat().st_size for file in self._side.glob("*.acknowledged"))

    def sweep(self) -> SweepFolder | None:
        """The sweep folder; None when the invocation did not get so far."""
        found = sorted(self._root.rglob("sweep.json"))
        return SweepFolder.open(found[-1].parent) if found else None

    def check(self, figures: Figures, allowed: Collection[str], listed: dict[str, str] | None = None) -> None:
        """Compare everything; attempts that are new may have ended in the way `allowed`.

        `listed` are the statuses that a list on the command line shows, by run id.
        """
        sweep = self.sweep()
        if sweep is None:
            for x, attempt, lines in self.attempts():
                figures.note("lost", f"run {x}, attempt {attempt}: no sweep has its {len(lines)} records")
            return
        statuses: dict[str, str] = {}
        for x, attempt, lines in self.attempts():
            done = self._counted.get((x, attempt), 0)
            figures.records += len(lines) - done
            self._counted[x, attempt] = len(lines)
            may = self.allowed.setdefault((x, attempt), frozenset(allowed))
            record = self._find(sweep, x, attempt)
            if record is None:
                figures.note(
                    "lost", f"run {x}, attempt {attempt}: no record of its {len(lines)} acknowledged"
                )
                continue
            compare(record, x, lines, may, figures, f"run {x}, attempt {attempt}")
            try:
                current = RunRecord(sweep.path / sweep.entries[x].folder)
            except RecordNotFoundError:  # its attempt was set aside, and the next one has not begun
                continue
            statuses[current.id] = current.status
        self._compare_lists(sweep, statuses, figures, listed)

    def _find(self, sweep: SweepFolder, x: int, attempt: int) -> RunRecord | None:
        folder = sweep.path / sweep.entries[x].folder
        for place in (folder, folder / "attempts" / str(attempt)):
            try:
                record = RunRecord(place, sweep=sweep.path)
            except ExpeditionError:
                continue
            if record.attempt == attempt:
                return record
        return None

    def _compare_lists(
        self, sweep: SweepFolder, statuses: dict[str, str], figures: Figures, listed: dict[str, str] | None
    ) -> None:
        """Hold the commit logs, a list of the command line and the trajectory against the run folders."""
        lines = {sweep.entries[line["index"]].id: line["status"] for line in latest_commits(sweep)}
        lists = {"commit logs": lines, **({} if listed is None else {"list": listed})}
        for name, found in lists.items():
            for identifier, status in statuses.items():
                if found.get(identifier) != status:
                    figures.note(
                        "false", f"{identifier}: {name} say {found.get(identifier)}, folder {status}"
                    )
        for lock in (sweep.path / "journal").glob("*.lock"):
            if is_held(lock):
                figures.note("false", f"{lock.name} is held, but nobody is at work")
        if not (sweep.path / "trajectory.h5").exists():
            return
        # It may be older than the folders, never false.
        with Trajectory.open(sweep.path / "trajectory.h5") as traj:
            for row, (identifier, status) in enumerate(zip(traj.runs.id, traj.runs.status, strict=True)):
                if status == "done" and statuses.get(str(identifier), "done") != "done":
                    figures.note(
                        "false", f"{identifier}: the trajectory says done, {statuses[str(identifier)]}"
                    )
                if status == "done" and "value" in traj.series:
                    values = traj.series["value"][row].value
                    if list(values) != [row + i / 7 for i in range(STEPS)]:
                        figures.note("torn", f"{identifier}: series in the trajectory")


def compare(
    record: RunRecord,
    x: int,
    lines: list[tuple[str, int]],
    allowed: Collection[str],
    figures: Figures,
    name: str,
) -> None:
    """Compare the record of run `x` with its acknowledgements; `allowed` are statuses of one that did not end."""
    ended = (ENDED, 0) in lines
    status = record.status
    if status == "done" and not ended:
        figures.note("false", f"{name}: done, but its function did not end")
    elif status != "done" and status not in allowed:
        figures.note("false", f"{name}: {status}, which is none of {sorted(allowed)}")
    if (record.stopped is None) != (status in ("crashed", "running", "unknown")):
        figures.note("false", f"{name}: {status}, but stopped at {record.stopped}")
    try:
        _compare_values(record, x, lines, figures, name)
    except Exception as error:
        figures.note("torn", f"{name}: reading it raises {type(error).__name__}: {error}")


def _compare_values(
    record: RunRecord, x: int, lines: list[tuple[str, int]], figures: Figures, name: str
) -> None:
    acknowledged: dict[str, list[int]] = {}
    for kind, number in lines:
        acknowledged.setdefault(kind, []).append(number)

    def hold(kind: str, found: dict[int, bool], more: int = 1) -> None:
        """`found` tells by number whether a value is right; a call that did not return may have recorded `more`."""
        wanted = acknowledged.get(kind, [])
        for number in wanted:
            if number not in found:
                figures.note("lost", f"{name}: {kind} {number}")
        for number, right in found.items():
            if not right:
                figures.note("torn", f"{name}: {kind} {number}")
        if len(found.keys() - set(wanted)) > more:
            figures.note("torn", f"{name}: {kind} has {sorted(found)}, which nobody recorded")

    def series(kind: str, right: Callable[[int, Any], bool]) -> None:
        if kind not in record.series:
            hold(kind, {})
            return
        entries = record.series[kind]
        pairs = zip(entries.step.tolist(), entries.value, strict=True)
        hold(kind, {step: right(step, value) for step, value in pairs})

    series("value", lambda i, value: value == x + i / 7)
    series("field", lambda i, value: np.array_equal(value, np.full(200, x + i * 4 / 7)))
    data = record.flat_data
    stored = {int(key.partition("/")[2]): value for key, value in data.items() if key.startswith("at/")}
    hold("at", {i: value == [x + i / 7, i] for i, value in stored.items()})
    arrays = {0: np.array_equal(data["array"], np.arange(300.0) + x)} if "array" in data else {}
    hold("array", arrays)
    texts = {i: record.artifacts.get(f"file-{i}.txt") for i in range(0, STEPS, 10)}
    hold(
        "file",
        {i: path.read_text(encoding="utf-8") == f"{x} {i} " * 500 for i, path in texts.items() if path},
    )
    said = [line.split() for line in record.log.splitlines() if line.startswith("step ")]
    hold("step", {int(words[2]): words[1] == str(x) for words in said if len(words) == 3})
