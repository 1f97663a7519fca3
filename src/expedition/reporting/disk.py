"""What sweeps take of the disk besides their runs: trajectories, sources, logs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from expedition.recording import layout


def sweep_overhead(sweeps: Iterable[Path]) -> int:
    """Return the bytes of the files in sweep folders that belong to no run of them; a hard link counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for sweep in sweeps:
        waiting = [os.fspath(sweep)]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder) as listing:
                    for entry in listing:
                        # A run that is the only one of its sweep shares the folder with these files
                        if folder == os.fspath(sweep) and entry.name not in layout.SWEEP_OWNED:
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                            continue
                        status = entry.stat(follow_symlinks=False)
                        identity = status.st_dev, status.st_ino
                        if status.st_nlink > 1 and identity in seen:
                            continue
                        seen.add(identity)
                        total += status.st_size
            except OSError:
                continue
    return total
