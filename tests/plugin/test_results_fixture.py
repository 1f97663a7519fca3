"""The fixture ``results``: finished runs for other experiments, and for tests, to build on."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.thoroughness import further

TRAIN = """
@experiment.parametrize("alpha", [0.1, 0.5, 2.0])
@experiment.replicate(2)
def exp_train(e, alpha: float, n: int = 10):
    e["loss"] = alpha * n
    assert alpha < 2
"""

USE = """
def exp_figure(e, results):
    found = results({arguments})
    e["ids"], e["losses"] = [r.id for r in found], [r.data["loss"] for r in found]
exp_figure = experiment(exp_figure)
"""


@pytest.fixture
def trained(lab):
    lab.experiment(TRAIN, "exp_train.py")
    lab.run("-q", path="exp_train.py").exits(1)
    return lab


def use(lab, arguments, *options, code=0):
    """What an experiment that calls ``results(arguments)`` records."""
    lab.experiment(USE.replace("{arguments}", arguments), "exp_figure.py")
    lab.run(*options, path="exp_figure.py").exits(code)
    return lab.records(experiment="exp_figure")[-1]


def read(record):
    """The past runs that a run names as its inputs."""
    return [one for one in record.inputs if one["kind"] == "run"]


@pytest.mark.parametrize("options", [(), *further(("-n2",))])
def test_an_experiment_reads_runs_of_another(trained, options):
    record = use(trained, "'exp_train', where='alpha < 1 and rep == 0'", *options)
    assert record.data == {"ids": ["alpha=0.1-rep=0", "alpha=0.5-rep=0"], "losses": [1.0, 5.0]}
    past = [r for r in trained.records(experiment="exp_train") if r.replicate == 0 and r.status == "done"]
    assert read(record) == [
        {
            "kind": "run",
            "key": r.key,
            "sweep": r.sweep,
            "folder": r.path.relative_to(trained.path / "results").as_posix(),
            "status": "done",
            "attempt": 0,
            "start": r.meta["start"],
        }
        for r in past
    ]
    assert record.inputs[2:] == [
        {
            "kind": "query",
            "experiment": "exp_train",
            "where": "alpha < 1 and rep == 0",
            "sweep": "latest",
            "status": ["done"],
            "testing": False,
            "runs": 2,
            "sha256": hashlib.sha256("\n".join(one["folder"] for one in read(record)).encode()).hexdigest(),
        }
    ]
    assert json.loads((record.path / "experiment_meta.json").read_bytes())["inputs"] == record.inputs
    assert past[0].inputs == []


def test_every_run_of_a_sweep_notes_its_own(trained):
    trained.experiment(
        """
        @experiment.parametrize("alpha", [0.1, 0.5])
        def exp_table(e, results, alpha: float):
            rows = results("exp_train", f"alpha == {alpha}").table(["alpha", "data.loss"])
            e["mean"] = sum(row["data.loss"] for row in rows) / len(rows)
            results("exp_train", f"alpha == {alpha} and rep == 0")  # noted already
        """,
        "exp_table.py",
    )
    trained.run("-q", "-n2", path="exp_table.py").exits(0)
    found = trained.records(experiment="exp_table")
    assert [r.data["mean"] for r in found] == [1.0, 5.0]
    keys = [{one["key"] for one in read(r)} for r in found]
    assert [len(read(r)) for r in found] == [2, 2]
    assert not keys[0] & keys[1]


def test_what_was_read_survives_a_crash(trained):
    trained.experiment(
        """
        import os

        @experiment
        def exp_dead(results):
            results("exp_train")
            os._exit(1)
        """,
        "exp_dead.py",
    )
    trained.spawn("--experiments", "exp_dead.py", "-n1", "-q")
    (record,) = trained.records(experiment="exp_dead")
    assert record.status == "crashed"
    assert len(read(record)) == 4


def test_which_sweep(trained):
    first = trained.sweeps()[0].name
    trained.run("-q", "-P", "n=20", "--where", "rep == 0", path="exp_train.py").exits(1)
    second = trained.sweeps()[-1].name
    # Only some of its runs were selected: it is found by its name, and among all of them.
    assert use(trained, "'exp_train'").data["losses"] == [1.0, 1.0, 5.0, 5.0]
    assert use(trained, f"'exp_train', sweep={second!r}").data["losses"] == [2.0, 10.0]
    assert use(trained, f"'exp_train', sweep={first!r}").data["losses"] == [1.0, 1.0, 5.0, 5.0]
    assert use(trained, "'exp_train', sweep='all'").data["losses"] == [1.0, 1.0, 5.0, 5.0, 2.0, 10.0]
    # Of a run that was made again only the last counts.
    trained.run("-q", "--archive-select", "alpha == 0.1 and n == 10", path="exp_train.py").exits(0)
    record = use(trained, "'exp_train', 'alpha == 0.1', sweep='all'")
    assert record.data["losses"] == [2.0, 1.0, 1.0]
    assert len({one["sweep"] for one in read(record)}) == 2


def test_which_statuses(trained):
    assert use(trained, "'exp_train', status='failed'").data["losses"] == [20.0, 20.0]
    assert len(use(trained, "'exp_train', status=None").data["losses"]) == 6
    record = use(trained, "'exp_train', 'rep == 0', status=['done', 'failed']")
    assert [one["status"] for one in read(record)] == ["done", "done", "failed"]


@pytest.mark.parametrize("name", ["exp_train.py::exp_train", "exp_train"])
def test_names_of_an_experiment(trained, name):
    assert len(read(use(trained, repr(name)))) == 4


def test_two_experiments_of_one_name(lab):
    text = "@experiment(name='train')\ndef exp_{}(e):\n    e['loss'] = {}"
    lab.experiment(text.format("a", 1), "exp_a.py")
    lab.experiment(text.format("b", 2), "exp_b.py")
    lab.run("-q").exits(0)
    record = use(lab, "'train'", code=1)
    assert record.error.type == "AmbiguousRunError"
    assert "say which: exp_a.py::exp_a, exp_b.py::exp_b" in record.error.message
    assert use(lab, "'exp_b.py::exp_b'").data["losses"] == [2]
    assert use(lab, "'exp_a'").data["losses"] == [1]


@pytest.mark.parametrize(
    ("arguments", "kind", "parts"),
    [
        (
            "'exp_tran'",
            "RecordNotFoundError",
            ["no such experiment (did you mean 'exp_train'?)", "runs of exp_train"],
        ),
        ("'exp_train', sweep='2026'", "RecordNotFoundError", ["no sweep '2026'", "sweeps: 2"]),
        (
            "'exp_train', 'alpha > 5'",
            "RecordNotFoundError",
            ["status done and where alpha > 5", "has 4 done, 2 failed"],
        ),
        ("'exp_train', status='ok'", "ExperimentError", ["no status 'ok'", "it is one of pending"]),
        ("'exp_train', 'alfa < 1'", "ExpressionError", ["where=", "did you mean 'alpha'"]),
        ("'exp_train', 'alpha <'", "ExpressionError", ["where="]),
        ("'exp_figure'", "RecordNotFoundError", ["it has no sweep but that of this run itself"]),
    ],
)
def test_errors_say_what_there_is(trained, arguments, kind, parts):
    record = use(trained, arguments, code=1)
    if kind == "ExpressionError":
        assert record.error.type in ("ExpressionError", "ExperimentError")
    else:
        assert record.error.type == kind
    for part in parts:
        assert part in record.error.message
    assert read(record) == []


def test_runs_of_testing_mode_count_in_testing_mode_only(trained):
    trained.run("-q", "--testing", "-P", "n=1", path="exp_train.py").exits(1)
    assert use(trained, "'exp_train', 'rep == 0'").data["losses"] == [1.0, 5.0]
    assert use(trained, "'exp_train', 'rep == 0'", "--testing").data["losses"] == [0.1, 0.5]


def test_debug_runs_are_found_by_name_alone(trained):
    trained.run("-q", "--debug-run", "-P", "n=1", path="exp_train.py").exits(1)
    assert use(trained, "'exp_train', 'rep == 0'").data["losses"] == [1.0, 5.0]
    assert use(trained, "'exp_train', 'rep == 0', sweep='debug'").data["losses"] == [0.1, 0.5]


def test_the_sequence(trained):
    trained.experiment(
        """
        from expedition.errors import AmbiguousRunError

        @experiment
        def exp_all(e, results):
            found = results("exp_train")
            assert len(found) == 4 and found[-1].id == "alpha=0.5-rep=1"
            assert found[0] is found[0] and [r.id for r in found[:2]] == ["alpha=0.1-rep=0", "alpha=0.1-rep=1"]
            assert [row.status for row in found.rows()] == ["done"] * 4
            frame = found.to_pandas(["alpha", "rep", "loss"])
            assert frame.shape == (4, 3) and frame["loss"].sum() == 12.0
            assert results("exp_train", "alpha == 0.1 and rep == 1").one().replicate == 1
            assert results("exp_train", "alpha < 1")[:1].one().data == {"loss": 1.0}
            try:
                found.one()
            except AmbiguousRunError as error:
                e["message"] = str(error)
        """,
        "exp_all.py",
    )
    trained.run("-q", path="exp_all.py").exits(0)
    message = trained.record(experiment="exp_all").data["message"]
    assert "one run is wanted, there are 4" in message
    assert "alpha=0.1-rep=0" in message


def test_tests_may_ask_too(trained):
    trained.file(
        "test_trained.py",
        """
        import pytest

        def test_good(results):
            assert max(run.data["loss"] for run in results("exp_train")) < 6

        def test_none(results):
            with pytest.raises(LookupError, match="no such experiment"):
                results("exp_other")
        """,
    )
    before = trained.files()
    trained.pytest("test_trained.py").exits(0).says("2 passed")
    trained.pytest("test_trained.py", "--archive", "nowhere").exits(1).says("there is no archive at")
    assert {name for name in trained.files() if "results" in name} == {n for n in before if "results" in n}


def test_a_fixture_of_the_project_goes_before_it(lab):
    lab.file(
        "test_own.py",
        """
        import pytest

        @pytest.fixture
        def results():
            return 7

        def test_own(results):
            assert results == 7

        @pytest.mark.parametrize("results", [8])
        def test_given(results):
            assert results == 8
        """,
    )
    lab.pytest("test_own.py").exits(0).says("2 passed")


def test_a_fixture_and_a_hook_may_ask(trained):
    trained.experiment(
        """
        import pytest

        @pytest.fixture
        def best(results):
            return min(results("exp_train"), key=lambda run: run.data["loss"])

        @experiment.hook("worst")
        def worst(e, results):
            return max(run.data["loss"] for run in results("exp_train"))

        @experiment
        def exp_best(e, best):
            e["loss"], e["worst"] = best.data["loss"], e.apply_hook("worst")
        """,
        "exp_best.py",
    )
    trained.run("-q", path="exp_best.py").exits(0)
    record = trained.record(experiment="exp_best")
    assert record.data == {"loss": 1.0, "worst": 5.0}
    assert len(read(record)) == 4


def test_after_a_sweep(trained):
    trained.experiment(
        """
        @experiment.parametrize("k", [1, 2])
        def exp_next(e, k: int):
            e["k"] = k

        @experiment.after_sweep
        def compare(traj, results, e):
            e["runs"] = [len(traj), len(results("exp_train", "alpha < 1"))]
        """,
        "exp_next.py",
    )
    trained.run("-q", path="exp_next.py").exits(0)
    (summary,) = trained.archive.summaries()
    assert summary.data == {"runs": [2, 4]}
    assert len(read(summary)) == 4


def test_a_sweep_counts_when_all_its_runs_have_ended(lab):
    lab.experiment(TRAIN, "exp_a_train.py")
    use = USE.replace("{arguments}", "'exp_train'")
    lab.experiment(use, "exp_b_figure.py")
    # One after the other in one invocation: the first is finished when the second asks.
    lab.run("-q").exits(1)
    assert len(read(lab.record(experiment="exp_figure"))) == 4
    first = lab.record(experiment="exp_figure").inputs[0]["sweep"]
    # Asked before: the new sweep has begun, and is not what is meant.
    lab.file("exp_b_figure.py").rename(lab.path / "exp_0_figure.py")
    lab.experiment(use, "exp_0_figure.py")
    lab.run("-q").exits(1)
    record = lab.records(experiment="exp_figure")[-1]
    assert {one["sweep"] for one in read(record)} == {first}
    assert len({r.sweep for r in lab.records(experiment="exp_train")}) == 2
    lab.run("-q", "--archive", "other").exits(1).says("which an invocation has not finished")


def test_the_files_are_as_the_schemas_say(trained):
    from tests.archive.test_schemas import documents, faults

    trained.run("-q", "--archive-select", "alpha == 0.1", path="exp_train.py").exits(0)
    use(trained, "'exp_train'")
    found = list(documents(trained.path / "results"))
    assert len(found) > 20
    assert [(path, text) for name, path, content in found if (text := faults(name, content))] == []


class TestTheLatestSweepIsWhole:
    """Half of a sweep is taken by nobody who did not name it."""

    def the_first(self, lab):
        record = use(lab, "'exp_train', 'rep == 0'")
        return {one["sweep"] for one in read(record)} == {lab.sweeps_of("exp_train")[0]}

    @pytest.fixture
    def lab(self, trained):
        trained.sweeps_of = lambda name: [p.name for p in trained.sweeps() if p.parent.name == name]
        return trained

    def test_not_one_that_was_killed(self, lab):
        lab.experiment(TRAIN + "    __import__('os')._exit(1)  # as a kill does\n", "exp_train.py")
        lab.spawn("--experiments", "exp_train.py", "-q")
        lab.experiment(TRAIN, "exp_train.py")
        assert len(lab.sweeps_of("exp_train")) == 2
        assert self.the_first(lab)
        lab.run("-q", "--resume", path="exp_train.py").exits(1)
        assert not self.the_first(lab)  # now all its runs have ended, some of them failed

    @pytest.mark.parametrize(
        "options", [("--where", "alpha < 1"), ("-k", "0.1"), ("--archive-select", "alpha == 0.5")]
    )
    def test_not_one_of_selected_runs(self, lab, options):
        lab.run("-q", *options, path="exp_train.py").exits(0)
        assert self.the_first(lab)

    def test_not_one_that_repeats_runs_though_all_were_selected(self, lab):
        lab.run("-q", "--archive-select", "alpha > 0", path="exp_train.py").exits(1)
        assert self.the_first(lab)

    def test_not_one_of_which_runs_were_deleted(self, lab):
        lab.run("-q", path="exp_train.py").exits(1)
        assert not self.the_first(lab)
        sweep = lab.sweeps_of("exp_train")[1]
        lab.pytest(
            "--archive-delete", "--archive-select", f"sweep == '{sweep}' and alpha == 0.5", "--yes"
        ).exits(0)
        assert self.the_first(lab)

    def test_that_there_is_no_other_is_said_with_how_to_name_it(self, lab):
        there = lab.sweeps_of("exp_train")[0]
        lab.run("-q", "--archive", "other", "--where", "alpha < 1", path="exp_train.py").exits(0)
        lab.experiment(USE.replace("{arguments}", "'exp_train'"), "exp_figure.py")
        outcome = lab.run("--archive", "other", path="exp_figure.py").exits(1)
        outcome.says("of which 2 of 6 runs have not ended", "--resume", "sweep='2", "sweep='all'")
        outcome.omits(there)
