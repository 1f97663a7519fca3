"""Trajectory files with what none of ours has: it is refused by name, or not read, and never run.

Truncated and changed files, links, external and virtual storage, and claims of sizes are tried in
tests/trajectory/test_bad_input.py and test_foreign.py, heaps without an end in test_damaged_texts.py.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from expedition import Trajectory
from expedition.errors import DamagedError
from tests.trajectory.reading import read_everything


class Owned:
    """Says so when somebody unpickles it."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return __import__, ("antigravity",)


def _replace(file: h5py.File, path: str, **options: object) -> None:
    del file[path]
    file.create_dataset(path, **options)


def _references(file: h5py.File) -> None:
    _replace(file, "results/part", data=[file.ref, file["runs"].ref], dtype=h5py.ref_dtype)


def _regions(file: h5py.File) -> None:
    dataset = file["runs/id"]
    _replace(file, "results/part", data=[dataset.regionref[0:1]] * 2, dtype=h5py.regionref_dtype)


def _pickles(file: h5py.File) -> None:
    packed = np.void(pickle.dumps(Owned()))
    file.attrs["generator"] = packed
    file["_meta/schema"].attrs["value"] = packed
    _replace(file, "results/part", data=np.array([packed, packed]))


def _objects(file: h5py.File) -> None:
    _replace(file, "results/part", shape=(2,), dtype=h5py.vlen_dtype(np.dtype("f8")))


def _compound(file: h5py.File) -> None:
    _replace(file, "results/part", shape=(2,), dtype=[("a", "f8"), ("b", h5py.string_dtype())])


def _filter(file: h5py.File) -> None:
    space = h5py.h5s.create_simple((2,))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((2,))
    properties.set_filter(32000, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))  # LZF, whose place another may take
    properties.set_filter(h5py.h5z.FILTER_SZIP, h5py.h5z.FLAG_OPTIONAL, (4, 2))
    del file["results/part"]
    h5py.h5d.create(file.id, b"results/part", h5py.h5t.NATIVE_DOUBLE, space, properties)


def _enum(file: h5py.File) -> None:
    _replace(file, "results/part", data=[0, 1], dtype=h5py.enum_dtype({"a": 0, "b": 1}))


def _groups(file: h5py.File) -> None:
    node = file.create_group("results/deep")
    for _ in range(2000):
        node = node.create_group("x")


def _schema(file: h5py.File) -> None:
    _replace(file, "_meta/schema", data="[" * 100_000, dtype=h5py.string_dtype())


def _schema_of_lies(file: h5py.File) -> None:
    import json

    schema = json.loads(file["_meta/schema"][()])
    for entry in (about for about in schema.values() if isinstance(about, dict)):
        entry |= {"kind": "pickle", "encoding": "exec", "at": "../../../../etc/passwd"}
    _replace(file, "_meta/schema", data=json.dumps(schema), dtype=h5py.string_dtype())


SPOILS = [
    _references,
    _regions,
    _pickles,
    _objects,
    _compound,
    _filter,
    _enum,
    _groups,
    _schema,
    _schema_of_lies,
]


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_no_file_of_ours_has(small: Path, tmp_path: Path, spoil: Callable[[h5py.File], None]) -> None:
    file = tmp_path / "trajectory.h5"
    source = next(path for path in small.rglob("trajectory.h5") if "exp_all" in str(path))
    file.write_bytes(source.read_bytes())
    with h5py.File(file, "r+") as opened:
        spoil(opened)
    sys.modules.pop("antigravity", None)
    assert read_everything(file) == []
    assert "antigravity" not in sys.modules
    with pytest.raises(DamagedError), Trajectory.open(file) as trajectory:
        trajectory.verify()


@pytest.mark.parametrize("what", ["pipe", "folder", "socket", "zeros"])
def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Nobody waits for a pipe, and nobody reads a device."""
    import os
    import socket

    file = tmp_path / "trajectory.h5"
    monkeypatch.chdir(tmp_path)
    if what == "pipe":
        os.mkfifo(file)
    elif what == "folder":
        file.mkdir()
        (file / "x").touch()
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as it:
            it.bind(file.name)
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises((DamagedError, LookupError), match=r"trajectory\.h5|/dev/zero"):
        Trajectory.open(file)
