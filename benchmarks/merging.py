"""Measures what merging costs: many trajectories of one experiment into one file."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness import Bench, Figure, least_seconds, sweep_folder

RUNS = """
from expedition import experiment

@experiment.parametrize("i", range({n}))
def exp_merged(e, i: int):
    for column, value in enumerate(e.rng.normal(size=10)):
        e[f"result_{{column}}"] = float(value)
    e["note"] = f"run {{i}}"
    e["field"] = e.rng.normal(size=(8, 8))
    for step in range(10):
        e.track("loss", 1.0 / (step + 1))
"""


def merging(bench: Bench, files: int, runs: int) -> Iterator[Figure]:
    """Merge `files` trajectories of `runs` runs, then of five times as many, then compact the result."""
    seconds = []
    for count in (runs, 5 * runs):
        paths = trajectories(bench, files, count)
        merged = bench.folder("merged") / "all.h5"
        seconds.append(measure(paths, merged, files * count))
        note = f"{merged.stat().st_size / 2**20:.1f} MiB"
        what = f"merge {files} trajectories × {count:,} runs, CPU"
        yield Figure(what, seconds[-1], "s", 5 if count == runs else None, note=note)
    growth = (seconds[1] - seconds[0]) / seconds[0] / 4
    note = "1 when all of the cost is that of runs; what a file costs makes it less"
    yield Figure(f"cost of further runs, {runs:,} → {5 * runs:,} each", growth, "×", 1.25, note=note)
    half = [path for path in paths[: files // 2] for _ in range(2)]
    again = measure(half, merged.with_name("half.h5"), files // 2 * 5 * runs)
    yield Figure("merge when every other run is a duplicate, CPU", again, "s")
    yield Figure("compact the merged file, CPU", compacting(merged), "s")


def trajectories(bench: Bench, files: int, runs: int) -> list[Path]:
    """Run one sweep; make of its trajectory others with keys and a parameter of their own."""
    import h5py
    import numpy as np

    folder = bench.folder(f"merging-{runs}", RUNS.format(n=runs))
    bench.pytest(folder, "--experiments", ".")
    source = sweep_folder(folder) / "trajectory.h5"
    paths = []
    for number in range(files):
        path = folder / f"{number:03d}.h5"
        shutil.copyfile(source, path)
        keys = [hashlib.sha256(f"{number} {row}".encode()).hexdigest() for row in range(runs)]
        with h5py.File(path, "r+") as file:
            file["runs/key"][...] = np.array(keys, "S64").view("S1").reshape(runs, 64)
            file["parameters/i"][...] = np.arange(number * runs, (number + 1) * runs)
        paths.append(path)
    return paths


def measure(paths: list[Path], to: Path, runs: int) -> float:
    """Least CPU seconds of a merge, whose result is checked to have so many runs."""
    from expedition.trajectory import merge

    def once() -> None:
        with merge(*paths, to=to, overwrite=True) as merged:
            assert len(merged) == runs

    return least_seconds(once, calls=1, rounds=3)


def compacting(path: Path) -> float:
    """Least CPU seconds of a copy without lost space."""
    from expedition.trajectory import compact

    target = path.with_name("small.h5")

    def once() -> None:
        target.unlink(missing_ok=True)
        compact(path, target)

    return least_seconds(once, calls=1, rounds=3)
