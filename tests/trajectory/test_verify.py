"""Whether a trajectory file is what was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import pytest

from expedition.errors import TrajectoryFormatError
from expedition.trajectory import Trajectory, compile_trajectory, merge
from tests.trajectory.conftest import BuildSweep


@pytest.fixture
def file(build_sweep: BuildSweep) -> Path:
    builder = build_sweep([{"i": i} for i in range(3)])
    for index in range(3):
        builder.run(index, {"x": index / 7, "text": "a" * index})
    return compile_trajectory(builder.path)


def test_of_what_was_written(file: Path, tmp_path: Path) -> None:
    with Trajectory.open(file) as traj:
        traj.verify()
        copy = traj.backup(tmp_path / "copy.h5")
    with Trajectory.open(copy) as traj:
        traj.annotate("results/x", unit="K")
        traj.verify()  # of the file that is there now
        traj.compact()
        traj.verify()
    with merge(copy, to=tmp_path / "merged.h5") as traj:
        traj.verify()


def test_of_a_single_bit_that_changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    with Trajectory.open(file) as traj:
        for place in (len(content) // 2, len(content) - 1):
            content[place] ^= 1
            file.write_bytes(content)
            content[place] ^= 1
            with pytest.raises(
                TrajectoryFormatError, match=r"trajectory\.h5: it is not what was written"
            ) as error:
                traj.verify()
            assert "archive-repair" in str(error.value)
        file.write_bytes(content)
        traj.verify()


def test_of_a_file_without_a_checksum_and_of_none(file: Path, tmp_path: Path) -> None:
    old = Path(shutil.copy(file, tmp_path / "old.h5"))
    with h5py.File(old, "r+") as h5:
        del h5["_meta/checksum"]
    with (
        Trajectory.open(old) as traj,
        pytest.raises(TrajectoryFormatError, match=r"old\.h5: it has no checksum"),
    ):
        traj.verify()
    with Trajectory.open(old) as traj:
        old.unlink()
        old.write_bytes(b"something else")
        with pytest.raises(TrajectoryFormatError, match=r"old\.h5: .*truncated, damaged"):
            traj.verify()
