"""Which files, functions and runs are experiments, and what pytest's own options do with them."""

from __future__ import annotations

import json

import pytest

from expedition import Archive
from tests.thoroughness import further

TWO = """
@experiment.parametrize("alpha", [0.1, 1.0])
def exp_a(e, alpha: float = 1.0):
    e["twice"] = 2 * alpha
"""
ONE = """
@experiment
def exp_one(e):
    e["x"] = 1
"""


def collected(lab, *arguments):
    return lab.pytest(*arguments, "--collect-only", "-q").ids()


class TestFiles:
    def test_patterns_choose_the_files_below_a_folder(self, lab):
        for name in ("exp_a.py", "b_exp.py", "experiment_c.py", "test_d.py", "d_test.py", "helper.py"):
            lab.experiment(ONE, f"exps/deep/{name}")
        files = {i.split("::")[0] for i in collected(lab, "--experiments", "exps")}
        assert files == {f"exps/deep/{name}" for name in ("exp_a.py", "b_exp.py", "experiment_c.py")}
        # A file that is named is taken whatever its name, and alone.
        assert collected(lab, "--experiments", "exps/deep/helper.py") == ["exps/deep/helper.py::exp_one"]

    def test_patterns_of_the_ini_file(self, lab):
        lab.file("pytest.ini", "[pytest]\nexperiment_files = study_*.py\n")
        lab.experiment(ONE, "study_a.py")
        lab.experiment(ONE, "exp_b.py")
        assert collected(lab, "--experiments", ".") == ["study_a.py::exp_one"]

    def test_several_paths_and_node_ids(self, lab):
        lab.experiment(TWO, "one/exp_a.py")
        lab.experiment(TWO.replace("exp_a", "exp_b"), "two/exp_b.py")
        a, b = (
            ["one/exp_a.py::exp_a[alpha=0.1]", "one/exp_a.py::exp_a[alpha=1.0]"],
            ["two/exp_b.py::exp_b[alpha=0.1]", "two/exp_b.py::exp_b[alpha=1.0]"],
        )
        assert sorted(collected(lab, "--experiments", "one", "--experiments", "two")) == [*a, *b]
        assert sorted(collected(lab, "--experiments", "one", "two")) == [*a, *b]
        assert collected(lab, "--experiments", a[1]) == [a[1]]
        assert collected(lab, "--experiments", a[0], b[1]) in ([a[0], b[1]], [b[1], a[0]])
        # Each name of a run in an id works as it is printed.
        lab.run(path=b[0]).exits(0)
        assert [r.id for r in lab.records()] == ["alpha=0.1"]

    def test_one_file_named_twice_runs_once(self, lab):
        lab.experiment(TWO)
        assert len(collected(lab, "--experiments", ".", "--experiments", "exp_a.py")) == 2
        assert len(collected(lab, "--experiments", "exp_a.py", "exp_a.py")) == 2

    def test_results_are_never_collected(self, lab):
        """The archive holds copies of experiment files, under its root and wherever a sweep was moved."""
        lab.experiment(ONE)
        lab.run().exits(0)
        (sweep,) = lab.sweeps()
        sweep.rename(lab.path / "moved")
        lab.experiment(ONE, "results/exp_stray.py")
        assert collected(lab, "--experiments", ".") == ["exp_a.py::exp_one"]
        (lab.path / "results").rename(lab.path / "elsewhere")
        assert collected(lab, "--experiments", ".", "--archive", "elsewhere") == ["exp_a.py::exp_one"]

    def test_an_archived_experiment_runs_again(self, lab):
        """The copy in a sweep folder is an experiment file, which is taken when it is named."""
        lab.file("constants.py", "FACTOR = 3")
        lab.experiment(
            """
            from constants import FACTOR

            @experiment.parametrize("a", [1, 2])
            def exp_a(e, a: int): e["b"] = a * FACTOR
            """
        )
        lab.run().exits(0)
        (first,) = lab.sweeps()
        lab.experiment("raise RuntimeError('changed since then')")
        (copy,) = first.glob("source/exp_a.py")
        lab.run("--archive", "again", path=str(copy.relative_to(lab.path))).exits(0)
        again = list(Archive(lab.path / "again").runs())
        assert (
            [record.data for record in again]
            == [record.data for record in lab.records()]
            == [{"b": 3}, {"b": 6}]
        )

    def test_same_file_name_in_two_folders_with_importlib(self, lab):
        lab.experiment(ONE, "one/exp_a.py")
        lab.experiment(ONE, "two/exp_a.py")
        lab.run("--import-mode=importlib").exits(0)
        assert sorted({r.namespace for r in lab.records()}) == ["one/exp_a", "two/exp_a"]
        assert len({r.key for r in lab.records()}) == 2

    def test_ignore_options_still_work(self, lab):
        lab.experiment(ONE, "exp_a.py")
        lab.experiment(ONE, "old/exp_b.py")
        lab.experiment(ONE, "build/exp_c.py")  # in norecursedirs
        assert collected(lab, "--experiments", ".", "--ignore=old") == ["exp_a.py::exp_one"]


class TestFunctions:
    def test_only_marked_functions_of_the_module(self, lab):
        lab.experiment("@experiment\ndef exp_other(e):\n    pass", "exp_base.py")
        lab.experiment(
            """
            import exp_base
            from exp_base import exp_other

            @experiment
            def exp_a(e):
                pass

            @experiment(name="nice name")
            def any_name(e):
                pass

            alias = exp_a

            def test_a():
                raise AssertionError

            def exp_unmarked():
                raise AssertionError

            class TestC:
                def test_c(self):
                    raise AssertionError

                @experiment
                def exp_method(self, e):
                    raise AssertionError

            class Holder:
                experiment = experiment(exp_a)
            """
        )
        assert collected(lab, "--experiments", "exp_a.py") == ["exp_a.py::exp_a", "exp_a.py::any_name"]
        lab.run(path="exp_a.py").exits(0)
        assert {(r.experiment, r.namespace) for r in lab.records()} == {
            ("exp_a", "exp_a/exp_a"),
            ("nice name", "exp_a/any_name"),
        }

    @pytest.mark.parametrize("options", [(), *further(("-n2",))])
    def test_what_a_function_returns_fails_the_run(self, lab, options):
        lab.experiment("@experiment.parametrize('a', [1, None])\ndef exp_a(e, a): return a and {'b': a}")
        lab.run(*options).exits(1).says("exp_a returned a dict, which nothing records; store it with")
        assert [record.status for record in lab.records()] == ["failed", "done"]

    def test_a_marked_function_stays_a_function(self, lab):
        lab.experiment(TWO)
        lab.file(
            "test_it.py",
            """
            from exp_a import exp_a

            def test_it():
                store = {}
                assert exp_a(store) is None and store == {"twice": 2.0}
                exp_a(store, alpha=3)
                assert store == {"twice": 6} and exp_a.__name__ == "exp_a"
            """,
        )
        lab.pytest().exits(0).says("1 passed")

    def test_a_namespace_is_made_below_the_archive(self, lab):
        lab.experiment("@experiment(namespace='vision/small')\ndef exp_a(e): pass", "deep/exp_a.py")
        lab.run().exits(0)
        (sweep,) = lab.sweeps()
        assert sweep.parent == lab.path / "results" / "vision" / "small"
        assert lab.record().namespace == "vision/small"

    def test_without_the_option_nothing_changes(self, lab):
        lab.experiment(TWO)
        lab.experiment(ONE, "exp_test.py")  # a name that pytest collects by itself
        lab.file(
            "test_own.py",
            """
            import pytest

            @pytest.fixture
            def e():
                return "mine"

            @pytest.fixture
            def experiment(e):
                return e * 2

            def test_own(e, experiment):
                assert experiment == e + e == "minemine"
            """,
        )
        lab.pytest().exits(0).says("1 passed").omits("archive")
        assert collected(lab) == ["test_own.py::test_own"]
        assert collected(lab, "exp_a.py", "exp_test.py") == []
        assert not (lab.path / "results").exists()
        assert (lab.path / ".pytest_cache").exists()
        fixtures = lab.pytest("--fixtures", "exp_a.py").text
        assert "The run in progress" not in fixtures

    def test_tests_beside_experiments_are_left_alone(self, lab):
        lab.experiment(TWO)
        lab.file("test_own.py", "def test_own(): raise AssertionError")
        lab.run().exits(0).omits("test_own")
        lab.run("--collect-only", path="test_own.py").exits(5)


class TestSelection:
    def test_keyword_marks_and_deselect(self, lab):
        lab.file("pytest.ini", "[pytest]\nmarkers = slow: takes long\n")
        lab.experiment(
            TWO
            + """
import pytest

@pytest.mark.slow
@experiment.parametrize("beta", ["red", "blue"])
@experiment.replicate(2)
def exp_b(e, beta: str):
    pass
"""
        )
        run = "--experiments", "."
        assert collected(lab, *run, "-k", "red") == [
            "exp_a.py::exp_b[beta=red-rep=0]",
            "exp_a.py::exp_b[beta=red-rep=1]",
        ]
        assert collected(lab, *run, "-k", "exp_a and 0.1 and not exp_b") == ["exp_a.py::exp_a[alpha=0.1]"]
        assert len(collected(lab, *run, "-m", "slow")) == 4
        assert len(collected(lab, *run, "-m", "not slow")) == 2
        assert collected(lab, *run, "--deselect", "exp_a.py::exp_b") == [
            "exp_a.py::exp_a[alpha=0.1]",
            "exp_a.py::exp_a[alpha=1.0]",
        ]
        # What is left out keeps its row.
        lab.run("-k", "blue").exits(0).says("2 passed, 4 deselected")
        assert sorted(lab.statuses()) == ["beta=blue-rep=0", "beta=blue-rep=1"]
        assert [row["id"] for row in lab.manifest()["runs"]] == [
            "beta=red-rep=0",
            "beta=red-rep=1",
            "beta=blue-rep=0",
            "beta=blue-rep=1",
        ]
        lab.run("-k", "nothing").exits(5)
        lab.run("-k", "alpha=0.1").exits(4).says("Wrong expression passed to '-k'").omits("INTERNALERROR")

    def test_last_failed_is_apart_from_the_tests(self, lab):
        lab.experiment(TWO + "    assert alpha > 0.5\n")
        lab.file("test_own.py", "def test_own(): raise AssertionError\ndef test_good(): pass")
        lab.pytest().exits(1)
        lab.run().exits(1)
        # The cache has those of the tests; those of experiments are known from the archive.
        kept = lab.path / ".pytest_cache" / "v/cache/lastfailed"
        assert list(json.loads(kept.read_text())) == ["test_own.py::test_own"]
        lab.run("--lf").exits(1).says("rerun previous 1 failure", "1 failed, 1 deselected").omits("test_own")
        lab.pytest("--lf").exits(1).says("rerun previous 1 failure", "1 failed in").omits("exp_a")
        assert collected(lab, "--experiments", ".", "--lf") == ["exp_a.py::exp_a[alpha=0.1]"]

    def test_collect_only_previews_and_writes_nothing(self, lab):
        lab.experiment(
            """
            N: int = 5

            @experiment.parametrize("alpha", [0.5, 1.5, 2.5])
            @experiment.replicate(4)
            def exp_a(e, alpha: float, flag: bool = True):
                raise AssertionError
            """
        )
        before = lab.files()
        shown = lab.run("--collect-only").exits(0)
        shown.says("12 runs (3 points × 4 replicates)", "constant: flag=True, N=5", "12 tests collected")
        rows = [line.split()[:3] for line in shown.out.splitlines() if line[:2].strip().isdigit()]
        assert rows == [
            [str(4 * p + r), f"{a}", str(r)] for p, a in enumerate((0.5, 1.5, 2.5)) for r in range(4)
        ]
        lab.run("--collect-only", "-k", "rep and 2.5").says("12 runs (3 points × 4 replicates, 4 selected)")
        assert lab.run("--collect-only", "-q").ids() == [
            f"exp_a.py::exp_a[alpha={a}-rep={r}]" for a in (0.5, 1.5, 2.5) for r in range(4)
        ]
        assert lab.files() == before

    @pytest.mark.parametrize("option", ["--fixtures", "--fixtures-per-test"])
    def test_showing_fixtures_writes_nothing(self, lab, option):
        lab.experiment(
            "import pytest\n@pytest.fixture\ndef words(): 'Some words.'\n"
            + "@experiment\ndef exp_a(e, words): 1 / 0"
        )
        before = lab.files()
        lab.run(option).exits(0).says("words", "Some words.")
        assert lab.files() == before

    @pytest.mark.parametrize("option", ["--setup-only", "--setup-plan"])
    def test_a_set_up_without_a_run_is_refused(self, lab, option):
        lab.experiment("@experiment\ndef exp_a(e): pass")
        lab.refused(option, workers=False).says("--collect-only previews the sweeps")

    def test_maxfail_leaves_the_rest_pending(self, lab):
        lab.experiment(
            """
            @experiment.parametrize("i", [0, 1, 2, 3])
            def exp_a(e, i: int):
                assert i == 0 or i == 3
            """
        )
        lab.run("-x").exits(1).says("stopping after 1 failures", "2 selected runs did not finish")
        assert lab.statuses() == {"i=0": "done", "i=1": "failed"}
        lab.run("--maxfail=2").exits(1)
        assert len(lab.records()) == 2 + 3


class TestPytestFeatures:
    def test_conftest_beside_the_experiments(self, lab):
        """Its options, its fixtures and its hooks, as for tests."""
        lab.file(
            "deep/exps/conftest.py",
            """
            import pytest

            def pytest_addoption(parser):
                parser.addoption("--data-set", default="none")

            def pytest_configure(config):
                config.addinivalue_line("markers", "cheap: runs fast")

            @pytest.fixture(scope="session")
            def data(request):
                return request.config.getoption("--data-set")

            @pytest.fixture(autouse=True)
            def around(experiment):
                experiment["before"] = True
                yield
                experiment["after"] = True
            """,
        )
        lab.experiment(
            """
            import pytest

            @pytest.mark.cheap
            @experiment.parametrize("a", [1, 2])
            def exp_a(experiment, e, data, tmp_path, request, a: int):
                assert experiment is e and request.node.name == f"exp_a[a={a}]"
                e["data"] = data
                e["text"] = (tmp_path / "x").write_text(data)
            """,
            "deep/exps/exp_a.py",
        )
        lab.run("--data-set", "iris", "--strict-markers", path="deep/exps").exits(0).omits("warning")
        assert [r.data for r in lab.records()] == [
            {"before": True, "data": "iris", "text": 4, "after": True}
        ] * 2

    def test_ordinary_marks_and_the_status_they_give(self, lab):
        lab.experiment(
            """
            import pytest

            @pytest.mark.skip(reason="not now")
            @experiment
            def skipped(e):
                raise AssertionError

            @pytest.mark.skipif("True", reason="never here")
            @experiment
            def skipped_if(e):
                raise AssertionError

            @pytest.mark.xfail(reason="known negative", strict=True)
            @experiment
            def negative(e):
                e["x"] = 1
                assert False, "as known"

            @pytest.mark.xfail(strict=True, reason="should fail")
            @experiment
            def surprising(e):
                e["x"] = 2

            @pytest.mark.xfail(strict=False)
            @experiment
            def lenient(e):
                pass

            @pytest.mark.xfail(run=False, reason="crashes the machine")
            @experiment
            def not_run(e):
                raise AssertionError

            @pytest.mark.usefixtures("prepared")
            @experiment
            def used(e):
                assert e["prepared"]

            @pytest.fixture
            def prepared(e):
                e["prepared"] = True

            @experiment
            def says_skip(e):
                e["x"] = 3
                pytest.skip("in the middle")

            @experiment
            def says_xfail(e):
                pytest.xfail("seen late")

            @experiment
            def bad_fixture(e, broken):
                raise AssertionError

            @pytest.fixture
            def broken():
                raise OSError("no disk")

            @experiment
            def bad_teardown(e, leaking):
                e["x"] = 4

            @pytest.fixture
            def leaking():
                yield
                raise OSError("late")

            @experiment
            def own_words(e):
                e.prune()

            @experiment
            def own_fail(e):
                e.fail("not good enough")

            @experiment
            def own_skip(e):
                e.skip("does not apply")

            @experiment
            def returns(e):
                return 3
            """
        )
        lab.run().exits(1)
        found = {r.experiment: r for r in lab.records()}
        assert {name: record.status for name, record in found.items()} == {
            "skipped": "skipped",
            "skipped_if": "skipped",
            "negative": "done",
            "surprising": "failed",
            "lenient": "done",
            "not_run": "skipped",
            "used": "done",
            "says_skip": "skipped",
            "says_xfail": "done",
            "bad_fixture": "failed",
            "bad_teardown": "failed",
            "own_words": "pruned",
            "own_fail": "failed",
            "own_skip": "skipped",
            "returns": "failed",
        }
        assert found["skipped"].reason == "not now"
        assert found["not_run"].reason == "crashes the machine"
        assert found["says_skip"].reason == "in the middle"
        assert found["says_skip"].data == {"x": 3}
        assert found["own_skip"].reason == "does not apply"
        assert found["negative"].reason == "known negative"
        assert found["negative"].meta["outcome"]["expected_failure"] is True
        assert found["negative"].error.type == "AssertionError"
        assert "as known" in found["negative"].error.message
        assert "should fail" in found["surprising"].error.message
        assert found["bad_fixture"].error.type == "OSError"
        assert found["bad_teardown"].error == ("OSError", "late", found["bad_teardown"].error.traceback)
        assert found["bad_teardown"].data == {"x": 4}
        assert "not good enough" in found["own_fail"].error.message
        assert "int" in found["returns"].error.message

    @pytest.mark.parametrize("options", [[], *further(["-n2"])], ids=["one process", "workers"])
    def test_a_skip_is_told_with_its_line(self, lab, options):
        lab.experiment(
            """
            def judge(e):
                e.prune("hopeless")

            @experiment.parametrize("a", [1, 2])
            def exp_a(e, a: int):
                if a == 1:
                    e.skip("too small")
                judge(e)
            """
        )
        lines = (lab.path / "exp_a.py").read_text().splitlines()
        at = {
            word: n for n, line in enumerate(lines, 1) for word in ("skip", "prune") if f"e.{word}(" in line
        }
        lab.run("-rs", *options).exits(0).says(
            f"exp_a.py:{at['skip']}: too small", f"exp_a.py:{at['prune']}: hopeless"
        )

    def test_settled_outcomes_exit_with_zero(self, lab):
        lab.experiment(
            """
            import pytest

            @pytest.mark.xfail(strict=True)
            @experiment
            def negative(e):
                assert False

            @experiment
            def skips(e):
                e.skip("no")

            @experiment
            def prunes(e):
                e.prune()
            """
        )
        lab.run().exits(0)
        lab.run("-n0", "--resume").exits(0).says("nothing to do")

    @pytest.mark.parametrize(
        "options",
        [
            ("-p", "no:terminal"),
            ("-p", "no:cacheprovider"),
            ("-s",),
            ("--capture=sys",),
            ("--capture=tee-sys",),
            ("-W", "error"),
            ("--pdb",),
            ("-p", "no:logging", "-p", "no:tmpdir", "-p", "no:monkeypatch", "-p", "no:warnings"),
            ("-p", "no:xdist"),
            ("-o", "strict=true", "-o", "console_output_style=progress", "-vv"),
            ("--durations=3", "--setup-show"),
            ("--junitxml=report.xml", "-o", "junit_family=xunit2"),
            ("-p", "no:randomly", "--tb=short", "-ra", "--no-header"),
            ("--rootdir=.", "--strict-config", "--strict-markers", "--stepwise"),
        ],
        ids=" ".join,
    )
    def test_with_other_options(self, lab, options):
        lab.experiment(
            """
            import logging
            import warnings

            @experiment.parametrize("i", [0, 1])
            def exp_a(e, i: int):
                e["i"] = i
                print("printed", i)
                logging.getLogger("own").warning("logged %s", i)
            """
        )
        lab.run(*options).exits(0)
        assert [(r.status, r.data) for r in lab.records()] == [("done", {"i": 0}), ("done", {"i": 1})]
        for i, record in enumerate(lab.records()):
            assert f"printed {i}\n" in record.log
            assert f"logged {i}" in record.log
            assert f"printed {1 - i}" not in record.log

    def test_assertions_of_experiments_are_rewritten(self, lab):
        lab.experiment("@experiment\ndef exp_a(e):\n    found = [1, 2]\n    assert found == [1, 3]")
        lab.run().exits(1).says("At index 1 diff: 2 != 3")
        assert "[1, 2] == [1, 3]" in lab.record().error.message

    def test_rootdir_and_ini_of_the_project(self, lab, monkeypatch):
        """From a sub-folder: paths are relative to where one stands, archive and keys to the root."""
        lab.file("pytest.ini", "[pytest]\nexperiment_archive = out/put\nexperiment_seed = 7\n")
        lab.experiment(TWO, "deep/exps/exp_a.py")
        lab.run(path="deep/exps").exits(0)
        monkeypatch.chdir(lab.path / "deep")
        lab.run(path="exps").exits(0)
        from expedition import Archive

        first, second = {}, {}
        for record in Archive(lab.path / "out" / "put").runs():
            (first if record.id not in first else second)[record.id] = (record.key, record.seed)
        assert len(first) == 2
        assert first == second
        assert not (lab.path / "results").exists()
        assert not (lab.path / "deep" / "results").exists()

    def test_without_an_ini_file_the_archive_is_where_pytest_was_called(self, lab, monkeypatch):
        lab.experiment("@experiment\ndef exp_a(e): pass", name="here/below/exp_a.py")
        (lab.path / "there").mkdir()
        monkeypatch.chdir(lab.path / "there")
        lab.run("-n2", path="../here/below").exits(0)
        lab.pytest("--archive-list").exits(0).says("1 run in")
        assert not (lab.path / "results").exists()

    def test_broken_experiment_file(self, lab):
        lab.experiment("raise RuntimeError('broken')", "exp_bad.py")
        lab.experiment(TWO)
        lab.run().exits(2).says("RuntimeError: broken")
        lab.run("-n2").exits(2).says("RuntimeError: broken")
        assert not (lab.path / "results").exists()
        lab.run("--continue-on-collection-errors").exits(1)
        assert lab.statuses() == {"alpha=0.1": "done", "alpha=1.0": "done"}

    def test_plugin_can_be_switched_off(self, lab):
        lab.experiment(TWO)
        lab.file("test_own.py", "def test_own(): pass")
        lab.pytest("-p", "no:expedition").exits(0).says("1 passed")


@pytest.mark.parametrize("name", ["experiment", "e"])
def test_a_project_may_wrap_the_fixture_of_the_run(lab, name):
    lab.file(
        "conftest.py",
        f"""
        import pytest

        @pytest.fixture
        def {name}({name}):
            {name}["set up by the project"] = True
            yield {name}
            {name}["torn down"] = True
        """,
    )
    lab.experiment(
        f"""
        @experiment.parametrize("x", [1, 2])
        def exp_a({name}, x):
            {name}["x"] = x
        """
    )
    lab.run().exits(0)
    for record in lab.records():
        assert record.flat_data.keys() == {"set up by the project", "x", "torn down"}


def test_e_follows_a_wrapped_experiment(lab):
    lab.file(
        "conftest.py",
        """
        import pytest

        @pytest.fixture
        def experiment(experiment):
            experiment["wrapped"] = True
            return experiment
        """,
    )
    lab.experiment("""
        @experiment
        def exp_a(e):
            e["x"] = 1
        """)
    lab.run().exits(0)
    assert lab.records()[0].data == {"wrapped": True, "x": 1}
