"""The trajectory next to one HDF5 group per run and result, on the same data and in one invocation.

The layouts of the peers are written with bare h5py: what their programs do besides is not counted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import SCALAR_COLUMNS, Bench, Figure, least_seconds

NAMES = tuple(f"result_{column}" for column in range(SCALAR_COLUMNS))
START = 1_700_000_000_000_000
BUDGETED_RUNS = 100_000
"""The number of runs for which there are budgets."""


@dataclass(frozen=True)
class Costs:
    """Seconds, and bytes, that one layout takes for `runs` runs."""

    runs: int
    write: float
    size: int
    column: float
    frame: float
    run: float
    open: float


def compare(bench: Bench, n: int) -> Iterator[Figure]:
    """Yield the costs of our file for `n` runs against the budgets, then those of the peers' layouts as ratios."""
    values = np.random.default_rng(0).normal(size=(n, SCALAR_COLUMNS))
    sweep = build_sweep(bench.folder("columns"), values)
    ours = measure_ours(sweep, n, rounds=bench.repeats)
    yield from own_figures(ours)
    few = max(n // 50, 200)
    for name, write, read in (
        ("pypet-like: a group per run and result", write_groups, GroupReader),
        ("pypet_rebuild-like: JSON in attributes", write_attributes, AttributeReader),
    ):
        path = bench.folder("groups") / "peer.h5"
        yield from ratios(name, measure_peer(path, values[:few], write, read), ours)


def own_figures(ours: Costs) -> Iterator[Figure]:
    """Our costs, with their budgets where the sweep is as large as those are for."""
    at = f"{ours.runs:,} runs × {SCALAR_COLUMNS} scalars"
    budgeted = ours.runs == BUDGETED_RUNS
    for what, seconds, budget in (
        ("compile from the commit logs", ours.write, 3000),
        ("one column", ours.column, 20),
        ("DataFrame", ours.frame, 500),
        ("one run", ours.run, 10),
        ("open", ours.open, 50),
    ):
        yield Figure(f"{what}, {at}, CPU", seconds * 1e3, "ms", budget if budgeted else None)
    entropy = 8 * SCALAR_COLUMNS + 32 + 8
    note = f"{ours.size / ours.runs:.0f} B per run; random numbers, key and seed are {entropy} B"
    yield Figure(f"size, {at}", ours.size / 1e6, "MB", 12 if budgeted else None, note=note)


def ratios(name: str, peer: Costs, ours: Costs) -> Iterator[Figure]:
    """The costs of a peer per run over ours; opening and one run are not scaled, since they do not grow with us."""
    yield Figure(f"{name}, {peer.runs:,} runs", peer.write / peer.runs * 1e6, "µs", note="written, per run")
    for what, theirs, own in (
        ("write", peer.write / peer.runs, ours.write / ours.runs),
        ("size", peer.size / peer.runs, ours.size / ours.runs),
        ("one column", peer.column / peer.runs, ours.column / ours.runs),
        ("DataFrame", peer.frame / peer.runs, ours.frame / ours.runs),
        ("one run", peer.run, ours.run),
        ("open and list the runs", peer.open / peer.runs, ours.open / ours.runs),
    ):
        unit, factor = ("B", 1) if what == "size" else ("µs", 1e6)
        each = "" if what == "one run" else " per run"
        note = f"{theirs * factor:,.3g} {unit} against {own * factor:,.3g} {unit}{each}"
        yield Figure(f"  … {what}, over ours", theirs / own, "×", note=note)


# ours -----------------------------------------------------------------------------------------------------------


def build_sweep(folder: Path, values: np.ndarray[Any, Any]) -> Path:
    """Write the manifest and the commit log of a sweep whose runs stored these values, without running it."""
    from expedition.archive.sweep import SweepFolder
    from expedition.recording.journal import seal

    keys = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(len(values))]
    about = {"name": "exp_x", "file": "exp_x.py", "function": "exp_x", "namespace": "exp_x"}
    runs = [
        {
            "index": index,
            "id": f"i={index}",
            "key": key,
            "folder": f"{index // 1000:03d}/{index:04d}-i={index}",
            "params": {"i": index},
            "replicate": 0,
        }
        for index, key in enumerate(keys)
    ]
    manifest = {
        "experiment": {**about, "description": "", "tags": []},
        "sweep": folder.name,
        "created": "2026-11-22T14:30:05+00:00",
        "swept": ["i"],
        "parameters": {"i": {"type": "int", "swept": True}},
        "replicates": 1,
        "options": {},
        "runs": runs,
    }
    sweep = SweepFolder.create(folder, manifest)
    with open(sweep.path / "journal" / "main-1-a.jsonl", "wb") as stream:
        for index, (key, row) in enumerate(zip(keys, values.tolist(), strict=True)):
            line = {
                "index": index,
                "attempt": 0,
                "key": key,
                "status": "done",
                "expected_failure": False,
                "start": START + 1000 * index,
                "stop": START + 1000 * index + 900,
                "worker": f"gw{index % 2}",
                "seed": int(key[:15], 16),
                "error": None,
                "data": dict(zip(NAMES, row, strict=True)),
            }
            stream.write(seal(json.dumps(line, separators=(",", ":"))))
    return sweep.path


def measure_ours(sweep: Path, n: int, rounds: int) -> Costs:
    """Compile the sweep, then read its file as a user would, each time from a closed one."""
    from expedition.trajectory import Trajectory, compile_trajectory

    def column() -> None:
        with Trajectory.open(sweep) as opened:
            assert len(opened.res.result_3.values) == n

    def frame() -> None:
        with Trajectory.open(sweep) as opened:
            assert len(opened.to_pandas()) == n

    def run() -> None:
        with Trajectory.open(sweep) as opened:
            assert len(opened[n // 2].res.to_dict()) == SCALAR_COLUMNS

    written = least_seconds(lambda: compile_trajectory(sweep), calls=1, rounds=rounds)
    opened = least_seconds(lambda: Trajectory.open(sweep).close(), calls=1, rounds=7)
    return Costs(
        n,
        written,
        (sweep / "trajectory.h5").stat().st_size,
        least_seconds(column, calls=1, rounds=7) - opened,
        least_seconds(frame, calls=1, rounds=5) - opened,
        least_seconds(run, calls=1, rounds=7) - opened,
        opened,
    )


# the peers' layouts ---------------------------------------------------------------------------------------------


def write_groups(path: Path, values: np.ndarray[Any, Any]) -> None:
    """Write pypet's layout: per run a group, per result a group with an array in it, the types in attributes."""
    import h5py

    with h5py.File(path, "w") as file:
        runs = file.create_group("trajectory/results/runs")
        for index, row in enumerate(values):
            run = runs.create_group(f"run_{index:08d}")
            label(run, CLASS="GROUP", TITLE="", VERSION="1.0")
            for name, value in zip(NAMES, row, strict=True):
                leaf = run.create_group(name)
                label(leaf, CLASS="GROUP", TITLE="", VERSION="1.0", SRVC_LEAF="1")
                label(leaf, SRVC_INIT_CLASS_NAME="Result", SRVC_INIT_COMMENT="")
                item = leaf.create_dataset(name, data=value)
                label(item, CLASS="ARRAY", TITLE="", VERSION="2.4", FLAVOR="python")
                label(item, SRVC_STORE="ARRAY", SRVC_COL_TYPE="COLL_SCALAR", SRVC_SCALAR_TYPE="float")


def label(node: Any, **attributes: str) -> None:
    """Set attributes of fixed length, as PyTables does."""
    for name, value in attributes.items():
        node.attrs[name] = np.bytes_(value)


class GroupReader:
    """Reads what `write_groups` wrote."""

    def __init__(self, path: Path) -> None:
        import h5py

        self.file = h5py.File(path, "r")
        self.runs = self.file["trajectory/results/runs"]

    def names(self) -> list[str]:
        """Names of the runs."""
        return list(self.runs)

    def column(self, name: str) -> list[float]:
        """One result of all runs."""
        return [float(self.runs[run][name][name][()]) for run in self.runs]

    def run(self, name: str) -> dict[str, float]:
        """All results of one run."""
        return {result: float(leaf[result][()]) for result, leaf in self.runs[name].items()}


def write_attributes(path: Path, values: np.ndarray[Any, Any]) -> None:
    """Write pypet_rebuild's layout: a group per run and per result of a run, their content JSON in attributes."""
    import h5py

    with h5py.File(path, "w") as file:
        results = file.create_group("trajectories/trajectory/results")
        runs = file.create_group("trajectories/trajectory/runs")
        for index, row in enumerate(values.tolist()):
            run = runs.create_group(f"{index:05d}")
            run.attrs["params"], run.attrs["timestamp"] = json.dumps({"i": index}), time.time()
            for name, value in zip(NAMES, row, strict=True):
                leaf = results.create_group(f"by_run.{index:05d}.{name}")
                leaf.attrs["kind"], leaf.attrs["value"], leaf.attrs["comment"] = "json", json.dumps(value), ""


class AttributeReader:
    """Reads what `write_attributes` wrote."""

    def __init__(self, path: Path) -> None:
        import h5py

        self.file = h5py.File(path, "r")
        self.results = self.file["trajectories/trajectory/results"]

    def names(self) -> list[str]:
        """Names of the runs."""
        return list(self.file["trajectories/trajectory/runs"])

    def column(self, name: str) -> list[float]:
        """One result of all runs."""
        leaves = (self.results[f"by_run.{run}.{name}"] for run in self.names())
        return [float(json.loads(leaf.attrs["value"])) for leaf in leaves]

    def run(self, name: str) -> dict[str, float]:
        """All results of one run."""
        leaves = ((result, self.results[f"by_run.{name}.{result}"]) for result in NAMES)
        return {result: float(json.loads(leaf.attrs["value"])) for result, leaf in leaves}


Reader = Callable[[Path], GroupReader | AttributeReader]


def measure_peer(
    path: Path,
    values: np.ndarray[Any, Any],
    write: Callable[[Path, np.ndarray[Any, Any]], None],
    read: Reader,
) -> Costs:
    """Write and read one of these layouts, each time from a closed file."""
    import pandas as pd

    n = len(values)

    def opened(action: Callable[[Any], object]) -> Callable[[], None]:
        def act() -> None:
            reader = read(path)
            action(reader)
            reader.file.close()

        return act

    def column(reader: Any) -> None:
        assert np.array_equal(reader.column(NAMES[3]), values[:, 3])

    def frame(reader: Any) -> None:
        table = pd.DataFrame({name: reader.column(name) for name in NAMES})
        assert table.shape == values.shape

    def run(reader: Any) -> None:
        assert len(reader.run(f"run_{n // 2:08d}" if read is GroupReader else f"{n // 2:05d}")) == len(NAMES)

    def names(reader: Any) -> None:
        assert len(reader.names()) == n

    return Costs(
        n,
        least_seconds(lambda: write(path, values), calls=1, rounds=2),
        path.stat().st_size,
        least_seconds(opened(column), calls=1, rounds=3),
        least_seconds(opened(frame), calls=1, rounds=2),
        least_seconds(opened(run), calls=1, rounds=7),
        least_seconds(opened(names), calls=1, rounds=7),
    )
