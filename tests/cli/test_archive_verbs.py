"""``expedition archive …``: every verb on an archive with runs of every fate, its refusals and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expedition import Archive
from expedition.archive.rows import RunRow
from expedition.cli.main import root
from tests.cli.conftest import Expedition
from tests.mixed_archive import files_of

VERBS = {
    "list", "tail", "overview", "show", "diff", "scan",
    "delete", "restore", "purge", "compress", "import", "modify", "tag", "untag", "note", "export", "repair",
}  # fmt: skip


def ids(select: str | None = None) -> list[str]:
    return [row.id for row in Archive("results").rows(select)]


class TestReports:
    def test_lists(self, project: Path, expedition: Expedition) -> None:
        expedition("archive", "list").exits(0).says(
            "exp_mix", "exp_other", "1 failed", "1 crashed", "damaged"
        )
        rows = json.loads(expedition("archive", "list", "--format", "json").exits(0).out)
        assert [row["id"] for row in rows] == ["a=1", "a=2", "a=3", "a=4", "exp_other"]
        (only,) = json.loads(expedition("archive", "list", "--testing", "--format", "json").out)
        assert only["id"] == "a=1"
        chosen = expedition(
            "archive", "list", "--select", "experiment == 'exp_mix' and a > 0", "--sort", "-a", "--columns", "a,status",
            "--columns", "rmse.mean", "--limit", 2, "--format", "csv",
        ).exits(0)  # fmt: skip
        read = list(csv.DictReader(io.StringIO(chosen.out)))
        assert [(row["a"], row["status"], row["rmse.mean"]) for row in read] == [
            ("4", "crashed", "6.0"),
            ("2", "failed", "3.0"),
        ]
        expedition("archive", "list", "--select", "a == 1 and status == 'failed'").exits(0).says("no run")

    def test_other_reports(self, project: Path, expedition: Expedition) -> None:
        newest, *_ = json.loads(expedition("archive", "tail", "-n", 2, "--format", "json").exits(0).out)
        assert newest["experiment"] == "exp_other"
        expedition("archive", "overview").exits(0).says("exp_mix", "ValueError")
        assert json.loads(expedition("archive", "overview", "--format", "json").out)["runs"] == 5
        expedition("archive", "show", "a=2").exits(0).says("ValueError: bad a")
        expedition("archive", "diff", "a=2", "exp_other").exits(0).says("gain")
        groups = json.loads(expedition("archive", "scan", "status", "--format", "json").exits(0).out)
        assert len(groups) == 4
        assert expedition("archive", "scan").exits(0).out == expedition("archive", "scan", "experiment").out

    def test_the_archive_may_be_named_before_or_behind_the_verb(
        self, project: Path, expedition: Expedition
    ) -> None:
        os.rename("results", "elsewhere")
        expedition("archive", "list").exits(0).says("no archive at")
        before = expedition("archive", "--archive", "elsewhere", "list").exits(0)
        behind = expedition("archive", "--archive", "nowhere", "list", "--archive", "elsewhere").exits(0)
        assert before.says("exp_mix").out == behind.out

    @pytest.mark.parametrize("verb", ["list", "tail", "overview", "scan"])
    @pytest.mark.parametrize("format", ["table", "json", "csv", "markdown", "latex"])
    def test_an_archive_that_is_not_there_is_empty(
        self, tmp_path: Path, expedition: Expedition, verb: str, format: str
    ) -> None:
        (tmp_path / "empty").mkdir()
        absent = expedition("archive", verb, "--archive", tmp_path / "absent", "--format", format).exits(0)
        assert not (tmp_path / "absent").exists()
        empty = expedition("archive", verb, "--archive", tmp_path / "empty", "--format", format).exits(0)
        if format in ("json", "csv"):
            assert absent.out == empty.out.replace(str(tmp_path / "empty"), str(tmp_path / "absent"))
        else:
            absent.says("there is no archive at")

    def test_defaults_of_the_project(self, project: Path, expedition: Expedition) -> None:
        text = "[pytest]\nexperiment_archive = out\nexperiment_report_format = csv\n"
        (project / "pytest.ini").write_text(
            f"{text}experiment_report_columns = id status\nexperiment_report_sort = -id\n"
        )
        os.rename("results", "out")
        lines = expedition("archive", "list").exits(0).out.splitlines()
        assert lines[0] == "id,status"
        assert lines[1:] == sorted(lines[1:], reverse=True)
        (project / "inner").mkdir()
        os.chdir("inner")
        assert expedition("archive", "list").exits(0).out.splitlines() == lines
        expedition("archive", "list", "--format", "json", "--columns", "seed", "--sort", "a").exits(0).says(
            '"seed"'
        )
        expedition("archive", "show", "a=1").exits(0)
        (project / "pytest.ini").write_text("[pytest]\nexperiment_report_format = xml\n")
        expedition("archive", "list").exits(4).says("experiment_report_format", "xml")

    def test_pytest_is_not_loaded_where_no_project_may_say_anything(self, project: Path) -> None:
        program = (
            "import sys; from expedition.cli.main import main; code = main(['archive', 'list']);"
            "print([name for name in ('pytest', 'h5py', 'pandas', 'matplotlib') if name in sys.modules], code)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("[] 0\n"), done.stdout


class TestActions:
    def test_tags_and_notes(self, project: Path, expedition: Expedition) -> None:
        expedition("archive", "tag", "two words", "a=2", "--yes").exits(0).says("two words")
        assert ids("'two words' in tags") == ["a=2"]
        expedition("archive", "tag", "good", "--select", "status == 'done'", "-y").exits(0)
        assert len(ids("'good' in tags")) == 2
        expedition("archive", "untag", "good", "exp_other", "-y").exits(0)
        assert ids("'good' in tags") == ["a=1"]
        expedition("archive", "note", 'it is "é"\nhere', "--select", "a == 1 and not testing", "-y").exits(0)
        (noted,) = Archive("results").runs("a == 1 and not testing")
        assert noted.notes == ['it is "é"\nhere']
        expedition("archive", "modify", "set params.a=7", "tag odd", "--run", "exp_mix[a=2]", "-y").exits(0)
        assert ids("a == 7 and 'odd' in tags") == ["a=2"]

    def test_delete_restore_purge(self, project: Path, expedition: Expedition) -> None:
        before, runs = files_of(project), ids()
        gone = (
            expedition("archive", "delete", "a=2", "--dry-run")
            .exits(0)
            .says("would delete 1 run", "0001-a=2")
        )
        assert files_of(project) == before
        assert "deleted" not in gone.out
        said = expedition("archive", "delete", "--select", "a > 1", "--yes").exits(0).says("a=2", "a=4").out
        assert sorted(ids()) == sorted(run for run in runs if run not in ("a=2", "a=4"))
        name = said.partition("expedition archive restore ")[2].split()[0]
        expedition("archive", "restore", name, "--yes").exits(0)
        assert ids() == runs
        expedition("archive", "delete", "--select", "status == 'damaged'", "-y").exits(0)
        expedition("archive", "purge", "1d", "-y").exits(0).says("nothing to do")
        expedition("archive", "purge", "--all", "-y").exits(0)
        expedition("archive", "restore", "--all", "-y").exits(0).says("nothing to do")
        assert "a=3" not in ids()

    def test_runs_of_testing_mode_are_left_alone_as_a_list_does(
        self, project: Path, expedition: Expedition
    ) -> None:
        expedition("archive", "delete", "--all", "-y").exits(0).says("1 run of testing mode", "--testing")
        assert ids() == ids("testing") == ["a=1"]
        expedition("archive", "delete", "--all", "--testing", "-y").exits(0)
        assert ids() == []

    def test_zip_files(self, project: Path, expedition: Expedition) -> None:
        expedition("archive", "compress", "few.zip", "--select", "status == 'done'", "--dry-run").exits(0)
        assert not Path("few.zip").exists()
        expedition("archive", "compress", "few.zip", "--select", "status == 'done'").exits(0)
        expedition("archive", "list", "--archive", "few.zip").exits(0).says("2 runs")
        expedition("archive", "show", "a=1", "--archive", "few.zip").exits(0).says("rmse")
        expedition("archive", "delete", "--all", "-y", "--archive", "few.zip").exits(4).says("import")
        expedition("archive", "import", "few.zip", "--archive", "new", "--dry-run").exits(0)
        assert not Path("new").exists()
        expedition("archive", "import", "few.zip", "--archive", "new", "--yes").exits(0)
        assert [row.id for row in Archive("new").rows()] == ["a=1", "exp_other"]

    def test_exports(self, project: Path, expedition: Expedition) -> None:
        expedition("archive", "export", "csv", "-o", "runs.csv", "--select", "a < 3 and not testing").exits(0)
        with open("runs.csv", encoding="utf-8", newline="") as stream:
            assert [row["a"] for row in csv.DictReader(stream)] == ["1", "2"]
        expedition("archive", "export", "csv", "-o", "runs.csv", "--all").exits(4).says("runs.csv")
        expedition("archive", "export", "xml", "-o", "runs.xml", "--all").exits(4)

    def test_repair(self, project: Path, expedition: Expedition) -> None:
        before = files_of(project)
        expedition("archive", "repair", "--dry-run").exits(0).says("trajectory.h5 would be written anew")
        assert files_of(project) == before
        expedition("archive", "repair").exits(1).says("cannot be repaired", "experiment_meta.json is damaged")

    def test_problems_are_told_and_end_with_1(self, project: Path, expedition: Expedition) -> None:
        answer = expedition("archive", "tag", "x", "--select", "experiment == 'exp_mix'", "-y").exits(1)
        assert "a=3" in answer.err
        assert ids("'x' in tags and not testing") == ["a=1", "a=2", "a=4"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["list", "--select", "alpha < 1"], "alpha"),
            (["list", "--select", "a <"], "a <"),
            (["list", "--columns", "statis"], "'status'"),
            (["list", "--sort", "nothing_such"], "nothing_such"),
            (["list", "--format", "xml"], "xml"),
            (["list", "--limit", "-1"], "-1"),
            (["tail", "-n", "0"], "0"),
            (["show", "a=9"], "a=9"),
            (["show", "0000"], "0000"),
            (["show"], "RUN"),
            (["show", "a=1", "--limit", "1"], "--limit"),
            (["diff", "a=1"], "B"),
            (["delete"], "--select"),
            (["delete", "--all", "--select", "a == 1", "-y"], "once"),
            (["delete", "a=9", "-y"], "a=9"),
            (["restore", "-y"], "--all"),
            (["restore", "nothing", "-y"], "nothing"),
            (["purge", "-y"], "--all"),
            (["purge", "5 apples", "-y"], "5 apples"),
            (["modify", "-y", "--all"], "OPERATION"),
            (["modify", "sett params.a=1", "-y", "--all"], "'set'"),
            (["modify", "set params.aa=1", "-y", "--all"], "params.aa"),
            (["import", "nothing.zip", "-y"], "nothing.zip"),
            (["compress", "x.zip"], "--select"),
            (["export", "csv", "--all"], "--output"),
            (["delete", "--all", "-y", "--archive", "nowhere"], "nowhere"),
            (["nothing"], "nothing"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_wrong_requests_end_with_4_and_change_nothing(
        self, project: Path, expedition: Expedition, arguments: list[str], says: str
    ) -> None:
        before = files_of(project)
        answer = expedition("archive", *arguments).exits(4).says(says).omits("--archive-")
        assert answer.out == ""
        assert files_of(project) == before

    def test_nobody_is_there_to_be_asked(self, project: Path, expedition: Expedition) -> None:
        before = files_of(project)
        done = subprocess.run(
            [sys.executable, "-m", "expedition.cli.main", "archive", "delete", "--all"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 4
        assert "--yes" in done.stderr
        assert "--dry-run" in done.stderr
        assert files_of(project) == before


def test_every_verb_has_a_help_that_any_output_can_show(expedition: Expedition) -> None:
    answer = expedition("archive", "--help").exits(0)
    assert set(root.commands["archive"].commands) == VERBS  # type: ignore[attr-defined]
    for verb in VERBS:
        answer.says(f"  {verb}  ")
        expedition("archive", verb, "-h").exits(0).says("Usage: expedition archive", "--archive").out.encode(
            "ascii"
        )


def test_what_a_terminal_is_asked(project: Path) -> None:
    """A question with the preview; only y is yes, the end of the input is no."""
    pty = pytest.importorskip("pty")

    def answered(text: bytes) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "expedition.cli.main", "archive", "delete", "--select", "a == 2"]
        with subprocess.Popen(
            command,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None
            said = b""
            while not said.endswith(b"[y/N] "):
                part = process.stdout.read1()
                assert part, said
                said += part
            if text:
                os.write(ours, text)
            else:
                time.sleep(0.1)  # until it reads
                process.send_signal(signal.SIGINT)
            said += process.stdout.read()
        os.close(ours)
        os.close(theirs)
        return process.returncode, said.decode()

    for text in (b"\n", b"no\n", b"\x04"):
        code, said = answered(text)
        assert code == 1, said
        assert "delete 1 run" in said
        assert "0001-a=2" in said
        assert "nothing was changed" in said
        assert "a=2" in ids()
    code, said = answered(b"")
    assert code == 2
    assert said.endswith("[y/N] \nnothing was changed\n")
    assert "a=2" in ids()
    assert answered(b"y\n")[0] == 0
    assert "a=2" not in ids()


def test_a_reader_that_goes_away(project: Path) -> None:
    """Nothing is printed about it; what is being done is done."""
    command = f"{sys.executable} -m expedition.cli.main archive"
    for verb in ("list --format json", "tag late --select a --yes"):
        done = subprocess.run(
            f"{command} {verb} | true", shell=True, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr == ""
    assert len(ids("'late' in tags")) == 3


def test_an_output_that_has_few_characters(project: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    for verb in (
        ["show", "a=1"],
        ["list"],
        ["overview"],
        ["scan"],
        ["diff", "a=1", "a=2"],
        ["delete", "--all", "--dry-run"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "expedition.cli.main", "archive", *verb],
            env={**os.environ, **plain}, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        done.stdout.decode("ascii")


class TestRunsByTheirFolder:
    """A run folder is one however it is spelled."""

    @pytest.fixture
    def run(self, project: Path) -> Path:
        path = next(row.path for row in Archive("results").rows("a == 2"))
        return Path(os.path.relpath(path))

    @pytest.mark.parametrize("spell", ["relative", "absolute", "parent", "link"])
    def test_however_it_is_spelled(
        self, run: Path, project: Path, expedition: Expedition, spell: str
    ) -> None:
        (project / "link").symlink_to(project / "results", target_is_directory=True)
        named = {
            "relative": run,
            "absolute": run.absolute(),
            "parent": f"results/../{run}",
            "link": Path("link").joinpath(*run.parts[1:]),
        }[spell]
        expedition("archive", "tag", "seen", named, "--yes").exits(0)
        assert ids("'seen' in tags") == ["a=2"]
        expedition("archive", "delete", named, "--dry-run").exits(0).says("a=2")
        expedition("archive", "delete", named, "--yes").exits(0)
        assert not run.exists()

    def test_of_an_archive_that_is_a_link(self, run: Path, project: Path, expedition: Expedition) -> None:
        (project / "link").symlink_to(project / "results", target_is_directory=True)
        inner = Path(*run.parts[1:])
        for named in (run, Path("link") / inner, inner, "a=2"):
            expedition("archive", "--archive", "link", "delete", named, "--yes").exits(0).says("a=2")
            assert not run.exists()
            expedition("archive", "--archive", "link", "restore", "a=2", "--yes").exits(0)
            assert run.exists()

    def test_one_of_another_archive_is_refused(
        self, run: Path, project: Path, expedition: Expedition
    ) -> None:
        shutil.copytree("results", "copy")
        before = files_of(project)
        other = Path("copy").joinpath(*run.parts[1:])
        for verb in (
            ("delete",),
            ("tag", "seen"),
            ("compress", "some.zip"),
            ("export", "csv", "-o", "some.csv"),
        ):
            options = ["--yes"] if verb[0] in ("delete", "tag") else []
            expedition("archive", *verb, other, *options).exits(4).says(
                f"'{other}' is ", "no run of the archive", "--archive"
            )
        assert files_of(project) == before


class TestSelectionsOfReports:
    """Sort keys, columns and a limit mean something to every report on several runs."""

    def test_the_last_runs_in_an_order(self, project: Path, expedition: Expedition) -> None:
        rows = json.loads(
            expedition(
                "archive", "tail", "-n", 3, "--select", "a > 0", "--sort", "-a", "--columns", "a", "--limit", 2,
                "--format", "json",
            ).exits(0).out
        )  # fmt: skip
        assert [row["a"] for row in rows] == [4, 2]

    def test_an_order_of_the_project_is_that_of_lists(self, project: Path, expedition: Expedition) -> None:
        before = expedition("archive", "tail", "-n", 2).exits(0).out
        (project / "pytest.ini").write_text("[pytest]\nexperiment_report_sort = experiment\n")
        assert expedition("archive", "tail", "-n", 2).exits(0).out == before

    @pytest.mark.parametrize("verb", ["overview", "scan"])
    def test_columns_of_groups(self, project: Path, expedition: Expedition, verb: str) -> None:
        chosen = ("archive", verb, "--columns", "runs", "--sort", "-runs", "--limit", 1, "--format", "csv")
        assert expedition(*chosen).exits(0).out.splitlines()[0] == "experiment,runs"
        expedition("archive", verb, "--columns", "run").exits(4).says("did you mean 'runs'")

    @pytest.mark.parametrize(
        "some", [("tail", "-n", 1), ("tail", "-n", 1, "--sort", "-id"), ("list", "--limit", 0)]
    )
    @pytest.mark.parametrize("format", ["table", "json", "csv"])
    def test_columns_that_only_further_runs_have(
        self, project: Path, expedition: Expedition, some: tuple[object, ...], format: str
    ) -> None:
        expedition("archive", *some, "--columns", "a,experiment", "--format", format).exits(0)
        expedition("archive", *some, "--columns", "aa", "--format", format).exits(4).says(
            "no run has a column 'aa'"
        )


def test_runs_in_a_zip_are_exported(project: Path, expedition: Expedition) -> None:
    expedition("archive", "compress", "few.zip", "--select", "a < 3").exits(0)
    (row,) = Archive("few.zip").rows("a == 2")
    for number, which in enumerate(("a=2", row.folder, project / row.path)):
        expedition("archive", "--archive", "few.zip", "export", "csv", which, "-o", f"{number}.csv").exits(0)
        with open(f"{number}.csv", encoding="utf-8", newline="") as stream:
            assert [read["a"] for read in csv.DictReader(stream)] == ["2"]


ODD = "x\x1b[31m\u202e\x9b1m"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["archive", "modify", f"set data.k{ODD}=1", "--all", "--yes"], None),
        (["archive", "modify", f"set data.k{ODD}=1", "--all", "--dry-run"], None),
        (["archive", "note", ODD, "--all", "--dry-run"], 1),
        (["archive", "note", ODD, "--all", "--yes"], 1),
        (["archive", "note", ODD, "--all"], 4),
        (["archive", "delete", ODD], 4),
        (["archive", "restore", ODD], 4),
        (["archive", "purge", ODD], 4),
        (["archive", "show", ODD], 4),
        (["archive", "list", "--select", f"{ODD} == 1"], 4),
        (["archive", "list", "--columns", ODD], 4),
        (["archive", "list", "--archive", ODD], 0),
        (["archive", "import", ODD], 4),
        (["archive", "compress", f"{ODD}/{ODD}.zip", "--all"], None),
        (["archive", "export", "csv", "-o", f"{ODD}.csv", "--all"], 0),
        (["archive", "list", "--format", ODD], 4),
        (["archive", "list", f"--{ODD}"], 4),
        (["archive", ODD], 4),
        (["archive", "tail", "-n", ODD], 4),
        ([ODD], 4),
    ],
)
def test_what_is_said_cannot_steer_a_terminal(
    project: Path, expedition: Expedition, arguments: list[str], code: int | None
) -> None:
    answer = expedition(*arguments)
    assert code is None or answer.code == code, answer
    said = answer.out + answer.err
    assert said.replace("\n", "").isprintable(), said
    assert "x\\x1b" in said or answer.code == 0, said


def test_a_question_cannot_steer_a_terminal(
    project: Path, expedition: Expedition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expedition.plugin.acting.performing._is_terminal", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    answer = expedition("archive", "modify", f"note {ODD}", "--all").exits(1)
    assert (answer.out + answer.err).replace("\n", "").isprintable()
    answer.says("[y/N] ", "nothing was changed")


class TestDamagedRuns:
    """A run whose meta file cannot be read has a place and a name all the same."""

    @pytest.fixture
    def row(self, project: Path) -> RunRow:
        row = next(row for row in Archive(project / "results").rows() if row.stored and row.status == "done")
        (row.path / "experiment_meta.json").write_text("{broken", encoding="utf-8")
        return row

    def test_what_can_be_read_is_shown(self, row: RunRow, expedition: Expedition) -> None:
        answer = expedition("archive", "show", row.reference).exits(0)
        answer.says("damaged", "experiment_meta.json is damaged", "experiment_journal.jsonl", str(row.path))
        shown = json.loads(expedition("archive", "show", row.reference, "--format", "json").exits(0).out)
        assert shown["status"] == "damaged"
        assert shown["data"].items() >= dict(row.stored).items()
        assert shown["files"].keys() >= {"experiment_data.json", "experiment_meta.json"}
        (row.path / "experiment_data.json").unlink()
        shown = json.loads(expedition("archive", "show", str(row.path), "--format", "json").exits(0).out)
        assert shown["data"].items() >= dict(row.stored).items()
        assert "those of the journal" in shown["unreadable"][1]

    def test_without_a_meta_file(self, row: RunRow, expedition: Expedition) -> None:
        (row.path / "experiment_meta.json").unlink()
        expedition("archive", "show", row.reference).exits(0).says("experiment_meta.json is gone")

    def test_by_name_it_can_be_deleted(self, row: RunRow, expedition: Expedition) -> None:
        expedition("archive", "delete", row.reference, "--yes").exits(0).says("deleted 1 run")
        assert not row.path.exists()
        expedition("archive", "restore", "--all", "--yes").exits(0)
        assert (row.path / "experiment_meta.json").read_text() == "{broken"
        expedition("archive", "delete", str(row.path), "--yes").exits(0)
        assert not row.path.exists()

    def test_a_comparison_says_what_else_there_is(self, row: RunRow, expedition: Expedition) -> None:
        expedition("archive", "diff", row.reference, row.reference).exits(4).says("is damaged", "show")


def test_a_name_of_several_runs(project: Path, expedition: Expedition) -> None:
    """A report takes the newest and says so; what changes something wants to know which."""
    (sweep,) = (path for path in Archive("results").sweep_folders() if path.parent.name == "exp_other")
    shutil.copytree(sweep, sweep.with_name("2099-01-01T00-00-00Z-zzzz"))
    expedition("archive", "show", "exp_other").exits(0).says("(the newest of 2)")
    expedition("archive", "show", "zzzz").exits(0).omits("the newest of")
    before = files_of(project)
    for verb in (["delete"], ["tag", "x"], ["compress", "a.zip"], ["export", "csv", "-o", "a.csv"]):
        refused = expedition("archive", *verb, "exp_other", *(["-y"] if verb[0] in ("delete", "tag") else []))
        refused.exits(4).says("means 2 runs", "name one of these", "2099-01-01T00-00-00Z-zzzz", sweep.name)
    assert files_of(project) == before
    expedition("archive", "delete", "zzzz", "-y").exits(0)
    assert sweep.is_dir()


def test_columns_of_a_table_that_is_exported(project: Path, expedition: Expedition) -> None:
    export = ("archive", "export", "csv", "--select", "a < 3", "-o", "a.csv")
    expedition(*export, "--columns", "a,statis").exits(4).says("'status'")
    assert not Path("a.csv").exists()
    expedition(*export, "--columns", "a", "--columns", "status").exits(0)
    assert Path("a.csv").read_text(encoding="utf-8").splitlines() == ["a,status", "1,done", "2,failed"]
    folder = ("archive", "export", "folder", "--all", "-o", "b", "--columns", "a")
    expedition(*folder).exits(4).says("a folder has all of each run: leave --columns out")


def test_the_number_of_last_runs(project: Path, expedition: Expedition) -> None:
    few = expedition("archive", "tail", 2, "--format", "json").exits(0).out
    assert len(json.loads(few)) == 2
    assert expedition("archive", "tail", "-n", 2, "--format", "json").out == few
    expedition("archive", "tail", 0).exits(4)
    expedition("archive", "tail", 2, "-n", 3).exits(4).says("say once how many")
