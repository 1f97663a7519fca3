"""``--archive-delete``, ``--archive-restore`` and ``--archive-purge``: nothing is lost before it is purged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from expedition import Archive, Trajectory
from expedition.archive.index import INDEX_FILE
from expedition.archive.liveness import is_held
from expedition.errors import AmbiguousRunError, RecordNotFoundError
from expedition.plugin.acting.deletion import plan_deletion
from expedition.plugin.acting.purging import plan_purge
from expedition.plugin.acting.restoration import plan_restoration
from tests.archive.conftest import fingerprint
from tests.durability.laboratory import PATIENCE
from tests.killing import killed_before
from tests.plugin.conftest import Lab, Outcome
from tests.plugin.test_modification import EXPERIMENT, check_agreement, only_sweep
from tests.trajectory.growing import differences


@pytest.fixture
def swept(lab: Lab) -> Lab:
    lab.experiment(EXPERIMENT)
    lab.run().exits(1)
    return lab


def delete(lab: Lab, select: str | None = None, code: int = 0) -> Outcome:
    chosen = ["--all"] if select is None else ["--archive-select", select]
    return lab.pytest("--archive-delete", *chosen, "--yes").exits(code)


def restore(lab: Lab, what: str, code: int = 0) -> Outcome:
    return lab.pytest("--archive-restore", what, "--yes").exits(code)


def trash(lab: Lab) -> Path:
    return lab.archive.root / ".expedition" / "trash"


def contents(folder: Path) -> dict[str, str]:
    """What is in a folder, without times: a lock was held in the meantime."""
    return {name: content for name, (_, _, content) in fingerprint(folder).items()}


def deletions(lab: Lab) -> list[Path]:
    return sorted(path for path in trash(lab).iterdir() if path.is_dir())


def ids(lab: Lab) -> list[str]:
    return [row.id for row in lab.archive.rows()]


def test_runs_go_and_come_back_as_they_were(swept: Lab) -> None:
    sweep = only_sweep(swept)
    kept = Path(shutil.copy(sweep / "trajectory.h5", swept.path / "kept.h5"))
    before = fingerprint(sweep / "0001-x=1")
    swept.pytest("--archive-list").exits(0)
    with Trajectory.open(sweep) as opened:
        delete(swept, "x == 1 or status == 'failed'").says("deleted exp_a/", "0001-x=1", "in the trash as")
        assert opened.res.a[:].tolist() == [0, 1, 2, 3]  # what is open is what it was
    assert ids(swept) == ["x=0", "x=2"]
    swept.pytest("--archive-list").exits(0).omits("x=1", "x=3")
    with Trajectory.open(sweep) as traj:
        assert [run.status for run in traj] == ["done", "pending", "done", "pending"]
        assert traj.par.x[:].tolist() == [0, 1, 2, 3]
    check_agreement(swept.archive.root)
    (entry,) = deletions(swept)
    assert fingerprint(entry / "exp_a" / sweep.name / "0001-x=1") == before
    manifest = json.loads(entry.with_suffix(".json").read_bytes())
    assert [item["place"] for item in manifest["items"]] == [
        f"exp_a/{sweep.name}/000{n}-x={n}" for n in (1, 3)
    ]
    restore(swept, "x=1").says(f"restored exp_a/{sweep.name}/0001-x=1")
    assert ids(swept) == ["x=0", "x=1", "x=2"]
    restore(swept, entry.name)
    assert fingerprint(sweep / "0001-x=1") == before
    assert not differences(kept, sweep / "trajectory.h5")
    check_agreement(swept.archive.root)
    assert not list(trash(swept).iterdir())
    assert not any(is_held(lock) for lock in (sweep / "journal").glob("*.lock"))


def test_a_whole_sweep_goes_as_a_whole(swept: Lab) -> None:
    swept.experiment("@experiment\ndef exp_one(e):\n    e['a'] = 1\n", "exp_one.py")
    swept.run(path="exp_one.py").exits(0)
    before = {path.name: contents(path) for path in swept.archive.sweep_folders()}
    (sweep,) = (path for path in swept.archive.sweep_folders() if path.parent.name == "exp_a")
    delete(swept).says("(4 runs)", "(1 run)")
    assert not swept.archive.sweep_folders()
    swept.pytest("--archive-list").exits(0)
    swept.pytest("--archive-overview").exits(0)
    delete(swept).says("nothing to do")
    (entry,) = deletions(swept)
    assert (entry / "exp_a" / sweep.name / "trajectory.h5").is_file()
    restore(swept, "--all")
    assert {path.name: contents(path) for path in swept.archive.sweep_folders()} == before


def test_the_summary_goes_with_the_sweep_and_stays_with_its_runs(lab: Lab) -> None:
    lab.experiment(
        """
        @experiment.parametrize("x", [0, 1])
        def exp_a(e, x: int = 0):
            e["x"] = x

        @experiment.after_sweep
        def sum_up(e, trajectory):
            e["sum"] = int(sum(trajectory.res.x[:]))
        """
    )
    lab.run().exits(0)
    delete(lab, "x == 0")
    assert [summary.data for summary in lab.archive.summaries()] == [{"sum": 1}]
    delete(lab, "x == 1")
    assert not list(lab.archive.summaries())
    assert not lab.archive.sweep_folders()
    restore(lab, "--all")
    assert len(list(lab.archive.summaries())) == 1
    assert len(ids(lab)) == 2


def test_a_resume_runs_deleted_runs_anew(swept: Lab) -> None:
    delete(swept, "x < 2")
    swept.experiment(EXPERIMENT.replace("x != 3", "True"))
    swept.run("--resume", "--ignore-code").exits(0).says("3 passed")
    assert {r.id: (r.status, r.attempt) for r in swept.archive.runs()} == {
        "x=0": ("done", 1),
        "x=1": ("done", 1),
        "x=2": ("done", 0),
        "x=3": ("done", 1),
    }
    check_agreement(swept.archive.root)
    swept.run("--resume", "--ignore-code").exits(0).omits("passed")
    # Their places are taken now, so the old ones stay in the trash.
    refused = restore(swept, "--all", code=1)
    refused.says("0000-x=0: cannot come back, its place is taken")
    delete(swept, "x == 0")
    swept.run("--resume", "--ignore-code").exits(0).says("1 passed")
    assert next(iter(swept.archive.runs("x == 0"))).attempt == 2
    check_agreement(swept.archive.root)


def test_an_older_attempt_may_come_back_after_a_newer_one_was_deleted(swept: Lab) -> None:
    delete(swept, "x == 0")
    swept.run("--resume").exits(1)
    delete(swept, "x == 0")
    first, second = deletions(swept)
    with pytest.raises(AmbiguousRunError, match="means several things in the trash"):
        plan_restoration(swept.archive.root, ["x=0"])
    restore(swept, first.name)
    assert next(iter(swept.archive.runs("x == 0"))).attempt == 0
    with Trajectory.open(only_sweep(swept)) as traj:
        assert traj[0].status == "done"
    restore(swept, second.name, code=1).says("its place is taken")
    # Lost logs do not change what is true.
    shutil.rmtree(only_sweep(swept) / "journal")
    swept.pytest("--archive-repair").exits(0)
    check_agreement(swept.archive.root)


def test_a_run_comes_back_after_its_sweep(swept: Lab) -> None:
    delete(swept, "x == 0")
    delete(swept)
    first, _second = deletions(swept)
    restore(swept, first.name, code=1).says("its sweep is not there; restore exp_a/")
    restore(swept, "--all")
    assert len(ids(swept)) == 4
    check_agreement(swept.archive.root)


def test_rows_of_the_trash_come_back(swept: Lab) -> None:
    delete(swept, "x < 3")
    (entry,) = deletions(swept)
    rows = list(Archive(entry / "exp_a" / only_sweep(swept).name / "0001-x=1").rows())
    assert not plan_restoration(swept.archive.root, []).question
    assert list(plan_restoration(swept.archive.root, rows).apply())
    assert ids(swept) == ["x=1", "x=3"]


def test_names_that_mean_nothing(swept: Lab) -> None:
    delete(swept, "x == 1")
    with pytest.raises(RecordNotFoundError, match=r"no run 'x=11' in the trash of .* \(did you mean 'x=1'"):
        plan_restoration(swept.archive.root, ["x=11"])
    restore(swept, "x=2", code=4).says("no run 'x=2' in the trash")
    plan = plan_restoration(swept.archive.root / "exp_a", [next(iter(plan_lines(swept)))])
    assert plan.question == "restore 1 run from the trash?"


def plan_lines(lab: Lab) -> list[str]:
    return [line.partition(":")[0] for line in plan_restoration(lab.archive.root).preview()]


def test_damaged_runs_can_be_deleted(swept: Lab) -> None:
    sweep = only_sweep(swept)
    (sweep / "0001-x=1" / "experiment_meta.json").write_text("{")
    (sweep / "0002-x=2" / "experiment_data.json").write_text("[")
    delete(swept, "status == 'damaged' or x == 2").says("0001-x=1", "0002-x=2")
    assert ids(swept) == ["x=0", "x=3"]
    swept.pytest("--archive-repair").exits(0)
    check_agreement(swept.archive.root)
    (sweep / "sweep.json").write_text("{")
    delete(swept, "id == 'x=0'")
    delete(swept)
    assert not ids(swept)
    restore(swept, "--all")
    assert len(ids(swept)) == 4


def test_a_dry_run_moves_nothing(swept: Lab) -> None:
    before = fingerprint(swept.archive.root)
    shown = swept.pytest("--archive-delete", "--archive-select", "x > 1", "--dry-run").exits(0)
    shown.says("0002-x=2: status done", "0003-x=3: status failed", "delete 2 runs (", ") of 1 experiment")
    assert fingerprint(swept.archive.root) == before


def test_parts_of_an_archive_share_its_trash(swept: Lab) -> None:
    sweep = only_sweep(swept)
    for part in (sweep / "0000-x=0", sweep, sweep.parent):
        swept.pytest("--archive", part, "--archive-delete", "--all", "--archive-limit", 1, "--yes").exits(0)
    assert len(deletions(swept)) == 3
    assert not (sweep / ".expedition").exists()
    swept.pytest("--archive", sweep, "--archive-delete", "--all", "--yes").exits(0)
    assert not sweep.exists()
    restore(swept, "--all")
    assert len(ids(swept)) == 4


def test_the_index_forgets_what_is_gone(swept: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expedition.archive.index.SETTLING", 0)  # else what just changed is not kept
    swept.pytest("--archive-list").exits(0)
    delete(swept, "x < 2")
    swept.pytest("--archive-list").exits(0)
    with sqlite3.connect(swept.archive.root / INDEX_FILE) as index:
        assert index.execute("select count(*) from runs").fetchone() == (2,)


def test_a_trash_that_cannot_be_made(swept: Lab) -> None:
    (swept.archive.root / ".expedition").mkdir(exist_ok=True)
    trash(swept).write_text("in the way")
    before = fingerprint(swept.archive.root / "exp_a")
    outcome = delete(swept, "x == 1", code=1)
    outcome.says("nothing was deleted: the trash", "cannot be made").omits("Traceback")
    assert fingerprint(swept.archive.root / "exp_a") == before


@pytest.mark.parametrize(
    ("number", "said"),
    [(13, "cannot be moved into the trash"), (18, "on another file system than the trash")],
)
def test_what_cannot_be_moved_stays_and_the_others_go(
    swept: Lab, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    """A folder that is read-only, or another disk mounted there: the system refuses to rename."""
    rename = os.rename

    def refusing(source: Path, target: Path) -> None:
        if Path(source).name == "0001-x=1":
            raise OSError(number, os.strerror(number), str(source))
        rename(source, target)

    monkeypatch.setattr(os, "rename", refusing)
    action = plan_deletion(swept.archive.root, list(swept.archive.rows("x < 3")))
    lines = list(action.apply())
    monkeypatch.undo()
    assert sum("deleted exp_a/" in line for line in lines) == 2
    (problem,) = action.problems
    assert "0001-x=1" in problem
    assert said in problem
    assert ids(swept) == ["x=1", "x=3"]
    check_agreement(swept.archive.root)


def test_a_sweep_that_somebody_works_on_is_refused(swept: Lab) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    for name in ("invocation.lock", "gw0-1-a.lock"):
        lock = only_sweep(swept) / "journal" / name
        command = [sys.executable, "-c", hold, str(lock)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            delete(swept, code=4).says("an invocation", "is at it")
            holder.communicate(b"\n", timeout=PATIENCE)
        lock.unlink()
    assert len(ids(swept)) == 4


def test_purging(swept: Lab) -> None:
    delete(swept, "x == 0")
    delete(swept, "x == 1")
    first, second = deletions(swept)
    old = first.with_name("2020-01-01T00-00-00Z-" + first.name[-8:])
    first.rename(old)
    first.with_suffix(".json").rename(old.with_suffix(".json"))
    before = fingerprint(trash(swept))
    swept.pytest("--archive-purge", "30d", "--dry-run").exits(0).says(old.name, "0000-x=0").omits(second.name)
    assert fingerprint(trash(swept)) == before
    swept.pytest("--archive-purge", "30d", "--yes").exits(0).says(f"removed {old.name}")
    assert deletions(swept) == [second]
    restore(swept, "x=0", code=4)
    swept.pytest("--archive-purge", "--all", "--yes").exits(0)
    assert not list(trash(swept).iterdir())
    swept.pytest("--archive-purge", "--all", "--yes").exits(0)
    assert ids(swept) == ["x=2", "x=3"]


def test_a_purge_that_was_killed_is_finished_by_the_next(swept: Lab) -> None:
    delete(swept, "x == 0")
    (entry,) = deletions(swept)
    entry.rename(entry.with_name(f".purged-{entry.name}"))
    action = plan_purge(swept.archive.root, None)
    assert action.question
    assert list(action.apply())
    assert not list(trash(swept).iterdir())


def test_a_manifest_that_leads_out_is_refused(swept: Lab) -> None:
    delete(swept, "x == 0")
    (entry,) = deletions(swept)
    manifest = entry.with_suffix(".json")
    content = json.loads(manifest.read_bytes())
    before = fingerprint(swept.path)
    for place in ("../../x", "/etc", "a//b", "", 5, ".expedition/trash"):
        content["items"][0]["place"] = place
        manifest.write_text(json.dumps(content))
        restore(swept, "--all", code=1).says("is no path below the archive")
    assert fingerprint(swept.path).keys() == before.keys()


KILLED = killed_before(
    "rename",
    "replace",
    code="""
    from pathlib import Path
    from expedition import Archive
    from expedition.plugin.acting.deletion import plan_deletion

    for line in plan_deletion(Path("results"), list(Archive("results").rows(sys.argv[1]))).apply():
        pass
    """,
)


@pytest.mark.parametrize(("select", "steps"), [("x < 3", (1, 2, 3, 5)), ("x < 9", (1, 2))])
def test_a_kill_at_any_moment_loses_nothing(lab: Lab, select: str, steps: tuple[int, ...]) -> None:
    """The manifest of the trash is written, run folders or the sweep move, the trajectory is replaced."""
    lab.experiment(EXPERIMENT)
    script = lab.file("killed.py", KILLED)
    lab.run()
    sweep, kept = only_sweep(lab), lab.path / "kept.h5"
    shutil.copy(sweep / "trajectory.h5", kept)
    before = {path.name: fingerprint(path) for path in sweep.glob("000*")}
    for step in steps:
        command = [sys.executable, str(script), str(step), select]
        done = subprocess.run(command, cwd=lab.path, env=os.environ, check=False)
        assert done.returncode == -signal.SIGKILL
        there = ids(lab)
        assert len(there) == {1: 4, 2: 4, 3: 3, 5: 1}[step]
        lab.pytest("--archive-repair").exits(0)
        check_agreement(lab.archive.root)
        restore(lab, "--all")
        assert {path.name: fingerprint(path) for path in sweep.glob("000*")} == before
        assert not differences(kept, sweep / "trajectory.h5")


DELETING = """
    import sys
    from pathlib import Path
    from expedition import Archive
    from expedition.plugin.acting.deletion import plan_deletion

    rows = list(Archive("results").rows(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    action = plan_deletion(Path("results"), rows)
    print(sum(line.startswith("deleted ") and "in the trash" not in line for line in action.apply()))
    print(*action.problems, sep="\\n", file=sys.stderr)
    sys.exit(bool(action.problems))
"""
LISTING = """
    import sys
    from pathlib import Path
    from expedition import Archive

    print("ready", flush=True)
    sys.stdin.readline()
    count = 0
    while not Path("stop").exists():
        rows = list(Archive("results").rows(keep_index=True))
        assert not [row for row in rows if row.status != "done"], rows
        assert {"x=0", "x=29"} <= {row.id for row in rows}
        count += 1
    print(count)
"""


def test_processes_that_delete_and_list_at_once(lab: Lab) -> None:
    """Two delete runs of one sweep, some of them the same ones, while two list the archive again and again."""
    lab.experiment('@experiment.parametrize("x", range(30))\ndef exp_a(e, x: int = 0):\n    e["x"] = x\n')
    lab.run().exits(0)
    lab.pytest("--archive-list").exits(0)
    names = {"deleting": DELETING, "listing": LISTING}
    scripts = {name: lab.file(f"{name}.py", textwrap.dedent(text)) for name, text in names.items()}
    wanted = [("deleting", "0 < x and x < 20"), ("deleting", "10 < x and x < 29"), ("listing",), ("listing",)]
    processes = [
        subprocess.Popen(
            [sys.executable, scripts[name], *arguments],
            cwd=lab.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, *arguments in wanted
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    ended = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes[:2]:
        ended.append((*process.communicate(timeout=PATIENCE), process.returncode))
    (lab.path / "stop").touch()
    for process in processes[2:]:
        ended.append((*process.communicate(timeout=PATIENCE), process.returncode))
    assert [code for _, _, code in ended[2:]] == [0, 0], ended
    assert int(ended[2][0]) >= 1
    # Whoever comes second either waits for the first, or is told that somebody is at it.
    assert all(code == 0 or " is at it" in error for _, error, code in ended), ended
    moved = {path.name for path in trash(lab).rglob("00*") if path.is_dir()}
    assert len(moved) + len(ids(lab)) == 30
    assert len(moved) == sum(int(out) for out, _, code in ended[:2] if not code)
    check_agreement(lab.archive.root)
    restore(lab, "--all")
    assert len(ids(lab)) == 30
    check_agreement(lab.archive.root)


def forge(lab: Lab, **item: object) -> Path:
    """Change what the manifest of the one deletion says of its first item; return the folder of the deletion."""
    (folder,) = deletions(lab)
    manifest = json.loads((trash(lab) / f"{folder.name}.json").read_bytes())
    manifest["items"][0].update(item)
    (trash(lab) / f"{folder.name}.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_a_link_in_the_trash_is_not_followed(swept: Lab, tmp_path: Path) -> None:
    delete(swept, "index == 0")
    victim = tmp_path / "victim"
    (victim / "sub").mkdir(parents=True)
    folder = forge(swept, place="lnk/sub", kind="sweep")
    (folder / "lnk").symlink_to(victim)
    restore(swept, "--all", 1).says("lnk is a link")
    assert (victim / "sub").is_dir()
    assert not (swept.archive.root / "lnk").exists()


def test_what_comes_back_goes_through_no_link(swept: Lab, tmp_path: Path) -> None:
    sweep = only_sweep(swept)
    delete(swept)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    above = sweep.parent
    if above.exists():
        above.rmdir()
    above.symlink_to(moved)
    restore(swept, "--all", 1).says(f"{above} is a link")
    assert not list(moved.iterdir())
    above.unlink()
    restore(swept, "--all")
    assert len(ids(swept))


@pytest.mark.parametrize("runs", ["x", float("inf"), 1.5, -1, True, None])
def test_a_manifest_that_counts_its_runs_wrongly(swept: Lab, runs: object) -> None:
    delete(swept, "index == 0")
    forge(swept, runs=runs)
    plan = plan_restoration(swept.archive.root)
    assert not plan.question
    assert "must be a number from 0 on" in "".join(plan.problems)


def test_a_deletion_whose_name_says_no_time(swept: Lab) -> None:
    delete(swept, "index == 0")
    odd = trash(swept) / "2026-99-99T99-99-99Z-00"
    odd.mkdir()
    swept.pytest("--archive-purge", "0d", "--yes").exits(1).says(odd.name, "says no time")
    assert deletions(swept) == [odd]
    swept.pytest("--archive-purge", "--all", "--yes").exits(0)
    assert not deletions(swept)


def test_a_run_comes_back_by_each_name_that_took_it(swept: Lab) -> None:
    names = {"x=1": list(swept.archive.rows())[1].reference}
    delete(swept, "x == 1").says("deleted 1 run, in the trash as").says("brings it back")
    restore(swept, names["x=1"]).says("restored 1 run from the trash")
    assert len(ids(swept)) == 4
    # The last run of a sweep takes its sweep along, and is called what it was all the same.
    delete(swept, "x > 0").says("deleted 3 runs, in the trash as").says("brings them back")
    delete(swept)
    shutil.rmtree(min(deletions(swept)))
    (row,) = Archive(next(iter(deletions(swept)[-1].glob("exp_a/*")))).rows()
    restore(swept, row.reference).says("restored 1 run from the trash")
    assert ids(swept) == ["x=0"]


def test_what_the_trash_has_is_told_where_nothing_is_done(swept: Lab) -> None:
    root = swept.archive.root
    empty = f"nothing to do: the trash of {root} is empty"
    restore(swept, "--all").says(empty)
    swept.pytest("--archive-purge", "--all", "--yes").exits(0).says(empty)
    delete(swept, "x == 0")
    swept.pytest("--archive-purge", "30d", "--yes").exits(0).says(
        f"nothing to do: 1 deletion is in the trash of {root}, and none is that old"
    )
    swept.pytest("--archive-purge", "--all", "--yes").exits(0).says("removed 1 deletion for good")
