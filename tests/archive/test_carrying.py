"""``--archive-compress``, ``--archive-import``, ``--archive-export``: runs go to other places and come back whole."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from expedition import Archive, Trajectory
from expedition.errors import DamagedError, ExperimentError, OutputExistsError, RecordNotFoundError
from expedition.plugin.acting.compression import plan_compression
from expedition.plugin.acting.exporting import plan_export
from expedition.plugin.acting.importing import plan_import
from tests.archive.conftest import edit, fingerprint
from tests.archive.making import Sweep
from tests.archive.test_zips import pack
from tests.durability.laboratory import PATIENCE, Laboratory
from tests.thoroughness import examples


def compress(root: Path, file: Path, select: str | None = None) -> Path:
    action = plan_compression(root, list(Archive(root).rows(select)), file)
    assert list(action.apply())
    assert not action.problems
    return file


def take_in(root: Path, file: Path) -> list[str]:
    action = plan_import(root, file)
    lines = list(action.apply())
    assert not action.problems
    return lines


def contents(root: Path) -> dict[str, str]:
    """What is in every file of the runs below a folder, and in the files of the sweeps that never change."""
    names = {name: content for name, (_, _, content) in fingerprint(root).items() if content}
    passed = (".expedition/", "journal/", "trajectory.h5", ".gitignore", ".lock")
    return {name: content for name, content in names.items() if not any(part in name for part in passed)}


def plan_runs(made: Sweep) -> None:
    """Write the runs that were made into the manifest of their sweep, and let go of it."""
    made.writer.close()
    runs = [
        {
            **{n: record.meta[n] for n in ("index", "id", "key", "replicate")},
            "folder": record.path.name,
            "params": {},
        }
        for record in Archive(made.path).runs()
    ]
    edit(made.path / "sweep.json", runs=sorted(runs, key=lambda run: run["index"]))


def statuses(sweep: Path) -> list[str]:
    with Trajectory.open(sweep) as trajectory:
        trajectory.verify()
        return list(trajectory.runs.status[:])


# --- there and back -----------------------------------------------------------------------------------


def test_there_and_back_by_the_options(whole: Laboratory, root: Path, tmp_path: Path) -> None:
    file, new = tmp_path / "runs.zip", tmp_path / "new"
    before = fingerprint(root)
    dry = whole.pytest("--archive", root, "--archive-compress", file, "--all", "--dry-run").exits(0)
    assert "7 runs" in dry.text
    assert not file.exists()
    whole.pytest("--archive", root, "--archive-compress", file, "--all").exits(0)
    whole.pytest("--archive", root, "--archive-compress", file, "--all").exits(4)
    assert {k: v for k, v in fingerprint(root).items() if not k.startswith(".expedition")} == before
    with zipfile.ZipFile(file) as packed:
        names = packed.namelist()
    assert all(name.startswith("results/") for name in names)
    assert not any(".lock" in name or ".live" in name or ".tmp-" in name for name in names)
    assert whole.pytest("--archive", new, "--archive-import", file, "--yes").exits(0)
    assert contents(new) == contents(root)
    times = {name: int(found[1] / 1e9) for name, found in before.items() if found[2] and name[0] != "."}
    assert {n: int(found[1] / 1e9) for n, found in fingerprint(new).items() if n in times} == times
    again = whole.pytest("--archive", new, "--archive-import", file, "--yes").exits(0)
    assert "here already" in again.text
    assert "exp_single" in whole.pytest("--archive", new, "--archive-list").exits(0).text


def test_the_same_runs_make_the_same_file(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "results"
    shutil.copytree(root, copy)
    for select in (None, "alpha < 5"):
        first = compress(root, tmp_path / "a.zip", select).read_bytes()
        assert compress(copy, tmp_path / "b.zip", select).read_bytes() == first
        for name in ("a.zip", "b.zip"):
            (tmp_path / name).unlink()


def test_some_runs_have_their_own_lines_and_trajectory(root: Path, sweep: Path, tmp_path: Path) -> None:
    file = compress(root, tmp_path / "some.zip", "alpha == 0.1")
    archive = Archive(file)
    assert sorted(record.id for record in archive.runs()) == ["kind=a-alpha=0.1", "kind=b-alpha=0.1"]
    assert statuses(file) == ["done", "pending", "pending", "done", "pending", "pending"]
    with zipfile.ZipFile(file) as packed:
        logs = [name for name in packed.namelist() if "/journal/" in name]
        assert all(b"alpha=10" not in packed.read(name) for name in logs)
        assert sum(packed.read(name).count(b"\n") for name in logs) == 2


def test_parts_come_together(root: Path, sweep: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    low = compress(root, tmp_path / "low.zip", "alpha < 5")
    high = compress(root, tmp_path / "high.zip", "alpha > 0.5")
    take_in(new, low)
    there = new / "exp_all" / sweep.name
    assert statuses(there).count("pending") == 2
    lines = take_in(new, high)
    assert "imported 2 runs" in lines[0]
    assert any("here already" in line for line in lines)
    assert statuses(there) == statuses(sweep)
    assert contents(there) == contents(sweep)
    with Trajectory.open(there) as ours, Trajectory.open(sweep) as theirs:
        columns = ["alpha", "status", "scores.mean"]
        assert ours.to_pandas()[columns].equals(theirs.to_pandas()[columns])
    assert "here already" in take_in(new, high)[0]


def test_a_folder_from_elsewhere_and_another_root(root: Path, sweep: Path, tmp_path: Path) -> None:
    for source in (root, sweep.parent, sweep):
        new = tmp_path / f"from-{source.name}"
        take_in(new, source)
        assert (new / "exp_all" / sweep.name / "sweep.json").is_file()
        assert len(list(Archive(new).runs("experiment == 'exp_all'"))) == 6
    other = pack(root, tmp_path / "old.zip", top="some/old name")
    take_in(tmp_path / "new", other)
    assert contents(tmp_path / "new") == contents(root)
    (sweep / "trajectory.h5").unlink()
    take_in(tmp_path / "compiled", root)
    assert len(statuses(tmp_path / "compiled" / "exp_all" / sweep.name)) == 6


def test_names_of_all_kinds(tmp_path: Path) -> None:
    root = tmp_path / "Ergebnisse für uns"
    made = Sweep(root, namespace="gruppe/exp_größe")
    path = made.run(0, x=1.5, name="naïve 数")
    (path / "Bericht (1) – Größe.txt").write_text("ä", encoding="utf-8")
    (path / "CON.txt").write_text("windows", encoding="utf-8")
    (path / "a;b & c'd.txt").write_text("signs", encoding="utf-8")
    (path / "empty").mkdir()
    plan_runs(made)
    file = compress(root, tmp_path / "größe.zip")
    assert Archive(file).run("0000-alpha=0.0").data["name"] == "naïve 数"
    new = tmp_path / "new"
    take_in(new, file)
    assert contents(new) == contents(root)
    assert (new / path.relative_to(root) / "empty").is_dir()


def test_many_runs(tmp_path: Path) -> None:
    root, count = tmp_path / "results", examples(400)
    made = Sweep(root)
    for index in range(count):
        made.run(index, x=index)
    plan_runs(made)
    file = compress(root, tmp_path / "many.zip")
    packed = Archive(file)
    assert len(list(packed.rows(f"x >= {count - 100}"))) == 100
    assert packed.run("0399-alpha=39.9").data["x"] == 399
    take_in(tmp_path / "new", file)
    assert contents(tmp_path / "new") == contents(root)


# --- what is refused ----------------------------------------------------------------------------------


def test_running_runs_stay_where_they_are(tmp_path: Path) -> None:
    root = tmp_path / "results"
    made = Sweep(root)
    made.run(0, x=1)
    made.run(1, "running", x=2)
    with pytest.raises(ExperimentError, match="running"):
        plan_compression(root, list(Archive(root).rows()), tmp_path / "a.zip")
    with pytest.raises(ExperimentError, match="running"):
        plan_import(tmp_path / "new", root)
    compress(root, tmp_path / "a.zip", "status == 'done'")
    made.writer.close()
    compress(root, tmp_path / "b.zip")
    assert not (tmp_path / "new").exists()


def test_nothing_that_is_there_is_replaced(root: Path, sweep: Path, tmp_path: Path) -> None:
    file = compress(root, tmp_path / "a.zip")
    edit(sweep / "0001-kind=a-alpha=1.0" / "experiment_meta.json", tags=["changed"])
    before = fingerprint(root)
    with pytest.raises(ExperimentError, match=r"0001-kind=a-alpha=1\.0 is another there.*--archive OTHER"):
        plan_import(root, file)
    edit(sweep / "sweep.json", created="2020-01-01T00:00:00Z")
    with pytest.raises(ExperimentError, match="is another sweep there"):
        plan_import(root, file)
    shutil.rmtree(sweep)
    sweep.write_text("in the way", encoding="utf-8")
    with pytest.raises(ExperimentError):
        plan_import(root, file)
    sweep.unlink()
    take_in(root, file)
    assert {n: c for n, c in fingerprint(root).items() if "exp_single" in n and c[2]} == {
        n: c for n, c in before.items() if "exp_single" in n and c[2]
    }


def test_sweeps_that_went_on_in_two_ways(root: Path, sweep: Path, tmp_path: Path) -> None:
    file = compress(root, tmp_path / "a.zip", "alpha < 5")
    line = (sweep / "invocations.jsonl").read_bytes()
    (sweep / "invocations.jsonl").write_bytes(line + line)  # longer here: what comes is a part of it
    assert "here already" in take_in(root, file)[0]
    (sweep / "invocations.jsonl").write_bytes(line.replace(b'"selected"', b'"Selected"'))
    with pytest.raises(ExperimentError, match="went on in another way"):
        plan_import(root, file)


def test_sweeps_that_grew(root: Path, sweep: Path, tmp_path: Path) -> None:
    early = compress(root, tmp_path / "early.zip", "alpha < 5")
    line = (sweep / "invocations.jsonl").read_bytes()
    (sweep / "invocations.jsonl").write_bytes(line + line)
    late = compress(root, tmp_path / "late.zip", "alpha > 5")
    take_in(tmp_path / "new", early)
    take_in(tmp_path / "new", late)
    assert contents(tmp_path / "new" / "exp_all") == contents(root / "exp_all")


def test_targets_and_sources_that_cannot_be(root: Path, sweep: Path, tmp_path: Path) -> None:
    rows = list(Archive(root).rows())
    (tmp_path / "there.zip").write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        plan_compression(root, rows, tmp_path / "there.zip")
    with pytest.raises(RecordNotFoundError, match="no folder"):
        plan_compression(root, rows, tmp_path / "no" / "a.zip")
    with pytest.raises(ExperimentError, match=r"\.zip"):
        plan_compression(root, rows, tmp_path / "a.tar")
    with pytest.raises(ExperimentError, match="would stand in the sweep"):
        plan_compression(root, rows, sweep / "a.zip")
    (sweep / "0000-kind=a-alpha=0.1" / "link").symlink_to("/etc/passwd")
    with pytest.raises(DamagedError, match="link"):
        plan_compression(root, rows, tmp_path / "a.zip")
    with pytest.raises(DamagedError, match="link"):
        plan_import(tmp_path / "new", root)
    for source in (tmp_path / "nothing.zip", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(RecordNotFoundError):
            plan_import(root, source)
    with pytest.raises(ExperimentError, match="part of the archive"):
        plan_import(root, sweep)
    assert (tmp_path / "there.zip").read_bytes() == b"mine"


@pytest.mark.parametrize("namespace", ["../out", "/abs", "a/../../b", "a\\b", ".hidden", ""])
def test_a_manifest_that_leads_elsewhere(root: Path, sweep: Path, tmp_path: Path, namespace: str) -> None:
    manifest = json.loads((sweep / "sweep.json").read_bytes())
    edit(sweep / "sweep.json", experiment={**manifest["experiment"], "namespace": namespace})
    file = pack(root, tmp_path / "a.zip")
    if namespace:
        with pytest.raises(DamagedError, match=r"sweep\.json"):
            plan_import(tmp_path / "new" / "deep", file)
    else:
        take_in(tmp_path / "new" / "deep", file)
    assert not (tmp_path / "out").exists()


def test_a_manifest_with_runs_outside(root: Path, sweep: Path, tmp_path: Path) -> None:
    runs = json.loads((sweep / "sweep.json").read_bytes())["runs"]
    edit(sweep / "sweep.json", runs=[{**runs[0], "folder": "../../x"}, *runs[1:]])
    with pytest.raises(DamagedError, match="outside"):
        plan_import(tmp_path / "new", pack(root, tmp_path / "a.zip"))


def test_a_damaged_member_lets_nothing_in(root: Path, tmp_path: Path) -> None:
    file = compress(root, tmp_path / "a.zip")
    with zipfile.ZipFile(file) as packed:
        info = next(i for i in packed.infolist() if i.filename.endswith("array.npy"))
    content = bytearray(file.read_bytes())
    start = info.header_offset + 100 + len(info.filename.encode())
    content[start : start + 20] = bytes(20)
    file.write_bytes(content)
    new = tmp_path / "new"
    action = plan_import(new, file)
    assert not list(action.apply())
    assert info.filename in action.problems[0]
    assert [path.name for path in new.iterdir()] == [".gitignore"]


# --- killed half way ----------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from expedition import Archive
from expedition.plugin.acting.{module} import {plan}

root, file, ready = map(Path, sys.argv[1:])

{before}
action = {call}
for line in action.apply():
    pass
"""

SLOW_PACKING = """
from expedition.archive import zip_file
add = zip_file.ZipOutput.add_file
def slow(self, name, source):
    add(self, name, source)
    if "0003-" in name:
        ready.touch()
        import time; time.sleep(600)
zip_file.ZipOutput.add_file = slow
"""
SLOW_UNPACKING = SLOW_PACKING.replace("ZipOutput.add_file", "CheckedZip.extract")
SLOW_RENAMING = """
import os, time
rename, count = os.rename, 0
def slow(source, target):
    global count
    rename(source, target)
    count += 1
    if count == 1:
        ready.touch()
        time.sleep(600)
os.rename = slow
"""


def killed(script: str, ready: Path, *arguments: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments), str(ready)])
    try:
        give_up = time.monotonic() + PATIENCE
        while not ready.exists():
            assert process.poll() is None, "it ended too early"
            assert time.monotonic() < give_up
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_killed_while_packing(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    call = "plan_compression(root, list(Archive(root).rows()), file)"
    script = KILLED.format(module="compression", plan="plan_compression", before=SLOW_PACKING, call=call)
    before = fingerprint(root)
    killed(script, tmp_path / "ready", root, file)
    assert not file.exists()
    assert fingerprint(root) == before
    compress(root, file)
    assert len(list(Archive(file).runs())) == 7


@pytest.mark.parametrize("slow", [SLOW_UNPACKING, SLOW_RENAMING])
def test_killed_while_importing(root: Path, sweep: Path, tmp_path: Path, slow: str) -> None:
    file, new = compress(root, tmp_path / "a.zip"), tmp_path / "new"
    script = KILLED.format(
        module="importing", plan="plan_import", before=slow, call="plan_import(root, file)"
    )
    killed(script, tmp_path / "ready", new, file)
    for found in Archive(new).sweep_folders():  # each that is there is whole
        assert contents(found) == contents(root / found.relative_to(new))
    take_in(new, file)
    assert contents(new) == contents(root)
    assert not list(new.glob(".import-*"))


def test_killed_while_runs_come_in(root: Path, sweep: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    take_in(new, compress(root, tmp_path / "low.zip", "alpha < 0.5"))
    high = compress(root, tmp_path / "high.zip", "alpha > 0.5")
    script = KILLED.format(
        module="importing", plan="plan_import", before=SLOW_RENAMING, call="plan_import(root, file)"
    )
    killed(script, tmp_path / "ready", new, high)
    assert len(list(Archive(new).runs())) == 3
    assert not list(Archive(new).damaged())
    take_in(new, high)
    assert contents(new / "exp_all") == contents(root / "exp_all")
    assert statuses(new / "exp_all" / sweep.name) == statuses(sweep)


# --- export -------------------------------------------------------------------------------------------


@pytest.fixture(params=["folder", "zip"])
def source(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Path:
    return root if request.param == "folder" else compress(root, tmp_path / "source.zip")


def export(source: Path, format: str, target: Path, select: str | None = None) -> Path:
    action = plan_export(source, list(Archive(source).rows(select)), format, target)
    assert list(action.apply())
    assert not action.problems
    return target


def test_csv_and_parquet(source: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    with open(export(source, "csv", tmp_path / "a.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    row = next(row for row in rows if row["id"] == "kind=b-alpha=1.0")
    assert (row["alpha"], row["status"], row["scores.mean"], row["SIZE"]) == ("1.0", "failed", "0.5", "3")
    table = pyarrow.parquet.read_table(export(source, "parquet", tmp_path / "a.parquet"))
    types = {
        name: str(table.schema.field(name).type) for name in ("alpha", "SIZE", "kind", "status", "started")
    }
    assert types == {
        "alpha": "double",
        "SIZE": "int64",
        "kind": "string",
        "status": "string",
        "started": "timestamp[us, tz=UTC]",
    }
    assert "array" not in table.column_names
    assert sorted(filter(None, table["alpha"].to_pylist())) == [0.1, 0.1, 1.0, 1.0, 10.0, 10.0]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    import pyarrow.parquet

    made = Sweep(tmp_path / "results")
    values = [(1, 2**70, True, float("nan"), None), (2, 3, False, 1, "x"), (2.5, 4, True, 2.0, 7)]
    for index, (mixed, big, flag, number, anything) in enumerate(values):
        made.run(index, mixed=mixed, big=big, flag=flag, number=number, anything=anything)
    made.writer.close()
    table = pyarrow.parquet.read_table(export(tmp_path / "results", "parquet", tmp_path / "a.parquet"))
    assert table["mixed"].to_pylist() == [1.0, 2.0, 2.5]
    assert table["flag"].to_pylist() == [True, False, True]
    assert np.isnan(table["number"].to_pylist()[0])
    assert table["number"].null_count == 0
    assert [None if v is None else json.loads(v) for v in table["anything"].to_pylist()] == [None, "x", 7]
    assert json.loads(table["big"].to_pylist()[1]) == 3


def test_a_folder_of_plain_files(source: Path, sweep: Path, tmp_path: Path) -> None:
    folder = export(source, "folder", tmp_path / "plain")
    run = folder / "exp_all" / sweep.name / "0001-kind=a-alpha=1.0"
    assert json.loads((run / "parameters.json").read_text(encoding="utf-8"))["alpha"] == 1.0
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    assert data["scores"] == {"mean": 0.5, "all": [1.0, None]}
    assert data["point"] == {"x": 5}
    assert np.array_equal(np.load(run / data["array"]["file"]), np.arange(600.0))
    with open(run / "series" / "fold.rmse.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["value"]) for row in rows] == [
        ("0", "0.0"),
        ("1", "1.0"),
        ("2", "2.0"),
        ("3", "3.0"),
    ]
    assert np.load(run / "series" / "field.npy").shape == (4, 200)
    assert (run / "artifacts" / "notes" / "a.txt").read_text(encoding="utf-8") == "text"
    assert "hello 1.0" in (run / "log.txt").read_text(encoding="utf-8")
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (facts["status"], facts["id"]) == ("done", "kind=a-alpha=1.0")
    assert (folder / "runs.csv").is_file()
    assert len(list(folder.rglob("run.json"))) == 7


def test_exports_that_cannot_be(root: Path, sweep: Path, tmp_path: Path) -> None:
    rows = list(Archive(root).rows())
    for format in ("csv", "parquet", "folder"):
        with pytest.raises(OutputExistsError):
            plan_export(root, rows, format, tmp_path)
        with pytest.raises(ExperimentError, match="would stand in"):
            plan_export(root, rows, format, sweep / "x")
    with pytest.raises(ExperimentError, match="did you mean 'parquet'"):
        plan_export(root, rows, "parket", tmp_path / "x")


def test_a_damaged_run_costs_only_itself(root: Path, sweep: Path, tmp_path: Path) -> None:
    (sweep / "0000-kind=a-alpha=0.1" / "experiment_meta.json").write_text("{", encoding="utf-8")
    (sweep / "0001-kind=a-alpha=1.0" / "data" / "array.npy").write_bytes(b"x")
    action = plan_export(root, list(Archive(root).rows()), "folder", tmp_path / "plain")
    lines = list(action.apply())
    assert len([line for line in lines if line.startswith("exported")]) == 6
    assert len(action.problems) == 2
    data = json.loads(next((tmp_path / "plain").rglob("0001*/data.json")).read_text(encoding="utf-8"))
    assert data["kind"] == "a"
    assert "array" not in data


def test_export_by_the_options(whole: Laboratory, root: Path, tmp_path: Path) -> None:
    options = ["--archive", root, "--archive-export", "csv", "--archive-select", "alpha < 1"]
    whole.pytest(*options).exits(4)
    whole.pytest(*options, "--archive-output", tmp_path / "a.csv").exits(0)
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) == 3


# --- artifacts of any name ----------------------------------------------------------------------------


ODD_NAMES = """
from expedition import experiment

NAMES = (".x", ".git/x", "2024/x", "2024/a/x", "3d/plot", "2024-05/x", "__pycache__/x", "sub/.DS_Store", ".DS_Store",
         "sub/journal/q.lock", "w", "plain.txt")

def commit_all(e):
    for name in NAMES:
        e.commit_raw(name, f"{e.id} {name}")
    e["x/tmp-1"] = b"not unfinished"

@experiment
def exp_alone(e):
    commit_all(e)

@experiment.parametrize("alpha", [1.0, 2.0])
def exp_swept(e, alpha: float = 1.0):
    commit_all(e)
"""


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a run that is its own sweep and of a sweep, with artifacts of odd names; nobody may change it."""
    lab = Laboratory(tmp_path_factory.mktemp("odd") / "lab")
    lab.write("exp_odd.py", ODD_NAMES)
    lab.run().exits(0)
    root = lab.path / "results"
    for record in Archive(root).runs():
        # Earlier versions took names with .tmp- in them.
        (record.path / "w").rename(record.path / "w.tmp-123")
        meta = json.loads((record.path / "experiment_meta.json").read_bytes())
        for artifact in meta["artifacts"]:
            if artifact["name"] == "w":
                artifact["name"] = "w.tmp-123"
        edit(record.path / "experiment_meta.json", artifacts=meta["artifacts"])
        for name in ("experiment_meta.json.tmp-77", "sub/.plain.tmp-77.txt"):
            (record.path / name).write_text("half", encoding="utf-8")
    for sweep in Archive(root).sweep_folders():
        for name in ("._left", "trajectory.h5.tmp-host-7-abc", "source/__pycache__/x.pyc"):
            (sweep / name).parent.mkdir(exist_ok=True)
            (sweep / name).write_text("left behind", encoding="utf-8")
    return root


def committed(root: Path) -> dict[str, dict[str, bytes]]:
    return {
        record.id: {name: path.read_bytes() for name, path in record.artifacts.items()}
        for record in Archive(root).runs()
    }


def test_artifacts_of_any_name_go_along(odd_names: Path, tmp_path: Path) -> None:
    expected = committed(odd_names)
    assert {len(artifacts) for artifacts in expected.values()} == {12}
    assert "w.tmp-123" in expected["exp_alone"]
    assert len(expected) == 3  # and no run in folders such as 2024/a

    file = compress(odd_names, tmp_path / "odd.zip")
    assert committed(file) == expected
    with zipfile.ZipFile(file) as packed:
        left = (".tmp-77", "._left", ".h5.", ".pyc")
        assert not [name for name in packed.namelist() if any(part in name for part in left)]

    place = Archive(odd_names).run("exp_alone").sweep_path.relative_to(odd_names).as_posix()
    for number, source in enumerate(
        (file, odd_names, compress(odd_names, tmp_path / "b.zip", "id == 'exp_alone'"))
    ):
        new = tmp_path / f"new{number}"
        assert f"imported 1 run of {place}" in take_in(new, source)
        assert committed(new) == {id_: expected[id_] for id_ in committed(new)}
        assert not [path for path in new.rglob("*") if ".tmp-77" in path.name or "left" in path.name]
        for again in (source, file if number < 2 else source):
            assert all(line.endswith("is here already, left alone") for line in take_in(new, again))


def test_a_sweep_folder_alone_comes_in_with_artifacts_of_any_name(odd_names: Path, tmp_path: Path) -> None:
    expected = committed(odd_names)
    for number, sweep in enumerate(Archive(odd_names).sweep_folders()):
        new = tmp_path / str(number)
        take_in(new, sweep)
        assert committed(new) == {id_: expected[id_] for id_ in committed(new)}
        (line,) = take_in(new, sweep)
        assert line.endswith("is here already, left alone")


def test_what_systems_leave_behind_makes_no_other_run(odd_names: Path, tmp_path: Path) -> None:
    file, new = compress(odd_names, tmp_path / "a.zip"), tmp_path / "new"
    take_in(new, file)
    for record in Archive(new).runs():
        (record.path / "experiment_data.json.tmp-5").write_text("half", encoding="utf-8")
        (record.path / "__pycache__").mkdir(exist_ok=True)
        (record.path / "__pycache__" / "y.pyc").write_text("left", encoding="utf-8")
    assert all(line.endswith("is here already, left alone") for line in take_in(new, file))
    (Archive(new).run("exp_alone").path / "2024" / "x").write_text("changed", encoding="utf-8")
    with pytest.raises(ExperimentError, match="is another there"):
        plan_import(new, file)


def test_runs_come_in_by_index(tmp_path: Path) -> None:
    root = tmp_path / "results"
    made = Sweep(root)
    for index in (9_999, 10_000, 2, 1):
        made.run(index)
    made.close()
    edit(made.path / "sweep.json", runs=[])
    source = tmp_path / "mixed.zip"
    with zipfile.ZipFile(source, "w") as mixed:
        for path in sorted(root.rglob("*"), reverse=True):
            if path.is_file():
                mixed.write(path, path.relative_to(tmp_path).as_posix())
    lines = list(plan_import(tmp_path / "new", source).preview())
    indices = [int(line.rpartition("/")[2].partition("-")[0]) for line in lines]
    assert indices == [1, 2, 9_999, 10_000]
    some = compress(root, tmp_path / "some.zip", "index == 2")
    take_in(tmp_path / "new", some)
    lines = [line for line in plan_import(tmp_path / "new", source).preview() if line.startswith("import ")]
    assert [int(line.rpartition("/")[2].partition("-")[0]) for line in lines] == [1, 9_999, 10_000]
