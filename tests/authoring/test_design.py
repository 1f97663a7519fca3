from __future__ import annotations

import dataclasses
import itertools
import json
import math
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from expedition import sweeps
from expedition.authoring.design import RESERVED_NAMES, from_parametrize
from expedition.errors import ExperimentError
from expedition.sweeps import (
    Design,
    choice,
    grid,
    integers,
    latin_hypercube,
    loguniform,
    normal,
    points,
    random,
    sobol,
    uniform,
    zipped,
)


def numbered(cases: list[tuple[object, ...]]) -> list[object]:
    """Parameter sets with ids by position: functions have no names, and a remedy serves several mistakes."""
    return [pytest.param(*case, id=str(number)) for number, case in enumerate(cases)]


def key(point: dict[str, object]) -> tuple[object, ...]:
    """An identity of points that is independent of the codecs."""
    return tuple(sorted((name, type(value).__name__, repr(value)) for name, value in point.items()))


# --- grid, zipped, points --------------------------------------------------------------------------------

_values = st.lists(
    st.integers(-5, 5) | st.floats(-5, 5) | st.booleans() | st.none() | st.text(max_size=3),
    min_size=1,
    max_size=4,
    unique_by=lambda value: (type(value), repr(value)),
)
_lists = st.dictionaries(st.sampled_from(["a", "b", "LR", "größe"]), _values, min_size=1, max_size=3)


@given(_lists)
def test_grid_is_the_product_in_order(lists: dict[str, list[object]]) -> None:
    design = grid(**lists)
    expected = [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    assert list(map(key, design)) == list(map(key, expected))
    assert len(design) == len(expected)
    assert design.names == tuple(lists)
    assert all(list(point) == list(lists) for point in design)


@given(_lists, _lists)
def test_product_of_designs(left: dict[str, list[object]], right: dict[str, list[object]]) -> None:
    right = {f"{name}_": values for name, values in right.items()}
    design = grid(**left) * grid(**right)
    assert list(map(key, design)) == list(map(key, grid(**left, **right)))
    assert design.names == (*left, *right)


@given(_lists, _lists)
def test_sum_of_designs(left: dict[str, list[object]], right: dict[str, list[object]]) -> None:
    design = grid(**left) + grid(**right)
    expected = list(dict.fromkeys([*map(key, grid(**left)), *map(key, grid(**right))]))
    assert list(map(key, design)) == expected
    assert design.names == tuple(dict.fromkeys((*left, *right)))


@given(_lists, st.integers(0, 3))
def test_where_keeps_the_order(lists: dict[str, list[object]], modulus: int) -> None:
    def keep(point: dict[str, object]) -> bool:
        return len(repr(key(point))) % 4 != modulus

    assert list(map(key, grid(**lists).where(keep))) == [key(p) for p in grid(**lists) if keep(p)]


def test_zipped() -> None:
    design = zipped(a=[1, 2, 1], b=("x", "y", "z"))
    assert list(design) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 1, "b": "z"}]
    assert len(design) == 3


def test_points_may_lack_names() -> None:
    design = points([{"b": 1}, {"a": 2, "b": 3}, {}])
    assert list(design) == [{"b": 1}, {"b": 3, "a": 2}, {}]
    assert design.names == ("b", "a")
    both = design * grid(c=[0, 1])
    assert list(both)[:3] == [{"b": 1, "c": 0}, {"b": 1, "c": 1}, {"b": 3, "a": 2, "c": 0}]
    assert len(both) == 6
    added = grid(a=[1]) + grid(b=[1])
    assert list(added) == [{"a": 1}, {"b": 1}]
    assert list(points(types.MappingProxyType({"a": i}) for i in range(2))) == [{"a": 0}, {"a": 1}]


def test_values_are_told_apart_by_type() -> None:
    assert len(grid(a=[1, 1.0, True, "1", None])) == 5
    assert len(grid(a=[1]) + grid(a=[1.0]) + grid(a=[1])) == 2
    assert len(grid(a=[0.0, -0.0])) == 2


def test_repr_and_identity() -> None:
    design = grid(alpha=[1, 2, 3, 4], beta=[1, 2, 3])
    assert repr(design) == "Design of 12 points over alpha, beta"
    assert repr(points([{"a": 1}])) == "Design of 1 point over a"
    assert repr(points([{}])) == "Design of 1 point"
    assert design != grid(alpha=[1, 2, 3, 4], beta=[1, 2, 3])
    assert len({design, design}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        design.names = ()  # type: ignore[misc]


def test_iteration_gives_fresh_dicts_each_time() -> None:
    design = grid(a=[1, 2])
    for point in design:
        point["a"] = 0
    assert list(design) == [{"a": 1}, {"a": 2}]
    kept = design.where(lambda p: p.update(a=7) or True)  # a predicate cannot change them either
    assert list(kept) == [{"a": 1}, {"a": 2}]


def test_generators_are_taken_once_and_later_changes_are_not_seen() -> None:
    values = [1, 2]
    design = grid(a=values, b=(i for i in range(2)), c={"x": 1, "y": 2}.keys())
    values.append(3)
    assert len(list(design)) == len(list(design)) == 8


def test_arrays_become_builtins() -> None:
    design = grid(
        a=np.linspace(0, 1, 3), b=np.array([True]), c=np.array(["x"]), d=np.arange(2, dtype=np.int8)
    )
    assert next(iter(design)) == {"a": 0.0, "b": True, "c": "x", "d": 0}
    assert {type(value) for value in next(iter(design)).values()} == {float, bool, str, int}
    assert choice(np.array([1, 2])).options == (1, 2)
    assert type(choice(np.array([1, 2])).options[0]) is int
    moments = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[ns]")
    assert [type(p["t"]) for p in grid(t=moments)] == [np.datetime64] * 2  # and not bare integers


def test_the_product_of_long_designs_stays_small() -> None:
    side = grid(a=range(10_000))
    huge = side * grid(b=range(10_000)) * grid(c=range(10_000))
    assert len(huge) == 10**12
    assert list(itertools.islice(huge, 2)) == [{"a": 0, "b": 0, "c": 0}, {"a": 0, "b": 0, "c": 1}]
    assert repr(huge) == "Design of 1000000000000 points over a, b, c"


def test_where_may_keep_nothing() -> None:
    nothing = grid(a=[1, 2]).where(lambda p: p["a"] > 5)
    assert len(nothing) == 0
    assert list(nothing) == []
    assert nothing.names == ("a",)
    assert list(nothing + grid(a=[3])) == [{"a": 3}]
    assert list(nothing * grid(b=[3])) == []


@pytest.mark.parametrize(
    ("make", "words"),
    numbered(
        [
            (lambda: grid(), "grid() needs at least one parameter"),
            (lambda: zipped(), "zipped() needs at least one parameter"),
            (lambda: grid(a=[]), "grid(a=…): the list of values is empty"),
            (lambda: grid(a=np.array([])), "the list of values is empty"),
            (lambda: points([]), "points(): the list of values is empty"),
            (lambda: grid(a={1, 2}), "use a list"),
            (lambda: grid(a=frozenset({1})), "use a list"),
            (lambda: choice({1, 2}), "choice(): a set has no order"),
            (lambda: grid(a={"x": 1}), "a dict is no list"),
            (lambda: grid(a="abc"), "['abc']"),
            (lambda: grid(a=b"abc"), "[b'abc']"),
            (lambda: grid(a=3), "write [3]"),
            (lambda: choice("abc"), "single value"),
            (lambda: choice([]), "empty"),
            (lambda: grid(a=uniform(0, 1)), "random(n, …)"),
            (lambda: grid(a=np.zeros((2, 2))), "2 dimensions"),
            (lambda: grid(a=np.array(1.0)), "0 dimensions"),
            (lambda: zipped(a=[1, 2], b=[1], c=[3]), "a has 2, b has 1, c has 1"),
            (lambda: grid(a=[1, 2, 1]), "{'a': 1} is listed twice"),
            (lambda: grid(a=[math.nan, math.nan]), "listed twice"),
            (lambda: zipped(a=[1, 1], b=[2, 2]), "@experiment.replicate(n)"),
            (lambda: points([{"a": 1, "b": 2}, {"b": 2, "a": 1}]), "listed twice"),
            (lambda: points([{}, {}]), "the point {} is listed twice"),
            (lambda: points([(1, 2)]), "item 0 is (1, 2); each must be a dict"),
            (lambda: points({"a": [1]}), "a dict is no list"),
            (lambda: points([{1: 2}]), "1 cannot be the name"),
            (lambda: points([{"a b": 2}]), "'a b' cannot be the name"),
            (lambda: grid(**{"a.b": [1]}), "'a.b' cannot be the name"),
            (lambda: grid(**{"lambda": [1]}), "'lambda' cannot be the name"),
            (lambda: random(2, **{"": uniform(0, 1)}), "'' cannot be the name"),
            (lambda: grid(rep=[1]), "@experiment.replicate(n)"),
            (lambda: grid(a=[1]) * grid(a=[2]), "share 'a'"),
            (lambda: grid(a=[1], b=[1], c=[1]) * grid(c=[2], b=[2]), "share 'b', 'c'"),
            (
                lambda: math.prod([grid(**{f"p{i}": range(1000)}) for i in range(7)], start=points([{}])),
                "too large",
            ),
            (lambda: grid(a=[object()]), "cannot be the value of a parameter"),
            (lambda: grid(a=[1]).where(True), "give a function"),
            (lambda: grid(a=[1]).where(lambda p: p["b"]), "KeyError: 'b' at the point {'a': 1}"),
            (lambda: grid(a=[1]).where(lambda p: np.zeros(2)), "ValueError"),
            (lambda: grid(a=itertools.islice(itertools.count(), 10_000_001)), "endless generator"),
        ]
    ),
)
def test_a_bad_design_is_refused_with_a_remedy(make, words: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        make()
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_reserved_names(name: str) -> None:
    for make in (grid, zipped):
        with pytest.raises(ExperimentError, match=f"'{name}' is a reserved name"):
            make(**{name: [1]})
    for make in (random, sobol, latin_hypercube):
        with pytest.raises(ExperimentError, match=f"'{name}' is a reserved name"):
            make(2, **{name: uniform(0, 1)})
    for made in (lambda: points([{name: 1}]), lambda: from_parametrize(name, [1])):
        with pytest.raises(ExperimentError, match=f"'{name}' is a reserved name"):
            made()


@pytest.mark.parametrize("other", [3, None, [{"a": 1}]])
def test_operators_are_for_designs(other: object) -> None:
    with pytest.raises(TypeError):
        grid(a=[1]) * other  # type: ignore[operator]
    with pytest.raises(TypeError):
        grid(a=[1]) + other  # type: ignore[operator]


# --- describe --------------------------------------------------------------------------------------------


def test_describe_is_json_of_how_it_was_made() -> None:
    first = grid(a=[1, 2]) * zipped(b=[1.5, None], c=["x", "y"])
    second = first * random(2, seed=3, d=uniform(0, 1), e=choice(["u", "v", (1, 2)]))
    described = second.describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert [part["kind"] for part in described["of"]] == ["grid", "zipped", "random"]  # type: ignore[attr-defined]
    assert described["of"][0] == {"kind": "grid", "parameters": {"a": [1, 2]}}  # type: ignore[index]
    drawn = described["of"][2]  # type: ignore[index]
    assert (drawn["n"], drawn["seed"], drawn["points"]) == (2, 3, 2)
    assert drawn["parameters"]["d"] == {"distribution": "uniform", "low": 0.0, "high": 1.0}
    summed = (grid(a=[1]) + grid(a=[2]) + points([{"a": 3}])).where(lambda p: p["a"] > 1).describe()
    assert summed["kind"] == "where"
    assert summed["points"] == 2
    assert [part["kind"] for part in summed["of"]["of"]] == ["grid", "grid", "points"]  # type: ignore[index]
    json.dumps(summed, allow_nan=False)
    json.dumps(grid(a=[math.nan, math.inf, b"x", 1j, Path("p")]).describe(), allow_nan=False)


def test_describe_has_no_address() -> None:
    class Keep:
        def __call__(self, point: dict[str, object]) -> bool:
            return True

    assert "0x" not in json.dumps(grid(a=[1]).where(Keep()).describe())


# --- distributions ---------------------------------------------------------------------------------------

_u = st.floats(0, 1)
_bounds = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).filter(lambda b: b[0] < b[1])


@given(_bounds, _u)
def test_uniform_is_scipys(bounds: tuple[float, float], u: float) -> None:
    low, high = bounds
    expected = scipy.stats.uniform(low, high - low).ppf(u)
    assert uniform(low, high).ppf(u) == pytest.approx(expected, rel=1e-12, abs=1e-9)
    assert low <= uniform(low, high).ppf(u) <= high


@given(st.floats(1e-8, 1e3), st.floats(1.001, 1e6), _u)
def test_loguniform_is_scipys(low: float, factor: float, u: float) -> None:
    high = low * factor
    assert loguniform(low, high).ppf(u) == pytest.approx(scipy.stats.loguniform(low, high).ppf(u), rel=1e-9)
    assert low <= loguniform(low, high).ppf(u) <= high
    assert (loguniform(low, high).ppf(0), loguniform(low, high).ppf(1)) == (low, high)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-12, 1 - 1e-12))
def test_normal_is_scipys(mean: float, std: float, u: float) -> None:
    assert normal(mean, std).ppf(u) == pytest.approx(scipy.stats.norm(mean, std).ppf(u), rel=1e-9, abs=1e-9)


@given(st.integers(-50, 50), st.integers(1, 60), st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
def test_integers_are_scipys(low: int, count: int, u: float) -> None:
    # scipy's quantile is the smallest k with P(X <= k) >= u, ours takes u in [k, k+1)/n: equal inside a step
    if abs(u * count - round(u * count)) > 1e-9:
        expected = scipy.stats.randint(low, low + count).ppf(u)
        assert integers(low, low + count).ppf(u) == expected
        assert integers(low, low + count - 1, endpoint=True).ppf(u) == expected


def test_extremes_are_finite_and_inside() -> None:
    for u in (0, 0.0, 5e-324, 0.5, 1 - 2**-53, 1.0, 1):
        assert math.isfinite(normal(0, 1).ppf(u))
        assert math.isfinite(uniform(-1.7e308, 1.7e308).ppf(u))
        assert 5e-324 <= loguniform(5e-324, 1.7e308).ppf(u) <= 1.7e308
        assert integers(0, 3).ppf(u) in range(3)
        assert 0 <= integers(0, 10**400).ppf(u) < 10**400
        assert choice(["a", "b"]).ppf(u) in {"a", "b"}
    assert integers(5, 6).ppf(1.0) == 5
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ExperimentError, match="from 0 to 1"):
            uniform(0, 1).ppf(bad)


def test_values_are_builtins_and_choice_gives_the_object() -> None:
    option = [1, 2]
    assert type(uniform(np.float32(0), 1).ppf(np.float64(0.5))) is float
    assert type(loguniform(1, 10).ppf(0)) is float
    assert type(normal(0, 1).ppf(0.5)) is float
    assert type(integers(np.int64(0), np.int8(4)).ppf(0.5)) is int
    assert choice([option]).ppf(0.3) is option


def test_distributions_are_frozen_and_described() -> None:
    every = [uniform(0, 1), loguniform(1, 2), integers(0, 2, endpoint=True), choice([1, "x"]), normal(0, 1)]
    for distribution in every:
        assert json.loads(json.dumps(distribution.describe())) == distribution.describe()
        field = dataclasses.fields(distribution)[0].name  # type: ignore[arg-type]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(distribution, field, 0)
    assert uniform(0, 1) == uniform(0.0, 1.0)
    assert integers(0, 2).describe() == {"distribution": "integers", "low": 0, "high": 2, "endpoint": False}


@pytest.mark.parametrize(
    ("make", "words"),
    numbered(
        [
            (lambda: uniform(1, 1), "low must be less than high"),
            (lambda: uniform(2, 1), "swap them"),
            (lambda: uniform(0, math.inf), "finite"),
            (lambda: uniform(math.nan, 1), "finite"),
            (lambda: uniform("0", 1), "must be a number"),
            (lambda: uniform(False, 1), "must be a number"),
            (lambda: uniform(0, 10**400), "finite"),
            (lambda: loguniform(0, 1), "must be above 0"),
            (lambda: loguniform(-1, 1), "must be above 0"),
            (lambda: loguniform(2, 1), "low must be less than high"),
            (lambda: integers(3, 3), "endpoint=True"),
            (lambda: integers(4, 3, endpoint=True), "no such integer"),
            (lambda: integers(0, 1.5), "use uniform()"),
            (lambda: integers(True, 3), "must be an integer"),
            (lambda: normal(0, 0), "std must be above 0"),
            (lambda: normal(0, -1), "std must be above 0"),
            (lambda: normal(None, 1), "must be a number"),
        ]
    ),
)
def test_bad_distributions(make, words: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        make()
    assert words in str(caught.value)


# --- sampled designs -------------------------------------------------------------------------------------

SAMPLERS = [random, latin_hypercube, sobol]


@pytest.mark.parametrize("make", SAMPLERS)
def test_sampled_designs_are_deterministic_and_seeded(make) -> None:
    one = list(make(20, seed=1, a=uniform(0, 1), b=integers(0, 1000)))
    assert one == list(make(20, seed=1, a=uniform(0, 1), b=integers(0, 1000)))
    assert one != list(make(20, seed=2, a=uniform(0, 1), b=integers(0, 1000)))
    assert list(make(20, a=uniform(0, 1))) == list(make(20, seed=0, a=uniform(0, 1)))
    assert len(one) == 20


def test_random_is_the_same_in_every_process() -> None:
    code = (
        "from expedition.sweeps import *\n"
        "print(list(random(3, seed=7, lr=uniform(0, 1), k=choice(['x', 'y']))))"
    )
    out = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert out[0] == out[1]
    assert out[0].strip() == str(list(random(3, seed=7, lr=uniform(0, 1), k=choice(["x", "y"]))))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**70))
def test_random_grows_without_changing(n: int, more: int, seed: int) -> None:
    lr = loguniform(1e-4, 1e-1)
    small, large = list(random(n, seed=seed, lr=lr)), list(random(n + more, seed=seed, lr=lr))
    assert large[:n] == small
    wider = list(random(n, seed=seed, k=uniform(0, 1), lr=lr))
    assert [point["lr"] for point in wider] == [point["lr"] for point in small]


def test_sobol_grows_without_changing() -> None:
    assert list(sobol(37, a=uniform(0, 1), b=normal(0, 1)))[:20] == list(
        sobol(20, a=uniform(0, 1), b=normal(0, 1))
    )


def test_streams_of_parameters_are_independent() -> None:
    drawn = list(random(2000, a=uniform(0, 1), b=uniform(0, 1)))
    a, b = (np.array([point[name] for point in drawn]) for name in "ab")
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.08
    assert scipy.stats.kstest(a, "uniform").pvalue > 0.001


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 100])
def test_sampled_designs_have_n_points_and_do_not_warn(make, n: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        design = make(n, a=normal(0, 1), b=loguniform(1, 2))
    assert len(design) == n
    assert all(math.isfinite(point["a"]) for point in design)


@pytest.mark.parametrize("n", [5, 16])
def test_a_latin_hypercube_has_one_point_per_slice(n: int) -> None:
    design = latin_hypercube(n, seed=3, a=uniform(0, 1), b=uniform(10, 20))
    assert sorted(int(point["a"] * n) for point in design) == list(range(n))
    assert sorted(int((point["b"] - 10) / 10 * n) for point in design) == list(range(n))


def test_sobol_is_balanced_for_powers_of_two() -> None:
    design = sobol(64, seed=5, a=uniform(0, 1), b=uniform(0, 1))
    boxes = [(int(point["a"] * 8), int(point["b"] * 8)) for point in design]
    assert sorted(boxes) == sorted(itertools.product(range(8), repeat=2))  # a (0, 6, 2)-net in base 2


@pytest.mark.parametrize("make", SAMPLERS)
def test_repeated_draws_are_one_point(make) -> None:
    # DESIGN section 5 draws 8 times from two options; two runs of one point could not be told apart.
    design = make(8, seed=1, fit=choice([True, False]))
    assert sorted(point["fit"] for point in design) == [False, True]
    assert repr(design) == "Design of 2 points over fit (8 drawn, 6 of them repeats)"
    assert (design.describe()["n"], design.describe()["points"]) == (8, 2)
    assert len(grid(a=[1, 2, 3]) * design) == 6


def test_repeats_do_not_change_what_growing_keeps() -> None:
    small, large = (list(random(n, seed=4, k=integers(0, 50))) for n in (20, 60))
    assert large[: len(small)] == small


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 0, "a": uniform(0, 1)}, "n must be an integer from 1 on, not 0"),
        ({"n": -1, "a": uniform(0, 1)}, "not -1"),
        ({"n": 2.0, "a": uniform(0, 1)}, "not 2.0"),
        ({"n": True, "a": uniform(0, 1)}, "not True"),
        ({"n": 10**9, "a": uniform(0, 1)}, "at most 10,000,000"),
        ({"n": 2, "seed": -1, "a": uniform(0, 1)}, "seed must be an integer from 0 on"),
        ({"n": 2, "seed": integers(0, 9), "a": uniform(0, 1)}, "grid(seed=[…])"),
        ({"n": 2, "seed": None, "a": uniform(0, 1)}, "seed must be an integer"),
        ({"n": 2}, "at least one parameter"),
        ({"n": 2, "a": 0.1}, "choice([…])"),
        ({"n": 2, "a": [1, 2]}, "grid(a=[…])"),
        ({"n": 2, "a": uniform}, "no distribution"),
    ],
)
def test_bad_samples(make, arguments: dict[str, object], words: str) -> None:
    arguments = dict(arguments)
    with pytest.raises(ExperimentError) as caught:
        make(arguments.pop("n"), **arguments)
    assert words in str(caught.value)
    assert str(caught.value).startswith(make.__name__)


# --- parametrize -----------------------------------------------------------------------------------------


def test_from_parametrize() -> None:
    assert list(from_parametrize("alpha", [1, (2, 3)])) == [{"alpha": 1}, {"alpha": (2, 3)}]
    expected = [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    for names in ("a,b", " a , b ", ["a", "b"], ("a", "b")):
        assert list(from_parametrize(names, [(1, 2), [3, 4]])) == expected
    assert list(from_parametrize("a,b", np.array([[1, 2], [3, 4]]))) == expected
    assert list(from_parametrize("a,b", (pair for pair in [(1, 2), (3, 4)]))) == expected
    assert list(from_parametrize(["a"], [(1,), (2,)])) == [{"a": 1}, {"a": 2}]  # as in pytest
    assert (
        from_parametrize("alpha", np.linspace(0, 1, 3)).describe() == grid(alpha=[0.0, 0.5, 1.0]).describe()
    )


@pytest.mark.parametrize(
    ("names", "values", "words"),
    numbered(
        [
            ("a,b", [(1, 2), (3, 4, 5)], "item 1 is (3, 4, 5); it must be a tuple of 2 values"),
            ("a,b", [(1, 2), 3], "item 1 is 3;"),
            ("a,b", ["xy"], "item 0 is 'xy'"),
            (["a"], [1], "item 0 is 1; it must be a tuple of 1 values"),
            ("a,a", [(1, 2)], "a name is given twice"),
            ("", [1], "no name is given"),
            ([], [1], "no name is given"),
            ("a b", [1], "'a b' cannot be the name"),
            ([3], [(1,)], "3 cannot be the name"),
            ("a", [], "empty"),
            ("a", {1, 2}, "use a list"),
            ("a,b", [(1, 2), (1, 2)], "listed twice"),
            ("a", [pytest.param(1, id="x")], "item 0 is a pytest.param()"),
            ("a", np.zeros((2, 2)), "2 dimensions"),
            ("a", 3, "write [3]"),
        ]
    ),
)
def test_bad_parametrize(names, values, words: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        from_parametrize(names, values)
    assert words in str(caught.value)


def test_public_names() -> None:
    assert sweeps.__all__ == sorted(sweeps.__all__)
    assert all(hasattr(sweeps, name) for name in sweeps.__all__)
    assert isinstance(grid(a=[1]), Design)
