"""Growth of a plan: the ids, keys and types of points that come after the design."""

from __future__ import annotations

import pytest

from expedition.authoring.growth import PlanGrowth
from expedition.errors import ExperimentError

TEXT = """
N: int = 3

@experiment.replicate(2)
@experiment.parametrize("a", {values})
@experiment.parametrize("b", ["x"])
def exp_a(e, a: float, b: str = "y", c: int = 5, d=None): pass
"""


def grown(plan, *points, overrides=(), values="[1, 2]"):
    made = plan(TEXT.format(values=values), *overrides)
    growth = PlanGrowth(made)
    runs = growth.runs_of(points, origin="a test")
    assert runs == growth.runs_of(points, origin="a test")  # nothing was added
    growth.add(runs)
    assert growth.runs_of(points, origin="a test") == []
    return made, runs


def test_runs_are_those_of_a_larger_design(plan):
    made, runs = grown(plan, {"a": 3, "b": "x"}, {"a": 1, "b": "x"}, {"a": 4.0, "b": "x"}, {"a": 3, "b": "x"})
    whole = plan(TEXT.format(values="[1, 2, 3, 4]"))
    assert [(r.index, r.id, r.key, r.point, r.replicate) for r in made.runs] == [
        (r.index, r.id, r.key, r.point, r.replicate) for r in whole.runs
    ]
    assert [r.origin for r in made.runs] == ["sweep"] * 4 + ["expansion"] * 4
    assert [type(r.point["a"]) for r in runs] == [float] * 4


def test_ids_name_what_is_the_points_own(plan):
    _, runs = grown(
        plan, {"a": 3, "c": 5}, {"N": 9, "c": 6, "a": 1, "b": "x"}, {"a": 1, "d": (1, 2), "b": "x"}
    )
    assert [r.id for r in runs[::2]] == [
        "a=3.0-b=y-rep=0",
        "a=1.0-b=x-c=6-N=9-rep=0",
        runs[4].id,
    ]
    assert runs[4].id.startswith("a=1.0-b=x-d=1, 2~")
    assert runs[2].point == {"a": 1.0, "b": "x", "c": 6, "N": 9}


def test_values_of_options_hold(plan):
    made, runs = grown(plan, {"a": 7, "b": "x"}, {"a": 1, "b": "z", "c": 8}, overrides=("a=1", "c=0"))
    assert [r.id for r in runs] == ["b=z-rep=0", "b=z-rep=1"]
    assert made.values_of(runs[0]) == {"a": 1.0, "b": "z", "c": 0, "d": None, "N": 3}


def test_more_replicates_are_new(plan):
    made, _ = grown(plan, {"a": 3, "b": "x"})
    assert [r.id for r in made.runs[4:]] == ["a=3.0-b=x-rep=0", "a=3.0-b=x-rep=1"]
    assert len({r.key for r in made.runs}) == 6


def test_an_experiment_without_a_sweep(plan):
    made = plan("@experiment\ndef exp_a(e, a: int = 1, b: int = 2): pass")
    growth = PlanGrowth(made)
    runs = growth.runs_of([{"a": 1}, {}, {"a": 2}, {"b": 3, "a": 1}], origin="a test")
    assert [(r.index, r.id) for r in runs] == [(1, "a=2"), (2, "b=3")]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"aa": 1}, r"exp_a: a test names 'aa', which is no parameter \(did you mean 'a'\?\)"),
        ({"e": 1}, "names 'e', which is no parameter"),
        ({"a": "x"}, r"parameter a must be float, but got 'x' \(str\) from a test"),
        ({"b": "x"}, "a point from a test gives no a, which has no default"),
        ({"a": 1, "d": open}, "parameter d: a value of type"),
    ],
)
def test_refusals(plan, point, message):
    growth = PlanGrowth(plan(TEXT.format(values="[1, 2]")))
    with pytest.raises(ExperimentError, match=message):
        growth.runs_of([point], origin="a test")
    assert len(growth.plan.runs) == 4


def test_points_that_would_have_one_name_are_refused(plan):
    import numpy as np

    growth = PlanGrowth(plan("@experiment.parametrize('a', [1, 2])\ndef exp_a(e, a): pass"))
    with pytest.raises(ExperimentError, match=r"two points of the sweep would both be called \[a=1\]"):
        growth.runs_of([{"a": np.int64(1)}], origin="a test")
    with pytest.raises(ExperimentError, match=r"both be called \[a=3\].*give them one type"):
        growth.runs_of([{"a": 3}, {"a": np.int64(3)}], origin="a test")
