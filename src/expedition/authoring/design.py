"""Designs: ordered, deterministic lists of points, and the algebra that makes them.

A point is a dict of parameter names to values. The first-named parameter is the outer loop. A design is kept
as a product of tables, so that the product of long designs costs memory for its factors only.
"""

from __future__ import annotations

import itertools
import keyword
import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from expedition.authoring.distributions import (
    MAX_VALUES,
    Distribution,
    identity,
    jsonable,
    materialize,
    shown,
)
from expedition.errors import ExperimentError

Point = dict[str, object]
_Row = tuple[object, ...]

RESERVED_NAMES = frozenset({"config", "parameters", "rep", "replicate", "results", "run", "runs", "series"})
"""Names no parameter may have: they are branches of a trajectory or words of the expression language."""

_ABSENT = object()  # stands in a row where a point lacks a name of its table


class _Table(NamedTuple):
    names: tuple[str, ...]
    rows: tuple[_Row, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Design:
    """An immutable, ordered list of points; make one with `grid`, `zipped`, `points`, `random`, ….

    `len()` is the number of points, iteration gives each as a fresh dict, in an order that never changes.
    """

    _tables: tuple[_Table, ...]
    _how: Callable[[], dict[str, object]]  # evaluated when asked: most designs are never described
    _note: str = ""
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(name for table in self._tables for name in table.names))
        length = math.prod(len(table.rows) for table in self._tables)
        if length > sys.maxsize:
            raise ExperimentError(
                f"a design of {length:.2e} points over {', '.join(self.names)} is too large to count; "
                "draw from it with random(n, …) instead"
            )

    def __len__(self) -> int:
        return math.prod(len(table.rows) for table in self._tables)

    def __iter__(self) -> Iterator[Point]:
        for combination in itertools.product(*(table.rows for table in self._tables)):
            values = itertools.chain.from_iterable(combination)
            yield {
                name: value for name, value in zip(self.names, values, strict=True) if value is not _ABSENT
            }

    def __repr__(self) -> str:
        count = len(self)
        over = f" over {', '.join(self.names)}" if self.names else ""
        return f"Design of {count} {'point' if count == 1 else 'points'}{over}{self._note}"

    def __mul__(self, other: Design) -> Design:
        """Return every point of this design with every point of `other`; this one is the outer loop.

        Raises ExperimentError when both have a parameter of one name.
        """
        if not isinstance(other, Design):
            return NotImplemented
        shared = [name for name in self.names if name in other.names]
        if shared:
            raise ExperimentError(
                f"cannot multiply designs that share {_listed(shared)}; give each parameter in one factor "
                "only, or join the designs with +"
            )
        return Design(self._tables + other._tables, lambda: _joined("product", self, other))

    def __add__(self, other: Design) -> Design:
        """Return the points of this design, then those of `other` which this one does not have."""
        if not isinstance(other, Design):
            return NotImplemented
        unique: dict[str, Point] = {}
        for point in itertools.chain(self, other):
            unique.setdefault(identity(point, "+"), point)
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        return Design((_table(names, unique.values()),), lambda: _joined("sum", self, other))

    def where(self, predicate: Callable[[Point], object]) -> Design:
        """Return the points for which `predicate(point)` is true, in the same order; there may be none.

        Raises ExperimentError, naming the point, when the predicate fails.
        """
        if not callable(predicate):
            raise ExperimentError(
                f"where({shown(predicate)}): give a function of a point, such as lambda p: p['alpha'] < 1"
            )
        kept = []
        for point in self:
            try:
                keep = bool(predicate(dict(point)))
            except Exception as error:
                raise ExperimentError(
                    f"where(): the function fails with {type(error).__name__}: {error} at the point "
                    f"{shown(point, 200)}; points may lack names, use p.get(…) there"
                ) from error
            if keep:
                kept.append(point)
        # Not the repr: it may hold an address, and workers must describe a design alike.
        label = getattr(predicate, "__qualname__", type(predicate).__qualname__)
        count = len(kept)  # the description must not keep the points twice
        return Design(
            (_table(self.names, kept),),
            lambda: {"kind": "where", "of": self.describe(), "predicate": label, "points": count},
        )

    def describe(self) -> dict[str, object]:
        """Return how the design was made, as JSON data; values JSON lacks are tagged by their codecs."""
        return self._how()


def grid(**values: Iterable[object]) -> Design:
    """All combinations of the values of each parameter; the first-named is the outer loop.

    Raises ExperimentError for a bad name, and for values that are no list, empty, unordered or repeated.
    """
    lists = _lists("grid", values)
    for name, items in lists.items():
        _refuse_repeats(f"grid({name}=…)", ({name: item} for item in items))
    tables = tuple(_Table((name,), tuple((item,) for item in items)) for name, items in lists.items())
    return Design(tables, lambda: _described("grid", lists))


def zipped(**values: Iterable[object]) -> Design:
    """The first values of all parameters, then the second ones, and so on.

    Raises ExperimentError for lists of different lengths, and as `grid` does.
    """
    lists = _lists("zipped", values)
    if len({len(items) for items in lists.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(items)}" for name, items in lists.items())
        raise ExperimentError(
            f"zipped(): all lists must be of one length, but {lengths}; use grid() for all combinations"
        )
    table = _Table(tuple(lists), tuple(zip(*lists.values(), strict=True)))
    design = Design((table,), lambda: _described("zipped", lists))
    _refuse_repeats("zipped()", design)
    return design


def points(items: Iterable[Mapping[str, object]]) -> Design:
    """The points as listed. A point may lack names others have: its run takes the defaults there.

    Raises ExperimentError for an empty list, an item that is not a dict, a bad name or a repeated point.
    """
    listed = materialize(items, "points()")
    found: list[Point] = []
    for number, item in enumerate(listed):
        if not isinstance(item, Mapping):
            raise ExperimentError(
                f"points(): item {number} is {shown(item)}; each must be a dict such as {{'alpha': 0.1}}"
            )
        for name in item:
            _check_name(name, "points()")
        found.append(dict(item))
    names = tuple(dict.fromkeys(name for point in found for name in point))
    design = Design(
        (_table(names, found),), lambda: {"kind": "points", "points": [jsonable(point) for point in found]}
    )
    _refuse_repeats("points()", design)
    return design


def as_points(given: object, where: str) -> list[Point]:
    """The points of a design, or of a list of dicts; of equal ones the first.

    An empty list gives none. Raises ExperimentError for anything else, and for a name no parameter may have.
    """
    if isinstance(given, Design):
        return list(given)
    if isinstance(given, str | bytes | Mapping | AbstractSet) or not isinstance(given, Iterable):
        raise ExperimentError(
            f"{where}: got {shown(given)}; give a design of expedition.sweeps such as grid(alpha=[0.1, 1.0]), "
            "or a list of points such as [{'alpha': 0.1}]"
        )
    unique: dict[str, Point] = {}
    for number, item in enumerate(itertools.islice(given, MAX_VALUES + 1)):
        if number == MAX_VALUES:
            raise ExperimentError(f"{where}: more than {MAX_VALUES:,} points; is it an endless generator?")
        if not isinstance(item, Mapping):
            raise ExperimentError(
                f"{where}: item {number} is {shown(item)}; each must be a dict such as {{'alpha': 0.1}}"
            )
        for name in item:
            _check_name(name, where)
        unique.setdefault(identity(item, where), dict(item))
    return list(unique.values())


def random(n: int, /, seed: int = 0, **distributions: Distribution) -> Design:
    """`n` independent draws from the distributions.

    Each parameter has a stream of its own, derived from `seed` and its name (numpy's SeedSequence and PCG64):
    more draws keep the earlier ones, and another parameter changes none of the others. Repeated draws of
    discrete distributions are one point, so the design may be shorter than `n`.
    Raises ExperimentError for n < 1, a negative seed, a bad name or what is no distribution.
    """

    def draw(count: int, start: int) -> Sequence[Sequence[float]]:
        from numpy.random import PCG64, Generator, SeedSequence

        columns = []
        for name in distributions:
            # sha256, since hash() of a text differs between processes
            digest = int.from_bytes(sha256(name.encode()).digest()[:16], "big")
            stream = Generator(PCG64(SeedSequence(start, spawn_key=(digest,))))
            columns.append(stream.random(count).tolist())
        return list(zip(*columns, strict=True))

    return _sampled("random", n, seed, distributions, draw)


def latin_hypercube(n: int, /, seed: int = 0, **distributions: Distribution) -> Design:
    """`n` points of which each parameter has one in each of n equally likely slices of its distribution.

    By `scipy.stats.qmc.LatinHypercube` (McKay, Beckman, Conover, Technometrics 21 (1979) 239-245). Another n
    or another parameter makes another design. Repeats and errors are as for `random`.
    """

    def draw(count: int, start: int) -> Sequence[Sequence[float]]:
        from scipy.stats import qmc

        sampler = _seeded(qmc.LatinHypercube, len(distributions), start)
        rows: list[list[float]] = sampler.random(count).tolist()
        return rows

    return _sampled("latin_hypercube", n, seed, distributions, draw)


def sobol(n: int, /, seed: int = 0, **distributions: Distribution) -> Design:
    """The first `n` points of a scrambled Sobol sequence, which fills the space evenly.

    By `scipy.stats.qmc.Sobol` (Joe and Kuo, SIAM J. Sci. Comput. 30 (2008) 2635-2654; scrambling after Owen).
    More points keep the earlier ones. For n that is not a power of two the points lose their balance (the
    shares of equal boxes differ by a point): prefer 2, 4, 8, …. Repeats and errors are as for `random`.
    """

    def draw(count: int, start: int) -> Sequence[Sequence[float]]:
        from scipy.stats import qmc

        # scipy warns of the lost balance for other n; the next power of two begins with the same points.
        sampler = _seeded(qmc.Sobol, len(distributions), start)
        rows: list[list[float]] = sampler.random_base2((count - 1).bit_length())[:count].tolist()
        return rows

    return _sampled("sobol", n, seed, distributions, draw)


def from_parametrize(names: str | Sequence[str], values: Iterable[object]) -> Design:
    """The design of `@experiment.parametrize(names, values)`, whose arguments mean what they do in pytest.

    `"alpha", [1, 2]` is a list of values, `"a,b", [(1, 2), (3, 4)]` a list of tuples, one item per name.
    Raises ExperimentError for a tuple of another length, naming it, and as `grid` does.
    """
    single = isinstance(names, str) and len(_split(names)) == 1
    listed = _split(names) if isinstance(names, str) else [*names]
    where = f"parametrize({names!r}, …)"
    if not listed:
        raise ExperimentError(f'{where}: no name is given; write parametrize("alpha", [1, 2])')
    for name in listed:
        _check_name(name, where)
    if len(set(listed)) < len(listed):
        raise ExperimentError(f"{where}: a name is given twice; remove one of them")
    items = materialize(values, where, rows=not single)
    for number, item in enumerate(items):
        # A pytest.param() is a tuple too and would be taken for a value. (This layer knows no pytest.)
        if type(item).__name__ == "ParameterSet":
            raise ExperimentError(
                f"{where}: item {number} is a pytest.param(); give the plain value, and put marks on the "
                "experiment"
            )
        if not single and (not isinstance(item, tuple | list) or len(item) != len(listed)):
            raise ExperimentError(
                f"{where}: item {number} is {shown(item)}; it must be a tuple of {len(listed)} values, "
                f"one for each of {_listed(listed)}"
            )
    if single:
        return grid(**{listed[0]: items})
    columns = zip(*items, strict=True)  # each was seen to be a sequence
    return zipped(**dict(zip(listed, columns, strict=True)))


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _check_name(name: object, where: str) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ExperimentError(
            f"{where}: {shown(name)} cannot be the name of a parameter; use the name of an argument or of an "
            "UPPERCASE variable of the experiment"
        )
    if name in RESERVED_NAMES:
        remedy = "use @experiment.replicate(n)" if name in {"rep", "replicate"} else "rename the parameter"
        raise ExperimentError(f"{where}: {name!r} is a reserved name; {remedy}")


def _lists(kind: str, values: Mapping[str, object]) -> dict[str, _Row]:
    if not values:
        raise ExperimentError(f"{kind}() needs at least one parameter, such as {kind}(alpha=[0.1, 1.0])")
    for name in values:
        _check_name(name, f"{kind}()")
    return {name: materialize(items, f"{kind}({name}=…)") for name, items in values.items()}


def _described(kind: str, lists: Mapping[str, _Row]) -> dict[str, object]:
    parameters = {name: [jsonable(item) for item in items] for name, items in lists.items()}
    return {"kind": kind, "parameters": parameters}


def _joined(kind: str, left: Design, right: Design) -> dict[str, object]:
    """Describe a product or sum, without nesting the operands of a chain."""
    operands: list[object] = []
    for part in (left.describe(), right.describe()):
        inner = part.get("of")
        operands.extend(inner if part["kind"] == kind and isinstance(inner, list) else [part])
    return {"kind": kind, "of": operands}


def _table(names: tuple[str, ...], found: Iterable[Point]) -> _Table:
    return _Table(names, tuple(tuple(point.get(name, _ABSENT) for name in names) for point in found))


def _refuse_repeats(where: str, found: Iterable[Point]) -> None:
    seen = set()
    for point in found:
        key = identity(point, where)
        if key in seen:
            raise ExperimentError(
                f"{where}: the point {shown(point, 200)} is listed twice; remove one of them, or repeat "
                "every point with @experiment.replicate(n)"
            )
        seen.add(key)


def _seeded(sampler: Any, dimensions: int, seed: int) -> Any:
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(seed))
    try:
        return sampler(d=dimensions, rng=rng)
    except TypeError:  # scipy < 1.15 calls it seed
        return sampler(d=dimensions, seed=rng)


def _whole(value: object, least: int, where: str, remedy: str) -> int:
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < least:
        raise ExperimentError(f"{where} must be an integer from {least} on, not {shown(value)}; {remedy}")
    return number


def _sampled(
    kind: str,
    n: int,
    seed: int,
    distributions: Mapping[str, Distribution],
    draw: Callable[[int, int], Iterable[Sequence[float]]],
) -> Design:
    """Return the distinct points that the quantile functions make of the rows of `draw(n, seed)`."""
    count = _whole(n, 1, f"{kind}(): n", "it is the number of points")
    start = _whole(seed, 0, f"{kind}(): seed", "sweep over a parameter called seed with grid(seed=[…])")
    if count > MAX_VALUES:
        raise ExperimentError(f"{kind}(): n is {count:,}; at most {MAX_VALUES:,} points can be drawn")
    if not distributions:
        raise ExperimentError(f"{kind}() needs at least one parameter, such as lr=loguniform(1e-4, 1e-1)")
    for name, distribution in distributions.items():
        _check_name(name, f"{kind}()")
        if not isinstance(distribution, Distribution):
            raise ExperimentError(
                f"{kind}(): {name} is {shown(distribution)}, which is no distribution; use choice([…]) for "
                f"a list or a constant, or multiply with grid({name}=[…])"
            )
    # Two runs of one point could not be told apart: repeated draws of discrete values are one point.
    unique: dict[str, Point] = {}
    for row in draw(count, start):
        pairs = zip(distributions.items(), row, strict=True)
        point = {name: distribution.ppf(u) for (name, distribution), u in pairs}
        unique.setdefault(identity(point, f"{kind}()"), point)
    repeats = count - len(unique)
    return Design(
        (_table(tuple(distributions), unique.values()),),
        lambda: {
            "kind": kind,
            "n": count,
            "seed": start,
            "points": len(unique),
            "parameters": {name: item.describe() for name, item in distributions.items()},
        },
        f" ({count} drawn, {repeats} of them repeats)" if repeats else "",
    )
