"""Earlier attempts of a run: set aside inside its folder, never lost."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from expedition.recording import layout

_RUN_FOLDER = re.compile(r"\d{4,}-")


def set_aside(folder: Path) -> int:
    """Move what an earlier attempt left in a run folder to ``attempts/<n>``; return n, or -1 without one.

    What belongs to the sweep stays, its other run folders among it: the run folder of an unparametrized
    experiment is the sweep folder.
    """
    meta = folder / layout.META_FILE
    try:
        number = int(json.loads(meta.read_bytes())["attempt"])
    except FileNotFoundError:
        return -1
    except (ValueError, KeyError, TypeError):
        number = 0
    attempts = folder / layout.ATTEMPTS_FOLDER
    attempts.mkdir(exist_ok=True)
    while (attempts / str(number)).exists():
        number += 1
    target = attempts / str(number)
    target.mkdir()
    kept = layout.SWEEP_OWNED | {layout.ATTEMPTS_FOLDER}
    # The meta file goes last: until then a kill leaves the run where a reader finds it.
    found = [n for n in os.listdir(folder) if n not in kept and not _has_other_runs(folder / n)]
    names = sorted(found, key=lambda n: n == layout.META_FILE)
    for name in names:
        os.rename(folder / name, target / name)
    return number


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
