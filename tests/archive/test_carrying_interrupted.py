"""Carrying runs elsewhere while they are edited, after a kill, and from manifests that lead nowhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from expedition import Archive, RunRecord, Trajectory
from expedition.archive.edits import PREPARED, edit_run, finish_edit
from expedition.archive.operation_text import parse_operation
from expedition.archive.zip_file import ZipOutput
from expedition.errors import DamagedError, ExperimentError
from expedition.plugin.acting.compression import plan_compression
from expedition.plugin.acting.importing import _Import, plan_import
from expedition.plugin.acting.incoming import FolderSource
from expedition.plugin.acting.repairing import plan_repair
from tests.archive.conftest import edit, fingerprint
from tests.archive.test_carrying import compress, contents, statuses, take_in
from tests.archive.test_zips import pack


def half_edited(record: RunRecord, operation: str) -> None:
    """Edit a run as a process does that is killed between the data file and the meta file."""
    replace = os.replace

    def dies(source: Path, target: Path) -> None:
        if Path(source).name == PREPARED:
            raise KeyboardInterrupt
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            edit_run(record, [parse_operation(operation)])


def test_a_half_made_edit_stays_where_it_can_be_finished(root: Path, tmp_path: Path) -> None:
    record = Archive(root).run("kind=a-alpha=0.1")
    half_edited(record, "set data.kind=other")
    with pytest.raises(ExperimentError, match=rf"{re.escape(str(record.path))}.*--archive-repair"):
        plan_compression(root, list(Archive(root).rows()), tmp_path / "a.zip")
    with pytest.raises(ExperimentError, match=r"0000-.*--archive-repair"):
        plan_import(tmp_path / "new", root)
    assert not (tmp_path / "new").exists()
    compress(root, tmp_path / "others.zip", "alpha > 0.5")
    assert list(plan_repair(root).apply())
    take_in(tmp_path / "new", compress(root, tmp_path / "a.zip"))
    found = Archive(tmp_path / "new").run("kind=a-alpha=0.1")
    assert found.data["kind"] == "other"
    assert [made["operation"] for made in found.meta["edits"]] == ["set data.kind=other"]


@pytest.mark.parametrize("ends", [True, False])
def test_an_edit_while_runs_are_copied(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    record = Archive(root).run("kind=b-alpha=10.0")
    edits = [f"set data.kind={name}" for name in ("one", "two", "three")]

    def change() -> None:
        if ends:
            edit_run(RunRecord(record.path), [parse_operation(edits.pop())])
        else:
            half_edited(RunRecord(record.path), edits.pop())

    add, copy = ZipOutput.add_file, FolderSource.copy

    def slow_add(self: ZipOutput, name: str, source: Path) -> None:
        add(self, name, source)
        if source == record.path / "experiment_data.json":
            change()

    def slow_copy(self: FolderSource, name: str, target: Path) -> None:
        copy(self, name, target)
        if self.path / name == record.path / "experiment_data.json":
            change()

    monkeypatch.setattr(ZipOutput, "add_file", slow_add)
    monkeypatch.setattr(FolderSource, "copy", slow_copy)
    new = tmp_path / "new"
    actions = [plan_import(new, root), plan_compression(root, list(Archive(root).rows()), tmp_path / "a.zip")]
    for action in actions:
        assert not any("imported" in line for line in action.apply())
        assert record.path.name in action.problems[0]
        finish_edit(record.path)
    assert [path.name for path in new.iterdir()] == [".gitignore"]
    assert not (tmp_path / "a.zip").exists()


def test_a_trajectory_that_is_older_than_its_runs(root: Path, sweep: Path, tmp_path: Path) -> None:
    edit_run(Archive(root).run("kind=a-alpha=0.1"), [parse_operation("set data.scores.mean=77.0")])

    for log in (sweep / "journal").glob("*.jsonl"):  # so that the folders count
        log.unlink()
    place = sweep.relative_to(root)
    take_in(tmp_path / "from folder", root)
    take_in(tmp_path / "from zip", pack(root, tmp_path / "old.zip"))
    packed = compress(root, tmp_path / "a.zip")
    for found in (
        tmp_path / "from folder" / place,
        tmp_path / "from zip" / place,
        packed / root.name / place,
    ):
        with Trajectory.open(found) as trajectory:
            assert 77.0 in trajectory.to_pandas()["scores.mean"].tolist()


DYING = """
import os, sys
from pathlib import Path
from expedition.plugin.acting import importing

count, rename, compile = 0, os.rename, importing._Import._compile

def last(*arguments):
    global count
    count += 1
    if count == int(sys.argv[3]):
        os._exit(9)

def dying(source, target):
    last()
    rename(source, target)

def compiling(self, folder, place):
    last()
    compile(self, folder, place)

os.rename, importing._Import._compile = dying, compiling
for line in importing.plan_import(Path(sys.argv[1]), Path(sys.argv[2])).apply():
    pass
"""


def everything(root: Path) -> dict[str, str]:
    """The content of all files but of trajectories, which are compared by what they say, and locks."""
    found = {name: content for name, (_, _, content) in fingerprint(root).items() if content}
    return {name: content for name, content in found.items() if not name.endswith((".lock", "trajectory.h5"))}


def test_killed_at_every_step_and_begun_again(root: Path, sweep: Path, tmp_path: Path) -> None:
    low = compress(root, tmp_path / "low.zip", "alpha < 0.5")
    for log in (sweep / "journal").glob("*.jsonl"):
        log.rename(log.with_name(f"later-{log.name}"))
    (sweep / "summary").mkdir()
    (sweep / "summary" / "note.txt").write_text("all", encoding="utf-8")
    rest = pack(root, tmp_path / "rest.zip")
    take_in(tmp_path / "undisturbed", low)
    template = shutil.copytree(tmp_path / "undisturbed", tmp_path / "template")
    take_in(tmp_path / "undisturbed", rest)
    there = sweep.relative_to(root)
    for step in range(1, 50):
        new = shutil.copytree(template, tmp_path / f"new{step}")
        status = subprocess.run([sys.executable, "-c", DYING, new, rest, str(step)], check=False).returncode
        if status == 0:
            break
        assert status == 9
        if step % 2:  # what comes in between takes nothing of it away
            take_in(new, low)
            assert statuses(new / there)
        take_in(new, rest)
        assert not list(new.glob(".import-*"))
        if step % 2 == 0:
            assert everything(new) == everything(tmp_path / "undisturbed")
        assert contents(new) == contents(tmp_path / "undisturbed")
        assert statuses(new / there) == statuses(tmp_path / "undisturbed" / there)
        assert "here already" in take_in(new, rest)[0]
    assert step > 6


def test_a_single_run_that_was_killed_halfway(root: Path, tmp_path: Path) -> None:
    single = next((root / "deep" / "exp_single").iterdir())
    file, new = pack(root, tmp_path / "a.zip"), tmp_path / "new"
    take_in(new, file)
    there = new / single.relative_to(root)
    before = everything(new)
    for name in ("experiment_meta.json", "experiment_journal.jsonl"):
        (there / name).unlink()
    take_in(new, file)
    assert everything(new) == before


@pytest.mark.parametrize(
    "namespace",
    [
        *(
            "x" * 300,
            "é" * 200,
            "/".join("abcd" * 300),
            "CON",
            "a/nul.txt",
            "lpt1",
            "results.",
            "exp ",
            " exp",
            "a//b",
        ),
        *(
            5,
            ["a", "b"],
            {"a": 1},
            False,
            "exp\x1b]0;x\x07",
            "a\nb",
            "a\u202eb",
            "\ud800",
            "sweep.json",
            "a:b",
        ),
    ],
)
def test_a_namespace_that_not_every_file_system_holds(
    root: Path, sweep: Path, tmp_path: Path, namespace: object
) -> None:
    manifest = json.loads((sweep / "sweep.json").read_bytes())
    manifest["experiment"]["namespace"] = namespace
    (sweep / "sweep.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(DamagedError, match="namespace is folder names") as caught:
        plan_import(tmp_path / "new", pack(root, tmp_path / "a.zip"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("namespace", ["console", "a b/c.d", "größe", "com", "con_1", "nuls"])
def test_a_namespace_that_every_file_system_holds(
    root: Path, sweep: Path, tmp_path: Path, namespace: str
) -> None:
    manifest = json.loads((sweep / "sweep.json").read_bytes())
    edit(sweep / "sweep.json", experiment={**manifest["experiment"], "namespace": namespace})
    take_in(tmp_path / "new", pack(root, tmp_path / "a.zip"))
    assert (tmp_path / "new" / namespace / sweep.name).is_dir()


def test_an_import_that_was_interrupted_is_finished(
    root: Path, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    take_in(new, compress(root, tmp_path / "low.zip", "alpha < 0.5"))
    file = compress(root, tmp_path / "all.zip")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_Import, "_compile", interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(plan_import(new, file).apply())
    there = new / sweep.relative_to(root)
    preview = list(plan_import(new, file).preview())
    assert f"finish the import of {sweep.relative_to(root).as_posix()}, which had been killed" in preview
    assert any("finished the import" in line for line in take_in(new, file))
    assert statuses(there) == statuses(sweep)
    assert not list(new.glob(".import-*"))
