"""``--archive-repair``: every sweep of an archive, one after the other."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from expedition.archive import Archive
from expedition.archive.migration import migrate_sweep
from expedition.archive.restore import restore_lines
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, ExpeditionError, ExperimentError
from expedition.plugin.acting.action import counted
from expedition.plugin.acting.holding import reason_of
from expedition.plugin.locks import hold_sweep, release
from expedition.recording import layout

_MISSING, _BROKEN = _LOST = ("missing", "broken")


def plan_repair(root: Path) -> SweepRepair:
    """Return the repair of all sweeps below `root`; an archive that is not there has none. Nothing is written."""
    return SweepRepair(root, Archive(root).sweep_folders() if root.is_dir() else [])


class SweepRepair:
    """Writes trajectories anew, and lost commit lines again: an `Action`."""

    def __init__(self, root: Path, folders: Sequence[Path]) -> None:
        self._root = root
        self._folders = folders
        self.problems: list[str] = []
        self.question = f"repair {counted(len(folders), 'sweep')}?" if folders else ""

    def preview(self) -> Iterator[str]:
        """Yield what is lost of each sweep."""
        for folder in self._folders:
            older = migrate_sweep(folder, write=False)
            try:
                found = restore_lines(SweepFolder.open(folder), write=False)
            except (DamagedError, OSError) as error:
                yield f"{self._name(folder)}: cannot be repaired: {reason_of(error)}"
                continue
            state = _state(folder)
            done = [f"{_named(state)} would be written anew", *_told(older.counts)]
            if found.missing:
                done.append(f"{counted(found.missing, 'commit line')} written again")
            yield f"{self._name(folder)}: {', '.join(done)}"
            for loss in dict.fromkeys([*older.problems, *found.losses]):
                yield f"    cannot be repaired: {loss}"

    def apply(self) -> Iterator[str]:
        """Repair each sweep, and yield what was done."""
        from expedition.trajectory.repair import repair_sweep

        if not self._folders:
            yield f"nothing to repair: there is no sweep in {self._root}"
        repaired = Counter[str]()
        for folder in self._folders:
            state = _state(folder)
            with _held(folder) as is_ours:
                # Where nothing can be written, nobody needs to be told who else may be at it.
                repair = repair_sweep(folder, busy=is_ours is not True)
            done = [counted(repair.runs, "run"), f"{_named(state)} written anew"] if repair.compiled else []
            repaired.update([state] if repair.compiled else [])
            done += _told(repair.migrated)
            if repair.lines:
                done.append(f"{counted(repair.lines, 'commit line')} written again")
            if is_ours is False:
                done.append("an invocation is at it, so its commit logs were left alone")
            self.problems += [f"{self._name(folder)}: cannot be repaired: {text}" for text in repair.problems]
            if done:
                yield f"{self._name(folder)}: {', '.join(done)}"
        if repaired:
            lost = [
                f"{repaired[state]:,} {'was' if repaired[state] == 1 else 'were'} {state}" for state in _LOST
            ]
            found = ", ".join(text for state, text in zip(_LOST, lost, strict=True) if repaired[state])
            yield f"repaired {counted(repaired.total(), 'sweep')}; of the trajectories {found or 'all were whole'}"

    def _name(self, folder: Path) -> str:
        return folder.name if folder == self._root else folder.relative_to(self._root).as_posix()


def _state(folder: Path) -> str:
    """How the trajectory of a sweep is before it is written anew: one of `_LOST`, or nothing when it is whole."""
    from expedition.trajectory import Trajectory

    file = folder / layout.TRAJECTORY_FILE
    if not os.path.lexists(file):
        return _MISSING
    try:
        with Trajectory.open(file) as trajectory:
            trajectory.verify()
    except (ExpeditionError, OSError):
        return _BROKEN
    return ""


def _named(state: str) -> str:
    return f"{layout.TRAJECTORY_FILE}, which was {state}," if state else layout.TRAJECTORY_FILE


def _told(migrated: Mapping[str, int]) -> list[str]:
    return [f"{counted(number, 'folder')} of an older version: {what}" for what, number in migrated.items()]


@contextlib.contextmanager
def _held(sweep: Path) -> Iterator[bool | None]:
    """Hold a sweep folder as an invocation does; tell whether that was possible, None where nothing can be written."""
    try:
        (sweep / layout.JOURNALS_FOLDER).mkdir(exist_ok=True)
        lock = hold_sweep(sweep)
    except ExperimentError:
        yield False
        return
    except OSError:  # what cannot be written is told when it is tried
        yield None
        return
    try:
        yield True
    finally:
        release(lock)
