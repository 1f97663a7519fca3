"""Measures what durability costs: resuming, ending at a signal, giving out runs, keeping runs from one another."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import PACED, TRIVIAL, Bench, Figure, Series, least_seconds, sweep_folder

ENDLESS = """
import time
from pathlib import Path
from expedition import experiment

@experiment.parametrize("i", range({n}))
def exp_endless(e, i: int):
    e["x"] = i * 0.5
    step = 0
    while i >= {done}:
        e.track("loss", 1.0)
        step += 1
        if step == 1000:
            Path(f"begun-{{i}}").touch()
        time.sleep(0.0001)
"""

PACED_EXPERIMENT = """
import time
from expedition import experiment

@experiment.parametrize("i", range({n}))
def exp_paced(e, i: int):
    end = time.perf_counter() + {seconds}
    while time.perf_counter() < end:
        pass
"""

PACE = 0.002
"""Seconds of a run whose giving out is measured: reports of shorter ones come in bundles."""


def endurance(bench: Bench, runs: int) -> Iterator[Figure]:
    """Resume a sweep of `runs` runs, end one by SIGTERM, give out runs one at a time, put back what runs changed."""
    yield from resuming(bench, runs)
    for workers in (0, 2):
        yield from ending(bench, runs // 10, workers)
    yield giving_out(bench, max(runs // 10, 500))
    yield putting_back()


def resuming(bench: Bench, runs: int) -> Iterator[Figure]:
    """``--resume`` of a sweep of which all runs are done, and of one of which one is not."""
    folder = bench.folder("resumed", TRIVIAL.format(n=runs))
    bench.pytest(folder, "--experiments", ".")
    series, one = Series(), Series()
    for _ in range(bench.repeats):
        series.samples.append(bench.pytest(folder, "--experiments", ".", "--resume", expected=(0, 5)))
    log = next((sweep_folder(folder) / "journal").glob("*.jsonl"))
    lines = log.read_bytes().splitlines(keepends=True)
    for _ in range(bench.repeats):
        log.write_bytes(b"".join(lines[:-1]))  # the run then has only what is in its folder
        one.samples.append(bench.pytest(folder, "--experiments", ".", "--resume", expected=(0, 5)))
    what = f"--resume of {runs:,} runs"
    yield Figure(f"{what}, nothing to do, CPU", series.least(), "s", 5, series.spread())
    yield Figure(f"{what}, a commit line is missing, CPU", one.least(), "s", 5, one.spread())


def ending(bench: Bench, runs: int, workers: int) -> Iterator[Figure]:
    """Seconds from SIGTERM until every run has its end, and until pytest has ended; `runs` runs were done by then."""
    written, over = [], []
    for _ in range(bench.repeats):
        folder = bench.folder(f"ended-{workers}", ENDLESS.format(n=runs + 4, done=runs))
        command = bench.command(folder, "--experiments", ".", workers=workers)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=bench.environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while len(list(folder.glob("begun-*"))) < max(workers, 1):
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.01)
        running = list(running_in(folder.rglob("experiment_meta.json")))
        begin = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        while running := list(running_in(running)):
            if process.poll() is not None:
                raise RuntimeError(f"SIGTERM left {running} without an end")
            time.sleep(0.005)
        written.append(time.perf_counter() - begin)
        process.wait()
        over.append(time.perf_counter() - begin)
    for taken, what, budget in (
        (written, "every run has its end", 2.0),
        (over, "pytest has ended, with a trajectory", None),
    ):
        taken.sort()
        noise = taken[1] - taken[0] if len(taken) > 1 else 0.0
        yield Figure(f"SIGTERM, -n {workers}: {what}, wall", taken[0], "s", budget, noise)


def running_in(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the meta files that say of a run that it runs."""
    return (file for file in files if b'"running"' in file.read_bytes())


def giving_out(bench: Bench, runs: int) -> Figure:
    """CPU of the controller per run that it gives out, next to that of pytest-xdist's own scheduler."""
    ours, theirs, short, begin = Series(), Series(), Series(), Series()
    for _ in range(bench.repeats):
        for n, series, first in ((runs, ours, False), (1, short, True)):
            folder = bench.folder(f"given-{n}", PACED_EXPERIMENT.format(n=n, seconds=PACE))
            series.samples.append(bench.pytest(folder, "--experiments", ".", workers=2))
            other = begin if first else theirs
            plain = bench.folder(f"plain-{n}", PACED.format(n=n, seconds=PACE))
            other.samples.append(bench.pytest(plain, workers=2))
    extra = (ours.least("own") - short.least("own")) - (theirs.least("own") - begin.least("own"))
    noise = (ours.spread("own") + theirs.spread("own")) / runs
    note = f"pytest-xdist: {(theirs.least('own') - begin.least('own')) / runs * 1e3:.2f} ms"
    return Figure(
        f"controller over xdist, runs of {PACE * 1e3:g} ms, -n 2",
        extra / runs * 1e3,
        "ms",
        0.6,
        noise * 1e3,
        note,
    )


def putting_back() -> Figure:
    """What it takes to note the state of a process before a run, and to compare it afterwards."""
    from expedition.recording.process_state import ProcessState

    state = ProcessState(lambda file: False)

    def action() -> None:
        state.remember()
        state.put_back()

    return Figure(
        "state of the process, noted and compared", least_seconds(action, calls=1000) * 1e6, "µs", 150
    )
