"""A sweep that grows, and a comparison of two trajectory files by everything that they hold."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from expedition.recording.journal import Journal
from expedition.recording.meta import isoformat
from expedition.recording.writer import host_identity
from expedition.trajectory import compile_trajectory
from expedition.trajectory.extend import extend_trajectory
from expedition.trajectory.growing.growth import UnfitError
from expedition.values import FileSink, encode
from tests.trajectory.conftest import START, SweepBuilder, run_key

_BY_REFERENCE = {"DIMENSION_LIST", "REFERENCE_LIST"}
_OF_THE_FILE = {"_meta/growth", "_meta/checksum"}


class GrowingSweep(SweepBuilder):
    """A sweep whose design grows, and whose runs begin, die and are tried again."""

    def expand(
        self,
        points: Sequence[Mapping[str, Any]],
        parameters: Mapping[str, Any] | None = None,
        absent: Sequence[str] = (),
    ) -> None:
        """Add runs as a later invocation does; `parameters` describes what the manifest does not know."""
        first = len(self.sweep.entries)
        rows: list[dict[str, Any]] = []
        for index, point in enumerate(points, first):
            params = {name: encode(value) for name, value in point.items()}
            rows.append(
                {
                    "index": index,
                    "id": f"exp_x.py::exp_x[added={index}]",
                    "key": run_key(json.dumps(params), index),
                    "folder": f"{index:04d}-x",
                    "params": params,
                    "replicate": 0,
                    **({"absent": list(absent)} if absent else {}),
                }
            )
        self.sweep.add_invocation({"runs": rows, "parameters": dict(parameters or {})})

    def again(self, index: int, **record: Any) -> None:
        """Commit a run anew: what its folder had is gone."""
        shutil.rmtree(self.folder(index), ignore_errors=True)
        self.run(index, **record)

    def begin(
        self,
        index: int,
        data: Mapping[str, Any] | None = None,
        *,
        series: Mapping[str, Sequence[Any]] | None = None,
        annotations: Mapping[str, Any] | None = None,
        attempt: int = 0,
        alive: bool = True,
    ) -> None:
        """Begin a run that gets no end: it is running, or crashed when not `alive`."""
        shutil.rmtree(self.folder(index), ignore_errors=True)
        folder = self.folder(index)
        journal = Journal(folder / "experiment_journal.jsonl")
        sink = FileSink(folder)
        for key, value in (data or {}).items():
            event = {"e": "store", "k": key, "v": encode(value, name=key, sink=sink)}
            journal.write(json.dumps(event))
        for key, note in (annotations or {}).items():
            journal.write(json.dumps({"e": "annotate", "k": key, "v": note}))
        journal.close()
        for name, values in (series or {}).items():
            self.track(index, name, values)
        host, boot = host_identity()
        entry = self.sweep.entries[index]
        meta = {
            "format": "expedition-run",
            "format_version": "1.0",
            "id": entry.id,
            "index": index,
            "key": entry.key,
            "replicate": entry.replicate,
            "attempt": attempt,
            "status": "running",
            "experiment": {"name": "exp_x", "namespace": "exp_x"},
            "sweep": self.path.name,
            "start": isoformat(START + index * 1_000_000),
            "stop": None,
            "duration": None,
            "parameters": {},
            "seed": 1000 + index,
            "process": {
                "host": host,
                "boot_id": boot if alive else "another",
                "pid": os.getpid(),
                "worker": "gw9",
            },
            "outcome": {"error": None},
            "tags": [],
            "notes": [],
        }
        (folder / "experiment_meta.json").write_text(json.dumps(meta), encoding="utf-8")


def update_and_compare(sweep: Path) -> int:
    """Update the trajectory and compare it with what a whole compile makes; return how often it was extended.

    The updated file stays, so that the next update builds on it.
    """
    try:
        updated = extend_trajectory(sweep)
    except UnfitError:  # and nothing else: `update_trajectory` would hide what is wrong
        updated = compile_trajectory(sweep)
    updated = updated.rename(sweep / "updated.h5")
    whole = compile_trajectory(sweep)
    found = differences(updated, whole)
    assert not found, "\n".join(found)
    updated.replace(whole)
    return steps(sweep)


def steps(sweep: Path) -> int:
    """How often the trajectory was extended since it was compiled as a whole."""
    with h5py.File(sweep / "trajectory.h5") as file:
        return int(json.loads(file["_meta/growth"][()])["steps"])


def differences(one: Path, other: Path) -> list[str]:
    """Say in which nodes, values, types, attributes and dimensions two trajectory files differ."""
    first, second = contents(one), contents(other)
    found = [f"{path} is only in {one.name}" for path in first.keys() - second.keys()]
    found += [f"{path} is only in {other.name}" for path in second.keys() - first.keys()]
    for path in first.keys() & second.keys():
        for part, value in first[path].items():
            if value != second[path][part]:
                found.append(f"{path}, {part}:\n    {value}\n    {second[path][part]}")
    return sorted(found)


def contents(path: Path) -> dict[str, dict[str, Any]]:
    """Return what a file holds, by path of the node; columns of the schema in their order."""
    found: dict[str, dict[str, Any]] = {}

    def walk(group: h5py.Group, prefix: str) -> None:
        found[prefix] = {"attrs": _attrs(group)}
        for name, node in group.items():
            at = f"{prefix}{name}"
            if isinstance(node, h5py.Group):
                walk(node, f"{at}/")
            elif at == "_meta/schema":
                found[at] = {"columns": list(json.loads(node[()])["columns"].items())}
            elif at not in _OF_THE_FILE:
                dims = [] if node.is_scale else [[s.name for s in axis.values()] for axis in node.dims]
                found[at] = {
                    "attrs": _attrs(node),
                    "dims": dims,
                    "dtype": str(node.dtype),
                    "value": _plain(node[()]),
                }

    with h5py.File(path) as file:
        walk(file, "")
    return found


def _attrs(node: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in node.attrs.items() if name not in _BY_REFERENCE}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return value.shape, [cell.decode() if isinstance(cell, bytes) else cell for cell in value.ravel()]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
        return array.dtype.str, array.shape, array.tobytes()
    return value
