"""Resuming by identity: which runs are stale since code or inputs have changed, what is said of it, which sweep."""

from __future__ import annotations

import json
import os
import shutil
import sys
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

    def test_marks_that_decide_how_a_run_ends(self, lab):
        text = (
            "import pytest\n{module}\n"
            "@experiment\n{skip}\ndef exp_a(e):\n    pass\n\n"
            "@experiment\n{xfail}\ndef exp_b(e):\n    assert False\n\n"
            "@experiment\n{other}\ndef exp_c(e):\n    pass\n"
        )
        marks = {
            "module": "",
            "skip": "@pytest.mark.skip(reason='later')",
            "xfail": "@pytest.mark.xfail",
            "other": "",
        }
        lab.experiment(text.format(**marks))
        lab.run().exits(0)
        assert [record.status for record in lab.records()] == ["skipped", "done", "done"]
        lab.experiment(text.format(**marks | {"other": "@pytest.mark.filterwarnings('ignore')"}))
        lab.run("--resume").exits(0).says(
            "exp_a: nothing to do", "exp_b: nothing to do", "exp_c: nothing to do"
        )
        lab.experiment(text.format(**marks | {"skip": "", "xfail": ""}))
        lab.run("--resume", "--why-stale").exits(1).says("exp_a.exp_a was", "mark xfail is gone").says(
            "exp_c: nothing to do"
        )
        assert [record.status for record in lab.records()] == ["done", "failed", "done"]
        lab.experiment(
            text.format(**marks | {"module": "pytestmark = pytest.mark.skip", "skip": "", "xfail": ""})
        )
        lab.run("--resume", "--why-stale").exits(0).says("mark skip is new", "3 skipped")

    def test_points_that_were_chosen_by_earlier_results_stay_and_that_is_said(self, lab):
        text = (
            "@experiment.parametrize('a', [0, 1])\ndef exp_a(e, a: int = 0):\n    e['x'] = a + {0}\n\n"
            "@experiment.after_sweep\ndef more(traj):\n"
            "    return [{{'a': 10 * int(traj.res.x.values.max())}}] if len(traj) < 3 else None\n"
        )
        lab.experiment(text.format(7))
        lab.run().exits(0)
        lab.run("--resume").exits(0).says("nothing to do").omits("chosen by")
        lab.experiment(text.format(9))
        lab.run("--resume").exits(0).says(
            "3 stale",
            "exp_a: 1 point, chosen by after_sweep more from results so far, stays; only a sweep without",
        )
        assert values(lab) == {"a=0": 9, "a=1": 10, "a=80": 89}

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


class TestSeeds:
    def test_another_seed_makes_runs_stale(self, lab):
        text = (
            "@experiment.parametrize('a', {values})\n@experiment.replicate(1, paired={paired})\n"
            "def exp_a(e, a: int = 0):\n    e['r'] = e.rng.random()\n"
        )

        def drawn(folder):
            return {r.id: (r.seed, r.data["r"]) for r in lab.archive.runs() if r.path.is_relative_to(folder)}

        def is_as_if_run_at_once():
            (resumed,) = lab.sweeps()
            lab.run("--archive", "fresh").exits(0)
            fresh = {r.id: (r.seed, r.data["r"]) for r in Archive(lab.path / "fresh").runs()}
            shutil.rmtree(lab.path / "fresh")
            return drawn(resumed) == fresh

        lab.experiment(text.format(values=[0, 1], paired=False))
        lab.run().exits(0)
        lab.file("pytest.ini", "[pytest]\nexperiment_seed = 7\n")
        lab.experiment(text.format(values=[0, 1, 2], paired=False))
        lab.run("--resume", "--where", "a != 1").exits(0).says("2 stale, 1 new")
        lab.run("--resume", "--why-stale", "--ignore-code").exits(0).says(
            "2 done, 1 stale", "the seed was another: experiment_seed is 7"
        )
        assert is_as_if_run_at_once()
        lab.experiment(text.format(values=[0, 1, 2], paired=True))
        lab.run("--resume", "--why-stale").exits(0).says("3 stale", "is 7, and replicates share their seeds")
        assert is_as_if_run_at_once()
        lab.run("--resume").exits(0).says("nothing to do")


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
        run(lab, "--resume-from", sweep.name, "--debug-run").exits(4).says("go on with no sweep")
        source = (lab.path / "exp_a.py").read_text(encoding="utf-8")
        lab.file("exp_a.py", f"__DEBUG__ = True\n{source}")
        run(lab, "--resume-from", sweep.name).exits(4).says("__DEBUG__")
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

    def test_past_runs_that_are_found_by_now(self, lab):
        text = (
            "@experiment.parametrize('a', {values})\ndef exp_a(e, a: int = 0):\n"
            "    assert a != 1 or {good}\n    e['x'] = a\n"
        )
        lab.experiment(text.format(values=[0, 1], good=False))
        lab.experiment(
            """
            @experiment.parametrize("where", [None, "a < 5"])
            def exp_b(e, results, where=None):
                e["x"] = sum(r.data["x"] for r in results("exp_a", where))
                try:
                    e["c"] = len(results("exp_c"))
                except Exception:
                    e["c"] = 0
            """,
            "exp_b.py",
        )
        lab.run(path="exp_a.py").exits(1)
        lab.run(path="exp_b.py").exits(0)
        query = lab.records(experiment="exp_b")[0].inputs[-2]
        assert (query["kind"], query["experiment"], query["status"], query["runs"]) == (
            "query",
            "exp_a",
            ["done"],
            1,
        )
        lab.pytest("--archive-show", "where=None").exits(0).says("results('exp_a')", "1 runs")
        lab.run("--resume", path="exp_b.py").exits(0).says("nothing to do")

        def stale(says, *, x):
            """Both runs are stale, which is said so, and have the value `x` when they were run again."""
            lab.run("--resume", "--why-stale", path="exp_b.py").exits(0).says("2 stale", says, "2 passed")
            assert [record.data["x"] for record in lab.records(experiment="exp_b")] == [x, x]
            lab.run("--resume", path="exp_b.py").exits(0).says("nothing to do")

        # A run that had failed is done; the one that was done stays as it is.
        lab.experiment(text.format(values=[0, 1], good=True))
        lab.run("--resume", "--ignore-code", path="exp_a.py").exits(0).says("1 passed")
        stale("results('exp_a') found 1 runs, finds 2", x=1)
        lab.experiment(text.format(values=[0, 1, 2], good=True))
        lab.run("--resume", "--ignore-code", path="exp_a.py").exits(0).says("1 passed")
        stale("results('exp_a', where='a < 5') found 2 runs, finds 3", x=3)
        # A newer sweep, and an experiment of which there was nothing
        lab.run(path="exp_a.py").exits(0)
        stale("results('exp_a') found 3 runs, finds 3, such as exp_a/", x=3)
        lab.experiment("@experiment\ndef exp_c(e):\n    pass\n", "exp_c.py")
        lab.run(path="exp_c.py").exits(0)
        stale("results('exp_c') found 0 runs, finds 1", x=3)
        # What is gone leaves results as they are.
        newest = next(sweep.name for sweep in reversed(lab.sweeps()) if sweep.parent.name == "exp_a")
        chosen = f"id == 'a=2' and sweep == '{newest}'"
        lab.pytest("--archive-delete", "--archive-select", chosen, "--yes").exits(0)
        lab.run("--resume", path="exp_b.py").exits(0).says(
            "nothing to do", f"the input runs of exp_a/{newest} of 2 settled runs is not there any more"
        )

    def test_what_a_cached_function_reads(self, lab):
        """The inputs of what is cached are those of every run that takes it, and make it count as missing."""
        lab.experiment("@experiment\ndef exp_z(e):\n    e['x'] = int(e.input('z.txt').read_text())\n", "z.py")
        lab.experiment(
            """
            @experiment.parametrize("a", [0, 1])
            def exp_a(e, a: int = 0):
                @e.cache.cached("inner")
                def inner():
                    e.log("inner is computed")
                    return e.input("in.txt").read_text()

                @e.cache.cached("outer")
                def outer():
                    return inner() + str(e.run_child("z.py").data["x"])

                e["x"] = outer()
            """
        )
        state = {"in.txt": "one", "z.txt": "1"}
        for name, text in state.items():
            lab.file(name, text)
        lab.run(path="exp_a.py").exits(0)
        first, second = lab.records()
        assert [(one["kind"], one["path"]) for one in first.inputs] == [
            *(("file", "in.txt"), ("code", "z.py"), ("file", "z.txt")),
        ]
        assert second.inputs == first.inputs
        assert ("inner is computed" in first.log, "inner is computed" in second.log) == (True, False)
        for name, text in (("in.txt", "two"), ("z.txt", "5"), ("in.txt", "one")):
            state[name] = text
            lab.file(name, text)
            lab.run("--resume", "--why-stale", path="exp_a.py").exits(0).says("2 stale", f"input {name} was")
            assert [record.data["x"] for record in lab.records()] == [state["in.txt"] + state["z.txt"]] * 2
            lab.run("--resume", path="exp_a.py").exits(0).says("nothing to do")
        # Without the file it fails as it would without the cache.
        (lab.path / "in.txt").unlink()
        lab.run("--resume", "--force", path="exp_a.py").exits(1)
        assert {record.status for record in lab.records()} == {"failed"}

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


class TestChildren:
    """What a run calls with ``run_child`` counts as if it were its own."""

    BASE = "from helper import shift\n\n@experiment\ndef exp_base(e, k: int = 1):\n    e['x'] = shift(k) + {by}\n"
    CHILD = (
        "from later import late\n\n@experiment.hook('before_run')\ndef prepare(e):\n    e['h'] = late() + {hook}\n\n"
        "@experiment\ndef exp_child(e):\n    e['t'] = int(e.input('in.txt').read_text())\n"
    )
    PATH = "@experiment.parametrize('k', {values})\ndef exp_path(e, k: int = 0):\n    {comment}\n    e['p'] = {p}\n"
    PARENT = (
        "from exp_child import exp_child\nfrom expedition import experiment\n{comment}\n"
        "kid = experiment.extend('base.py', params={{'k': {k}}})\n\n"
        "@experiment.parametrize('a', {values})\ndef exp_p(e, a: int = 0):\n"
        "    child = e.run_child(exp_child)\n"
        "    e['all'] = [child.data['t'], child.data['h'], e.run_child(kid).data['x'],\n"
        "                e.run_child('sub/path.py').data['p']]\n"
    )

    def write(self, lab, **values):
        given = {"by": 0, "hook": 0, "p": 0, "k": 1, "values": [0], "comment": "", **values}
        lab.file("helper.py", HELPER.format(by=given.get("shift", 0), other=given.get("other", 0)))
        lab.file("later.py", f"def late():\n    return {given.get('late', 0)}\n")
        lab.experiment(self.BASE.format(**given), "base.py")
        lab.experiment(self.CHILD.format(**given), "exp_child.py")
        lab.experiment(self.PATH.format(**given), "sub/path.py")
        lab.file("in.txt", str(given.get("input", 0)))
        lab.file("exp_p.py", self.PARENT.format(**given))

    def test_their_code_and_inputs_make_the_parent_stale(self, lab):
        def resume(*options):
            for module in ("helper", "later", "exp_child"):
                sys.modules.pop(module, None)
            return lab.run("--resume", *options, path="exp_p.py::exp_p").exits(0)

        self.write(lab)
        resume("-n1")
        parent = lab.record()
        assert parent.data["all"] == [0, 0, 1, 0]
        assert [(one["kind"], one["path"]) for one in parent.inputs] == [
            *(("code", name) for name in ("exp_child.py", "later.py")),
            *(("file", "in.txt"), ("code", "base.py"), ("code", "helper.py"), ("code", "sub/path.py")),
        ]
        lab.pytest("--archive-show", parent.id).exits(0).says("sub/path.py", "code")
        # What no run is computed with
        self.write(lab, comment="# a comment\n")
        resume().says("nothing to do", "1 done")
        self.write(lab, values=[0, 1])
        resume().says("1 done, 1 new")
        state: dict[str, object] = {"values": [0, 1]}
        for change, says, found in (
            ({"input": 10}, "input in.txt was", [10, 0, 1, 0]),
            ({"hook": 20}, "exp_child.py, code of a child, was", [10, 20, 1, 0]),
            ({"late": 1}, "later.py, code of a child, was", [10, 21, 1, 0]),
            ({"by": 30}, "base.py, code of a child, was", [10, 21, 31, 0]),
            ({"shift": 4}, "helper.py, code of a child, was", [10, 21, 35, 0]),
            ({"k": 2}, "constant exp_p.kid", [10, 21, 36, 0]),
            ({"p": 40}, "sub/path.py, code of a child, was", [10, 21, 36, 40]),
        ):
            state |= change
            self.write(lab, **state)
            resume("--why-stale").says("2 stale", says)
            assert [record.data["all"] for record in lab.records()] == [found, found]
            resume().says("nothing to do", "2 done")
        self.write(lab, **state | {"p": 50})
        resume("--ignore-code").says("nothing to do", "2 done")


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


def test_what_is_said_of_stale_runs_that_stay_and_of_settled_ones_that_run_again(lab):
    write(lab, values="[0, 1, 2]")
    lab.run("--where", "a == 2").exits(0)
    lab.run("--resume").exits(0)
    write(lab, values="[0, 1, 2]", by=5)
    out = lab.run("--resume", "--why-stale", "--where", "a == 1").exits(0)
    out.says("exp_a: 3 runs are stale (a=0, a=1, a=2)")  # the order of the design
    out.says("exp_a: 2 stale runs are not selected, and keep their old record")
    for options in (("--collect-only",), ("--where", "a != 1")):  # what was asked for is said also with -q
        lab.run("--resume", "--why-stale", "-q", *options).exits(0).says("helper.shift was")
        write(lab, values="[0, 1, 2]", by=6)
    lab.run("--resume").exits(0).says("1 stale").omits("not selected")
    lab.run("--resume").exits(0).omits("--force")
    lab.run("--resume", "--force").exits(0).says("3 done; --force runs settled ones again")


def test_what_is_no_path_is_refused(lab):
    lab.experiment("@experiment\ndef exp_a(e): e.input(3)")
    lab.run().exits(1).says("an input is the path of a file or folder, but got 3")
