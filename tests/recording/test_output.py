"""What a run says goes to its log as it is said, and afterwards everything speaks to whom it spoke before."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from expedition.recording.output import REPORT_LIMIT, Output, read_excerpt
from tests.durability.laboratory import Laboratory

TALKATIVE = """
import ctypes, logging, os, subprocess, sys, warnings
from expedition import experiment

@experiment.parametrize("x", ["loud", "silent"])
def exp_talk(e, x: str = ""):
    if x == "silent":
        e["x"] = 1
        return
    print("one print ☃")
    print("to stderr", file=sys.stderr)
    sys.stdout.write("no line feed")
    sys.stdout.flush()
    print()
    print("lone surrogate \\udcff")
    logging.getLogger("mine").info("info of mine")
    logging.getLogger("mine").debug("debug of mine")
    logging.warning("a warning of the root logger")
    warnings.warn("an odd warning", UserWarning)
    e.log("said by log")
    libc = ctypes.CDLL(None)
    libc.puts(b"from C level")
    libc.fflush(None)
    subprocess.run([sys.executable, "-c", "import os; os.write(1, b'from a child\\\\n')"])
    os.write(2, b"raw bytes to 2\\n")
    print("the end")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    lab = Laboratory(tmp_path_factory.mktemp("talk") / "lab")
    lab.write("exp_talk.py", TALKATIVE)
    return lab


def log_of(lab: Laboratory, root: str) -> str:
    from expedition import Archive

    records = {record.id: record for record in Archive(lab.path / root).runs()}
    assert not (records["x=silent"].path / "experiment_out.log").exists()
    assert {record.status for record in records.values()} == {"done"}
    return records["x=loud"].log


OWN = ["one print ☃", "to stderr", "no line feed", "lone surrogate \\udcff", "said by log", "the end"]
LOGGED = ["INFO mine: info of mine", "WARNING root: a warning of the root logger", "an odd warning"]
BELOW = ["from C level", "from a child", "raw bytes to 2"]


@pytest.mark.parametrize("workers", [0, 2])
def test_everything_that_is_said_is_in_the_log_in_order(lab: Laboratory, workers: int) -> None:
    root = f"fd-{workers}"
    result = lab.run("--archive", root, *(["-n", workers] if workers else [])).exits(0)
    log = log_of(lab, root)
    places = [log.find(text) for text in (*OWN[:4], *LOGGED, OWN[4], *BELOW, OWN[5])]
    assert -1 not in places, log
    assert places == sorted(places)
    assert "debug of mine" not in log
    assert all(log.count(text) == 1 for text in (*OWN, *BELOW))
    assert "one print" not in result.text
    assert "an odd warning" in result.text  # pytest's own summary of warnings has it still


def test_without_capture_it_is_on_the_terminal_too(lab: Laboratory) -> None:
    result = lab.run("-s", "--archive", "no").exits(0)
    log = log_of(lab, "no")
    for text in (*OWN[:3], *LOGGED, "the end"):
        assert text in log
    for text in (*OWN[:3], *BELOW, "the end"):
        assert text in result.text


@pytest.mark.parametrize("capture", ["sys", "tee-sys"])
def test_capture_of_python_streams_alone(lab: Laboratory, capture: str) -> None:
    result = lab.run(f"--capture={capture}", "--archive", capture).exits(0)
    log = log_of(lab, capture)
    for text in (*OWN, *LOGGED):
        assert text in log
    assert ("one print" in result.text) == (capture == "tee-sys")
    for text in BELOW:
        assert text in result.text


def test_a_failing_run_shows_the_beginning_of_its_log_in_the_report(lab: Laboratory) -> None:
    other = Laboratory(lab.path.parent / "fails")
    other.write(
        "exp_fails.py",
        """
        import logging, os, sys
        from expedition import experiment

        held = [os.open(os.devnull, os.O_RDONLY)]

        @experiment.parametrize("x", [0, 1])
        def exp_fails(e, x: int = 0):
            if x == 0:
                logging.basicConfig(stream=sys.stdout, force=True)  # keeps a stream of this run
                stream = sys.stdout
                exp_fails.stream = stream
            print("said by", x)
            logging.getLogger().error("logged by %s", x)
            print("by the old stream", file=exp_fails.stream)
            e["x"] = x
            for i in range(10):
                e.track("s", i)
            sys.stdout.close()
            print("after close")
            if held:
                os.close(held.pop())  # now the log of the next run gets another descriptor than this one's
            assert x == 0
        """,
    )
    result = other.run("-n", 0).exits(1)
    assert "Output of the run" in result.text
    assert "said by 1" in result.text
    assert "said by 0" not in result.text
    for x in (0, 1):
        record = other.records()[f"x={x}"]
        assert record.data == {"x": x}
        assert record.series["s"].value.tolist() == list(range(10))
        for text in (f"said by {x}", f"logged by {x}", "by the old stream", "after close"):
            assert text in record.log, (x, text)
        journal = (record.path / "experiment_journal.jsonl").read_text(encoding="utf-8")
        assert "old stream" not in journal


def test_everything_is_put_back(tmp_path: Path) -> None:
    def state() -> list[object]:
        root = logging.getLogger()
        descriptors = [os.fstat(number)[:3] for number in (1, 2)]
        streams: list[object] = [sys.stdout, sys.stderr, warnings.showwarning]
        return [*streams, root.level, tuple(root.handlers), *descriptors]

    before = state()
    output = Output(str(tmp_path / "log"), descriptors=True, echo=False)
    output.start()
    for _ in range(3):
        output.redirect()
        assert sys.stdout is not before[0]
        print("redirected")
        output.release()
        assert state() == before
    output.stop()
    output.stop()
    assert state() == before
    assert (tmp_path / "log").read_text(encoding="utf-8") == "redirected\n" * 3


def test_a_level_that_the_run_sets_is_its_own(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = root.level
    output = Output(str(tmp_path / "log"), descriptors=False, echo=False)
    output.start()
    try:
        output.redirect()
        root.setLevel(logging.DEBUG)
        logging.debug("now it is heard")
        output.release()
        assert root.level == logging.DEBUG
    finally:
        root.setLevel(before)
        output.stop()
    assert "now it is heard" in (tmp_path / "log").read_text(encoding="utf-8")


def test_the_excerpt_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert read_excerpt(str(file)) == ""
    file.write_bytes(b"x" * REPORT_LIMIT)
    assert read_excerpt(str(file)) == "x" * REPORT_LIMIT
    file.write_bytes(b"first\n" + b"\xff" * REPORT_LIMIT + b"last\n")
    excerpt = read_excerpt(str(file))
    assert len(excerpt) <= REPORT_LIMIT
    assert excerpt.startswith("first\n")
    assert excerpt.endswith("\ufffdlast\n")
    assert str(file) in excerpt
    file.write_bytes("ä".encode() * REPORT_LIMIT)
    excerpt = read_excerpt(str(file))
    assert len(excerpt.encode()) <= REPORT_LIMIT + 4
    assert set(excerpt.partition("\n")[0]) == {"ä"}


def test_a_child_process_that_outlives_the_run_does_not_hold_it_up(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "log"), descriptors=True, echo=False)
    output.start()
    output.redirect()
    child = subprocess.Popen([sys.executable, "-c", "input(); print('late')"], stdin=subprocess.PIPE)
    print("early")
    output.release()
    output.stop()
    assert (tmp_path / "log").read_text(encoding="utf-8") == "early\n"
    child.communicate(b"\n", timeout=60)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "early\nlate\n"
