"""What the terminal shows while a sweep runs and at its end, and the exit codes."""

from __future__ import annotations

import os
import pty
import re
import select
import statistics
import subprocess
import sys
import time

import pytest
from scipy.stats import t

from tests.thoroughness import further

SWEEP = """
VALUES = {1: [1.0, 2.0, 4.0], 2: [10.0, 10.0, 10.0]}

@experiment.parametrize("a", [1, 2])
@experiment.replicate(3)
def exp_a(e, a: int, rate: float = 0.5, name: str = "x"):
    e["score"] = VALUES[a][e.replicate]
    e["odd"] = a == 2
    e["text"] = "same"
    print("noise")
"""


def table(text, heading):
    """Rows of the table whose header line begins with `heading`, split into cells."""
    lines = text.splitlines()
    start = next(
        i for i, line in enumerate(lines) if line.split()[: len(heading)] == heading and "---" in lines[i + 1]
    )
    rows = []
    for line in lines[start + 2 :]:
        if ": " in line:
            break
        rows.append([cell for cell in re.split(r"\s{2,}", line.strip()) if cell])
    return re.split(r"\s{2,}", lines[start].strip()), rows


class TestSummary:
    def test_replicates_are_folded_to_mean_and_interval(self, lab):
        lab.experiment(SWEEP)
        shown = lab.run().exits(0)
        header, rows = table(shown.out, ["a"])
        assert header[0] == "a"
        assert header[-1] == "n"
        assert "score" in header
        assert "rate" not in header
        shown.says("constant: ", "rate=0.5", "name=x").omits("noise")
        column = header.index("score")
        values = [1.0, 2.0, 4.0]
        mean = statistics.mean(values)
        half = t.ppf(0.975, 2) * statistics.stdev(values) / 3**0.5
        first = rows[0][column]
        found_mean, found_half = (float(part) for part in first.split("±"))
        assert found_half == pytest.approx(half, rel=0.06)  # shown in two digits
        assert found_mean == pytest.approx(mean, abs=0.06)
        assert rows[0][-1] == rows[1][-1] == "3"
        assert float(rows[1][column].split("±")[0]) == 10.0
        (sweep,) = lab.sweeps()
        shown.says(
            f"sweep: {sweep.relative_to(lab.path)}",
            f"trajectory: {sweep.relative_to(lab.path)}/trajectory.h5",
        )
        assert (sweep / "trajectory.h5").is_file()

    def test_without_replicates_every_run_has_its_row(self, lab):
        lab.experiment(SWEEP.replace("@experiment.replicate(3)\n", "").replace("[e.replicate]", "[0]"))
        header, rows = table(lab.run().exits(0).out, ["a"])
        assert [dict(zip(header, row, strict=True)) for row in rows] == [
            {"a": "1", "score": "1", "odd": "False"},
            {"a": "2", "score": "10", "odd": "True"},
        ] or "text" in header

    def test_failures_are_counted_and_told_with_their_outcome(self, lab):
        lab.experiment(SWEEP + "    if a == 2 and e.replicate == 1:\n        raise ValueError('bad luck')\n")
        shown = lab.run().exits(1)
        shown.says(
            "FAILED exp_a.py::exp_a[a=2-rep=1]: ValueError: bad luck",
            "runs: 5 done, 1 failed",
            "1 failed, 5 passed",
            "Output of the run",
            "noise",
        )
        header, rows = table(shown.out, ["a"])
        assert header[-2:] == ["n", "failed"]
        assert [row[-2:] for row in rows] == [["3", "0"], ["2/3", "1"]]

    def test_results_may_be_named_like_anything_else(self, lab):
        lab.experiment(
            """
            @experiment.replicate(2)
            @experiment.parametrize("a", [1, 2])
            def exp_a(e, a: int):
                e["a"] = 10 * a + e.replicate
                e["status"] = "fine"
                e["n"] = 7
            """
        )
        header, rows = table(lab.run().exits(0).out, ["a"])
        assert header == ["a", "results.a", "results.status", "results.n", "n"]
        assert [(row[0], row[2], row[-1]) for row in rows] == [("1", "fine", "2"), ("2", "fine", "2")]

    def test_skipped_and_pruned_runs_are_none_that_count(self, lab):
        lab.experiment(
            """
            @experiment.replicate(2)
            @experiment.parametrize("a", [1, 2, 3])
            def exp_a(e, a: int):
                if a == 1:
                    e.skip("not this one")
                if a == 2 and e.replicate:
                    e.prune("no use")
                e["x"] = a
            """
        )
        header, rows = table(lab.run().exits(0).out, ["a"])
        assert header[-3:] == ["n", "skipped", "pruned"]
        assert [row[-3:] for row in rows] == [["0/2", "2", "0"], ["1/2", "0", "1"], ["2", "0", "0"]]

    def test_several_experiments_each_have_a_table(self, lab):
        lab.experiment(SWEEP)
        lab.experiment("@experiment\ndef exp_b(e):\n    e['only'] = 42", "exp_b.py")
        lab.run().exits(0).says("- exp_a -", "- exp_b -", "42")
        assert len(lab.sweeps()) == 2

    def test_odd_results_break_no_table(self, lab):
        lab.experiment(
            """
            import numpy as np

            @experiment.parametrize("a", [1, 2, 3])
            def exp_a(e, a: int):
                if a == 1:
                    e["x"] = float("nan")
                    e["mixed"] = "text"
                    e["array"] = np.zeros((3, 4))
                    e["ctl"] = "\\x1b[31mred\\nline"
                elif a == 2:
                    e["mixed"] = 1
                    e["x"] = 10**50
                    e["deep/er"] = None
            """
        )
        shown = lab.run().exits(0)
        assert "\x1b[31m" not in shown.out
        shown.omits("warning:", "INTERNALERROR")


class TestProgress:
    def test_header_and_plain_lines(self, lab):
        lab.experiment(SWEEP)
        shown = lab.run().exits(0)
        shown.says(f"archive: {lab.path / 'results'}", "6/6 runs · 6 done")
        assert "\r" not in shown.out
        assert "......" not in shown.out

    def test_verbose_has_a_line_per_run(self, lab):
        lab.experiment(SWEEP)
        shown = lab.run("-v").exits(0)
        lines = [line for line in shown.out.splitlines() if line.startswith("exp_a.py::exp_a[")]
        assert len(lines) == 6
        assert all("DONE" in line for line in lines)

    def test_quiet_shows_only_what_counts(self, lab):
        lab.experiment(SWEEP)
        shown = lab.run("-q").exits(0)
        shown.omits("archive:", "rootdir").says("6 passed")

    def test_a_single_run_speaks(self, lab):
        """What one run logs is shown as it happens; of a sweep only with -v."""
        lab.experiment("@experiment\ndef exp_a(e):\n    e.log('half way')")
        lab.run().exits(0).says("half way")
        lab.experiment("@experiment.replicate(2)\ndef exp_a(e):\n    e.log('half way')")
        lab.run().exits(0).omits("half way")
        lab.run("-v").exits(0).says("[rep=0] half way", "[rep=1] half way")

    def test_what_is_shown_while_a_run_is_captured_is_not_in_its_log(self, lab):
        lab.experiment("@experiment.replicate(2)\ndef exp_a(e):\n    e.log('half way')\n    print('own')")
        shown = lab.spawn("--experiments", ".", "-v").exits(0)
        lines = [line for line in shown.out.splitlines() if "rep=" in line]
        assert [line.split()[0] for line in lines if line.startswith("[")] == ["[rep=0]", "[rep=1]"]
        assert lines.index("[rep=0] half way") < next(i for i, line in enumerate(lines) if "DONE" in line)
        for record in lab.records():
            assert [line.split()[-1] for line in record.log.splitlines()] == ["way", "own"]

    def test_collect_only_says_what_resume_would_do(self, lab):
        lab.experiment(SWEEP + "    assert a == 1\n")
        lab.run().exits(1)
        shown = lab.run("--resume", "--collect-only").exits(0)
        shown.says("3 done, 3 failed", "3 selected", "expected time")
        assert len(lab.sweeps()) == 1


class TestExitCodes:
    """0 settled, 1 not settled, 2 interrupted, 4 usage, 5 nothing collected: with and without workers."""

    @pytest.mark.parametrize("workers", [(), *further(("-n2",))], ids=["alone", "workers"])
    def test_nothing_collected(self, lab, workers):
        (lab.path / "empty").mkdir()
        lab.run(*workers, path="empty").exits(5)
        lab.file("exp_a.py", "def exp_a(e): pass")
        lab.run(*workers).exits(5)
        assert not (lab.path / "results").exists()

    def test_interrupted(self, lab):
        lab.experiment(
            """
            @experiment.parametrize("a", [1, 2])
            def exp_a(e, a):
                e["a"] = a
                raise KeyboardInterrupt
            """
        )
        lab.spawn("--experiments", ".").exits(2).says("1 pending, 1 interrupted", "--resume")
        assert lab.statuses() == {"a=1": "interrupted"}
        assert lab.record().data == {"a": 1}

    def test_pytest_exit_in_a_run(self, lab):
        lab.experiment(
            "import pytest\n@experiment\ndef exp_a(e):\n    e['x'] = 1\n    pytest.exit('enough', 7)"
        )
        lab.run().exits(7)
        assert (lab.record().status, lab.record().data) == ("interrupted", {"x": 1})

    def test_system_exit_is_a_failed_run(self, lab):
        lab.experiment(
            "import sys\n@experiment.parametrize('a', [0, 1])\n"
            "def exp_a(e, a):\n    e['a'] = a\n    sys.exit(a)"
        )
        lab.run().exits(1)
        assert [(r.status, r.data) for r in lab.records()] == [("failed", {"a": 0}), ("failed", {"a": 1})]


def test_live_line_of_a_real_terminal(lab):
    """On a terminal one line is kept up to date, and failures stand above it."""
    lab.experiment(
        """
        import time

        @experiment.parametrize("a", list(range(6)))
        def exp_a(e, a: int):
            for i in e.progress(range(3)):
                time.sleep(0.05)
            e.log(f"message {a}")
            assert a != 2
        """
    )
    main, side = pty.openpty()
    command = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "--experiments", "."]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        command, cwd=lab.path, stdin=side, stdout=side, stderr=side, env=environment, close_fds=True
    )
    os.close(side)
    output = b""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        ready, _, _ = select.select([main], [], [], 1)
        if ready:
            try:
                chunk = os.read(main, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            output += chunk
        elif process.poll() is not None:
            break
    os.close(main)
    assert process.wait(timeout=60) == 1
    text = output.decode()
    states = [int(n) for n in re.findall(r"(\d)/6 runs", text)]
    assert len(set(states)) > 2
    assert states == sorted(states)
    assert re.search(r"\r\d/6 runs · \d done( · 1 failed)? · 1 running", text)
    assert "ETA" in text
    assert "1 failed" in text
    assert re.search(r"a=\d: (message \d|\d/3)", text)
    # pytest 9.0 tells the progress to the window of the terminal as well.
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x1b]*\x1b\\", "", text)
    lines = [line.split("\r")[-1] for line in plain.replace("\r\n", "\n").split("\n")]
    assert any(line.startswith("FAILED exp_a.py::exp_a[a=2]: AssertionError") for line in lines)
    # Every frame fits into the line, so that the terminal never wraps one.
    assert all(len(frame) < 100 for frame in re.findall(r"\r([^\r\n]*)", plain))
    assert any("trajectory: results/exp_a/" in line for line in lines)
    # The line is for the terminal: the log of a run holds what the run said, and nothing else.
    for record in lab.records():
        assert re.fullmatch(rf"\S+Z message {record.params['a']}\n", record.log)
