"""Reading: from a folder alone, without pytest and experiment code, changing nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from expedition import Archive, ExpeditionError, Run, RunRecord
from expedition.errors import DamagedError, ExpressionError, RecordNotFoundError
from tests.archive.conftest import edit, fingerprint
from tests.durability.laboratory import Laboratory

READER = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pytest", "_pytest", "xdist", "exp_all", "exp_single", "helper"}:
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Forbidden())
from expedition import Archive

for record in Archive(sys.argv[1]).runs("index >= 0"):
    print(record.status, record.id, sorted(record.params), sorted(record.flat_data), sorted(record.series),
          [str(p) for p in record.artifacts], record.error is None, len(record.log), record.duration > 0,
          [len(s.value) for s in record.series.values()], record.derived, record.annotations,
          record.data.get("point"))
"""


def test_reading_needs_no_pytest_and_no_experiment_and_changes_nothing(root: Path, tmp_path: Path) -> None:
    before = fingerprint(root)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(root)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    assert sum(line.startswith("done") for line in lines) == 5
    assert "<dataclass exp_all:Point(x=5)>" in lines[0] or "<dataclass exp_all:Point(x=5)>" in lines[1]
    assert fingerprint(root) == before


def test_a_record(root: Path) -> None:
    archive = Archive(root)
    record = archive.run("kind=a-alpha=0.1")
    assert record.status == "done"
    assert record.experiment == record.namespace == "exp_all"
    assert (record.index, record.replicate, record.attempt) == (0, 0, 0)
    assert record.params == {"alpha": 0.1, "kind": "a", "SIZE": 3, "RATES": [0.5, 0.25]}
    assert record.data["scores"] == {"mean": 0.05, "all": [0.1, None]}
    assert np.array_equal(record.data["array"], np.arange(600.0) * 0.1)
    assert record.series["fold/rmse"].value.tolist() == [0.1 * i for i in range(4)]
    assert record.series["field"].value.shape == (4, 200)
    assert record.artifacts["notes/a.txt"].read_text(encoding="utf-8") == "text"
    assert record.derived == {"double": 0.2}
    assert record.annotations == {"scores/mean": {"comment": "mean score", "unit": "m"}}
    assert record.error is None
    assert "hello 0.1" in record.log
    assert "logged" in record.log
    assert record.duration is not None
    assert 0 < record.duration < 60
    failed = archive.run("kind=b-alpha=1.0")
    assert failed.error is not None
    assert failed.error.type == "AssertionError"
    assert "too bad" in failed.error.message
    skipped = archive.run("kind=a-alpha=10.0")
    assert (skipped.status, skipped.reason) == ("skipped", "too large")
    expected = archive.run("kind=b-alpha=10.0")
    assert expected.status == "done"
    assert expected.meta["outcome"]["expected_failure"] is True
    assert "known" in expected.reason


def test_sweeps_are_listed_oldest_first(root: Path, sweep: Path) -> None:
    names = ["2027-01-02T03-04-05Z-aaaa", "2026-01-02T03-04-05Z-zzzz", "2026-12-31T03-04-05Z-mmmm"]
    for name in names:
        shutil.copytree(sweep, sweep.parent / name)
        edit(sweep.parent / name / "sweep.json", sweep=name)
    shutil.rmtree(sweep)
    found = [each for each in Archive(root).sweeps() if each.name == "exp_all"]
    assert [each.path.name for each in found] == sorted(names)


@pytest.mark.parametrize(
    ("select", "count"),
    [
        ("status == 'done'", 5),
        ("status == 'done' and alpha < 1", 2),
        ("params.alpha >= 1 and kind == 'b'", 2),
        ("data.scores.mean > 0.4", 4),
        ("scores.mean > 0.4", 4),
        ("experiment == 'exp_single'", 1),
        ("'kind-a' in tags", 3),
        ("duration >= 0", 7),
        ("started > '2020-01-01'", 7),
        ("not (kind == 'a')", 3),
        ("rep == 0 and attempt == 0", 7),
    ],
)
def test_selecting(root: Path, select: str, count: int) -> None:
    assert len(list(Archive(root).runs(select))) == count


def test_a_bad_selection(root: Path) -> None:
    for select in ("status ==", "__import__('os')", "a.b()", "lambda: 1"):
        with pytest.raises(ExpressionError):
            list(Archive(root).runs(select))


def test_naming_a_run(root: Path, sweep: Path) -> None:
    archive = Archive(root)
    folder = sweep / "0001-kind=a-alpha=1.0"
    wanted = RunRecord(folder).key
    names = [
        folder,
        str(folder),
        folder.relative_to(root),
        f"{sweep.name}/{folder.name}",
        folder.name,
        "kind=a-alpha=1.0",
        "exp_all[kind=a-alpha=1.0]",
        wanted,
        wanted[:6],
        wanted[:20],
    ]
    for name in names:
        assert archive.run(name).key == wanted, name
    for name in ("kind=a-alpha=1", wanted[:5], "nothing", "../x", "", "f" * 64):
        with pytest.raises(RecordNotFoundError, match="no run"):
            archive.run(name)
    with pytest.raises(RecordNotFoundError, match=r"did you mean .*kind=a-alpha=1\.0"):
        archive.run("kind=a-alpha=1.1")
    with pytest.raises(LookupError):
        archive.run("nothing")


def test_the_same_run_in_several_sweeps_means_the_latest(lab: Laboratory) -> None:
    lab.write(
        "exp_x.py",
        "from expedition import experiment\n\n@experiment.parametrize('a', [1, 2])\n"
        "def exp_x(e, a: int = 0):\n    e['sweep'] = e.sweep_path.name\n",
    )
    lab.run().exits(0)
    lab.run().exits(0)
    records = list(lab.archive.runs("a == 1"))
    assert len(records) == 2
    latest = max(records, key=lambda record: record.started)
    assert lab.archive.run("a=1").data == latest.data
    assert lab.archive.run(latest.key).path == latest.path


@pytest.mark.parametrize("level", ["root", "namespace", "sweep", "run"])
def test_any_level_can_be_copied_elsewhere(root: Path, sweep: Path, tmp_path: Path, level: str) -> None:
    run = sweep / "0000-kind=a-alpha=0.1"
    source = {"root": root, "namespace": sweep.parent, "sweep": sweep, "run": run}[level]
    to = tmp_path / "anderswo ☃ \u00e4" / "copy"
    shutil.copytree(source, to)
    shutil.rmtree(root)
    archive = Archive(to)
    assert len(list(archive.runs())) == {"root": 7, "namespace": 6, "sweep": 6, "run": 1}[level]
    record = archive.run("kind=a-alpha=0.1")
    assert record.status == "done"
    assert np.array_equal(record.data["array"], np.arange(600.0) * 0.1)
    assert record.series["field"].value.shape == (4, 200)
    assert record.artifacts["notes/a.txt"].is_file()
    assert record.sweep == sweep.name


def test_there_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(RecordNotFoundError, match="no such folder"):
        Archive(tmp_path / "none")
    with pytest.raises(RecordNotFoundError, match="no run folder"):
        RunRecord(tmp_path)
    assert list(Archive(tmp_path).runs()) == []
    assert list(Archive(tmp_path).sweeps()) == []
    assert list(Archive(tmp_path).damaged()) == []


META_DAMAGE: dict[str, object] = {
    "empty": b"",
    "half": b'{"format": "expedition-run", "form',
    "list": b"[]",
    "binary": bytes(range(256)),
    "deep": b'{"a":' * 100_000,
    "foreign": b'{"format": "something"}',
    "newer": {"format_version": "2.0"},
    "no version": {"format_version": None},
    "no key": {"key": None},
    "no outcome": {"outcome": None},
    "status of no text": {"status": 5},
    "bad time": {"start": "yesterday"},
    "bad error": {"outcome": {"error": {"type": "x"}}},
    "parameters of no object": {"parameters": {"alpha": 3}},
    "process of no object": {"process": []},
}


@pytest.mark.parametrize("damage", META_DAMAGE)
def test_a_damaged_run_is_left_out_named_and_harms_no_other(root: Path, sweep: Path, damage: str) -> None:
    file = sweep / "0002-kind=a-alpha=10.0" / "experiment_meta.json"
    how = META_DAMAGE[damage]
    if isinstance(how, bytes):
        file.write_bytes(how)
    else:
        assert isinstance(how, dict)
        edit(file, **how)
    archive = Archive(root)
    assert len(list(archive.runs())) == 6
    assert len(list(archive.runs("alpha > 0 or status == 'pending'"))) == 5
    ((folder, reason),) = archive.damaged()
    assert folder == file.parent
    assert file.relative_to(root).as_posix() in reason
    assert str(root) not in reason
    with pytest.raises(DamagedError):
        RunRecord(file.parent)
    with pytest.raises(DamagedError):
        archive.run("kind=a-alpha=10.0")
    if damage == "newer":
        assert "newer pytest-expedition" in reason


@pytest.mark.parametrize(
    "damage", ["empty", "half", "list", "deep", "foreign", "newer", "no runs", "no name"]
)
def test_a_damaged_manifest_costs_no_run(root: Path, sweep: Path, damage: str) -> None:
    file = sweep / "sweep.json"
    changes = {"newer": {"format_version": "2.0"}, "no runs": {"runs": None}, "no name": {"experiment": {}}}
    if damage in changes:
        edit(file, **changes[damage])
    else:
        how = META_DAMAGE[damage]
        assert isinstance(how, bytes)
        file.write_bytes(how)
    archive = Archive(root)
    assert [sweep.name for sweep in archive.sweeps()] == ["exp_single"]
    assert len(list(archive.runs())) == 7


@pytest.mark.parametrize(
    "tag",
    [
        {"$": "npy", "file": "../../../secret.npy", "dtype": "<f8", "shape": [3], "crc": "00000000"},
        {"$": "npy", "file": "/etc/passwd", "dtype": "<f8", "shape": [3], "crc": "00000000"},
        {"$": "npy", "file": "data/link.npy", "dtype": "<f8", "shape": [3], "crc": "00000000"},
        {"$": "npy", "file": "data/array.npy", "dtype": "<f4", "shape": [3], "crc": "00000000"},
        {"$": "npy", "file": "data/array.npy"},
        {"$": "frame", "file": "..\\x", "format": "csv"},
        {"$": "pickle", "v": "gASVCAAAAAAAAACMBHRlc3SULg=="},
        {"$": "array", "dtype": "O", "shape": [1], "v": [1]},
        {"$": "array", "dtype": "<f8", "shape": [10**12], "b64": ""},
        {"$": 5},
        {"$": None, "v": 1},
    ],
    ids=lambda tag: "-".join(map(str, tag.values()))[:40],
)
def test_hostile_values_are_refused_by_name(root: Path, sweep: Path, tmp_path: Path, tag: object) -> None:
    folder = sweep / "0000-kind=a-alpha=0.1"
    np.save(tmp_path / "secret.npy", np.zeros(3))
    (folder / "data" / "link.npy").symlink_to(tmp_path / "secret.npy")
    edit(folder / "experiment_data.json", array={"inner": [tag]})
    record = RunRecord(folder)
    with pytest.raises(DamagedError):
        _ = record.data
    assert record.status == "done"
    selected = [r.path for r in Archive(root).runs("kind == 'a' and data.scores.mean > 0")]
    assert folder in selected  # what is not asked for is not read
    assert len(selected) == 3
    assert folder not in [r.path for r in Archive(root).runs("data.array.inner or data.x == 1")]


def test_hostile_data_files(sweep: Path) -> None:
    folder = sweep / "0000-kind=a-alpha=0.1"
    journal = (folder / "experiment_journal.jsonl").read_bytes()
    tagged = RunRecord(folder).tagged_data
    for content in (b"", b"[1]", b'{"a":' * 100_000, b'{"a": NaN}', b"\xff"):
        (folder / "experiment_data.json").write_bytes(content)
        (folder / "experiment_journal.jsonl").write_bytes(journal)
        assert RunRecord(folder).tagged_data == tagged
        (folder / "experiment_journal.jsonl").write_bytes(journal + b"torn")
        with pytest.raises(DamagedError, match="experiment_data"):
            _ = RunRecord(folder).data
        ((damaged, reason),) = Archive(sweep).damaged()
        assert damaged == folder
        assert "experiment_data.json" in reason
        assert len(list(Archive(sweep).runs("kind == 'a'"))) == 3
        assert len(list(Archive(sweep).runs("kind == 'a' and scores.mean >= 0"))) == 2


@pytest.mark.parametrize(
    "value",
    [
        {"$": "bin", "o": 0, "d": "<f8", "sh": [10**15], "crc": "00000000"},
        {"$": "bin", "o": -1, "d": "<f8", "sh": [1], "crc": "00000000"},
        {"$": "bin", "o": 10**18, "d": "<f8", "sh": [1], "crc": "00000000"},
        {"$": "bin", "o": 0, "d": "O", "sh": [1], "crc": "00000000"},
        {"$": "bin"},
        {"$": "file", "file": "../../../secret.npy"},
        {"$": "file", "file": "/etc/passwd"},
        {"$": "file"},
        {"$": "nonsense"},
    ],
    ids=lambda value: "-".join(map(str, value.values())),
)
def test_hostile_series_are_refused(sweep: Path, value: object) -> None:
    from expedition.recording.journal import seal

    folder = sweep / "0000-kind=a-alpha=0.1"
    with open(folder / "experiment_journal.jsonl", "ab") as file:
        file.write(seal(json.dumps({"e": "track", "n": "bad", "s": 0, "t": 1, "v": value})))
        file.write(seal(json.dumps({"e": "track", "n": "step", "s": 2**70, "t": "x", "v": 1})))
    record = RunRecord(folder)
    with pytest.raises(DamagedError):
        _ = record.series["bad"]
    assert "step" not in record.series  # its only line is none of a series
    assert record.series["fold/rmse"].value.tolist() == [0.1 * i for i in range(4)]


def test_artifacts_of_a_hostile_record_stay_in_the_folder(sweep: Path) -> None:
    folder = sweep / "0000-kind=a-alpha=0.1"
    edit(
        folder / "experiment_meta.json",
        artifacts=[{"name": "../../x", "size": 1, "sha256": "", "kind": "raw"}],
    )
    with pytest.raises(ExpeditionError, match="leave the run folder"):
        _ = RunRecord(folder).artifacts


def test_a_manifest_whose_runs_lie_elsewhere_is_not_followed(sweep: Path) -> None:
    manifest = json.loads((sweep / "sweep.json").read_bytes())
    for folder in ("../0000-x", "/tmp/x", 5):
        manifest["runs"][0]["folder"] = folder
        (sweep / "sweep.json").write_text(json.dumps(manifest), encoding="utf-8")
        (found,) = Archive(sweep).sweeps()
        with pytest.raises(DamagedError, match=r"sweep\.json"):
            _ = found.entries


def test_a_run_that_died_between_its_end_and_its_commit_line_is_recovered(sweep: Path) -> None:
    from expedition.archive.commits import latest_commits
    from expedition.archive.sweep import SweepFolder

    whole = {line["index"]: line for line in latest_commits(SweepFolder.open(sweep))}
    (log,) = (sweep / "journal").glob("*.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0][:-20] + lines[1].replace(b'"done"', b'"dune"') + b"".join(lines[2:]))
    found = {line["index"]: line for line in latest_commits(SweepFolder.open(sweep))}
    assert found.keys() == whole.keys()
    for index, line in whole.items():
        line.pop("crc")
        found[index].pop("crc", None)
        for member in ("status", "data", "error", "seed", "start", "stop", "attempt", "derived"):
            assert found[index][member] == line[member], (index, member)
        assert {n: s["n"] for n, s in found[index]["series"].items()} == {"fold/rmse": 4, "field": 4}
    shutil.rmtree(sweep / "journal")
    assert len(list(latest_commits(SweepFolder.open(sweep)))) == 6


def test_equality_of_a_record_does_not_depend_on_where_it_is_read(whole: Laboratory, root: Path) -> None:
    listed = json.loads(
        whole.pytest("--archive-list", "--archive-format", "json", "--archive", root).exits(0).text
    )
    assert {row["id"] for row in listed} == set(whole.statuses())


def test_an_artifact_behind_a_link_is_not_read(sweep: Path, tmp_path: Path) -> None:
    from expedition.reporting.plain_folder import write_run

    folder = sweep / "0000-kind=a-alpha=0.1"
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("secret", encoding="utf-8")
    (folder / "sub").symlink_to(tmp_path / "secrets")
    (folder / "inner" / "deep").mkdir(parents=True)
    (folder / "inner" / "deep" / "fine").write_text("fine", encoding="utf-8")
    (folder / "way").symlink_to(folder / "inner")
    names = ["sub/key", "way/deep/fine", "inner/deep/fine"]
    edit(
        folder / "experiment_meta.json",
        artifacts=[{"name": name, "size": 6, "sha256": "", "kind": "raw"} for name in names],
    )
    artifacts = RunRecord(folder).artifacts
    assert list(artifacts) == names
    with pytest.raises(DamagedError, match=r"sub.key is a link or behind one"):
        _ = artifacts["sub/key"]
    assert artifacts["way/deep/fine"].read_text(encoding="utf-8") == "fine"
    (problem,) = write_run(RunRecord(folder), tmp_path / "out")
    assert "sub/key was left out" in problem
    copied = {path.name for path in (tmp_path / "out" / "artifacts").rglob("*") if path.is_file()}
    assert copied == {"fine"}


class TestDataFileThatCannotBeRead:
    """All that read a run say the same of its stored values."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        with Run.detached(tmp_path / "run", alpha=1.5) as e:
            e["x"] = 1
            e["a/b"] = [1.5, None]
            e.track("loss", 0.5)
        return tmp_path / "run"

    @pytest.mark.parametrize("damage", ["{broken", "[]", None])
    def test_the_journal_has_the_values(self, path: Path, damage: str | None) -> None:
        (path / "experiment_data.json").unlink()
        if damage is not None:
            (path / "experiment_data.json").write_text(damage, encoding="utf-8")
        record = RunRecord(path)
        assert record.data == {"x": 1, "a": {"b": [1.5, None]}}
        assert "experiment_data.json" in record.data_problem
        (row,) = Archive(path).rows()
        assert row.data == record.flat_data
        assert row.status == "done"
        assert "experiment_data.json" in row.problem
        assert [problem for _, problem in Archive(path).damaged()] == [row.problem]

    @pytest.mark.parametrize("lines", [slice(0, -1), slice(1, None)])
    def test_a_journal_that_is_not_whole_counts_for_nothing(self, path: Path, lines: slice) -> None:
        file = path / "experiment_journal.jsonl"
        content = file.read_bytes().splitlines(keepends=True)
        if lines.start:
            content[0] = content[0].replace(b'"x"', b'"y"')
        else:
            content = content[lines]
        file.write_bytes(b"".join(content))
        (path / "experiment_data.json").write_text("{broken", encoding="utf-8")
        with pytest.raises(DamagedError, match=r"experiment_data\.json"):
            _ = RunRecord(path).data

    def test_a_run_that_stored_nothing_needs_no_data_file(self, tmp_path: Path) -> None:
        with Run.detached(tmp_path / "run") as e:
            e.track("loss", 0.5)
        record = RunRecord(tmp_path / "run")
        assert (record.data, record.data_problem) == ({}, "")
