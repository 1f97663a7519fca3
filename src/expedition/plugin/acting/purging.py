"""``--archive-purge``: what is in the trash is removed for good."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from expedition.archive.trash import Trash
from expedition.errors import DamagedError, ExperimentError
from expedition.plugin.acting.action import counted
from expedition.plugin.acting.holding import reason_of
from expedition.reporting.durations import format_bytes


def plan_purge(root: Path, older_than: float | None = None) -> Purge:
    """Return how the trash of the archive `root` is emptied; nothing is removed yet.

    `older_than` are seconds: only what was deleted longer ago goes. Raises `ExperimentError` for a negative number.
    """
    if older_than is not None and not older_than >= 0:
        raise ExperimentError(f"an age must be a number of seconds from 0 on, but got {older_than!r}")
    trash = Trash(root)
    limit = datetime.now(UTC)
    if older_than is not None:
        try:
            limit -= timedelta(seconds=older_than)
        except OverflowError:
            limit = datetime.min.replace(tzinfo=UTC)
    names: list[str] = []
    problems: list[str] = []
    for name in trash.entries():
        try:
            if older_than is None or trash.deleted_at(name) <= limit:
                names.append(name)
        except DamagedError as error:
            problems.append(str(error))
    return Purge(trash, names, problems, len(trash.entries()))


class Purge:
    """Empties the trash: an `Action`."""

    def __init__(self, trash: Trash, entries: list[str], problems: list[str], kept: int) -> None:
        self._trash = trash
        self._kept = kept
        self._sizes = {name: trash.measure(name) for name in entries}
        self._leftovers = list(trash.leftovers())
        self.problems = problems
        size = format_bytes(sum(self._sizes.values()))
        deletions = counted(len(entries), "deletion")
        self.question = f"remove {deletions} ({size}) from the trash for good?" if entries else ""
        if self._leftovers and not entries:
            self.question = "remove what is left of an earlier purge?"

    def preview(self) -> Iterator[str]:
        """Yield a line for each run or sweep."""
        if not self.question and not self.problems:
            yield self._idle()
        for name, size in self._sizes.items():
            places: list[str] = []
            with contextlib.suppress(DamagedError):
                places = [item.place for item in self._trash.content(name)]
            for place in places or [format_bytes(size)]:
                yield f"{name}: {place}"

    def apply(self) -> Iterator[str]:
        """Remove everything, and yield what was removed."""
        if not self.question and not self.problems:
            yield f"nothing to do: {self._idle()}"
        removed = 0
        for folder in self._leftovers:
            shutil.rmtree(folder, ignore_errors=True)
        for name, size in self._sizes.items():
            try:
                self._trash.purge(name)
            except OSError as error:
                self.problems.append(f"{name}: cannot be removed: {reason_of(error)}")
            else:
                removed += 1
                yield f"removed {name} ({format_bytes(size)}) for good"
        if removed:
            yield f"removed {counted(removed, 'deletion')} for good"
        if self._leftovers and not self._sizes:
            yield "removed what was left of an earlier purge"

    def _idle(self) -> str:
        """What the trash has where nothing of it is to go."""
        if not self._kept:
            return f"the trash of {self._trash.base} is empty"
        are = "is" if self._kept == 1 else "are"
        return f"{counted(self._kept, 'deletion')} {are} in the trash of {self._trash.base}, and none is that old"
