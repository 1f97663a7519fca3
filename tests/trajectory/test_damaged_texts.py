"""Damage to the heaps in which HDF5 keeps texts, on which HDF5 itself never comes to an end."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from expedition.trajectory import Trajectory, compile_trajectory
from tests.trajectory.conftest import BuildSweep

HEAP = b"GCOL\x01\0\0\0"
OPENING = """
import sys
from expedition.trajectory import Trajectory
from expedition.errors import TrajectoryFormatError
try:
    with Trajectory.open(sys.argv[1]) as traj:
        print(traj.res.note[:], traj.res.long[:])
except TrajectoryFormatError as error:
    print(error)
"""


def heaps(content: bytes) -> list[int]:
    found = [content.find(HEAP)]
    while found[-1] >= 0:
        found.append(content.find(HEAP, found[-1] + 1))
    return found[:-1]


def objects(content: bytes, heap: int) -> list[int]:
    """Places of the texts in a heap."""
    end = heap + struct.unpack_from("<Q", content, heap + 8)[0]
    found, at = [], heap + 16
    while at + 16 <= end:
        number, _, _, size = struct.unpack_from("<HHIQ", content, at)
        if not number:
            break
        found.append(at)
        at += 16 + (size + 7) // 8 * 8
    return found


@pytest.fixture
def file(build_sweep: BuildSweep, request: pytest.FixtureRequest) -> Path:
    """A trajectory with some heaps or many, one of which is long."""
    n_runs = request.param
    builder = build_sweep([{"i": i} for i in range(n_runs)])
    for index in range(n_runs):
        builder.run(index, {"note": f"{index} " * 80, "long": "x" * (200_000 if index == 1 else 1)})
    path = compile_trajectory(builder.path)
    assert (len(heaps(path.read_bytes())) > 50) == (n_runs > 100)
    return path


@pytest.mark.parametrize("file", [20, 8000], indirect=True, ids=["few", "many"])
@pytest.mark.parametrize(
    ("which", "damage"),
    [
        ("first", bytes(16)),
        ("last", struct.pack("<HHIQ", 1, 1, 0, 2**64 - 16)),
        ("longest", bytes(16)),
    ],
)
def test_a_heap_without_an_end_is_refused(file: Path, damage: bytes, which: str) -> None:
    content = bytearray(file.read_bytes())
    found = heaps(content)
    heap = {"first": found[0], "last": found[-1]}.get(which)
    if heap is None:
        heap = max(found, key=lambda each: struct.unpack_from("<Q", content, each + 8))
        assert struct.unpack_from("<Q", content, heap + 8)[0] > 200_000
    place = objects(content, heap)[-1]
    content[place : place + 16] = damage
    file.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", OPENING, str(file)], timeout=60, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{file}: the texts at byte {heap:,} are damaged")
    assert "pytest --archive-repair" in done.stdout


def test_the_signature_of_a_heap_may_be_a_value(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    notes = ["GCOL\x01", "GCOL", "a GCOL\x01 b" * 1000]
    for index, note in enumerate(notes):
        builder.run(index, {"note": note, "bytes": HEAP + struct.pack("<Q", 4096) + bytes(4096)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.res.note[:].tolist() == notes
        assert traj.res.bytes[2][:4] == b"GCOL"
