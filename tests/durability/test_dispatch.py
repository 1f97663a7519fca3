"""One run at a time: none waits behind a long one, fixtures are set up no oftener than needed, lost runs run again."""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.durability.laboratory import PATIENCE, Laboratory, Result
from tests.thoroughness import further, further_sets

BEGIN = """
import os, signal, time
from pathlib import Path
import pytest
from expedition import experiment

SIDE = Path(os.environ["SIDE"])

def note(text):
    with open(SIDE / "notes.txt", "a") as file:
        file.write(f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')} {text}\\n")

def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")


def write(lab: Laboratory, text: str, name: str = "exp_a.py") -> None:
    lab.write(name, BEGIN)
    with open(lab.path / name, "a", encoding="utf-8") as file:
        file.write(text)


def run(lab: Laboratory, *arguments: object) -> Result:
    """Run the experiments; whatever hangs is ended with all its processes."""
    started = lab.start(*arguments)
    try:
        code = started.process.wait(PATIENCE)
    finally:
        started.kill_all()
    return Result(code, started.text())


def notes(lab: Laboratory) -> list[str]:
    return (lab.side / "notes.txt").read_text().splitlines()


def has_notes(lab: Laboratory, count: int) -> bool:
    return (lab.side / "notes.txt").exists() and len(notes(lab)) >= count


def begun(lab: Laboratory) -> list[str]:
    """Ids of the runs of the last sweep in the order in which they began."""
    sweep = max(file.parent for file in lab.path.glob("results/*/*/sweep.json"))
    records = [record for record in lab.archive.runs() if sweep in (record.path, *record.path.parents)]
    return [record.id for record in sorted(records, key=lambda record: record.started)]


LONG_ONE = """
@experiment.parametrize("i", range(7))
def exp_a(e, i: int = 0):
    if i == {long}:
        wait_until(lambda: len(list(SIDE.glob("ended-*"))) == 6)
    else:
        (SIDE / f"ended-{{i}}").touch()
"""


@pytest.mark.parametrize(
    ("mode", "long"),
    [
        ("load", 0),
        ("worksteal", 3),
        *further_sets(("load", 3), ("load", 6), ("worksteal", 0), ("worksteal", 6)),
    ],
)
def test_no_run_waits_behind_a_long_one(lab: Laboratory, mode: str, long: int) -> None:
    """The long run ends when all others have; so none may wait for it."""
    write(lab, LONG_ONE.format(long=long))
    run(lab, "-n", 2, "--dist", mode).exits(0)
    assert set(lab.statuses().values()) == {"done"}


def test_no_short_run_waits_behind_a_long_one_of_many(lab: Laboratory) -> None:
    write(
        lab,
        """
@experiment.parametrize("i", range(60))
def exp_a(e, i: int = 0):
    if i == 20:
        wait_until(lambda: len(list(SIDE.glob("ended-*"))) == 59)
    else:
        (SIDE / f"ended-{i}").touch()
""",
    )
    run(lab, "-n", 2).exits(0)
    assert set(lab.statuses().values()) == {"done"}


TIMED = """
@experiment.parametrize("seconds", [0.1, 0.8, 0.3])
def exp_a(e, seconds: float = 0.0):
    time.sleep(seconds)
"""


def test_the_longest_run_begins_first_when_history_knows(lab: Laboratory) -> None:
    write(lab, TIMED)
    run(lab, "-n", 1).exits(0)
    assert begun(lab) == ["seconds=0.1", "seconds=0.8", "seconds=0.3"]
    run(lab, "-n", 1).exits(0)
    assert begun(lab) == ["seconds=0.8", "seconds=0.3", "seconds=0.1"]


def test_a_new_replicate_of_a_known_point_is_as_long_as_the_others(lab: Laboratory) -> None:
    write(lab, TIMED)
    run(lab, "-n", 1).exits(0)
    write(lab, TIMED.replace("@experiment.p", "@experiment.replicate(2)\n@experiment.p"))
    run(lab, "-n", 1).exits(0)
    assert [name.partition("-")[0] for name in begun(lab)] == [
        f"seconds={seconds}" for seconds in (0.8, 0.8, 0.3, 0.3, 0.1, 0.1)
    ]


@pytest.mark.parametrize("how", ["--ff", *further("--nf", "conftest")])
def test_an_order_that_was_asked_for_stays(lab: Laboratory, how: str) -> None:
    write(lab, TIMED)
    run(lab, "-n", 1).exits(0)
    order = ["seconds=0.1", "seconds=0.8", "seconds=0.3"]
    if how == "conftest":
        lab.write("conftest.py", "def pytest_collection_modifyitems(items):\n    items.reverse()\n")
        run(lab, "-n", 1).exits(0)
        assert begun(lab) == order[::-1]
    else:
        run(lab, "-n", 1, how).exits(0)
        assert begun(lab) == order


def test_damaged_history_is_no_history(lab: Laboratory) -> None:
    write(lab, TIMED)
    run(lab, "-n", 1).exits(0)
    (log,) = lab.sweep().glob("journal/*.jsonl")
    log.write_bytes(b"\x00" * 100 + log.read_bytes()[:150])
    run(lab, "-n", 1).exits(0)
    assert begun(lab) == ["seconds=0.1", "seconds=0.8", "seconds=0.3"]


MODULE = """
@pytest.fixture(scope="module")
def costly():
    note("set-up {name}")
    yield "{name}"
    note("tear-down {name}")

@pytest.fixture
def cheap(costly):
    note("begin {name}")
    yield
    note("end {name}")

@experiment.parametrize("i", range(8))
def exp_{name}(e, cheap, costly, i: int = 0):
    if i == 0:  # the workers are all there before one of them can be at its second module
        wait_until(lambda: (SIDE / "notes.txt").read_text().count("set-up") >= {workers})
    e["costly"] = costly
"""


@pytest.mark.parametrize("workers", [3, *further(1, 2)])
def test_fixtures_of_a_module_are_set_up_once_per_worker_and_torn_down(lab: Laboratory, workers: int) -> None:
    for name in ("a", "b", "c"):
        write(lab, MODULE.format(name=name, workers=workers), f"exp_{name}.py")
    run(lab, "-n", workers).exits(0)
    assert set(lab.statuses().values()) == {"done"}
    set_up = [line for line in notes(lab) if "set-up" in line]
    assert len(set_up) == len(set(set_up))
    assert len({line.split()[-1] for line in set_up[:workers]}) == workers  # each begins with another module
    for worker in {line.split()[0] for line in set_up}:
        at = ""
        for what, name in (line.split()[1:] for line in notes(lab) if line.startswith(f"{worker} ")):
            assert at == ("" if what == "set-up" else name)
            at = {"set-up": name, "tear-down": ""}.get(what, at)
        assert at == ""


@pytest.mark.parametrize("scope", ["module", *further("function", "session")])
def test_an_error_in_a_teardown_is_reported(lab: Laboratory, scope: str) -> None:
    write(
        lab,
        f"""
@pytest.fixture(scope="{scope}")
def broken():
    yield
    raise RuntimeError("the teardown is broken")

@experiment.parametrize("i", range(3))
def exp_a(e, broken, i: int = 0):
    e["i"] = i
""",
    )
    write(lab, "@experiment.parametrize('i', range(3))\ndef exp_b(e, i: int = 0): pass\n", "exp_b.py")
    text = run(lab, "-n", 1).exits(1).text
    assert "the teardown is broken" in text
    assert text.count("ERROR exp_") == (3 if scope == "function" else 1)
    assert len([*lab.archive.runs()]) == 6


KILLER = """
@experiment.parametrize("i", range(8))
def exp_a(e, i: int = 0):
    note(f"begin {{i}}")
    e["attempt"] = len(list(SIDE.glob(f"begun-{{i}}-*")))
    (SIDE / f"begun-{{i}}-{{e['attempt']}}").touch()
    if i in {killers} and e["attempt"] < {times}:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def attempts(lab: Laboratory) -> dict[int, int]:
    """How often each run began."""
    found: dict[int, int] = {}
    for line in notes(lab):
        i = int(line.split()[-1])
        found[i] = found.get(i, 0) + 1
    return found


@pytest.mark.parametrize("mode", ["load", "loadscope", *further("worksteal", "loadfile", "loadgroup")])
def test_a_lost_run_runs_again_as_a_new_attempt(lab: Laboratory, mode: str) -> None:
    write(lab, KILLER.format(killers=(0, 5), times=1))
    text = run(lab, "-n", 2, "--dist", mode, "--run-retries", 1).exits(0).text
    assert set(lab.statuses().values()) == {"done"}
    assert attempts(lab) == {i: 1 + (i in (0, 5)) for i in range(8)}
    for i in (0, 5):
        assert f"RETRY exp_a.py::exp_a[i={i}]" in text
        assert "died (attempt 2 of 2)" in text
        record = lab.records()[f"i={i}"]
        assert (record.attempt, record.data["attempt"]) == (1, 1)
        earlier = type(record)(record.path / "attempts" / "0")
        assert (earlier.status, earlier.attempt, earlier.data) == ("crashed", 0, {"attempt": 0})
    assert "8 passed, 2 retried" in text


@pytest.mark.parametrize("retries", [1, *further(0)])
def test_a_run_that_kills_its_workers_costs_no_other(lab: Laboratory, retries: int) -> None:
    write(lab, KILLER.format(killers=(2,), times=99))
    text = run(lab, "-n", 2, "--run-retries", retries).exits(1).text
    assert lab.statuses() == {f"i={i}": "crashed" if i == 2 else "done" for i in range(8)}
    assert attempts(lab) == {i: 1 + retries * (i == 2) for i in range(8)}
    assert "1 failed, 7 passed" in text


def test_a_run_that_kills_every_worker_does_not_take_the_sweep_down(lab: Laboratory) -> None:
    write(lab, KILLER.format(killers=(0,), times=99))
    text = run(lab, "-n", 2, "--run-retries", 50).exits(1).text
    assert lab.statuses() == {f"i={i}": "crashed" if i == 0 else "done" for i in range(8)}
    assert "is not begun again: restarts use at most half of the 8 workers" in text
    assert attempts(lab)[0] == 5


def test_more_dead_workers_than_are_replaced_end_the_session_in_order(lab: Laboratory) -> None:
    write(lab, KILLER.format(killers=(0, 1, 2, 3), times=1))
    text = run(lab, "-n", 1, "--max-worker-restart", 2).exits(1).text
    assert "maximum crashed workers reached: 2" in text
    assert "5 selected runs did not finish; --resume goes on with them" in text
    assert lab.statuses() == {f"i={i}": "crashed" for i in range(3)}
    run(lab, "-n", 2, "--resume").exits(1)  # by i=3, which kills for the first time
    run(lab, "-n", 2, "--resume").exits(0)
    assert set(lab.statuses().values()) == {"done"}


@pytest.mark.parametrize("seed", [1, *further(2, 3)])
def test_workers_that_are_killed_at_random(lab: Laboratory, seed: int) -> None:
    """Every death costs at most one run, and that runs again; the others begin once."""
    write(
        lab,
        """
@experiment.parametrize("i", range(40))
def exp_a(e, i: int = 0):
    note(f"begin {i}")
    (SIDE / f"pid-{os.getpid()}").touch()
    for step in range(40):
        e.track("value", step)
        time.sleep(0.003)
    note(f"ended {i}")
""",
    )
    chance = random.Random(seed)
    started = lab.start("-n", 3, "--run-retries", 9, "--max-worker-restart", 20)
    killed: set[Path] = set()
    try:
        while len(killed) < 4:
            started.wait_for(partial(has_notes, lab, 12 * (len(killed) + 1)))
            victim = chance.choice(sorted(set(lab.side.glob("pid-*")) - killed))
            killed.add(victim)
            try:
                os.kill(int(victim.name.partition("-")[2]), signal.SIGKILL)
            except ProcessLookupError:
                continue
        code = started.process.wait(PATIENCE)
    finally:
        started.kill_all()
    text = started.text()
    assert code == 0, text
    records = lab.records()
    assert {name: record.status for name, record in records.items()} == {f"i={i}": "done" for i in range(40)}
    assert all(record.series["value"].value.tolist() == [*range(40)] for record in records.values())
    begins = [line for line in notes(lab) if " begin " in line]
    again = sum(record.attempt for record in records.values())
    assert len(begins) == 40 + again
    # A worker may have said that it begins a run, and died before it did.
    assert again <= text.count("RETRY ") <= 4


def test_stopping_at_the_first_failure_begins_nothing_more(lab: Laboratory) -> None:
    write(
        lab,
        """
@experiment.parametrize("i", range(8))
def exp_a(e, i: int = 0):
    note(f"begin {i}")
    assert i != 2
""",
    )
    text = run(lab, "-n", 1, "-x").exits(2).text
    assert [line.split()[-1] for line in notes(lab)] == ["0", "1", "2"]
    assert "5 selected runs did not finish" in text
    text = run(lab, "-n", 1, "--lf").exits(1).text
    assert [line.split()[-1] for line in notes(lab)][3:] == ["2"]


def test_a_dead_worker_is_a_failure_to_stop_at(lab: Laboratory) -> None:
    write(lab, KILLER.format(killers=(2,), times=99))
    text = run(lab, "-n", 1, "-x").exits(2).text
    assert lab.statuses() == {"i=0": "done", "i=1": "done", "i=2": "crashed"}
    assert "stopping after 1 failures" in text


def test_a_worker_that_dies_between_two_runs_costs_none(lab: Laboratory) -> None:
    lab.write(
        "conftest.py",
        """
        import os, signal
        from pathlib import Path
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item):
            flag = Path(os.environ["SIDE"]) / "killed"
            if "i=3" in item.name and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    write(lab, KILLER.format(killers=(), times=0))
    text = run(lab, "-n", 2).exits(0).text
    assert "node down" in text
    assert lab.statuses() == {f"i={i}": "done" for i in range(8)}
    assert set(attempts(lab).values()) == {1}


def test_a_worker_that_dies_when_its_run_has_ended_costs_none(lab: Laboratory) -> None:
    lab.write(
        "conftest.py",
        """
        import os, signal
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logfinish(nodeid):
            if "i=3" in nodeid and "PYTEST_XDIST_WORKER" in os.environ:
                os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    write(lab, KILLER.format(killers=(), times=0))
    text = run(lab, "-n", 2).exits(0).text
    assert lab.statuses() == {f"i={i}": "done" for i in range(8)}
    assert "runs: 8 done" in text or "8/8 runs" in text


def test_an_xdist_that_is_built_otherwise_keeps_its_own_scheduler(lab: Laboratory) -> None:
    write(lab, KILLER.format(killers=(), times=0))
    lab.write(
        "conftest.py",
        """
        from expedition.plugin import dispatch
        dispatch._EXPECTED["xdist.report"] += ("of_another_version",)
        """,
    )
    text = run(lab, "-n", 2, "-v").exits(0).text
    assert "scheduling tests via LoadScheduling" in text
    assert "this pytest-xdist is built otherwise than expected" in text
    assert set(lab.statuses().values()) == {"done"}
    (lab.path / "conftest.py").unlink()
    text = run(lab, "-n", 2, "-v").exits(0).text
    assert "scheduling tests via RunScheduling" in text
    assert "built otherwise" not in text


def test_a_replacement_that_collects_other_runs_ends_the_session(lab: Laboratory) -> None:
    write(
        lab,
        """
FLAG = SIDE / "changed"

@experiment.parametrize("i", range(3 if FLAG.exists() else 6))
def exp_a(e, i: int = 0):
    if i == 2:
        FLAG.touch()
        os.kill(os.getpid(), signal.SIGKILL)
""",
    )
    text = run(lab, "-n", 1).exits(1).text
    assert "was a file changed?" in text
    assert lab.statuses() == {"i=0": "done", "i=1": "done", "i=2": "crashed"}


def test_sigterm_reaches_workers_that_wait_for_a_run(lab: Laboratory) -> None:
    write(
        lab,
        """
@experiment.parametrize("i", range(2))
def exp_a(e, i: int = 0):
    (SIDE / f"begun-{i}").touch()
    if i == 1:
        wait_until(lambda: False)
""",
    )
    started = lab.start("-n", 2)
    try:
        started.wait_for(lambda: len(list(lab.side.glob("begun-*"))) == 2)
        started.signal(signal.SIGTERM)
        code = started.process.wait(PATIENCE)
    finally:
        started.kill_all()
    assert code == 2, started.text()
    assert lab.statuses() == {"i=0": "done", "i=1": "interrupted"}


def test_generations_that_kill_workers(lab: Laboratory) -> None:
    write(
        lab,
        """
@experiment.parametrize("i", range(4))
def exp_a(e, i: int = 0):
    flag = SIDE / f"killed-{i}"
    if i % 4 == 0 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    e["i"] = i

@experiment.after_sweep
def more(traj):
    if len(traj) < 8:
        return [{"i": i} for i in range(4, 8)]
""",
    )
    run(lab, "-n", 2, "--run-retries", 1).exits(0)
    assert lab.statuses() == {f"i={i}": "done" for i in range(8)}


def test_a_worker_that_dies_before_a_new_attempt_leaves_no_earlier_one_to_pass_for_it(
    lab: Laboratory,
) -> None:
    text = """
@experiment.parametrize("i", range(3))
def exp_a(e, i: int = 0):
    e["value"] = i * {factor}
    assert i != {failing}
"""
    write(lab, text.format(factor=10, failing=2))
    run(lab, "-n", 1).exits(1)
    write(lab, text.format(factor=100, failing=-1))
    lab.write(
        "conftest.py",
        """
        import os
        from pathlib import Path
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_setup(item):
            flag = Path(os.environ["SIDE"], item.name)
            if "i=0" not in item.name and not flag.exists():
                flag.touch()
                os._exit(3)
            return (yield)
        """,
    )
    text = run(lab, "-n", 1, "--resume").exits(1).text
    assert "2 failed, 1 passed" in text
    assert {name: record.data["value"] for name, record in lab.records().items()} == {
        "i=0": 0,
        "i=1": 10,  # what the earlier attempt has recorded stays
        "i=2": 20,
    }
    run(lab, "-n", 1, "--resume").exits(0)
    assert [record.data["value"] for record in lab.records().values()] == [0, 100, 200]
