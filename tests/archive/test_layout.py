"""The files of an archive, exactly as the design says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from expedition import Archive
from tests.durability.laboratory import Laboratory

ROW = {"index", "id", "key", "folder", "params", "replicate"}


def test_an_archive_root_and_its_namespaces(whole: Laboratory) -> None:
    results = whole.path / "results"
    names = {path.name for path in results.iterdir()} - {".expedition"}  # the index that reports keep
    assert names == {".gitignore", "deep", "exp_all"}
    assert (results / ".gitignore").read_text(encoding="utf-8").splitlines()[-1] == "*"
    for namespace in ("exp_all", "deep/exp_single"):
        (sweep,) = (results / namespace).iterdir()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[a-z2-9]{4}", sweep.name)


def test_a_sweep_folder(sweep: Path) -> None:
    names = {path.name for path in sweep.iterdir()}
    folders = {name for name in names if re.match(r"\d{4}-", name)}
    assert folders == {
        f"{i:04d}-kind={k}-alpha={a}"
        for i, (k, a) in enumerate((k, a) for k in "ab" for a in (0.1, 1.0, 10.0))
    }
    assert names - folders == {
        "sweep.json",
        "trajectory.h5",
        "source",
        "analysis.py",
        "journal",
        "invocations.jsonl",
    }
    source = {path.relative_to(sweep / "source").as_posix() for path in (sweep / "source").rglob("*.py")}
    assert source == {"experiment_code.py", "exp_all.py", "helper.py", "conftest.py"}
    code = (sweep / "source" / "experiment_code.py").read_text(encoding="utf-8")
    assert "Records everything that can be recorded" in code


def test_the_manifest(sweep: Path) -> None:
    manifest = json.loads((sweep / "sweep.json").read_bytes())
    assert manifest["format"] == "expedition-sweep"
    assert manifest["format_version"] == "1.2"
    assert manifest["sweep"] == sweep.name
    assert manifest["experiment"] == {
        "name": "exp_all",
        "file": "exp_all.py",
        "function": "exp_all",
        "namespace": "exp_all",
        "description": "Records everything that can be recorded.",
        "tags": ["paper"],
    }
    assert manifest["swept"] == ["kind", "alpha"]
    assert manifest["grid"] == {"dims": ["kind", "alpha"], "shape": [2, 3]}
    size = manifest["parameters"]["SIZE"]
    assert (size["value"], size["type"], size["description"]) == (3, "int", "how many")
    assert [row["index"] for row in manifest["runs"]] == list(range(6))
    for row in manifest["runs"]:
        assert set(row) == ROW
        assert row["folder"] == f"{row['index']:04d}-{row['id']}"
        assert re.fullmatch("[0-9a-f]{64}", row["key"])
    provenance = manifest["provenance"]
    assert "--note" in provenance["argv"]
    assert provenance["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert provenance["hostname"]
    assert "pytest" in {entry["name"] for entry in provenance["distributions"]}
    assert set(provenance["sources"]) >= {"experiment_code.py", "helper.py"}


def test_every_run_folder(sweep: Path) -> None:
    for folder in sweep.glob("0*"):
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert names == {
            "experiment_meta.json",
            "experiment_data.json",
            "experiment_journal.jsonl",
            "experiment_out.log",
            "data/array.npy",
            "data/series.bin",
            "notes/a.txt",
        }
        meta = json.loads((folder / "experiment_meta.json").read_bytes())
        assert meta["tags"] == ["paper", "cli", f"kind-{meta['parameters']['kind']['value']}"]
        assert meta["notes"] == ["from the command line", "noted"]
        assert meta["parameters"]["alpha"]["origin"] == "sweep"
        assert meta["parameters"]["SIZE"]["origin"] == "default"
        assert meta["process"]["worker"] == "main"


def test_the_commit_log_has_a_sealed_line_per_run(sweep: Path) -> None:
    (log,) = (sweep / "journal").glob("*.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    for line in lines:
        body, _, crc = line.rpartition(b',"crc":"')
        assert crc == b'%08x"}\n' % zlib.crc32(body)
        commit = json.loads(line)
        assert list(commit)[:2] == ["index", "attempt"]
        assert commit["series"]["fold/rmse"] == {"n": 4, "kind": "scalar"}


def test_a_single_run_stands_in_its_sweep_folder(whole: Laboratory) -> None:
    (folder,) = (whole.path / "results" / "deep" / "exp_single").iterdir()
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    (log,) = (name for name in names if name.startswith("journal/"))
    assert names == {
        log,
        "sweep.json",
        "invocations.jsonl",
        "trajectory.h5",
        "analysis.py",
        "experiment_code.py",
        "source/experiment_code.py",
        "source/deep/exp_single.py",
        "source/conftest.py",
        "experiment_meta.json",
        "experiment_data.json",
        "experiment_journal.jsonl",
    }
    (row,) = json.loads((folder / "sweep.json").read_bytes())["runs"]
    assert row["folder"] == "."
    (record,) = Archive(folder).runs()
    assert record.path == record.sweep_path == folder
    assert record.id == "exp_single"


def test_a_trivial_run_has_at_most_three_files(lab: Laboratory) -> None:
    lab.write(
        "exp_trivial.py",
        """
        from expedition import experiment

        @experiment.parametrize("x", [0, 1])
        def exp_trivial(e, x: int = 0):
            e["y"] = x

        @experiment.parametrize("x", [0, 1])
        def exp_other(e, x: int = 0):
            pass
        """,
    )
    lab.run().exits(0)
    results = lab.path / "results" / "exp_trivial"
    assert sorted(path.name for path in results.iterdir()) == ["exp_other", "exp_trivial"]
    for folder in results.glob("exp_trivial/*/0*"):
        assert len(list(folder.iterdir())) == 3
    for folder in results.glob("exp_other/*/0*"):
        assert [path.name for path in folder.iterdir()] == ["experiment_meta.json"]


@pytest.mark.parametrize("name", ["exp_all", "deep/exp_single"])
def test_the_generated_analysis_runs_in_a_copy_without_the_experiment(
    whole: Laboratory, tmp_path: Path, name: str
) -> None:
    (sweep,) = (whole.path / "results" / name).iterdir()
    copy = tmp_path / "kopie ☃"
    shutil.copytree(sweep, copy)
    shutil.rmtree(copy / "source")
    done = subprocess.run(
        [sys.executable, "-I", "analysis.py"], cwd=copy, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if name == "exp_all":
        assert "kind=a-alpha=0.1: done" in done.stdout
        assert "kind=b-alpha=1.0: failed" in done.stdout
        assert "scores/mean = 0.05" in done.stdout
        assert "fold/rmse: series of 4 values" in done.stdout
        assert "6 runs in" in done.stdout
    else:
        assert "exp_single: done" in done.stdout
    compile((copy / "analysis.py").read_text(encoding="utf-8"), "analysis.py", "exec")


def test_provenance_in_a_real_repository(lab: Laboratory) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        return subprocess.run(
            command, cwd=lab.path, check=True, capture_output=True, text=True
        ).stdout.strip()

    lab.write("exp_git.py", "from expedition import experiment\n\n@experiment\ndef exp_git(e):\n    pass\n")
    git("init", "-q", "-b", "trunk")
    git("add", "exp_git.py", "pytest.ini")
    git("commit", "-q", "-m", "first")
    lab.run().exits(0)
    lab.write(
        "exp_git.py",
        "from expedition import experiment\n\n@experiment\ndef exp_git(e):\n    e['changed'] = 1\n",
    )
    lab.run().exits(0)
    clean, dirty = (sweep for sweep in lab.archive.sweeps())
    if clean.manifest["provenance"]["git"]["dirty"]:
        clean, dirty = dirty, clean  # both in one second: the names do not tell the order
    first, second = (s.manifest["provenance"]["git"] for s in (clean, dirty))
    assert first["commit"] == second["commit"] == git("rev-parse", "HEAD")
    assert first["branch"] == "trunk"
    assert (first["dirty"], second["dirty"]) == (False, True)
    assert "results" not in str(second["untracked"])
    diff = (dirty.path / "source" / "git.diff").read_text(encoding="utf-8")
    assert "+    e['changed'] = 1" in diff
    assert git("status", "--porcelain", "results") == ""  # its own .gitignore
