"""Sweeps made run by run without pytest, by the code that records them, for tests that need many or odd ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expedition.archive.sweep import SweepFolder
from expedition.authoring.identity import folder_name
from expedition.recording import layout, outcomes
from expedition.recording.meta import RunIdentity
from expedition.recording.run import Run
from expedition.recording.writer import SweepWriter


class Sweep:
    """A sweep folder whose runs are made one at a time; closing it frees the lock of its runs."""

    def __init__(self, root: Path, namespace: str = "exp_a", name: str = "2026-11-22T14-30-05Z-k3f9") -> None:
        self.path = root / namespace / name
        self.path.mkdir(parents=True)
        self.experiment = {
            "name": namespace.rpartition("/")[2],
            "file": f"{namespace}.py",
            "function": "exp",
            "namespace": namespace,
            "description": "",
        }
        manifest = {
            "experiment": self.experiment,
            "sweep": name,
            "created": "2026-11-22T14:30:05Z",
            "swept": ["alpha"],
            "parameters": {"alpha": {"type": "float", "swept": True}},
            "options": {},
            "runs": [],
        }
        SweepFolder.create(self.path, manifest)
        self.writer = SweepWriter(self.path, "main")

    def run(
        self,
        index: int,
        status: str = outcomes.DONE,
        *,
        folder: str = "",
        params: Mapping[str, Any] | None = None,
        **data: Any,
    ) -> Path:
        """Make a run and return its folder; one that is ``running`` gets no end."""
        parameters = {"alpha": index / 10, "label": "x", **(params or {})}
        identifier = f"alpha={parameters['alpha']}"
        path = self.path / (folder or folder_name(index, identifier, sharded=False))
        path.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(f"{self.path}/{index}".encode()).hexdigest()
        identity = RunIdentity(
            index,
            identifier,
            key,
            0,
            0,
            index,
            self.experiment,
            parameters,
            parameters,
            {},
            ("paper",),
            (),
            path,
            self.path,
        )
        run = Run(identity, self.writer)
        run.start()
        for name, value in {"score": index * 2.0, **data}.items():
            run[name] = value
        if status != outcomes.RUNNING:
            error = AssertionError("too large") if status == outcomes.FAILED else None
            run.finish(status, error=error)
        return path

    def close(self) -> None:
        """Let go of the lock: runs without an end have crashed."""
        self.writer.close()


def make_archive(root: Path) -> Path:
    """Make an archive with runs that ended in every way, in shards, in a sweep of one, and under odd names."""
    root.mkdir(parents=True)
    (root / layout.IGNORE_FILE).write_bytes(layout.IGNORE_TEXT)
    first = Sweep(root)
    ends = (outcomes.DONE, outcomes.FAILED, outcomes.SKIPPED, outcomes.PRUNED, outcomes.INTERRUPTED)
    for index in range(10):
        first.run(index, ends[index % 5], deep={"x": index}, many=list(range(index)))
    first.run(10, outcomes.RUNNING, lost="what a crashed run had stored")
    first.run(11, long="ä" * 3000, params={"text": "é" * 2500, "other": None})
    first.run(12, folder="000/0012-a=1")
    first.run(13, folder="001/0013-ünï ~#%?;'\"")
    (first.run(14) / "experiment_meta.json").write_bytes(b"{")
    (first.run(15) / "experiment_data.json").write_bytes(b'{"a": ')
    first.close()
    for letters in ("aaaa", "bbbb"):
        single = Sweep(root, "deep/exp_b", f"2026-11-23T14-30-05Z-{letters}")
        single.run(0, folder=".")
        single.close()
    return root
