"""Which files of sweeps and runs are carried elsewhere: all but unfinished ones and those that systems leave behind.

What a run has committed is carried under whatever name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from expedition.archive.record import RunRecord
from expedition.archive.run_folders import folders_of, run_folders
from expedition.errors import DamagedError, RecordNotFoundError
from expedition.recording import layout

_UNFINISHED = re.compile(r"\.tmp-(\d+|\d+-\d+|edit)(\.[^.]*)?\Z|\Atrajectory\.h5\.tmp-")
"""Names of files that a killed process had not finished."""
_LEFT_BEHIND = frozenset({"__pycache__", ".DS_Store"})
_MOMENTARY = (".lock", ".live")
"""Endings of files in ``journal/`` that say what processes do at the moment."""
_PARTS = (layout.ATTEMPTS_FOLDER, layout.CHILDREN_FOLDER)


class CarriedFile(NamedTuple):
    """A file that is carried, or a folder with nothing in it; `parts` are the names on the way to it."""

    parts: tuple[str, ...]
    path: Path
    is_folder: bool = False


class Carried:
    """The files of a run folder; or, when it `is_sweep`, of a sweep folder without the runs in folders of their own.

    `has_run` tells whether a sweep folder is a run folder too.
    """

    def __init__(self, folder: Path, *, is_sweep: bool = False, has_run: bool = True) -> None:
        self._folder = folder
        self._is_sweep = is_sweep
        self._has_run = has_run
        self._folders = folders_of(folder) if is_sweep else None
        self._committed: dict[tuple[str, ...], frozenset[str] | None] = {}

    def __iter__(self) -> Iterator[CarriedFile]:
        """Yield the files. Raises `DamagedError` for a link and the like."""
        if not self._is_sweep and not any(self._folder.iterdir()):
            yield CarriedFile((), self._folder, True)
        yield from self._walk()

    def takes(self, parts: Sequence[str]) -> bool:
        """Tell whether a file is carried."""
        is_journal = self._is_sweep and len(parts) == 2 and parts[0] == layout.JOURNALS_FOLDER
        if is_journal and parts[1].endswith(_MOMENTARY):
            return False
        owner = self._owner(parts)
        if not self._is_suspect(parts, owner):
            return True
        if not owner and not self._has_run:
            return False
        committed = self._names(tuple(parts[:owner]))
        return committed is None or "/".join(parts[owner:]) in committed

    def _walk(self) -> Iterator[CarriedFile]:
        # Folders may be in one another as deeply as their names allow: one list for all of them.
        waiting = _within(self._folder, ())
        while waiting:
            parts, path = waiting.pop()
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode):
                if self._folders is not None and self._folders.of((*parts, "")) is not None:
                    continue
                inside = _within(path, parts)
                if not inside and not self._is_suspect(parts, self._owner(parts)):
                    yield CarriedFile(parts, path, True)
                waiting += inside
            elif not self.takes(parts):
                continue
            elif stat.S_ISREG(mode):
                yield CarriedFile(parts, path)
            else:
                what = (
                    "a link, which may lead anywhere" if stat.S_ISLNK(mode) else "neither a file nor a folder"
                )
                raise DamagedError(f"{path} is {what}; put the file in its place, or leave its run out")

    def _owner(self, parts: Sequence[str]) -> int:
        """Return how many names lead to the folder of the run, attempt or child that a file is in."""
        count = 1 if self._is_sweep and parts[0] == layout.SUMMARY_FOLDER else 0
        while len(parts) > count + 2 and parts[count] in _PARTS:
            count += 2
        return count

    def _is_suspect(self, parts: Sequence[str], owner: int) -> bool:
        if self._is_sweep and parts[0].startswith("."):
            return True
        # The name of a stored value may look like that of an unfinished file, but does not begin with a dot.
        is_value = len(parts) > owner + 1 and parts[owner] == layout.DATA_FOLDER and parts[-1][0] != "."
        return any(
            part in _LEFT_BEHIND or (not is_value and _UNFINISHED.search(part)) for part in parts[owner:]
        )

    def _names(self, owner: tuple[str, ...]) -> frozenset[str] | None:
        """Return the names under which files were committed, None when nothing says them."""
        if owner not in self._committed:
            try:
                record = RunRecord(self._folder.joinpath(*owner))
                self._committed[owner] = frozenset(about["name"] for about in record.artifact_list)
            except (DamagedError, RecordNotFoundError):
                self._committed[owner] = None
        return self._committed[owner]


def _within(folder: Path, above: tuple[str, ...]) -> list[tuple[tuple[str, ...], Path]]:
    """What stands in a folder, the last name first."""
    return [((*above, name), folder / name) for name in sorted(os.listdir(folder), reverse=True)]


def carried_of_sweep(sweep: Path) -> Iterator[CarriedFile]:
    """Yield the files of a sweep folder with all its runs. Raises `DamagedError` for a link and the like."""
    for run in run_folders(sweep):
        if run != ".":
            above = tuple(run.split("/"))
            yield from (file._replace(parts=above + file.parts) for file in Carried(sweep / run))
    yield from Carried(sweep, is_sweep=True, has_run=folders_of(sweep).is_single)
