"""``python -m expedition.trajectory FOLDER``: bring the trajectory of a sweep folder up to date, in its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def compile_elsewhere(folder: Path) -> None:
    """Bring a trajectory up to date in another process, whose memory is given back when it ends.

    Raises `OSError` with the last line of what it said when it fails.
    """
    # -P: a file of the user's in the current folder must not stand for a module of that name.
    command = [sys.executable, "-P", "-m", "expedition.trajectory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["no message"])[-1])


def main() -> int:
    """Bring the trajectory of the folder up to date that the command line names."""
    from expedition.trajectory.extend import update_trajectory

    update_trajectory(sys.argv[1])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
