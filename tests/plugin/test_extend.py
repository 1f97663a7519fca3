"""Experiments that extend others: parameters, sweeps, INHERIT and mixins over several files."""

from __future__ import annotations

import shutil

import pytest

from tests.plugin.conftest import Lab

BASE = '''
"""The base."""

EPOCHS: int = 3  # how long
LR: float = 0.1  # how fast
NAME: str = "base"

@experiment.parametrize("alpha", [1.0, 2.0])
def exp_train(e, alpha: float = 0.5, *, power: int = 2):
    """Trains."""
    e["seen"] = [EPOCHS, LR, NAME, alpha, power]
'''


def records(lab: Lab) -> dict[str, dict[str, object]]:
    """What every run of the archive saw, by experiment and id; by the experiment alone where it has one run."""
    found = {}
    for record in lab.records():
        about = record.meta["experiment"]
        found[about["name"] + (f"[{record.id}]" if record.id != about["function"] else "")] = record.data
    return found


@pytest.fixture
def base(lab: Lab) -> Lab:
    lab.experiment(BASE, "exp_base.py")
    return lab


class TestValues:
    def test_variables_of_the_child_are_seen_by_the_function_of_the_base(self, base: Lab) -> None:
        base.experiment(
            'EPOCHS = 5\ntrain = experiment.extend("../exp_base.py", tags=["child"])', "sub/exp_child.py"
        )
        base.run(path="sub").exits(0).says("train: 2 runs", "EPOCHS=5, LR=0.1, NAME=base")
        assert records(base) == {
            "train[alpha=1.0]": {"seen": [5, 0.1, "base", 1.0, 2]},
            "train[alpha=2.0]": {"seen": [5, 0.1, "base", 2.0, 2]},
        }
        record = base.records()[0]
        assert record.meta["parameters"]["EPOCHS"]["origin"] == "default"
        assert record.meta["parameters"]["LR"]["origin"] == "base exp_base.py"
        assert record.meta["parameters"]["EPOCHS"]["type"] == "int"
        assert list(record.tags) == ["child"]

    def test_the_base_is_left_as_it_was(self, base: Lab) -> None:
        base.experiment('EPOCHS = 5\ntrain = experiment.extend("exp_base.py")', "exp_child.py")
        for arguments in ((), ("-n2",)):
            shutil.rmtree(base.path / "results", ignore_errors=True)
            base.run(*arguments).exits(0)
            seen = records(base)
            assert seen["exp_train[alpha=1.0]"]["seen"] == [3, 0.1, "base", 1.0, 2]
            assert seen["train[alpha=1.0]"]["seen"] == [5, 0.1, "base", 1.0, 2]

    def test_chains_to_any_depth_across_folders(self, base: Lab) -> None:
        base.experiment('LR = 0.5\none = experiment.extend("../exp_base.py")', "a/exp_one.py")
        base.experiment('NAME = "two"\ntwo = experiment.extend("../a/exp_one.py::one")', "b/exp_two.py")
        base.experiment(
            'EPOCHS = 9\nthree = experiment.extend("../../b/exp_two.py", params={"power": 4})',
            "c/d/exp_three.py",
        )
        base.run(path="c").exits(0)
        assert records(base)["three[alpha=2.0]"]["seen"] == [9, 0.5, "two", 2.0, 4]

    def test_options_reach_the_function_of_the_base(self, base: Lab) -> None:
        base.experiment('EPOCHS = 5\ntrain = experiment.extend("exp_base.py")', "exp_child.py")
        base.run(
            "-P", "train:EPOCHS=7", "-P", "power=1", "-k", "train and not exp_train", path="exp_child.py"
        )
        assert records(base)["train[alpha=1.0]"]["seen"] == [7, 0.1, "base", 1.0, 1]

    def test_the_snapshot_has_the_base(self, base: Lab) -> None:
        base.experiment('train = experiment.extend("exp_base.py")', "exp_child.py")
        base.run(path="exp_child.py").exits(0)
        (sweep,) = (base.path / "results" / "exp_child").iterdir()
        names = {p.name for p in (sweep / "source").iterdir()}
        assert names == {"exp_base.py", "exp_child.py", "experiment_code.py"}
        copy = base.path / "copy"
        shutil.copytree(sweep / "source", copy)
        (base.path / "exp_base.py").unlink()
        base.pytest("--experiments", copy / "exp_child.py", "--archive", "again").exits(0)

    def test_files_of_one_name_do_not_replace_each_other_in_the_snapshot(self, lab: Lab) -> None:
        lab.experiment("WHO: str = 'base'\n@experiment\ndef exp_a(e): e['who'] = WHO", "a/exp_x.py")
        lab.file("b/c/exp_x.py", "MIXED = 1\n")
        lab.experiment(
            "experiment.include('c/exp_x.py')\nWHO = 'child'\nx = experiment.extend('../a/exp_x.py')",
            "b/exp_x.py",
        )
        lab.run(path="b/exp_x.py").exits(0)
        (sweep,) = lab.sweeps()
        for name in ("a/exp_x.py", "b/exp_x.py", "b/c/exp_x.py"):
            assert (sweep / "source" / name).read_bytes() == (lab.path / name).read_bytes()

    def test_it_can_be_called_like_a_function(self, base: Lab) -> None:
        base.experiment(
            'EPOCHS = 5\ntrain = experiment.extend("exp_base.py", params={"power": 7})', "exp_child.py"
        )
        base.file(
            "test_child.py",
            """
            from expedition import Run
            from exp_child import train

            def test_it(tmp_path):
                with Run.detached(tmp_path) as run:
                    train(run, alpha=8.0)
                    assert run["seen"] == [5, 0.1, "base", 8.0, 7]
            """,
        )
        base.pytest("test_child.py").exits(0)

    def test_criteria_of_the_base_say_what_failed(self, lab: Lab) -> None:
        lab.experiment(
            "LIMIT: int = 1\n@experiment\ndef exp_a(e, x: int = 3):\n    assert x < LIMIT", "exp_base.py"
        )
        lab.experiment('LIMIT = 2\nchild = experiment.extend("exp_base.py")', "exp_child.py")
        lab.run(path="exp_child.py").exits(1).says("assert 3 < 2")

    def test_marks_of_the_child(self, base: Lab) -> None:
        base.experiment(
            'import pytest\ntrain = pytest.mark.skip("later")(experiment.extend("exp_base.py"))',
            "exp_child.py",
        )
        base.run(path="exp_child.py").exits(0).says("2 skipped")

    def test_fixtures_of_the_base(self, lab: Lab) -> None:
        lab.experiment(
            """
            import pytest

            @pytest.fixture
            def data(): return "of the base"

            @pytest.fixture
            def more(data): return data + ", more"

            @experiment
            def exp_a(e, more): e["more"] = more
            """,
            "exp_base.py",
        )
        lab.experiment(
            """
            import pytest
            plain = experiment.extend("exp_base.py")
            """,
            "exp_plain.py",
        )
        lab.experiment(
            """
            import pytest

            @pytest.fixture
            def data(): return "of the child"

            child = experiment.extend("exp_base.py")
            """,
            "exp_child.py",
        )
        lab.run().exits(0)
        assert {name: data["more"] for name, data in records(lab).items()} == {
            "exp_a": "of the base, more",
            "plain": "of the base, more",
            "child": "of the child, more",
        }


class TestSweeps:
    def test_those_of_the_child_take_the_place_of_those_of_the_base(self, base: Lab) -> None:
        base.experiment(
            """
            train = experiment.parametrize("power", [1, 2])(
                experiment.replicate(2)(experiment.extend("exp_base.py", tags=["x"]))
            )
            """,
            "exp_child.py",
        )
        base.run("--collect-only", "-q", path="exp_child.py").says(
            "train[power=1-rep=0]", "train[power=1-rep=1]", "train[power=2-rep=1]"
        ).omits("alpha=1.0-")
        base.run(path="exp_child.py").exits(0).says("alpha=0.5")

    def test_a_value_of_the_child_takes_the_place_of_an_axis(self, base: Lab) -> None:
        base.experiment('train = experiment.extend("exp_base.py", params={"alpha": 9.0})', "exp_child.py")
        base.run(path="exp_child.py").exits(0).says("train: 1 run")
        assert records(base)["train"]["seen"] == [3, 0.1, "base", 9.0, 2]

    def test_replicates_of_the_base_are_inherited(self, lab: Lab) -> None:
        lab.experiment("@experiment.replicate(3, paired=True)\ndef exp_a(e, x=1): pass", "exp_base.py")
        lab.experiment('more = experiment.extend("exp_base.py", params={"x": 2})', "exp_child.py")
        lab.run(path="exp_child.py").exits(0).says("more: 3 runs")


class TestInherit:
    def test_with_and_without_a_function(self, base: Lab) -> None:
        base.experiment(
            """
            from expedition import INHERIT
            LR = INHERIT(lambda lr: lr / 10)
            EPOCHS = INHERIT
            train = experiment.extend("exp_base.py", params={"power": INHERIT(lambda p: p + 1)})
            """,
            "exp_child.py",
        )
        base.run(path="exp_child.py").exits(0)
        assert records(base)["train[alpha=1.0]"]["seen"] == [3, 0.01, "base", 1.0, 3]

    def test_it_follows_what_those_between_and_options_say(self, base: Lab) -> None:
        base.experiment('LR = 2.0\nmiddle = experiment.extend("exp_base.py")', "exp_middle.py")
        base.experiment(
            "from expedition import INHERIT\nLR = INHERIT(lambda lr: lr / 10)\n"
            'train = experiment.extend("exp_middle.py")',
            "exp_child.py",
        )
        base.run(path="exp_child.py").exits(0)
        assert records(base)["train[alpha=1.0]"]["seen"][1] == 0.2
        shutil.rmtree(base.path / "results")
        base.run("-P", "middle:LR=5.0", path="exp_child.py").exits(0)
        assert records(base)["train[alpha=1.0]"]["seen"][1] == 0.5
        shutil.rmtree(base.path / "results")
        base.run("-P", "LR=5.0", path="exp_child.py").exits(0)
        assert records(base)["train[alpha=1.0]"]["seen"][1] == 5.0

    def test_what_computes_with_it_while_the_file_is_imported_raises(self, base: Lab) -> None:
        base.experiment(
            "from expedition import INHERIT\nEPOCHS = INHERIT\nTWICE = EPOCHS * 2\n"
            'train = experiment.extend("exp_base.py")',
            "exp_child.py",
        )
        base.run(path="exp_child.py").exits(2).says("exp_child.py:4", "TypeError", "'Inherit'")
        assert not (base.path / "results").exists()

    def test_an_axis_is_inherited_point_by_point(self, base: Lab) -> None:
        base.experiment(
            """
            from expedition import INHERIT

            @experiment.extend("exp_base.py")
            def train(e, alpha: float = INHERIT(lambda alpha: alpha * 10)):
                e["seen"] = alpha
            """,
            "exp_child.py",
        )
        base.run(path="exp_child.py").exits(0)
        assert records(base) == {"train[alpha=10.0]": {"seen": 10.0}, "train[alpha=20.0]": {"seen": 20.0}}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('LRR = INHERIT\ntrain = experiment.extend("exp_base.py")', "LRR is INHERIT, but nothing"),
            (
                "@experiment\ndef exp_x(e, x=INHERIT): pass",
                "x is INHERIT, but nothing that the experiment extends",
            ),
            (
                'LR = INHERIT(lambda lr: lr / 0)\ntrain = experiment.extend("exp_base.py")',
                "INHERIT(…) of LR failed on the inherited value 0.1: ZeroDivisionError",
            ),
            (
                'LR = INHERIT(lambda lr: "x")\ntrain = experiment.extend("exp_base.py")',
                "parameter LR must be float, but got 'x'",
            ),
            ('LR = INHERIT(3)\ntrain = experiment.extend("exp_base.py")', "INHERIT takes one function"),
        ],
    )
    def test_what_cannot_be_inherited_is_refused(self, base: Lab, text: str, says: str) -> None:
        base.experiment(f"from expedition import INHERIT\n{text}", "exp_child.py")
        base.refused("exp_child.py", workers=False).says("exp_child.py", says)


class TestMixins:
    def test_variables_are_values_for_what_nobody_assigns(self, base: Lab) -> None:
        base.file("mixins/timing.py", "TIMEOUT: int = 7  # seconds\nEPOCHS: int = 100\n")
        base.experiment(
            """
            experiment.include("mixins/timing.py", "mixins/timing.py")

            @experiment
            def exp_b(e, x=1): e["seen"] = [TIMEOUT, e.EPOCHS]

            child = experiment.extend("exp_base.py")
            """,
            "exp_child.py",
        )
        base.run("-P", "exp_b:TIMEOUT=8", path="exp_child.py").exits(0)
        seen = records(base)
        assert seen["exp_b"] == {"seen": [8, 100]}
        assert seen["child[alpha=1.0]"]["seen"][0] == 3
        about = next(r for r in base.records() if r.meta["experiment"]["name"] == "child").meta["parameters"]
        assert (about["TIMEOUT"]["value"], about["TIMEOUT"]["origin"]) == (7, "mixin timing.py")

    def test_fixtures_and_mixins_of_mixins(self, lab: Lab) -> None:
        lab.file(
            "mixins/inner.py", "import pytest\n@pytest.fixture\ndef clock(): return 'inner'\nINNER = 1\n"
        )
        lab.file(
            "mixins/outer.py",
            "from expedition import experiment\nexperiment.include('inner.py')\nOUTER = 2\n",
        )
        lab.experiment(
            'experiment.include("mixins/outer.py")\n@experiment\ndef exp_a(e, clock): e["seen"] = [clock, INNER, OUTER]'
        )
        lab.run().exits(0)
        assert records(lab)["exp_a"] == {"seen": ["inner", 1, 2]}

    def test_an_option_includes(self, lab: Lab) -> None:
        lab.file("mixins/extra.py", "EXTRA = 5\n")
        lab.experiment("@experiment\ndef exp_a(e): e['seen'] = e.EXTRA", "sub/exp_a.py")
        lab.run("--include", "mixins/extra.py").exits(0)
        assert records(lab)["exp_a"] == {"seen": 5}
        lab.refused("--include", "mixins/extr.py").says("--include: the mixin 'mixins/extr.py' is not there")

    def test_a_variable_of_the_file_includes(self, lab: Lab) -> None:
        note = (
            "from expedition import experiment\n@experiment.hook('load', replace=False)\n"
            "def load_{0}(e): e['seen'] = [*e.get('seen', []), '{0}']\n"
        )
        for name in ("one", "two", "three", "four"):
            lab.file(f"mixins/{name}.py", note.format(name))
        lab.experiment(
            "experiment.include('mixins/one.py')\n__INCLUDE__ = ['mixins/two.py', 'mixins/one.py']\n"
            "@experiment\ndef exp_a(e): e.apply_hook('load')"
        )
        lab.file("sub/exp_b.yml", "extend: ../exp_a.py\nparameters: {__INCLUDE__: ../mixins/three.py}\n")
        lab.run("--include", "mixins/four.py").exits(0)
        assert records(lab) == {
            "exp_a": {"seen": ["one", "two", "four"]},
            "exp_b": {"seen": ["one", "two", "three", "four"]},
        }

    @pytest.mark.parametrize(
        ("value", "says"),
        [
            ("'mixins/nix.py'", "exp_a.py:3: the mixin 'mixins/nix.py' is not there"),
            ("3", "exp_a.py:3: __INCLUDE__ must be the path of a mixin or a list of paths, but got 3"),
            ("['']", "exp_a.py:3: __INCLUDE__ must be the path of a mixin or a list of paths, but got ['']"),
        ],
    )
    def test_a_variable_that_names_no_file_is_refused(self, lab: Lab, value: str, says: str) -> None:
        lab.experiment(f"# __INCLUDE__\n__INCLUDE__ = {value}\n@experiment\ndef exp_a(e): pass")
        lab.refused().says(says)

    def test_hooks_of_one_that_is_included_twice_are_called_once(self, lab: Lab) -> None:
        lab.file(
            "m.py",
            "from expedition import experiment\n@experiment.hook('before_run', replace=False)\n"
            "def count(e): e['calls'] = e.get('calls', 0) + 1\n",
        )
        lab.experiment(
            "experiment.include('m.py')\nexperiment.include('./m.py')\n__INCLUDE__ = 'm.py'\n"
            "@experiment\ndef exp_a(e): pass"
        )
        lab.run("--include", "m.py").exits(0)
        assert lab.record().data == {"calls": 1}


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                "train = experiment.extend('exp_bse.py')",
                "the base 'exp_bse.py' is not there (did you mean 'exp_base.py'",
            ),
            (
                "train = experiment.extend('exp_base.py::exp_tran')",
                "has no experiment 'exp_tran' (did you mean 'exp_train'?)",
            ),
            ("train = experiment.extend('exp_none.py')", "has no experiment to extend"),
            (
                "train = experiment.extend('exp_broken.py')",
                "cannot be imported: ZeroDivisionError: division by zero (line 2)",
            ),
            ("train = experiment.extend('exp_child.py')", "an experiment extends itself"),
            (
                "train = experiment.extend('exp_two.py')",
                "has several experiments; say which, as in 'exp_two.py::exp_x'",
            ),
            (
                "train = experiment.extend('exp_base.py', params={'apha': 1})",
                "'apha', which is no parameter of exp_base.py (did",
            ),
            (
                "EPOCHS = 'many'\ntrain = experiment.extend('exp_base.py')",
                "EPOCHS must be int, but got 'many'",
            ),
            ("train = experiment.extend(3)", "takes the path of an experiment file"),
            (
                "experiment.include('none.py')\ntrain = experiment.extend('exp_base.py')",
                "the mixin 'none.py' is not there",
            ),
            (
                "experiment.include('a.py')\ntrain = experiment.extend('exp_base.py')",
                "in a circle: exp_child.py → a.py → b.py → a.py",
            ),
        ],
    )
    def test_errors_name_file_line_and_remedy(self, base: Lab, text: str, says: str) -> None:
        base.file("exp_none.py", "X = 1")
        base.file("exp_broken.py", "X = 1\n1 / 0")
        base.experiment("@experiment\ndef exp_x(e): pass\n@experiment\ndef exp_y(e): pass", "exp_two.py")
        base.file("a.py", "from expedition import experiment\nexperiment.include('b.py')")
        base.file("b.py", "from expedition import experiment\nexperiment.include('a.py')")
        base.experiment(text, "exp_child.py")
        base.refused("exp_child.py", workers=False).says("exp_child.py", says)

    def test_workers_refuse_alike(self, base: Lab) -> None:
        base.experiment('train = experiment.extend("exp_bse.py")', "exp_child.py")
        base.refused().says("exp_child.py:2: the base 'exp_bse.py'")


class TestWhatIsRecordedOfInherit:
    def test_the_design_has_the_values_of_the_runs(self, base: Lab) -> None:
        base.experiment(
            """
            from expedition import INHERIT
            child = experiment.extend("exp_base.py", params={"alpha": INHERIT(lambda a: 10 * a)})
            """,
            "exp_child.py",
        )
        base.run(path="exp_child.py").exits(0)
        manifest = base.manifest()
        assert manifest["design"] == {"kind": "points", "points": [{"alpha": 10.0}, {"alpha": 20.0}]}
        assert manifest["parameters"]["alpha"]["default"] == 5.0

    def test_points_without_a_name_have_its_inherited_default(self, lab: Lab) -> None:
        lab.experiment(
            """
            from expedition.sweeps import points

            @experiment.sweep(points([{"a": 1.0}, {"b": 2.0}]))
            def exp_base(e, a: float = 0.5, b: float = 0.25): e["seen"] = [a, b]
            """,
            "exp_base.py",
        )
        lab.experiment(
            """
            from expedition import INHERIT
            child = experiment.extend("exp_base.py", params={"a": INHERIT(lambda a: 10 * a)})
            """,
            "exp_child.py",
        )
        lab.run(path="exp_child.py").exits(0)
        assert [record.data["seen"] for record in lab.records()] == [[10.0, 0.25], [5.0, 2.0]]


class TestBasesAreImportedAsPytestDoes:
    @pytest.mark.parametrize(
        "line", ["from lib.near import two", "from .near import two", "from . import near"]
    )
    def test_in_a_package(self, lab: Lab, line: str) -> None:
        lab.file("lib/__init__.py")
        lab.file("lib/near.py", "def two(): return 2")
        call = "near.two" if line.endswith("near") else "two"
        lab.experiment(f'{line}\n@experiment\ndef exp_base(e): e["two"] = {call}()', "lib/exp_base.py")
        lab.experiment('child = experiment.extend("../lib/exp_base.py")', "sub/exp_child.py")
        lab.spawn("--experiments", "sub").exits(0)
        assert lab.record().data == {"two": 2}

    def test_runs_are_the_same_wherever_the_project_lies(self, lab: Lab) -> None:
        kinds = "import enum\nclass Kind(enum.Enum):\n    A = 1\n"
        for place in ("here", "there/deep"):
            lab.file(f"{place}/pytest.ini", "[pytest]\n")
            lab.experiment(
                f"{kinds}KIND = Kind.A\n@experiment\ndef exp_base(e): e['kind'] = KIND",
                f"{place}/exp_base.py",
            )
            lab.experiment('child = experiment.extend("exp_base.py")', f"{place}/exp_child.py")
            lab.spawn("--experiments", f"{place}/exp_child.py", "--archive", "results").exits(0)
        one, other = lab.records()
        assert one.key == other.key
        assert one.path != other.path


class TestOptionsThatNameAFile:
    def test_mean_its_experiment_and_the_base_of_others(self, base: Lab) -> None:
        base.experiment(
            """
            from expedition import INHERIT
            LR = INHERIT(lambda lr: 10 * lr)
            child = experiment.extend("exp_base.py")
            """,
            "exp_child.py",
        )
        base.run("--collect-only", "-P", "exp_base.py:LR=0.5").exits(0).says("LR=0.5,", "LR=5,")
        base.refused("-P", "exp_bas.py:LR=1", workers=False).says("did you mean 'exp_base.py'")


class TestPlaces:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("LR = INHERIT(lambda lr: 1 / 0)\nchild = X", "exp_child.py:4: child: INHERIT(…) of LR failed"),
            ("LR = 'fast'\nchild = X", "exp_child.py:4: child: parameter LR must be float"),
            ("ALPHAS = [INHERIT, 2]\nchild = X", "exp_child.py:4: ALPHAS: INHERIT stands for a whole value"),
            (
                "a = experiment.parametrize('alpha', [INHERIT])(X)",
                "exp_child.py:3: parametrize('alpha', …): INHERIT is no value",
            ),
        ],
    )
    def test_of_python_files(self, base: Lab, text: str, says: str) -> None:
        text = f"from expedition import INHERIT\n{text}".replace("X", 'experiment.extend("exp_base.py")')
        base.experiment(text, "exp_child.py")
        base.refused(workers=False).says(says)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                'parameters:\n  EPOCHS: 1\n  LR: {inherit: "/ 0"}',
                "exp_child.yml:4: exp_child: INHERIT(/ 0) of LR",
            ),
            ("sweep:\n  grid: {alpha: [a]}", "exp_child.yml:2: exp_child: parameter alpha must be float"),
        ],
    )
    def test_of_configs(self, base: Lab, text: str, says: str) -> None:
        base.file("exp_child.yml", f"extend: exp_base.py\n{text}\n")
        base.refused(workers=False).says(says)


def test_a_file_of_another_kind_is_not_executed(lab: Lab) -> None:
    lab.file("notes.txt", "open('executed', 'w')")
    lab.experiment('child = experiment.extend("notes.txt")')
    lab.refused(workers=False).says("exp_a.py:2: the base 'notes.txt' is neither a Python file")
