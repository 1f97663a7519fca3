"""What the status of a run without an end record is: found out from its lock, host, boot and silence."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from expedition import Archive, Run, RunRecord
from tests.durability.laboratory import Laboratory, Started

EXPERIMENT = """
import os, time
from pathlib import Path
from expedition import experiment

@experiment.parametrize("x", [0, 1])
def exp_alive(e, x: int = 0):
    e.track("i", 1)
    e["now"] = x
    side = Path(os.environ["SIDE"])
    (side / f"alive-{x}").touch()
    while x and not (side / "go").exists():
        time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Laboratory, Started]]:
    lab = Laboratory(tmp_path_factory.mktemp("alive") / "lab")
    lab.write("exp_alive.py", EXPERIMENT)
    started = lab.start()
    started.wait_for(lambda: (lab.side / "alive-1").exists())
    yield lab, started
    (lab.side / "go").touch()
    started.end().exits(0)
    assert lab.statuses() == {"x=0": "done", "x=1": "done"}


def moved(lab: Laboratory, to: Path, **process: str) -> RunRecord:
    """A copy of the sweep, whose running run says that it belongs to another process."""
    shutil.copytree(lab.sweep(), to / "copy")
    (folder,) = (to / "copy").glob("0001-*")
    meta = json.loads((folder / "experiment_meta.json").read_bytes())
    meta["process"].update(process)
    (folder / "experiment_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return RunRecord(folder)


def test_a_live_run_reads_running_with_what_it_has_recorded_so_far(
    working: tuple[Laboratory, Started],
) -> None:
    lab, _ = working
    for _ in range(3):  # asking does not take the lock away
        record = lab.records()["x=1"]
        assert record.status == "running"
        assert record.data == {"now": 1}
        assert record.series["i"].value.tolist() == [1]
        assert record.stopped is None
    listed = json.loads(lab.pytest("--archive-list", "--archive-format", "json").exits(0).text)
    assert {row["id"]: row["status"] for row in listed} == {"x=0": "done", "x=1": "running"}
    assert lab.commits()["x=1"]["status"] == "running"


def test_a_resume_of_a_sweep_that_is_being_worked_on_touches_nothing(
    working: tuple[Laboratory, Started],
) -> None:
    lab, _ = working
    before = sorted(str(path) for path in lab.sweep().rglob("*"))
    assert "cannot be resumed: another invocation is at it" in lab.run("--resume").exits(4).text
    assert "1 running, 1 done" in lab.run("--resume", "--collect-only", "--why-stale").exits(0).text
    assert sorted(str(path) for path in lab.sweep().rglob("*")) == before


def test_a_copy_of_a_live_run_is_not_alive(working: tuple[Laboratory, Started], tmp_path: Path) -> None:
    assert moved(working[0], tmp_path).status == "crashed"


def test_of_another_host_nothing_is_known_for_a_day(
    working: tuple[Laboratory, Started], tmp_path: Path
) -> None:
    record = moved(working[0], tmp_path, host="elsewhere")
    assert record.status == "unknown"
    files = [record.path / f"experiment_{name}" for name in ("meta.json", "journal.jsonl", "out.log")]
    present = [file for file in files if file.exists()]
    now = time.time()

    def age(hours: float) -> str:
        for file in present:
            os.utime(file, (now - hours * 3600,) * 2)
        return RunRecord(record.path).status

    assert age(23.9) == "unknown"
    assert age(24.1) == "crashed"
    os.utime(record.path / "experiment_journal.jsonl")  # touched again: it lives, or may
    assert RunRecord(record.path).status == "unknown"


def test_nothing_survives_a_boot(working: tuple[Laboratory, Started], tmp_path: Path) -> None:
    copy = moved(working[0], tmp_path, boot_id="00000000-0000-0000-0000-000000000000")
    assert copy.status == "crashed"


def test_a_detached_run_lives_as_long_as_its_process(tmp_path: Path) -> None:
    run = Run.detached(tmp_path / "run")
    run["x"] = 1
    assert RunRecord(run.path).status == "running"
    assert RunRecord(run.path).data == {"x": 1}
    child = os.fork()
    if child == 0:
        other = Run.detached(tmp_path / "other")
        other.track("t", 1.5)
        os._exit(0)
    os.waitpid(child, 0)
    record = RunRecord(tmp_path / "other")
    assert record.status == "crashed"
    assert record.series["t"].value.tolist() == [1.5]
    assert {r.status for r in Archive(tmp_path / "run").runs()} == {"running"}
    run.close()
    assert RunRecord(run.path).status == "done"
