"""Large values in files: readable by their own libraries, never outside their folder, never half there."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from expedition.errors import DamagedError, UnstorableError
from expedition.values import FileSink, decode, dumps, encode, files, loads
from tests.values.equality import cases, exactly_equal
from tests.values.test_tagged import FRAMES, SPARSE

ARRAYS = [
    np.arange(1000.0),
    np.arange(1000.0).reshape(20, 50).T,
    np.array(["ü"] * 500),
    np.zeros(500, dtype=[("é", "f4"), ("b", "<i8", (2,))]),
    np.zeros(500, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    np.zeros(500, dtype=">M8[us]"),
    np.ones(500, dtype=np.longdouble),
    np.zeros((0, 5)),
    np.ma.array(np.arange(1000), mask=np.arange(1000) % 2, fill_value=3),
    np.ma.array(np.arange(1000)),
]


@pytest.mark.parametrize("value", cases(ARRAYS + FRAMES + SPARSE))
def test_files_come_back_the_same(value: Any, tmp_path: Path) -> None:
    tree = encode({"x": [value]}, name="group/ü", sink=FileSink(tmp_path))
    again = decode(loads(dumps(tree)), folder=tmp_path)
    assert exactly_equal(again["x"][0], value)
    for path in tmp_path.rglob("*"):
        assert path.name == "data" or path.name.startswith("group.ü.x.0.")


def test_files_are_those_of_their_libraries(tmp_path: Path) -> None:
    sink = FileSink(tmp_path)
    array = np.arange(1000.0)
    frame = pd.DataFrame({"a": [1.5, 2.5]})
    tree: Any = encode({"a": array, "f": frame, "s": sparse.eye_array(3)}, name="rmse", sink=sink)
    crc = f"{zlib.crc32(array.tobytes()):08x}"
    assert tree["a"] == {"$": "npy", "file": "data/rmse.a.npy", "dtype": "<f8", "shape": [1000], "crc": crc}
    assert exactly_equal(np.load(tmp_path / "data/rmse.a.npy"), array)
    assert tree["f"]["file"] == "data/rmse.f.parquet"
    assert pd.read_parquet(tmp_path / "data/rmse.f.parquet").equals(frame)
    assert tree["s"]["file"] == "data/rmse.s.npz"
    assert np.load(tmp_path / "data/rmse.s.npz")["data"].tolist() == [[1.0] * 3]
    again: Any = encode(array + 1, name="rmse/a", sink=sink)
    assert again["file"] == "data/rmse.a+2.npy"
    assert np.load(tmp_path / "data/rmse.a.npy")[0] == 0.0, (
        "a file that something may refer to is never replaced"
    )
    assert sorted(sink.written) == sorted(f"data/{path.name}" for path in (tmp_path / "data").iterdir())


@pytest.mark.parametrize("frame", cases(FRAMES[:12]))
def test_frames_without_pyarrow(frame: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == "pyarrow" else object())
    tree: Any = encode(frame, name="t", sink=FileSink(tmp_path))
    assert tree["$"] == "pandas" or tree["file"] == "data/t.csv"
    assert exactly_equal(decode(loads(dumps(tree)), folder=tmp_path), frame)


def test_csv_is_used_where_it_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == "pyarrow" else object())
    frame = pd.DataFrame({"a": [0.1, np.nan], "b": [1, 2], "c": ['x,"', "ü\n"], "d": [True, False]})
    tree: Any = encode(frame, name="t", sink=FileSink(tmp_path))
    assert tree["format"] == "csv"
    assert (tmp_path / "data/t.csv").read_text(encoding="utf-8").startswith("a,b,c,d\n0.1,1,")
    assert exactly_equal(decode(tree, folder=tmp_path), frame)


def test_floats_in_csv_are_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == "pyarrow" else object())
    bits = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 5000)
    numbers = bits.view("f8")
    frame = pd.DataFrame({"x": numbers[np.isfinite(numbers)]})
    tree: Any = encode(frame, name="t", sink=FileSink(tmp_path))
    assert tree["format"] == "csv"
    assert exactly_equal(decode(tree, folder=tmp_path), frame)


def test_what_no_file_keeps_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnstorableError, match=r"^x: a value of type pandas.* dtype Sparse"):
        encode(pd.Series(pd.arrays.SparseArray([1, 0])), name="x", sink=FileSink(tmp_path))
    assert list(tmp_path.rglob("*.*")) == []


@given(st.lists(st.text(st.characters(exclude_categories=[])), min_size=2, max_size=2, unique=True))
def test_file_names_are_safe_and_different(keys: list[str]) -> None:
    stems = [files.file_stem(key) for key in keys]
    assert stems[0] != stems[1]
    for stem in stems:
        assert 0 < len(stem) <= 115
        assert len(os.fsencode(stem)) <= 230
        assert not set(stem) & set('/\\:*?"<>|\0')
        assert not stem.startswith(".")
        assert stem == stem.strip()


@pytest.mark.parametrize(
    ("key", "stem"),
    [
        ("rmse/mean", "rmse.mean"),
        ("größe (cm)", "größe (cm)"),
        ("a.b", "a.b~"),
        ("../../x", "x~"),
        ("", "value~"),
        ("con", "con~"),
        ("x" * 500, "x" * 100 + "~"),
        ("é" * 500, "é" * 100 + "~"),
    ],
)
def test_file_names(key: str, stem: str) -> None:
    assert files.file_stem(key).startswith(stem)


def test_names_that_differ_in_case_only_are_two_files(tmp_path: Path) -> None:
    sink = FileSink(tmp_path)
    names = [sink.put_array(key, np.zeros(3), "npy") for key in ("Loss", "loss", "Loss")]
    assert len({name["file"].casefold() for name in names if name}) == 3


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../secret.npy",
        "data/../../secret.npy",
        "c:\\x.npy",
        "data/link.npy",
        "out/x.npy",
        "",
        ".",
    ],
)
def test_references_stay_inside_their_folder(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "data").mkdir(parents=True)
    np.save(tmp_path / "secret.npy", np.zeros(3))
    np.save(tmp_path / "x.npy", np.zeros(3))
    (run / "data/link.npy").symlink_to(tmp_path / "secret.npy")
    (run / "out").symlink_to(tmp_path)
    for kind in ("npy", "frame", "masked", "sparse"):
        tag = {
            "$": kind,
            "file": name,
            "dtype": "<f8",
            "shape": [3],
            "format": "csv",
            "dtypes": [],
            "type": "",
        }
        with pytest.raises(DamagedError, match=r"leaves its folder|missing"):
            decode(tag, folder=run)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    reference: Any = encode(np.arange(1000.0), name="x", sink=FileSink(tmp_path))
    path = tmp_path / "data/x.npy"
    whole = path.read_bytes()
    with pytest.raises(DamagedError, match=r"x\.npy: shape \[1000\] and dtype float64 where \[999\]"):
        decode({**reference, "shape": [999]}, folder=tmp_path)
    with pytest.raises(DamagedError, match=r"and <f4|and float32 were stored"):
        decode({**reference, "dtype": "<f4"}, folder=tmp_path)
    for data in (whole[:-1], whole + b"x", whole[:5], b"", whole.replace(b"(1000,)", b"(9**9,)")):
        path.write_bytes(data)
        with pytest.raises(DamagedError, match=r"x\.npy: not a whole \.npy file"):
            decode(reference, folder=tmp_path)
    huge = whole[:128].replace(b"(1000,), }      ", b"(999999999999,)}")
    path.write_bytes(huge)
    with pytest.raises(DamagedError, match=r"0 bytes for shape \(999999999999,\)"):
        decode(reference, folder=tmp_path)
    np.save(path, np.array([print]), allow_pickle=True)
    with pytest.raises(DamagedError, match="dtype object"):
        decode(reference, folder=tmp_path)
    path.unlink()
    with pytest.raises(DamagedError, match=r"x\.npy: the file is missing"):
        decode(reference, folder=tmp_path)


def test_damaged_archives_are_told(tmp_path: Path) -> None:
    reference: Any = encode(sparse.eye_array(3, format="csr"), name="x", sink=FileSink(tmp_path))
    path = tmp_path / "data/x.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(DamagedError, match=r"x\.npz is damaged: its content is not what was stored"):
        decode(reference, folder=tmp_path)
    del reference["crc"]  # what a forger would do, too
    with pytest.raises(DamagedError, match=r"x\.npz: not a whole \.npz file"):
        decode(reference, folder=tmp_path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", b"\0" * 10_000)
    with pytest.raises(DamagedError, match="is compressed"):
        decode(reference, folder=tmp_path)
    np.savez(path, data=np.ones(3), indices=np.array([0, 99, 2]), indptr=np.array([0, 1, 2, 3]))
    with pytest.raises(DamagedError, match="kind 'sparse' is malformed"):
        decode(reference, folder=tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FileSink(tmp_path)
    sink.put_array("x", np.zeros(3), "npy")

    def full(file: Any, array: Any, **options: Any) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space"):
        sink.put_array("x", np.ones(3), "npy")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["x.npy"]
    assert np.load(tmp_path / "data/x.npy").tolist() == [0, 0, 0]
