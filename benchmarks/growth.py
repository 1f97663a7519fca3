"""Measures what it costs to keep a trajectory up to date while its sweep grows, next to writing it as a whole."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import Bench, Figure

START = 10**15
"""µs since the epoch at which the runs begin."""


@dataclass(frozen=True)
class Cost:
    """What compiling a sweep as a whole and extending it took: CPU and wall seconds, the least of some rounds."""

    whole: float
    extend: float
    wall: float
    size: int


def growing(bench: Bench, runs: int, columns: tuple[int, ...]) -> Iterator[Figure]:
    """Extend sweeps by a tenth: of two sizes, of several widths, runs added and runs ended, again and again."""
    few, many = (measure(bench, n, 10, added=True) for n in (runs // 4, runs))
    at = f"{runs:,} runs × 10 scalars"
    yield Figure(f"extend {at} by 10 %, CPU", many.extend, "s", 1.0, note=f"wall {many.wall:.2f} s")
    yield Figure(
        "… over writing all of it, CPU",
        many.extend / many.whole,
        "×",
        0.2 if runs >= 100_000 else None,
        note=f"{many.whole:.2f} s; the new runs are 0.09 of it",
    )
    ended = measure(bench, runs, 10, added=False)
    yield Figure(f"take 10 % of ended runs into {at}, CPU", ended.extend, "s", 1.0)
    note = f"{few.extend * 1e3:.0f} → {many.extend * 1e3:.0f} ms; 1 when the cost follows the number of runs"
    yield Figure(
        f"growth from {runs // 4:,} to {runs:,} runs", many.extend / few.extend / 4, "×", 1.25, note=note
    )
    yield Figure(
        "size after extension over size when written whole", many.size / whole_size(bench, runs), "×", 1.1
    )
    widths = [(width, measure(bench, 2000, width, added=True)) for width in columns]
    for width, cost in widths:
        note = f"writing all: {cost.whole:.2f} s"
        yield Figure(f"extend 2,000 runs × {width} scalars by 10 %, CPU", cost.extend, "s", note=note)
    (narrow, first), (wide, last) = widths[-2:]
    per_column = (last.extend / wide) / (first.extend / narrow)
    yield Figure(f"growth from {narrow} to {wide} columns", per_column, "×", 1.25)
    yield steps(bench, runs // 10)


def measure(bench: Bench, runs: int, columns: int, *, added: bool, rounds: int = 3) -> Cost:
    """Compile `runs` runs, then extend by a tenth of them, which are `added` to the design or were pending."""
    from expedition.trajectory import compile_trajectory, update_trajectory

    more = runs // 10
    sweep = make_sweep(bench.folder(f"growth-{runs}-{columns}"), runs + (0 if added else more))
    commit(sweep, 0, runs, columns)
    target = compile_trajectory(sweep)
    kept = target.with_name("kept.h5")
    shutil.copyfile(target, kept)
    if added:
        add_runs(sweep, runs, runs + more)
    commit(sweep, runs, runs + more, columns)
    extend, wall = [], []
    for _ in range(rounds):
        shutil.copyfile(kept, target)
        cpu, seconds = timed(lambda: update_trajectory(sweep))
        extend.append(cpu)
        wall.append(seconds)
    check(target, runs + more)
    size = target.stat().st_size
    whole = min(timed(lambda: compile_trajectory(sweep))[0] for _ in range(max(rounds - 1, 1)))
    return Cost(whole, min(extend), min(wall), size)


def steps(bench: Bench, runs: int, count: int = 20) -> Figure:
    """Extend a sweep again and again by runs that end; compare the last steps with the first."""
    from expedition.trajectory import compile_trajectory, update_trajectory

    sweep = make_sweep(bench.folder("growth-steps"), runs)
    part = runs // (count + 1)
    commit(sweep, 0, part, 10)
    compile_trajectory(sweep)
    costs = []
    for number in range(1, count + 1):
        commit(sweep, number * part, (number + 1) * part, 10)
        costs.append(timed(lambda: update_trajectory(sweep))[0])
    third = count // 3
    early, late = sorted(costs[:third])[third // 2], sorted(costs[-third:])[third // 2]
    note = f"{early * 1e3:.0f} → {late * 1e3:.0f} ms a step, of {part:,} runs each; the copy grows"
    return Figure(f"{count} steps to {runs:,} runs, late over early", late / early, "×", note=note)


def whole_size(bench: Bench, runs: int) -> int:
    """The size of the file of `runs` runs and a tenth more when it is written as a whole."""
    from expedition.trajectory import compile_trajectory

    sweep = make_sweep(bench.folder("growth-size"), runs)
    add_runs(sweep, runs, runs + runs // 10)
    commit(sweep, 0, runs + runs // 10, 10)
    return compile_trajectory(sweep).stat().st_size


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.process_time() - cpu, time.perf_counter() - wall


def check(target: Path, runs: int) -> None:
    """Make sure that the file was extended, and has all runs."""
    import h5py

    with h5py.File(target) as file:
        assert file.attrs["n_runs"] == runs
        assert file.attrs["complete"]
        assert json.loads(file["_meta/growth"][()])["steps"] == 1


def make_sweep(path: Path, runs: int) -> Path:
    """Make a sweep folder with a manifest, as the plugin would."""
    from expedition.archive.sweep import SweepFolder

    about = {"name": "exp_grown", "file": "exp_grown.py", "function": "exp_grown", "namespace": "exp_grown"}
    manifest = {
        "sweep": path.name,
        "created": "2026-11-22T14:30:05Z",
        "experiment": {**about, "description": "", "tags": []},
        "parameters": {"alpha": {"type": "float", "swept": True}, "data": {"type": "str", "value": "mnist"}},
        "swept": ["alpha"],
        "options": {},
        "runs": [planned(index) for index in range(runs)],
    }
    SweepFolder.create(path, manifest)
    return path


def add_runs(sweep: Path, first: int, last: int) -> None:
    """Add runs to the design, as a later invocation would."""
    from expedition.archive.sweep import SweepFolder

    SweepFolder.open(sweep).add_invocation({"runs": [planned(index) for index in range(first, last)]})


def planned(index: int) -> dict[str, object]:
    """One row of the manifest."""
    key = f"{random.Random(index).getrandbits(256):064x}"
    place = {
        "id": f"alpha={index / 7}",
        "key": key,
        "folder": f"{index // 1000:04d}/{index:06d}-alpha={index / 7}",
    }
    return {"index": index, **place, "params": {"alpha": index / 7}, "replicate": 0}


def commit(sweep: Path, first: int, last: int, columns: int) -> None:
    """End runs: one commit line each, in a log of their own."""
    from expedition.recording.journal import seal

    rng = random.Random(first)
    with open(sweep / "journal" / f"gw0-1-{first:06d}.jsonl", "xb") as log:
        for index in range(first, last):
            begin = START + index * 1000
            line = {
                "index": index,
                "attempt": 0,
                "key": planned(index)["key"],
                "status": "done",
                "expected_failure": False,
                "start": begin,
                "stop": begin + rng.randrange(1000),
                "worker": "gw0",
                "seed": rng.getrandbits(63),
                "error": None,
                "data": {f"result_{number}": rng.gauss(0, 1) for number in range(columns)},
            }
            log.write(seal(json.dumps(line, separators=(",", ":"))))
