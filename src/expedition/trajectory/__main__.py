"""``python -m expedition.trajectory FOLDER``: compile the trajectory of a sweep folder, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def compile_elsewhere(folder: Path) -> None:
    """Compile in another process, whose memory is given back when it ends.

    Raises `OSError` with the last line of what it said when it fails.
    """
    command = [sys.executable, "-m", "expedition.trajectory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["no message"])[-1])


def main() -> int:
    """Compile the folder that the command line names."""
    from expedition.trajectory.compile import compile_trajectory

    compile_trajectory(sys.argv[1])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
