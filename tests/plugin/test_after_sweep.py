"""``@experiment.after_sweep``: when it is called, what it records, and the generations that it leads to."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from expedition import Archive, Trajectory
from tests.thoroughness import further

SUMMARY = """
import numpy as np
import pandas as pd

SCALE: float = 2.0

@experiment.parametrize("a", [1, 2, 3])
def exp_a(e, a: int):
    e["y"] = a * SCALE
    assert a != 2

@experiment.after_sweep
def finish(traj, e):
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots()
    axes.plot(traj.par.a.values, traj.collect("y"))
    e.commit_fig("all.png", figure)
    e["sum"] = float(np.nansum(traj.collect("y")))
    e["status"] = traj.runs.status.values.tolist()
    e["table"] = traj.to_pandas()
    e["scale"] = SCALE, e.params["SCALE"], dict(e.params)
    e.track("step", 1)
    e.annotate("sum", "of all", unit="m")
    e.log("all seen")
    print("printed")
"""

SEARCH = """
@experiment.parametrize("x", [0.0, 8.0])
def exp_a(e, x: float):
    e["y"] = abs(x - 3.1)
    e["seed"] = e.seed

@experiment.after_sweep
def halve(traj, e):
    e["draw"] = float(e.rng.random())
    nearest = sorted(traj.par.x.values.tolist(), key=lambda v: abs(v - 3.1))[:2]
    if len(traj) < 5:
        return [{"x": sum(nearest) / 2}]
"""


def rows(lab):
    """(id, status) by row of the only sweep."""
    with Trajectory.open(lab.sweeps()[0]) as traj:
        return list(zip(traj.runs.id.values.tolist(), traj.runs.status.values.tolist(), strict=True))


class TestTheCall:
    def test_records_for_the_sweep(self, lab):
        lab.experiment(SUMMARY)
        out = lab.run("-P", "SCALE=4", "--tag", "t").exits(1)
        out.says("exp_a: all seen", "1 failed, 2 passed", "/summary").omits("printed")
        (sweep,) = lab.sweeps()
        with Trajectory.open(sweep) as traj:
            summary = traj.summary
            assert len(traj) == 3
        assert (summary.status, summary.id, summary.index) == ("done", "summary", -1)
        assert summary.data["sum"] == 4.0 * (1 + 2 + 3)
        assert summary.data["status"] == ["done", "failed", "done"]
        assert summary.data["table"]["a"].tolist() == [1, 2, 3]
        # The module's variables hold what all runs of the sweep had.
        assert summary.data["scale"] == (4.0, 4.0, {"SCALE": 4.0})
        assert summary.artifacts["all.png"].read_bytes().startswith(b"\x89PNG")
        assert summary.series["step"].value.tolist() == [1]
        assert summary.annotations == {"sum": {"comment": "of all", "unit": "m"}}
        assert "printed" in summary.log
        assert "all seen" in summary.log
        assert summary.tags == ["t"]
        assert summary.error is None

    def test_is_no_run(self, lab):
        lab.experiment(SUMMARY)
        lab.run().exits(1)
        (sweep,) = lab.sweeps()
        assert [r.id for r in lab.records()] == ["a=1", "a=2", "a=3"]
        for archive in (lab.archive, Archive(sweep)):
            assert [s.id for s in archive.summaries()] == ["summary"]
            assert archive.run(f"{sweep.name}/summary").data["scale"][0] == 2.0
        assert list(lab.archive.damaged()) == []
        shown = lab.pytest("--archive-show", f"{sweep.name}/summary").exits(0)
        shown.says("exp_a[summary]  done", "of all", "all.png")
        lab.pytest("--archive-list").exits(0).says("3 runs").omits("summary")

    def test_without_one_there_is_no_summary(self, lab):
        lab.experiment("@experiment\ndef exp_a(e): e['x'] = 1")
        lab.run().exits(0).omits("summary:")
        with Trajectory.open(lab.sweeps()[0]) as traj:
            assert traj.summary is None
        assert list(lab.archive.summaries()) == []

    def test_gets_the_trajectory_alone(self, lab):
        lab.experiment(
            """
            @experiment
            def exp_a(e): e["x"] = 1

            @experiment.after_sweep
            def finish(traj):
                print("runs", len(traj), traj.res.x[0])
            """
        )
        lab.run().exits(0)
        (summary,) = lab.archive.summaries()
        assert summary.log == "runs 1 1\n"
        # The sweep folder is the run folder of an experiment without a sweep; its summary is none of its files.
        lab.run("--resume").exits(0).says("nothing to do")
        assert lab.record().artifacts == {}

    def test_after_each_invocation_that_ran_something(self, lab):
        lab.experiment(SUMMARY)
        lab.run().exits(1)
        lab.run("--resume").exits(1)
        (summary,) = lab.archive.summaries()
        assert summary.attempt == 1
        earlier = json.loads((summary.path / "attempts" / "0" / "experiment_meta.json").read_bytes())
        assert earlier["status"] == "done"
        assert (summary.path / "attempts" / "0" / "all.png").is_file()

    def test_not_when_there_is_only_a_look(self, lab):
        lab.experiment(SUMMARY)
        lab.run("--collect-only").exits(0)
        assert not (lab.path / "results").exists()

    def test_also_after_a_selection(self, lab):
        lab.experiment(SUMMARY)
        lab.run("--where", "a == 1").exits(0)
        (summary,) = lab.archive.summaries()
        assert summary.data["status"] == ["done", "pending", "pending"]

    @pytest.mark.parametrize("options", [(), *further(("-n2",))])
    def test_skips_itself(self, lab, options):
        lab.experiment(
            """
            @experiment.parametrize("a", [1, 2])
            def exp_a(e, a): pass

            @experiment.after_sweep
            def finish(traj, e):
                e.skip("nothing to say")
            """
        )
        lab.run(*options).exits(0)
        (summary,) = lab.archive.summaries()
        assert (summary.status, summary.reason) == ("skipped", "nothing to say")
        lab.run("--resume", *options).exits(0).says("nothing to do")


class TestFailures:
    TEXT = """
    @experiment.parametrize("a", [1, 2])
    def exp_a(e, a: int): e["a"] = a

    @experiment.after_sweep
    def finish(traj, e):
        e["before"] = 1
        {body}
    """

    @pytest.mark.parametrize("options", [(), ("-n2",)])
    def test_fail_the_session_and_no_run(self, lab, options):
        lab.experiment(self.TEXT.format(body="limit = 3; assert len(traj) > limit"))
        out = lab.run(*options).exits(1)
        out.says("2 passed", "after_sweep of exp_a failed", "> ", "assert 2 > 3", "exp_a.py:")
        out.says("FAILED after_sweep of exp_a - AssertionError: assert 2 > 3", "1 failed, 2 passed")
        out.omits("after_sweep.py", "generations.py")
        assert lab.statuses() == {"a=1": "done", "a=2": "done"}
        (summary,) = lab.archive.summaries()
        assert (summary.status, summary.error.type) == ("failed", "AssertionError")
        assert summary.data == {"before": 1}
        assert "in finish" in summary.error.traceback
        assert "len(traj) > limit" in summary.error.traceback
        # A resume has no run to do, but calls again what had failed; and then nothing more.
        lab.experiment(self.TEXT.format(body="e['after'] = len(traj)"))
        lab.run("--resume", *options).exits(0).says("2 deselected")
        (summary,) = lab.archive.summaries()
        assert (summary.status, summary.data) == ("done", {"before": 1, "after": 2})
        before = lab.files()
        lab.run("--resume", *options).exits(0).says("nothing to do")
        assert lab.files() == before

    def test_a_resume_of_something_else_does_not_call_it(self, lab):
        lab.experiment(self.TEXT.format(body="assert False"))
        lab.experiment("@experiment.parametrize('b', [1, 2])\ndef exp_b(e, b): pass", "exp_b.py")
        lab.run().exits(1)
        lab.run("--resume", "-k", "exp_b").exits(0)
        (summary,) = lab.archive.summaries()
        assert summary.attempt == 0

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            ("1.5", "after_sweep finish: got 1.5; give a design"),
            ("[1]", "item 0 is 1; each must be a dict"),
            ("[{'aa': 1}]", "no parameter (did you mean 'a'?)"),
            ("[{'a': 'x'}]", "parameter a must be int, but got 'x' (str) from after_sweep finish"),
            ("[{'a': 7}, {'run': 1}]", "'run' is a reserved name"),
        ],
    )
    def test_what_is_returned_is_checked_before_it_is_kept(self, lab, returned, message):
        lab.experiment(self.TEXT.format(body=f"return {returned}"))
        out = lab.run().exits(1).says(message.replace("no parameter", "which is no parameter"))
        out.says("def finish(traj, e):", "exp_a.py:", "FAILED after_sweep of exp_a - ", "1 failed, 2 passed")
        out.omits("as_points(", "self._call", "after_sweep.py")
        (sweep,) = lab.sweeps()
        assert not (sweep / "expansions.jsonl").exists()
        assert len(lab.records()) == 2
        (summary,) = lab.archive.summaries()
        assert summary.status == "failed"
        assert summary.error.type == "ExperimentError"

    def test_stands_in_the_summary_wherever_pytest_is_called(self, lab, monkeypatch):
        lab.experiment(self.TEXT.format(body="raise ValueError('bad luck')"), "deep/exp_a.py")
        (lab.path / "pytest.ini").write_text("[pytest]\n")
        monkeypatch.chdir(lab.path / "deep")
        out = lab.run("--color=yes").exits(1)
        (last,) = [line for line in out.out.splitlines() if "2 passed" in line]
        out.says("FAILED\x1b[0m after_sweep of exp_a - ValueError: bad luck")
        assert "\x1b[31m" in last

    def test_an_interruption_is_one(self, lab):
        lab.experiment(self.TEXT.format(body="raise KeyboardInterrupt"))
        lab.spawn("--experiments", ".").exits(2)
        (summary,) = lab.archive.summaries()
        assert (summary.status, summary.data) == ("interrupted", {"before": 1})
        lab.experiment(self.TEXT.format(body="pass"))
        lab.run("--resume").exits(0)
        (summary,) = lab.archive.summaries()
        assert summary.status == "done"

    @pytest.mark.parametrize("options", [("-x",), ("-x", "-n2"), *further(("--maxfail", "1"))])
    def test_no_call_after_an_early_end(self, lab, options):
        lab.experiment(
            """
            @experiment.parametrize("a", list(range(6)))
            def exp_a(e, a: int): assert a != 0

            @experiment.after_sweep
            def finish(traj): raise RuntimeError("was called")
            """
        )
        out = lab.run(*options)
        assert out.code in (1, 2)
        out.omits("was called")
        assert list(lab.archive.summaries()) == []

    def test_no_call_with_a_trajectory_that_could_not_be_written(self, lab):
        """The last file does not know what has ended since: a search would go on from the past."""
        lab.file(
            "conftest.py",
            """
            import os
            from expedition.trajectory import compile, extend

            def refuse(*_):
                raise OSError(28, "No space left on device")

            if "FULL" in os.environ:
                compile.open_output = extend.open_output = refuse
            """,
        )
        text = """
            @experiment.parametrize("x", [0, 1])
            def exp_a(e, x: int):
                e["y"] = x

            @experiment.after_sweep
            def count(traj, e):
                e["ended"] = int((traj.runs.status.values == "done").sum())
        """
        lab.experiment(text)
        lab.run().exits(0)
        lab.experiment(text.replace("[0, 1]", "[0, 1, 2]"))
        outcome = lab.spawn("--experiments", ".", "--resume", FULL="1").exits(1)
        outcome.says("FAILED after_sweep of exp_a: OSError: it was not called", "No space left on device")
        with Trajectory.open(lab.sweeps()[0]) as traj:
            assert traj.summary.data == {"ended": 2}
        lab.spawn("--experiments", ".", "--resume").exits(0)
        with Trajectory.open(lab.sweeps()[0]) as traj:
            assert traj.summary.data == {"ended": 3}

    def test_a_summary_that_cannot_be_made_fails_that_sweep_alone(self, lab):
        lab.experiment("""
            @experiment.parametrize("x", [0, 1])
            def exp_a(e, x: int):
                (e.path.parent / "summary").write_text("in the way")

            @experiment.parametrize("x", [0, 1])
            def exp_b(e, x: int):
                e["y"] = x

            @experiment.after_sweep
            def count(traj, e):
                e["runs"] = len(traj)
        """)
        outcome = lab.run().exits(1)
        outcome.says("FAILED after_sweep of exp_a: FileExistsError")
        assert "INTERNALERROR" not in outcome.text
        (other,) = [sweep for sweep in lab.sweeps() if sweep.parent.name == "exp_b"]
        with Trajectory.open(other) as traj:
            assert traj.summary.data == {"runs": 2}

    def test_no_call_while_runs_are_missing(self, lab):
        lab.experiment(
            """
            import os

            @experiment.parametrize("a", list(range(6)))
            def exp_a(e, a: int): os._exit(3)

            @experiment.after_sweep
            def finish(traj): raise RuntimeError("was called")
            """
        )
        out = lab.run("-n1", "--max-worker-restart", "1")
        assert out.code != 0
        out.omits("was called").says("selected runs did not finish")
        assert list(lab.archive.summaries()) == []


class TestWhoseItIs:
    TWO = """
    @experiment.parametrize("a", [1, 2])
    def exp_one(e, a): pass

    @experiment(name="second")
    def exp_two(e): pass

    {marks}
    """

    def test_of_every_experiment_of_the_file(self, lab):
        lab.experiment(
            self.TWO.format(marks="@experiment.after_sweep\n    def finish(traj, e): e['n'] = len(traj)")
        )
        lab.experiment("@experiment\ndef exp_b(e): pass", "exp_b.py")
        lab.run().exits(0)
        assert sorted((s.experiment, s.data["n"]) for s in lab.archive.summaries()) == [
            ("exp_one", 2),
            ("second", 1),
        ]

    def test_of_the_named_ones(self, lab):
        marks = """@experiment.after_sweep("second")
    def own(traj, e): e["who"] = "own"

    @experiment.after_sweep
    def common(traj, e): e["who"] = "common" """
        lab.experiment(self.TWO.format(marks=marks))
        lab.run().exits(0)
        found = {s.experiment: s.data["who"] for s in lab.archive.summaries()}
        assert found == {"exp_one": "common", "second": "own"}

    def test_imported_ones_belong_elsewhere(self, lab):
        lab.experiment("@experiment.after_sweep\ndef finish(traj): raise RuntimeError", "helper.py")
        lab.experiment("from helper import finish\n@experiment\ndef exp_a(e): pass")
        lab.run().exits(0)
        assert list(lab.archive.summaries()) == []

    def test_refusals(self, lab):
        lab.experiment(
            self.TWO.format(marks="@experiment.after_sweep('exp_twoo')\n    def finish(traj): pass")
        )
        lab.refused().says("names 'exp_twoo', which is no experiment of this file (did you mean 'exp_two'")
        marks = "\n    ".join(f"@experiment.after_sweep\n    def {name}(traj): pass" for name in ("f", "g"))
        lab.experiment(self.TWO.format(marks=marks))
        lab.refused().says("exp_one: f and g both are to be called after the sweep")
        lab.experiment("@experiment.after_sweep\ndef finish(): pass\n@experiment\ndef exp_a(e): pass")
        lab.refused().says("def finish(traj) or def finish(traj, e)")


class TestGenerations:
    def test_run_until_there_is_nothing_to_add(self, lab):
        lab.experiment(SEARCH)
        out = lab.run().exits(0)
        out.says("exp_a: generation 1, 1 new run", "generation 3, 1 new run", "5/5 runs · 5 done", "5 passed")
        assert out.text.count("trajectory: ") == 1  # one table, at the end
        assert rows(lab) == [(f"x={x}", "done") for x in ("0.0", "8.0", "4.0", "2.0", "3.0")]
        assert [r.params["x"] for r in lab.records()] == [0.0, 8.0, 4.0, 2.0, 3.0]
        (summary,) = lab.archive.summaries()
        assert summary.attempt == 3
        lines = [
            json.loads(line) for line in (lab.sweeps()[0] / "invocations.jsonl").read_text().splitlines()
        ]
        assert [line.get("generation") for line in lines] == [None, 1, 2, 3]
        assert [len(line.get("runs", ())) for line in lines] == [0, 1, 1, 1]
        before = lab.files()
        lab.run("--resume").exits(0).says("nothing to do", "5 done")
        assert lab.files() == before

    def test_are_the_same_whoever_runs_them(self, lab):
        lab.experiment(SEARCH.replace("< 5", "< 4"))
        lab.run("--archive", "alone").exits(0)

        def content(archive):
            found = {}
            for r in [*Archive(lab.path / archive).runs(), *Archive(lab.path / archive).summaries()]:
                found[r.id] = (r.index, r.status, r.params, r.data, r.seed, r.path.name)
                if r.id != "summary":
                    found[r.id] += (r.key, r.meta["parameters"]["x"]["origin"])
            return found

        alone = content("alone")
        assert [alone[f"x={x}"][-1] for x in ("0.0", "8.0", "4.0", "2.0")] == [
            "sweep",
            "sweep",
            *["expansion"] * 2,
        ]
        for dist in ("load", "loadscope"):  # the other schedulers are kinds of these
            out = lab.run("-n2", "--dist", dist, "--archive", dist).exits(0)
            out.says("4/4 runs · 4 done", "4 passed")
            assert content(dist) == alone, dist
            assert out.text.count("trajectory: ") == 1

    def test_are_as_if_they_stood_in_the_design(self, lab):
        lab.experiment(SEARCH)
        lab.run().exits(0)
        grown = {r.id: (r.key, r.seed, r.data) for r in lab.records()}
        whole = SEARCH.replace("[0.0, 8.0]", "[0.0, 8.0, 4.0, 2.0, 3.0]")
        lab.experiment(whole)
        lab.run("--archive", "whole").exits(0)
        assert {r.id: (r.key, r.seed, r.data) for r in Archive(lab.path / "whole").runs()} == grown
        # A design that has grown to them meanwhile does not run them again.
        lab.run("--resume").exits(0).says("nothing to do")

    @pytest.mark.parametrize("options", [(), *further(("-n2",))])
    def test_several_sweeps_at_once(self, lab, options):
        for name, last in (("exp_a", 3), ("exp_b", 5)):
            lab.experiment(
                f"""
                @experiment.parametrize("n", [0, 1])
                @experiment.replicate(2)
                def {name}(e, n: int): e["n"] = n

                @experiment.after_sweep
                def more(traj, e):
                    e["calls"] = sorted(set(traj.par.n.values.tolist()))
                    if traj.par.n.values.max() < {last}:
                        return [{{"n": int(traj.par.n.values.max()) + 1}}]
                """,
                f"{name}.py",
            )
        lab.experiment("@experiment\ndef exp_c(e): pass", "exp_c.py")
        lab.run(*options).exits(0).says("21/21 runs · 21 done")
        assert [r.params["n"] for r in lab.archive.runs("experiment == 'exp_a'")] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert [r.id for r in lab.archive.runs("experiment == 'exp_b'")][-2:] == ["n=5-rep=0", "n=5-rep=1"]
        assert {s.experiment: s.attempt for s in lab.archive.summaries()} == {"exp_a": 2, "exp_b": 4}

    def test_need_only_the_files_that_have_new_runs(self, lab):
        for name in ("exp_a", "exp_b"):
            lab.experiment(
                f"""
                with open("imported-{name}", "a") as file:
                    file.write("x")

                @experiment.parametrize("n", [0, 1])
                def {name}(e, n: int): e["n"] = n
                """,
                f"{name}.py",
            )
        with open(lab.path / "exp_a.py", "a") as file:
            file.write(
                "\n@experiment.after_sweep\ndef more(traj):\n"
                "    return [{'n': 2}, {'n': 3}] if len(traj) == 2 else None\n"
            )
        lab.run("-n2", "--maxschedchunk", "1").exits(0).says("6/6 runs · 6 done")
        # The controller and each worker of a generation import what they need once.
        assert len((lab.path / "imported-exp_a").read_text()) == 5
        assert len((lab.path / "imported-exp_b").read_text()) == 3

    def test_nothing_new_is_said(self, lab):
        lab.experiment(
            """
            @experiment.parametrize("a", [1, 2])
            def exp_a(e, a: int): pass

            @experiment.after_sweep
            def more(traj):
                return [{"a": 1}, {"a": 2}]
            """
        )
        lab.run().exits(0).says("exp_a: its after_sweep function returned points that are all there already")
        assert not (lab.sweeps()[0] / "expansions.jsonl").exists()
        lab.run("--resume").exits(0).says("nothing to do")

    @pytest.mark.parametrize("options", [(), *further(("-n2",))])
    def test_have_a_limit(self, lab, options):
        lab.file("pytest.ini", "[pytest]\nexperiment_max_generations = 3\n")
        lab.experiment(
            """
            @experiment.parametrize("a", [0])
            def exp_a(e, a: int): pass

            @experiment.after_sweep
            def more(traj):
                return [{"a": len(traj)}]
            """
        )
        lab.run(*options).exits(0).says("warning: exp_a: 1 runs", "experiment_max_generations", "--resume")
        assert [r.params["a"] for r in lab.records()] == [0, 1, 2]
        lab.run("--resume", *options).exits(0)
        assert [r.params["a"] for r in lab.records()] == [0, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize("options", [("-x",), *further(("-x", "-n2"))])
    def test_end_with_a_failure_when_that_is_asked_for(self, lab, options):
        lab.experiment(
            """
            @experiment.parametrize("a", [0])
            def exp_a(e, a: int): assert a < 2

            @experiment.after_sweep
            def more(traj):
                return [{"a": len(traj)}]
            """
        )
        out = lab.run(*options)
        assert out.code in (1, 2)
        assert lab.statuses() == {"a=0": "done", "a=1": "done", "a=2": "failed"}
        assert len((lab.sweeps()[0] / "expansions.jsonl").read_text().splitlines()) == 2

    def test_a_selection_holds_for_new_runs_too(self, lab):
        lab.experiment(
            """
            @experiment.parametrize("a", [0, 1])
            def exp_a(e, a: int): pass

            @experiment.after_sweep
            def more(traj):
                return [{"a": 2}, {"a": 3}]
            """
        )
        for options in ((), ("-n2",)):
            archive = f"archive{len(options)}"
            out = lab.run("--where", "a in [0, 3]", "--archive", archive, *options)
            out.exits(0).says("generation 1, 1 new run (1 not selected)", "2/2 runs")
            found = {r.params["a"]: r.status for r in Archive(lab.path / archive).runs()}
            assert found == {0: "done", 3: "done"}

    def test_the_function_may_expand_by_itself(self, lab):
        lab.experiment(
            """
            @experiment.parametrize("a", [0])
            def exp_a(e, a: int): pass

            @experiment.after_sweep
            def more(traj, e):
                e["added"] = traj.expand([{"a": 0}, {"a": 5}, {"a": 6}])
            """
        )
        lab.run().exits(0).says("generation 1, 2 new runs")
        assert [r.params["a"] for r in lab.records()] == [0, 5, 6]
        (summary,) = lab.archive.summaries()
        assert summary.data == {"added": 0}

    def test_keep_the_fixtures_of_the_session(self, lab):
        lab.file(
            "conftest.py",
            """
            import os, pytest

            @pytest.fixture(scope="session")
            def data():
                with open("made", "a") as file: file.write("x")
                yield "data"
                assert os.environ.get("BROKEN") is None, "cannot go down"
                with open("made", "a") as file: file.write("y")
            """,
        )
        lab.experiment(SEARCH.replace("(e, x: float)", "(e, data, x: float)"))
        lab.run().exits(0).says("5 passed")
        assert (lab.path / "made").read_text() == "xy"

    def test_a_fixture_that_fails_at_the_end_is_an_error(self, lab, monkeypatch):
        self.test_keep_the_fixtures_of_the_session(lab)
        monkeypatch.setenv("BROKEN", "1")
        lab.run().exits(1).says("cannot go down", "5 passed, 1 error")
        assert {r.status for r in lab.records()} == {"done"}

    def test_a_worker_that_dies_in_a_later_one_is_replaced(self, lab):
        lab.experiment(
            """
            import os

            @experiment.parametrize("a", [0, 1])
            def exp_a(e, a: int):
                e["a"] = a
                if a == 3: os._exit(3)

            @experiment.after_sweep
            def more(traj):
                if len(traj) == 2: return [{"a": a} for a in range(2, 8)]
            """
        )
        out = lab.run("-n2").exits(1).says("node down", "CRASHED")
        assert lab.statuses() == {f"a={a}": "crashed" if a == 3 else "done" for a in range(8)}
        assert out.text.count("trajectory: ") == 1

    def test_an_experiment_without_a_sweep_grows_too(self, lab):
        lab.experiment(
            """
            @experiment
            def exp_a(e, a: int = 1): e["a"] = a

            @experiment.after_sweep
            def more(traj):
                return [{"a": 1}, {"a": 2}] if len(traj) == 1 else None
            """
        )
        lab.run().exits(0)
        assert rows(lab) == [("exp_a", "done"), ("a=2", "done")]
        with Trajectory.open(lab.sweeps()[0]) as traj:
            assert traj.par.a.values.tolist() == [1, 2]
            assert traj.unique_points() == [{"a": 1}, {"a": 2}]
        lab.run("--resume").exits(0).says("nothing to do")
        lab.run("--resume", "-n2").exits(0).says("nothing to do")

    def test_random_points_are_the_same_every_time(self, lab):
        lab.experiment(
            """
            @experiment.parametrize("u", [0.5])
            def exp_a(e, u: float): e["u"] = u

            @experiment.after_sweep
            def more(traj, e):
                if len(traj) < 7: return [{"u": float(v)} for v in e.rng.random(2)]
            """
        )
        found = []
        for options in ((), ("-n2",), ("-o", "experiment_seed=5")):
            lab.run("--archive", f"a{len(found)}", *options).exits(0)
            found.append([r.params["u"] for r in Archive(lab.path / f"a{len(found)}").runs()])
        assert found[0] == found[1]
        assert len(set(found[0])) == 7
        assert found[2][1:] != found[0][1:]


def test_the_state_of_random_generators_is_given_back(lab):
    lab.experiment(
        """
        import random
        import numpy as np

        @experiment
        def exp_a(e): pass

        @experiment.after_sweep
        def finish(traj, e):
            e["draws"] = [random.random(), float(np.random.random())]
        """
    )
    lab.file(
        "conftest.py",
        """
        import random
        import numpy as np

        def pytest_sessionstart():
            random.seed(1)
            np.random.seed(1)

        def pytest_sessionfinish():
            print("DRAWS", random.random(), np.random.random())
        """,
    )
    random.seed(1)
    wanted = f"DRAWS {random.random()} {np.random.RandomState(1).random_sample()}"
    lab.spawn("--experiments", ".", "-s").exits(0).says(wanted)
    first = next(lab.archive.summaries()).data["draws"]
    lab.spawn("--experiments", ".", "-s", "--archive", "again").exits(0)
    assert next(Archive(lab.path / "again").summaries()).data["draws"] == first
