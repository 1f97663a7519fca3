"""``--archive-delete`` and ``--archive-restore``: run folders go into the trash, and come back."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.archive import Archive
from expedition.archive.edit_lines import EditLog
from expedition.archive.rows import RunRow
from expedition.archive.run_folders import run_folders
from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.archive.trash import Trash, TrashEntry
from expedition.errors import DamagedError, ExpeditionError, ExperimentError
from expedition.plugin.acting.action import counted, name_of, refuse_running
from expedition.plugin.acting.holding import by_sweep, held, reason_of, recompiled, refuse_held
from expedition.recording import layout
from expedition.reporting.durations import format_bytes

__all__ = ["plan_deletion"]


def plan_deletion(root: Path, rows: Sequence[RunRow]) -> Deletion:
    """Return the deletion of runs of the archive `root`. Damaged ones can be deleted; nothing is written yet.

    A sweep all of whose runs are among them goes as a whole, with its summary, trajectory and sources.

    Raises `ExperimentError` for runs that are running, and for a sweep that an invocation is at.
    """
    refuse_running(rows, "deleted")
    groups = by_sweep(rows)
    refuse_held(groups, "deleted")
    trash = Trash(root)
    parts, problems = [], []
    for sweep, group in groups.items():
        whole = sweep is not None and not _started(sweep) - {row.path for row in group}
        for row in group:
            if row.path == sweep and not whole:
                problems.append(
                    f"{name_of(row)}: its folder holds further runs of the sweep; delete these as well"
                )
        chosen = [row for row in group if whole or row.path != sweep]
        for row in chosen:
            trash.place_of(row.path)
        if chosen:
            parts.append(_Part(sweep, chosen, whole))
    return Deletion(trash, parts, problems)


@dataclass(frozen=True)
class _Part:
    """What is to be deleted of one sweep; `whole` when that is the sweep folder."""

    sweep: Path | None
    rows: list[RunRow]
    whole: bool

    def items(self, trash: Trash) -> list[dict[str, Any]]:
        """What the manifest of the trash says of it."""
        if self.whole and self.sweep is not None:
            size = sum(row.size for row in self.rows)
            return [
                {
                    "place": trash.place_of(self.sweep),
                    "kind": "sweep",
                    "runs": len(self.rows),
                    "size": size,
                }
            ]
        return [
            {
                "place": trash.place_of(row.path),
                "kind": "run",
                "sweep": trash.place_of(self.sweep) if self.sweep is not None else None,
                "id": row.id,
                "key": row.key,
                "size": row.size,
            }
            for row in self.rows
        ]


class Deletion:
    """Moves runs and sweeps into the trash: an `Action`."""

    def __init__(self, trash: Trash, parts: list[_Part], problems: list[str]) -> None:
        self._trash = trash
        self._parts = parts
        self._taken = 0
        self.problems = problems
        rows = [row for part in parts for row in part.rows]
        size = format_bytes(sum(row.size for row in rows))
        experiments = len({row.namespace for row in rows})
        self.question = (
            f"delete {counted(len(rows), 'run')} ({size}) of {counted(experiments, 'experiment')}?"
            if rows
            else ""
        )

    def preview(self) -> Iterator[str]:
        """Yield a line for each run."""
        for part in self._parts:
            if part.whole and part.sweep is not None:
                yield f"{self._trash.place_of(part.sweep)}: the whole sweep"
            for row in part.rows:
                yield f"{name_of(row)}: status {row.status}, {format_bytes(row.size)}"

    def apply(self) -> Iterator[str]:
        """Move everything, and yield what was moved."""
        if not self._parts:
            return
        try:
            entry = self._trash.begin(item for part in self._parts for item in part.items(self._trash))
        except OSError as error:
            self.problems.append(
                f"nothing was deleted: the trash {self._trash.folder} cannot be made: {reason_of(error)}"
            )
            return
        for part in self._parts:
            try:
                yield from self._delete(part, entry)
            except (ExpeditionError, OSError) as error:
                if part.sweep is None or part.sweep.exists():
                    self.problems.append(f"{_place(part)}: {reason_of(error)}")
                else:
                    yield f"{self._trash.place_of(part.sweep)}: is gone already"
        entry.close()
        if self._taken:
            back = f"--archive-restore {entry.folder.name} brings {'it' if self._taken == 1 else 'them'} back"
            yield f"deleted {counted(self._taken, 'run')}, in the trash as {entry.folder.name}: {back}"

    def _delete(self, part: _Part, entry: TrashEntry) -> Iterator[str]:
        if part.sweep is None:
            for row in part.rows:
                if self._take(entry, row):
                    yield f"deleted {name_of(row)}"
            return
        if not part.sweep.is_dir():
            raise FileNotFoundError(errno.ENOENT, "gone", str(part.sweep))
        with held(part.sweep, "deleted") as lock:
            if part.whole:
                yield from self._delete_whole(part, part.sweep, entry, lock)
                return
            yield from self._delete_runs(part, part.sweep, entry)
            problem = recompiled(part.sweep)
        if problem is not None and _opened(part.sweep) is not None:
            self.problems.append(problem)

    def _delete_whole(self, part: _Part, sweep: Path, entry: TrashEntry, lock: Any) -> Iterator[str]:
        further = _started(sweep) - {row.path for row in part.rows}
        if further:
            raise ExperimentError(f"it has got {counted(len(further), 'run')} since; look at it again")
        if os.name == "nt":  # no folder is moved there in which a file is open
            lock.release()
        moved = entry.take(self._trash.place_of(sweep))
        self._taken += len(part.rows)
        with contextlib.suppress(OSError):
            (moved / layout.JOURNALS_FOLDER / layout.INVOCATION_LOCK).unlink(missing_ok=True)
        yield f"deleted {self._trash.place_of(sweep)} ({counted(len(part.rows), 'run')})"

    def _delete_runs(self, part: _Part, sweep: Path, entry: TrashEntry) -> Iterator[str]:
        opened = _opened(sweep)
        planned = _planned(opened, part.rows)
        with EditLog(opened) if opened is not None and planned else contextlib.nullcontext() as log:
            for run in planned.values():
                if log is not None:
                    log.announce(run, deleted=True)
            if log is not None:
                log.sync()
            for row in part.rows:
                if self._take(entry, row):
                    yield f"deleted {name_of(row)}"
                elif log is not None and row.path in planned and row.path.exists():
                    log.tell(planned[row.path])

    def _take(self, entry: TrashEntry, row: RunRow) -> bool:
        try:
            entry.take(self._trash.place_of(row.path))
        except FileNotFoundError:
            if row.path.exists():
                self.problems.append(f"{name_of(row)}: cannot be moved into the trash {entry.folder}")
            return False  # gone already, and that is what was wanted
        except OSError as error:
            self.problems.append(f"{name_of(row)}: {_why(error, self._trash)}")
            return False
        self._taken += 1
        return True


def _why(error: OSError, trash: Trash) -> str:
    if error.errno == errno.EXDEV:
        return f"it is on another file system than the trash of its archive, {trash.folder}; remove its folder by hand"
    return f"cannot be moved into the trash: {reason_of(error)}"


def _place(part: _Part) -> str:
    return str(part.sweep) if part.sweep is not None else name_of(part.rows[0])


def _started(sweep: Path) -> set[Path]:
    """The run folders of a sweep in which a run has begun."""
    opened = _opened(sweep)
    if opened is None:
        return {row.path for row in Archive(sweep).rows()}
    folders = (sweep / folder for folder in run_folders(sweep))
    return {folder for folder in folders if (folder / layout.META_FILE).is_file()}


def _opened(sweep: Path) -> SweepFolder | None:
    """The sweep with its manifest; None when that is damaged: then there are no rows to be marked."""
    try:
        opened = SweepFolder.open(sweep)
        _ = opened.entries
    except (DamagedError, OSError):
        return None
    return opened


def _planned(sweep: SweepFolder | None, rows: Sequence[RunRow]) -> dict[Path, RunEntry]:
    """The rows that the manifest has for runs, by their folders."""
    if sweep is None:
        return {}
    wanted = {row.path.relative_to(sweep.path).as_posix(): row.path for row in rows}
    return {wanted[entry.folder]: entry for entry in sweep.entries if entry.folder in wanted}
