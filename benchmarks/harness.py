"""Measures of Expedition itself: each is a small experiment of its own and returns rows of the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

PLAIN = """
import pytest

class Recorder(dict):
    def track(self, name, value):
        pass

@pytest.fixture
def e():
    return Recorder()

@pytest.mark.parametrize("i", range({n}))
def test_trivial(e, i: int):
    e["x"] = i * 0.5
    e.track("loss", 1.0)
"""

PACED = """
import time

import pytest

@pytest.mark.parametrize("i", range({n}))
def test_paced(i: int):
    end = time.perf_counter() + {seconds}
    while time.perf_counter() < end:
        pass
"""

TRIVIAL = """
from expedition import experiment

@experiment.parametrize("i", range({n}))
def exp_trivial(e, i: int):
    e["x"] = i * 0.5
    e.track("loss", 1.0)
"""

SCALARS = """
from expedition import experiment

@experiment.parametrize("i", range({n}))
def exp_scalars(e, i: int):
    for column, value in enumerate(e.rng.normal(size={columns})):
        e[f"result_{{column}}"] = float(value)
"""

ARRAYS = """
import numpy as np
from expedition import experiment

@experiment.parametrize("i", range({n}))
def exp_arrays(e, i: int):
    e["array"] = e.rng.random({size} // 8)
    e.track("array", e.rng.random({size} // 8))
"""

SCALAR_COLUMNS = 10
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    `noise` is how far the figure may be off, from the spread of its repeats; a budget counts as missed only when
    the figure is beyond it by more than that.
    """

    what: str
    value: float
    unit: str
    budget: float | None = None
    noise: float = 0.0
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether the budget is missed beyond noise."""
        return self.budget is not None and self.value - self.noise > self.budget


@dataclass(frozen=True)
class Sample:
    """What one child process took, with all processes that it started: CPU and wall seconds.

    `own` and `peak` are CPU seconds and peak bytes of the child alone, where the probe told them.
    """

    cpu: float
    wall: float
    own: float = 0.0
    peak: int = 0


@dataclass
class Series:
    """Repeats of one measurement; the least is what the work takes, the rest is what the machine added."""

    samples: list[Sample] = field(default_factory=list)

    def least(self, name: str = "cpu") -> float:
        """The least of one field of the samples."""
        return float(min(getattr(sample, name) for sample in self.samples))

    def low(self, name: str = "cpu") -> float:
        """Mean of the lower quarter of the samples, for differences that are small next to the whole."""
        values = sorted(float(getattr(sample, name)) for sample in self.samples)
        quarter = values[: max(len(values) // 4, 1)]
        return sum(quarter) / len(quarter)

    def spread(self, name: str = "cpu") -> float:
        """Distance from the least to the next; a tenth of the least when it was measured once."""
        values = sorted(float(getattr(sample, name)) for sample in self.samples)
        return values[1] - values[0] if len(values) > 1 else 0.1 * values[0]


class Bench:
    """Runs pytest in folders below `root`; keeps everything until the end, for deleting slows a disk down."""

    def __init__(self, root: Path, repeats: int) -> None:
        self.root = root
        self.repeats = repeats
        self._count = 0

    def folder(self, name: str, source: str = "") -> Path:
        """Make a new folder, with `source` as its one Python file."""
        self._count += 1
        path = self.root / f"{self._count:03d}-{name}"
        path.mkdir()
        if source:
            (path / f"{'test' if 'def test_' in source else 'exp'}_bench.py").write_text(source)
        return path

    def pytest(
        self, folder: Path, *arguments: str, workers: int = 0, expected: Collection[int] = (0,)
    ) -> Sample:
        """Run pytest in `folder` with nothing loaded but what is measured. Raises when it fails."""
        command = self.command(folder, *arguments, workers=workers)
        return timed(command, folder, self.environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"), expected=expected)

    def command(self, folder: Path, *arguments: str, workers: int = 0) -> list[str]:
        """The command of such a pytest, for the environment of which plugins are not loaded by themselves."""
        plugins = ["-p", "probe", "-p", "no:cacheprovider"]
        if workers:
            plugins += ["-p", "xdist.plugin", "-n", str(workers)]
        if any(a in ("--experiments", "--archive") for a in arguments):
            plugins += ["-p", "expedition.plugin"]
        return [sys.executable, "-m", "pytest", "-q", f"--rootdir={folder}", *plugins, *arguments]

    def empty(self, folder: Path, *arguments: str) -> Sample:
        """Run pytest in a folder without tests, with the installed plugins but a few heavy ones."""
        others = [f"-p{name}" for name in ("no:cacheprovider", "no:hypothesispytest", "no:xdist")]
        command = [sys.executable, "-m", "pytest", "-q", *others, *arguments]
        return timed(command, folder, self.environment(), expected=(5,))

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a measured pytest, and `more`."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST", "PYTHONDONTWRITE"))}
        here = os.pathsep.join(
            filter(None, [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH")])
        )
        return {**kept, "PYTHONPATH": here, "PYTHONPYCACHEPREFIX": str(self.root / "pycache"), **more}


def timed(
    command: Sequence[str], folder: Path, environment: dict[str, str], *, expected: Collection[int] = (0,)
) -> Sample:
    """Run a command to its end and return what it took. Raises `RuntimeError` with its output when it fails."""
    probe = folder / "probe.json"
    probe.unlink(missing_ok=True)
    before, start = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "BENCHMARK_PROBE": str(probe)},
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - start, getrusage(RUSAGE_CHILDREN)
    if done.returncode not in expected:
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"[-3000:]
        )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    own = json.loads(probe.read_text()) if probe.exists() else {}
    return Sample(cpu, wall, float(own.get("cpu", 0)), int(own.get("peak", 0)))


@dataclass
class Pair:
    """Plain pytest and Expedition on the same function, `n` times, their repeats taken in turn."""

    n: int
    plain: Series = field(default_factory=Series)
    harness: Series = field(default_factory=Series)
    sweep: Path | None = None

    def extra(self, name: str = "cpu") -> float:
        """Seconds that the harness adds."""
        return self.harness.least(name) - self.plain.least(name)

    def noise(self, name: str = "cpu") -> float:
        """How far `extra` may be off."""
        return self.harness.spread(name) + self.plain.spread(name)


def measure_pair(bench: Bench, n: int, workers: int) -> Pair:
    """Measure plain pytest and Expedition in turn."""
    pair = Pair(n)
    for _ in range(bench.repeats):
        plain = bench.folder(f"plain-{n}", PLAIN.format(n=n))
        pair.plain.samples.append(bench.pytest(plain, workers=workers))
        trivial = bench.folder(f"trivial-{n}", TRIVIAL.format(n=n))
        pair.harness.samples.append(bench.pytest(trivial, "--experiments", ".", workers=workers))
        pair.sweep = sweep_folder(trivial)
    return pair


def sweep_folder(folder: Path) -> Path:
    """The sweep folder that the only sweep in `folder` made."""
    return next((folder / "results").glob("*/*/sweep.json")).parent


def overhead(bench: Bench, small: int, large: int, workers: int) -> Iterator[Figure]:
    """What the harness costs per trivial run, at two sizes, and whether that grows."""
    first = measure_pair(bench, 1, workers)
    pairs = [measure_pair(bench, n, workers) for n in (small, large)]
    label = f"-n {workers}"
    yield Figure(f"start of the harness, {label}, CPU", first.extra() * 1e3, "ms", noise=first.noise() * 1e3)
    for pair in pairs:
        for name, budget in (("cpu", 1.5), ("wall", None)):
            yield Figure(
                f"harness per trivial run, {pair.n:,} runs, {label}, {name}",
                pair.extra(name) / pair.n * 1e3,
                "ms",
                budget if pair.n == large else None,
                pair.noise(name) / pair.n * 1e3,
                f"plain pytest: {pair.plain.least(name) / pair.n * 1e3:.2f} ms",
            )
    yield growth(first, *pairs, label=label)
    if workers:
        yield controller(bench, first, pairs[-1], workers)
    elif pairs[-1].sweep is not None:
        yield from disk(pairs[-1].sweep)


def growth(first: Pair, small: Pair, large: Pair, *, label: str) -> Figure:
    """Cost of the later runs over the cost of the earlier ones, the start not counted."""
    early = (small.extra() - first.extra()) / (small.n - 1)
    late = (large.extra() - small.extra()) / (large.n - small.n)
    noise = (small.noise() + first.noise()) / small.n / early + large.noise() / large.n / late
    what = f"growth from {small.n:,} to {large.n:,} runs, {label}"
    return Figure(what, late / early, "×", 1.25, noise, f"{early * 1e3:.2f} → {late * 1e3:.2f} ms per run")


def controller(bench: Bench, first: Pair, large: Pair, workers: int) -> Figure:
    """CPU of the controlling process per run, beyond what pytest-xdist needs for tests that last as long.

    Short tests are no measure: their reports come in bundles, and a bundle wakes the process up once.
    """
    runs = large.n - 1
    seconds = workers * (large.harness.least("wall") - large.plain.least("wall")) / runs
    paced, short = Series(), Series()
    for n, series in ((1, short), (large.n, paced)):
        for _ in range(bench.repeats):
            folder = bench.folder(f"paced-{n}", PACED.format(n=n, seconds=seconds))
            series.samples.append(bench.pytest(folder, workers=workers))
    ours = (large.harness.least("own") - first.harness.least("own")) / runs
    floor = (paced.least("own") - short.least("own")) / runs
    noise = (large.harness.spread("own") + paced.spread("own")) / runs
    note = f"{ours * 1e3:.2f} ms over {floor * 1e3:.2f} ms of xdist with tests of {seconds * 1e3:.1f} ms"
    return Figure(
        "controller over xdist per run, -n 2, CPU", (ours - floor) * 1e3, "ms", 0.12, noise * 1e3, note
    )


def disk(sweep: Path) -> Iterator[Figure]:
    """Files and bytes of a run folder."""
    folders = list(sweep.rglob("experiment_meta.json"))
    files = [file for meta in folders[:1000] for file in meta.parent.iterdir()]
    runs = min(len(folders), 1000)
    sizes = [file.stat() for file in files]
    yield Figure("files per trivial run", len(files) / runs, "", 3)
    yield Figure("bytes per trivial run", sum(s.st_size for s in sizes) / runs, "B")
    yield Figure("space on disk per trivial run", sum(s.st_blocks * 512 for s in sizes) / runs, "B")


def tracking(bench: Bench) -> Iterator[Figure]:
    """One `track` of a scalar with its line flushed, next to a bare JSON line written likewise."""
    from expedition import Run

    with Run.detached(bench.folder("track")) as run:
        ours = least_seconds(lambda: run.track("loss", 0.5), calls=2000)
    descriptor = os.open(bench.folder("floor") / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def floor() -> None:
        line = json.dumps({"e": "track", "n": "loss", "s": 1, "t": time.time_ns() // 1000, "v": 0.5})
        os.write(descriptor, line.encode() + b"\n")

    bare = least_seconds(floor, calls=2000)
    os.close(descriptor)
    note = f"json.dumps and os.write: {bare * 1e6:.1f} µs"
    yield Figure("track of a scalar, line flushed", ours * 1e6, "µs", 15, note=note)


def least_seconds(action: Callable[[], object], *, calls: int, rounds: int = 15) -> float:
    """The least CPU time of one call, over rounds of many calls."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            action()
        found.append((time.process_time() - start) / calls)
    return min(found)


def trajectory(bench: Bench, n: int) -> Iterator[Figure]:
    """Size of the columns, time to compile the file and to load them all."""
    import h5py

    from expedition.trajectory import Trajectory, compile_trajectory

    folder = bench.folder("scalars", SCALARS.format(n=n, columns=SCALAR_COLUMNS))
    bench.pytest(folder, "--experiments", ".")
    sweep = sweep_folder(folder)
    compiled = least_seconds(lambda: compile_trajectory(sweep), calls=1, rounds=3)
    file = sweep / "trajectory.h5"
    cells = n * SCALAR_COLUMNS
    with h5py.File(file) as content:
        stored = sum(node.id.get_storage_size() for node in content["results"].values())

    def load() -> None:
        with Trajectory.open(sweep) as opened:
            for column in range(SCALAR_COLUMNS):
                assert len(opened[f"results/result_{column}"].values) == n

    def frame() -> None:
        with Trajectory.open(sweep) as opened:
            assert len(opened.to_pandas()) == n

    at = f"{n:,} runs × {SCALAR_COLUMNS} scalars"
    yield Figure(
        f"trajectory, per scalar and run, {at}", stored / cells, "B", 15, note="random numbers: 8 B each"
    )
    yield Figure("trajectory, whole file per run", file.stat().st_size / n, "B")
    yield Figure("trajectory, compile, CPU", compiled * 1e3, "ms")
    loaded = least_seconds(load, calls=1, rounds=7)
    yield Figure("trajectory, load all scalars, CPU", loaded * 1e3, "ms", 100)
    yield Figure("trajectory, to_pandas, CPU", least_seconds(frame, calls=1, rounds=7) * 1e3, "ms")


def memory(bench: Bench) -> Iterator[Figure]:
    """By how much the controller's peak memory grows with the data of the runs, and with their number."""
    few, many = 20, 80
    for workers in (2, 0):
        small = peak(bench, few, MEGABYTE // 1000, workers)
        large = peak(bench, few, MEGABYTE, workers)
        more = peak(bench, many, MEGABYTE, workers)
        label = f"peak memory, -n {workers}"
        # One array at a time passes through the process that compiles the trajectory: its parts, not the sum of all.
        yield Figure(
            f"{label}, {few} runs, 2 MB over 2 kB each",
            (large - small) / 2**20,
            "MiB",
            16,
            note=f"{large / 2**20:.0f} MiB in all; the runs recorded {few * 2} MB",
        )
        yield Figure(
            f"{label}, {many} runs over {few}, 2 MB each",
            (more - large) / 2**20,
            "MiB",
            8,
            note=f"{more / 2**20:.0f} MiB in all; the runs recorded {many * 2} MB",
        )


def peak(bench: Bench, runs: int, size: int, workers: int) -> float:
    """Peak memory of the controller of a sweep whose runs record two arrays of `size` bytes."""
    series = Series()
    for _ in range(bench.repeats):
        folder = bench.folder(f"arrays-{runs}-{size}", ARRAYS.format(n=runs, size=size))
        series.samples.append(bench.pytest(folder, "--experiments", ".", workers=workers))
    return series.least("peak")


def inert(bench: Bench, rounds: int) -> Iterator[Figure]:
    """What the installed plugin adds to a pytest that was not asked for experiments."""
    folder = bench.folder("empty")
    without, loaded = Series(), Series()
    for _ in range(rounds):
        without.samples.append(bench.empty(folder, "-pno:expedition"))
        loaded.samples.append(bench.empty(folder))
    extra = (loaded.low() - without.low()) * 1e3
    noise = (loaded.low() - loaded.least() + without.low() - without.least()) * 1e3
    note = f"pytest alone: {without.low() * 1e3:.0f} ms"
    yield Figure("installed but not asked for, CPU", extra, "ms", 5, noise, note)
