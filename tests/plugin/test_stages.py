"""Stages and cached functions: computed once, again when what they depend on is another, exact, and damage-proof."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Lab
from tests.thoroughness import further

COUNT = """
import os, pathlib

def count(name):
    with open(pathlib.Path(__file__).parent / f"{name}.count", "a") as file:
        file.write(f"{os.getpid()}\\n")
"""

STAGES = """
import numpy as np
from counting import count

SCALE: int = 2
TABLE = {"a": 1}

def helper(n): return np.arange(n) * SCALE

@experiment.stage
def data(N):
    count("data")
    return {"x": helper(N), "t": TABLE["a"]}

@experiment.stage(version=1)
def model(data, depth):
    count("model")
    return (float(data["x"].sum()), depth)

N: int = 4

@experiment.parametrize("depth", [1, 2])
@experiment.replicate(3)
def exp_a(e, model, depth: int = 1):
    e["model"] = model
"""


@pytest.fixture
def counting(lab: Lab) -> Lab:
    lab.file("counting.py", COUNT)
    return lab


def counts(lab: Lab) -> dict[str, int]:
    """How often each counted function ran so far."""
    return {path.stem: len(path.read_text().splitlines()) for path in lab.path.glob("*.count")}


def models(lab: Lab) -> list[object]:
    last = lab.sweeps()[-1].name
    return [record.data["model"] for record in lab.records(sweep=last)]


class TestStages:
    @pytest.mark.parametrize("workers", [(), ("-n2",)])
    def test_they_are_computed_once_over_all_runs_workers_and_sessions(
        self, counting: Lab, workers: tuple[str, ...]
    ) -> None:
        counting.experiment(STAGES)
        counting.run(*workers).exits(0)
        assert counts(counting) == {"data": 1, "model": 2}
        assert sorted(set(map(str, models(counting)))) == ["(12.0, 1)", "(12.0, 2)"]
        counting.run(*workers).exits(0)
        assert counts(counting) == {"data": 1, "model": 2}

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            ("* SCALE", "* SCALE * 3", {"data": 2, "model": 4}),  # a function that it calls
            ('"a": 1', '"a": 2', {"data": 2, "model": 4}),  # a constant that it names
            ("N: int = 4", "N: int = 5", {"data": 2, "model": 4}),  # a parameter
            ("SCALE: int = 2", "SCALE: int = 3", {"data": 2, "model": 4}),  # a parameter of what it calls
            ("version=1", "version=2", {"data": 1, "model": 4}),
            ('count("data")', 'count("data")  # why', {"data": 1, "model": 2}),
            ('count("data")', '"""Says what it does."""\n    count("data")', {"data": 1, "model": 2}),
            ("replicate(3)", "replicate(4)", {"data": 1, "model": 2}),
            ('e["model"] = model', 'e["model"] = model\n    e["more"] = 1', {"data": 1, "model": 2}),
        ],
    )
    def test_again_when_what_they_depend_on_is_another(
        self, counting: Lab, before: str, after: str, expected: dict[str, int]
    ) -> None:
        assert before in STAGES
        counting.experiment(STAGES)
        counting.run().exits(0)
        counting.experiment(STAGES.replace(before, after))
        counting.run().exits(0)
        assert counts(counting) == expected

    def test_why(self, counting: Lab) -> None:
        counting.experiment(STAGES)
        counting.run("--why-stale").exits(0).says(
            "stale: data: there was none", "stale: model: there was none"
        )
        counting.experiment(STAGES.replace("* SCALE", "* SCALE * 1"))
        text = counting.run("--why-stale", "-P", "N=5").exits(0).text
        assert "stale: data: code of exp_a.helper has changed; parameter N was 4, is 5\n" in text
        counting.run("--why-stale", "-n2", "-P", "N=5").exits(0).omits("stale:")

    def test_options_switch_it_off_and_clear_it(self, counting: Lab) -> None:
        counting.experiment(STAGES)
        counting.run("--no-experiment-cache").exits(0)
        assert counts(counting) == {"data": 1, "model": 2}  # once per session all the same
        counting.run().exits(0)
        assert counts(counting) == {"data": 2, "model": 4}
        counting.run("--experiment-cache-clear").exits(0)
        assert counts(counting) == {"data": 3, "model": 6}
        counting.experiment("__CACHING__ = False\n" + STAGES)
        counting.run().exits(0)
        assert counts(counting) == {"data": 4, "model": 8}

    def test_testing_mode_leaves_the_cache_alone(self, counting: Lab) -> None:
        counting.experiment(STAGES + "\n@experiment.testing\ndef small(e): e.N = 1\n")
        counting.run("--testing").exits(0)
        assert not (counting.path / "results" / ".expedition" / "cache").exists()

    def test_a_run_cannot_change_what_others_get(self, counting: Lab) -> None:
        counting.experiment(
            """
            import numpy as np

            @experiment.stage
            def words(): return ["a"]

            @experiment.stage
            def numbers(): return np.zeros(3)

            @experiment.replicate(3)
            def exp_a(e, words, numbers):
                words.append("b")
                e["model"] = words
                try:
                    numbers[0] = 1
                except ValueError as error:
                    e["refused"] = str(error)
            """
        )
        counting.run().exits(0)
        assert models(counting) == [["a", "b"]] * 3
        assert all("read-only" in record.data["refused"] for record in counting.records())

    def test_damaged_entries_are_computed_again(self, counting: Lab) -> None:
        counting.experiment(STAGES)
        counting.run().exits(0)
        root = counting.path / "results" / ".expedition" / "cache"
        (value,) = root.glob("exp_a/data/*/value.json")
        value.write_text(value.read_text().replace('"t":1', '"t":2'))
        for about in root.glob("exp_a/model/*/about.json"):
            about.write_text("{")
        counting.run("-W", "always").exits(0).says("is damaged and counts as missing")
        assert counts(counting) == {"data": 2, "model": 4}
        assert models(counting)[0] == (12.0, 1)

    def test_in_a_conftest_a_mixin_and_a_base(self, counting: Lab) -> None:
        stage = "from expedition import experiment\n@experiment.stage\ndef {name}(): return '{name}'\n"
        counting.file("conftest.py", stage.format(name="far"))
        counting.file("mixin.py", stage.format(name="mixed"))
        counting.file(
            "exp_base.py",
            stage.format(name="based")
            + "experiment.include('mixin.py')\n@experiment\n"
            + "def exp_a(e, far, mixed, based): e['model'] = [far, mixed, based]\n",
        )
        counting.experiment("child = experiment.extend('exp_base.py')", "exp_child.py")
        counting.run().exits(0)
        assert [record.data["model"] for record in counting.records()] == [["far", "mixed", "based"]] * 2

    def test_pickles_only_where_they_are_asked_for(self, counting: Lab) -> None:
        text = """
            import fractions

            class Thing:
                def __init__(self, n): self.n = n

            @experiment.stage{how}
            def thing(): return Thing(3)

            @experiment
            def exp_a(e, thing): e["model"] = thing.n
            """
        counting.experiment(text.format(how=""))
        counting.run().exits(1).says(
            "what thing returns cannot be kept in the cache exactly", 'codec="pickle"'
        )
        counting.experiment(text.format(how='(codec="pickle")'))
        counting.run().exits(0)
        counting.run().exits(0)
        assert models(counting) == [3]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("@experiment.stage\ndef s(e): pass", "a stage is shared by runs and cannot ask for one of them"),
            ("@experiment.stage(scope='module')\ndef s(): pass", "one of session, function, not 'module'"),
            ("@experiment.stage(codec='joblib')\ndef s(): pass", 'None or "pickle", not'),
            ("@experiment.stage\ndef s(*n): pass", "a stage names its arguments"),
            ("@experiment.stage\ndef s(tmp_path): pass", "the stage s asks for 'tmp_path', a fixture"),
            (
                "@experiment.stage\ndef s(DEPHT): pass",
                "which is neither a parameter nor a stage (did you mean 'DEPTH'?)",
            ),
        ],
    )
    def test_refusals(self, lab: Lab, text: str, says: str) -> None:
        lab.experiment(f"DEPTH: int = 1\n{text}\n@experiment\ndef exp_a(e, s): pass")
        lab.refused().says("exp_a.py", says)


class TestCachedFunctions:
    def test_by_name_scope_and_arguments(self, counting: Lab) -> None:
        counting.experiment(
            """
            from counting import count

            FACTOR: int = 2

            @experiment.parametrize("scope", ["a", "b"])
            @experiment.replicate(2)
            def exp_a(e, scope: str):
                @e.cache.cached("square", scope=("numbers", scope))
                def square(n, power=2):
                    "Squares."
                    count("square")
                    return n ** power * FACTOR

                assert (square.__name__, square.__doc__) == ("square", "Squares.")
                e["model"] = [square(3), square(n=3), square(3, 2), square(4), square(3, power=1)]
            """
        )
        counting.run().exits(0)
        assert models(counting) == [[18, 18, 18, 32, 6]] * 4
        assert counts(counting) == {"square": 6}
        counting.run("-P", "FACTOR=3", "-n2").exits(0)
        assert models(counting) == [[27, 27, 27, 48, 9]] * 4
        assert counts(counting) == {"square": 12}

    def test_the_log_tells_what_was_computed_and_what_was_there(self, counting: Lab) -> None:
        counting.experiment(
            "@experiment\ndef exp_a(e):\n    e['model'] = e.cache.cached('f')(lambda n: n + 1)(3)\n"
        )
        counting.run().exits(0)
        counting.run().exits(0)
        first, second = (record.log for record in counting.records())
        assert "f: computed in 0." in first
        assert "s and put into the cache (there was none)" in first
        assert "f: taken from the cache" in second

    def test_the_function_itself_goes_round_the_cache(self, counting: Lab) -> None:
        counting.experiment(
            """
            from counting import count

            @experiment
            def exp_a(e):
                @e.cache.cached("f")
                def f():
                    count("f")
                    return 1
                e["model"] = [f(), f.__wrapped__(), f()]
            """
        )
        counting.run().exits(0)
        assert counts(counting) == {"f": 2}

    @pytest.mark.parametrize("workers", [(), *further(("-n2",))])
    def test_arguments_that_are_alike_do_not_mix(self, counting: Lab, workers: tuple[str, ...]) -> None:
        counting.experiment(
            """
            @experiment.replicate(4)
            def exp_a(e):
                @e.cache.cached("f")
                def f(n): return repr(n)
                values = [1, 1.0, True, "1", b"1", (1,), [1], {"n": 1}, None, -0.0, 0.0]
                e["model"] = [f(value) for value in values] == [repr(value) for value in values]
            """
        )
        for _ in range(2):
            counting.run(*workers).exits(0)
            assert models(counting) == [True] * 4

    def test_a_cache_that_cannot_be_written_costs_no_run(self, counting: Lab) -> None:
        counting.file("results/.expedition")
        counting.experiment(STAGES)
        text = counting.run("-W", "always").exits(0).text
        assert text.count("cannot be written, and values are computed without it") == 1
        assert counts(counting) == {"data": 1, "model": 2}

    def test_what_is_closed_over_counts(self, counting: Lab) -> None:
        counting.experiment(
            """
            @experiment.parametrize("alpha", [1, 2])
            def exp_a(e, alpha: int):
                @e.cache.cached("f")
                def f(n): return n * alpha
                e["model"] = f(10)
            """
        )
        counting.run().exits(0)
        assert models(counting) == [10, 20]

    def test_none_is_a_value_and_version_another(self, counting: Lab) -> None:
        text = """
            from counting import count
            @experiment
            def exp_a(e):
                @e.cache.cached("f", version={version})
                def f():
                    count("f")
                f(), f()
            """
        counting.experiment(text.format(version=1))
        counting.run().exits(0)
        counting.run().exits(0)
        assert counts(counting) == {"f": 1}
        counting.experiment(text.format(version=2))
        counting.run().exits(0)
        assert counts(counting) == {"f": 2}

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            ("f(object())", "TypeError: the cached function f depends on its argument n, a object"),
            ("e.cache.cached('')", "TypeError: the name of a cached value is a text"),
            ("e.cache.cached('f', scope='ab')", "TypeError: the scope of a cached value is a tuple of texts"),
        ],
    )
    def test_refusals(self, lab: Lab, call: str, says: str) -> None:
        lab.experiment(
            f"@experiment\ndef exp_a(e):\n    @e.cache.cached('f')\n    def f(n): return n\n    {call}"
        )
        lab.run().exits(1).says(says.removeprefix("TypeError: "))

    def test_a_failure_is_not_kept(self, counting: Lab) -> None:
        counting.experiment(
            """
            from counting import count
            @experiment.replicate(2)
            def exp_a(e):
                @e.cache.cached("f")
                def f():
                    count("f")
                    raise OSError("no")
                f()
            """
        )
        counting.run().exits(1).says("OSError: no")
        assert counts(counting) == {"f": 2}


class TestSavedValues:
    SAVING = """
        import numpy as np

        WORDS: tuple = ("a", 1)

        @experiment
        def exp_save(e):
            e.cache.save("words", {"t": WORDS, "x": np.arange(3)}, scope=("language", "en"))
        """
    LOADING = """
        @experiment
        def exp_load(e):
            words = e.cache.load("words", scope=("language", "en"))
            e["model"] = [words["t"], int(words["x"].sum())]
        """

    @pytest.mark.parametrize("workers", [(), *further(("-n2",))])
    def test_another_run_loads_what_one_has_saved(self, lab: Lab, workers: tuple[str, ...]) -> None:
        lab.experiment(self.SAVING, "exp_save.py")
        lab.experiment(self.LOADING, "exp_load.py")
        lab.run(*workers, path="exp_save.py").exits(0)
        lab.run(*workers, path="exp_load.py").exits(0)
        lab.run("-P", "WORDS=[b]", path="exp_save.py").exits(0)
        lab.run(path="exp_load.py").exits(0)
        assert [r.data["model"] for r in lab.records(experiment="exp_load")] == [[("a", 1), 3], [("b",), 3]]
        assert len(list((lab.path / "results" / ".expedition" / "cache" / "language" / "en").iterdir())) == 1

    def test_one_that_is_not_there_or_damaged(self, lab: Lab) -> None:
        lab.experiment(self.SAVING, "exp_save.py")
        lab.experiment(self.LOADING.replace('load("words"', 'load("word"'), "exp_load.py")
        lab.run(path="exp_save.py").exits(0)
        lab.run(path="exp_load.py").exits(1).says(
            "the cache has no value 'language/en/word' (did you mean 'words'?); save one first, or compute it"
        )
        lab.experiment(self.LOADING, "exp_load.py")
        (value,) = (lab.path / "results" / ".expedition" / "cache").rglob("value.json")
        value.write_text("{")
        lab.run("-W", "always", path="exp_load.py").exits(1).says("is damaged", "the cache has no value")
        assert lab.records(experiment="exp_load")[-1].error.type == "CacheEntryNotFoundError"

    def test_where_the_cache_is_off_nothing_is_saved(self, lab: Lab) -> None:
        lab.experiment(
            """
            @experiment
            def exp_a(e):
                e.cache.save("x", 1)
                try:
                    e["model"] = e.cache.load("x")
                except FileNotFoundError as error:
                    e["model"] = str(error)
            """
        )
        lab.run("--no-experiment-cache").exits(0)
        assert models(lab)[0].startswith("the cache is off, so that it has no 'x'")
        assert not (lab.path / "results" / ".expedition" / "cache").exists()
        lab.run().exits(0)
        assert models(lab) == [1]

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            ("save('', 1)", "the name of a cached value is a text"),
            ("load('x', scope='ab')", "the scope of a cached value is a tuple of texts"),
            ("save('x', object())", "cannot be kept in the cache exactly"),
        ],
    )
    def test_refusals(self, lab: Lab, call: str, says: str) -> None:
        lab.experiment(f"@experiment\ndef exp_a(e): e.cache.{call}")
        lab.run().exits(1).says(says)


def test_a_version_is_a_text_or_a_number(lab: Lab) -> None:
    lab.experiment(
        "@experiment.stage(version=object())\ndef data(): return 1\n@experiment\ndef exp_a(e, data): pass"
    )
    lab.refused(workers=False).says("exp_a.py:", "the version of a stage is a text or a whole number")


def test_a_result_that_cannot_be_kept_is_told_without_a_traceback(lab: Lab) -> None:
    lab.experiment(
        """
        import threading

        @experiment.stage
        def lock(): return threading.Lock()

        @experiment
        def exp_a(e, lock): pass
        """
    )
    outcome = lab.spawn("--experiments", ".").exits(1)
    outcome.says("UnstorableError: what lock returns cannot be kept").omits("execution.py", "pytest_runtest")
    error = lab.record().error
    assert error is not None
    assert error.type == "UnstorableError"
