"""The options ``--archive-…`` of pytest: every verb on an archive with runs of every fate, refusals, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

from expedition import Archive
from expedition.plugin.archive_options import ACTIONS, REPORTS
from tests.mixed_archive import copy_mixed_archive, files_of

VERBS = (*REPORTS, *ACTIONS)


@pytest.fixture
def mixed(lab, made_once, monkeypatch):
    """A project with an archive of runs that are done, failed, crashed, damaged and of testing mode."""
    copy_mixed_archive(made_once, lab.path, monkeypatch)
    return lab


def ids(lab, select: str | None = None) -> list[str]:
    return [row.id for row in lab.archive.rows(select)]


class TestReports:
    def test_lists(self, mixed):
        mixed.pytest("--archive-list").exits(0).says(
            "exp_mix", "exp_other", "1 failed", "1 crashed", "damaged"
        )
        chosen = mixed.pytest(
            "--archive-list", "--archive-select", "experiment == 'exp_mix' and a > 0", "--archive-sort=-a",
            "--archive-columns", "a,status", "--archive-columns=rmse.mean", "--archive-limit=2", "--archive-format=csv",
        ).exits(0)  # fmt: skip
        assert [tuple(row.values()) for row in csv.DictReader(io.StringIO(chosen.out))] == [
            ("4", "crashed", "6.0"),
            ("2", "failed", "3.0"),
        ]
        (only,) = json.loads(
            mixed.pytest("--archive-list", "--testing", "--archive-format=json").exits(0).out
        )
        assert only["id"] == "a=1"

    def test_other_reports(self, mixed):
        newest = json.loads(mixed.pytest("--archive-tail=2", "--archive-format=json").exits(0).out)
        assert [run["experiment"] for run in newest] == ["exp_other", "exp_mix"]
        assert len(json.loads(mixed.pytest("--archive-tail", "--archive-format=json").exits(0).out)) == 5
        assert (
            json.loads(mixed.pytest("--archive-overview", "--archive-format=json").exits(0).out)["runs"] == 5
        )
        mixed.pytest("--archive-show", "exp_mix[a=2]").exits(0).says("ValueError: bad a")
        mixed.pytest("--archive-diff", "exp_mix[a=2]", "exp_other").exits(0).says("gain")
        groups = json.loads(mixed.pytest("--archive-scan", "status", "--archive-format=json").exits(0).out)
        assert len(groups) == 4
        mixed.pytest("--archive-scan").exits(0).says("exp_mix", "exp_other")

    def test_defaults_of_the_ini_file(self, mixed):
        ini = "[pytest]\nexperiment_report_format = csv\nexperiment_report_columns = id status\n"
        mixed.file(
            "pytest.ini", f"{ini}experiment_report_sort = -id\naddopts = --experiments exp_mix.py -P SIZE=4\n"
        )
        lines = mixed.pytest("--archive-list").exits(0).out.splitlines()
        assert lines[0] == "id,status"
        assert lines[1:] == sorted(lines[1:], reverse=True)
        assert len(lines) == 6
        mixed.pytest("--archive-list", "--archive-format=json", "--archive-columns=seed").exits(0).says(
            '"seed"'
        )
        mixed.pytest("--archive-show", "exp_mix[a=2]").exits(0).says("ValueError")
        mixed.file("pytest.ini", "[pytest]\nexperiment_report_columns = ide\n")
        mixed.pytest("--archive-list").exits(4).says("ini experiment_report_columns", "'ide'")
        mixed.file("pytest.ini", "[pytest]\nexperiment_report_format = xml\n")
        mixed.pytest("--archive-list").exits(4).says("ini experiment_report_format", "xml")


class TestActions:
    def test_delete_restore_purge(self, mixed):
        before, runs = files_of(mixed.path), ids(mixed)
        chosen = ("--archive-delete", "--archive-select", "a == 2")
        mixed.pytest(*chosen, "--dry-run").exits(0).says("would delete 1 run", "0001-a=2")
        assert files_of(mixed.path) == before
        mixed.pytest(*chosen, "--yes").exits(0)
        assert "a=2" not in ids(mixed)
        mixed.pytest("--archive-restore", "--all", "--dry-run").exits(0).says("would restore 1 run")
        mixed.pytest("--archive-restore", "a=2", "--archive-yes").exits(0)
        assert ids(mixed) == runs
        mixed.pytest("--archive-delete", "--all", "--yes").exits(0).says("1 run of testing mode")
        assert ids(mixed) == ["a=1"]
        mixed.pytest("--archive-purge", "1d", "--yes").exits(0)
        mixed.pytest("--archive-purge", "--all", "--yes").exits(0)
        mixed.pytest("--archive-restore", "--all", "--yes").exits(0).says("nothing to do")

    def test_modify(self, mixed):
        mixed.pytest(
            "--archive-modify",
            "tag good",
            "--archive-modify=note it is",
            "--archive-select",
            "a == 2",
            "--yes",
        ).exits(0)
        assert ids(mixed, "'good' in tags and 'it is' in notes") == ["a=2"]
        damaged = mixed.pytest("--archive-modify", "tag x", "--archive-all", "--yes").exits(1)
        assert "a=3" in damaged.err
        assert len(ids(mixed, "'x' in tags")) == 4

    def test_zip_files_and_exports(self, mixed):
        mixed.pytest("--archive-compress", "few.zip", "--archive-select", "status == 'done'").exits(0)
        mixed.pytest("--archive-list", "--archive", "few.zip").exits(0).says("2 runs")
        mixed.pytest("--archive-import", "few.zip", "--archive", "new", "--yes").exits(0)
        assert [row.id for row in Archive(mixed.path / "new").rows()] == ["a=1", "exp_other"]
        mixed.pytest("--archive-export", "csv", "--archive-output=x.csv", "--archive-select", "a < 3").exits(
            0
        )
        with open(mixed.path / "x.csv", encoding="utf-8", newline="") as stream:
            assert [row["a"] for row in csv.DictReader(stream)] == ["1", "2"]

    def test_repair(self, mixed):
        before = files_of(mixed.path)
        mixed.pytest("--archive-repair", "--dry-run").exits(0).says("would be written anew")
        assert files_of(mixed.path) == before
        mixed.pytest("--archive-repair").exits(1).says("cannot be repaired")

    def test_a_terminal_is_asked(self, mixed):
        """The standard input is that of the caller, whom pytest keeps from tests."""
        pty = pytest.importorskip("pty")
        for text, code in ((b"n\n", 1), (b"y\n", 0)):
            ours, theirs = pty.openpty()
            os.write(ours, text)
            process = mixed.pytester.popen(
                [sys.executable, "-m", "pytest", "--archive-delete", "--archive-select=a == 2"], stdin=theirs
            )
            said, _ = process.communicate(timeout=60)
            os.close(ours)
            os.close(theirs)
            assert process.returncode == code, said
            assert ("a=2" in ids(mixed)) == (code == 1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--archive-list", "--archive-tail"], "one at a time"),
            (["--archive-list", "--archive-delete", "--all"], "one at a time"),
            (["--archive-show=a=2", "--archive-limit=1"], "--archive-limit means nothing"),
            (["--archive-overview", "--archive-columns=a"], "groups have no column 'a'"),
            (["--archive-show=a=2", "--archive-columns=a"], "--archive-columns means nothing"),
            (["--archive-diff", "a=1", "a=2", "--archive-sort=a"], "--archive-sort means nothing"),
            (["--archive-list", "--yes"], "--archive-yes means nothing"),
            (["--archive-list", "--dry-run"], "--archive-dry-run means nothing"),
            (["--archive-list", "--all"], "--archive-all means nothing"),
            (["--archive-repair", "--archive-select=a == 1"], "--archive-select means nothing"),
            (["--archive-list", "--archive-output=x"], "--archive-output means nothing"),
            (["--archive-delete", "--archive-format=json"], "--archive-format means nothing"),
            (["--archive-list", "--experiments", "."], "--archive-select selects past runs"),
            (["--archive-list", "--where", "a == 1"], "--where is about runs to come"),
            (["--archive-list", "-P", "a=1"], "-P is about runs to come"),
            (["--archive-list", "--resume"], "--resume is about runs to come"),
            (["--archive-list", "exp_mix.py"], "takes no path"),
            (["--archive-select=a == 1"], "--experiments to run them again"),
            (["--archive-all"], "say what to do"),
            (["--archive-list", "--archive-select=alpha == 1"], "alpha"),
            (["--archive-list", "--archive-select=a =="], "a =="),
            (["--archive-list", "--archive-columns=statis"], "'status'"),
            (["--archive-list", "--archive-limit=x"], "--archive-limit"),
            (["--archive-tail=0"], "1 at least"),
            (["--archive-show=a=9"], "a=9"),
            (["--archive-diff", "a=1"], "--archive-diff"),
            (["--archive-delete"], "--archive-select"),
            (["--archive-delete", "--all"], "no terminal"),
            (["--archive-delete", "--all", "--archive-select=a == 1"], "once"),
            (["--archive-restore", "--yes"], "--archive-all"),
            (["--archive-restore=nothing", "--yes"], "nothing"),
            (["--archive-purge", "--yes"], "--archive-all"),
            (["--archive-purge=5 apples", "--yes"], "5 apples"),
            (["--archive-modify=sett a=1", "--all", "--yes"], "'set'"),
            (["--archive-compress=x.zip"], "--archive-select"),
            (["--archive-compress=", "--all"], "empty"),
            (["--archive-import=nothing.zip", "--yes"], "nothing.zip"),
            (["--archive-export=csv", "--all"], "--archive-output"),
            (["--archive-export=xml", "--archive-output=x", "--all"], "xml"),
            (["--archive-delete", "--all", "--yes", "--archive=nowhere"], "nowhere"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_wrong_requests_end_with_4_and_change_nothing(self, mixed, options, says):
        before = files_of(mixed.path)
        outcome = mixed.pytest(*options).exits(4).says(says).omits("Traceback")
        assert "exp_mix" not in outcome.out
        assert files_of(mixed.path) == before

    def test_short_names_are_those_of_the_project_elsewhere(self, lab):
        """Options ``--all``, ``--yes`` and ``--dry-run`` of a conftest file do not clash with ours."""
        lab.file(
            "conftest.py",
            "def pytest_addoption(parser):\n"
            "    for name in ('--all', '--yes', '--dry-run'):\n"
            "        parser.addoption(name, action='store_true')\n",
        )
        lab.file("test_a.py", "def test_a(request):\n    assert request.config.getoption('--all')")
        lab.pytest("--all", "--yes").exits(0)
        lab.pytest("--help").exits(0)
        lab.pytest("--archive-delete", "--all", "--yes").exits(4).says("no archive")


def test_a_broken_project_blocks_nothing(mixed):
    mixed.file("conftest.py", "raise RuntimeError('broken conftest')")
    mixed.experiment("raise RuntimeError('broken file')", "exp_mix.py")
    for options in (["--archive-list"], ["--archive-overview"], ["--archive-delete", "--all", "--dry-run"]):
        mixed.pytest(*options).exits(0).omits("RuntimeError")


def test_all_verbs_are_in_the_help(lab):
    text = lab.pytest("--help").exits(0).out
    group = text[text.index("experiments (pytest-expedition):") :].split("\n\n")[0]
    for verb in VERBS:
        assert f"  --archive-{verb}" in group
    for key in ("format", "columns", "sort"):
        assert f"experiment_report_{key}" in text


def test_names_of_the_options_are_said_as_they_are(mixed):
    """What a message tells people to write can be written."""
    assert Path("results").is_dir()
    said = mixed.pytest("--archive-delete", "--archive-select=a == 2", "--yes").exits(0).out
    name = said.partition("--archive-restore ")[2].split()[0]
    mixed.pytest("--archive-restore", name, "--yes").exits(0)
    assert "a=2" in ids(mixed)


def test_order_columns_and_limit_of_reports_on_several_runs(mixed):
    select = "--archive-select=a > 0"
    last = mixed.pytest("--archive-tail=3", select, "--archive-sort=-a", "--archive-columns=a", "--archive-limit=2",
                        "--archive-format=csv").exits(0)  # fmt: skip
    assert [row["a"] for row in csv.DictReader(io.StringIO(last.out))] == ["4", "2"]
    for verb in ("--archive-overview", "--archive-scan"):
        mixed.pytest(verb, "--archive-columns=runs", "--archive-format=csv").exits(0).says("experiment,runs")
    # That the newest run has no such column is no reason to refuse it.
    mixed.pytest("--archive-tail=1", "--archive-columns=a,experiment").exits(0).says("exp_other")
    mixed.pytest("--archive-tail=1", "--archive-columns=aa").exits(4).says("no run has a column 'aa'")
    # The order of lists in the ini file is not that of the last runs.
    before = mixed.pytest("--archive-tail=2").exits(0).out
    mixed.file("pytest.ini", "[pytest]\nexperiment_report_sort = experiment\n")
    assert mixed.pytest("--archive-tail=2").exits(0).out == before


def test_runs_in_a_zip_are_exported(mixed):
    mixed.pytest("--archive-compress", "few.zip", "--archive-select", "a < 3").exits(0)
    export = ("--archive-export", "csv", "--archive-output=x.csv", "--archive-select", "a == 2")
    mixed.pytest("--archive", "few.zip", *export).exits(0)
    with open(mixed.path / "x.csv", encoding="utf-8", newline="") as stream:
        assert [row["a"] for row in csv.DictReader(stream)] == ["2"]
    mixed.pytest("--archive", "few.zip", "--archive-delete", "--all", "--yes").exits(4).says("only read")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--archive-show", "{odd}"],
        ["--archive-list", "--archive-select", "{odd} == 1"],
        ["--archive-modify", "set data.k{odd}=1", "--all", "--dry-run"],
        ["--archive-export", "{odd}", "--archive-output", "out", "--all"],
        ["--archive-select", "{odd} == 1", "--experiments", "exp_mix.py"],
        ["--experiments", "{odd}"],
    ],
)
def test_what_is_said_cannot_steer_a_terminal(mixed, arguments):
    odd = "x\x1b[31m\u202e\x9b1m"
    answer = mixed.pytest(*(argument.replace("{odd}", odd) for argument in arguments))
    said = answer.out + answer.err
    assert answer.code, said
    assert "x\\x1b" in said
    assert not {"\x1b", "\u202e", "\x9b"} & {*said}, said


@pytest.mark.parametrize("option", ["limit=1", "sort=a", "columns=a", "format=json"])
def test_options_of_lists_alone(mixed, option):
    """Without a report they would run the tests; those in addopts are meant for other invocations."""
    mixed.pytest(f"--archive-{option}").exits(4).says("say which report", "--archive-list")
    mixed.pytester.makeini(f"[pytest]\naddopts = --archive-{option}\n")
    mixed.pytest("--co").omits("say which report")


def test_an_export_of_columns(mixed):
    mixed.pytest(
        "--archive-export=csv",
        "--archive-output=t.csv",
        "--archive-select=a < 3",
        "--archive-columns=a,status",
    ).exits(0)
    assert (mixed.path / "t.csv").read_text(encoding="utf-8").splitlines() == [
        "a,status",
        "1,done",
        "2,failed",
    ]
    mixed.pytest("--archive-compress=t.zip", "--all").exits(0).says("1 run of testing mode is not packed")
