"""Measures large data in the trajectory: a long series of arrays, arrays that repeat, frames of many runs."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness import MEGABYTE, Bench, Figure, least_seconds, sweep_folder

SERIES = """
from expedition import experiment

@experiment.parametrize("i", range(2))
def exp_large(e, i: int):
    for step in range({steps}):
        e.track("V", e.rng.random({size} // 8))
"""

REPEATED = """
import numpy as np
from expedition import experiment

@experiment.parametrize("i", range({n}))
def exp_repeated(e, i: int):
    e["V"] = np.random.default_rng(i % 2).random({size} // 8)
"""

FRAMES = """
import numpy as np
import pandas as pd
import scipy.sparse as sp
from expedition import experiment

@experiment.parametrize("i", range({n}))
def exp_frames(e, i: int):
    columns = {{f"x{{k}}": e.rng.random(100) for k in range(4)}}
    e["frame"] = pd.DataFrame({{**columns, "name": [f"row {{k}}" for k in range(100)]}})
    e["sparse"] = sp.random_array((200, 200), density=0.05, format="csr", rng=e.seed % 2**32)
"""

COMPILE = """
import json, re, sys, time
from pathlib import Path
from expedition.trajectory import compile_trajectory
start = time.process_time()
compile_trajectory(sys.argv[1])
used = time.process_time() - start
status = Path("/proc/self/status")
found = re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text()) if status.exists() else None
print(json.dumps([used, int(found[1]) * 1024 if found else 0]))
"""


def large(bench: Bench, steps: int, runs: int) -> Iterator[Figure]:
    """A series of `steps` arrays of 1 MB in each of two runs, and `runs` runs with arrays, frames and matrices."""
    yield from long_series(bench, steps)
    yield from repeated(bench, runs)
    yield from frames(bench, runs)


def long_series(bench: Bench, steps: int) -> Iterator[Figure]:
    """Peak memory and time of compiling the series, and what reading a part of it takes."""
    from expedition.trajectory import Trajectory

    folder = bench.folder("series", SERIES.format(steps=steps, size=MEGABYTE))
    bench.pytest(folder, "--experiments", ".")
    sweep = sweep_folder(folder)
    seconds, peak = compile_apart(sweep)
    at = f"2 runs × {steps:,} × 1 MB"
    note = f"{2 * steps / max(seconds, 1e-9):,.0f} MB/s"
    yield Figure(f"compile series of arrays, {at}, peak memory", peak / 2**20, "MiB", 300)
    yield Figure(f"compile series of arrays, {at}, CPU", seconds, "s", note=note)
    with Trajectory.open(sweep) as trajectory:
        column = trajectory.series["V"]
        starts = itertools.cycle(range(0, steps - 10, 10))

        def ten() -> None:
            start = next(starts)
            assert column.lazy(1).value[start : start + 10].shape == (10, MEGABYTE // 8)

        def some() -> None:
            assert column.lazy(0).value[next(starts), 5:9].shape == (4,)

        yield Figure("10 of these arrays, read lazily, CPU", least_seconds(ten, calls=1) * 1e3, "ms", 50)
        yield Figure("4 numbers of one of them, CPU", least_seconds(some, calls=10) * 1e3, "ms", 10)


def repeated(bench: Bench, runs: int) -> Iterator[Figure]:
    """How much of arrays that repeat is in the file."""
    folder = bench.folder("repeated", REPEATED.format(n=runs, size=MEGABYTE))
    bench.pytest(folder, "--experiments", ".")
    size = (sweep_folder(folder) / "trajectory.h5").stat().st_size
    yield Figure(f"file with {runs} × 1 MB, 2 of them distinct, over 2 MB", size / (2 * MEGABYTE), "×", 1.5)


def frames(bench: Bench, runs: int) -> Iterator[Figure]:
    """What a frame and a sparse matrix per run cost when they are compiled, and when one run is read."""
    from expedition.trajectory import Trajectory

    folder = bench.folder("frames", FRAMES.format(n=runs))
    bench.pytest(folder, "--experiments", ".")
    sweep = sweep_folder(folder)
    seconds, _ = compile_apart(sweep)
    numbers = itertools.cycle(range(runs))
    yield Figure("compile a frame 100 × 5 and a sparse matrix, per run, CPU", seconds / runs * 1e3, "ms")
    with Trajectory.open(sweep) as trajectory:
        for name in ("frame", "sparse"):
            column = trajectory.res[name]
            took = least_seconds(partial(_read_next, column, numbers), calls=10)
            yield Figure(f"read one {name}, CPU", took * 1e3, "ms", 50)


def _read_next(column: Any, numbers: Iterator[int]) -> object:
    return column[next(numbers)]


def compile_apart(sweep: Path) -> tuple[float, int]:
    """Compile a sweep in a process of its own; return its CPU seconds and its peak of memory in bytes."""
    command = [sys.executable, "-c", COMPILE, str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout)
    return float(seconds), int(peak)
