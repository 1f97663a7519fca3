"""Files that are damaged, newer, or made to do harm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from expedition.errors import DamagedError, RecordNotFoundError, TrajectoryFormatError
from expedition.trajectory import Trajectory, compile_trajectory
from tests.trajectory.conftest import BuildSweep


@pytest.fixture
def file(build_sweep: BuildSweep) -> Path:
    builder = build_sweep([{"i": i} for i in range(3)])
    for index in range(3):
        data = {"x": index / 2, "V": np.arange(300.0), "odd": [np.arange(150_000.0), index]}
        builder.run(index, data, series={"s": [1.0, 2.0]})
    return compile_trajectory(builder.path)


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        RecordNotFoundError,
        match=r"no trajectory .*trajectory\.h5: .*neither a sweep folder nor one that holds",
    ):
        Trajectory.open(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_names_itself_and_the_remedy(file: Path, keep: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(TrajectoryFormatError, match=r"trajectory\.h5 .*compile_trajectory"):
        Trajectory.open(file)


def _set(name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda h5: h5.attrs.__setitem__(name, value)


def _external_link(h5: h5py.File) -> None:
    del h5["results/x"]
    h5["results/x"] = h5py.ExternalLink("/etc/hostname", "/x")


def _soft_link(h5: h5py.File) -> None:
    del h5["results/x"]
    h5["results/x"] = h5py.SoftLink("/results/V")


def _external_storage(h5: h5py.File) -> None:
    del h5["results/x"]
    h5["results"].create_dataset("x", (3,), "u1", external=[("/etc/hostname", 0, 3)])


def _virtual(h5: h5py.File) -> None:
    del h5["results/x"]
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (3,))
    h5["results"].create_virtual_dataset("x", layout)


def _huge(h5: h5py.File) -> None:
    del h5["results/x"]
    h5["results"].create_dataset("x", (3, 2**30), "f8", chunks=(1, 1024))


def _huge_chunk(h5: h5py.File) -> None:
    del h5["results/x"]
    h5["results"].create_dataset("x", (2**29,), "f8", chunks=(2**28,), compression=1)


def _group(h5: h5py.File) -> None:
    del h5["results/x"]
    h5.create_group("results/x")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_external_link, "leads out of the file"),
        (_soft_link, "leads out of the file"),
        (_external_storage, "data in other files"),
        (_virtual, "data in other files"),
        (_huge, "claims 25,769,803,776 bytes"),
        (_huge_chunk, "claims 2,147,483,648 bytes"),
        (_group, "is no dataset"),
        (lambda h5: h5.__delitem__("results/x"), "is not there"),
    ],
)
def test_columns_that_a_foreign_file_may_not_have(
    file: Path, spoil: Callable[[h5py.File], None], message: str
) -> None:
    with h5py.File(file, "a") as h5:
        spoil(h5)
    with Trajectory.open(file) as traj, pytest.raises(TrajectoryFormatError, match=message):
        _ = traj.res.x.values


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_set("format", "other"), "no trajectory of Expedition"),
        (_set("format_version", "2.0"), "format version 2.0, this Expedition reads 1.x"),
        (_set("format_version", "10.1"), "format version 10.1"),
        (lambda h5: h5.attrs.__delitem__("format_version"), r"has no format version: .*malformed or older"),
        (lambda h5: h5["_meta/schema"].__setitem__((), "[1]"), "is not its table of columns"),
        (lambda h5: h5["_meta/schema"].__setitem__((), '{"columns":{"x":{"at":1}}}'), "table of columns"),
        (lambda h5: h5["_meta/schema"].__setitem__((), "{"), "table of columns .not JSON"),
        (lambda h5: h5.__delitem__("_meta"), "_meta/schema is not there"),
        (lambda h5: h5.__delitem__("run"), "/run is not there"),
    ],
)
def test_files_of_another_format(file: Path, spoil: Callable[[h5py.File], None], message: str) -> None:
    with h5py.File(file, "a") as h5:
        spoil(h5)
    with pytest.raises(DamagedError, match=message):
        Trajectory.open(file)


def test_a_newer_minor_version_is_read(file: Path) -> None:
    with h5py.File(file, "a") as h5:
        h5.attrs["format_version"] = "1.7"
        h5.create_dataset("something/new", data=1)
    with Trajectory.open(file) as traj:
        assert traj.res.x[1] == 0.5


def test_a_file_of_many_megabytes_opens(file: Path) -> None:
    with h5py.File(file, "a") as h5:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((40_000_000,))
        h5py.h5d.create(h5.id, b"padding", h5py.h5t.NATIVE_DOUBLE, space, plan)
    assert file.stat().st_size > 300e6
    with Trajectory.open(file) as traj:
        assert traj[2].res.x == 1.0
        assert traj[1].id.startswith("exp_x.py::exp_x")


def test_another_hdf5_file_and_a_text(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as h5:
        h5["x"] = 1
    with pytest.raises(TrajectoryFormatError, match="no trajectory of Expedition"):
        Trajectory.open(path)
    path.write_text("hello")
    with pytest.raises(TrajectoryFormatError, match="no HDF5 file"):
        Trajectory.open(path)


@pytest.mark.parametrize("folder", ["../x", "/etc", "a/../../b"])
def test_run_folders_stay_inside_the_sweep(file: Path, folder: str) -> None:
    with h5py.File(file, "a") as h5:
        del h5["runs/folder"]
        h5.create_dataset("runs/folder", data=[folder] * 3, dtype=h5py.string_dtype())
    with Trajectory.open(file) as traj:
        with pytest.raises(TrajectoryFormatError, match="leaves the sweep folder"):
            _ = traj[0].folder
        with pytest.raises(TrajectoryFormatError, match="leaves the sweep folder"):
            _ = traj[0].res.odd


def test_references_stay_inside_the_run_folder(file: Path) -> None:
    tag = {"$": "npy", "file": "../../x.npy", "dtype": "<f8", "shape": [1], "crc": "0"}
    with h5py.File(file, "a") as h5:
        h5["results/odd"][0] = json.dumps(tag)
    with Trajectory.open(file) as traj, pytest.raises(DamagedError, match="leaves its folder"):
        _ = traj.res.odd[0]


def test_observations_outside_of_the_series(file: Path) -> None:
    with h5py.File(file, "a") as h5:
        h5["series/s/obs_start"][1] = 10**12
    with Trajectory.open(file) as traj, pytest.raises(TrajectoryFormatError, match="observations of run 1"):
        _ = traj.series.s[1]


def test_a_file_alone_works_but_for_what_stays_in_run_folders(file: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "copy.h5"
    alone.parent.mkdir()
    shutil.copy(file, alone)
    with Trajectory.open(alone) as traj:
        assert traj[1].res.x == 0.5
        assert traj[1].res.V[5] == 5.0
        assert traj[1].series.s.value.tolist() == [1.0, 2.0]
        with pytest.raises(DamagedError, match="missing"):
            _ = traj[1].res.odd


def test_a_closed_trajectory_says_so(file: Path) -> None:
    traj = Trajectory.open(file)
    column = traj.res.x
    traj.close()
    traj.close()
    assert "closed" in repr(traj)
    with pytest.raises(ValueError, match="is closed"):
        _ = column.values
    assert traj.refresh()
    assert traj.res.x[1] == 0.5
    traj.close()
