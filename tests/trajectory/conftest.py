"""Builds real sweep folders: a manifest, commit logs, run folders with journals and files."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition.archive.run_files import FolderFiles
from expedition.archive.series import SeriesReader
from expedition.archive.sweep import SweepFolder
from expedition.recording.journal import Journal
from expedition.values import FileSink, encode

START = 1_700_000_000_000_000
"""µs since the epoch at which the first run of a built sweep starts; run i starts i seconds later."""


class SweepBuilder:
    """Writes a sweep run by run, as workers would.

    `rows` has the swept parameters of each run (one dict each); `constants` those that all share.
    """

    def __init__(
        self,
        path: Path,
        rows: Sequence[Mapping[str, Any]],
        constants: Mapping[str, Any] | None = None,
        **manifest: Any,
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        swept = list(rows[0]) if rows else []
        parameters: dict[str, Any] = {
            name: {"type": "float", "description": f"about {name}", "swept": True} for name in swept
        }
        for name, value in (constants or {}).items():
            parameters[name] = {"type": "x", "description": "", "swept": False, "value": encode(value)}
        seen: dict[str, int] = {}
        runs = []
        for index, row in enumerate(rows):
            params = {name: encode(value) for name, value in row.items()}
            point = json.dumps(params, sort_keys=True)
            replicate = seen[point] = seen.get(point, -1) + 1
            label = "-".join([*(f"{k}={v}" for k, v in row.items()), f"rep={replicate}"])
            runs.append(
                {
                    "index": index,
                    "id": f"exp_x.py::exp_x[{label}]",
                    "key": run_key(point, replicate),
                    "folder": f"{index:04d}-x",
                    "params": params,
                    "replicate": replicate,
                }
            )
        about = {
            "name": "exp_x",
            "file": "exp_x.py",
            "function": "exp_x",
            "namespace": "exp_x",
            "description": "A built sweep.",
            "tags": [],
        }
        content = {
            "experiment": about,
            "id": "2026-11-22T14-30-05Z-k3f9",
            "created": "2026-11-22T14:30:05+00:00",
            "swept": swept,
            "parameters": parameters,
            "replicates": max(seen.values(), default=0) + 1,
            "options": {"testing": False, "run_timeout": None, "tags": ["a", "b"]},
            **manifest,
            "runs": runs,
        }
        self.sweep = SweepFolder.create(path, content)
        self._journals: dict[str, Journal] = {}

    @property
    def path(self) -> Path:
        """The sweep folder."""
        return self.sweep.path

    def folder(self, index: int) -> Path:
        """The folder of a run, made when it is not there."""
        folder = self.path / self.sweep.entries[index].folder
        folder.mkdir(exist_ok=True)
        return folder

    def run(
        self,
        index: int,
        data: Mapping[str, Any] | None = None,
        *,
        tagged: Mapping[str, Any] | None = None,
        derived: Mapping[str, Any] | None = None,
        series: Mapping[str, Sequence[Any]] | None = None,
        annotations: Mapping[str, Any] | None = None,
        status: str = "done",
        error: str | None = None,
        attempt: int = 0,
        worker: str = "main",
        seed: int | None = None,
    ) -> None:
        """Store, track and commit one run.

        `data` has Python values by slash path, large arrays go to files; `tagged` is put into the commit line
        as it is. The values of a series are Python values, or tags for what stands in a file.
        """
        sink = FileSink(self.folder(index)) if data else None
        cells = {key: encode(value, name=key, sink=sink) for key, value in (data or {}).items()}
        about = {name: self.track(index, name, values) for name, values in (series or {}).items()}
        entry = self.sweep.entries[index]
        line = {
            "index": index,
            "attempt": attempt,
            "key": entry.key,
            "status": status,
            "expected_failure": False,
            "start": START + index * 1_000_000,
            "stop": START + index * 1_000_000 + 250_000,
            "worker": worker,
            "seed": 1000 + index if seed is None else seed,
            "error": error,
            "data": {**cells, **(tagged or {})},
            "derived": {key: encode(value) for key, value in (derived or {}).items()},
            "annotations": dict(annotations or {}),
            "series": about,
        }
        self.commit(line, worker)

    def commit(self, line: Mapping[str, Any], worker: str = "main") -> None:
        """Add a line to the commit log of a worker."""
        if worker not in self._journals:
            self._journals[worker] = Journal(self.path / "journal" / f"{worker}.jsonl")
        self._journals[worker].write(json.dumps(line, separators=(",", ":"), allow_nan=False))

    def track(self, index: int, name: str, values: Sequence[Any]) -> dict[str, Any]:
        """Add a series to the journal of a run; arrays above 1 KiB go to ``data/series.bin``."""
        journal = Journal(self.folder(index) / "experiment_journal.jsonl")
        for step, value in enumerate(values):
            cell = self._tracked(index, value)
            time = START + index * 1_000_000 + step
            journal.write(json.dumps({"e": "track", "n": name, "s": step, "t": time, "v": cell}))
        journal.write(json.dumps({"e": "note", "v": "something else"}))
        journal.close()
        return {"n": len(values), "step": "int", "kind": "scalar"}

    def _tracked(self, index: int, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        if not isinstance(value, np.ndarray) or value.nbytes <= 1024:
            return encode(value)
        file = self.folder(index) / "data" / "series.bin"
        file.parent.mkdir(exist_ok=True)
        with file.open("ab") as stream:
            offset = stream.tell()
            stream.write(value.tobytes())
        crc = f"{zlib.crc32(value.tobytes()):08x}"
        return {"$": "bin", "o": offset, "d": value.dtype.str, "sh": list(value.shape), "crc": crc}


def run_key(point: str, replicate: int) -> str:
    """Return a key as the harness makes them: 64 hex digits."""
    return hashlib.sha256(f"{point}/{replicate}".encode()).hexdigest()


BuildSweep = Callable[..., SweepBuilder]


@pytest.fixture
def build_sweep(tmp_path: Path) -> BuildSweep:
    """Return a function (rows, constants=None, **manifest) → `SweepBuilder` in the temporary folder."""

    def build(
        rows: Sequence[Mapping[str, Any]], constants: Mapping[str, Any] | None = None, **manifest: Any
    ) -> SweepBuilder:
        return SweepBuilder(tmp_path / "sweep", rows, constants, **manifest)

    return build


def recorded_series(folder: Path) -> SeriesReader:
    """The series of a run folder as the archive reads them."""
    return SeriesReader(folder, FolderFiles(folder))
