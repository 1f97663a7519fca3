"""Earlier attempts of a run: set aside inside its folder, never lost."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from expedition.recording import layout, outcomes
from expedition.recording.plain_files import read_plain

_RUN_FOLDER = re.compile(r"\d{4,}-")


def set_aside(folder: Path, *, code: str | None = None) -> int:
    """Move what an earlier attempt left in a run folder to ``attempts/<n>``; return n, or -1 without one.

    Where a kill came between this and the begin of the next attempt, n is that of the attempt set aside then.

    The checkpoint stays for the next attempt, unless that attempt settled the run, or had another digest of its
    code than `code`: what it would go on with is not its own. None takes every code for the same.

    What belongs to the sweep stays, its other run folders among it: the run folder of an unparametrized
    experiment is the sweep folder. The copy of the experiment's file goes, since the next attempt may be of other code.
    """
    meta = folder / layout.META_FILE
    try:
        about = json.loads(read_plain(meta))
        number = int(about["attempt"])
        goes_on = about["status"] not in outcomes.SETTLED and (
            code is None or about.get("code") in (None, "", code)
        )
    except FileNotFoundError:
        return _last(folder / layout.ATTEMPTS_FOLDER)
    except (ValueError, KeyError, TypeError):
        number, goes_on = 0, False
    attempts = folder / layout.ATTEMPTS_FOLDER
    attempts.mkdir(exist_ok=True)
    # Without a meta file it is a move that a kill ended halfway, and goes on here.
    while (attempts / str(number) / layout.META_FILE).exists():
        number += 1
    target = attempts / str(number)
    target.mkdir(exist_ok=True)
    kept = (layout.SWEEP_OWNED - layout.CODE_FILES) | {layout.ATTEMPTS_FOLDER}
    if goes_on:
        kept |= {layout.CHECKPOINT_FOLDER}
    # The meta file goes last: until then a kill leaves the run where a reader finds it.
    found = [n for n in os.listdir(folder) if n not in kept and not _has_other_runs(folder / n)]
    names = sorted(found, key=lambda n: n == layout.META_FILE)
    for name in names:
        os.rename(folder / name, target / name)
    return number


def _last(attempts: Path) -> int:
    """The number of the last attempt that was set aside, -1 without any."""
    try:
        names = os.listdir(attempts)
    except OSError:
        return -1
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=-1)


def _has_other_runs(path: Path) -> bool:
    """Tell the folder of another run, or of a thousand of them, from one with artifacts."""
    if _RUN_FOLDER.match(path.name):
        return _is_run(path)
    if not path.name.isdigit() or not path.is_dir():
        return False
    return any(_RUN_FOLDER.match(inner.name) and _is_run(inner) for inner in path.iterdir())


def _is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a run, which may be about to begin."""
    if not folder.is_dir():
        return False
    names = os.listdir(folder)
    return not names or any(
        name.startswith("experiment_") or name == layout.ATTEMPTS_FOLDER for name in names
    )
