"""``--archive-modify``: records of runs are changed, and keep what they were."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from expedition.archive.edit_lines import EditLog
from expedition.archive.edits import Edited, apply_operations, edit_run, editable_of
from expedition.archive.operation_text import parse_operation
from expedition.archive.operations import Editable, Operation
from expedition.archive.rows import DAMAGED, RunRow, stored_name
from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.errors import DamagedError, ExpeditionError, ExperimentError, RecordNotFoundError
from expedition.plugin.acting.action import counted, name_of, refuse_running
from expedition.plugin.acting.holding import by_sweep, held, reason_of, recompiled, refuse_held
from expedition.recording import outcomes

_KNOWN = 10_000
"""Names among which near matches are looked for at most."""


def plan_modification(root: Path, rows: Sequence[RunRow], operations: Sequence[str]) -> Modification:
    """Return how operations such as ``set params.x=1`` change runs of the archive `root`; nothing is written yet.

    They are done to each run one after the other. What a run lacks is told in `problems`, and the others go on.

    Raises `ExperimentError`: for an operation that is malformed, with the position; for a name that no run has,
    with near matches; for a value that a parameter cannot have; for runs that are running, and for a sweep that an
    invocation is at.
    """
    if not operations:
        raise ExperimentError(
            "say how the runs are to be modified, such as 'set params.x=1', 'rename params.x=y', 'drop data.tmp', "
            "'tag paper', 'untag paper' or 'note \"…\"'"
        )
    parsed = [parse_operation(text) for text in operations]
    refuse_running(rows, "modified")
    groups = by_sweep(rows)
    refuse_held(groups, "modified")
    plan = Modification(parsed)
    missing = dict.fromkeys(operation for operation in parsed if operation.needs_name)
    known: set[str] = set()
    read = 0
    for sweep, group in groups.items():
        annotated = _annotated(sweep)
        part = _Part(sweep, annotated)
        for row in group:
            try:
                run = _editable(row, annotated)
            except (DamagedError, RecordNotFoundError) as error:
                plan.problems.append(f"{name_of(row)}: {error}")
                continue
            read += 1
            if missing and len(known) < _KNOWN:
                known |= {f"params.{name}" for name in run.parameters}
                known |= {stored_name(path) for path in run.data}
            found = apply_operations(run, parsed)
            for operation in found.met:
                missing.pop(operation, None)
            plan.problems += [f"{name_of(row)}: {text}" for text in found.lacking]
            (part.rows if found.changes else part.unchanged).append(row)
        plan.parts.append(part)
    if missing and read:
        next(iter(missing)).refuse_unknown(known)
    return plan


class _Part:
    """The runs of one sweep: those that change, and those that do not."""

    def __init__(self, sweep: Path | None, annotated: Collection[str]) -> None:
        self.sweep = sweep
        self.annotated = annotated
        self.rows: list[RunRow] = []
        self.unchanged: list[RunRow] = []


class Modification:
    """Edits the records of runs: an `Action`."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self.parts: list[_Part] = []
        self.problems: list[str] = []
        self._idle: Counter[str] = Counter()
        self._edited = 0

    @property
    def question(self) -> str:
        """What a person is asked before the runs are changed; empty when none would be."""
        rows = [row for part in self.parts for row in part.rows]
        if not rows:
            return ""
        experiments = counted(len({row.namespace for row in rows}), "experiment")
        texts = ", ".join(operation.text for operation in self._operations)
        return f"modify {counted(len(rows), 'run')} of {experiments} ({texts})?"

    def preview(self) -> Iterator[str]:
        """Yield a line for each change of each run, and at the end for each operation that changes nothing in runs."""
        self._idle.clear()
        for part in self.parts:
            for row in (*part.rows, *part.unchanged):
                yield from self._would(row, part)
        yield from self._summed()

    def apply(self) -> Iterator[str]:
        """Edit the runs, and yield what was changed."""
        self._idle.clear()
        for part in self.parts:
            try:
                yield from self._apply(part)
            except (ExpeditionError, OSError) as error:
                self.problems.append(f"{part.sweep or name_of(part.rows[0])}: {reason_of(error)}")
        yield from self._summed()
        if self._edited:
            yield f"modified {counted(self._edited, 'run')}"

    def _summed(self) -> Iterator[str]:
        """Yield how many runs each operation changes nothing in: a line for each run would hide the others."""
        for text, number in self._idle.items():
            yield f"{text}: changes nothing in {counted(number, 'run')}"

    def _apply(self, part: _Part) -> Iterator[str]:
        for row in part.unchanged:
            yield from self._would(row, part)
        if not part.rows:
            return
        if part.sweep is None:
            for row in part.rows:
                yield from self._edit(row, part.annotated)
            return
        with held(part.sweep, "modified"):
            opened: SweepFolder | None = None
            planned: dict[str, RunEntry] = {}
            with contextlib.suppress(DamagedError):
                opened = SweepFolder.open(part.sweep)
                planned = {entry.folder: entry for entry in opened.entries}
            entries = {
                row.path: planned.get(row.path.relative_to(part.sweep).as_posix()) for row in part.rows
            }
            with EditLog(opened) if opened is not None else contextlib.nullcontext() as log:
                for entry in entries.values():
                    if log is not None and entry is not None:
                        log.announce(entry)
                if log is not None:
                    log.sync()
                for row in part.rows:
                    yield from self._edit(row, part.annotated)
                    entry = entries[row.path]
                    if log is not None and entry is not None:
                        log.tell(entry)
            problem = recompiled(part.sweep) if opened is not None else None
        if problem is not None:
            self.problems.append(problem)

    def _would(self, row: RunRow, part: _Part) -> Iterator[str]:
        with contextlib.suppress(DamagedError, RecordNotFoundError):  # it has vanished since it was planned
            yield from self._told(row, apply_operations(_editable(row, part.annotated), self._operations))

    def _edit(self, row: RunRow, annotated: Collection[str]) -> Iterator[str]:
        try:
            record = row.record()
            if record.status in (outcomes.RUNNING, outcomes.UNKNOWN):
                raise ExperimentError(f"it is {record.status} again")
            edited = edit_run(record, self._operations, annotated)
            self._edited += bool(edited.changes)
            yield from self._told(row, edited)
        except (ExpeditionError, OSError) as error:
            self.problems.append(f"{name_of(row)}: {reason_of(error)}")

    def _told(self, row: RunRow, edited: Edited) -> Iterator[str]:
        for change in edited.changes:
            yield f"{name_of(row)}: {change}{f' ({change.retyped})' if change.retyped else ''}"
        self._idle.update(edited.unchanged)


def _editable(row: RunRow, annotated: Collection[str]) -> Editable:
    if row.status == DAMAGED:
        raise DamagedError(row.problem)
    return editable_of(row.record(), annotated)


def _annotated(sweep: Path | None) -> Collection[str]:
    """Parameters of a sweep whose type is that of an annotation."""
    if sweep is None:
        return ()
    try:
        parameters = SweepFolder.open(sweep).parameters
    except (DamagedError, OSError):
        return ()
    return frozenset(name for name, about in parameters.items() if about.get("annotated"))
