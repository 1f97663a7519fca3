"""Measures what Expedition costs, next to its floors, its peers and its budgets: ``python benchmarks/run.py``."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import archives
import endurance
import growth
import harness
import large
import merging
import peers
import trajectories
from harness import Bench, Figure


def main() -> int:
    """Measure, print the table as it grows, and return the exit code."""
    options = parse()
    root = Path(tempfile.mkdtemp(prefix="expedition-benchmarks-", dir=options.folder))
    print(machine(root))
    bench = Bench(root, repeats=options.repeats or (2 if options.quick else 3))
    try:
        figures = list(show(measures(bench, options)))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(machine_load())
    missed = [figure.what for figure in figures if figure.missed]
    print(f"budgets missed: {'; '.join(missed) or 'none'}")
    return 1 if missed and options.check else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sweeps and few repeats: some two minutes")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when a budget is missed beyond noise"
    )
    parser.add_argument("--repeats", type=int, metavar="N", help="repeats of every measurement (3, quick: 2)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="measure a part (repeatable)")
    parser.add_argument(
        "--folder", metavar="DIR", help="where the sweeps are made (the system's temporary folder)"
    )
    parser.add_argument("--peers", metavar="DIR", help="where the environments of PyComex and pypet are kept")
    return parser.parse_args()


def measures(bench: Bench, options: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures of all parts, or of those that were asked for."""
    bench.pytest(bench.folder("warm-up", harness.TRIVIAL.format(n=1)), "--experiments", ".", workers=2)
    for name, part in PARTS.items():
        if name in (options.only or PARTS.keys() - APART):
            yield from part(bench, options)


def sizes(options: argparse.Namespace) -> tuple[int, int]:
    """The two sizes of a sweep."""
    return (200, 1000) if options.quick else (1000, 10_000)


def compare_peers(bench: Bench, options: argparse.Namespace) -> Iterator[Figure]:
    """Measure the peers, whose environments stay for the next time."""
    cache = Path(options.peers or Path(tempfile.gettempdir()) / "expedition-peers")
    return peers.compare(bench, cache, (50, 200) if options.quick else (200, 1000))


Part = Callable[[Bench, argparse.Namespace], Iterable[Figure]]
PARTS: dict[str, Part] = {
    "inert": lambda bench, options: harness.inert(bench, 10 if options.quick else 40),
    "track": lambda bench, options: harness.tracking(bench),
    "serial": lambda bench, options: harness.overhead(bench, *sizes(options), workers=0),
    "parallel": lambda bench, options: harness.overhead(bench, *sizes(options), workers=2),
    "durability": lambda bench, options: endurance.endurance(bench, sizes(options)[1]),
    "trajectory": lambda bench, options: harness.trajectory(bench, sizes(options)[1]),
    "trajectories": lambda bench, options: trajectories.compare(bench, 10_000 if options.quick else 100_000),
    "memory": lambda bench, options: harness.memory(bench),
    "growth": lambda bench, options: growth.growing(
        bench, *((10_000, (10, 100)) if options.quick else (100_000, (10, 100, 500)))
    ),
    "merging": lambda bench, options: merging.merging(bench, 50, 20 if options.quick else 200),
    "large": lambda bench, options: large.large(bench, *((100, 50) if options.quick else (1000, 200))),
    "archive": lambda bench, options: archives.archives(
        bench, 2_000 if options.quick else archives.BUDGETED_RUNS
    ),
    "archive-100k": lambda bench, options: archives.archives(bench, archives.MANY_RUNS),
    "peers": compare_peers,
}


APART = {"archive-100k"}
"""Parts that are measured when they are asked for: so many files slow down whatever comes after them."""


def show(figures: Iterable[Figure]) -> Iterator[Figure]:
    """Print each figure as a line of the table, and pass it on."""
    print(f"\n{'what':58} {'measured':>12} {'noise':>7} {'budget':>7}         note")
    for figure in figures:
        budget = "" if figure.budget is None else f"{figure.budget:g}"
        verdict = "" if figure.budget is None else "MISSED" if figure.missed else "ok"
        noise = f"± {figure.noise:.2g}" if figure.noise else ""
        measured = f"{figure.value:.3g}" if abs(figure.value) < 1000 else f"{figure.value:,.0f}"
        line = (
            f"{figure.what:58} {measured:>8} {figure.unit:3} {noise:>7} {budget:>7} {verdict:7} {figure.note}"
        )
        print(line.rstrip(), flush=True)
        yield figure


def machine(folder: Path) -> str:
    """What the figures were measured on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("pytest", "pytest-xdist", "numpy", "h5py"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}, {cores} cores, {processor()}"
    return (
        f"{system}; {file_system(folder)}; Python {platform.python_version()}, {versions}\n{machine_load()}"
    )


def machine_load() -> str:
    """How busy the machine is: above the number of cores, times are not to be trusted, ratios less so."""
    return f"load average: {' '.join(f'{load:.1f}' for load in os.getloadavg())}"


def processor() -> str:
    """Name of the processor where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def file_system(folder: Path) -> str:
    """Type of the file system that holds `folder`."""
    mounts = Path("/proc/mounts")
    rows = [line.split() for line in mounts.read_text().splitlines()] if mounts.exists() else []
    holding = [row for row in rows if folder.resolve().is_relative_to(row[1])]
    return max(holding, key=lambda row: len(row[1]))[2] if holding else "unknown file system"


if __name__ == "__main__":
    sys.exit(main())
