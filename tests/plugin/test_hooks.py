"""Hooks: which definition is called, with what, and what is said of those that nobody calls."""

from __future__ import annotations

import json
import os
import textwrap

import pytest

from tests.plugin.conftest import Lab
from tests.thoroughness import further

MARKED = "from expedition import experiment\n@experiment.hook('load')\n"


def hook(name: str) -> str:
    """A file with a hook that says who it is."""
    return f"{MARKED}def load(e, x): return ['{name} ' + x]\n"


def adding(name: str) -> str:
    """A hook that notes its call in the run and gives nothing back, in addition to others."""
    return (
        "from expedition import experiment\n"
        f"@experiment.hook('load', replace=False)\n"
        f"def load_{name}(e, x): e['order'] = [*e.get('order', []), '{name}']\n"
    )


CALL = "@experiment\ndef exp_a(e): e['got'] = e.apply_hook('load', x='1', default='nothing')\n"


@pytest.mark.parametrize("workers", [(), *further(("-n2",))])
class TestNearness:
    def test_the_nearest_is_called(self, lab: Lab, workers: tuple[str, ...]) -> None:
        lab.file("conftest.py", hook("root"))
        lab.file("a/conftest.py", hook("folder"))
        lab.file("a/mixin.py", hook("mixin"))
        lab.file("a/late.py", hook("late mixin"))
        lab.experiment(CALL, "exp_root.py")
        lab.experiment(CALL, "a/exp_folder.py")
        lab.experiment("experiment.include('mixin.py', 'late.py')\n" + CALL, "a/exp_mixin.py")
        lab.experiment(
            "experiment.include('mixin.py')\n@experiment.hook('load')\ndef load(e, x): return ['own ' + x]\n"
            + CALL,
            "a/exp_own.py",
        )
        lab.run(*workers).exits(0)
        got = {r.meta["experiment"]["file"].rpartition("/")[2]: r.data["got"] for r in lab.records()}
        assert got == {
            "exp_root.py": ["root 1"],
            "exp_folder.py": ["folder 1"],
            "exp_mixin.py": ["late mixin 1"],
            "exp_own.py": ["own 1"],
        }

    def test_a_plugin_may_add_to_nothing(self, lab: Lab, workers: tuple[str, ...]) -> None:
        lab.file("plugin.py", adding("plugin"))
        lab.experiment(CALL)
        lab.spawn("--experiments", ".", "-p", "plugin", *workers, PYTHONPATH=_path(lab)).exits(0)
        assert lab.record().data == {"order": ["plugin"], "got": None}

    def test_additive_hooks_run_from_the_outermost_in(self, lab: Lab, workers: tuple[str, ...]) -> None:
        lab.file("conftest.py", adding("root"))
        lab.file("a/conftest.py", adding("folder"))
        lab.file("a/one.py", adding("one"))
        lab.file("a/two.py", adding("two"))
        lab.experiment(adding("base") + CALL, "base/exp_base.py")
        lab.experiment(
            "experiment.include('one.py', 'two.py')\n"
            + adding("own")
            + "child = experiment.extend('../base/exp_base.py')",
            "a/exp_child.py",
        )
        lab.run(*workers, path="a").exits(0)
        record = lab.record()
        assert record.data["order"] == ["base", "root", "folder", "one", "two", "own"]
        assert record.data["got"] is None

    def test_a_conftest_goes_before_the_base(self, lab: Lab, workers: tuple[str, ...]) -> None:
        lab.experiment(hook("base").partition("\n")[2] + CALL, "base/exp_base.py")
        lab.experiment("child = experiment.extend('../base/exp_base.py')", "a/exp_child.py")
        lab.run(*workers, path="a").exits(0)
        assert lab.record().data["got"] == ["base 1"]
        lab.file("conftest.py", hook("root"))
        lab.run(*workers, path="a").exits(0)
        assert lab.records()[-1].data["got"] == ["root 1"]

    @pytest.mark.parametrize("plain", ["plugin", "root", "folder", "own"])
    def test_the_whole_way_from_the_plugin_to_the_own_file(
        self, lab: Lab, workers: tuple[str, ...], plain: str
    ) -> None:
        """Each calls the one that it overrides; one of them, a plain fixture, does so too."""

        def calling(name: str) -> str:
            if name == plain:
                outer = "" if name == "plugin" else "hook_load"
                return (
                    "from expedition import experiment\nimport pytest\n"
                    f"@pytest.fixture\ndef hook_load({outer}):\n"
                    f"    return lambda e, x: [*{f'{outer}(e, x=x)' if outer else '()'}, '{name}']\n"
                )
            return f"{MARKED}def load(e, x, hook_load): return [*(hook_load(e, x=x) or ()), '{name}']\n"

        lab.file("plugin.py", calling("plugin"))
        lab.file("base/below.py", calling("mixin of the base"))
        lab.experiment(
            calling("base") + "experiment.include('below.py')\n" + CALL,
            "base/exp_base.py",
        )
        lab.file("base/conftest.py", calling("beside the base"))
        lab.file("conftest.py", calling("root"))
        lab.file("a/conftest.py", calling("folder"))
        lab.file("a/one.py", calling("one"))
        lab.file("a/two.py", calling("two"))
        lab.experiment(
            "experiment.include('one.py', 'two.py')\n"
            + calling("own")
            + "child = experiment.extend('../base/exp_base.py')",
            "a/exp_child.py",
        )
        lab.spawn("--experiments", "a", "-p", "plugin", *workers, PYTHONPATH=_path(lab)).exits(0)
        way = ["plugin", "mixin of the base", "base", "root", "folder", "one", "two", "own"]
        assert lab.record().data["got"] == way


def _path(lab: Lab) -> str:
    return os.pathsep.join([str(lab.path), *filter(None, [os.environ.get("PYTHONPATH")])])


class TestResults:
    def test_nothing_fills_it(self, lab: Lab) -> None:
        lab.experiment(CALL)
        lab.run().exits(0)
        assert lab.record().data["got"] == "nothing"

    def test_the_last_result_that_is_not_none_counts(self, lab: Lab) -> None:
        lab.experiment(
            textwrap.dedent("""
            @experiment.hook("load")
            def first(e, x): return "first"

            @experiment.hook("load", replace=False)
            def second(e, x): return None
            """)
            + CALL
        )
        lab.run().exits(0)
        assert lab.record().data["got"] == "first"

    def test_a_plain_fixture_may_call_the_outer_one(self, lab: Lab) -> None:
        lab.file("conftest.py", hook("root"))
        lab.experiment(
            textwrap.dedent("""
            import pytest

            @pytest.fixture
            def hook_load(hook_load):
                def load(e, x): return [*hook_load(e, x=x), "more"]
                return load
            """)
            + CALL
        )
        lab.run().exits(0)
        assert lab.record().data["got"] == ["root 1", "more"]

    def test_a_hook_may_call_the_outer_one(self, lab: Lab) -> None:
        lab.file("conftest.py", hook("root"))
        lab.experiment(
            textwrap.dedent("""
            @experiment.hook("load")
            def load(e, x, hook_load): return [*hook_load(e, x="2"), x]
            """)
            + CALL
        )
        lab.run().exits(0)
        assert lab.record().data["got"] == ["root 2", "1"]

    def test_fixtures_and_keywords(self, lab: Lab) -> None:
        lab.experiment(
            """
            import pytest

            @pytest.fixture
            def words(): return ["a", "b"]

            @pytest.fixture
            def x(): return "of the fixture"

            @experiment.hook("load")
            def load(run, words, x, limit=3, **rest): return [words, x, limit, rest, run.index]

            @experiment
            def exp_a(e):
                e["got"] = e.apply_hook("load", x="of the call", more=1)
                e["again"] = e.apply_hook("load", limit=4)
            """
        )
        lab.run().exits(0)
        data = lab.record().data
        assert data["got"] == [["a", "b"], "of the call", 3, {"more": 1}, 0]
        assert data["again"] == [["a", "b"], "of the fixture", 4, {}, 0]

    def test_hooks_get_only_what_they_ask_for(self, lab: Lab) -> None:
        lab.experiment("@experiment.hook('load')\ndef load(e): return 'asked for nothing'\n" + CALL)
        lab.run().exits(0)
        assert lab.record().data["got"] == "asked for nothing"

    def test_hooks_see_the_values_of_the_run(self, lab: Lab) -> None:
        lab.file(
            "mixin.py",
            "from expedition import experiment\nN: int = 1\n"
            "@experiment.hook('load')\ndef load(e, x): return [N, e.N]\n",
        )
        lab.experiment("experiment.include('mixin.py')\nN = 2\n" + CALL)
        lab.run("-P", "N=5").exits(0)
        assert lab.record().data["got"] == [5, 5]


class TestStandardHooks:
    def test_before_and_after_the_function(self, lab: Lab) -> None:
        lab.experiment(
            """
            @experiment.hook("before_run")
            def before(e): e["order"] = ["before"]

            @experiment.hook("after_run")
            def after(e): e["order"] = [*e["order"], "after"]

            @experiment.parametrize("x", [0, 1])
            def exp_a(e, x):
                e["order"] = [*e["order"], "run"]
                1 / x
            """
        )
        lab.run().exits(1)
        assert [(r.status, r.data["order"]) for r in lab.records()] == [
            ("failed", ["before", "run", "after"]),
            ("done", ["before", "run", "after"]),
        ]

    def test_one_that_fails_fails_the_run(self, lab: Lab) -> None:
        lab.experiment(
            "@experiment.hook('after_run')\ndef f(e): raise OSError('x')\n@experiment\ndef exp_a(e): pass"
        )
        lab.run().exits(1).says("OSError: x")
        assert lab.record().status == "failed"

    def test_one_may_skip_the_run(self, lab: Lab) -> None:
        lab.experiment(
            "@experiment.hook('before_run')\ndef before(e): e.skip('no')\n@experiment\ndef exp_a(e): 1 / 0"
        )
        lab.run().exits(0)
        assert lab.record().status == "skipped"


class TestReports:
    @pytest.mark.parametrize("workers", [(), ("-n2",)])
    def test_hooks_that_no_run_applied(self, lab: Lab, workers: tuple[str, ...]) -> None:
        lab.file("conftest.py", hook("root").replace("'load'", "'laod'"))
        lab.file("other/conftest.py", hook("other").replace("'load'", "'elsewhere'"))
        lab.experiment(
            textwrap.dedent("""
            @experiment.hook("lod")
            def unused(e): pass

            @experiment.hook("before_run")
            def before(e): pass

            @experiment.hook("load")
            def load(e, x): pass
            """)
            + CALL
        )
        text = lab.run(*workers).exits(0).text
        assert "warning: the hook lod at" in text
        assert "exp_a.py:3 was applied by no run (did you mean 'load'?)" in text
        assert "warning: the hook laod at" in text
        for name in ("load at", "before_run at", "elsewhere"):
            assert f"hook {name}" not in text

    @pytest.mark.parametrize("workers", [(), *further(("-n2",))])
    def test_one_that_another_of_its_file_leaves_no_chance(self, lab: Lab, workers: tuple[str, ...]) -> None:
        """Two that replace in one file are a mistake; adding, calling the outer one, and other files are none."""
        lab.file("conftest.py", hook("root"))
        lab.experiment(
            textwrap.dedent("""
            @experiment.hook("load")
            def first(e, x): return "first"

            @experiment.hook("load", replace=False)
            def second(e, x): return "second"

            @experiment.hook("load")
            def third(e, x): return "third"

            @experiment.hook("load")
            def fourth(e, x, hook_load): return hook_load(e, x=x) + ", fourth"
            """)
            + CALL
        )
        outcome = lab.run(*workers).exits(0)
        assert lab.record().data["got"] == "third, fourth"
        warnings = [line for line in outcome.out.splitlines() if "is never called" in line]
        assert [line.partition("exp_a.py:")[2] for line in warnings] == [
            f"{line} is never called: that at {lab.path / 'exp_a.py'}:9 takes its place; keep one of them, or say "
            f"replace=False"
            for line in (3, 6)
        ]

    def test_a_run_that_failed_may_not_have_come_so_far(self, lab: Lab) -> None:
        lab.experiment("@experiment.hook('lod')\ndef unused(e): pass\n@experiment\ndef exp_a(e): 1 / 0")
        lab.run().exits(1).omits("applied by no run")

    def test_an_argument_that_nothing_gives(self, lab: Lab) -> None:
        lab.experiment("@experiment.hook('load')\ndef load(e, xx): pass\n" + CALL)
        lab.run().exits(1).says(
            "the hook load at",
            "asks for 'xx', which is neither a keyword of this call (did you mean 'x'?) nor a fixture",
        )


def test_the_manifest_has_them_with_their_docstrings(lab: Lab) -> None:
    lab.experiment(
        '@experiment.hook("load")\ndef load(e, x):\n    """Loads.\n\n    Slowly."""\n' + CALL,
        "base/exp_base.py",
    )
    lab.experiment(adding("own").partition("\n")[2] + "a = experiment.extend('base/exp_base.py')")
    lab.experiment("@experiment\ndef exp_b(e): pass", "exp_b.py")
    lab.run(path="exp_a.py").exits(0)
    assert lab.manifest()["experiment"]["hooks"] == {
        "load": [
            {"function": "base/exp_base.py::load", "description": "Loads.\n\nSlowly."},
            {"function": "exp_a.py::load_own"},
        ]
    }
    lab.pytest("--experiments", "base", "--fixtures").exits(0).says("hook_load", "Loads.")
    lab.run(path="exp_b.py").exits(0)
    assert "hooks" not in json.loads((lab.sweeps()[-1] / "sweep.json").read_bytes())["experiment"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("@experiment.hook('not a name')\ndef f(e): pass", "the name of a hook must be an identifier"),
            ("@experiment.hook('load')\ndef f(): pass", "a hook gets the run first: def f(e, …)"),
            ("@experiment.hook\ndef f(e): pass", 'needs the name of the hook: @experiment.hook("f")'),
            (
                "@experiment.hook('load', replace=False)\ndef f(e, hook_load): pass",
                "a hook that asks for hook_load calls what it overrides itself",
            ),
            (
                "@experiment.hook('load')\ndef f(run, experiment): pass",
                "a hook gets the run first and everything else",
            ),
            ("@experiment.hook('load')\ndef f(run, *more): pass", "'more' cannot be given so"),
            ("@experiment.hook('load')\nclass F: pass", "marks plain functions"),
            (
                "@experiment\n@experiment.hook('load')\ndef f(e): pass",
                "f is a hook already, and cannot",
            ),
        ],
    )
    def test_at_collection(self, lab: Lab, text: str, says: str) -> None:
        lab.experiment(f"{text}\n{CALL}")
        lab.refused().says("exp_a.py:", says)

    def test_a_fixture_that_gives_no_function(self, lab: Lab) -> None:
        lab.experiment("import pytest\n@pytest.fixture\ndef hook_load(): return 3\n" + CALL)
        lab.run().exits(1).says(
            "the fixture hook_load gives a int; that of a hook gives a function of the run"
        )


def test_a_test_suite_beside_it_is_not_disturbed(lab: Lab) -> None:
    lab.file("conftest.py", hook("root"))
    lab.experiment(hook("own").partition("\n")[2] + CALL)
    lab.file("test_b.py", "from exp_a import load\ndef test_b(): assert load(None, x='2') == ['own 2']")
    lab.pytest().exits(0).says("1 passed")
