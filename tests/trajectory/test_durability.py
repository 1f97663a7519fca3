"""Kills, readers at the same time, memory and size."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition.trajectory import Trajectory, compile_trajectory
from expedition.trajectory.__main__ import compile_elsewhere
from expedition.trajectory.file.publish import temporary_of
from tests.trajectory.conftest import BuildSweep, SweepBuilder

LOOP = """
import sys
from expedition.trajectory import compile_trajectory
print("ready", flush=True)
while True:
    compile_trajectory(sys.argv[1])
"""


def test_a_reader_and_kills_never_see_half_a_file(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(50)])
    for index in range(50):
        builder.run(index, {"x": index + 0.5, "V": np.full(300, index)}, series={"s": [1.0, 2.0]})
    compile_trajectory(builder.path)
    reads = 0
    for number in range(4):
        command = [sys.executable, "-c", LOOP, str(builder.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            end = time.monotonic() + 0.25 + 0.03 * number
            while time.monotonic() < end:
                with Trajectory.open(builder.path) as traj:
                    assert traj.res.x.values[49] == 49.5
                    assert traj[7].res.V[299] == 7
                    reads += 1
            process.send_signal(signal.SIGKILL)
            process.wait()
        with Trajectory.open(builder.path) as traj:
            assert traj.res.x.values.tolist() == [i + 0.5 for i in range(50)]
    assert reads > 4
    compile_trajectory(builder.path)
    assert not list(builder.path.glob("trajectory.h5.tmp-*"))


def test_files_of_dead_compilers_are_removed_and_of_living_ones_kept(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    own = temporary_of(builder.path / "trajectory.h5")  # <name>.tmp-<host>-<pid>-<random>
    before, after = own.name.split(f"-{os.getpid()}-")
    dead = own.with_name(f"{before}-{process.pid}-{after}")
    alive = own.with_name(f"{before}-{os.getppid()}-{after}")
    elsewhere = own.with_name(f"trajectory.h5.tmp-another.host-{process.pid}-{after}")
    old = own.with_name(f"trajectory.h5.tmp-another.host-{process.pid + 1}-{after}")
    for path in (own, dead, alive, elsewhere, old):
        path.touch()
    os.utime(old, (0, 0))
    compile_trajectory(builder.path)
    assert [path.exists() for path in (own, dead, alive, elsewhere, old)] == [True, False, True, True, False]


def test_a_failure_leaves_the_last_file(build_sweep: BuildSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, {"x": 1})
    before = compile_trajectory(builder.path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("expedition.trajectory.compile.write_runs", full)
    with pytest.raises(OSError, match="No space left"):
        compile_trajectory(builder.path)
    assert (builder.path / "trajectory.h5").read_bytes() == before
    assert not list(builder.path.glob("*tmp*"))


MEMORY = """
import resource, sys, warnings
import h5py, numpy
from expedition.trajectory import compile_trajectory
import expedition.values.columns
compile_trajectory(sys.argv[1])  # imports and caches
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
compile_trajectory(sys.argv[2])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    small = SweepBuilder(tmp_path / "small", [{"i": 0}])
    small.run(0, {"V": np.arange(500.0)}, series={"img": [np.ones((20, 20))]})
    builder = SweepBuilder(tmp_path / "big", [{"i": i} for i in range(20)])
    noise = np.random.default_rng(0).normal(size=1_000_000)
    for index in range(20):
        data = {"stack": noise[index : 400_000 + index], "ragged": noise[: 100_000 + index]}
        if index < 5:
            data["huge"] = noise.reshape(250, 4000) + index
        builder.run(index, data, series={"img": [noise[:150_000].reshape(3, -1)] * 4})
    command = [sys.executable, "-c", MEMORY, str(small.path), str(builder.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    size = (builder.path / "trajectory.h5").stat().st_size
    assert size > 200e6
    assert float(done.stdout) < 60
    with Trajectory.open(builder.path) as traj:
        assert traj[3].res.huge.tobytes() == (noise + 3).tobytes()
        assert traj.res.huge[4, 7, 5:9].tolist() == (noise.reshape(250, 4000)[7, 5:9] + 4).tolist()
        assert traj[19].res.ragged.tobytes() == noise[:100_019].tobytes()
        assert traj[9].res.stack.tobytes() == noise[9:400_009].tobytes()
        assert traj[19].series.img.value[3].tobytes() == noise[:150_000].tobytes()


def fill(builder: SweepBuilder, count: int) -> None:
    """Commit `count` runs of ten scalars, as quickly as a test may."""
    rng = random.Random(0)
    for index in range(count):
        line = {
            "index": index,
            "attempt": 0,
            "key": "",
            "status": "done",
            "expected_failure": False,
            "start": 10**15 + index * 1000,
            "stop": 10**15 + index * 1000 + rng.randrange(1000),
            "worker": "gw0",
            "seed": rng.getrandbits(63),
            "error": None,
            "data": {
                "a": rng.random(),
                "b": rng.gauss(0, 1),
                "c": rng.random(),
                "d": round(rng.random(), 4),
                "e": rng.randrange(100),
                "f": rng.randrange(10**6),
                "g": index % 7,
                "h": rng.random() < 0.5,
                "i": 10,
                "j": rng.choice([0.1, 0.01]),
            },
            "derived": {},
            "annotations": {},
            "series": {},
        }
        builder.commit(line)


def test_size_and_cost_at_ten_thousand_runs(build_sweep: BuildSweep) -> None:
    count = 10_000
    builder = build_sweep([{"alpha": i / 7} for i in range(count)])
    fill(builder, count)
    compile_trajectory(builder.path)  # imports
    start = time.process_time()
    path = compile_trajectory(builder.path)
    assert time.process_time() - start < 3  # 0.3 s on an idle machine
    assert path.stat().st_size / count / 10 < 15
    with Trajectory.open(path) as traj:
        start = time.process_time()
        values = [column.values for column in traj.results.values()]
        assert time.process_time() - start < 0.5  # 1 ms
        assert len(values) == 10
        start = time.process_time()
        assert len(traj[5000].results.to_dict()) == 10
        assert time.process_time() - start < 0.1
        start = time.process_time()
        assert traj.to_pandas().shape == (count, 13)
        assert time.process_time() - start < 1
        assert len(traj.find("a < 0.5 and status == 'done'")) > count / 3


def test_a_newer_file_that_comes_while_one_is_compiled_is_not_lost(
    build_sweep: BuildSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair that read the logs before the last runs ended must not put the past into place."""
    from expedition.trajectory import compile

    builder = build_sweep([{"i": i} for i in range(3)])
    builder.run(0, {"x": 0})
    gather, calls = compile.gather, []

    def slow(*arguments: Any) -> Any:
        table = gather(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            builder.run(1, {"x": 1})
            other = [sys.executable, "-m", "expedition.trajectory", str(builder.path)]
            subprocess.run(other, check=True)
        return table

    monkeypatch.setattr(compile, "gather", slow)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.runs.status.tolist() == ["done", "done", "pending"]
    assert len(calls) == 2
    assert not list(builder.path.glob("*.tmp-*"))


@pytest.mark.parametrize("again", [False, True], ids=["whole", "extended"])
def test_a_disk_that_refuses_the_file_costs_only_the_file(build_sweep: BuildSweep, again: bool) -> None:
    """HDF5 keeps what it could not write and tries again as the process ends, which once crashed it."""
    builder = build_sweep([{"i": i} for i in range(60)])
    for index in range(60):
        builder.run(
            index, {"x": index * 0.37, "t": f"text {index}", "V": np.random.default_rng(index).random(500)}
        )
        if again and index == 20:
            compile_trajectory(builder.path)
    before = builder.path / "trajectory.h5"
    content = before.read_bytes() if again else None
    code = """
        import resource, sys
        from expedition.trajectory import update_trajectory

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for limit in (2_000, 20_000, 60_000, 100_000, 150_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                update_trajectory(sys.argv[1])
            except OSError as error:
                print(limit, error.strerror)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(builder.path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 5
    assert "File too large" in done.stdout
    assert (before.read_bytes() if before.exists() else None) == content
    assert not list(builder.path.glob("*.tmp-*"))
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.res.V[59, 499] == np.random.default_rng(59).random(500)[499]


def test_a_file_system_that_syncs_no_folders_is_no_failure(
    build_sweep: BuildSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, {"x": 1})
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.res.x.tolist() == [1]


def test_a_file_beside_the_experiments_is_no_module_of_the_compiler(
    build_sweep: BuildSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, {"x": 1})
    for name in ("zipfile.py", "random.py", "h5py.py"):
        (tmp_path / name).write_text("raise RuntimeError('not meant')")
    monkeypatch.chdir(tmp_path)
    compile_elsewhere(builder.path)
    with Trajectory.open(builder.path) as traj:
        assert traj.res.x.tolist() == [1]
