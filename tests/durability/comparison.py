"""Whether an archive says what its runs acknowledged, no less and nothing else, and the same in all places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from expedition import RunRecord, Trajectory
from expedition.archive.commits import find_logs, latest_commits
from expedition.archive.liveness import is_held
from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.errors import ExpeditionError, RecordNotFoundError
from expedition.recording.journal import read_journal
from tests.durability.figures import Figures
from tests.durability.ledger import CALLS, RUNS, STEPS, Attempt, Call, Key, Ledger

FILES = {f"file-{i}.txt": i for i in range(0, STEPS, 10)}


@dataclass(frozen=True)
class Harm:
    """What a fault may have done to the attempts that were made when it struck. Without one all of them are done.

    Attributes
    ----------
    statuses : those that an attempt may have which is not done.
    most : how many attempts may have them.
    culprit : the run that did it to itself; no other may have come to harm.
    over : attempts that were over when the fault struck.
    lasts : whether it goes on while further runs begin. Else their processes, or the session, end: then none but
        the last run of each process may have come to harm.
    """

    statuses: frozenset[str] = frozenset()
    most: int = 0
    culprit: int | None = None
    over: frozenset[Key] = frozenset()
    lasts: bool = False

    def explains(self, key: Key, attempt: Attempt | None) -> bool:
        """Whether an attempt may have come to harm; None has acknowledged nothing at all."""
        if self.culprit is not None:
            return key[0] == self.culprit and attempt is not None and attempt.struck
        if key in self.over:
            return False
        return self.lasts or attempt is None or not attempt.over


@dataclass
class Comparison:
    """Compares the archive of `ledger` with its books, again and again while the sweep is resumed."""

    ledger: Ledger
    _statuses: dict[Key, str] = field(default_factory=dict)
    _counted: dict[Key, int] = field(default_factory=dict)
    _never_begun: dict[Key, str] = field(default_factory=dict)

    def check(
        self,
        figures: Figures,
        harm: Harm | None = None,
        *,
        listed: list[tuple[str, str]] | None = None,
        published: bool = False,
    ) -> None:
        """Compare everything; attempts that are new may have come to `harm`.

        `listed` are the ids and statuses of a list of the command line. `published` says that the trajectory has to
        be up to date; else it may be as old as anything that was ever true.
        """
        harm = harm or Harm()
        sweep, attempts = self.ledger.sweep(), self.ledger.attempts()
        for key, attempt in attempts.items():
            figures.records += attempt.calls - self._counted.get(key, 0)
            self._counted[key] = attempt.calls
        if sweep is None:
            for (x, number), attempt in attempts.items():
                figures.note(
                    "lost", f"run {x}, attempt {number}: no sweep has its {attempt.calls} acknowledged"
                )
            return
        if [entry.params["x"] for entry in sweep.entries] != list(range(RUNS)):
            figures.note("false", "the manifest has other runs than were planned")
            return
        found: dict[Key, RunRecord] = {}
        current: dict[str, RunRecord] = {}
        set_aside: set[str] = set()
        for entry in sweep.entries:
            for record, is_current in _records(sweep, entry, figures):
                found.setdefault((entry.index, record.attempt), record)
                if is_current:
                    current[entry.id] = record
                elif entry.id not in current:  # the next attempt has not begun
                    set_aside.add(entry.id)
        for x, number in (attempts.keys() | self._statuses.keys()) - found.keys():
            known = attempts.get((x, number), Attempt())
            figures.note("lost", f"run {x}, attempt {number}: no record of its {known.calls} acknowledged")
        harmed = 0
        for (x, number), record in sorted(found.items(), key=lambda item: item[0]):
            name, written = f"run {x}, attempt {number}", attempts.get((x, number))
            harmed += self._judge(record, (x, number), written, harm, figures)
            try:
                _compare_values(record, x, written, figures, name)
            except Exception as error:
                figures.note("torn", f"{name}: reading it raises {type(error).__name__}: {error}")
        if harmed > harm.most > 0:
            figures.note("false", f"{harmed} runs came to harm, which should have been {harm.most} at most")
        self._compare_logs(sweep, attempts, harm, figures)
        never_begun = {
            entry.id for entry in sweep.entries for x, _ in self._never_begun if x == entry.index
        } - current.keys()
        statuses = {identifier: record.status for identifier, record in current.items()}
        commits = [(sweep.entries[line["index"]].id, str(line["status"])) for line in latest_commits(sweep)]
        _compare_list("the commit log", commits, statuses, set_aside | never_begun, figures)
        if listed is not None:
            _compare_list("the list", listed, statuses, set_aside, figures)
        for lock in (sweep.path / "journal").glob("*.lock"):
            if is_held(lock):
                figures.note("false", f"{lock.name} is held, but nobody is at work")
        self._compare_trajectory(sweep, statuses, figures, published=published)

    def _judge(
        self, record: RunRecord, key: Key, attempt: Attempt | None, harm: Harm, figures: Figures
    ) -> bool:
        """Compare the status of an attempt with what it acknowledged; return whether it has newly come to harm."""
        name, status = f"run {key[0]}, attempt {key[1]}", record.status
        before = self._statuses.get(key)
        self._statuses[key] = status
        if before not in (None, status):
            figures.note("false", f"{name}: {status}, and was {before}")
        if record.index != key[0]:
            figures.note("false", f"{name}: its record is that of run {record.index}")
        if (record.stopped is None) != (status == "crashed"):
            figures.note("false", f"{name}: {status}, but stopped at {record.stopped}")
        if status == "done":
            if attempt is None or not attempt.ended:
                figures.note("false", f"{name}: done, but its function did not end")
            return False
        if before is not None:
            return False
        if status not in harm.statuses:
            figures.note("false", f"{name}: {status}, which is none of {sorted(harm.statuses)}")
        elif not harm.explains(key, attempt):
            figures.note("false", f"{name}: {status}, though nothing happened to it")
        return True

    def _compare_logs(
        self, sweep: SweepFolder, attempts: dict[Key, Attempt], harm: Harm, figures: Figures
    ) -> None:
        """Hold every line of the commit logs against the record of its attempt.

        While a fault lasts, runs may fail before there is room for a record.
        """
        for name, path in find_logs(sweep).items():
            for line in read_journal(path):
                key, said = (line["index"], line["attempt"]), line["status"]
                status = self._statuses.get(key)
                if status is None and harm.lasts and key not in attempts and said in harm.statuses:
                    self._never_begun[key] = said
                if said not in (status, self._never_begun.get(key)):
                    figures.note(
                        "false", f"{name}: run {key[0]}, attempt {key[1]} is {said}, the folder says {status}"
                    )

    def _compare_trajectory(
        self, sweep: SweepFolder, statuses: dict[str, str], figures: Figures, *, published: bool
    ) -> None:
        file = sweep.path / "trajectory.h5"
        if not file.exists():
            if published:
                figures.note("lost", "there is no trajectory")
            return
        with Trajectory.open(file) as traj:
            if traj.runs.id[:].tolist() != [entry.id for entry in sweep.entries]:
                figures.note("false", f"the trajectory has the runs {traj.runs.id[:].tolist()}")
                return
            for entry, status in zip(sweep.entries, traj.runs.status[:].tolist(), strict=True):
                now = statuses.get(entry.id, "pending")
                known = [*self._statuses.items(), *self._never_begun.items()]
                ever = {"pending", *(said for (x, _), said in known if x == entry.index)}
                if status not in ever or (published and status != now):
                    figures.note("false", f"{entry.id}: the trajectory says {status}, the folder {now}")
                if status == "done":
                    values = traj.series["value"][entry.index].value
                    if list(values) != [entry.index + i / 7 for i in range(STEPS)]:
                        figures.note("torn", f"{entry.id}: series in the trajectory")


def _records(sweep: SweepFolder, entry: RunEntry, figures: Figures) -> Iterator[tuple[RunRecord, bool]]:
    """Yield every attempt of a run, and whether it is the one in the run's own folder."""
    folder = sweep.path / entry.folder
    for place in (folder, *sorted(folder.glob("attempts/*"))):
        try:
            yield RunRecord(place, sweep=sweep.path), place == folder
        except RecordNotFoundError:  # it was made, or set aside, and no attempt has begun in it
            continue
        except ExpeditionError as error:
            figures.note("torn", f"run {entry.index}: {error}")


def _compare_list(
    name: str,
    listed: list[tuple[str, str]],
    statuses: dict[str, str],
    set_aside: set[str],
    figures: Figures,
) -> None:
    """Hold a list against the run folders: both have the same runs, with the same statuses.

    Of a run that was killed between two attempts a list may say what its last one was, or nothing.
    """
    for identifier, times in Counter(identifier for identifier, _ in listed).items():
        if times > 1:
            figures.note("false", f"{identifier}: {name} has it {times} times")
    found = dict(listed)
    for identifier in sorted(found.keys() | statuses.keys()):
        if found.get(identifier) != statuses.get(identifier) and identifier not in set_aside:
            said, so = found.get(identifier, "nothing"), statuses.get(identifier, "nothing")
            figures.note("false", f"{identifier}: {name} says {said}, the folder {so}")


def _compare_values(record: RunRecord, x: int, attempt: Attempt | None, figures: Figures, name: str) -> None:
    returned = CALLS[: attempt.calls] if attempt is not None else []
    # A call that did not return may have recorded what it should.
    possible = {*returned, *(CALLS[len(returned) : len(returned) + 1] if attempt is not None else ())}
    found: dict[Call, bool] = {}

    def add(kind: str, number: int, *, right: bool) -> None:
        if Call(kind, number) in found:
            figures.note("torn", f"{name}: {kind} {number} is there twice")
        found[Call(kind, number)] = right

    def stranger(what: str) -> None:
        figures.note("torn", f"{name}: it has {what}, which nobody recorded")

    series: dict[str, Callable[[int, Any], bool]] = {
        "value": lambda i, value: bool(value == x + i / 7),
        "field": lambda i, value: np.array_equal(value, np.full(200, x + i * 4 / 7)),
    }
    for of in record.series:
        if of not in series:
            stranger(f"the series {of}")
            continue
        entries = record.series[of]
        for step, value in zip(entries.step.tolist(), entries.value, strict=True):
            add(of, step, right=series[of](step, value))
    for key, value in record.flat_data.items():
        group, _, number = key.partition("/")
        if group == "at" and number.isdecimal():
            add("at", int(number), right=value == [x + int(number) / 7, int(number)])
        elif key == "array":
            add("array", 0, right=np.array_equal(value, np.arange(300.0) + x))
        else:
            stranger(f"the value {key}")
    for file, path in record.artifacts.items():
        if file in FILES:
            text = f"{x} {FILES[file]} " * 500
            add("file", FILES[file], right=path.read_text(encoding="utf-8") == text)
        else:
            stranger(f"the file {file}")
    for line in record.log.splitlines():
        words = line.split()
        if words[:1] != ["step"]:
            continue
        if len(words) == 3:
            add("step", int(words[2]), right=words[1] == str(x))
        elif not any(call.kind == "step" for call in possible.difference(returned)):
            stranger(f"a part of a line, {line!r}")  # `print` puts out one word after the other
    for call in returned:
        if call not in found:
            figures.note("lost", f"{name}: {call.kind} {call.number}")
    for call, right in found.items():
        if not right:
            figures.note("torn", f"{name}: {call.kind} {call.number}")
        if call not in possible:
            stranger(f"{call.kind} {call.number}")
