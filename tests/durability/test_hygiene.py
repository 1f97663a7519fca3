"""A process after thousands of runs is as it was after a few, and what one run does to it the next does not find.

``EXPEDITION_THOROUGH=10 pytest tests/durability/test_hygiene.py`` makes 2,500 runs and prints 400 MB in every way.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.durability.laboratory import PATIENCE, Laboratory
from tests.thoroughness import examples, further

LOOK = """
import atexit, decimal, gc, json, locale, logging, os, random, signal, sys, threading, warnings
from pathlib import Path
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from expedition import experiment

def memory(kind="VmRSS"):
    return int(Path("/proc/self/status").read_text().split(kind + ":")[1].split()[0]) // 1024

def look():
    gc.collect()
    loggers = {name: one for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    state = {
        "files": sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if n.isdigit()
                        and os.path.exists(f"/proc/self/fd/{n}")),
        "threads": sorted(one.name for one in threading.enumerate() if not one.name.startswith("expedition-")),
        "root": [logging.root.level, [type(h).__name__ for h in logging.root.handlers], logging.root.manager.disable],
        "loggers": {name: [one.level, len(one.handlers), len(one.filters), one.disabled, one.propagate]
                    for name, one in loggers.items() if name not in ("mine", __name__) or one.handlers},
        "warnings": [list(map(str, warnings.filters)), warnings.showwarning.__qualname__],
        "directory": os.getcwd(),
        "mask": Path("/proc/self/status").read_text().split("Umask:")[1].split()[0],
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "path": sorted(sys.path),
        "signals": [getattr(signal.getsignal(n), "__qualname__", str(signal.getsignal(n))) for n in
                    (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM)],
        "streams": [type(stream).__name__ for stream in (sys.stdout, sys.stderr)],
        "numpy": [np.geterr(), str(np.get_printoptions())],
        "random": [random.random(), np.random.random()],
        "decimal": str(decimal.getcontext()),
        "locale": locale.setlocale(locale.LC_ALL),
        "collector": [gc.isenabled(), gc.get_threshold(), len(gc.callbacks)],
        "recursion": sys.getrecursionlimit(),
        "figures": plt.get_fignums(),
        "rc": {name: str(value) for name, value in matplotlib.rcParams.items() if name != "backend"},
        "atexit": atexit._ncallbacks(),
        "hook": str(sys.excepthook),
        "variables": [N, LABEL],
    }
    return json.dumps(state, default=str)

N: int = 3
LABEL: str = "a"
"""

TIDY = (
    LOOK
    + """
@experiment.parametrize("x", list(range(int(os.environ["RUNS"]))))
def exp_many(e, x: int = 0):
    if x in (20, 200, int(os.environ["RUNS"]) - 1):
        random.seed(0); np.random.seed(0)
        state = json.loads(look())
        state["files"] = [file for file in state["files"] if not file.startswith(str(e.path))]
        Path(os.environ["SIDE"], f"state-{x}").write_text(json.dumps([memory(), state]))
    print("run", x)
    logging.getLogger("mine").warning("w")
    if x % 20 == 0:
        plt.figure()
    e["array"] = np.arange(200) + x
    for i in range(3):
        e.track("s", i)
        e.track("a", np.zeros(200))
    with e.open("f.txt", "w") as file:
        file.write("x")
    if x % 3 == 0:
        raise ValueError(x)
"""
)


@pytest.mark.parametrize("workers", [1, *further(0)])
def test_thousands_of_runs_leave_the_process_as_twenty_did(lab: Laboratory, workers: int) -> None:
    runs = examples(250)
    lab.write("exp_many.py", TIDY)
    lab.run("--tb=no", "-q", "-n", workers, RUNS=str(runs)).exits(1)
    (before, early), (_, middle), (after, late) = (
        json.loads((lab.side / f"state-{x}").read_text(encoding="utf-8")) for x in (20, 200, runs - 1)
    )
    assert late == middle == early
    # pytest keeps the reports of all runs, which is some 5 kB for each. What runs leak shows over all of them.
    assert after - before < 4 + runs * 0.008


DIRTY = (
    LOOK
    + """
@experiment.parametrize("x", [0, 1, 2, 3, 4])
def exp_dirty(e, x: int = 0):
    Path(os.environ["SIDE"], f"state-{x}").write_text(look())
    if x in (1, 2):
        folder = e.path / "away"
        folder.mkdir()
        os.chdir(folder)
        folder.rmdir()
        os.environ["NEW"] = "1"
        os.environ["SIDE"] = "elsewhere"
        del os.environ["PATH"]
        logging.basicConfig(level=logging.DEBUG, force=True)
        logging.disable(logging.CRITICAL)
        mine = logging.getLogger("mine")
        mine.addHandler(logging.StreamHandler())
        mine.addFilter(lambda record: False)
        mine.setLevel(logging.DEBUG)
        mine.propagate = False
        logging.getLogger("matplotlib").setLevel(logging.DEBUG)
        logging.getLogger(__name__).addHandler(logging.StreamHandler())
        os.umask(0o077)
        warnings.simplefilter("error", UserWarning)
        warnings.showwarning = print
        np.seterr(all="raise")
        np.set_printoptions(precision=2)
        matplotlib.rcParams["lines.linewidth"] = 77
        plt.style.use("ggplot")
        plt.figure()
        decimal.getcontext().prec = 5
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 3600)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        gc.disable()
        gc.set_threshold(1)
        sys.setrecursionlimit(4321)
        sys.path.insert(0, sys.path[0])
        sys.stdout = sys.stderr
        random.seed(1)
        np.random.seed(1)
        globals()["N"] = 77
        if x == 2:
            raise ValueError("after all that")
"""
)


@pytest.mark.parametrize("workers", [1, *further(0)])
def test_what_a_run_does_to_its_process_the_next_does_not_find(lab: Laboratory, workers: int) -> None:
    lab.write("exp_dirty.py", DIRTY)
    lab.run("--tb=no", "-n", workers, "-k", "not 1 and not 2").exits(0)
    alone = {x: (lab.side / f"state-{x}").read_text(encoding="utf-8") for x in (3, 4)}
    lab.run("--tb=no", "-n", workers).exits(1)
    for x, before in alone.items():
        found = json.loads((lab.side / f"state-{x}").read_text(encoding="utf-8"))
        wanted = json.loads(before)
        for state in (found, wanted):
            del state["files"]  # they name the sweep
        assert found == wanted
    assert lab.statuses() == {f"x={x}": "failed" if x == 2 else "done" for x in range(5)}


def test_what_fixtures_set_up_stays(lab: Laboratory) -> None:
    lab.write(
        "exp_set.py",
        """
        import logging, os
        import pytest
        from expedition import experiment

        @pytest.fixture(scope="session", autouse=True)
        def setting():
            os.environ["MODE"] = "set"
            logging.getLogger("mine").setLevel(logging.ERROR)
            yield
            assert os.environ["MODE"] == "set"

        @experiment.parametrize("x", [0, 1])
        def exp_set(e, x: int, monkeypatch):
            assert (os.environ["MODE"], os.environ.get("OWN")) == ("set", None)
            assert logging.getLogger("mine").level == logging.ERROR
            monkeypatch.setenv("OWN", "1")
            os.environ["MODE"] = "other"
        """,
    )
    lab.run().exits(0)


LOUD = """
import ctypes, logging, os, sys
from pathlib import Path
from expedition import experiment

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

MEGABYTES = int(os.environ["MEGABYTES"])

def lines():
    for i in range(MEGABYTES * 1000):
        print("y" * 999)

def short_lines():
    for i in range(MEGABYTES * 1000):
        print(i)

def records():
    logger = logging.getLogger("mine")
    for i in range(MEGABYTES * 1000):
        logger.info("record %d", i)

def bar():
    for i in range(MEGABYTES * 1000):
        sys.stderr.write(f"\\r{i:>995} [##]")

def one_line():
    for i in range(MEGABYTES):
        sys.stdout.write("z" * 1_000_000)

def binary():
    block = bytes(range(256)) * 4000
    for i in range(MEGABYTES):
        os.write(1, block)
    ctypes.CDLL(None).puts(b"from C \\xff")

@experiment.parametrize("way", [os.environ["WAY"], "again"])
def exp_loud(e, way: str = ""):
    print("the first line")
    before = peak()
    globals()[os.environ["WAY"]]()
    print("\\nthe last line")
    e["grown"] = peak() - before
    assert way != "again", "so that there is a report"
"""


@pytest.mark.parametrize(
    ("way", "workers"),
    [
        *((way, 0) for way in ("lines", "short_lines", "records", "bar", "one_line", "binary")),
        *((way, 2) for way in ("lines", "records")),
    ],
)
def test_output_of_any_size_is_in_the_log_and_not_in_memory(lab: Laboratory, way: str, workers: int) -> None:
    megabytes = examples(40)
    lab.write("exp_loud.py", LOUD)
    result = lab.run("-n", workers, WAY=way, MEGABYTES=str(megabytes)).exits(1)
    assert "the first line" in result.text  # the report has the beginning and the end
    assert "the last line" in result.text
    assert "bytes in all" in result.text
    assert len(result.text) < 64 * 1024 + 8 * 1024
    wanted = megabytes * 1_000_000 if "records" not in way and "short" not in way else megabytes * 4_000
    for record in lab.records().values():
        assert record.data["grown"] < 16
        assert record.log_file is not None
        assert record.log_file.stat().st_size > wanted
        with open(record.log_file, "rb") as log:
            assert log.readline() == b"the first line\n"
            log.seek(-40, 2)
            assert log.read().endswith(b"\nthe last line\n")


def _peak_of(lab: Laboratory, *arguments: object) -> tuple[int, str]:
    """Megabytes that a pytest of its own took at most, and what it printed."""
    program = (
        "import pytest, sys; code = pytest.main(sys.argv[1:]); "
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=lab.path,
        env=lab.environment(),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    text, _, peak = done.stdout.rstrip().rpartition("\n")
    return int(peak) // 1024, text


@pytest.mark.parametrize("way", ["one_line", *further("lines")])
def test_long_logs_are_shown_exported_and_packed_in_little_memory(lab: Laboratory, way: str) -> None:
    lab.write("exp_loud.py", LOUD)
    lab.run("-k", "again", WAY=way, MEGABYTES=str(examples(40))).exits(1)
    (record,) = lab.archive.runs()
    assert record.log_file is not None
    usual, _ = _peak_of(lab, "--archive-list")
    peak, page = _peak_of(lab, "--archive-show", record.id)
    assert peak < usual + 30
    assert "the last line" in page
    assert len(page) < 80 * 1024
    assert record.last_lines(1).lines == ["the last line"]
    every = ("--archive-all", "--archive-output", "out")
    assert _peak_of(lab, "--archive-export", "folder", *every)[0] < usual + 30
    (exported,) = (lab.path / "out").rglob("log.txt")
    assert exported.stat().st_size == record.log_file.stat().st_size
    assert _peak_of(lab, "--archive-compress", "all.zip", "--archive-all")[0] < usual + 60
    assert "the last line" in _peak_of(lab, "--archive", "all.zip", "--archive-show", record.id)[1]


def test_the_secrets_in_a_long_log_are_found_in_little_memory(lab: Laboratory) -> None:
    lab.write(
        "exp_secret.py",
        """
        import os
        from pathlib import Path
        from expedition import Secret, experiment

        def peak():
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

        TOKEN: Secret[str] = "geheimnis"

        @experiment
        def exp_secret(e):
            for i in range(int(os.environ["MEGABYTES"])):
                os.write(1, b"x" * 999_990 + b"geheimnis\\n")
            Path(os.environ["SIDE"], "peak").write_text(str(peak()))

        import atexit  # the log is masked when the run has ended
        atexit.register(lambda: Path(os.environ["SIDE"], "last").write_text(str(peak())))
        """,
    )
    megabytes = examples(40)
    lab.run(MEGABYTES=str(megabytes)).exits(0)
    (record,) = lab.archive.runs()
    assert record.log_file is not None
    with open(record.log_file, "rb") as log:
        assert sum(line == b"x" * 999_990 + b"***\n" for line in log) == megabytes
    peaks = [int((lab.side / name).read_text(encoding="utf-8")) for name in ("peak", "last")]
    assert peaks[1] < peaks[0] + 50  # the trajectory is in it


def test_caplog_hears_what_it_is_asked_for(lab: Laboratory) -> None:
    lab.write(
        "exp_caplog.py",
        """
        import logging
        from expedition import experiment

        @experiment
        def exp_caplog(e, caplog):
            logging.getLogger("mine").warning("heard")
            assert caplog.messages == ["heard"]
        """,
    )
    lab.write(
        "exp_hook.py",
        """
        import logging
        from expedition import experiment

        @experiment.hook("after_run")
        def count(e, caplog):
            e["heard"] = len(caplog.get_records("call"))

        @experiment
        def exp_hook(e):
            logging.getLogger("mine").warning("heard")
        """,
    )
    lab.write(
        "exp_later.py",
        """
        import logging
        from expedition import experiment

        @experiment
        def exp_asks_later(e, request):
            logging.getLogger("mine").warning("too early")
            caplog = request.getfixturevalue("caplog")
            logging.getLogger("mine").warning("heard")
            assert caplog.messages == ["heard"]

        @experiment
        def exp_asks_never(e, request):
            logging.getLogger("mine").warning("unheard")
            assert not any(hasattr(handler, "records") for handler in logging.getLogger().handlers)
        """,
    )
    lab.run().exits(0)
    assert [r.data for r in lab.archive.runs() if r.experiment == "exp_hook"] == [{"heard": 1}]


def test_a_series_of_many_values_takes_little_memory(lab: Laboratory) -> None:
    points = examples(100_000)
    lab.write(
        "exp_long.py",
        """
        import os
        from pathlib import Path
        from expedition import experiment

        def peak():
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

        @experiment
        def exp_long(e):
            before = peak()
            for i in range(int(os.environ["POINTS"])):
                e.track("loss", i * 0.5)
            e["grown"] = peak() - before
        """,
    )
    lab.run(POINTS=str(points)).exits(0)
    (record,) = lab.archive.runs()
    assert record.data["grown"] < 16
    assert len(record.series["loss"].value) == points
    usual, _ = _peak_of(lab, "--archive-list")
    peak, _ = _peak_of(lab, "--archive-show", record.id)
    assert peak < usual + 30 + points * 300 // 2**20


LOOP = """
import contextlib, gc, io, json, logging, os, signal, sys, threading, warnings
import pytest

def look():
    gc.collect()
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": [thread.name for thread in threading.enumerate()],
        "handlers": [logging.root.level, list(map(repr, logging.root.handlers))],
        "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
        "environment": dict(os.environ),
        "place": [os.getcwd(), sys.path, [type(finder).__name__ for finder in sys.meta_path]],
        "modules": len(sys.modules),
        "warnings": list(map(str, warnings.filters)),
        "hooks": [str(hook) for hook in (sys.excepthook, threading.excepthook, sys.unraisablehook)],
        "streams": [str(sys.__stdout__), str(sys.stdout)],
        "collector": [gc.isenabled(), gc.get_threshold(), len(gc.callbacks)],
    }

states, memory = [], []
rounds = int(sys.argv[1])
for number in range(rounds):
    with contextlib.redirect_stdout(io.StringIO()):
        code = pytest.main(["--experiments", ".", "-q", "--archive", f"results/{number % 3}", *sys.argv[2:]])
    assert code == 1, code
    if number in (2, rounds - 1):
        states.append(look())
        memory.append(int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) // 1024)
print(json.dumps([states, memory]))
"""


@pytest.mark.parametrize("options", [("-n", "2"), *further(("-n", "0"))])
def test_many_sweeps_in_one_process_leave_it_as_a_few_did(lab: Laboratory, options: tuple[str, ...]) -> None:
    rounds = examples(12) if options[1] == "0" else examples(4)
    lab.write(
        "exp_short.py",
        """
        from expedition import experiment

        A: int = 1

        @experiment.parametrize("x", [1, 2, 3])
        def exp_short(e, x: int = 0):
            e["y"] = x * A
            e.track("s", x)
            print("said", x)
            assert x < 3
        """,
    )
    lab.write("loop.py", LOOP)
    done = subprocess.run(
        [sys.executable, "loop.py", str(rounds), *options],
        cwd=lab.path,
        env=lab.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    states: list[dict[str, Any]]
    states, memory = json.loads(done.stdout)
    assert states[0] == states[1]
    assert memory[1] - memory[0] < 8 + rounds * 0.1
