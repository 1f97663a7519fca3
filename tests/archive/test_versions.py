"""Archives of older and newer versions of the format: read where that can be, repaired, or refused by name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from expedition import Archive, RunRecord, Trajectory
from expedition.archive.migration import migrate_sweep
from expedition.archive.sweep import SweepFolder
from expedition.archive.versions import check_version, version_to_write
from expedition.errors import DamagedError
from expedition.recording import layout
from expedition.recording.journal import seal
from tests.archive.conftest import edit, fingerprint
from tests.durability.laboratory import Laboratory

EARLY = Path(__file__).parent / "old_format"
"""Written by the version in which a run had no meta file before its end; its third run died. (Machine made up.)"""


@pytest.fixture
def early(lab: Laboratory) -> Laboratory:
    shutil.copytree(EARLY, lab.path / "results")
    for file in (lab.path / "results").rglob("*"):
        os.utime(file, (1.7e9, 1.7e9))  # of another host, and silent for long: nobody is at it any more
    return lab


def test_what_early_archives_lack_has_defaults(early: Laboratory) -> None:
    before = fingerprint(early.path / "results")
    first, second = early.archive.runs("status != 'damaged'")
    assert (first.status, first.params, first.tags) == ("done", {"x": 1, "SIZE": 3}, ["paper"])
    assert first.data["t"] == (1, None)
    assert first.series["loss"].value.tolist() == [0, 1, 2]
    assert (second.status, second.error.type) == ("failed", "AssertionError")
    assert (first.edits, first.inputs, first.repeats, first.derived) == ([], [], None, {})
    (sweep,) = early.archive.sweeps()
    assert [entry.id for entry in sweep.entries] == ["x=1", "x=2", "x=3"]
    assert fingerprint(early.path / "results") == before


def test_a_run_in_an_older_form_is_listed_as_damaged_with_the_remedy(early: Laboratory) -> None:
    ((path, reason),) = early.archive.damaged()
    assert path.name == "0002-x=3"
    assert "experiment_meta.json is gone" in reason
    assert "--archive-repair" in reason


def test_a_repair_brings_an_early_archive_into_the_form_of_now(early: Laboratory) -> None:
    before = fingerprint(early.path / "results")
    dry = early.pytest("--archive-repair", "--dry-run").exits(0).text
    assert "1 folder of an older version: experiment_meta.json made from the journal" in dry
    assert {n: f[1:] for n, f in fingerprint(early.path / "results").items() if n in before} == {
        name: found[1:] for name, found in before.items()
    }
    text = early.pytest("--archive-repair").exits(0).text
    assert "1 folder of an older version: experiment_meta.json made from the journal" in text
    after = fingerprint(early.path / "results")
    sweep = next(iter(early.archive.sweeps())).path
    assert {n: f[2] for n, f in after.items() if n in before} == {n: f[2] for n, f in before.items()}
    made = {name for name in after.keys() - before.keys() if "/journal/" not in name}
    assert made >= {
        f"exp_old/{sweep.name}/0002-x=3/experiment_meta.json",
        f"exp_old/{sweep.name}/trajectory.h5",
    }
    run = early.archive.run("x=3")
    assert run.status in (
        "crashed",
        "unknown",
    )  # its files are new, so that another host may seem to be at it
    assert run.data["a"] == {"b": 1.5}
    assert run.data["arr"].tolist() == list(map(float, range(200)))
    assert run.series["loss"].value.tolist() == [0, 3, 6]
    assert [*run.artifacts] == ["n.txt"]
    with Trajectory.open(sweep) as traj:
        assert traj.res.a.b[:].tolist() == [0.5, 1.0, 1.5]
    assert "older version" not in early.pytest("--archive-repair").exits(0).text


def test_attempts_and_children_are_brought_along(early: Laboratory) -> None:
    (sweep,) = early.archive.sweeps()
    folder = sweep.path / "0002-x=3"
    for part in ("attempts/0", "children/0000-x"):
        (folder / part).mkdir(parents=True)
        shutil.copy(folder / layout.JOURNAL_FILE, folder / part)
    assert migrate_sweep(sweep.path, write=False).counts == {"experiment_meta.json made from the journal": 3}
    assert not (folder / layout.META_FILE).exists()
    assert migrate_sweep(sweep.path).counts == {"experiment_meta.json made from the journal": 3}
    assert migrate_sweep(sweep.path).counts == {}
    assert [child.id for child in RunRecord(folder).children] == ["x=3"]
    assert RunRecord(folder / "attempts" / "0").series["loss"].value.tolist() == [0, 3, 6]


def test_what_cannot_be_brought_along_is_said(early: Laboratory) -> None:
    (sweep,) = early.archive.sweeps()
    journal = sweep.path / "0002-x=3" / layout.JOURNAL_FILE
    journal.write_bytes(seal(json.dumps({"e": "start", "meta": {"format": "expedition-run"}})))
    found = migrate_sweep(sweep.path)
    assert not found.counts
    assert "format version (none)" in found.problems[0]
    assert not (journal.parent / layout.META_FILE).exists()
    early.pytest("--archive-repair").exits(1)


# -- before the first release -----------------------------------------------------------------------------

LATER = ("replicate", "attempt", "sweep", "tags", "notes", "outcome", "process")


def _age(sweep: Path, version: str) -> None:
    for file in [*sweep.rglob(layout.META_FILE)]:
        edit(file, format_version=version, **dict.fromkeys(LATER))
    manifest = {"replicates": None, "paired": None, "design": None, "sharded": None, "options": None}
    edit(sweep / layout.SWEEP_FILE, format_version=version, provenance=None, **manifest)


def test_version_0_is_read_with_defaults_and_brought_up_to_date(root: Path, sweep: Path) -> None:
    ids = {record.id: record.status for record in Archive(sweep).runs()}
    _age(sweep, "0.9")
    before = fingerprint(root)
    records = list(Archive(sweep).runs("kind == 'a' or kind == 'b'"))
    assert {record.id: record.status for record in records} == ids
    assert (records[0].replicate, records[0].attempt, records[0].tags, records[0].error) == (0, 0, [], None)
    assert records[0].meta["outcome"] is not records[1].meta["outcome"]
    assert SweepFolder.open(sweep).manifest["replicates"] == 1
    assert fingerprint(root) == before
    assert migrate_sweep(sweep).counts == {f"written as version {layout.FORMAT_VERSION}": 7}
    for record in Archive(sweep).runs():
        assert record.meta["format_version"] == layout.FORMAT_VERSION
        assert json.loads((record.path / layout.META_FILE).read_bytes())["tags"] == []
    assert migrate_sweep(sweep).counts == {}


def test_a_single_run_is_brought_up_to_date_with_its_sweep(root: Path) -> None:
    (sweep,) = (root / "deep" / "exp_single").iterdir()
    _age(sweep, "0.1")
    assert Archive(sweep).run(sweep).data == {"x": 1}
    assert migrate_sweep(sweep).counts == {f"written as version {layout.FORMAT_VERSION}": 2}
    assert Archive(sweep).run(sweep).meta["format_version"] == layout.FORMAT_VERSION


# -- newer ones -------------------------------------------------------------------------------------------


def test_a_later_minor_version_is_read_and_what_is_unknown_passed_over(root: Path, sweep: Path) -> None:
    folder = sweep / "0000-kind=a-alpha=0.1"
    new: dict[str, Any] = {"format_version": "1.99", "mood": {"good": True}}
    edit(folder / layout.META_FILE, **new)
    edit(sweep / layout.SWEEP_FILE, **new)
    with open(folder / layout.JOURNAL_FILE, "ab") as journal:
        journal.write(seal(json.dumps({"e": "mood", "v": 1})))
        journal.write(seal(json.dumps({"e": "track", "n": "fold/rmse", "s": 4, "t": 1, "v": 0.5, "mood": 1})))
    record = RunRecord(folder)
    assert record.data["kind"] == "a"
    assert record.series["fold/rmse"].value.tolist() == [0.0, 0.1, 0.2, 0.1 * 3, 0.5]
    assert len(SweepFolder.open(sweep).entries) == 6
    assert len(list(Archive(root).runs("alpha > 0"))) == 6
    assert not migrate_sweep(sweep).counts


def test_a_newer_major_version_costs_its_own_run_only(root: Path, sweep: Path) -> None:
    edit(sweep / "0001-kind=a-alpha=1.0" / layout.META_FILE, format_version="2.0")
    rows = {row.path.name: row for row in Archive(root).rows()}
    row = rows["0001-kind=a-alpha=1.0"]
    assert (row.status, len(rows)) == ("damaged", 7)
    assert (
        "format version 2.0, this Expedition reads 1.x: read it with a newer pytest-expedition" in row.problem
    )
    with pytest.raises(DamagedError, match="newer pytest-expedition"):
        Archive(root).run("kind=a-alpha=1.0")
    assert len(list(Archive(root).runs("alpha > 0"))) == 5
    assert not migrate_sweep(sweep).counts


@pytest.mark.parametrize(
    "version", ["", None, 1.0, "1", "1.0.0", "one", "1.x", "-1.0", "1." + "0" * 5_000, ["1.0"]]
)
def test_what_is_no_version_is_refused(version: object) -> None:
    with pytest.raises(DamagedError, match="format version") as caught:
        check_version(version, Path("x.json"))
    assert len(str(caught.value)) < 300


def test_a_file_that_is_written_again_is_of_no_older_version() -> None:
    assert version_to_write({"format_version": "1.0"}) == layout.FORMAT_VERSION
    assert version_to_write({"format_version": "1.7"}) == "1.7"
    assert version_to_write({"format_version": "0.7"}) == layout.FORMAT_VERSION
    assert version_to_write({}) == layout.FORMAT_VERSION


def test_an_artifact_is_no_run_to_be_written_again(whole: Laboratory, root: Path) -> None:
    (sweep,) = (root / "deep" / "exp_single").iterdir()
    artifact = sweep / "2024" / layout.META_FILE
    artifact.parent.mkdir()
    meta = json.loads((sweep / layout.META_FILE).read_bytes())
    artifact.write_text(json.dumps({**meta, "format_version": "0.9"}), encoding="utf-8")
    before = artifact.read_bytes()
    assert not migrate_sweep(sweep).counts
    assert artifact.read_bytes() == before
    assert SweepFolder.open(sweep).started_folders() == {"."}
    assert [row.path for row in Archive(sweep).rows()] == [sweep]
