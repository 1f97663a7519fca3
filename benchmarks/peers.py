"""The same trivial work with PyComex and pypet, each installed into a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import TRIVIAL, Bench, Figure, Series, timed

PYCOMEX = """
import sys
from pycomex.functional.experiment import Experiment

I: int = 0

def run(i):
    e = Experiment(base_path="archive", namespace="trivial", glob=globals(), notify=False)

    @e
    def trivial(e):
        e["x"] = e.I * 0.5

    e.parameters["I"] = i
    e.parameters["__NOTIFY__"] = False  # else it waits seconds for a desktop
    e.run()

if __name__ == "__main__":
    for i in range(int(sys.argv[1])):
        run(i)
"""

PYPET = """
import sys
from pypet import Environment

def trivial(traj):
    traj.f_add_result("x", traj.i * 0.5)

if __name__ == "__main__":
    environment = Environment(
        trajectory="trivial", filename="trivial.hdf5", log_config=None, add_time=False, report_progress=False
    )
    environment.trajectory.f_add_parameter("i", 0)
    environment.trajectory.f_explore({"i": list(range(int(sys.argv[1])))})
    environment.run(trivial)
    environment.disable_logging()
"""


@dataclass(frozen=True)
class Peer:
    """Another harness: what to install for it, and the script that makes as many runs as its argument says."""

    name: str
    requirements: tuple[str, ...]
    script: str


PEERS = (
    Peer("PyComex", ("pycomex>=0.28",), PYCOMEX),
    # pypet 0.6 knows neither numpy 2 nor pandas 3, and imports pkg_resources.
    Peer("pypet", ("pypet>=0.6", "numpy<2", "pandas<3", "setuptools<80"), PYPET),
)


def install(peer: Peer, cache: Path) -> Path | None:
    """Return the Python of the peer's environment, made if need be; None when it cannot be installed."""
    home = cache / peer.name.lower()
    python, ready = home / "bin" / "python", home / "ready"
    if ready.exists():
        return python
    home.mkdir(parents=True, exist_ok=True)
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"{peer.name} is left out, it cannot be installed: {last}")
            return None
    ready.touch()
    return python


def compare(bench: Bench, cache: Path, sizes: tuple[int, int]) -> Iterator[Figure]:
    """CPU per run of Expedition, pytest included, and of every peer, at two sizes, the start not counted."""
    first, *series = (Series() for _ in range(3))
    for n, target in zip((1, *sizes), (first, *series), strict=True):
        for _ in range(bench.repeats):
            folder = bench.folder(f"own-{n}", TRIVIAL.format(n=n))
            target.samples.append(bench.pytest(folder, "--experiments", "."))
    own = [(s.least() - first.least()) / (n - 1) for n, s in zip(sizes, series, strict=True)]
    for n, cost in zip(sizes, own, strict=True):
        yield Figure(f"Expedition with pytest, per run, {n:,} runs, CPU", cost * 1e3, "ms")
    for peer in PEERS:
        python = install(peer, cache)
        if python is not None:
            yield from measure(bench, peer, python, sizes, own)


def measure(
    bench: Bench, peer: Peer, python: Path, sizes: tuple[int, int], own: list[float]
) -> Iterator[Figure]:
    """CPU per run of a peer, next to Expedition's own."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON")} | {"MPLBACKEND": "agg"}
    least = {}
    for n in (1, *sizes):
        series = Series()
        for _ in range(bench.repeats):
            folder = bench.folder(f"{peer.name.lower()}-{n}")
            (folder / "trivial.py").write_text(f'"""Trivial."""\n{peer.script}')
            try:
                series.samples.append(timed([str(python), "trivial.py", str(n)], folder, environment))
            except RuntimeError as error:
                print(f"{peer.name} is left out, it fails here: {str(error).splitlines()[-1]}")
                return
        least[n] = series.least()
    for n, ours in zip(sizes, own, strict=True):
        cost = (least[n] - least[1]) / (n - 1)
        yield Figure(
            f"{peer.name}, per run, {n:,} runs, CPU", cost * 1e3, "ms", note=f"{cost / ours:.1f} × Expedition"
        )
