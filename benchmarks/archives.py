"""Measures reports on generated archives: each is a command of its own, as a user calls it, from a closed archive."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from generation import generate
from harness import Bench, Figure, Series, timed

BUDGETED_RUNS = 10_000
"""The number of runs for which there are budgets of time."""

MANY_RUNS = 100_000
"""The number of runs that break nothing, and for which there is a budget of memory."""


@dataclass(frozen=True)
class Command:
    """A report as it is called, with the budget in seconds for 10,000 runs."""

    what: str
    arguments: tuple[str, ...]
    budget: float | None = None


def archives(bench: Bench, runs: int) -> Iterator[Figure]:
    """Make an archive of `runs` runs, and read it in all ways; budgets hold for 10,000."""
    root = bench.folder(f"archive-{runs}") / "results"
    start = time.perf_counter()
    generate(root, runs)
    made = (time.perf_counter() - start) / runs * 1e3
    at = f"{runs:,} runs"
    files, looked = least_of_three(lambda: look_at(root))
    _, read = least_of_three(lambda: parse(root))
    yield Figure(f"{at}: making one", made, "ms", note="wall time")
    yield Figure(f"{at}: scandir and stat of {files:,} files, CPU", looked, "s", note="a floor")
    yield Figure(f"{at}: parse their JSON, CPU", read, "s", note="a floor without an index")
    yield from reports(bench, root, runs, looked)
    yield from rows_alone(bench, root, runs, looked)
    yield completion(bench, root, runs)
    size = (root / ".expedition" / "index.sqlite").stat().st_size
    yield Figure(f"{at}: size of the index, per run", size / runs, "B")


def reports(bench: Bench, root: Path, runs: int, floor: float) -> Iterator[Figure]:
    """The commands, the first of them without an index."""
    key = json.loads(next(root.glob("vision/exp_tune/*/0000-*/experiment_meta.json")).read_bytes())["key"]
    warm = (
        Command("list them all", ("--archive-list",), 1.0),
        Command("list the last 20", ("--archive-tail", "20"), 1.0),
        Command("select on a parameter", ("--archive-list", "--archive-select", "alpha == 0.0625"), 1.0),
        Command("select on a result", ("--archive-list", "--archive-select", "data.rmse.mean < 0.01"), 1.0),
        Command("overview", ("--archive-overview",), 2.0),
        Command("scan by a parameter", ("--archive-scan", "fold"), 2.0),
        Command("show one run by its key", ("--archive-show", key[:12]), 1.0),
    )
    cold = measure(bench, root, Command("", ("--archive-list",)), fresh=True)
    at = f"{runs:,} runs"
    budgeted = runs == BUDGETED_RUNS
    wall = f"wall {cold.least('wall'):.2f} s"
    yield Figure(
        f"{at}: list them all, no index, CPU",
        cold.least(),
        "s",
        10 if budgeted else None,
        cold.spread(),
        wall,
    )
    whole, others = cold.least("peak"), 0.0
    for command in warm:
        found = measure(bench, root, command)
        if command is warm[0]:
            whole = max(whole, found.least("peak"))
        else:
            others = max(others, found.least("peak"))
        note = f"wall {found.least('wall'):.2f} s; {found.least() / floor:.1f} × the stats"
        budget = command.budget if budgeted else None
        yield Figure(f"{at}: {command.what}, CPU", found.least(), "s", budget, found.spread(), note)
    yield Figure(f"{at}: peak memory, list them all", whole / 2**20, "MiB", 300)
    yield Figure(f"{at}: peak memory, the others", others / 2**20, "MiB", 300)


def rows_alone(bench: Bench, root: Path, runs: int, floor: float) -> Iterator[Figure]:
    """What the archive itself takes, without pytest and without a table."""
    code = (
        "import sys; from expedition import Archive; "
        "assert sum(1 for _ in Archive(sys.argv[1]).rows(sys.argv[2] or None))"
    )
    for what, select in (("all", ""), ("selected by a parameter", "alpha == 0.0625")):
        series = Series()
        for _ in range(bench.repeats):
            folder = bench.folder("rows")
            environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bench.root / "pycache")}
            series.samples.append(timed([sys.executable, "-c", code, str(root), select], folder, environment))
        note = f"{series.least() / floor:.1f} × the stats, imports in it"
        yield Figure(
            f"{runs:,} runs: rows, {what}, CPU", series.least(), "s", noise=series.spread(), note=note
        )


def completion(bench: Bench, root: Path, runs: int) -> Figure:
    """What the shell waits for when a run is to be completed."""
    line = f"expedition archive --archive {root} show alpha=0.06"
    series = Series()
    for _ in range(bench.repeats):
        environment = {
            **os.environ,
            "_EXPEDITION_COMPLETE": "bash_complete",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "COMP_LAST": "0.06",
            "PYTHONPYCACHEPREFIX": str(bench.root / "pycache"),
        }
        command = [sys.executable, "-m", "expedition.cli.main"]
        series.samples.append(timed(command, bench.folder("completion"), environment))
    budget = 1.0 if runs == BUDGETED_RUNS else None
    return Figure(f"{runs:,} runs: complete the id of one, CPU", series.least(), "s", budget, series.spread())


def measure(bench: Bench, root: Path, command: Command, *, fresh: bool = False) -> Series:
    """Call a report again and again, with `fresh` each time without an index."""
    series = Series()
    for _ in range(bench.repeats):
        if fresh:
            shutil.rmtree(root / ".expedition", ignore_errors=True)
        series.samples.append(
            bench.pytest(bench.folder("report"), "--archive", str(root), *command.arguments)
        )
    return series


def look_at(folder: Path) -> int:
    """Look at every file below a folder, as an index has to at least; return how many there are."""
    found = 0
    with os.scandir(folder) as listing:
        for entry in listing:
            if entry.is_dir(follow_symlinks=False):
                found += look_at(Path(entry.path))
            else:
                entry.stat()
                found += 1
    return found


def parse(folder: Path) -> int:
    """Parse the meta and data file of every run; return how many files that are."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in ("experiment_meta.json", "experiment_data.json"):
            if name in names:
                json.loads(Path(place, name).read_bytes())
                found += 1
    return found


def least_of_three(action: Callable[[], int]) -> tuple[int, float]:
    """What an action returns, and the least of its CPU seconds."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        result = action()
        seconds.append(time.process_time() - start)
    return result, min(seconds)
