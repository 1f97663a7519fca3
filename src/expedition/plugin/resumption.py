"""Sweeps that are gone on with: found in the archive, with what earlier invocations left of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from expedition.archive import Archive
from expedition.archive.commits import Reading, latest_commits
from expedition.archive.liveness import is_held
from expedition.archive.rows import short_reference
from expedition.archive.sweep import SweepFolder
from expedition.authoring.plan import SweepPlan
from expedition.authoring.repeats import DESIGN as REPEATS
from expedition.errors import DamagedError, ExperimentError, near_matches
from expedition.plugin.locks import hold_sweep, release
from expedition.plugin.staleness import RecordedRun, Staleness
from expedition.recording import layout, outcomes
from expedition.reporting.cells import format_cell
from expedition.values import decode, encode

_NO_VALUE = object()


@dataclass
class Resumption:
    """What an earlier invocation left of a sweep, by run key.

    Attributes
    ----------
    attempts : number of the coming attempt of runs that were tried before.
    recorded : code and inputs of the settled runs. edits : how often the last attempt of these was edited.
    expansions : up to which byte the expansions of the sweep folder were read. chosen : how many of the points that
        were added so functions after the sweep chose, by the name of each.
    staleness : which settled runs are to run again, and why; set when the code is known.
    force : whether all settled runs are to run again.
    """

    sweep: SweepFolder
    statuses: Mapping[str, str]
    attempts: Mapping[str, int]
    recorded: Mapping[str, RecordedRun] = field(default_factory=dict)
    edits: Mapping[str, int] = field(default_factory=dict)
    lock: Any = None
    expansions: int = 0
    chosen: dict[str, int] = field(default_factory=dict)
    staleness: Staleness = field(default_factory=Staleness)
    force: bool = False

    @cached_property
    def settled(self) -> frozenset[str]:
        """Keys of the runs that need not run again; asked for when `staleness` is known."""
        if self.force:
            return frozenset()
        return frozenset(self.recorded.keys() - self.staleness.reasons.keys())

    @property
    def again(self) -> dict[int, int]:
        """By index the settled runs that run again, with the number that the next edit of each would have."""
        entries = {entry.key: entry.index for entry in self.sweep.entries}
        return {entries[key]: self.edits.get(key, 0) + 1 for key in self.recorded if key not in self.settled}

    def differences(self, plan: SweepPlan) -> str:
        """What of the fixed parameters is new, gone or changed since the sweep was begun; these make runs new."""
        known = self.sweep.manifest["parameters"]
        parts = [f"{name} is new" for name in plan.parameters if name not in known]
        parts += [f"{name} is gone" for name in known if name not in plan.parameters]
        for name, value in plan.shown.items():
            before = known.get(name, {}).get("value", _NO_VALUE)
            if before is not _NO_VALUE and before != encode(value, name=name):
                parts.append(f"{name} was {format_cell(decode(before), 30)}, is {format_cell(value, 30)}")
        return "; ".join(parts)

    def describe(self, plan: SweepPlan) -> str:
        """How many runs of `plan` are settled, to be run again, and new."""
        counts: dict[str, int] = {}
        for run in plan.runs:
            status = "stale" if run.key in self.staleness.reasons else self.statuses.get(run.key, "new")
            counts[status] = counts.get(status, 0) + 1
        order = [s for s in (*outcomes.STATUSES, "stale", "new") if s in counts]
        told = ", ".join(f"{counts[status]} {status}" for status in order)
        return f"{told}; --force runs settled ones again" if self.force else told


def find_last(plan: SweepPlan, archive: Path, *, hold: bool) -> Resumption | None:
    """Return the last sweep of the experiment of `plan`, or None when there is none.

    With `hold` its lock is taken before anything of it is read. Raises `ExperimentError` when another
    process is still at it.
    """
    if not archive.is_dir():
        return None
    # The namespace is where to look first; a file collected from another folder, or one that got a second
    # experiment, has another one now.
    folder = archive / plan.namespace
    own = (
        [path for path in folder.iterdir() if (path / layout.SWEEP_FILE).is_file()] if folder.is_dir() else []
    )
    own.sort(key=_age, reverse=True)
    others = (
        sweep.path for sweep in sorted(Archive(archive).sweeps(), key=lambda s: _age(s.path), reverse=True)
    )
    for path in itertools.chain(own, others):
        try:
            sweep = SweepFolder.open(path)
        except DamagedError:
            continue
        if not _why_not(plan, sweep):
            return _resumption(sweep, hold=hold)
    return None


def find_given(plan: SweepPlan, path: Path, *, hold: bool) -> Resumption | str:
    """Return the sweep folder `path` to go on with, or why it is none of the experiment of `plan`.

    With `hold` its lock is taken before anything of it is read. Raises `ExperimentError` when another
    process is still at it, `DamagedError` when it cannot be read.
    """
    sweep = SweepFolder.open(path)
    return _why_not(plan, sweep) or _resumption(sweep, hold=hold)


def place_of_sweep(name: str, archive: Path, base: Path) -> Path:
    """Return the sweep folder that `name` means: a path (from `base`), its name, or a reference such as ``k3f9``.

    Raises `ExperimentError`, with near matches, when there is none or several.
    """
    for candidate in (base / name, archive / name):
        if os.path.isfile(candidate / layout.SWEEP_FILE):  # also of a name that is none
            return candidate.resolve()
    folders = Archive(archive).sweep_folders() if archive.is_dir() else []
    known: dict[str, list[Path]] = {}
    for folder in folders:
        for one in {folder.name, short_reference(folder.name, None) or folder.name}:
            known.setdefault(one, []).append(folder)
    found = known.get(name.rstrip("/"), [])
    if len(found) > 1:
        shown = ", ".join(folder.relative_to(archive).as_posix() for folder in found)
        raise ExperimentError(
            f"--resume-from {name}: several sweeps go by that name: {shown}; give one of these"
        )
    if not found:
        raise ExperimentError(
            f"--resume-from {name}: there is no such sweep in {archive}{near_matches(name, known)}; give its name, its "
            f"reference (as k3f9 of …-k3f9; the run column of pytest --archive-list has it) or its path"
        )
    return found[0].resolve()


def _why_not(plan: SweepPlan, sweep: SweepFolder) -> str:
    """Why a sweep is none that the runs of `plan` belong to; empty when it is one."""
    about = sweep.manifest["experiment"]
    if (about.get("file"), about.get("function")) != (plan.file, plan.function):
        return f"it is of {about.get('file')}::{about.get('function')}"
    if about.get("debug"):
        return "it is a debug run, which is never resumed"
    if plan.special.debug:
        return "debug runs (--debug-run, __DEBUG__) go on with no sweep"
    if bool(about.get("testing")) != plan.special.testing:
        return "one of the two is in testing mode"
    # What repeats past runs has a design of its own: that of the file would be added to it.
    return "it repeats past runs" if (sweep.manifest.get("design") or {}).get("kind") == REPEATS else ""


def _resumption(sweep: SweepFolder, *, hold: bool) -> Resumption:
    lock = None
    if hold:
        lock = hold_sweep(sweep.path)
        try:
            _refuse_busy(sweep)
        except ExperimentError:
            release(lock)
            raise
        # Read again: until the lock was held another invocation may have added runs
        sweep = SweepFolder.open(sweep.path)
    statuses = {entry.key: outcomes.PENDING for entry in sweep.entries}
    attempts: dict[str, int] = {}
    recorded: dict[str, RecordedRun] = {}
    reading = Reading()
    for line in latest_commits(sweep, reading):
        entry = sweep.entries[line["index"]]
        statuses[entry.key] = line["status"]
        attempts[entry.key] = line["attempt"] + 1
        if line["status"] in outcomes.SETTLED:
            recorded[entry.key] = RecordedRun.of(line, entry.folder)
    # A run that was deleted begins anew, but not as an attempt that its old lines would pass for.
    attempts |= {sweep.entries[index].key: last + 1 for index, last in reading.deleted.items()}
    edits = {sweep.entries[index].key: edit for index, (_, edit) in reading.edited.items()}
    return Resumption(sweep, statuses, attempts, recorded, edits, lock)


def _refuse_busy(sweep: SweepFolder) -> None:
    """Raise `ExperimentError` while workers of an invocation that was killed have not ended."""
    for lock in (sweep.path / layout.JOURNALS_FOLDER).glob("*.lock"):
        if lock.name != layout.INVOCATION_LOCK and is_held(lock):
            raise ExperimentError(
                f"{sweep.path} cannot be resumed: the process {lock.stem} is still running it; wait for its end, "
                f"or end it with SIGTERM"
            )


def _age(sweep: Path) -> tuple[str, int]:
    """When a sweep began: the second in its name, and within that when its manifest was written."""
    return sweep.name[: len("2026-01-01T00-00-00Z")], (sweep / layout.SWEEP_FILE).stat().st_mtime_ns
