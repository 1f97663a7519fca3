"""Timeouts: a run that takes too long gets time to save its state, and what does not stop is ended from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expedition import RunRecord, Trajectory
from expedition.recording.watcher import HEARD, SHOW_STACK
from tests.durability.laboratory import PATIENCE, Laboratory, Result

pytestmark = pytest.mark.skipif(
    not (hasattr(signal, HEARD) and hasattr(signal, SHOW_STACK)), reason="the system has no such signals"
)

INI = "[pytest]\nexperiment_archive = results\nexperiment_timeout_grace = 0.5\n"

KINDS = """
import ctypes, os, queue, re, signal, subprocess, threading, time
from pathlib import Path
import pytest
from expedition import RunTimeout, experiment

def sleeps(e):
    time.sleep(3600)

def waits_for_a_lock(e):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def waits_for_a_queue(e):
    queue.Queue().get()

def waits_for_a_thread(e):
    thread = threading.Thread(target=time.sleep, args=(3600,), daemon=True)
    thread.start()
    thread.join()

def waits_for_a_child(e):
    child = subprocess.Popen(["sleep", "3600"])
    Path(os.environ["SIDE"], "child").write_text(str(child.pid))
    child.wait()

def computes(e):
    while True:
        pass

def matches(e):
    re.match(r"(a+)+$", "a" * 60 + "b")

def swallows_exceptions(e):
    while True:
        try:
            time.sleep(3600)
        except Exception:
            pass

def swallows_all(e):
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass

def sums(e):
    sum(range(10**15))

def pauses_in_c(e):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM})
    while True:
        ctypes.PyDLL(None).pause()

def leaves_a_child(e):
    child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    Path(os.environ["SIDE"], "child").write_text(str(child.pid))
    sum(range(10**15))

def finishes(e):
    pass

@experiment(timeout=0.4)
@experiment.parametrize("kind", KINDS)
def exp_a(e, kind: str = ""):
    e["begun"] = kind
    e.track("step", 1.5)
    e.note("noted")
    print("printed")
    try:
        globals()[kind](e)
    finally:
        e["cleaned"] = True
    e["after"] = True
"""

STOPPED = (
    "sleeps",
    "waits_for_a_lock",
    "waits_for_a_queue",
    "waits_for_a_thread",
    "waits_for_a_child",
    "computes",
    "matches",
    "swallows_exceptions",
)
ENDED = ("swallows_all", "sums", "pauses_in_c", "leaves_a_child")


def prepare(lab: Laboratory, *kinds: str, **changes: str) -> None:
    lab.write("pytest.ini", INI)
    text = KINDS.replace("KINDS", repr(list(kinds)))
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    lab.write("exp_a.py", text)


def run_of(lab: Laboratory, kind: str) -> RunRecord:
    return lab.records()[f"kind={kind}"]


def is_gone(pid: int) -> bool:
    """Whether a process comes to its end, as it does soon after its group was killed."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("workers", [(), ("-n", 2)], ids=["alone", "workers"])
def test_python_code_hears_of_its_timeout_and_the_others_go_on(
    lab: Laboratory, workers: tuple[object, ...]
) -> None:
    prepare(lab, *STOPPED, "finishes")
    result = lab.run(*workers).exits(1)
    assert f"{len(STOPPED)} failed, 1 passed" in result.text
    for kind in STOPPED:
        record = run_of(lab, kind)
        assert record.status == "timeout", kind
        assert record.error is not None
        assert (record.error.type, record.error.message) == (
            "RunTimeout",
            "the run took longer than its timeout of 0.4 s",
        )
        assert "exp_a.py" in record.error.traceback
        assert "timeouts.py" not in record.error.traceback
        assert record.data == {"begun": kind, "cleaned": True}
        assert record.series["step"].value.tolist() == [1.5]
        assert record.notes == ["noted"]
        assert "printed" in record.log
        assert record.duration is not None
        assert record.duration >= 0.4
    assert run_of(lab, "finishes").data == {"begun": "finishes", "cleaned": True, "after": True}
    assert not list(lab.sweep().glob("journal/*.lock"))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Laboratory, Result]:
    """A sweep of which most runs had to be ended."""
    lab = Laboratory(tmp_path_factory.mktemp("ended") / "lab")
    prepare(lab, *ENDED, "finishes")
    return lab, lab.run("-n", 2)


@pytest.mark.parametrize("kind", ENDED)
def test_what_does_not_stop_is_ended_and_reads_as_a_timeout(
    ended: tuple[Laboratory, Result], kind: str
) -> None:
    lab, result = ended
    assert f"TIMEOUT exp_a.py::exp_a[kind={kind}]" in result.text
    record = run_of(lab, kind)
    assert record.status == "timeout"
    assert record.error is not None
    assert record.error.type == "RunTimeout"
    assert "did not end within 0.5 s after it" in record.error.message
    if kind != "pauses_in_c":  # nobody hears a signal there that all threads block
        assert "exp_a.py" in record.error.traceback
        assert "exp_a.py" in record.log
    assert record.flat_data["begun"] == kind
    assert "after" not in record.flat_data
    assert record.series["step"].value.tolist() == [1.5]
    assert record.notes == ["noted"]
    assert "printed" in record.log
    assert record.stopped is not None
    assert record.duration is not None
    assert record.duration >= 0.9


def test_when_runs_were_ended_the_others_go_on_and_everything_tells_the_same(
    ended: tuple[Laboratory, Result],
) -> None:
    lab, result = ended
    result.exits(1)
    assert "its worker process was ended" in result.text
    expected = {**{f"kind={kind}": "timeout" for kind in ENDED}, "kind=finishes": "done"}
    assert lab.statuses() == expected
    with Trajectory.open(lab.sweep()) as trajectory:
        assert trajectory.runs.status.values.tolist() == list(expected.values())
    assert {name: line["status"] for name, line in lab.commits().items()} == expected
    assert is_gone(int((lab.side / "child").read_text()))
    before = {name: record.flat_data for name, record in lab.records().items()}
    repaired = lab.pytest("--archive-repair", "--yes")
    assert repaired.code == 0, repaired.text
    assert lab.statuses() == expected
    assert {name: record.flat_data for name, record in lab.records().items()} == before
    shown = lab.pytest("--archive-show", "kind=sums").text
    assert "timeout: RunTimeout: the run took longer" in shown


def test_without_workers_the_invocation_ends_and_a_resume_goes_on_with_the_others(lab: Laboratory) -> None:
    prepare(lab, "finishes", "sums", "sleeps")
    result = lab.run()
    assert result.code == -signal.SIGKILL
    assert "TIMEOUT exp_a.py::exp_a[kind=sums]" in result.text
    assert "--resume goes on with the other runs" in result.text
    assert lab.statuses() == {"kind=finishes": "done", "kind=sums": "timeout"}
    assert "timeout" in lab.pytest("--archive-list").text
    prepare(lab, "finishes", "sums", "sleeps", **{"sum(range(10**15))": "pass"})
    result = lab.run("--resume", "--ignore-code").exits(1)
    assert result.text.index("TIMEOUT exp_a.py::exp_a[kind=sleeps]") > 0
    assert lab.statuses() == {"kind=finishes": "done", "kind=sums": "done", "kind=sleeps": "timeout"}
    assert run_of(lab, "sums").attempt == 1
    assert [one.status for one in run_of(lab, "sums").attempts] == ["timeout"]


def test_a_resume_begins_with_what_has_not_ended_the_process_before(lab: Laboratory) -> None:
    prepare(lab, "sums", "finishes")
    assert lab.run().code == -signal.SIGKILL
    assert lab.statuses() == {"kind=sums": "timeout"}
    assert lab.run("--resume").code == -signal.SIGKILL
    assert lab.statuses() == {"kind=sums": "timeout", "kind=finishes": "done"}


def test_a_run_that_swallows_its_timeout_and_returns_has_timed_out_all_the_same(lab: Laboratory) -> None:
    lab.write("pytest.ini", INI.replace("0.5", "60"))
    lab.write(
        "exp_a.py",
        """
        import time
        from expedition import RunTimeout, experiment

        @experiment(timeout=0.3)
        def exp_a(e):
            try:
                time.sleep(3600)
            except RunTimeout:
                e["saved"] = True
        """,
    )
    lab.run().exits(1)
    (record,) = lab.records().values()
    assert (record.status, record.data) == ("timeout", {"saved": True})


def test_the_hook_on_timeout_comes_before_after_run(lab: Laboratory) -> None:
    lab.write(
        "exp_a.py",
        """
        import time
        import pytest
        from expedition import experiment

        @pytest.fixture
        def store(tmp_path):
            return tmp_path  # asked for in the grace period, and with it what pytest keeps for the session

        @experiment.hook("on_timeout")
        def save(e, store):
            e["order"] = ["on_timeout"]

        @experiment.hook("after_run")
        def clean(e, store):
            e["order"] = [*e.get("order", []), "after_run"]

        @experiment(timeout=0.3)
        @experiment.parametrize("seconds", [3600.0, 0.0])
        def exp_a(e, seconds: float = 0.0):
            time.sleep(seconds)
        """,
    )
    lab.run().exits(1)
    assert [(record.status, record.data["order"]) for record in lab.records().values()] == [
        ("timeout", ["on_timeout", "after_run"]),
        ("done", ["after_run"]),
    ]


def test_set_up_counts_and_teardown_does_not(lab: Laboratory) -> None:
    lab.write("pytest.ini", INI)
    lab.write(
        "exp_a.py",
        """
        import os, time
        import pytest
        from pathlib import Path
        from expedition import experiment

        def sleep_once(name):
            file = Path(os.environ["SIDE"], name)
            if not file.exists():
                file.touch()
                time.sleep(3600)

        @pytest.fixture(scope="session")
        def wide():
            sleep_once("wide")
            return 1

        @pytest.fixture(scope="session")
        def asked_for():
            sleep_once("asked for")
            return 1

        @pytest.fixture
        def slow_to_end():
            yield
            time.sleep(1.5)

        @experiment(timeout=0.4)
        @experiment.parametrize("x", [1, 2])
        def exp_a(e, wide, x: int = 0):
            e["wide"] = wide

        @experiment(timeout=0.4)
        def exp_b(e, slow_to_end):
            e["ran"] = True

        @experiment(timeout=0.4)
        @experiment.parametrize("x", [1, 2])
        def exp_c(e, request, x: int = 0):
            e["asked_for"] = request.getfixturevalue("asked_for")
        """,
    )
    lab.run().exits(1)
    records = [(record.experiment, record.id, record.status) for record in lab.archive.runs()]
    assert sorted(records) == [
        ("exp_a", "x=1", "timeout"),
        ("exp_a", "x=2", "done"),
        ("exp_b", "exp_b", "done"),
        ("exp_c", "x=1", "timeout"),
        ("exp_c", "x=2", "done"),
    ]


def test_a_timeout_is_tried_again_with_the_checkpoint_that_it_left(lab: Laboratory) -> None:
    lab.write("pytest.ini", INI)
    lab.write(
        "exp_a.py",
        """
        import json, time
        from expedition import RunTimeout, experiment

        @experiment(timeout=0.5, retries=20)
        @experiment.parametrize("pause", [0.0, 0.04])
        def exp_a(e, pause: float = 0.0):
            state = e.checkpoint / "state.json"
            values = json.loads(state.read_text()) if e.resumed else []
            e["_began"] = len(values)
            for value in values:
                e.track("value", value)
            try:
                while len(values) < 20:
                    time.sleep(pause)
                    values.append(1 / (1 + len(values)))
                    e.track("value", values[-1])
            except RunTimeout:
                with e.checkpoint_file("state.json") as path:
                    path.write_text(json.dumps(values))
                raise
            e["sum"] = sum(values)
        """,
    )
    assert "retried" in lab.run().exits(0).text
    straight, resumed = lab.records().values()
    assert straight.attempt == 0
    assert resumed.attempt > 0
    assert {one.status for one in resumed.attempts} == {"timeout"}
    assert resumed.data == straight.data
    assert resumed.series["value"].value.tolist() == straight.series["value"].value.tolist()
    assert resumed.series["value"].step.tolist() == straight.series["value"].step.tolist()


def test_a_worker_that_was_ended_is_replaced_and_its_run_tried_again(lab: Laboratory) -> None:
    prepare(
        lab,
        "sums",
        "finishes",
        **{
            "@experiment(timeout=0.4)": "@experiment(timeout=0.4, retries=1)",
            "    sum(range(10**15))\n\ndef pauses": """    with e.checkpoint_file("been") as path:
        first = not e.resumed
        path.touch()
    if first:
        sum(range(10**15))

def pauses""",
        },
    )
    result = lab.run("-n", 1).exits(0)
    assert "RETRY exp_a.py::exp_a[kind=sums]" in result.text
    record = run_of(lab, "sums")
    assert (record.status, record.attempt) == ("done", 1)
    assert [one.status for one in record.attempts] == ["timeout"]


def test_the_watcher_goes_with_the_process_that_it_watches(lab: Laboratory) -> None:
    prepare(lab, "sleeps", **{"timeout=0.4": "timeout=3600"})
    started = lab.start()
    started.wait_for(lambda: watchers_of(started.process.pid) and is_begun(lab))
    assert lab.statuses() == {"kind=sleeps": "running"}
    (watcher,) = watchers_of(started.process.pid)
    os.kill(started.process.pid, signal.SIGKILL)
    started.end()
    assert is_gone(watcher)
    assert lab.statuses() == {"kind=sleeps": "crashed"}


def test_the_death_of_the_watcher_costs_no_run(lab: Laboratory) -> None:
    prepare(
        lab,
        "sleeps",
        "finishes",
        **{"timeout=0.4": "timeout=3600", "3600)\n\ndef waits_for_a_lock": "1)\n\ndef w"},
    )
    started = lab.start()
    started.wait_for(lambda: watchers_of(started.process.pid))
    (watcher,) = watchers_of(started.process.pid)
    os.kill(watcher, signal.SIGKILL)
    started.end().exits(0)
    assert set(lab.statuses().values()) == {"done"}


def test_no_run_is_without_a_timeout_when_watchers_die_and_signals_are_taken(lab: Laboratory) -> None:
    lab.write("pytest.ini", INI)
    lab.write(
        "exp_a.py",
        """
        import os, resource, signal, time
        from pathlib import Path
        from expedition import experiment

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
        OPENED = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]  # more than `select` takes

        def watchers():
            for child in Path("/proc/self/task").glob("*/children"):
                for pid in child.read_text().split():
                    if b"watcher.py" in Path("/proc", pid, "cmdline").read_bytes():
                        yield int(pid)

        @experiment(timeout=0.5)
        @experiment.parametrize("way", ["hangs", "kills", "ignores", "hangs again"])
        def exp_a(e, way: str = ""):
            if way == "kills":
                for pid in watchers():
                    os.kill(pid, signal.SIGKILL)
                    e["killed"] = pid
                time.sleep(0.7)
            elif way == "ignores":
                signal.signal(signal.SIGVTALRM, signal.SIG_IGN)
            else:
                time.sleep(3600)
        """,
    )
    text = lab.run().exits(1).text
    assert [*lab.statuses().values()] == ["timeout", "timeout", "done", "timeout"]
    assert "killed" in lab.records()["way=kills"].data
    assert "the process that watches over timeouts has ended" in text


def test_a_timeout_is_refused_where_only_another_thread_could_hear_of_it(lab: Laboratory) -> None:
    prepare(lab, "sleeps")
    lab.write(
        "call.py",
        """
        import sys, threading
        import pytest

        codes = []
        call = threading.Thread(target=lambda: codes.append(pytest.main(["--experiments", ".", *sys.argv[1:]])))
        call.start()
        call.join()
        sys.exit(codes[0])
        """,
    )
    for options, code in ((), 4), (("-n", "1"), 1), (("--run-timeout", "0", "--collect-only"), 0):
        done = subprocess.run(
            [sys.executable, "call.py", *options],
            cwd=lab.path,
            env=lab.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == code, done.stdout
        assert ("only the main thread hears of a timeout" in done.stderr) == (code == 4)
    assert lab.statuses() == {"kind=sleeps": "timeout"}


def test_a_nested_run_that_is_ended_with_its_parent_has_timed_out_as_well(lab: Laboratory) -> None:
    lab.write("pytest.ini", INI)
    lab.write(
        "exp_a.py",
        """
        from expedition import experiment

        @experiment
        def exp_quick(e):
            pass

        @experiment
        def exp_inner(e):
            e["begun"] = True
            e.run_child(exp_quick)
            sum(range(10**15))

        @experiment(timeout=0.5)
        def exp_outer(e):
            e.run_child(exp_inner)
        """,
    )
    assert lab.pytest("--experiments", "exp_a.py::exp_outer").code == -signal.SIGKILL
    (outer,) = lab.archive.runs()
    (inner,) = outer.children
    (quick,) = inner.children
    assert [record.status for record in (outer, inner, quick)] == ["timeout", "timeout", "done"]
    assert inner.data == {"begun": True}
    assert outer.stopped == inner.stopped
    assert outer.duration >= inner.duration > 0


def test_without_a_timeout_there_is_no_watcher(lab: Laboratory) -> None:
    prepare(lab, "sleeps")
    started = lab.start("--run-timeout", 0)
    started.wait_for(lambda: is_begun(lab))
    assert not watchers_of(started.process.pid)
    started.signal(signal.SIGINT)
    started.end().exits(2)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
def test_a_process_that_was_stopped_for_a_while_has_its_grace_period_when_it_goes_on(lab: Laboratory) -> None:
    prepare(lab, "sleeps", "finishes")
    lab.write("pytest.ini", INI.replace("0.5", "0.2"))
    started = lab.start()
    started.wait_for(lambda: is_begun(lab))
    started.signal(signal.SIGSTOP)
    time.sleep(2)  # beyond timeout and grace period
    assert started.process.poll() is None
    started.signal(signal.SIGCONT)
    started.end().exits(1)
    assert lab.statuses() == {"kind=sleeps": "timeout", "kind=finishes": "done"}
    error = run_of(lab, "sleeps").error
    assert error is not None
    assert (
        error.message == "the run took longer than its timeout of 0.4 s"
    )  # it has heard of it, and was not ended


def test_a_forked_child_does_not_speak_for_its_parent(lab: Laboratory) -> None:
    lab.write("pytest.ini", INI)
    lab.write(
        "exp_a.py",
        """
        import os, time
        from expedition import experiment

        @experiment(timeout=0.6)
        def exp_a(e):
            if os.fork() == 0:
                return  # to the end of the function, where time would count no longer
            sum(range(10**15))
        """,
    )
    lab.run("-n", 1).exits(1)
    (record,) = lab.records().values()
    assert record.status == "timeout"


def test_a_debugger_stops_the_clock(lab: Laboratory) -> None:
    lab.write(
        "exp_a.py",
        """
        import time
        from expedition import experiment

        @experiment(timeout=0.3)
        def exp_a(e, request):
            request.config.hook.pytest_enter_pdb(config=request.config, pdb=None)  # as a breakpoint does
            time.sleep(0.8)
        """,
    )
    lab.run().exits(0)


def test_an_interruption_in_the_grace_period_interrupts(lab: Laboratory) -> None:
    prepare(
        lab,
        "swallows_exceptions",
        **{
            '    finally:\n        e["cleaned"] = True': """    finally:
        Path(os.environ["SIDE"], "cleaning").touch()
        time.sleep(3600)"""
        },
    )
    lab.write("pytest.ini", INI.replace("0.5", "3600"))
    started = lab.start()
    started.wait_for(lambda: (lab.side / "cleaning").exists())
    started.signal(signal.SIGINT)
    started.end().exits(2)
    assert lab.statuses() == {"kind=swallows_exceptions": "interrupted"}


def is_begun(lab: Laboratory) -> bool:
    """Whether a run has recorded something."""
    return any(lab.path.glob("results/*/*/*/experiment_journal.jsonl"))


def watchers_of(pid: int) -> list[int]:
    """The watchers among the children of a process."""
    found = []
    for child in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((child / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            command = (child / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid and b"watcher.py" in command:
            found.append(int(child.name))
    return found


def test_an_interruption_in_the_middle_of_a_record_waits_until_that_is_whole(lab: Laboratory) -> None:
    lab.write("pytest.ini", INI)
    lab.write(
        "exp_a.py",
        """
        import os, signal, threading
        from expedition import RunTimeout, experiment

        @experiment(timeout=0.3)
        @experiment.parametrize("x", [0, 1, 2, "signal"])
        def exp_a(e, x: int | str = 0):
            if x == "signal":
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            count = 0
            try:
                while True:
                    e.track("loss", count)
                    count += 1
            except (RunTimeout, KeyboardInterrupt):
                e.track("loss", -1)
                raise
        """,
    )
    lab.run().exits(2)
    assert [*lab.statuses().values()] == ["timeout"] * 3 + ["interrupted"]
    for record in lab.records().values():
        steps = record.series["loss"].step.tolist()
        assert steps == [*range(len(steps))]
        meta = json.loads((record.path / "experiment_meta.json").read_text())
        assert meta["series"]["loss"]["n"] == len(steps)
