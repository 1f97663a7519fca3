"""Sweeps that are merged: built run by run, with the meta files by which a merged file finds its run folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.trajectory.conftest import START, SweepBuilder

SECOND = 1_000_000


class Sweep(SweepBuilder):
    """A sweep whose runs have meta files, and stop when the test says so."""

    stopped: int | None = None

    def folder(self, index: int) -> Path:
        folder = super().folder(index)
        meta = folder / "experiment_meta.json"
        if not meta.exists():
            meta.write_text(json.dumps({"key": self.sweep.entries[index].key}))
        return folder

    def end(self, index: int, seconds: int, data: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Record a run that stopped so many seconds after the start of all."""
        self.stopped = START + seconds * SECOND
        self.folder(index)
        self.run(index, data, **more)
        self.stopped = None

    def commit(self, line: Mapping[str, Any], worker: str = "main") -> None:
        if self.stopped is not None:
            line = {**line, "start": self.stopped - SECOND, "stop": self.stopped}
        super().commit(line, worker)
