"""Resuming by identity: which runs are stale since code or inputs have changed, what is said of it, which sweep."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from expedition import Archive, Run
from expedition.archive.sweep import SweepFolder
from expedition.errors import ExperimentError

PROJECT = """
from helper import shift
N = 3
limit = {limit}

@experiment.parametrize("a", {values})
def exp_a(e, data, a: int = {default}):
    {comment}
    e["x"] = shift(a) + N + limit + data
"""
HELPER = """
def shift(a):
    return a + {by}

def not_called(a):
    return a - {other}
"""
CONFTEST = """
import pytest
from expedition import experiment

@pytest.fixture
def data():
    return {data}

@experiment.hook("before_run")
def prepare(e):
    e["hook"] = {hook}
"""


def write(lab, *, values="[0, 1]", limit=1, default=0, comment="pass", by=0, other=0, data=0, hook=0):
    lab.file("conftest.py", CONFTEST.format(data=data, hook=hook))
    lab.file("helper.py", HELPER.format(by=by, other=other))
    lab.experiment(PROJECT.format(values=values, limit=limit, default=default, comment=comment))


def values(lab):
    return {record.id: record.data["x"] for record in lab.records()}


def attempts(lab):
    return [record.attempt for record in lab.records()]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Helper modules of one project must not be those of the last one."""
    import sys

    monkeypatch.delitem(sys.modules, "helper", raising=False)


def run(lab, *options):
    """Run in this process, as a new one would: with its modules imported anew."""
    import sys

    sys.modules.pop("helper", None)
    return lab.run(*options)


class TestCode:
    @pytest.mark.parametrize(
        ("changed", "x", "says"),
        [
            ({"by": 10}, [14, 15], "helper.shift was"),
            ({"limit": 11}, [14, 15], "constant exp_a.limit was 1, is 11"),
            ({"data": 10}, [14, 15], "conftest.data was"),
            ({"hook": 1}, [4, 5], "conftest.prepare was"),
            ({"comment": "a += 10"}, [14, 15], "exp_a.exp_a was"),
        ],
    )
    def test_what_the_experiment_computes_with_makes_its_runs_stale(self, lab, changed, x, says):
        write(lab)
        run(lab).exits(0)
        write(lab, **changed)
        run(lab, "--resume", "--collect-only", "--why-stale").exits(0).says(
            "2 stale", "2 runs are stale", says
        )
        assert attempts(lab) == [0, 0]
        run(lab, "--resume").exits(0).says("2 stale", "--why-stale tells what", "2 passed")
        assert (list(values(lab).values()), attempts(lab)) == (x, [1, 1])
        (sweep,) = lab.sweeps()
        assert [Path(r.path, "attempts", "0").is_dir() for r in lab.records()] == [True, True]
        run(lab, "--resume").exits(0).says("nothing to do")
        assert [entry.index for entry in SweepFolder.open(sweep).entries] == [0, 1]

    @pytest.mark.parametrize(
        "changed",
        [
            {"comment": "# another comment"},
            {"comment": '"""A docstring."""'},
            {"other": 1},
            {"default": 7},
            {"values": "[1, 0]"},
        ],
    )
    def test_what_it_does_not_compute_with_leaves_them_settled(self, lab, changed):
        write(lab, comment="")
        run(lab).exits(0)
        write(lab, **({"comment": ""} | changed))
        run(lab, "--resume").exits(0).says("nothing to do", "2 done").omits("stale")

    def test_the_diff_of_a_changed_function(self, lab):
        write(lab)
        run(lab).exits(0)
        write(lab, by=1)
        run(lab, "--resume", "--why-stale").exits(0).says(
            "--- recorded/helper.py::shift", "-    return a + 0", "+    return a + 1"
        )
        # The second code is in no copy of the sources; the line of its invocation has it.
        write(lab, by=2)
        run(lab, "--resume", "--collect-only", "--why-stale").says("-    return a + 1", "+    return a + 2")
        write(lab, by=0)
        outcome = run(lab, "--resume", "--why-stale").exits(0).says("-    return a + 1", "+    return a + 0")
        outcome.omits("exp_a.exp_a was")
        assert values(lab) == {"a=0": 4, "a=1": 5}

    def test_analyses_and_functions_after_the_sweep_do_not_count(self, lab):
        text = (
            "@experiment.analysis\ndef look(run):\n    return {0}\n\n"
            "@experiment.after_sweep\ndef after(e, trajectory):\n    e['n'] = {0}\n\n"
            "@experiment.parametrize('a', [0])\ndef exp_a(e, a: int = 0):\n    e['x'] = a\n"
        )
        lab.experiment(text.format(1))
        lab.run().exits(0)
        lab.experiment(text.format(2))
        lab.run("--resume").exits(0).says("1 deselected", "1 done").omits("stale")

    def test_a_stage_counts_with_its_version(self, lab):
        text = (
            "@experiment.stage{version}\ndef table():\n    return {rows}\n\n"
            "@experiment.parametrize('a', [0])\ndef exp_a(e, table, a: int = 0):\n    e['x'] = table\n"
        )
        lab.experiment(text.format(version="(version=1)", rows=1))
        lab.run().exits(0)
        lab.experiment(text.format(version="(version=2)", rows=1))
        lab.run("--resume", "--why-stale").exits(0).says("version of table was 1, is 2")
        lab.experiment(text.format(version="(version=2)", rows=5))
        lab.run("--resume", "--why-stale").exits(0).says("exp_a.table was")
        assert values(lab) == {"a=0": 5}

    def test_what_is_extended_and_included_counts(self, lab):
        base = "@experiment\ndef exp_base(e, a: int = 0):\n    e['x'] = a + {}\n"
        mixin = "from expedition import experiment\n@experiment.hook('before_run')\ndef prepare(e):\n    e['m'] = {}\n"
        lab.experiment(base.format(0), "base.py")
        lab.file("mixin.py", mixin.format(0))
        lab.experiment(
            "experiment.include('mixin.py')\n"
            "exp_a = experiment.extend('base.py', sweep=None) if False else experiment.extend('base.py')\n"
        )
        lab.run(path="exp_a.py").exits(0)
        lab.run("--resume", path="exp_a.py").exits(0).says("nothing to do")
        lab.experiment(base.format(1), "base.py")
        lab.run("--resume", "--why-stale", path="exp_a.py").exits(0).says("base.exp_base was")
        lab.file("mixin.py", mixin.format(1))
        lab.run("--resume", "--why-stale", path="exp_a.py").exits(0).says("mixin.prepare was")
        assert lab.record().data == {"m": 1, "x": 1}

    def test_runs_are_told_apart_by_their_code(self, lab):
        write(lab, values="[0]")
        run(lab).exits(0)
        write(lab, values="[0, 1]", by=1)
        run(lab, "--resume", "--ignore-code").exits(0).says("1 done, 1 new", "1 passed, 1 deselected")
        old, new = lab.records()
        assert len(old.code) == len(new.code) == 12
        assert old.code != new.code
        assert [r.id for r in lab.archive.runs(f"code == '{new.code}'")] == ["a=1"]
        lab.pytest("--archive-list", "--archive-columns", "id,code").exits(0).says(old.code, new.code)
        lab.pytest("--archive-show", "a=0").exits(0).says(f"code     {old.code}\n")
        lab.pytest("--archive-show", "a=1").exits(0).says(new.code, "later than the copies in source")
        diff = lab.pytest("--archive-diff", "a=0", "a=1").exits(0)
        diff.says(old.code, new.code, "-    return a + 0", "+    return a + 1")
        # A run that kept its code stays stale, and goes with the next resume that heeds it.
        run(lab, "--resume").exits(0).says("1 done, 1 stale")
        assert {record.code for record in lab.records()} == {new.code}

    def test_workers_record_the_code_of_the_controller(self, lab):
        write(lab)
        lab.spawn("--experiments", ".", "-n2").exits(0)
        before = {record.code for record in lab.records()}
        write(lab, by=1)
        lab.spawn("--experiments", ".", "--resume", "-n2").exits(0).says("2 passed")
        after = {record.code for record in lab.records()}
        assert len(before) == len(after) == 1
        assert before != after
        lab.spawn("--experiments", ".", "--resume").exits(0).says("nothing to do", "2 done")
        assert values(lab) == {"a=0": 5, "a=1": 6}

    def test_runs_without_a_record_of_their_code_count_as_unchanged(self, lab):
        write(lab)
        run(lab).exits(0)
        (sweep,) = lab.sweeps()
        manifest = json.loads((sweep / "sweep.json").read_text())
        del manifest["code"]
        (sweep / "sweep.json").write_text(json.dumps(manifest))
        for log in (sweep / "journal").glob("*.jsonl"):
            log.unlink()
        for meta in sweep.glob("*/experiment_meta.json"):
            content = json.loads(meta.read_text())
            del content["code"]
            meta.write_text(json.dumps(content))
        write(lab, by=1)
        run(lab, "--resume").exits(0).says("nothing to do", "2 settled runs were recorded without the code")
        assert [record.code for record in lab.records()] == ["", ""]

    def test_a_secret_of_the_code_is_in_no_file(self, lab, monkeypatch):
        monkeypatch.setenv("TOKEN", "sesame-4711")
        text = (
            "import os\nfrom os import environ\ntoken = os.environ['TOKEN']\n"
            "@experiment\ndef exp_a(e):\n    e['x'] = len(token) + len(environ)\n    {}\n"
        )
        lab.experiment(text.format("pass"))
        lab.run().exits(0)
        lab.experiment(text.format("e['y'] = 1"))
        lab.run("--resume", "--why-stale").exits(0).omits("sesame")
        parts = lab.manifest()["code"]["parts"]
        assert "constant exp_a.token" in parts
        assert not [name for name in parts if "environ" in name]
        for path in (lab.path / "results").rglob("*"):
            assert not path.is_file() or b"sesame" not in path.read_bytes(), path


class TestOptions:
    def test_force_runs_all_selected_runs_again(self, lab):
        write(lab, values="[0, 1, 2]")
        run(lab).exits(0)
        run(lab, "--resume", "--force", "--where", "a > 0").exits(0).says("2 passed, 1 deselected")
        assert attempts(lab) == [0, 1, 1]

    def test_they_are_about_resuming(self, lab):
        write(lab)
        lab.refused("--force", workers=False).says("--force says which runs --resume runs again")
        lab.refused("--ignore-code", workers=False).says("--resume-from SWEEP")

    def test_resume_from_goes_on_in_the_sweep_that_is_named(self, lab):
        write(lab, values="[0]")
        run(lab).exits(0)
        write(lab, values="[0, 1]")
        run(lab).exits(0)
        first, last = lab.sweeps()
        write(lab, values="[0, 1, 2]")
        for name in (first.name, first.name[-4:], str(first), f"results/exp_a/{first.name}"):
            run(lab, "--resume-from", name, "--collect-only").exits(0).says(f"resuming {first.name}", "2 new")
        run(lab, "--resume-from", first.name[-4:]).exits(0).says("2 passed, 1 deselected")
        assert lab.sweeps() == [first, last]
        assert [len(list(Archive(sweep).runs())) for sweep in (first, last)] == [3, 2]

    def test_a_sweep_that_cannot_be_meant_is_refused(self, lab):
        write(lab)
        run(lab).exits(0)
        (sweep,) = lab.sweeps()
        lab.experiment("@experiment\ndef exp_b(e):\n    pass", "exp_b.py")
        wrong = sweep.name[:-1] + ("2" if sweep.name[-1] != "2" else "3")
        lab.refused("--resume-from", wrong, workers=False).says(
            "there is no such sweep", f"did you mean '{sweep.name}'"
        )
        before = lab.files()
        outcome = lab.run("--resume-from", sweep.name, path="exp_b.py").exits(4)
        outcome.says("is no sweep of what was collected", "it is of exp_a.py::exp_a")
        lab.run("--resume-from", sweep.name, "--testing", path="exp_a.py").exits(4).says("testing mode")
        assert lab.files() == before

    def test_other_experiments_are_left_out(self, lab):
        write(lab)
        lab.experiment("@experiment\ndef exp_b(e):\n    pass", "exp_b.py")
        run(lab).exits(0)
        sweep = next(path for path in lab.sweeps() if path.parent.name == "exp_a")
        write(lab, values="[0, 1, 2]")
        run(lab, "--resume-from", sweep.name).exits(0).says("1 passed, 3 deselected")
        assert len(lab.sweeps()) == 2


INPUT = """
@experiment.parametrize("a", [0, 1])
def exp_a(e, a: int = 0):
    path = e.input({path!r} if a else "other.csv")
    e["x"] = path.read_text() if path.is_file() else sorted(p.name for p in path.iterdir())
"""


class TestInputs:
    def test_a_file_is_recorded_and_a_changed_one_makes_its_runs_stale(self, lab):
        lab.file("other.csv", "same")
        lab.file("data/in.csv", "one")
        lab.experiment(INPUT.format(path="data/in.csv"))
        lab.run().exits(0)
        (entry,) = lab.records()[1].inputs
        assert {n: entry[n] for n in ("kind", "path", "size")} == {
            "kind": "file",
            "path": "data/in.csv",
            "size": 3,
        }
        assert entry["sha256"] == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
        lab.pytest("--archive-show", "a=1").exits(0).says("data/in.csv", "7692c3ad3540bb80")
        os.utime(lab.path / "data/in.csv", (1, 1))
        lab.run("--resume").exits(0).says("nothing to do")
        lab.file("data/in.csv", "two")
        lab.run("--resume", "--ignore-code", "--why-stale").exits(0).says(
            "1 done, 1 stale",
            "input data/in.csv was 7692c3ad3540 (3 bytes), is 3fc4ccfe7458 (3 bytes)",
            "1 passed",
        )
        assert [(r.data["x"], r.attempt) for r in lab.records()] == [("same", 0), ("two", 1)]
        lab.pytest("--archive-diff", "a=0", "a=1").exits(0).says("other.csv")

    def test_a_folder(self, lab):
        lab.file("other.csv", "same")
        lab.file("data/b/one.csv", "1")
        lab.experiment(INPUT.format(path="data"))
        lab.run().exits(0)
        (entry,) = lab.records()[1].inputs
        assert (entry["kind"], entry["files"], entry["size"]) == ("folder", 1, 1)
        lab.file("data/two.csv", "2")
        lab.run("--resume").exits(0).says("1 done, 1 stale")
        (lab.path / "data/two.csv").rename(lab.path / "data/three.csv")
        lab.run("--resume").exits(0).says("1 done, 1 stale")
        lab.run("--resume").exits(0).says("nothing to do")

    def test_relative_paths_begin_beside_the_file_that_names_them(self, lab, monkeypatch):
        lab.file("sub/other.csv", "beside")
        lab.file("sub/in.csv", "beside")
        lab.file("other.csv", "of the current folder")
        lab.experiment(INPUT.format(path="in.csv"), "sub/exp_a.py")
        lab.spawn("--experiments", "sub", "-n2").exits(0)
        assert [r.data["x"] for r in lab.records()] == ["beside", "beside"]
        assert [r.inputs[0]["path"] for r in lab.records()] == ["sub/other.csv", "sub/in.csv"]

    def test_a_missing_one_fails_the_run_and_names_what_is_there(self, lab):
        lab.file("other.csv", "same")
        lab.file("input.csv", "")
        lab.experiment(INPUT.format(path="inputs.csv"))
        lab.run().exits(1)
        failed = lab.record(status="failed")
        assert failed.error is not None
        assert "'inputs.csv' is not there" in failed.error.message
        assert "did you mean 'input.csv'" in failed.error.message

    def test_one_that_is_gone_since_leaves_results_as_they_are(self, lab):
        lab.file("other.csv", "same")
        lab.file("in.csv", "one")
        lab.experiment(INPUT.format(path="in.csv"))
        lab.run().exits(0)
        (lab.path / "in.csv").unlink()
        lab.run("--resume").exits(0).says(
            "nothing to do", "the input in.csv of 1 settled run is not there any more"
        )

    def test_many_inputs_of_one_run(self, lab):
        for number in range(20):
            lab.file(f"in/{number}.csv", str(number))
        lab.experiment(
            "@experiment\ndef exp_a(e):\n    e['x'] = [e.input(f'in/{n}.csv').read_text() for n in range(20)]\n"
        )
        lab.run().exits(0)
        assert len(lab.record().inputs) == 20
        lab.run("--resume").exits(0).says("nothing to do")
        lab.file("in/7.csv", "other")
        lab.run("--resume", "--why-stale").exits(0).says("input in/7.csv was")

    def test_a_past_run_that_was_run_again_or_edited(self, lab):
        lab.experiment("@experiment.parametrize('a', [0, 1])\ndef exp_a(e, a: int = 0):\n    e['x'] = a\n")
        lab.experiment(
            "@experiment\ndef exp_b(e, results):\n    e['x'] = sum(r.data['x'] for r in results('exp_a'))\n",
            "exp_b.py",
        )
        lab.run(path="exp_a.py").exits(0)
        lab.run(path="exp_b.py").exits(0)
        lab.run("--resume", path="exp_b.py").exits(0).says("nothing to do")
        lab.run("--resume", "--force", "--where", "a == 1", path="exp_a.py").exits(0)
        lab.run("--resume", "--why-stale", path="exp_b.py").exits(0).says(
            "was run again (attempt 2)", "1 passed"
        )
        lab.run("--resume", path="exp_b.py").exits(0).says("nothing to do")
        lab.pytest("--archive-modify", "set data.x=5", "--archive-select", "id == 'a=0'", "--yes").exits(0)
        lab.run("--resume", "--why-stale", path="exp_b.py").exits(0).says("which was read, was edited")
        assert lab.records(experiment="exp_b")[0].data["x"] == 6

    def test_of_a_run_outside_of_a_sweep(self, tmp_path):
        (tmp_path / "in.csv").write_text("1")
        with Run.detached(tmp_path / "run") as run:
            assert run.input(tmp_path / "in.csv") == tmp_path / "in.csv"
            with pytest.raises(ExperimentError, match="'nowhere' is not there"):
                run.input("nowhere")
            with pytest.raises(ExperimentError, match="neither a file nor a folder"):
                run.input("/dev/null")
        meta = json.loads((tmp_path / "run" / "experiment_meta.json").read_text())
        assert [one["kind"] for one in meta["inputs"]] == ["file"]


class TestKills:
    def test_an_attempt_of_a_settled_run_that_dies_reads_as_crashed(self, lab):
        write(lab)
        lab.spawn("--experiments", ".").exits(0)
        write(lab, comment="import os; e['y'] = 1; os._exit(3) if a == 1 else None")
        assert lab.spawn("--experiments", ".", "--resume").code == 3
        assert lab.statuses() == {"a=0": "done", "a=1": "crashed"}
        (sweep,) = lab.sweeps()
        from expedition.archive.commits import latest_commits

        lines = {line["index"]: line for line in latest_commits(SweepFolder.open(sweep))}
        assert {index: line["status"] for index, line in lines.items()} == {0: "done", 1: "crashed"}
        assert lines[1]["attempt"] == 1
        assert (lab.records()[1].path / "attempts" / "0" / "experiment_meta.json").is_file()
        write(lab)
        lab.spawn("--experiments", ".", "--resume").exits(0).says("1 stale", "1 crashed", "2 passed")
        assert lab.statuses() == {"a=0": "done", "a=1": "done"}
