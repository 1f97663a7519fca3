"""Backups of a trajectory file, and files rewritten without lost space."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from expedition.errors import (
    ExperimentError,
    NameNotFoundError,
    OutputExistsError,
    RecordNotFoundError,
    TrajectoryFormatError,
)
from expedition.trajectory import Trajectory, backup, compact, compile_trajectory
from tests.trajectory.conftest import BuildSweep, SweepBuilder


def fill(builder: SweepBuilder, runs: int = 4) -> Path:
    """Record runs with every kind of column, and compile."""
    for index in range(runs):
        data = {
            "x": index + 0.5,
            "mixed": index if index % 2 else None,
            "note": f"run {index}",
            "same": "constant",
            "list": [1, index],
            "V": np.arange(200.0).reshape(20, 10) + index,
            "r": np.arange(index + 2),
            "g/a": index,
            "g/b": 2.0 * index,
        }
        series = {"s": [1, 2.5, None], "t": ["a", "b"], "w": [np.arange(3.0)] * 2}
        annotations = {"x": {"unit": "K", "comment": f"said by {index}"}}
        builder.run(index, data, series=series, annotations=annotations)
    return compile_trajectory(builder.path)


@pytest.fixture
def file(build_sweep: BuildSweep) -> Path:
    return fill(build_sweep([{"i": i} for i in range(4)], {"c": 1.5}))


def waste(file: Path) -> None:
    """Leave space in a file that nothing uses any more."""
    with h5py.File(file, "r+") as h5:
        h5.create_dataset("junk", data=np.random.default_rng(0).random(50_000))
    with h5py.File(file, "r+") as h5:
        h5.create_dataset("behind", data=1)
    with h5py.File(file, "r+") as h5:
        del h5["junk"]
        del h5["behind"]


def tree(file: Path) -> dict[str, Any]:
    """Everything in a file, without h5py objects: shapes, storage, values, attributes, axes, shared names."""
    found: dict[str, Any] = {}
    with h5py.File(file) as h5:
        paths: dict[Any, list[str]] = {}

        def visit(path: str, node: Any) -> None:
            about: list[Any] = []
            for name in node.attrs:
                if name not in ("DIMENSION_LIST", "REFERENCE_LIST"):
                    about.append((name, repr(node.attrs[name]), node.attrs.get_id(name).dtype))
            if isinstance(node, h5py.Dataset):
                about += [node.shape, node.maxshape, node.dtype, node.chunks, node.compression, node.shuffle]
                about += [
                    str(node.fillvalue),
                    [sorted(scale.name for scale in dim.values()) for dim in node.dims],
                ]
                about.append([repr(value) for value in np.atleast_1d(node[()]).reshape(-1).tolist()])
            found[path] = about
            paths.setdefault(h5py.h5o.get_info(node.id).addr, []).append(path)

        def walk(group: h5py.Group, start: str) -> None:
            for name, node in group.items():
                if name != "checksum":
                    visit(f"{start}/{name}", node)
                    if isinstance(node, h5py.Group):
                        walk(node, f"{start}/{name}")

        visit("", h5)
        walk(h5, "")
        found["links"] = sorted(sorted(names) for names in paths.values() if len(names) > 1)
    return found


def test_a_backup_is_the_file_under_a_name_with_the_time(file: Path) -> None:
    with Trajectory.open(file) as traj:
        copy = traj.backup()
        assert copy.parent == file.parent
        assert copy.name.startswith("trajectory.backup-20")
        assert copy.suffix == ".h5"
        assert copy.read_bytes() == file.read_bytes()
        assert traj.backup() != copy
    with Trajectory.open(copy) as traj:
        assert traj.res.x.values.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_a_backup_goes_where_it_is_told_and_replaces_nothing(file: Path, tmp_path: Path) -> None:
    assert backup(file.parent, tmp_path / "kept.h5").read_bytes() == file.read_bytes()
    with pytest.raises(OutputExistsError, match=r"kept\.h5 already"), Trajectory.open(file) as traj:
        traj.backup(tmp_path / "kept.h5")
    (tmp_path / "folder").mkdir()
    assert backup(file, tmp_path / "folder").parent == tmp_path / "folder"
    assert not [path for path in tmp_path.rglob("*") if ".tmp-" in path.name]


def test_what_is_no_trajectory_is_not_backed_up(tmp_path: Path, file: Path) -> None:
    with pytest.raises(RecordNotFoundError, match="no trajectory"):
        backup(tmp_path / "none.h5")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(TrajectoryFormatError, match="truncated"):
        backup(file)
    assert [path.name for path in file.parent.glob("*.h5")] == ["trajectory.h5"]


def test_compacting_frees_the_lost_space_and_changes_nothing_else(file: Path) -> None:
    before = tree(file)
    size = file.stat().st_size
    waste(file)
    with Trajectory.open(file) as traj:
        wasted = file.stat().st_size
        done = traj.compact()
        assert done.before == wasted > size + 300_000
        assert done.after == file.stat().st_size < size * 1.1
        assert traj.res.x.values.tolist() == [0.5, 1.5, 2.5, 3.5]  # of the new file, which is open now
    assert tree(file) == before
    assert len(list(file.parent.glob("*.h5*"))) == 1


def test_a_file_that_cannot_become_smaller_stays(file: Path) -> None:
    content, size = file.read_bytes(), file.stat().st_size
    assert compact(file.parent) == (size, size)
    assert file.read_bytes() == content


def test_compacting_to_another_file_leaves_the_first_one(file: Path, tmp_path: Path) -> None:
    waste(file)
    content = file.read_bytes()
    done = compact(file, tmp_path / "small.h5")
    assert file.read_bytes() == content
    assert done.after == (tmp_path / "small.h5").stat().st_size < done.before
    assert tree(tmp_path / "small.h5") == tree(file)
    with pytest.raises(OutputExistsError, match=r"small\.h5 already"):
        compact(file, tmp_path / "small.h5")


def test_a_compacted_file_opens_in_netcdf_and_xarray(file: Path, tmp_path: Path) -> None:
    compact(file, tmp_path / "small.h5")
    for engine in ("h5netcdf", "netcdf4"):
        with xr.open_dataset(tmp_path / "small.h5", engine=engine) as data:
            assert data.sizes["run"] == 4
            assert data["x"].values.tolist() == [0.5, 1.5, 2.5, 3.5]
        with xr.open_dataset(tmp_path / "small.h5", engine=engine, group="results") as data:
            assert data["V"].dims == ("run", "V_dim1", "V_dim2")
    with netCDF4.Dataset(tmp_path / "small.h5") as data:
        assert data["results/x"].dimensions == ("run",)


def test_scales_of_very_many_columns_keep_their_short_list(
    file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("expedition.trajectory.file.format.SCALE_LIMIT", 3)
    compact(file, tmp_path / "small.h5")
    with h5py.File(tmp_path / "small.h5") as h5:
        assert len(h5["run"].attrs["REFERENCE_LIST"]) == 3
        assert h5["results/x"].dims[0][0].name == "/run"
    for engine in ("h5netcdf", "netcdf4"):
        with xr.open_dataset(tmp_path / "small.h5", engine=engine) as data:
            assert data["x"].dims == ("run",)


def test_a_newer_file_that_comes_meanwhile_is_the_one_that_stays(
    build_sweep: BuildSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from expedition.trajectory import rewriting

    builder = build_sweep([{"i": i} for i in range(5)])
    file = fill(builder)
    waste(file)
    publish, calls = rewriting.rewrite, []

    def slow(*arguments: Any) -> None:
        publish(*arguments)
        if not calls:
            builder.run(4, {"x": 4.5})
            compile_trajectory(builder.path)
        calls.append(arguments)

    monkeypatch.setattr("expedition.trajectory.copies.rewrite", slow)
    compact(file)
    assert len(calls) == 2
    with Trajectory.open(file) as traj:
        assert traj.res.x.values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_the_sweep_goes_on_after_its_file_was_compacted(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(5)])
    waste(fill(builder))
    compact(builder.path)
    builder.run(4, {"x": 4.5})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.res.x.values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
        assert traj[3].res.note == "run 3"


def test_columns_can_be_dropped(file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.h5"
    with Trajectory.open(file) as traj:
        done = traj.compact(small, drop=["results/V", "g", "series.s", "note"])
        assert done.after < done.before
        assert "V" in traj.results
    with Trajectory.open(small) as traj:
        assert list(traj.results) == ["x", "mixed", "same", "list", "r"]
        assert list(traj.series) == ["t", "w"]
        assert traj.res.x.unit == "K"
        assert traj[1].res.r.tolist() == [0, 1, 2]
        assert list(traj.to_pandas().columns) == [
            "i",
            "c",
            "replicate",
            "status",
            "x",
            "mixed",
            "same",
            "list",
        ]
    with h5py.File(small) as h5:
        names: list[str] = []
        h5.visit(names.append)
        gone = ("V", "V_dim1", "V_dim2", "note", "g.a", "a", "b", "s", "s_obs")
        assert not [name for name in names if name.rpartition("/")[2] in gone]
    for engine in ("h5netcdf", "netcdf4"):
        with xr.open_dataset(small, engine=engine) as data:
            assert "x" in data
            assert "note" not in data
    compact(small, drop="results/r")  # a file that stands alone, in place
    with Trajectory.open(small) as traj:
        assert "r" not in traj.results


def test_links_to_what_is_dropped_go_with_it(file: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(file, tmp_path / "alone.h5"))
    with Trajectory.open(alone) as traj:
        traj.link("best", "results/x")
        traj.link("field", "results/V")
        traj.compact(drop="V")
        assert traj.links == {"best": "results/x"}
        assert traj.best.values[0] == 0.5


def test_what_cannot_be_dropped(file: Path, tmp_path: Path) -> None:
    with pytest.raises(NameNotFoundError, match=r"has no 'results/vv'"):
        compact(file, tmp_path / "a.h5", drop="results/vv")
    with pytest.raises(NameNotFoundError, match=r"parameters/i tells the runs apart"):
        compact(file, tmp_path / "a.h5", drop="i")
    with pytest.raises(
        ExperimentError, match=r"compiled from the runs of its sweep.*compact\(path, to, drop"
    ):
        compact(file, drop="results/V")
    assert not (tmp_path / "a.h5").exists()


def test_links_out_of_the_file_are_not_followed(file: Path) -> None:
    with h5py.File(file, "r+") as h5:
        h5["results/out"] = h5py.ExternalLink("/etc/hostname", "/x")
    before = file.read_bytes()
    with pytest.raises(TrajectoryFormatError, match="results/out leads out of the file"):
        compact(file)
    assert file.read_bytes() == before
