"""Tells the run folders of a sweep from folders with artifacts. Whatever looks for the runs of a sweep asks here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path

from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError
from expedition.recording import layout
from expedition.recording.plain_files import read_plain

_MARKS = frozenset({layout.META_FILE, layout.DATA_FILE, layout.JOURNAL_FILE, layout.LOG_FILE})
"""Files of a run. One of them at the top of a sweep folder says that this may be a run folder as well."""
_NAME = re.compile(r"\d{4,}-")
_INDEX = re.compile(r"\d+")


class RunFolders:
    """The run folders of a sweep.

    `top` has the names in the sweep folder, `has_meta` tells whether a folder in it has a meta file, and `planned`
    returns what `planned_folders` does; it is asked only where names do not tell.
    """

    def __init__(
        self,
        top: Collection[str],
        has_meta: Callable[[str], bool],
        planned: Callable[[], frozenset[str] | None],
    ) -> None:
        self._has_marks = not _MARKS.isdisjoint(top)
        self._has_meta = has_meta
        self._ask = planned

    @cached_property
    def _planned(self) -> frozenset[str] | None:
        return self._ask()

    @cached_property
    def is_single(self) -> bool:
        """Whether the sweep folder is a run folder, so that artifacts may stand in folders of any name there."""
        return self._has_marks and (self._planned is None or "." in self._planned)

    def of(self, parts: Sequence[str]) -> str | None:
        """Return the folder of the run that a file belongs to, None when that is none in a folder of its own.

        `parts` are the names on the way from the sweep folder to the file.
        """
        if len(parts) < 2 or not parts[0][:1].isdigit():
            return None
        outer, inner = parts[0], "/".join(parts[:2]) if len(parts) > 2 else None
        if not self.is_single:
            return outer if not outer.isdigit() or self._has_meta(outer) else inner
        return next((f for f in (outer, inner) if f is not None and self._is_another(f)), None)

    def _is_another(self, folder: str) -> bool:
        """Tell whether a folder beside the artifacts of a run is that of another run."""
        if self._planned is not None and folder in self._planned:
            return True
        # A run whose row was lost is still one.
        return _NAME.match(folder.rpartition("/")[2]) is not None and self._has_meta(folder)


def planned_folders(read: Callable[[str], bytes], path: Path) -> frozenset[str] | None:
    """Return the folders of all planned runs of the sweep folder `path`, None when its manifest is damaged.

    `read` returns the content of a file in it.
    """
    try:
        sweep = SweepFolder.parse(read(layout.SWEEP_FILE), path)
        try:
            invocations = read(layout.INVOCATIONS_FILE)
        except FileNotFoundError:
            invocations = b""
        return frozenset(entry.folder for entry in sweep.entries_by(invocations))
    except (DamagedError, OSError):
        return None


def folders_of(sweep: Path) -> RunFolders:
    """Return the run folders of a sweep folder on the disk."""
    try:
        top = os.listdir(sweep)
    except OSError:
        top = []
    return RunFolders(
        top,
        lambda folder: os.path.isfile(os.path.join(sweep, folder, layout.META_FILE)),
        lambda: planned_folders(lambda name: read_plain(sweep / name), sweep),
    )


def run_folders(sweep: Path) -> list[str]:
    """Return the run folders below a sweep folder, as in `RunEntry.folder`, by name.

    Folders of runs are among them whose meta file is damaged or lost.
    """
    folders = folders_of(sweep)
    found = ["."] if (sweep / layout.META_FILE).is_file() else []
    for name in _subfolders(sweep):
        run = folders.of((name, ""))
        if run is not None:
            found.append(run)
        elif name[0].isdigit():
            inside = (folders.of((name, inner, "")) for inner in _subfolders(sweep / name))
            found.extend(run for run in inside if run is not None)
    return found


def order_of(folder: str) -> tuple[int, str]:
    """Return what run folders are sorted by: the index in the name, then the name."""
    index = _INDEX.match(folder.rpartition("/")[2])
    return (int(index[0]) if index is not None and folder != "." else -1, folder)


def _subfolders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as listing:
            return sorted(entry.name for entry in listing if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
