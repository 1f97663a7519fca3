"""What becomes of a run, the others, the exit code and later lists, when a run, a worker or all of them die."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time

import pytest

from expedition import Trajectory
from tests.durability.laboratory import Laboratory, Started
from tests.thoroughness import further

DEATHS = """
import ctypes, os, resource, signal, sys, time
from pathlib import Path
from expedition import experiment

side = Path(os.environ["SIDE"])

def in_python(n=0):
    return in_python(n + 1)

def in_c():
    nested = []
    for _ in range(300_000):
        nested = [nested]
    sys.setrecursionlimit(2**31 - 1)
    repr(nested)

def of_memory():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), limits[1]))
    try:
        return [bytearray(8 << 20) for _ in range(1000)]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)

ways = {
    "exit": lambda: sys.exit(3),
    "recursion": in_python,
    "memory": of_memory,
    "_exit": lambda: os._exit(7),
    "abort": os.abort,
    "segfault": lambda: ctypes.string_at(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "recursion-in-c": in_c,
}

@experiment.parametrize("way", ["before", *os.environ["WAYS"].split(), "after"])
def exp_deaths(e, way: str = ""):
    e["early"] = 1
    e.track("s", 0.5)
    print("here is", way)
    if way in ways and not (side / "resumed").exists():
        ways[way]()
    e["late"] = 2
"""

FAILS = {"exit": "SystemExit", "recursion": "RecursionError", "memory": "MemoryError"}
DIES = {"_exit": 7, "abort": -6, "segfault": -11, "killed": -9, "recursion-in-c": -11}


def listed(lab: Laboratory) -> dict[str, str]:
    """What a list on the command line says of every run, without the ``way=`` or ``x=`` in front."""
    rows = json.loads(lab.pytest("--archive-list", "--archive-format", "json").exits(0).text)
    return {row["id"].partition("=")[2]: row["status"] for row in rows}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_python_can_raise_fails_the_run_alone(lab: Laboratory, workers: int) -> None:
    lab.write("exp_deaths.py", DEATHS)
    lab.run(*(["-n", workers] if workers else []), WAYS=" ".join(FAILS)).exits(1)
    assert listed(lab) == {"before": "done", "after": "done", **dict.fromkeys(FAILS, "failed")}
    for way, kind in FAILS.items():
        record = lab.records()[f"way={way}"]
        assert record.error is not None
        assert record.error.type == kind
        assert record.data == {"early": 1}
        assert record.series["s"].value.tolist() == [0.5]
        assert record.log == f"here is {way}\n"


@pytest.mark.parametrize("way", DIES)
def test_a_death_of_the_only_process_leaves_the_run_crashed(lab: Laboratory, way: str) -> None:
    lab.write("exp_deaths.py", DEATHS)
    lab.run(WAYS=way).exits(DIES[way])
    assert listed(lab) == {"before": "done", way: "crashed"}  # what had not begun is not made up
    record = lab.records()[f"way={way}"]
    assert (record.error, record.stopped, record.data) == (None, None, {"early": 1})
    assert record.series["s"].value.tolist() == [0.5]
    assert record.log == f"here is {way}\n"
    (lab.side / "resumed").touch()
    lab.run("--resume", WAYS=way).exits(0)
    assert listed(lab) == {"before": "done", way: "done", "after": "done"}


def test_a_death_of_a_worker_costs_the_run_that_it_was_at(lab: Laboratory) -> None:
    lab.write("exp_deaths.py", DEATHS)
    lab.run("-n", 2, WAYS=" ".join(DIES)).exits(1)
    assert listed(lab) == {"before": "done", "after": "done", **dict.fromkeys(DIES, "crashed")}
    assert {name: line["status"] for name, line in lab.commits().items()} == lab.statuses()
    for way in DIES:
        record = lab.records()[f"way={way}"]
        assert (record.error, record.stopped, record.data) == (None, None, {"early": 1})
        assert record.log == f"here is {way}\n"


# -- from outside ----------------------------------------------------------------------------------------------

WAITING = """
import ctypes, os, signal, sys, time
from pathlib import Path
from expedition import experiment

side = Path(os.environ["SIDE"])

def locked(library):
    # A thread that waits for itself: no signal ends the call.
    mutex = ctypes.create_string_buffer(128)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)

@experiment.parametrize("x", [0, 1, 2, 3])
def exp_waiting(e, x: int = 0):
    e["early"] = x
    if (side / "resumed").exists():
        return
    way = os.environ.get("WAY", "python")
    if x == 0 and way == "c after another handler":
        signal.signal(signal.SIGINT, print)
        return
    (side / f"waits-{x}").touch()
    if way == "c after another handler":
        locked(ctypes.CDLL(None))
    if way == "c that returns":
        sum(range(4 * 10**7))
    if way == "c":
        locked(ctypes.CDLL(None))
    if way == "c with the lock of python":
        locked(ctypes.PyDLL(None))
    if way == "swallows":
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            e["swallowed"] = True
            return
    if way == "converts":
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            raise ValueError("stopped") from None
    if way == "skips":
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            e.skip("by hand")
    while not (side / "go").exists():
        try:
            time.sleep(0.02)
        except KeyboardInterrupt:
            (side / f"heard-{x}").touch()
            if way != "deaf":
                raise
"""


def begin(lab: Laboratory, workers: int, **environment: str) -> Started:
    """Start the sweep, and wait until as many runs wait as there are processes for them."""
    lab.write("exp_waiting.py", WAITING)
    started = lab.start(*(["-n", workers] if workers else []), **environment)
    started.wait_for(lambda: len(list(lab.side.glob("waits-*"))) == max(workers, 1))
    return started


def waiting(lab: Laboratory) -> list[str]:
    return sorted(file.name[-1] for file in lab.side.glob("waits-*"))


@pytest.mark.parametrize("workers", [2, *further(0)])
def test_sighup_ends_as_sigterm_does(lab: Laboratory, workers: int) -> None:
    started = begin(lab, workers)
    started.signal(signal.SIGHUP)
    started.end().exits(2)
    assert listed(lab) == dict.fromkeys(waiting(lab), "interrupted")
    assert not started.alive()


@pytest.mark.parametrize("workers", [0, *further(2)])
def test_signals_that_were_ignored_at_the_start_stay_ignored(lab: Laboratory, workers: int) -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        started = begin(lab, workers)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    started.signal(signal.SIGHUP, group=True)
    started.signal(signal.SIGINT, group=True)
    (lab.side / "go").touch()
    started.end().exits(0)
    assert listed(lab) == dict.fromkeys("0123", "done")


@pytest.mark.parametrize(
    ("way", "status", "error"),
    [
        ("swallows", "interrupted", "KeyboardInterrupt"),
        ("converts", "interrupted", "KeyboardInterrupt"),
        ("skips", "skipped", None),
    ],
)
def test_a_run_that_catches_the_interruption_is_not_done_and_the_session_ends(
    lab: Laboratory, way: str, status: str, error: str | None
) -> None:
    started = begin(lab, 0, WAY=way)
    started.signal(signal.SIGINT)
    started.end().exits(2)
    assert listed(lab) == {"0": status}
    record = lab.records()["x=0"]
    assert (record.error.type if record.error else None) == error
    assert record.data == {"early": 0, **({"swallowed": True} if way == "swallows" else {})}


def test_the_third_signal_ends_a_run_that_catches_all_of_them(lab: Laboratory) -> None:
    started = begin(lab, 0, WAY="deaf")
    heard = lab.side / "heard-0"
    for _ in range(2):
        started.signal(signal.SIGINT)
        started.wait_for(heard.exists)
        heard.unlink()
        time.sleep(0.2)  # until the run waits again: what it does about a signal may be interrupted too
    started.signal(signal.SIGINT)
    started.end().exits(-signal.SIGINT)
    assert listed(lab) == {"0": "crashed"}
    assert lab.records()["x=0"].data == {"early": 0}


@pytest.mark.parametrize("way", ["c", "c with the lock of python", "c after another handler"])
def test_the_second_sigint_ends_a_call_of_c_code_that_hangs(lab: Laboratory, way: str) -> None:
    started = begin(lab, 0, WAY=way)
    started.signal(signal.SIGINT)
    started.wait_for(lambda: not _is_pending(started.process.pid, signal.SIGINT))
    assert started.process.poll() is None
    started.signal(signal.SIGINT)
    started.end().exits(-signal.SIGINT)
    assert listed(lab) == ({"0": "done", "1": "crashed"} if "another" in way else {"0": "crashed"})


def test_a_second_sigterm_at_once_is_the_same_request(lab: Laboratory) -> None:
    """As ``timeout`` sends it, to the process and to its group, while a run is in a call of C code."""
    started = begin(lab, 0, WAY="c that returns")
    started.signal(signal.SIGTERM)
    started.wait_for(lambda: not _is_pending(started.process.pid, signal.SIGTERM))
    started.signal(signal.SIGTERM)
    started.end().exits(2)
    assert listed(lab) == {"0": "interrupted"}


def test_the_second_signal_ends_workers_that_hang(lab: Laboratory) -> None:
    started = begin(lab, 2, WAY="c with the lock of python")
    started.signal(signal.SIGINT)
    started.wait_for(lambda: not _is_pending(started.process.pid, signal.SIGINT))
    time.sleep(1.0)  # the workers do not hear what they are told, so nothing shows that they were
    started.signal(signal.SIGINT)
    started.end().exits(2)
    assert listed(lab) == dict.fromkeys(waiting(lab), "crashed")
    assert not started.alive()
    assert (lab.sweep() / "trajectory.h5").is_file()


def _is_pending(pid: int, number: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
        masks = [int(line.split()[1], 16) for line in status if line.startswith(("SigPnd", "ShdPnd"))]
        return any(mask >> (number - 1) & 1 for mask in masks)
    return False


def test_a_worker_that_is_killed_costs_one_run(lab: Laboratory) -> None:
    started = begin(lab, 2)
    victim = lab.records()[f"x={waiting(lab)[0]}"].meta["process"]["pid"]
    os.kill(victim, signal.SIGKILL)
    started.wait_for(lambda: "CRASHED" in started.text())
    (lab.side / "go").touch()
    text = started.end().exits(1).text
    found = listed(lab)
    assert sorted(found.values()) == ["crashed", "done", "done", "done"]
    assert re.search(r"^_+ exp_\w+\[x=\d\] _+$", text, re.MULTILINE)  # the heading of the failure
    assert re.search(r"^FAILED exp_\w+\.py::exp_\w+\[x=\d\] - its worker process died$", text, re.MULTILINE)


def test_workers_whose_controller_is_killed_end_by_themselves(lab: Laboratory) -> None:
    started = begin(lab, 2)
    started.signal(signal.SIGKILL)
    assert started.end().code == -9
    give_up = time.monotonic() + 60
    while started.alive() and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not started.alive()
    assert set(listed(lab).values()) <= {"interrupted", "crashed"}
    (lab.side / "resumed").touch()
    lab.run("--resume").exits(0)
    assert listed(lab) == dict.fromkeys("0123", "done")


# -- forks -----------------------------------------------------------------------------------------------------


def test_a_forked_child_that_outlives_its_killed_parent_keeps_no_run_alive(lab: Laboratory) -> None:
    lab.write(
        "exp_fork.py",
        """
        import os, signal, time
        from pathlib import Path
        from expedition import experiment

        side = Path(os.environ["SIDE"])

        @experiment.parametrize("x", [0, 1])
        def exp_fork(e, x: int = 0):
            e["x"] = x
            if (side / "resumed").exists():
                return
            if os.fork() == 0:
                while not (side / "go").exists():
                    time.sleep(0.02)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    started = lab.start()
    try:
        assert started.process.wait(60) == -9
        assert started.alive()  # the child
        assert listed(lab) == {"0": "crashed"}
        (lab.side / "resumed").touch()
        lab.run("--resume").exits(0)
        assert listed(lab) == {"0": "done", "1": "done"}
    finally:
        (lab.side / "go").touch()


def test_a_forked_child_that_comes_to_the_end_of_the_function_ends_alone(lab: Laboratory) -> None:
    lab.write(
        "exp_children.py",
        """
        import os, sys
        from expedition import experiment

        @experiment.parametrize("way", ["returns", "exits", "raises"])
        def exp_children(e, way: str = ""):
            child = os.fork()
            if child == 0:
                if way == "exits":
                    sys.exit(5)
                if way == "raises":
                    raise ValueError("in the child")
                return
            e["code"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        """,
    )
    result = lab.run().exits(0)
    assert "3 done" in result.text
    assert {name: record.data["code"] for name, record in lab.records().items()} == {
        "way=returns": 0,
        "way=exits": 5,
        "way=raises": 1,
    }
    assert "in the child" in lab.records()["way=raises"].log


@pytest.mark.parametrize("workers", [(), ("-n", 1)], ids=["alone", "worker"])
def test_a_forked_child_ends_alone_wherever_it_was_forked(
    lab: Laboratory, workers: tuple[object, ...]
) -> None:
    lab.write(
        "exp_children.py",
        """
        import os
        import pytest
        from expedition import experiment

        def fork(error=None):
            child = os.fork()
            if child:
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if error is not None:
                raise error

        @pytest.fixture(scope="session")
        def server():
            yield fork(OSError("address in use"))
            fork()

        @experiment
        def exp_nested(e):
            e["code"] = fork()

        @experiment.parametrize("x", [0, 1])
        def exp_children(e, server, x: int = 0):
            e["code"] = server
            e["nested"] = e.run_child(exp_nested).data["code"]
            e.track("steps", x)

        @experiment.after_sweep
        def after(e, trajectory):
            e["code"] = fork()
        """,
    )
    text = lab.pytest("--experiments", "exp_children.py::exp_children", *workers).exits(0).text
    assert text.count("2 passed") == 1
    records = lab.records()
    assert [record.data for record in records.values()] == [{"code": 1, "nested": 0}] * 2
    assert [record.series["steps"].value.tolist() for record in records.values()] == [[0], [1]]
    assert [line["status"] for line in lab.commits().values()] == ["done", "done"]
    assert "address in use" in records["x=0"].log


def test_a_kill_before_the_trajectory_is_published_costs_no_more_than_a_resume(lab: Laboratory) -> None:
    lab.write("exp_waiting.py", WAITING)
    (lab.side / "go").touch()
    lab.write(
        "conftest.py",
        """
        import os
        from expedition.plugin.publishing import Publisher

        if "DIES" in os.environ:
            Publisher.end = lambda self: os._exit(9)
        """,
    )
    lab.run(DIES="yes").exits(9)
    assert listed(lab) == dict.fromkeys("0123", "done")
    file = lab.sweep() / "trajectory.h5"
    assert not file.exists()
    lab.run("--resume").exits(0)  # nothing is to be run
    with Trajectory.open(file) as traj:
        assert traj.res.early[:].tolist() == [0, 1, 2, 3]
    published = file.stat().st_mtime_ns
    lab.run("--resume").exits(0)
    assert file.stat().st_mtime_ns == published  # nothing new, so nothing is written
