"""``--archive-repair``: what the logs lost comes back from the run folders, and nothing is taken away."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from expedition import Archive, Trajectory
from expedition.archive.commits import latest_commits
from expedition.archive.liveness import is_held
from expedition.archive.sweep import SweepFolder
from expedition.plugin.acting.performing import perform
from expedition.plugin.acting.repairing import plan_repair
from expedition.recording.journal import read_journal
from tests.durability.laboratory import Laboratory
from tests.trajectory.growing import differences, update_and_compare

EXPERIMENT = """
import os
import numpy as np
import pytest
from expedition import experiment

@experiment(tags=["paper"])
@experiment.parametrize("x", range(7))
def exp_all(e, x: int = 0, name: str = "é"):
    e["b/deep"] = x / 2
    e["a"] = x
    e["b/other"] = f"text {x}"
    e["large"] = np.full(300, x)
    e["small"] = np.arange(x + 1)
    e["list"] = [x, None]
    del e["a"]
    e["a"] = (x, 1)
    for step in range(x + 1):
        e.track("loss", step / 2)
        e.track("field", np.full(200, step))
    e.derived("twice", 2 * x)
    e.annotate("b/deep", "how deep", unit="m")
    e.tag("mine")
    if x == 3:
        e.skip("too odd")
    if x == 4:
        pytest.xfail("known")
    assert x != 5, "five"
    if x == 6:
        os._exit(1)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")


@pytest.fixture
def swept(lab: Laboratory) -> Laboratory:
    """A project with one sweep: its last run died, and took the trajectory with it."""
    lab.write("exp_all.py", EXPERIMENT)
    assert lab.run().code != 0
    return lab


def repair(lab: Laboratory, code: int, *says: str, arguments: tuple[object, ...] = ()) -> str:
    """Repair the archive; return what was printed, which has the parts `says`."""
    text = lab.pytest("--archive-repair", *arguments).exits(code).text
    for part in says:
        assert part in text, text
    return text


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a sweep but for its trajectory and commit logs."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if not name.startswith(("traj", "journal/"))
    }


def commits(sweep: Path) -> dict[int, dict[str, object]]:
    lines = [line for path in (sweep / "journal").glob("*.jsonl") for line in read_journal(path)]
    assert len({line["index"] for line in lines}) == len(lines)
    return {line["index"]: {name: part for name, part in line.items() if name != "crc"} for line in lines}


def test_lost_logs_come_back(swept: Laboratory) -> None:
    sweep = swept.sweep()
    repair(swept, 0, f"exp_all/{sweep.name}: 7 runs, trajectory.h5, which was missing, written anew")
    kept = shutil.copy(sweep / "trajectory.h5", swept.path / "kept.h5")
    before, lines = files(sweep), commits(sweep)
    assert sorted(lines) == [0, 1, 2, 3, 4, 5]
    shutil.rmtree(sweep / "journal")
    (sweep / "trajectory.h5").unlink()
    repair(swept, 0, "7 runs", "6 commit lines written again")
    assert not differences(Path(kept), sweep / "trajectory.h5")
    assert commits(sweep) == lines
    assert files(sweep) == before
    assert {record.status for record in swept.archive.runs()} == {"done", "skipped", "failed", "crashed"}
    assert all(record.tags == ["paper", "mine"] for record in swept.archive.runs())
    # A second time there is nothing left to do; and the next update builds on what was written.
    assert "again" not in repair(swept, 0)
    assert update_and_compare(sweep) == 0
    with Trajectory.open(sweep) as traj:
        assert traj.series.loss[5].value.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
        assert traj[6].res.a == (6, 1)


def test_damaged_logs_and_a_damaged_trajectory(swept: Laboratory) -> None:
    sweep = swept.sweep()
    repair(swept, 0)
    kept = shutil.copy(sweep / "trajectory.h5", swept.path / "kept.h5")
    (log,) = (path for path in (sweep / "journal").glob("*.jsonl"))
    lines = log.read_bytes().splitlines(keepends=True)
    damaged = (
        lines[0].replace(b'"text 0"', b'"text 9"') + lines[1] + b"\0" * 40 + b"\n" + b"".join(lines[3:-1])
    )
    log.write_bytes(damaged + lines[-1][:-30])
    (sweep / "trajectory.h5").write_bytes(b"not HDF5")
    repair(swept, 0, "3 commit lines written again")
    assert log.read_bytes() == damaged + lines[-1][:-30]
    assert not differences(Path(kept), sweep / "trajectory.h5")
    statuses = [line["status"] for line in latest_commits(SweepFolder.open(sweep))]
    assert sorted(statuses) == ["crashed", "done", "done", "done", "done", "failed", "skipped"]


def test_what_the_journals_of_runs_lost_is_taken_from_their_other_files(swept: Laboratory) -> None:
    sweep = swept.sweep()
    repair(swept, 0)
    lines = commits(sweep)
    shutil.rmtree(sweep / "journal")
    folders = {record.index: record.path for record in swept.archive.runs()}
    (folders[0] / "experiment_journal.jsonl").unlink()
    journal = (folders[1] / "experiment_journal.jsonl").read_bytes()
    (folders[1] / "experiment_journal.jsonl").write_bytes(journal[:100] + b"~" + journal[101:])
    repair(swept, 1, "cannot be repaired: ", "1 of 1 entries of the series loss are lost")
    assert commits(sweep) == lines


def test_what_cannot_be_repaired_is_said(swept: Laboratory) -> None:
    sweep = swept.sweep()
    repair(swept, 0)
    folders = {record.index: record.path for record in swept.archive.runs()}
    shutil.rmtree(sweep / "journal")
    (folders[2] / "experiment_meta.json").write_bytes(b"{")
    (folders[1] / "experiment_meta.json").unlink()
    next((folders[0] / "data").glob("large*")).unlink()
    shutil.copytree(sweep, sweep.with_name("another"))
    (sweep.with_name("another") / "sweep.json").write_bytes(b"{")
    text = repair(swept, 1, "another: cannot be repaired: ", "sweep.json is damaged")
    assert "5 runs, trajectory.h5 written anew, 4 commit lines written again" in text
    assert "experiment_meta.json is damaged" in text
    assert "its experiment_meta.json is gone" in text
    assert "the array of run 0" in text
    with Trajectory.open(sweep) as traj:
        assert [run.status for run in traj][:4] == ["done", "pending", "pending", "skipped"]


def test_only_the_folder_that_is_named(swept: Laboratory) -> None:
    first = swept.sweep()
    swept.run()
    (second,) = (s.path for s in swept.archive.sweeps() if s.path != first)
    for sweep in (first, second):
        (sweep / "trajectory.h5").write_bytes(b"")
    repair(swept, 0, f"{second.name}: 7 runs", arguments=("--archive", second))
    assert (first / "trajectory.h5").stat().st_size == 0
    assert len(Trajectory.open(second)) == 7


def test_archives_without_a_sweep(lab: Laboratory) -> None:
    repair(lab, 0, "nothing to repair: there is no sweep in")
    (lab.path / "results").mkdir()
    lab.write("exp_broken.py", "raise RuntimeError('broken file')")
    repair(lab, 0, "nothing to repair")
    repair(lab, 4, "--where", arguments=("--where", "x == 1"))


def test_a_sweep_that_is_being_worked_on_keeps_its_logs(lab: Laboratory) -> None:
    lab.write(
        "exp_slow.py",
        """
        import os, time
        from pathlib import Path
        from expedition import experiment

        @experiment.parametrize("x", [0, 1])
        def exp_slow(e, x: int = 0):
            e["x"] = x
            while x and not Path(os.environ["SIDE"], "go").exists():
                time.sleep(0.02)
        """,
    )
    started = lab.start()
    started.wait_for(
        lambda: [r.status for r in lab.archive.runs()] == ["done", "running"] if results(lab) else False
    )
    sweep = lab.sweep()
    for path in (sweep / "journal").glob("*.jsonl"):
        path.rename(lab.path / path.name)
    repair(lab, 0, "2 runs", "an invocation is at it")
    assert not list((sweep / "journal").glob("*.jsonl"))
    with Trajectory.open(sweep) as traj:
        assert [run.status for run in traj] == ["done", "running"]
    (lab.side / "go").touch()
    started.end().exits(0)
    assert not any(is_held(lock) for lock in (sweep / "journal").glob("*.lock"))
    repair(lab, 0)
    assert lab.statuses() == {"x=0": "done", "x=1": "done"}
    assert os.listdir(sweep / "journal")


def results(lab: Laboratory) -> bool:
    return (lab.path / "results").is_dir() and any(True for _ in Archive(lab.path / "results").runs())


TINY = "from expedition import experiment\n\n@experiment\ndef exp_a(e):\n    e['a'] = 1\n"


def test_what_was_lost_of_trajectories_is_told(lab: Laboratory) -> None:
    lab.write("exp_a.py", TINY)
    for _ in range(3):
        lab.run().exits(0)
    first, second, _ = Archive(lab.path / "results").sweep_folders()
    (first / "trajectory.h5").unlink()
    (second / "trajectory.h5").write_bytes(b"broken")
    for options in (["--dry-run"], []):
        out = lab.pytest("--archive-repair", *options).exits(0)
        assert "trajectory.h5, which was missing, " in out.text
        assert "trajectory.h5, which was broken, " in out.text
        assert out.text.count("which was") == 2
    assert "repaired 3 sweeps; of the trajectories 1 was missing, 1 was broken" in out.text
    again = repair(lab, 0, "of the trajectories all were whole")
    assert "which was" not in again


def test_a_disk_that_is_read_only(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is said to be at it, and one plain line says what is wrong."""
    lab.write("exp_a.py", TINY)
    lab.run().exits(0)
    (sweep,) = Archive(lab.path / "results").sweep_folders()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"{sweep}/trajectory.h5.tmp-1-x")

    monkeypatch.setattr("expedition.plugin.acting.repairing.hold_sweep", refuse)
    monkeypatch.setattr("expedition.trajectory.repair.compile_trajectory", refuse)
    assert perform(plan_repair(lab.path / "results"), dry_run=False, yes=True, asks=False) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"exp_a/{sweep.name}: cannot be repaired: the file system is read-only\n"
