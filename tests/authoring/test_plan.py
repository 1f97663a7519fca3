"""Plans: order, ids and keys of runs, overrides, and what makes a sweep impossible."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap

import pytest

from expedition.authoring.expressions import compile_expression
from expedition.authoring.identity import folder_name, run_id
from expedition.authoring.overrides import Override
from expedition.authoring.parameters import MISSING
from expedition.authoring.plan import check_overrides
from expedition.errors import ExperimentError


def ids(plan):
    return [run.id for run in plan.runs]


def swept(plan, values, annotation="", *overrides):
    """Plan a sweep of x over the values written in `values`."""
    hint = f": {annotation}" if annotation else ""
    return plan(
        f"""
import enum
from dataclasses import dataclass
from pathlib import Path
import numpy as np

class Color(enum.Enum):
    RED = 1
    BLUE = 2

@dataclass
class Net:
    depth: int

@experiment.parametrize("x", {values})
def exp_a(e, x{hint}): pass
""",
        *overrides,
    )


class TestOrder:
    def test_product_replicates_and_tuples(self, plan):
        made = plan(
            """
            N = 1

            @experiment.replicate(2)
            @experiment.parametrize("a", [1, 2])
            @experiment.parametrize("b,N", [("x", 10), ("y", 20)])
            def exp_a(e, a: int, b: str = "z", c: float = 0.5): pass
            """
        )
        assert ids(made) == [
            f"a={a}-b={b}-N={n}-rep={r}" for a in (1, 2) for b, n in (("x", 10), ("y", 20)) for r in (0, 1)
        ]
        assert [run.index for run in made.runs] == list(range(8))
        assert made.values_of(made.runs[-1]) == {"a": 2, "b": "y", "c": 0.5, "N": 20}
        assert made.origins == {"a": "sweep", "b": "sweep", "N": "sweep", "c": "default"}
        assert len({run.key for run in made.runs}) == 8
        assert made.grid is None

    def test_full_products_know_their_grid(self, plan):
        made = plan(
            """
            @experiment.parametrize("a", [1, 2, 3])
            @experiment.parametrize("b", ["x", "y"])
            @experiment.replicate(4)
            def exp_a(e, a, b): pass
            """
        )
        assert made.grid == (("a", 3), ("b", 2), ("replicate", 4))

    def test_without_a_sweep_there_is_one_run_without_an_id(self, plan):
        made = plan("@experiment\ndef exp_a(e, a=1): pass")
        assert ids(made) == [""]
        assert ids(plan("@experiment.replicate(2)\ndef exp_a(e, a=1): pass")) == ["rep=0", "rep=1"]

    def test_points_that_lack_names_take_the_defaults(self, plan):
        source = """
            from expedition.sweeps import points

            @experiment.sweep(points([{{"a": 1}}, {{"b": 5}}]))
            def exp_a(e, a={a}, b=0): pass
        """
        made = plan(source.format(a=7))
        assert [made.values_of(run) for run in made.runs] == [{"a": 1, "b": 0}, {"a": 7, "b": 5}]
        with pytest.raises(
            ExperimentError, match="exp_a: a point of the sweep gives no a, which has no default"
        ):
            plan(source.format(a=7).replace("a=7", "a"))


class TestIds:
    @pytest.mark.parametrize(
        ("values", "annotation", "wanted"),
        [
            ("[1, 2]", "", ["x=1", "x=2"]),
            ("[1, 2]", "float", ["x=1.0", "x=2.0"]),
            ("[0.1, 1e-05, 1e300, -0.0]", "", ["x=0.1", "x=1e-05", "x=1e+300", "x=-0.0"]),
            ("[0.1 + 0.2, float('inf'), float('nan')]", "", ["x=0.30000000000000004", "x=inf", "x=nan"]),
            ("[None, True]", "", ["x=None", "x=True"]),
            ("['a', 'bad', 'face', 'e5', 'x y', 'a/b', 'a.b', 'ü日本']", "", None),
            ("np.arange(2)", "int", ["x=0", "x=1"]),
            ("np.linspace(0, 1, 3)", "float", ["x=0.0", "x=0.5", "x=1.0"]),
            ("np.linspace(0, 1, 3)", "", ["x=0.0", "x=0.5", "x=1.0"]),
            ("list(Color)", "Color", ["x=RED", "x=BLUE"]),
        ],
    )
    def test_are_plain_where_nobody_could_be_mistaken(self, plan, values, annotation, wanted):
        made = ids(swept(plan, values, annotation))
        assert made == (wanted if wanted is not None else [f"x={v}" for v in ast.literal_eval(values)])

    @pytest.mark.parametrize(
        "text",
        ["", " ", "1", "-1", "1e5", ".5", "0x1f", "1_0", "2j", "None", "null", "~", "true", "FALSE", "nan"],
    )
    def test_texts_that_read_as_something_else_are_quoted(self, plan, text):
        assert ids(swept(plan, f"[{text!r}]")) == [f"x={text!r}"]

    def test_show_neither_the_order_of_a_set_nor_an_address(self, plan):
        (one,), (other,) = (ids(swept(plan, f"[frozenset({values})]")) for values in ("[0, 8]", "[8, 0]"))
        assert one == other
        assert one.startswith("x=0,8~")
        bare = "type('Bare', (), {'__annotations__': {'depth': int}})"
        values = f"[make(depth) for make in [dataclass(repr=False)({bare})] for depth in (1, 2)]"
        first, second = ids(swept(plan, values))
        assert {first[:7], second[:7]} == {"x=Bare~"}
        assert first != second

    def test_are_unique_whatever_the_values(self, plan):
        values = """[
            1, 1.0, True, "1", "1.0", "True", None, "None", (1,), [1], {"a": 1}, b"1", 1j, Path("1"),
            "a=b", "a-b", "a_b", "a]b", "a[b", "a@b", "a\\nb", "a\\x00b", "a::b", "'a'", '"a"', "😀",
            "\\ud800",
            "y" * 500, "y" * 501, "\\u202e", "e\\u0301", "\\u00e9", Color.RED, Net(1), Net(2), np.zeros(2),
            np.float32(0.5), np.int8(7), " ", "  ", ".", "..",
        ]"""
        made = swept(plan, values)
        assert len(set(ids(made))) == len(made.runs) == 42
        assert len({run.key for run in made.runs}) == 42
        for identifier in ids(made):
            assert identifier.isprintable()
            assert not set(identifier.partition("=")[2]) & set("[]@")
            assert identifier.count("=") == 1
            assert len(identifier) < 60
        for sharded in (False, True):
            folders = {folder_name(run.index, run.id, sharded=sharded) for run in made.runs}
            assert len(folders) == 42
            for folder in folders:
                assert not set(folder.replace("000/", "", 1)) & set('/\\<>:"|?*\0\n')
                assert len(folder.encode()) <= 110
                assert folder[-1] not in ". "

    def test_many_parameters_stay_short_and_apart(self, plan):
        names = [f"a_rather_long_parameter_name_{i}" for i in range(12)]
        source = "\n".join(f'@experiment.parametrize("{name}", [0.125, 0.25])' for name in names[:6])
        source += f"\n@experiment.replicate(2)\ndef exp_a(e, {', '.join(names[:6])}): pass"
        made = plan(source)
        assert len(set(ids(made))) == 128
        assert max(map(len, ids(made))) <= 180
        assert all(i.endswith(("-rep=0", "-rep=1")) for i in ids(made))

    def test_do_not_change_when_the_sweep_grows_or_is_reordered(self, plan):
        few = swept(plan, "['a', 3, (1, 2)]")
        many = swept(plan, "[(1, 2), 'b', 3, 'a', None]")
        assert {r.id: r.key for r in few.runs}.items() <= {r.id: r.key for r in many.runs}.items()

    def test_two_values_of_one_look_are_refused(self, plan):
        with pytest.raises(ExperimentError, match=r"both be called \[x=1.0\].*give them one type"):
            swept(plan, "[1.0, np.float64(1.0), np.float32(1.0)]")

    def test_run_id(self):
        assert run_id([("a", "1"), ("b", "x")], None) == "a=1-b=x"
        assert run_id([], 3) == "rep=3"
        assert run_id([], None) == ""


class TestKeys:
    def test_depend_on_what_identifies_a_run(self, plan):
        def key(source="@experiment\ndef exp_a(e, a: float = 1.0, b=2): pass", *overrides, **options):
            return plan(source, *overrides, **options).runs[0].key

        base = key()
        assert len(base) == 64
        assert int(base, 16) >= 0
        assert key() == base
        # The value counts, not where it comes from or in which order arguments stand.
        assert key("@experiment\ndef exp_a(e, a: float = 3.0, b=2): pass", "a=1") == base
        assert key("@experiment\ndef exp_a(e, b=2, a: float = 1): pass") == base
        assert key("@experiment.parametrize('b', [2])\ndef exp_a(e, b, a: float = 1): pass") == base
        assert key("@experiment(name='x', tags=['t'])\ndef exp_a(e, a=1.0, b=2): pass") == base
        different = [
            key("@experiment\ndef exp_a(e, a=1, b=2): pass"),
            key("@experiment\ndef exp_a(e, a=True, b=2): pass"),
            key("@experiment\ndef exp_a(e, a=1.0, b=3): pass"),
            key("@experiment\ndef exp_a(e, a=1.0, b=2, c=None): pass"),
            key("@experiment\ndef exp_b(e, a=1.0, b=2): pass"),
            key(file="exps/exp_b.py"),
            key("N = 1\n@experiment\ndef exp_a(e, a=1.0, b=2): pass"),
        ]
        assert len({base, *different}) == 8
        replicates = plan("@experiment.replicate(2)\ndef exp_a(e, a=1.0, b=2): pass").runs
        assert replicates[0].key == base  # more replicates leave the first what it was
        assert replicates[1].key != base

    def test_are_the_same_in_every_process(self, tmp_path):
        program = textwrap.dedent("""
            from pathlib import Path
            from expedition import experiment
            from expedition.authoring.lineage import lineage_of
            from expedition.authoring.plan import plan_sweep
            from expedition.sweeps import random, uniform, choice, latin_hypercube

            @experiment.parametrize("a", [0.1, (1, "x"), {"k": 1, "b": 2}])
            @experiment.sweep(random(2, seed=1, u=uniform(0, 1), c=choice(["p", "q"])))
            @experiment.sweep(latin_hypercube(2, seed=3, v=uniform(0, 1)))
            def exp_a(e, a, u, c, v, d={"z": 1, "y": {2, 3, "q"}}): pass

            lineage = lineage_of(exp_a, {}, path=Path("exp_a.py"), text="")
            plan = plan_sweep(lineage, file="exp_a.py", namespace="a")
            print(plan.digest(), plan.runs[0].key, [run.id for run in plan.runs])
        """)
        answers = [
            subprocess.run(
                [sys.executable, "-c", program],
                cwd=tmp_path,
                env={"PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("0", "1")
        ]
        assert answers[0] == answers[1]
        assert len(answers[0]) > 100


class TestOverrides:
    SOURCE = """
        N: int = 3

        @experiment.parametrize("a", [1, 2])
        @experiment.parametrize("b,c", [("x", 10), ("y", 10)])
        def exp_a(e, a: int, b: str, c: int, d: float = 0.5): pass
    """

    def test_a_swept_parameter_collapses_its_axis(self, plan):
        made = plan(self.SOURCE, "a=7", "d=2", "N=9")
        assert ids(made) == ["b=x-c=10", "b=y-c=10"]
        assert made.swept == ("b", "c")
        assert made.fixed == {"a": 7, "d": 2.0, "N": 9}
        assert {n for n, origin in made.origins.items() if origin == "-P"} == {"a", "d", "N"}
        assert ids(plan(self.SOURCE, "b=z")) == ["a=1-c=10", "a=2-c=10"]
        assert ids(plan(self.SOURCE, "b=z", "c=1", "a=1")) == [""]

    def test_the_last_one_wins(self, plan):
        file = Override(None, "d", "p.yml", value=8)
        assert plan(self.SOURCE, file, "d=2").fixed["d"] == 2.0
        assert plan(self.SOURCE, "d=2", "d=3").fixed["d"] == 3.0
        assert (plan(self.SOURCE, file).fixed["d"], plan(self.SOURCE, file).origins["d"]) == (8.0, "p.yml")

    def test_a_value_of_a_file_is_typed_strictly(self, plan):
        assert type(plan(self.SOURCE, Override(None, "d", "p.yml", value=8)).fixed["d"]) is float
        with pytest.raises(ExperimentError, match=r"d must be float, but got '8' .* from p\.yml"):
            plan(self.SOURCE, Override(None, "d", "p.yml", value="8"))
        with pytest.raises(ExperimentError, match=r"b must be str, but got 3 \(int\) from p.yml"):
            plan(self.SOURCE, Override(None, "b", "p.yml", value=3))

    @pytest.mark.parametrize(
        ("target", "concerned"),
        [("exp_a", True), ("exps/exp_a.py", True), ("exp_b", False), ("a", False)],
    )
    def test_for_one_experiment(self, plan, target, concerned):
        made = plan(self.SOURCE, f"{target}:d=2")
        assert (made.fixed["d"] == 2.0) is concerned
        override = Override.from_option(f"{target}:d=2")
        assert override.text == "2"
        assert override.value is MISSING
        if concerned:
            check_overrides([override], [made])
        else:
            with pytest.raises(ExperimentError, match=f"no collected experiment is called '{target}'"):
                check_overrides([override], [made])

    def test_unknown_names(self, plan):
        made = plan(self.SOURCE)
        with pytest.raises(
            ExperimentError, match=r"-P M: exp_a has no parameter 'M'.*parameters: N, a, b, c, d"
        ):
            check_overrides([Override.from_option("M=1")], [made])
        made = plan("@experiment\ndef exp_a(e, alpha=1): pass")
        with pytest.raises(ExperimentError, match="did you mean 'alpha'"):
            check_overrides([Override.from_option("alhpa=1")], [made])


class TestRefusals:
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("@experiment.parametrize('z', [1])\ndef exp_a(e, a=1): pass", "the sweep names 'z'"),
            ("@experiment.parametrize('alhpa', [1])\ndef exp_a(e, alpha=1): pass", "did you mean 'alpha'?"),
            (
                "from math import pi as PI\n@experiment.parametrize('PI', [1])\ndef exp_a(e): pass",
                "names 'PI'",
            ),
            ("@experiment.parametrize('e', [1])\ndef exp_a(e): pass", "the sweep names 'e'"),
            ("@experiment.parametrize('a', ['x'])\ndef exp_a(e, a: int): pass", "a must be int, but got 'x'"),
            (
                "@experiment.parametrize('a', [1])\n@experiment.parametrize('a', [2])\ndef exp_a(e, a): pass",
                "share 'a'",
            ),
            (
                "from expedition.sweeps import zipped\n@experiment.sweep(zipped(a=[1, 2], b=[1]))\n"
                "def exp_a(e, a, b): pass",
                "a has 2, b has 1",
            ),
            (
                "from expedition.sweeps import grid\n"
                "@experiment.sweep(grid(a=[1]).where(lambda p: False))\ndef exp_a(e, a): pass",
                "its sweep is empty",
            ),
        ],
    )
    def test_sweeps(self, plan, source, message):
        with pytest.raises(ExperimentError) as caught:
            plan(source)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        "values", ["{1, 2}", "frozenset([1])", "{1: 2}", "5", "'ab'", "[]", "[object()]"]
    )
    def test_values_that_are_no_list(self, plan, values):
        with pytest.raises(ExperimentError):
            swept(plan, values)


class TestSelection:
    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("a < 2", ["a=1-rep=0", "a=1-rep=1"]),
            ("rep == 1", ["a=1-rep=1", "a=2-rep=1"]),
            ("replicate == 1 and params.a == 2", ["a=2-rep=1"]),
            ("d == 0.5 and N in [3]", ["a=1-rep=0", "a=1-rep=1", "a=2-rep=0", "a=2-rep=1"]),
            ("a > 5", []),
        ],
    )
    def test_where(self, plan, text, wanted):
        made = plan(
            """
            N = 3

            @experiment.replicate(2)
            @experiment.parametrize("a", [1, 2])
            def exp_a(e, a, d=0.5): pass
            """
        )
        made.select(compile_expression(text))
        assert [made.runs[i].id for i in sorted(made.selected)] == wanted
        made.select(None)
        assert len(made.selected) == 4


class TestEqualPoints:
    def test_points_that_become_one_are_refused(self, plan) -> None:
        with pytest.raises(ExperimentError, match=r"two points of the sweep are one"):
            plan("""
            @experiment.parametrize("a", [1, 1.0])
            def exp_a(e, a: float = 0.0): ...
            """)
