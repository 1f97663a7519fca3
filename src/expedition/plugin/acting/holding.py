"""Holding a sweep while its runs are changed, and compiling its trajectory afterwards."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from expedition import errors
from expedition.archive.liveness import is_held
from expedition.archive.rows import RunRow
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, ExpeditionError, ExperimentError
from expedition.plugin.locks import hold, release
from expedition.recording import layout

PATIENCE = 10.0
"""Seconds to wait for another process that changes the same sweep; most are done in a moment."""


def by_sweep(rows: Iterable[RunRow]) -> dict[Path | None, list[RunRow]]:
    """Return the runs by their sweep folders; None is the key of runs that stand in none."""
    found: dict[Path | None, list[RunRow]] = {}
    for row in rows:
        found.setdefault(row.sweep_path, []).append(row)
    return found


def refuse_held(sweeps: Iterable[Path | None], verb: str) -> None:
    """Raise `ExperimentError` when a process is at one of the sweeps; `verb` is what was to be done to runs.

    Where no run is under way it may be an action, which is done in a moment: it gets `PATIENCE`, once for all sweeps.
    """
    give_up = time.monotonic() + PATIENCE
    for sweep in sweeps:
        if sweep is None:
            continue
        while True:
            if next(_workers(sweep), None) is not None:
                raise _busy(sweep, verb)
            if not is_held(sweep / layout.JOURNALS_FOLDER / layout.INVOCATION_LOCK):
                break
            if time.monotonic() > give_up:
                raise _busy(sweep, verb, or_action=True)
            time.sleep(0.05)


@contextlib.contextmanager
def held(sweep: Path, verb: str) -> Iterator[Any]:
    """Hold a sweep folder as an invocation does; give the lock.

    Raises `ExperimentError` when another process has it for longer than `PATIENCE`, or its workers are still at
    it; `OSError` when the folder cannot be written.
    """
    folder = sweep / layout.JOURNALS_FOLDER
    folder.mkdir(exist_ok=True)
    give_up = time.monotonic() + PATIENCE
    while (lock := hold(folder / layout.INVOCATION_LOCK)) is None:
        if time.monotonic() > give_up:
            raise _busy(sweep, verb, or_action=True)
        time.sleep(0.05)
    try:
        if next(_workers(sweep), None) is not None:
            raise _busy(sweep, verb)
        yield lock
    finally:
        release(lock)


def recompiled(sweep: Path) -> str | None:
    """Compile the trajectory of a sweep anew; return what went wrong, None when nothing did."""
    from expedition.trajectory.compile import compile_trajectory

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what could not be read before either
            compile_trajectory(SweepFolder.open(sweep))
    except (ExpeditionError, OSError) as error:
        remedy = "" if isinstance(error, DamagedError) else "; --archive-repair writes it again"
        return f"{sweep}: {layout.TRAJECTORY_FILE} could not be written ({reason_of(error)}){remedy}"
    return None


def reason_of(error: Exception) -> str:
    """Return what a message says of an error, as `expedition.errors.reason_of`."""
    return errors.reason_of(error)


def _workers(sweep: Path) -> Iterator[str]:
    """Yield the lock files of processes that run runs of a sweep: they may outlive the invocation."""
    try:
        names = os.listdir(sweep / layout.JOURNALS_FOLDER)
    except OSError:
        return
    for name in names:
        if (
            name.endswith(".lock")
            and name != layout.INVOCATION_LOCK
            and is_held(sweep / layout.JOURNALS_FOLDER / name)
        ):
            yield name


def _busy(sweep: Path, verb: str, *, or_action: bool = False) -> ExperimentError:
    who = "an invocation or another action" if or_action else "an invocation"
    return ExperimentError(
        f"runs of {sweep} cannot be {verb}: {who} is at it; wait for its end, or end it with SIGTERM"
    )
