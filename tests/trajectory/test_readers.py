"""The file read without us: plain h5py, xarray with both engines, netCDF4."""

from __future__ import annotations

from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr

from expedition.trajectory import compile_trajectory
from tests.trajectory.conftest import BuildSweep, SweepBuilder

ENGINES = ["h5netcdf", "netcdf4"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trajectory with every encoding there is; the last of its six runs was never started."""
    rows = [{"alpha": a, "model.depth": d} for a in (0.1, 1.0, 10.0) for d in (1, 2)]
    grid = {"dims": ["alpha", "model.depth"], "shape": [3, 2]}
    constants = {"data": "mnist", "layers": [1, 2], "w": np.arange(3.0)}
    builder = SweepBuilder(tmp_path_factory.mktemp("readers") / "sweep", rows, constants, grid=grid)
    for i in range(5):
        data = {
            "rmse/mean": i / 2,
            "rmse/std": float("nan") if i else 1.0,
            "alpha": i,
            "flag": bool(i % 2),
            "text": f"é{i}",
            "c": 1j,
            "mixed": [1, "a", None, 2.5, [1]][i],
            "either": [1, 2.5, 3, 4, 5][i],
            "V": np.arange(200.0) + i,
            "M": np.full((2, 3), i, np.int32),
            "mask": np.array([True, False]),
            "ragged": np.arange(i),
            "status": "mine",
            "dt": np.datetime64("2026-01-01T00:00:00", "us"),
            "days": np.array(["2026-01-01", "NaT", "99999-01-01"], "M8[D]"),
            "stamps": np.array(["2026-01-01"] * (i + 1), "M8[ns]"),
            "twice": np.arange(4000.0) + i % 2,
            "some": np.arange(150_000 if i == 1 else i),
            "empty": np.zeros((0, 3)),
            "csr": sp.csr_array(np.eye(3 + i, dtype="f4")),
            "bsr": sp.bsr_array(np.eye(4), blocksize=(2, 2)),
            "frame": pd.DataFrame(
                {
                    "x": [i / 2],
                    "(y, 1)": ["é"],
                    "c": pd.Categorical(["u"]),
                    "t": pd.to_datetime(["2026-01-01"]),
                },
                index=pd.MultiIndex.from_tuples([("k", i)], names=["key", None]),
            ),
            "masked": np.ma.masked_array([1.5, 2.5], [False, i == 2]),
            "masks": np.ma.masked_array(np.arange(i), np.arange(i) % 2),
            "rec": np.full((2,), i, [("a", "i4"), ("b", [("c", "f2"), ("d", "f8", (2,))])]),
            "recs": np.full((i,), i, [("a", "i4"), ("b", "c8")]),
        }
        series = {
            "fold/rmse": [1.0, 2, None][: i + 1],
            "img": [np.full((20, 10), i)] * 2,
            "log": ["a"],
            "pic": [{"$": "file", "file": "data/series/p.png"}],
            "n": [1, 2],
            "own": [np.full((i, 2), i)] * 2,
            "at": [np.array(["2026-01-01"], "M8[us]")] * 2,
        }
        notes = {"rmse/mean": {"unit": "K", "comment": "root"}}
        builder.run(i, data, series=series, derived={"total": i}, annotations=notes, worker=f"gw{i % 2}")
    return compile_trajectory(builder.path)


def test_attributes_of_the_root(file: Path) -> None:
    with h5py.File(file) as h5:
        attrs = dict(h5.attrs)
        assert (attrs["Conventions"], attrs["format"]) == ("CF-1.11", "expedition-trajectory")
        assert (attrs["format_version"], attrs["n_runs"], attrs["complete"]) == ("1.0", 6, 0)
        assert list(attrs["explored"]) == ["alpha", "model.depth"]
        assert list(attrs["grid_dims"]) == ["alpha", "model.depth"]
        assert attrs["grid_shape"].tolist() == [3, 2]
        assert attrs["coordinates"].split()[:4] == ["id", "status", "replicate", "alpha"]
        assert h5["run"][:].tolist() == list(range(6))


def test_plain_h5py(file: Path) -> None:
    with h5py.File(file) as h5:
        assert h5["results/rmse/mean"][:5].tolist() == [0, 0.5, 1, 1.5, 2]
        assert np.isnan(h5["results/rmse/mean"][5])
        assert h5["results/rmse/mean"].attrs["unit"] == "K"
        assert h5["_state/results/rmse/std"][:].tolist() == [1, 1, 1, 1, 1, 0]
        assert h5["_state/results/either"][:].tolist() == [3, 1, 3, 3, 3, 0]
        assert h5["results/text"].asstr()[:].tolist() == ["é0", "é1", "é2", "é3", "é4", ""]
        assert h5["results/alpha"].attrs["_FillValue"] == -(2**63)
        assert h5["results/V"].shape == (6, 200)
        assert h5["results/mixed"].asstr()[4] == "[1]"
        status = h5["runs/status"][:].view("S7").ravel().tolist()
        assert status == [b"done"] * 5 + [b"pending"]
        start, count = h5["results/ragged/obs_start"][3], h5["results/ragged/obs_count"][3]
        assert h5["results/ragged/value"][start : start + count].tolist() == [0, 1, 2]
        assert h5["parameters/data"].asstr()[:].tolist() == ["mnist"] * 6
        assert h5["results.alpha"] == h5["results/alpha"]
        assert h5["alpha"] == h5["parameters/alpha"]
        assert h5["results.status"] == h5["results/status"]
        assert h5["rmse.mean"] == h5["results/rmse/mean"]
        assert "V" not in h5
        assert h5["annotations/results/rmse/mean"].attrs["comment"] == "root"


def test_no_encoding_that_breaks_a_reader(file: Path) -> None:
    """Every axis has a scale; there is nothing virtual, external, linked softly or of an odd dtype."""
    scales = []

    def visit(name: str, node: h5py.Dataset | h5py.Group) -> None:
        if not isinstance(node, h5py.Dataset):
            for link in node:
                assert isinstance(node.get(link, getlink=True), h5py.HardLink)
            return
        assert not node.is_virtual
        assert not node.external
        assert node.dtype not in (np.float16, np.longdouble)
        assert node.compression in (None, "gzip")
        assert h5py.check_vlen_dtype(node.dtype) in (None, str)
        if node.is_scale:
            scales.append(name)
            return
        for axis in range(node.ndim):
            assert len(node.dims[axis]) == 1, name

    with h5py.File(file) as h5:
        h5.visititems(visit)
        assert "run" in scales


@pytest.mark.parametrize("engine", ENGINES)
def test_xarray_root_is_a_flat_table(file: Path, engine: str) -> None:
    with xr.open_dataset(file, engine=engine) as ds:
        assert dict(ds.sizes) == {"run": 6}
        assert {"alpha", "model.depth", "data", "id", "status", "replicate"} <= set(ds.coords)
        assert ds["alpha"].values.tolist() == [0.1, 0.1, 1, 1, 10, 10]
        assert ds["status"].values.tolist() == ["done"] * 5 + ["pending"]
        assert ds["id"].values[0] == "exp_x.py::exp_x[alpha=0.1-model.depth=1-rep=0]"
        assert ds["rmse.mean"].values[:5].tolist() == [0, 0.5, 1, 1.5, 2]
        assert ds["rmse.mean"].attrs["unit"] == "K"
        assert ds["text"].values.tolist() == ["é0", "é1", "é2", "é3", "é4", ""]
        assert ds["flag"].values[:5].tolist() == [0, 1, 0, 1, 0]
        assert ds["dt"].values[0] == np.datetime64("2026-01-01")
        assert np.isnat(ds["dt"].values[5])
        assert ds["c"].values[0].tolist() in (1j, (0.0, 1.0))  # netCDF4 has no complex numbers
        assert ds["total"].values[:5].tolist() == [0, 1, 2, 3, 4]
        assert "V" not in ds
        grid = ds[["alpha", "model.depth", "rmse.mean"]].set_index(run=["alpha", "model.depth"]).unstack()
        assert grid["rmse.mean"].shape == (3, 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_xarray_groups(file: Path, engine: str) -> None:
    with xr.open_dataset(file, engine=engine, group="results") as results:
        assert results["V"].shape == (6, 200)
        assert results["V"].values[4, 7] == 11
        assert results["M"].values[3].tolist() == [[3, 3, 3], [3, 3, 3]]
    with xr.open_datatree(file, engine=engine) as tree:
        assert tree["results/rmse/mean"].values[4] == 2
        assert tree["results/ragged/value"].values.tolist() == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3]
        runs = tree["runs"]
        assert runs["worker"].values.tolist() == ["gw0", "gw1", "gw0", "gw1", "gw0", ""]
        assert len(runs["key"].values[0]) == 64
        assert runs["start"].values[0] == np.datetime64("2023-11-14T22:13:20")
        assert np.isnat(runs["stop"].values[5])
        series = tree["series/fold/rmse"]
        assert series["value"].values[:3].tolist() == [1, 1, 2]
        assert series["time"].values[0] == np.datetime64("2023-11-14T22:13:20")
        assert series["obs_count"].attrs["sample_dimension"] in series.sizes
        assert tree["series/img/value"].shape == (10, 20, 10)
        assert tree["series/pic/value"].values[0] == "data/series/p.png"
        assert tree["_state/series/fold/rmse"].values[:6].tolist() == [1, 1, 3, 1, 3, 2]
        assert tree["_state/results/V"].values.tolist() == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("engine", ENGINES)
def test_xarray_finds_the_parts_of_values(file: Path, engine: str) -> None:
    with xr.open_datatree(file, engine=engine) as tree:
        for node in tree.subtree:
            node.load()
        csr = tree["results/csr"]
        start, count = int(csr["nnz_start"][2]), int(csr["nnz_count"][2])
        assert csr["data"].values[start : start + count].tolist() == [1.0] * 5
        assert csr["shape"].dims == ("run", "csr_axis")
        assert tree["results/bsr/data"].shape == (10, 2, 2)
        frame = tree["results/frame"]
        assert frame["x"].values.tolist() == [0, 0.5, 1, 1.5, 2]
        assert frame["(y, 1)"].values.tolist() == ["é"] * 5
        assert frame["t"].values[0] == np.datetime64("2026-01-01")
        assert frame["x"].dims == ("frame_row",)
        assert tree["results/masked/value"].dims == ("run", "masked_dim1")
        assert tree["results/masked/mask"].values[2].tolist() == [0, 1]
        assert tree["results/rec/b.d"].shape == (6, 2, 2)
        assert tree["results/twice/value"].dims == ("twice_distinct", "value_dim1")
        assert tree["results/twice/index"].values.tolist() == [0, 1, 0, 1, 0, -1]
        assert tree["parameters/w/value"].values.tolist() == [[0, 1, 2]]
        assert tree["results/stamps/value"].values[0] == np.datetime64("2026-01-01")
        assert tree["results/days"].values[0, 0] == 20454
        assert tree["series/own/value"].shape == (2 * sum(2 * i for i in range(5)),)
        assert tree["series/at/value"].values[0, 0] == np.datetime64("2026-01-01")
        assert "file" in tree["results/some/json"].values[1]


def test_netcdf4_reads_every_variable(file: Path) -> None:
    def walk(group: netCDF4.Group) -> int:
        for variable in group.variables.values():
            variable[...]
        return len(group.variables) + sum(map(walk, group.groups.values()))

    with netCDF4.Dataset(file) as nc:
        assert walk(nc) > 50
        assert nc["results/rmse/mean"][4] == 2
        assert nc["runs/status"][:].tolist() == ["done"] * 5 + ["pending"]


def test_many_columns_keep_to_the_limits(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}, {"i": 1}])
    builder.run(0, tagged={f"g{k // 100}/m{k:03d}": k + 0.5 for k in range(520)})
    path = compile_trajectory(builder.path)
    with h5py.File(path) as h5:
        assert len([name for name in h5 if isinstance(h5[name], h5py.Dataset)]) < 512
    with xr.open_dataset(path, engine="netcdf4") as ds:
        assert ds["g1.m150"].values[0] == 150.5
    with xr.open_dataset(path, engine="netcdf4", group="results/g5") as ds:
        assert ds["m519"].values[0] == 519.5
