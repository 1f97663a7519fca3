"""What a stage depends on besides its own text: every way in which code of the project reaches other code."""

from __future__ import annotations

import re

import pytest

from expedition.authoring.source_digest import digest_of
from tests.plugin.conftest import Lab
from tests.thoroughness import further

DECORATORS = """
import functools

def plus(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments) + 0
    return wrapper
"""

EXPERIMENT = """
import functools
import pack.inner
from functools import lru_cache
from decorators import plus
from names import first as renamed
from stars import *

SIZE: int = 1
start = 3

def with_default(n=start): return n
@lru_cache
def kept(): return 1 - 1
@plus
def decorated(): return 5
def listed(): return 2 - 1
TABLE = {"one": (listed, lambda: 7, lambda: 8)}
part = functools.partial(lambda a, b: (a, b), 4)
class Base:
    def call(self): return 3 - 1
    @property
    def size(self): return 4 - 1
class Model(Base):
    limit = start
    def __init__(self, n): self.n = n
thing = Model(6)
def count(n): return n + 11

@experiment.stage
def s_default(): return with_default()
@experiment.stage
def s_kept(): return kept()
@experiment.stage
def s_decorated(): return decorated()
@experiment.stage
def s_table(): return TABLE["one"][0]() + TABLE["one"][1]()
@experiment.stage
def s_part(): return part(1)
@experiment.stage
def s_class(): return [Model(2).call(), Model(2).size]
@experiment.stage
def s_thing(): return thing.n
@experiment.stage
def s_module(): return pack.inner.deep(1)
@experiment.stage
def s_inside():
    from late import lately
    return lately()
@experiment.stage
def s_renamed(): return renamed()
@experiment.stage
def s_star(): return starry()
@experiment.stage
def s_recursive(): return even(4)
@experiment.stage
def s_count(): return count(1)
@experiment.stage
def s_comprehension(): return [starry() + SIZE for _ in range(2)]

def even(n): return True if n == 0 else odd(n - 1)
def odd(n): return False if n == 0 else even(n - 1)

@experiment
def exp_a(
    e, s_default, s_kept, s_decorated, s_table, s_part, s_class, s_thing, s_module, s_inside, s_renamed, s_star,
    s_recursive, s_count, s_comprehension, count: int = 1
):
    e["all"] = repr([
        s_default, s_kept, s_decorated, s_table, s_part, s_class, s_thing, s_module, s_inside, s_renamed, s_star,
        s_recursive, s_count, s_comprehension,
    ])
"""

FILES = {
    "decorators.py": DECORATORS,
    "pack/__init__.py": "",
    "pack/inner.py": "def deep(n): return n + 21",
    "late.py": "import names\ndef lately(): return names.second() + 31",
    "names.py": "FACTOR = 2\ndef first(): return 41 * FACTOR\ndef second(): return 0",
    "stars.py": "def starry(): return 51",
    "exp_a.py": "from expedition import experiment\n" + EXPERIMENT,
}


@pytest.mark.parametrize(
    ("file", "before", "after", "stages"),
    [
        ("exp_a.py", "start = 3", "start = 33", "s_default s_class s_thing"),
        ("exp_a.py", "1 - 1", "1 - 2", "s_kept"),
        ("decorators.py", "+ 0", "+ 1", "s_decorated"),
        ("exp_a.py", "return 5", "return 6", "s_decorated"),
        ("exp_a.py", "return 2 - 1", "return 2", "s_table"),
        ("exp_a.py", "lambda: 7", "lambda: 9", "s_table"),
        ("exp_a.py", "b: (a, b), 4", "b: (b, a), 4", "s_part"),
        ("exp_a.py", "b: (a, b), 4", "b: (a, b), 5", "s_part"),
        ("exp_a.py", "return 3 - 1", "return 3", "s_class s_thing"),
        ("exp_a.py", "return 4 - 1", "return 4", "s_class s_thing"),
        ("exp_a.py", "Model(6)", "Model(7)", "s_thing"),
        ("pack/inner.py", "21", "22", "s_module"),
        ("late.py", "31", "32", "s_inside"),
        ("names.py", "return 0", "return 1", "s_inside"),
        ("names.py", "41", "42", "s_renamed"),
        ("names.py", "FACTOR = 2", "FACTOR = 3", "s_renamed"),
        ("stars.py", "51", "52", "s_star s_comprehension"),
        ("exp_a.py", "if n == 0 else even", "if n == 1 else even", "s_recursive"),
        ("exp_a.py", "n + 11", "n + 12", "s_count"),
        ("exp_a.py", "SIZE: int = 1", "SIZE: int = 2", "s_comprehension"),
        # What says the same does not count.
        ("names.py", "41 * FACTOR", "(  # why\n    41 * FACTOR)", ""),
        ("decorators.py", "def plus", "UNUSED = 1\n\ndef plus", ""),
        ("exp_a.py", "lambda: 8", "lambda :  8", ""),
    ],
)
def test_a_stage_is_computed_again_when_what_it_reaches_is_another(
    lab: Lab, file: str, before: str, after: str, stages: str
) -> None:
    for name, text in FILES.items():
        lab.file(name, text)
    assert FILES[file].count(before) == 1
    lab.run(path="exp_a.py").exits(0)
    lab.file(file, FILES[file].replace(before, after))
    again = lab.run("--why-stale", path="exp_a.py").exits(0)
    assert set(re.findall(r"^stale: (\w+):", again.text, re.MULTILINE)) == set(stages.split())
    lab.run("--no-experiment-cache", path="exp_a.py").exits(0)
    *_, from_cache, computed = (lab.records(sweep=sweep.name)[0].data["all"] for sweep in lab.sweeps())
    assert from_cache == computed


def test_two_files_of_one_name_are_two(lab: Lab) -> None:
    """Labels of parts are names of files and functions, of which a project may have several."""
    text = """
        from one.tools import load as first
        from two.tools import load as second
        @experiment.stage
        def s(): return [first(), second()]
        @experiment
        def exp_a(e, s): e["s"] = s
        """
    lab.experiment(text)
    for folder in ("one", "two"):
        lab.file(f"{folder}/__init__.py")
        lab.file(f"{folder}/tools.py", "def load(): return 1")
    for folder, expected in (("one", [2, 1]), ("two", [2, 2])):
        lab.spawn("--experiments", "exp_a.py").exits(0)
        lab.file(f"{folder}/tools.py", "def load(): return 2")
        lab.spawn("--experiments", "exp_a.py").exits(0)
        last = lab.sweeps()[-1].name
        assert lab.records(sweep=last)[0].data["s"] == expected


def test_a_stage_overrides_one_farther_away_and_asks_for_it(lab: Lab) -> None:
    lab.file(
        "conftest.py", "from expedition import experiment\n@experiment.stage\ndef words(N): return [N]\n"
    )
    text = """
        @experiment.stage
        def words(words): return [*words, "own"]
        @experiment.parametrize("N", [1, 2])
        @experiment
        def exp_a(e, words): e["words"] = words
        N: int = 1
        """
    lab.experiment(text)
    lab.run().exits(0)
    assert [record.data["words"] for record in lab.records()] == [[1, "own"], [2, "own"]]


@pytest.mark.parametrize(
    ("stages", "circle"),
    [
        ("@experiment.stage\ndef a(b): pass\n@experiment.stage\ndef b(a): pass", "a → b → a"),
        ("@experiment.stage\ndef a(a): pass", "a → a"),
    ],
)
def test_stages_that_ask_for_each_other_are_refused(lab: Lab, stages: str, circle: str) -> None:
    lab.experiment(f"{stages}\n@experiment\ndef exp_a(e, a): pass")
    lab.refused().says("exp_a.py", f"the stages ask for each other in a circle: {circle}")


@pytest.mark.parametrize("workers", [(), *further(("-n2",))])
def test_a_cached_function_depends_on_what_the_functions_that_it_calls_read(
    lab: Lab, workers: tuple[str, ...]
) -> None:
    lab.experiment(
        """
        SCALE: int = 1
        def scaled(): return SCALE
        def plus(n): return n + 1
        def minus(n): return n - 1

        @experiment.parametrize("SCALE", [1, 2])
        @experiment.parametrize("alpha", [3, 4])
        @experiment
        def exp_a(e, alpha: int = 1):
            def inner(): return alpha
            @e.cache.cached("f1")
            def f1(): return [SCALE * n for n in range(3)]
            @e.cache.cached("f2")
            def f2(): return scaled()
            @e.cache.cached("f3")
            def f3(): return inner()
            @e.cache.cached("f4")
            def f4(): return e.params["alpha"]
            @e.cache.cached("f5")
            def f5(function): return function(1)
            expected = [[0, SCALE, 2 * SCALE], SCALE, alpha, alpha, 2, 0, alpha + 1]
            found = [f1(), f2(), f3(), f4(), f5(plus), f5(minus), f5(lambda n: n + alpha)]
            assert found == expected
            e["found"] = True
        """
    )
    for _ in range(2):
        lab.run(*workers).exits(0)


def test_hashes_of_code_are_those_of_every_version_of_python() -> None:
    """What `ast.dump` and bytecode say is another in each; these hashes were made with 3.11, 3.12 and 3.13."""

    def function(x: int = 3, *, y: int = 1) -> str:
        """Says what it does."""
        return f"{x!r:>{y}}" + "ab"

    pair = (lambda a: a + 1, lambda b: None)
    assert [digest_of(one)[:8] for one in (function, *pair)] == ["1340f892", "42aeacd8", "dc719ad9"]
