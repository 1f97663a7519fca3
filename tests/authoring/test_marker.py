"""The decorators: what they accept, what they leave on the function, and what they refuse at once."""

from __future__ import annotations

import pytest

from expedition import ExpeditionError, experiment
from expedition.authoring.after_sweep import after_sweep_of, find_after_sweep
from expedition.authoring.specs import spec_of
from expedition.errors import ExperimentError
from expedition.sweeps import grid, random, uniform


def function(e, alpha=1.0):
    e["alpha"] = alpha
    return e


def test_every_form_returns_the_function_itself():
    forms = [
        experiment,
        experiment(),
        experiment(name="n", namespace="a/b", tags=["t"]),
        experiment.parametrize("alpha", [1, 2]),
        experiment.sweep(grid(alpha=[1, 2])),
        experiment.replicate(3),
    ]
    for form in forms:

        def exp_own(e, alpha=1.0):
            """Doc."""
            return (e, alpha)

        assert form(exp_own) is exp_own
        assert exp_own("e") == ("e", 1.0)
        assert exp_own.__doc__ == "Doc."
        assert spec_of(exp_own) is not None
    assert spec_of(function) is None
    assert spec_of(experiment) is None
    assert spec_of(type("Like", (), {"__expedition__": 1})()) is None


def test_stacked_decorators_are_one_spec_outermost_first():
    @experiment(tags=["outer"])
    @experiment.replicate(2, paired=True)
    @experiment.parametrize("a", [1, 2])
    @experiment.sweep(random(2, seed=0, u=uniform(0, 1)))
    @experiment.parametrize("b,c", [(1, 2), (3, 4)])
    @experiment(name="named", namespace="x/y", tags=["inner"])
    def exp_a(e, a, b, c, u):
        pass

    spec = spec_of(exp_a)
    assert (spec.name, spec.namespace, set(spec.tags)) == ("named", "x/y", {"inner", "outer"})
    assert (spec.replicates, spec.paired) == (2, True)
    assert spec.design().names == ("a", "u", "b", "c")
    assert [(p["a"], p["b"]) for p in spec.design()] == [
        (a, b) for a in (1, 2) for _ in range(2) for b in (1, 3)
    ]


def test_a_generator_of_values_is_used_up_once():
    decorate = experiment.parametrize("a", (i * i for i in range(3)))

    @decorate
    def one(e, a):
        pass

    @decorate
    def two(e, a):
        pass

    assert [p["a"] for p in spec_of(one).design()] == [p["a"] for p in spec_of(two).design()] == [0, 1, 4]


REFUSED = [
    (lambda: experiment(int), "marks plain functions"),
    (lambda: experiment("name"), "marks plain functions"),
    (lambda: experiment.replicate(2)(print), "marks plain functions"),
    (lambda: experiment.replicate(0), "at least 1"),
    (lambda: experiment.replicate(True), "at least 1"),
    (lambda: experiment.replicate(2.0), "at least 1"),
    (lambda: experiment.replicate(function), "at least 1"),
    (lambda: experiment.sweep([{"a": 1}]), "takes a design"),
    (lambda: experiment(tags="paper"), "list of texts"),
    (lambda: experiment(tags=[1]), "list of texts"),
    (lambda: experiment(name=3), "text of one line"),
    (lambda: experiment(name=""), "text of one line"),
    (lambda: experiment(name="a\nb"), "text of one line"),
    (lambda: experiment.parametrize("a", [1, 1]), "listed twice"),
    (lambda: experiment.parametrize("a", []), "empty"),
    (lambda: experiment.parametrize("a", {1, 2}), "no order"),
    (lambda: experiment.parametrize("a", "abc"), "put it into a list"),
    (lambda: experiment.parametrize("a,b", [(1, 2), (3,)]), "item 1 is (3,)"),
    (lambda: experiment.parametrize("a,a", [(1, 2)]), "given twice"),
    (lambda: experiment.parametrize("a b", [1]), "cannot be the name"),
    (lambda: experiment.parametrize("rep", [1]), "@experiment.replicate(n)"),
    (lambda: experiment.parametrize("a", [pytest.param(1)]), "pytest.param()"),
    (lambda: experiment.parametrize("a", [object()]), "cannot be the value"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_is_refused(make, message):
    with pytest.raises(ExperimentError) as caught:
        make()
    assert message in str(caught.value)
    assert isinstance(caught.value, ExpeditionError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "namespace",
    ["", "/a", "a/", "a//b", ".", "..", "a/..", "../a", ".a", "a/.b", "a\\b", "c:a", "a\nb", 3, b"a"],
)
def test_namespaces_stay_inside_of_the_archive(namespace):
    with pytest.raises(ExperimentError, match="namespace"):
        experiment(namespace=namespace)


@pytest.mark.parametrize("namespace", ["a", "a/b/c", "ü/日本", "a.b", "with space", "-x"])
def test_good_namespaces(namespace):
    assert spec_of(experiment(namespace=namespace)(lambda e: None)).namespace == namespace


def test_async_and_generator_functions():
    async def coroutine(e):
        pass

    def generator(e):
        yield

    async def both(e):
        yield

    for bad in (coroutine, generator, both):
        with pytest.raises(ExperimentError, match=f"{bad.__name__}: an experiment must be a plain function"):
            experiment(bad)


def test_two_counts_of_replicates():
    with pytest.raises(ExperimentError, match="stands twice"):

        @experiment.replicate(2)
        @experiment.replicate(3)
        def exp_a(e):
            pass


def test_after_sweep_returns_the_function_and_keeps_what_was_said():
    @experiment.after_sweep("exp_a")
    @experiment.after_sweep("exp_b")
    def own(traj, e, tolerance=0.1):
        return traj, e

    @experiment.after_sweep
    def common(traj):
        return traj

    assert own(1, 2) == (1, 2)
    assert common(3) == 3
    assert (after_sweep_of(own).experiments, after_sweep_of(own).run_at) == (("exp_a", "exp_b"), 1)
    assert (after_sweep_of(common).experiments, after_sweep_of(common).run_at) == ((), None)
    assert after_sweep_of(function) is None
    module = {"__name__": __name__, "own": own, "common": common}
    assert find_after_sweep(module, "exp_a") is own
    assert find_after_sweep(module, "named", "exp_b") is own
    assert find_after_sweep(module, "exp_c") is common
    assert find_after_sweep({**module, "__name__": "elsewhere"}, "exp_a") is None


def _no_argument(): ...
def _three(traj, e, more): ...
def _keyword(traj, *, e): ...
def _many(*args): ...
async def _later(traj): ...


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (_no_argument, "takes the trajectory, and perhaps the run"),
        (_three, r"def _three\(traj\) or def _three\(traj, e\)"),
        (_keyword, "takes the trajectory"),
        (_many, "takes the trajectory"),
        (_later, "must be a plain function"),
        (print, "marks plain functions"),
        (5, "marks plain functions"),
        ("", "needs the name of an experiment"),
    ],
)
def test_after_sweep_takes_plain_functions_of_one_or_two_arguments(given, message):
    with pytest.raises(ExperimentError, match=message):
        experiment.after_sweep(given)


def test_a_function_is_an_experiment_or_comes_after_one():
    def both(traj):
        pass

    with pytest.raises(ExperimentError, match="is an experiment already"):
        experiment.after_sweep(experiment(both))

    def other(traj):
        pass

    with pytest.raises(ExperimentError, match="called after a sweep already, and cannot be an experiment"):
        experiment(experiment.after_sweep(other))
