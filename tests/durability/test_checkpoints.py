"""Checkpoints: what an attempt leaves for the next one of the same run, and for no other."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

from expedition import Run
from expedition.errors import ArtifactError
from tests.durability.laboratory import Laboratory
from tests.thoroughness import further

EXPERIMENT = """
import json, os, time
from pathlib import Path
from expedition import experiment

SIDE = Path(os.environ["SIDE"])

@experiment
@experiment.parametrize("x", [1, 2])
def exp_a(e, x: int = 0):
    state = e.checkpoint / "state.json"
    values = json.loads(state.read_text()) if e.resumed else []
    for value in values:
        e.track("value", value)
    with open(SIDE / f"began-{x}", "a") as began:
        began.write(f"{len(values)}\\n")
    while len(values) < 6:
        values.append(x / (1 + len(values)))
        e.track("value", values[-1])
        with e.checkpoint_file("state.json") as path:
            path.write_text(json.dumps(values))
        if len(values) == 4 and not (SIDE / "go").exists():
            (e.checkpoint / ".tmp-1-state.json").write_text("torn")
            (SIDE / f"waiting-{x}").touch()
            FAILURE
    e["sum"] = sum(values)
"""
KILLED = "time.sleep(3600)"
FAILED = 'raise ValueError("not yet")'


def began(lab: Laboratory, x: int) -> list[int]:
    """At how many values each attempt of a run began."""
    return [int(line) for line in (lab.side / f"began-{x}").read_text().split()]


def killed(lab: Laboratory) -> None:
    """A sweep whose first run was killed when it had four values."""
    lab.write("exp_a.py", EXPERIMENT.replace("FAILURE", KILLED))
    started = lab.start()
    started.wait_for((lab.side / "waiting-1").exists)
    started.kill_all()
    (lab.side / "go").touch()


def failed(lab: Laboratory) -> None:
    """A sweep whose runs failed when they had four values."""
    lab.write("exp_a.py", EXPERIMENT.replace("FAILURE", FAILED))
    lab.run().exits(1)
    (lab.side / "go").touch()


def test_a_run_that_was_killed_goes_on_from_its_checkpoint_and_ends_as_if_nothing_had_been(
    lab: Laboratory,
) -> None:
    killed(lab)
    lab.run("--resume").exits(0)
    assert (began(lab, 1), began(lab, 2)) == ([0, 4], [0])
    resumed = lab.records()
    assert [record.attempt for record in resumed.values()] == [1, 0]
    assert resumed["x=1"].attempts[0].status == "crashed"
    lab.run().exits(0)  # a sweep of its own, uninterrupted
    straight = lab.records()
    for name in ("x=1", "x=2"):
        assert straight[name].path != resumed[name].path
        assert straight[name].data == resumed[name].data
        assert straight[name].series["value"].value.tolist() == resumed[name].series["value"].value.tolist()
        assert sorted(p.name for p in resumed[name].path.glob("checkpoint/*")) == ["state.json"]
    assert began(lab, 1) == [0, 4, 0]


def test_a_kill_before_the_next_attempt_has_begun_keeps_number_and_checkpoint(lab: Laboratory) -> None:
    killed(lab)
    folder = lab.records()["x=1"].path
    aside = folder / "attempts" / "0"
    aside.mkdir(parents=True)
    for file in folder.glob("experiment_*"):
        file.rename(aside / file.name)
    lab.run("--resume").exits(0)
    assert (began(lab, 1), began(lab, 2)) == ([0, 4], [0])
    record = lab.records()["x=1"]
    assert (record.attempt, [one.status for one in record.attempts]) == (1, ["crashed"])


def test_a_run_that_is_done_begins_anew(lab: Laboratory) -> None:
    failed(lab)
    lab.run("--resume").exits(0)
    assert began(lab, 1) == [0, 4]
    lab.run("--resume", "--force").exits(0)
    assert began(lab, 1) == [0, 4, 0]
    record = lab.records()["x=1"]
    assert (record.path / "attempts" / "1" / "checkpoint" / "state.json").is_file()


def test_other_code_begins_anew_unless_it_is_said_to_be_the_same(lab: Laboratory) -> None:
    failed(lab)
    lab.write("exp_a.py", EXPERIMENT.replace("FAILURE", "pass"))
    lab.run("--resume", "--where", "x == 1").exits(0)
    assert began(lab, 1) == [0, 0]
    lab.run("--resume", "--where", "x == 2", "--ignore-code").exits(0)
    assert began(lab, 2) == [0, 4]


@pytest.mark.parametrize("option", ["--debug-run", *further("--testing")])
def test_debug_and_testing_runs_begin_empty(lab: Laboratory, option: str) -> None:
    failed(lab)
    lab.run(option).exits(0)
    lab.run(option).exits(0)
    assert began(lab, 1) == [0, 0, 0]


def test_a_checkpoint_is_no_artifact_and_goes_where_its_run_goes(lab: Laboratory) -> None:
    failed(lab)
    record = lab.records()["x=1"]
    assert not record.artifacts
    state = (record.path / "checkpoint" / "state.json").read_bytes()
    packed = lab.pytest("--archive-compress", "all.zip", "--archive-all")
    assert packed.code == 0, packed.text
    deleted = lab.pytest("--archive-delete", "--archive-all", "--yes")
    assert deleted.code == 0, deleted.text
    assert not record.path.exists()
    imported = lab.pytest("--archive-import", "all.zip", "--yes")
    assert imported.code == 0, imported.text
    record = lab.records()["x=1"]
    assert (record.path / "checkpoint" / "state.json").read_bytes() == state
    lab.run("--resume").exits(0)
    assert began(lab, 1) == [0, 4]


def test_the_one_run_of_an_experiment_without_a_sweep_keeps_its_checkpoint(lab: Laboratory) -> None:
    text = EXPERIMENT.replace('@experiment.parametrize("x", [1, 2])\n', "").replace(
        "x: int = 0", "x: int = 1"
    )
    lab.write("exp_a.py", text.replace("FAILURE", FAILED))
    lab.run().exits(1)
    (lab.side / "go").touch()
    lab.run("--resume").exits(0)
    assert began(lab, 1) == [0, 4]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    with Run.detached(tmp_path) as run:
        with run.checkpoint_file("a/state.txt") as path:
            assert path.suffix == ".txt"
            path.write_text("old")
        with contextlib.suppress(ZeroDivisionError), run.checkpoint_file("a/state.txt") as path:
            path.write_text("half")
            raise ZeroDivisionError
        assert (run.checkpoint / "a" / "state.txt").read_text() == "old"
        assert [p.name for p in (run.checkpoint / "a").iterdir()] == ["state.txt"]


class TestFiles:
    @pytest.mark.parametrize(
        "name", ["", ".", "/etc/passwd", "../a", "a/../../b", "a\\b", ".tmp-1-a", "a\0b", 3]
    )
    def test_names_stay_in_the_folder(self, tmp_path: Path, name: str) -> None:
        with Run.detached(tmp_path / "run") as run, pytest.raises(ArtifactError, match="checkpoint file"):
            run.checkpoint_file(name).__enter__()

    def test_links_do_not_lead_out(self, tmp_path: Path) -> None:
        with Run.detached(tmp_path / "run") as run:
            (run.checkpoint / "out").symlink_to(tmp_path)
            with pytest.raises(ArtifactError, match="a link leads out"), run.checkpoint_file("out/a") as path:
                path.touch()
        assert not (tmp_path / "a").exists()

    def test_a_block_that_writes_nothing_is_told_so(self, tmp_path: Path) -> None:
        with Run.detached(tmp_path) as run:
            with pytest.raises(ArtifactError, match="nothing was written"), run.checkpoint_file("a"):
                pass
            assert not run.resumed

    def test_what_is_written_now_is_not_what_was_left(self, tmp_path: Path) -> None:
        with contextlib.suppress(ZeroDivisionError), Run.detached(tmp_path) as run:
            assert not run.resumed
            (run.checkpoint / "a").touch()
            assert not run.resumed
            raise ZeroDivisionError
        with Run.detached(tmp_path) as run:
            assert run.resumed
            assert (run.checkpoint / "a").exists()
        with Run.detached(tmp_path) as run:
            assert not run.resumed
            assert not (run.checkpoint / "a").exists()

    def test_the_folder_is_no_place_for_artifacts(self, tmp_path: Path) -> None:
        with Run.detached(tmp_path) as run, pytest.raises(ArtifactError, match="checkpoint"):
            run.commit("checkpoint/a.txt", "x")


def test_a_checkpoint_survives_a_second_kill(lab: Laboratory) -> None:
    killed(lab)
    (lab.side / "go").unlink()
    (lab.side / "waiting-1").unlink()
    text = EXPERIMENT.replace("== 4", "== 5").replace("FAILURE", KILLED)
    lab.write("exp_a.py", text)
    started = lab.start("--resume", "--ignore-code", "--where", "x == 1")
    started.wait_for((lab.side / "waiting-1").exists)
    started.signal(signal.SIGKILL)
    started.end()
    (lab.side / "go").touch()
    lab.run("--resume").exits(0)
    assert began(lab, 1) == [0, 4, 5]
