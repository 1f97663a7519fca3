"""Artifacts: every form of a commit, names that are taken or escape, files opened by hand."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from expedition import Run, RunRecord
from expedition.errors import ArtifactError, UnstorableError

Read = Callable[[], RunRecord]


@pytest.fixture
def figure() -> Any:
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    yield figure
    plt.close(figure)


def test_the_type_of_the_object_chooses_the_form(run: Run, read: Read, tmp_path: Path, figure: Any) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"copied")
    frame = pd.DataFrame({"a": [1, 2]})
    committed = {
        "text.md": run.commit("text.md", "naïve"),
        "raw.bin": run.commit("raw.bin", b"\x00\xff"),
        "copy.bin": run.commit("copy.bin", source),
        "array.npy": run.commit("array", np.arange(3)),
        "scalar.npy": run.commit("scalar", np.float32(2)),
        "frame.csv": run.commit("frame", frame),
        "frame.parquet": run.commit("frame.parquet", frame),
        "column.parquet": run.commit("column.parquet", frame["a"]),
        "figure.png": run.commit("figure", figure),
        "figure.pdf": run.commit("figure.pdf", figure),
        "axes.png": run.commit("axes", figure.axes[0]),
        "deep/er/data.json": run.commit("deep/er/data", {"a": np.float64(1), "b": np.arange(2)}),
    }
    record = read()
    assert record.artifacts == {name: run.path / name for name in committed} == committed
    assert list(record.artifacts) == list(committed)
    assert record.artifacts["text.md"].read_text(encoding="utf-8") == "naïve"
    assert record.artifacts["raw.bin"].read_bytes() == b"\x00\xff"
    assert record.artifacts["copy.bin"].read_bytes() == b"copied"
    assert np.load(record.artifacts["array.npy"]).tolist() == [0, 1, 2]
    assert pd.read_csv(record.artifacts["frame.csv"], index_col=0).equals(frame)
    assert pd.read_parquet(record.artifacts["frame.parquet"]).equals(frame)
    assert record.artifacts["figure.png"].read_bytes().startswith(b"\x89PNG")
    assert record.artifacts["figure.pdf"].read_bytes().startswith(b"%PDF")
    assert json.loads(record.artifacts["deep/er/data.json"].read_bytes()) == {"a": 1.0, "b": [0, 1]}
    for entry in record.artifact_list:
        content = (run.path / entry["name"]).read_bytes()
        assert entry["size"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    kinds = {entry["name"]: entry["kind"] for entry in record.artifact_list}
    assert kinds["figure.pdf"] == "figure"
    assert kinds["copy.bin"] == "file"
    assert not [name for name in os.listdir(run.path) if "tmp" in name]


def test_the_forms_by_name(run: Run, read: Read, tmp_path: Path, figure: Any) -> None:
    source = tmp_path / "source.txt"
    source.write_text("copied", encoding="utf-8")
    run.commit_fig("a.svg", figure)
    run.commit_json("b", [1, None])
    run.commit_raw("c", "text")
    run.commit_raw("d", bytearray(b"raw"))
    run.commit_array("e", [[1, 2]])
    run.commit_frame("f", pd.Series([1.0], name="x"))
    run.commit_file(source)
    run.commit_file(str(source), "g/h.txt")
    assert list(read().artifacts) == ["a.svg", "b.json", "c", "d", "e.npy", "f.csv", "source.txt", "g/h.txt"]


def test_what_has_no_such_form_is_refused_by_name(run: Run, read: Read, tmp_path: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: run.commit_fig("a", 3),
        lambda: run.commit_json("a", {"x": object()}),
        lambda: run.commit_json("a", float("nan")),
        lambda: run.commit("a", object()),
        lambda: run.commit_raw("a", 3),  # type: ignore[arg-type]
        lambda: run.commit_array("a", np.array([None])),
        lambda: run.commit_frame("a", [1]),
    ]
    for call in calls:
        with pytest.raises(UnstorableError):
            call()
    with pytest.raises(ArtifactError, match=r"\.xlsx"):
        run.commit_frame("a.xlsx", pd.DataFrame())
    with pytest.raises(ArtifactError, match="there is no file"):
        run.commit_file(tmp_path / "missing")
    record = read()
    assert record.artifacts == {}
    assert record.status == "done"
    assert [file.name for file in run.path.iterdir()] == ["experiment_meta.json"]


def test_a_name_is_taken_once(run: Run, read: Read, journalled: Read) -> None:
    run.commit("a.txt", "first")
    for name in ("a.txt", "./a.txt", "b/../a.txt"):
        with pytest.raises(ArtifactError):
            run.commit(name, "second")
    run.commit("j", {"x": 1})
    with pytest.raises(ArtifactError, match=r"'j\.json' is committed already"):
        run.commit("j", {"x": 2})
    (run.path / "foreign").write_text("by hand", encoding="utf-8")
    with pytest.raises(ArtifactError, match="overwrite=True"):
        run.commit("foreign", "mine")
    assert (run.path / "a.txt").read_text(encoding="utf-8") == "first"
    run.commit("a.txt", "third", overwrite=True)
    for record in (journalled(), read()):
        assert record.artifacts["a.txt"].read_text(encoding="utf-8") == "third"
    assert [entry["size"] for entry in read().artifact_list if entry["name"] == "a.txt"] == [5]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "/",
        "/etc/x",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        "a\\b",
        "\\\\host\\share",
        "C:x",
        "C:/x",
        "a\0b",
        3,
        None,
        "experiment_meta.json",
        "experiment_data.json",
        "experiment_journal.jsonl",
        "experiment_out.log",
        "data/x",
        "plots/x",
        "attempts/0",
        "sweep.json",
        "trajectory.h5",
        "journal/x",
        "source/x",
        "analysis.py",
        "experiment_code.py",
        "invocations.jsonl",
        ".tmp-1",
    ],
)
def test_names_that_escape_or_belong_to_the_archive(run: Run, read: Read, name: Any) -> None:
    before = sorted(run.path.parent.rglob("*"))
    with pytest.raises(ArtifactError):
        run.commit(name, "text")
    with pytest.raises(ArtifactError):
        run.open(name, "w")
    with pytest.raises(ArtifactError):
        run.open(name)
    assert sorted(run.path.parent.rglob("*")) == before
    assert read().artifacts == {}


def test_links_that_lead_out_of_the_folder(run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched", encoding="utf-8")
    (run.path / "link").symlink_to(outside)
    (run.path / "filelink").symlink_to(outside / "file")
    (run.path / "inner").mkdir()
    (run.path / "fine").symlink_to(run.path / "inner")
    for name in ("link/x", "link/deep/x", "filelink"):
        for overwrite in (False, True):
            with pytest.raises(ArtifactError):
                run.commit(name, "text", overwrite=overwrite)
    with pytest.raises(ArtifactError):
        run.open("filelink", "w")
    run.commit("fine/x", "text")
    assert sorted(path.name for path in outside.iterdir()) == ["file"]
    assert (outside / "file").read_text(encoding="utf-8") == "untouched"


def test_a_name_cannot_be_below_a_file_or_be_a_folder(run: Run) -> None:
    run.commit("a", "file")
    run.commit("b/c", "file")
    for name in ("a/x", "b/c/d/e", "b"):
        for overwrite in (False, True):
            with pytest.raises(ArtifactError):
                run.commit(name, "text", overwrite=overwrite)


def test_opened_files_become_artifacts(run: Run, journalled: Read, read: Read) -> None:
    with run.open("closed.txt", "w") as file:
        file.write("naïve")
    still = run.open("sub/open.bin", "wb")
    still.write(b"123")
    with run.open("closed.txt") as file:
        assert file.read() == "naïve"
    with run.open("closed.txt", "a") as file:
        file.write("!")
    with pytest.raises(ArtifactError, match="committed already"):
        run.open("closed.txt", "x")
    with pytest.raises(FileNotFoundError):
        run.open("missing.txt")
    assert set(journalled().artifacts) == {"closed.txt", "sub/open.bin"}  # also of a run that died
    record = read()
    assert {entry["name"]: entry["size"] for entry in record.artifact_list} == {
        "closed.txt": 7,
        "sub/open.bin": 3,
    }
    assert record.artifacts["closed.txt"].read_bytes() == "naïve!".encode()
    still.close()


def test_a_commit_that_fails_half_way_leaves_the_earlier_file(run: Run, read: Read) -> None:
    class Broken:
        def savefig(self, path: Path) -> None:
            path.write_bytes(b"half")
            raise RuntimeError("broken")

    run.commit("picture.png", b"good")
    with pytest.raises(RuntimeError, match="broken"):
        run.commit("picture.png", Broken(), overwrite=True)
    with pytest.raises(RuntimeError, match="broken"):
        run.commit("other.png", Broken())
    assert (run.path / "picture.png").read_bytes() == b"good"
    assert list(read().artifacts) == ["picture.png"]
    assert not [name for name in os.listdir(run.path) if "tmp" in name]


@pytest.mark.parametrize("name", ["w.tmp-123", "a/.tmp-x", "b.tmp-1/x"])
def test_names_of_unfinished_files_are_refused(run: Run, read: Read, name: str) -> None:
    before = sorted(run.path.parent.rglob("*"))
    with pytest.raises(ArtifactError, match="marks files that are not finished"):
        run.commit(name, "text")
    with pytest.raises(ArtifactError, match="choose a name without it"):
        run.open(name, "w")
    assert sorted(run.path.parent.rglob("*")) == before
    assert read().artifacts == {}
