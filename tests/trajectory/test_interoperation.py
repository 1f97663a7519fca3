"""A file with every kind of column, opened with nothing but h5py, netCDF4 and xarray."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr

from expedition.trajectory import Trajectory, compile_trajectory
from expedition.trajectory.file import format as fmt
from tests.trajectory.conftest import SweepBuilder

N = 6
"""Runs; the last one was never started."""
ENGINES = ["h5netcdf", "netcdf4"]
KINDS = {"bool", "int", "float", "text", "datetime", "timedelta", "complex", "json"}
KINDS |= {"array", "frame", "masked", "sparse", "structured"}
ENCODINGS = {"json", "ragged", "tail", "indexed"}
SERIES_KINDS = {"bool", "int", "float", "array", "file", "json"}

# Results that every run has but the last: as they were stored, and as a plain reader sees them.
SCALARS: dict[str, tuple[Callable[[int], Any], Callable[[int], Any]]] = {
    "float": (lambda i: i / 4, lambda i: i / 4),
    "group/deep": (lambda i: i / 8, lambda i: i / 8),
    "int": (lambda i: 2**53 + 1 + i, lambda i: 2**53 + 1 + i),
    "text": (lambda i: f"é{i}\n", lambda i: f"é{i}\n"),
    "narrow": (lambda i: np.float32(i), float),
    "byte": (lambda i: np.uint8(i), int),
    "either": (lambda i: [1, 2.5, 3, 4, 5][i], lambda i: float([1, 2.5, 3, 4, 5][i])),
    "lag": (lambda i: dt.timedelta(seconds=i), float),
    "tuple": (lambda i: (i,), lambda i: json.dumps({"$": "tuple", "v": [i]}, separators=(",", ":"))),
}


def other_results(i: int) -> dict[str, Any]:
    """Results of all other kinds."""
    frame = pd.DataFrame(
        {"a": np.arange(3) + i, "b": ["x", "y", None]}, index=pd.Index(["p", "q", "r"], name="k")
    )
    return {
        "flag": bool(i % 2),
        "when": dt.datetime(2026, 1, 1 + i),
        "utc": dt.datetime(2026, 1, 1 + i, tzinfo=dt.UTC),
        "moment": np.datetime64(i, "ns"),
        "span": np.timedelta64(i, "ms"),
        "complex": complex(i, 1),
        "half": np.float16(i),
        "none": None,
        "mixed": [1, "a", None, 2.5, [1]][i],
        "big": 10**30 + i,
        "V": np.arange(40.0) + i,
        "M": np.full((2, 3), i, np.int32),
        "mask": np.array([True, False, i % 2 == 0]),
        "cplx": np.array([1j * i, 1.0]),
        "halves": np.arange(200, dtype=np.float16),
        "swapped": np.arange(200, dtype=">i4") + i,
        "ragged": np.arange(i + 1.0),
        "empty": np.empty((0, 3)),
        "odd": [np.arange(300.0), i],
        "frame": frame,
        "table": frame["a"],
        "sparse": scipy.sparse.random(20, 20, 0.1, format="csr", random_state=i),
        "masked": np.ma.array(np.arange(300.0), mask=np.arange(300) % 2 == 0),
        "struct": np.array([(i, 1.5)] * 20, dtype=[("a", "i4"), ("b", "f8")]),
        "texts": np.array(["a", "bc"]),
        "status": "mine",
        "alpha": i,
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"alpha": a, "model.depth": d} for a in (0.1, 1.0, 10.0) for d in (1, 2)]
    grid = {"dims": ["alpha", "model.depth"], "shape": [3, 2]}
    constants = {"data": "mnist", "layers": [1, 2], "w": np.arange(3.0), "same": np.arange(500.0)}
    builder = SweepBuilder(tmp_path_factory.mktemp("kinds") / "sweep", rows, constants, grid=grid)
    for i in range(N - 1):
        data = {name: stored(i) for name, (stored, _) in SCALARS.items()} | other_results(i)
        series = {
            "loss": [0.5, 1.5][: i + 1],
            "count": [1, 2],
            "ok": [True],
            "img": [np.full((20, 10), i)] * 2,
            "grows": [np.arange(i + 1.0)] * 2,
            "log": ["a", {"b": 1}],
            "pic": [{"$": "file", "file": "data/series/p.png"}],
            "holes": [1.0, None, 2],
        }
        notes = {"float": {"unit": "K", "comment": "a number"}}
        builder.run(i, data, series=series, derived={"total": i}, annotations=notes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fmt, "LEAF_LIMIT", len(SCALARS) + 25)
        with pytest.warns(UserWarning, match="share one JSON column"):
            return compile_trajectory(builder.path)


def test_the_file_has_every_kind(file: Path) -> None:
    with h5py.File(file) as h5:
        columns = json.loads(h5["_meta/schema"][()])["columns"]
    leaves = [entry for path, entry in columns.items() if not path.startswith("series/")]
    assert {entry["kind"] for entry in leaves} >= KINDS
    assert {entry.get("encoding") for entry in leaves} >= ENCODINGS
    assert {entry["kind"] for path, entry in columns.items() if path.startswith("series/")} >= SERIES_KINDS
    assert len(columns) > 50


def test_plain_h5py(file: Path) -> None:
    with h5py.File(file) as h5:
        found: list[str] = []
        h5.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None)
        for name in found:
            h5[name][...]
            assert h5[name].compression in (None, "gzip")
            assert h5py.check_vlen_dtype(h5[name].dtype) in (None, str)
            assert h5[name].dtype.str[1:] not in ("f2", "f16")
        for name, (_, seen) in SCALARS.items():
            node = h5[f"results/{name}"]
            values = node.asstr()[:].tolist() if h5py.check_string_dtype(node.dtype) else node[:].tolist()
            assert values[: N - 1] == [seen(i) for i in range(N - 1)], name
        assert h5["results/V"][2, 5] == 7.0
        assert h5["results/flag"][: N - 1].tolist() == [0, 1, 0, 1, 0]
        assert h5["results/when"][1] == 1_767_312_000_000_000
        assert h5["run"][:].tolist() == list(range(N))
        start, count = (h5[f"series/loss/{name}"][3] for name in ("obs_start", "obs_count"))
        assert h5["series/loss/value"][start : start + count].tolist() == [0.5, 1.5]


def walk(group: netCDF4.Dataset | netCDF4.Group) -> Iterator[netCDF4.Variable]:
    """Every variable of a group and below."""
    yield from group.variables.values()
    for below in group.groups.values():
        yield from walk(below)


def test_netcdf4(file: Path) -> None:
    with netCDF4.Dataset(file) as nc:
        variables = list(walk(nc))
        assert len(variables) > 80
        for variable in variables:
            variable[...]
            assert len(variable.dimensions) == variable.ndim
        for name, (_, seen) in SCALARS.items():
            values = nc[f"results/{name}"][: N - 1].tolist()
            assert values == [seen(i) for i in range(N - 1)], name
        assert nc["results/float"][N - 1] is np.ma.masked or np.isnan(nc["results/float"][N - 1])
        assert nc["results/int"][N - 1] is np.ma.masked
        assert nc["results/V"][2, 5] == 7.0
        when = nc["results/when"]
        assert netCDF4.num2date(when[1], when.units, when.calendar).isoformat() == "2026-01-02T00:00:00"
        assert nc["runs/status"][:].tolist() == ["done"] * (N - 1) + ["pending"]
        assert nc["results/float"].unit == "K"
        assert nc.Conventions == "CF-1.11"


@pytest.mark.parametrize("engine", ENGINES)
def test_xarray_opens_the_flat_table(file: Path, engine: str) -> None:
    with xr.open_dataset(file, engine=engine) as ds:
        ds.load()
        assert dict(ds.sizes) == {"run": N}
        assert ds["group.deep"].values[: N - 1].tolist() == [i / 8 for i in range(N - 1)]
        assert ds["text"].values.tolist() == [f"é{i}\n" for i in range(N - 1)] + [""]
        assert ds["float"].attrs["unit"] == "K"
        assert ds["when"].values[1] == np.datetime64("2026-01-02")
        assert ds["moment"].values[3] == np.datetime64(3, "ns")
        assert ds["lag"].dtype == np.float64
        assert np.isnat(ds["utc"].values[N - 1])
        assert {"alpha", "model.depth", "id", "status", "replicate"} <= set(ds.coords)
        exact = xr.open_dataset(file, engine=engine, mask_and_scale=False)
        assert exact["int"].values[: N - 1].tolist() == [2**53 + 1 + i for i in range(N - 1)]
        exact.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_xarray_opens_every_group(file: Path, engine: str) -> None:
    with h5py.File(file) as h5:
        groups: list[str] = []
        h5.visititems(lambda name, node: groups.append(name) if isinstance(node, h5py.Group) else None)
    for group in groups:
        with xr.open_dataset(file, engine=engine, group=group) as ds:
            ds.load()
    with xr.open_datatree(file, engine=engine) as tree:
        tree.load()
        assert tree["results/M"].values[3].tolist() == [[3] * 3] * 2
        assert tree["results/ragged/value"].values[:3].tolist() == [0, 0, 1]
        assert tree["series/loss/value"].values[:3].tolist() == [0.5, 0.5, 1.5]
        assert tree["series/img/value"].values[2].tolist() == [[1] * 10] * 20
        assert tree["runs/status"].values.tolist() == ["done"] * (N - 1) + ["pending"]


def test_expedition_reads_the_same_file(file: Path) -> None:
    with Trajectory.open(file) as traj:
        for i in range(N - 1):
            run = traj[i]
            for name, (stored, _) in SCALARS.items():
                assert run.results[name] == stored(i)
                assert type(run.results[name]) is type(stored(i))
            assert run.res.V.tolist() == (np.arange(40.0) + i).tolist()
            assert run.res["big"] == 10**30 + i
            assert run.res.frame.equals(other_results(i)["frame"])
            assert run.params.same.tolist() == list(range(500))
        assert list(traj[N - 1].results) == []
