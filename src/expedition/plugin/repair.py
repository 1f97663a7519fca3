"""``--archive-repair``: answered before anything is collected, like the reports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from expedition.archive import Archive
from expedition.errors import ExperimentError
from expedition.plugin.locks import hold_sweep, release
from expedition.plugin.settings import archive_root
from expedition.recording import layout


def repair_archive(config: pytest.Config) -> int:
    """Repair every sweep of the archive, with a line for each; return the exit status.

    It is 1 when something could not be repaired.
    """
    from expedition.trajectory.repair import repair_sweep

    if config.option.where is not None:
        raise pytest.UsageError("--where selects runs before they run; it does not apply to --archive-repair")
    root = archive_root(config)
    folders = Archive(root).sweep_folders() if root.is_dir() else []
    if not folders:
        print(f"nothing to repair: there is no sweep in {root}")
    bad = False
    for folder in folders:
        with _held(folder) as is_ours:
            repair = repair_sweep(folder, busy=not is_ours)
        name = folder.relative_to(root) if folder != root else folder.name
        done = [f"{repair.runs:,} runs"] if repair.compiled else []
        done += ["trajectory.h5 written anew" if repair.compiled else "trajectory.h5 could not be written"]
        if repair.lines:
            done.append(f"{repair.lines:,} commit lines written again")
        if not is_ours:
            done.append("an invocation is at it, so its commit logs were left alone")
        print(f"{name}: {', '.join(done)}", flush=True)
        for problem in repair.problems:
            print(f"    cannot be repaired: {problem}", flush=True)
        bad = bad or bool(repair.problems)
    return pytest.ExitCode.TESTS_FAILED if bad else pytest.ExitCode.OK


@contextlib.contextmanager
def _held(sweep: Path) -> Iterator[bool]:
    """Hold a sweep folder as an invocation does; tell whether that was possible."""
    try:
        (sweep / layout.JOURNALS_FOLDER).mkdir(exist_ok=True)
        lock = hold_sweep(sweep)
    except (ExperimentError, OSError):  # what cannot be written is told when it is tried
        yield False
        return
    try:
        yield True
    finally:
        release(lock)
