"""Makes archives of any size without pytest: the package's own code writes every file of every run."""

from __future__ import annotations

import hashlib
import itertools
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.archive.sweep import SweepFolder
from expedition.authoring.identity import folder_name
from expedition.recording import layout, outcomes
from expedition.recording.files import replace_file
from expedition.recording.meta import RunIdentity
from expedition.recording.run import Run
from expedition.recording.writer import SweepWriter

ENDS = (
    (outcomes.DONE, 82),
    (outcomes.FAILED, 10),
    (outcomes.SKIPPED, 3),
    (outcomes.PRUNED, 2),
    (outcomes.INTERRUPTED, 1),
    (outcomes.CRASHED, 2),  # they begin, record, and never end
)
"""How runs end, and how many of a hundred."""

FIXED: dict[str, Any] = {
    "EPOCHS": 20,
    "DATA": "data/diabetes.csv",
    "HIDDEN": [64, 64, 32],
    "shuffle": True,
    "loss": "squared_error",
    "dropout": None,
}
ABOUT = {"type": "float", "origin": "sweep", "description": "strength of the penalty"}


@dataclass(frozen=True)
class Shape:
    """One experiment of a generated archive: its name, how many runs it has, and in how many sweeps."""

    namespace: str
    runs: int
    sweeps: int = 1
    sharded: bool = False

    @property
    def single(self) -> bool:
        """Whether each sweep has one run, whose folder is that of the sweep."""
        return self.runs == self.sweeps


def shapes(runs: int) -> Iterator[Shape]:
    """Yield the experiments of an archive of `runs` runs: a large sharded sweep, many of middle size, single runs."""
    large, single = runs * 6 // 10, runs // 50
    yield Shape("exp_ridge", large, sharded=True)
    yield Shape("deep/exp_single", single, single)
    rest = runs - large - single
    for number, name in enumerate(("exp_lasso", "vision/exp_train", "vision/exp_tune")):
        part = rest // 3 if number < 2 else rest - 2 * (rest // 3)
        yield Shape(name, part, max(part // 200, 1))


def generate(root: Path, runs: int, *, seed: int = 0) -> Path:
    """Write an archive of `runs` runs in the new folder `root`, with runs that ended in every way; return `root`."""
    root.mkdir(parents=True)
    replace_file(root / layout.IGNORE_FILE, layout.IGNORE_TEXT)
    rng = random.Random(seed)
    names = _sweep_names()
    for shape in shapes(runs):
        for number in range(shape.sweeps):
            count = shape.runs // shape.sweeps + (number < shape.runs % shape.sweeps)
            if count:
                _sweep(root / shape.namespace / next(names), shape, count, rng)
    return root


def _sweep_names() -> Iterator[str]:
    for number in itertools.count():
        moment = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(1_790_000_000 + 977 * number))
        letters = "".join("abcdefghjkmnpqrstuvwxyz23456789"[number // 31**place % 31] for place in range(4))
        yield f"{moment}-{letters}"


def _sweep(path: Path, shape: Shape, count: int, rng: random.Random) -> None:
    path.mkdir(parents=True)
    name = shape.namespace.rpartition("/")[2]
    about: dict[str, Any] = {"name": name, "file": f"{shape.namespace}.py", "function": name}
    about |= {"namespace": shape.namespace, "description": "Made for a benchmark."}
    about |= {"testing": True} if rng.random() < 0.05 else {}
    rows = [_row(shape, index, path) for index in range(count)]
    declared = {"alpha": ABOUT | {"swept": True}, "fold": {"type": "int", "swept": True}}
    manifest = {
        "experiment": about,
        "sweep": path.name,
        "created": "2026-11-22T14:30:05Z",
        "swept": [] if shape.single else ["alpha", "fold"],
        "parameters": declared | {n: {"type": type(v).__name__, "value": v} for n, v in FIXED.items()},
        "replicates": 1,
        "options": {},
        "sharded": shape.sharded,
        "runs": rows,
    }
    SweepFolder.create(path, manifest)
    if shape.sharded:
        for shard in range(0, count, 1000):
            (path / f"{shard // 1000:03d}").mkdir()
    writer = SweepWriter(path, "main")
    for row in rows:
        _run(path, row, about, writer, rng)
    writer.close()


def _row(shape: Shape, index: int, path: Path) -> dict[str, Any]:
    alpha, fold = (index // 5 + 1) / 128, index % 5
    identifier = shape.namespace.rpartition("/")[2] if shape.single else f"alpha={alpha}-fold={fold}"
    return {
        "index": index,
        "id": identifier,
        "key": hashlib.sha256(f"{path.name}/{shape.namespace}/{index}".encode()).hexdigest(),
        "folder": "." if shape.single else folder_name(index, identifier, sharded=shape.sharded),
        "params": {"alpha": alpha, "fold": fold},
        "replicate": 0,
    }


def _run(
    sweep: Path, row: Mapping[str, Any], about: Mapping[str, Any], writer: SweepWriter, rng: random.Random
) -> None:
    parameters = {**row["params"], **FIXED}
    folder = sweep / row["folder"]
    folder.mkdir(exist_ok=True)
    described = {name: {**ABOUT, "type": type(value).__name__} for name, value in parameters.items()}
    identity = RunIdentity(
        row["index"],
        row["id"],
        row["key"],
        0,
        0,
        int(row["key"][:15], 16),
        about,
        parameters,
        parameters,
        described,
        ("paper",) if rng.random() < 0.2 else (),
        ("looks odd at the left edge",) if rng.random() < 0.05 else (),
        folder,
        sweep,
    )
    (status,) = rng.choices([end for end, _ in ENDS], [share for _, share in ENDS])
    run = Run(identity, writer)
    run.start()
    for name in ("rmse/mean", "rmse/std", "r2", "seconds/fit", "seconds/predict"):
        run[name] = rng.random()
    run["iterations"] = rng.randrange(1000)
    run["converged"] = rng.random() < 0.9
    run["coefficients"] = [rng.gauss(0, 1) for _ in range(8)]
    for _ in range(3):
        run.track("loss", rng.random())
    if status == outcomes.CRASHED:
        return
    error = AssertionError(f"rmse {rng.random():.3f} is too large") if status == outcomes.FAILED else None
    run.finish(status, error=error, reason="" if error or status == outcomes.DONE else "not worth it")
