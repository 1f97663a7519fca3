"""``kill -9`` of a process that keeps a trajectory up to date, at random moments, with readers all the time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from expedition.trajectory import Trajectory, compile_trajectory, update_trajectory
from expedition.trajectory.file.publish import temporary_of
from tests.thoroughness import examples
from tests.trajectory.growing import GrowingSweep, differences, update_and_compare

LOOP = """
import sys
from expedition.trajectory import update_trajectory
while True:
    update_trajectory(sys.argv[1])
    print("updated", flush=True)
"""
KILLS = examples(12)
RUNS = 400


def test_a_kill_at_any_moment_leaves_the_last_file(tmp_path: Path) -> None:
    """Runs end while a process updates and is killed; every reader sees whole runs, and never fewer than before."""
    sweep = GrowingSweep(tmp_path / "sweep", [{"i": i} for i in range(RUNS)])
    rng = random.Random(0)
    ended = 0

    def end_some() -> None:
        nonlocal ended
        for _ in range(min(rng.randrange(3), RUNS - ended)):  # a fast machine reads often
            data = {"x": ended + 0.5, "V": np.full(40, ended), "t": f"run {ended}", "j": [ended]}
            sweep.run(ended, data, series={"s": [float(ended), 2.0]})
            ended += 1

    for _ in range(3):
        end_some()
    compile_trajectory(sweep.path)
    seen = reads = 0
    for number in range(KILLS):
        command = [sys.executable, "-c", LOOP, str(sweep.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            end_some()
            if number % 4:  # else the kill comes while it starts, or at its first update
                process.stdout.readline()
            end = time.monotonic() + rng.uniform(0.01, 0.4)
            while time.monotonic() < end:
                end_some()
                seen = check(sweep.path, seen)
                reads += 1
            process.send_signal(signal.SIGKILL)
            process.wait()
        seen = check(sweep.path, seen)
    assert reads > KILLS / 2
    assert seen > KILLS / 2
    update_trajectory(sweep.path)
    assert check(sweep.path, seen) == ended
    assert sorted(path.name for path in sweep.path.glob("trajectory*")) == ["trajectory.h5"]
    update_and_compare(sweep.path)


def check(sweep: Path, least: int) -> int:
    """Read the trajectory; return the number of runs that have ended in it."""
    with Trajectory.open(sweep) as traj:
        done = traj.find("status == 'done'").tolist()
        assert done == list(range(len(done)))
        assert len(done) >= least
        for index in done[-3:]:
            assert traj[index].res.x == index + 0.5
            assert traj[index].res.V.tolist() == [index] * 40
            assert traj[index].res.t == f"run {index}"
            assert traj[index].res.j == [index]
            assert traj[index].series.s.value.tolist() == [index, 2]
        return len(done)


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    sweep = GrowingSweep(tmp_path / "sweep", [{"i": 0}, {"i": 1}])
    sweep.run(0, {"x": 1})
    compile_trajectory(sweep.path)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    for _ in range(2):  # the file, and that of the new rows
        own = temporary_of(sweep.path / "trajectory.h5")
        own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{process.pid}-")).write_bytes(b"half a file")
    sweep.run(1, {"x": 2})
    updated = update_trajectory(sweep.path).rename(sweep.path / "updated.h5")
    assert not list(sweep.path.glob("*tmp*"))
    assert not differences(updated, compile_trajectory(sweep.path))
