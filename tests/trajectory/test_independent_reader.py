"""`examples/read_trajectory.py`, written from the format page alone, reads what `Trajectory` reads."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from expedition import Codec, Trajectory, register_codec
from expedition.trajectory import compile_trajectory
from expedition.values import MISSING, codecs, decode, encode
from tests.trajectory.conftest import SweepBuilder
from tests.values.equality import exactly_equal

SCRIPT = Path(__file__).parents[2] / "examples" / "read_trajectory.py"
N = 7


@dataclass
class Point:
    x: int


class PointCodec(Codec):
    name = "point"
    types = (Point,)

    def encode(self, value: Point) -> Any:
        return [value.x, np.arange(value.x)]

    def decode(self, parts: Any, version: int) -> Point:
        return Point(parts[0])


def _typed_data(i: int) -> dict[str, Any]:
    """Every kind of scalar column, with all cells and with holes."""
    day = datetime(2026, 1, 1) + timedelta(microseconds=i)
    plain = {
        "bool": bool(i % 2),
        "int": i - 3,
        "float": i / 3 if i else float("nan"),
        "float_or_int": [0.5, 1, 2.5, 3, -0.0, 5][i],
        "float_or_numpy": [0.5, np.float64(1.5), float("inf"), np.float64("nan"), 4.0, 5.0][i],
        "int_or_numpy": np.int64(i) if i % 2 else i,
        "complex": complex(i, -0.0),
        "text": ["", "é", "a\nb", "日本", "x" * 300, "5"][i],
        "same_text": "always",
        "naive": day,
        "utc": day.replace(tzinfo=UTC),
        "delta": timedelta(days=i, microseconds=1),
        "none": None,
        "numpy/str": np.str_(f"s{i}"),
        "numpy/M8": np.datetime64("2026-01-01", "D") + i,
        "numpy/m8": np.timedelta64(i, "ms"),
        "json/mixed": [1, "a", None, {"b": (1,)}, b"x", Decimal("1.5")][i],
        "json/nul": "a\0b",
        "json/big": 2**70 + i,
        "json/point": Point(i),
        "json/dollar": {"$": i},
    }
    for name in (
        "bool_",
        "int8",
        "uint8",
        "int32",
        "uint64",
        "float16",
        "float32",
        "complex64",
        "longdouble",
    ):
        plain[f"numpy/{name}"] = getattr(np, name)(i % 2)
    holes = {f"holes/{name}": value for name, value in plain.items() if i not in (1, 4)}
    nones = {f"nones/{name}": None if i == 2 else value for name, value in plain.items()}
    return {**plain, **holes, **nones}


def _array_data(i: int) -> dict[str, Any]:
    stacked: dict[str, Any] = {
        name: (np.arange(6).reshape(2, 3) + i).astype(name)
        for name in ("?", "<f8", ">i4", "<f2", "<u2", "<c8", "<i8")
    }
    data = {f"stacked/{name.strip('<>?') or 'bool'}": array for name, array in stacked.items()}
    data |= {f"holes/{name}": array for name, array in data.items() if i != 3}
    data["stacked/large"] = np.random.default_rng(i).random((300, 200)) if i != 1 else None
    data["ragged/one"] = np.arange(float(i))
    data["ragged/two"] = None if i == 1 else np.arange(2 * i, dtype=">i2").reshape(i, 2)
    data["ragged/large"] = np.arange(1000 + i) if i != 2 else np.arange(0)
    data["ragged/some"] = np.arange(200_000 * (i % 2) + 3)
    data["stacked/times"] = np.arange(20).astype("M8[ns]") + i
    data["repeated/array"] = np.random.default_rng(i % 2).random(4000) if i else None
    data["repeated/ragged"] = np.random.default_rng(i % 2).random(4000 + i % 2)
    data["json/arrays"] = [np.arange(i), 1][i % 2]
    data["json/references"] = [np.arange(200_000), i]
    return data


def _composite_data(i: int) -> dict[str, Any]:
    """Values that are made of several arrays."""
    dense = np.eye(20) * (i + 1)
    record = np.dtype([("a", ">i4"), ("b", [("c", "<f2"), ("d", "<f8", (2,))])])
    frame = pd.DataFrame(
        {
            "x": np.arange(40.0 + i),
            "text": ["a", None] * 20 + ["b"] * i,
            "when": pd.date_range("2026-01-01", periods=40 + i, tz="Europe/Berlin"),
            "label": pd.Categorical(["u", "v"] * 20 + ["u"] * i),
            "maybe": pd.array([1, None] * 20 + [3] * i, dtype="Int64"),
        }
    )
    values = {
        "csr": sparse.csr_array(dense),
        "bsr": sparse.bsr_array(dense, blocksize=(2, 2)),
        "coo": sparse.coo_matrix(dense),
        "dia": sparse.dia_array(dense),
        "either": [sparse.csr_array(dense), sparse.csr_matrix(dense)][i % 2],
        "frame": frame,
        "order": frame if i % 2 else frame[["text", "x"]],
        "column": frame["x"],
        "masked": np.ma.masked_array(np.arange(200) + i, np.arange(200) % (i + 2) == 0),
        "masked_ragged": np.ma.masked_array(np.arange(200.0 + i), np.arange(200 + i) % 3 == 0),
        "records": np.zeros((5, 10), record),
        "records_ragged": np.ones(100 + i, record),
    }
    holes = {f"{name}_with_holes": value if i % 3 else None for name, value in values.items() if i != 4}
    return {f"composite/{name}": value for name, value in (values | holes).items()}


def _series(i: int) -> dict[str, Any]:
    return {
        "loss": [1.0, 2, float("nan"), None][: i + 1],
        "numpy": [np.float64(1), 2.0, np.float64("nan")],
        "fold/int": list(range(i)),
        "fold/bool": [True, False, None][: i + 1],
        "f4": [np.float32(0.1)] * 2,
        "small": [np.full((2, 2), i, ">i4")] * (i % 3),
        "large": [np.random.default_rng(i).random(200)] * 3,
        "growing": [np.arange(3.0 + i), np.ones(3 + i)],
        "times": [np.arange(3).astype("M8[us]")] * 2,
        "pictures": [{"$": "file", "file": f"data/series/p_{i}.png"}],
        "texts": ["a", 2**70, [i]],
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A trajectory with every kind of column; its last run was never started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codecs, "_registered", {})
        register_codec(PointCodec())
        folder = tmp_path_factory.mktemp("reader") / "sweep"
        rows = [{"alpha": i / 2, "model.depth": i, "mode": "ab"[i % 2]} for i in range(N)]
        constants = {"data": "mnist", "w": np.arange(3.0), "point": Point(3), "nested.name": (1, 2)}
        builder = SweepBuilder(folder, rows, constants)
        for i in range(N - 1):
            data = {
                **_typed_data(i),
                **_array_data(i),
                **_composite_data(i),
                "x": i,
                "_odd name ": i,
                "x_dim1": i,
                "alpha": i,
            }
            data |= {f"many/{number}": number + i for number in range(1200)}
            data |= {"many/object": Point(1), "many/last": None if i else "a"}
            error = "ValueError: " + "é" * 600 if i == 2 else None
            derived = {"total": i, "point": Point(i)}
            builder.run(
                i, data, series=_series(i), derived=derived, error=error, seed=2**63 + i, attempt=i % 2
            )
        with pytest.warns(UserWarning, match="share one JSON column"):
            yield compile_trajectory(builder.path)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("read_trajectory", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_column_over_runs(file: Path, script: ModuleType) -> None:
    reader = script.Reader(file)
    kinds = set()
    with Trajectory.open(file) as traj:
        for path, entry in reader.columns.items():
            if path.startswith("series/"):
                continue
            ours = traj[path].tolist(MISSING)
            for row, cell in enumerate(reader.column(path)):
                theirs = MISSING if cell is script.MISSING else cell
                if cell is not script.MISSING and (type(cell) is dict or entry["kind"] == "json"):
                    theirs = whole(cell, traj[row].folder)
                assert exactly_equal(ours[row], theirs), (path, row)
            kinds.add((entry["kind"], entry.get("encoding")))
    scalars = {"bool", "int", "float", "complex", "text", "datetime", "timedelta"}
    assert kinds == {
        *((kind, None) for kind in scalars),
        *(("json", how) for how in ("json", "tail")),
        *(("array", how) for how in (None, "ragged", "indexed")),
        *(("sparse", f"{style}-per-run") for style in ("csr", "bsr", "coo", "dia")),
        ("frame", "frame-per-run"),
        *(("masked", how) for how in ("masked", "masked-ragged")),
        *(("structured", how) for how in ("fields", "fields-ragged")),
    }


def whole(tree: Any, folder: Path) -> Any:
    """Return the value of tagged JSON in which arrays may stand as they are."""
    if not isinstance(tree, dict) or tree.get("$") != "fields":
        return decode(_tagged(tree), folder=folder)
    array: Any = None
    for steps, part in tree["fields"]:
        if array is None:  # the first field has no axes of its own here
            array = np.zeros(part.shape, _dtype(tree["dtype"]))
        target = array
        for step in steps:
            target = target[step]
        target[...] = part
    return array


def _dtype(tree: Any) -> np.dtype[Any]:
    if isinstance(tree, str):
        return np.dtype(tree)
    return np.dtype([(name, _dtype(kind), *map(tuple, shape)) for name, kind, *shape in tree])


def _tagged(tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        return encode(tree)
    if isinstance(tree, dict):
        return {key: _tagged(item) for key, item in tree.items()}
    return [_tagged(item) for item in tree] if isinstance(tree, list) else tree


def test_every_series(file: Path, script: ModuleType) -> None:
    reader = script.Reader(file)
    kinds = set()
    with Trajectory.open(file) as traj:
        for path, entry in reader.columns.items():
            if not path.startswith("series/"):
                continue
            for row, (step, time, values) in enumerate(reader.column(path)):
                ours = traj[path][row]
                assert exactly_equal((ours.step, ours.time), (step, time)), path
                if entry["kind"] == "json":
                    values = [decode(value) for value in values]
                elif entry["kind"] == "file":
                    values = [str(traj[row].folder / value) for value in values]
                assert len(ours.value) == len(values)
                for one, other in zip(ours.value, values, strict=True):
                    # Arrays of numbers have one dtype, in which None is NaN and an int a float.
                    same = exactly_equal(one, other) or np.array_equal(one, _as(other, one), equal_nan=True)
                    assert same, (path, row, one, other)
            kinds.add(entry["kind"])
    assert kinds == {"float", "int", "bool", "array", "file", "json"}


def _as(value: Any, like: Any) -> Any:
    fill = -1 if like.dtype.kind in "bi" else np.nan
    return np.asarray(fill if value is None else value).astype(like.dtype)


def test_every_field_of_the_runs(file: Path, script: ModuleType) -> None:
    reader = script.Reader(file)
    with Trajectory.open(file) as traj:
        for name in traj.runs:
            if name in reader.file["runs"]:
                assert exactly_equal(traj.runs[name].tolist(), reader.field(name)), name
    assert reader.field("error")[2] == "ValueError: " + "é" * 600
    assert reader.field("seed")[0] == 2**63
    assert reader.field("status")[-1] == "pending"
    assert reader.field("start")[-1] is None


@pytest.mark.parametrize("column", [None, "results/int", "series/loss", "status", "runs/start"])
def test_the_command_line_needs_nothing_of_ours(file: Path, column: str | None) -> None:
    program = (
        "import runpy, sys; sys.modules['expedition'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    arguments = [str(file), *([column] if column else [])]
    command = [sys.executable, "-c", program, str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    if column is None:
        assert lines[0] == "A built sweep. (7 runs, complete: False)"
        assert any(line.split() == ["results/int", "int"] for line in lines)
    elif column != "series/loss":
        assert len(lines) == N
        expected = {"results/int": "-3", "status": "done", "runs/start": "2023-11-14 22:13:20+00:00"}
        assert lines[0].endswith(f"]\t{expected[column]}")


def test_it_refuses_what_is_none(tmp_path: Path, script: ModuleType) -> None:
    for version, kind in (("1.0", "other"), ("2.0", "expedition-trajectory")):
        with h5py.File(tmp_path / "x.h5", "w") as h5:
            h5.attrs.update({"format": kind, "format_version": version})
        with pytest.raises(ValueError, match=r"no trajectory|this reads 1\.x"):
            script.Reader(tmp_path / "x.h5")
