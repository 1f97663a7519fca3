"""Earlier attempts of a run: set aside inside its folder, never lost."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from expedition.recording import layout
from expedition.recording.meta import holds_run, read_start

_RUN_FOLDER = re.compile(r"\d{4,}-|\d+\Z")


def set_aside(folder: Path) -> int:
    """Move what an earlier attempt left in a run folder to ``attempts/<n>``; return n, or -1 without one.

    What belongs to the sweep stays, its other run folders among it: the run folder of an unparametrized
    experiment is the sweep folder.
    """
    if not holds_run(folder):
        return -1
    number = _number(folder)
    attempts = folder / layout.ATTEMPTS_FOLDER
    attempts.mkdir(exist_ok=True)
    while (attempts / str(number)).exists():
        number += 1
    target = attempts / str(number)
    target.mkdir()
    kept = layout.SWEEP_OWNED | {layout.ATTEMPTS_FOLDER}
    # What tells a run goes last: until then a kill leaves the run where a reader finds it.
    found = [n for n in os.listdir(folder) if n not in kept and not _RUN_FOLDER.match(n)]
    last = (layout.JOURNAL_FILE, layout.META_FILE)
    for name in sorted(found, key=lambda n: last.index(n) if n in last else -1):
        os.rename(folder / name, target / name)
    return number


def _number(folder: Path) -> int:
    try:
        meta = json.loads((folder / layout.META_FILE).read_bytes())
    except FileNotFoundError:
        meta = read_start(folder)
    except (ValueError, RecursionError):
        return 0
    try:
        return int(meta["attempt"])
    except (ValueError, KeyError, TypeError):
        return 0
