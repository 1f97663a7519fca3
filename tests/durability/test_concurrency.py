"""Many invocations on one archive at once: each has a sweep of its own, and who reads meets nothing half done."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from expedition import Archive, Trajectory
from tests.durability.laboratory import PATIENCE, Laboratory
from tests.thoroughness import examples

SWEEPS = min(50, examples(10))

EXPERIMENT = """
import os, time
from expedition import experiment

who = os.environ.get("WHO", "")

@experiment.parametrize("x", [0, 1, 2])
def exp_many(e, x: int = 0):
    for i in range(20):
        e.track("value", x + i)
        time.sleep(float(os.environ.get("PAUSE", "0")))
    e["who"] = who
"""


class Crowd:
    """Invocations that run at the same time."""

    def __init__(self, lab: Laboratory) -> None:
        self._lab = lab
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self._lab.command(*arguments),
            cwd=self._lab.path,
            env=self._lab.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.append(process)
        return process

    def end(self) -> list[tuple[int, str]]:
        found = [(process, process.communicate(timeout=PATIENCE)[0]) for process in self._running]
        self._running.clear()
        return [(process.returncode, text) for process, text in found]


@pytest.fixture
def crowd(lab: Laboratory) -> Iterator[Crowd]:
    lab.write("exp_many.py", EXPERIMENT)
    crowd = Crowd(lab)
    yield crowd
    for process in crowd._running:
        process.kill()
        process.communicate()


def test_invocations_on_one_archive_share_no_sweep(lab: Laboratory, crowd: Crowd) -> None:
    for number in range(SWEEPS):
        crowd.start("--experiments", ".", "-q", WHO=str(number))
    for code, text in crowd.end():
        assert code == 0, text
    sweeps = list(lab.archive.sweeps())
    assert len(sweeps) == SWEEPS
    seen = []
    for sweep in sweeps:
        with Trajectory.open(sweep.path / "trajectory.h5") as traj:
            assert traj.runs.status[:].tolist() == ["done"] * 3
            (who,) = set(traj.res.who[:].tolist())  # no run of another invocation among them
            seen.append(int(who))
    assert sorted(seen) == list(range(SWEEPS))
    listed = json.loads(lab.pytest("--archive-list", "--archive-format", "json").exits(0).text)
    assert len(listed) == 3 * SWEEPS
    assert {row["status"] for row in listed} == {"done"}


def test_invocations_that_resume_the_same_sweep_take_turns_or_are_refused(
    lab: Laboratory, crowd: Crowd
) -> None:
    lab.run("--where", "x == 0").exits(0)
    for _ in range(4):
        crowd.start("--experiments", ".", "--resume", PAUSE="0.02")
    codes = sorted(code for code, _ in crowd.end())
    assert set(codes) <= {0, 4}
    assert codes[0] == 0
    assert lab.statuses() == {"x=0": "done", "x=1": "done", "x=2": "done"}
    assert all(line["attempt"] == 0 for line in lab.commits().values())


RESUMED_AT_ONCE = """
import os, subprocess, sys
from pathlib import Path

def is_made(event, arguments, seen=[]):
    if seen or event not in ("open", "os.mkdir") or not any(Path("results").glob("*/*/sweep.json")):
        return
    seen.append(True)
    command = [sys.executable, "-m", "pytest", "-q", "--experiments", ".", "--resume"]
    done = subprocess.run(command, env={**os.environ, "WHO": "2"}, capture_output=True, text=True)
    Path("second.txt").write_text(f"{done.returncode} {done.stdout}{done.stderr}", encoding="utf-8")

if os.environ.get("WHO") == "1":
    sys.addaudithook(is_made)
"""


def test_a_sweep_that_was_just_made_is_not_resumed_by_another_invocation(lab: Laboratory) -> None:
    """It tries as soon as there is a manifest."""
    lab.write("exp_many.py", EXPERIMENT)
    lab.write("conftest.py", RESUMED_AT_ONCE)
    lab.run(WHO="1").exits(0)
    second = (lab.path / "second.txt").read_text(encoding="utf-8")
    assert second.startswith("4 "), second
    assert "another invocation is at it" in second
    assert {record.data["who"] for record in lab.archive.runs()} == {"1"}


def test_debug_runs_at_once_leave_one_whole_sweep(lab: Laboratory, crowd: Crowd) -> None:
    for number in range(6):
        crowd.start("--experiments", ".", "--debug-run", WHO=str(number))
    for code, text in crowd.end():
        assert code == 0, text
    folder = lab.path / "results" / "exp_many"
    assert [path.name for path in folder.iterdir()] == ["debug"]
    records = list(Archive(folder / "debug").runs())
    assert [record.status for record in records] == ["done"] * 3
    assert len({record.data["who"] for record in records}) == 1


def test_lists_deletions_and_zips_while_sweeps_run_meet_nothing_half_done(
    lab: Laboratory, crowd: Crowd, tmp_path: Path
) -> None:
    lab.run(WHO="old").exits(0)
    (old,) = lab.archive.sweeps()
    running = [crowd.start("--experiments", ".", WHO=f"new-{n}", PAUSE="0.03") for n in range(2)]
    acts = [
        ("--archive-list", "--archive-format", "json"),
        ("--archive-compress", tmp_path / "all.zip", "--all", "--yes"),
        ("--archive-delete", "--archive-select", "data.who == 'old'", "--yes"),
        ("--archive-overview",),
    ]
    rounds = 0
    while any(process.poll() is None for process in running) or not rounds:
        for act in acts if not rounds else acts[:1]:
            result = lab.pytest(*act)
            assert "Traceback" not in result.text, result.text
            assert "INTERNALERROR" not in result.text, result.text
            assert "damaged" not in result.text, result.text
        rounds += 1
    for code, text in crowd.end():
        assert code == 0, text
    assert not old.path.exists() or not list(Archive(old.path).runs())
    found = {record.data["who"]: record.status for record in lab.archive.runs()}
    assert found == {"new-0": "done", "new-1": "done"}
    assert len(list(lab.archive.runs())) == 6


def test_readers_of_a_sweep_that_runs_see_a_part_of_what_it_will_be(lab: Laboratory, crowd: Crowd) -> None:
    process = crowd.start("--experiments", ".", WHO="w", PAUSE="0.02")
    seen = 0
    while process.poll() is None:
        for record in lab.archive.runs() if (lab.path / "results").exists() else ():
            if "value" in record.series:
                values = record.series["value"].value.tolist()
                assert values == [record.params["x"] + i for i in range(len(values))]
                seen += 1
            assert record.status in ("running", "done")
            assert (record.status == "done") == (record.stopped is not None)
    ((code, text),) = crowd.end()
    assert code == 0, text
    assert seen
