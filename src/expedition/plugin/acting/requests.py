"""`ActionRequest`: which change of an archive is wanted; the options of pytest and the console script ask alike."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from expedition.archive import Archive
from expedition.archive.naming import refuse_several
from expedition.archive.rows import RunRow
from expedition.errors import ExperimentError, RecordNotFoundError
from expedition.plugin.acting.action import Action, counted
from expedition.plugin.archive_options import SELECTING
from expedition.reporting.queries import QueriedRows, RunQuery, query_rows

_DONE = {"delete": "deleted", "compress": "packed", "modify": "modified", "export": "exported"}

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass(frozen=True)
class ActionRequest:
    """A change of an archive.

    Attributes
    ----------
    verb : ``delete``, ``restore``, ``purge``, ``compress``, ``import``, ``modify``, ``export`` or ``repair``.
    query : which runs; `runs` are runs by name instead (of the trash, to be restored), and `everything` all of them.
    target : the file or folder that is written, or imported.
    operations : what ``modify`` does. format : of ``export``.
    age : what ``purge`` removes was deleted longer ago than this, such as ``30d``.
    """

    verb: str
    query: RunQuery = field(default_factory=RunQuery)
    runs: tuple[str, ...] = ()
    everything: bool = False
    target: Path | None = None
    operations: tuple[str, ...] = ()
    format: str = ""
    age: str = ""


def plan_action(request: ActionRequest, root: Path) -> Action:
    """Check what is wanted of the archive `root`, and return how it would be done; nothing is written.

    Raises `ExpeditionError`: for an archive that is not there or is a zip file, for a selection that is missing or
    wrong, and for what the plan itself refuses.
    """
    _check_archive(request, root)
    if request.verb in SELECTING:
        found = _selected(request, root)
        action = _plan_for_rows(request, root, found.rows)
        if not found.hidden:
            return action
        return _WithoutOthers(action, found.hidden, request.query.testing, _DONE[request.verb])
    if request.verb == "restore":
        from expedition.plugin.acting.restoration import plan_restoration

        if bool(request.runs) == request.everything:
            raise ExperimentError(
                "say which runs come back: RUN, or --archive-all for all that is in the trash"
            )
        return plan_restoration(root, None if request.everything else list(request.runs))
    if request.verb == "purge":
        from expedition.plugin.acting.purging import plan_purge

        if bool(request.age) == request.everything:
            raise ExperimentError(
                "say what is removed for good: an age such as 30d, or --archive-all for all that is in the trash"
            )
        return plan_purge(root, None if request.everything else seconds_of(request.age))
    if request.verb == "import":
        from expedition.plugin.acting.importing import plan_import

        return plan_import(root, _target(request))
    from expedition.plugin.acting.repairing import plan_repair

    return plan_repair(root)


def seconds_of(age: str) -> float:
    """Return the seconds that a text such as ``30d``, ``12h`` or ``1.5w`` means. Raises `ExperimentError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", age.strip())
    if found is None:
        raise ExperimentError(f"{age!r} is no age; write a number and s, m, h, d or w, such as 30d or 12h")
    return float(found[1]) * _UNITS[found[2]]


def _check_archive(request: ActionRequest, root: Path) -> None:
    if root.is_dir() or (request.verb in ("import", "repair") and not root.exists()):
        return
    if root.is_file() and request.verb == "export":
        return
    if root.is_file():
        raise ExperimentError(
            f"{root} is a file, which is only read; import it into an archive (--archive-import) to change its runs"
        )
    raise RecordNotFoundError(f"there is no archive at {root}: no such folder; name another with --archive")


def _selected(request: ActionRequest, root: Path) -> QueriedRows:
    """The rows of the selection, as a list of them would show. Raises `ExperimentError` when there is none."""
    ways = [request.query.select is not None, bool(request.runs), request.everything]
    if not any(ways):
        raise ExperimentError(
            f"say which runs to {request.verb}: --archive-select EXPR, or --archive-all for all of them"
        )
    if sum(ways) > 1:
        raise ExperimentError(
            f"say once which runs to {request.verb}: by name, with --archive-select, or with --archive-all"
        )
    archive = Archive(root)
    if request.runs:
        return QueriedRows(_named(archive, request.runs))
    return query_rows(archive, request.query)


def _named(archive: Archive, names: Sequence[str]) -> tuple[RunRow, ...]:
    """The rows of runs by name.

    Raises `RecordNotFoundError` for what is no run of the archive, `AmbiguousRunError` for what several are called.
    """
    # A run that is named by its folder has the path that was written: relative, through a link, with a ``..``
    # One that is damaged has a place all the same, and can be deleted.
    wanted = {os.path.realpath(archive.row(name).path): name for name in names}
    rows = list(archive.rows())
    for name in names:
        refuse_several(name, archive.root, rows)  # a report may take the newest, a change must not
    found = {place: row for row in rows if (place := os.path.realpath(row.path)) in wanted}
    for place, name in wanted.items():
        if place not in found:
            raise RecordNotFoundError(
                f"{name!r} is {place}, which is no run of the archive {archive.root}; name a run of it "
                f"(--archive-list shows them), or the archive with --archive"
            )
    return tuple(found.values())


def _plan_for_rows(request: ActionRequest, root: Path, rows: Sequence[RunRow]) -> Action:
    if request.verb == "delete":
        from expedition.plugin.acting.deletion import plan_deletion

        return plan_deletion(root, rows)
    if request.verb == "modify":
        from expedition.plugin.acting.modification import plan_modification

        return plan_modification(root, rows, request.operations)
    if not rows:
        return _Nothing()
    if request.verb == "compress":
        from expedition.plugin.acting.compression import plan_compression

        return plan_compression(root, rows, _target(request))
    from expedition.plugin.acting.exporting import plan_export

    return plan_export(root, rows, request.format, _target(request), request.query.columns)


def _target(request: ActionRequest) -> Path:
    if request.target is None:
        raise ExperimentError("say where the export is written: --archive-output PATH")
    return request.target


class _Nothing:
    """What is to be done to no run."""

    question = ""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def preview(self) -> Iterator[str]:
        """Nothing would change."""
        return iter(())

    def apply(self) -> Iterator[str]:
        """Nothing is done."""
        return iter(())


class _WithoutOthers:
    """An action that says which runs it leaves alone since a list does not show them, either."""

    def __init__(self, action: Action, hidden: int, testing: bool, done: str) -> None:
        self._action = action
        self.question = action.question
        self.problems = action.problems
        runs = counted(hidden, "run")
        are = "is" if hidden == 1 else "are"
        self._remark = (
            f"{runs} that {are} not of testing mode {are} not {done}: leave --testing out"
            if testing
            else f"{runs} of testing mode {are} not {done}: see --testing"
        )

    def preview(self) -> Iterator[str]:
        """Yield what would be done, and what would not."""
        yield from self._action.preview()
        yield self._remark

    def apply(self) -> Iterator[str]:
        """Do it, and say what was left alone: first, for the last line says what was done."""
        yield self._remark
        yield from self._action.apply()
