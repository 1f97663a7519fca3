"""Distributions of swept values, each given by its quantile function.

A distribution turns a number `u` between 0 and 1 into a value (inverse transform sampling: Devroye,
*Non-Uniform Random Variate Generation*, 1986, chapter II.2), so that independent draws, Latin hypercubes
and Sobol sequences are the same code: only the `u` differ.
"""

from __future__ import annotations

import json
import math
import operator
import sys
from abc import ABC, abstractmethod
from collections.abc import ItemsView, Iterable, KeysView, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from numbers import Real

from expedition.authoring.inherit import Inherit
from expedition.errors import ExperimentError

MAX_VALUES = 10_000_000
"""Longest list of values taken; above it stands an endless generator, or a mistake."""

# The smallest and the largest double strictly between 0 and 1 whose normal quantile is finite and ordinary.
_SMALLEST_U = 2.0**-1022
_LARGEST_U = 1.0 - 2.0**-53


def shown(value: object, width: int = 80) -> str:
    """Return the repr of `value`, shortened to `width` characters for a message."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def identity(value: object, where: str) -> str:
    """Return the canonical text of `value`, by which two values are the same or not.

    Raises ExperimentError, beginning with `where`, for a value that has none: it could not be recorded.
    """
    from expedition.values import canonical

    try:
        return canonical(value)
    except TypeError as error:
        raise ExperimentError(
            f"{where}: {shown(value)} cannot be the value of a parameter ({error}); "
            "sweep over a name or a number and make the object from it in the experiment"
        ) from error


def jsonable(value: object, where: str = "design") -> object:
    """Return `value` as plain JSON data: tagged by the codecs where JSON has no such type."""
    plain: object = json.loads(identity(value, where))
    return plain


def materialize(values: object, where: str, *, rows: bool = False) -> tuple[object, ...]:
    """Return the list of values a user gave as a tuple, of Python builtins if it was a numpy array.

    `where` begins the messages. With `rows`, a two-dimensional array is taken as a list of its rows.
    Raises ExperimentError for what has no order, no end or no items.
    """
    if isinstance(values, Distribution):
        raise ExperimentError(
            f"{where}: {values} is a distribution, not a list of values; draw from it with "
            "random(n, …), latin_hypercube(n, …) or sobol(n, …)"
        )
    if isinstance(values, str | bytes | bytearray):
        raise ExperimentError(
            f"{where}: {shown(values)} is a single value; put it into a list: [{shown(values)}]"
        )
    # The keys of a dict count as a set, but have an order.
    if isinstance(values, AbstractSet) and not isinstance(values, KeysView | ItemsView):
        raise ExperimentError(f"{where}: a set has no order, and a sweep needs one; use a list")
    if isinstance(values, Mapping):
        raise ExperimentError(f"{where}: a dict is no list of values; use list(…) of its keys or values")
    if not isinstance(values, Iterable):
        raise ExperimentError(f"{where}: {shown(values)} is no list of values; write [{shown(values)}]")
    found = _from_array(values, where, rows=rows)
    if found is None:
        found = tuple(islice(values, MAX_VALUES + 1))
    if len(found) > MAX_VALUES:
        raise ExperimentError(
            f"{where}: more than {MAX_VALUES:,} values; is it an endless generator? Take a part of it "
            "with itertools.islice"
        )
    if any(isinstance(value, Inherit) for value in found):
        raise ExperimentError(
            f"{where}: INHERIT is no value among others; given as the one value of a parameter, as in "
            f"experiment.extend(…, params={{'alpha': INHERIT(lambda value: 2 * value)}}), it is made of each point of "
            f"the sweep that is extended"
        )
    if not found:
        raise ExperimentError(
            f"{where}: the list of values is empty; give at least one value, or leave it out"
        )
    return found


def _from_array(values: Iterable[object], where: str, *, rows: bool) -> tuple[object, ...] | None:
    numpy = sys.modules.get("numpy")  # a numpy array cannot exist before numpy was imported
    if numpy is None or not isinstance(values, numpy.ndarray):
        return None
    allowed = (1, 2) if rows else (1,)
    if values.ndim not in allowed:
        raise ExperimentError(
            f"{where}: an array of {values.ndim} dimensions is no list of values; use a one-dimensional one, "
            "or list(array) if each row is a value"
        )
    # tolist() of datetime64[ns] would give bare integers: only plain kinds are turned into builtins.
    return tuple(values.tolist()) if values.dtype.kind in "biufcUS" else tuple(values)


class Distribution(ABC):
    """A distribution of the values of one parameter."""

    @abstractmethod
    def ppf(self, u: float) -> object:
        """Return the value below which the share `u` (0 to 1) of the distribution lies."""

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return the kind and the settings as JSON data."""


def _unit(u: float) -> float:
    u = float(u)
    if not 0.0 <= u <= 1.0:
        raise ExperimentError(f"ppf({u}): a quantile is asked for by a number from 0 to 1")
    return u


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ExperimentError(f"{where} must be a number, not {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ExperimentError(f"{where} must be a finite number, not {shown(value)}")
    return number


def _ordered(low: float, high: float, kind: str) -> None:
    if low >= high:
        raise ExperimentError(
            f"{kind}({low}, {high}): low must be less than high; swap them, or use choice([{low}]) "
            "for a constant"
        )


@dataclass(frozen=True)
class Uniform(Distribution):
    """Any float from `low` to `high`, all equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", _number(self.low, "uniform(): low"))
        object.__setattr__(self, "high", _number(self.high, "uniform(): high"))
        _ordered(self.low, self.high, "uniform")

    def ppf(self, u: float) -> float:
        """Return low + u (high - low)."""
        u = _unit(u)
        width = self.high - self.low
        # The width of two huge bounds of opposite sign is not a float; the weighted form always is.
        value = self.low + u * width if math.isfinite(width) else self.low * (1.0 - u) + self.high * u
        return min(max(value, self.low), self.high)

    def describe(self) -> dict[str, object]:
        return {"distribution": "uniform", "low": self.low, "high": self.high}


@dataclass(frozen=True)
class LogUniform(Distribution):
    """Any float from `low` to `high`, whose logarithm is uniform (the reciprocal distribution)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", _number(self.low, "loguniform(): low"))
        object.__setattr__(self, "high", _number(self.high, "loguniform(): high"))
        if self.low <= 0:
            raise ExperimentError(
                f"loguniform({self.low}, {self.high}): low must be above 0, since there is no logarithm of "
                "0; use a small positive number, or uniform(low, high)"
            )
        _ordered(self.low, self.high, "loguniform")

    def ppf(self, u: float) -> float:
        """Return exp(log low + u (log high - log low))."""
        u = _unit(u)
        low, high = math.log(self.low), math.log(self.high)
        if u == 1.0:  # exp(log(x)) is not always x; the bounds are met exactly
            return self.high
        value = self.low if u == 0.0 else math.exp(low + u * (high - low))
        return min(max(value, self.low), self.high)

    def describe(self) -> dict[str, object]:
        return {"distribution": "loguniform", "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Integers(Distribution):
    """Any integer from `low` on, below `high` (or up to it, with `endpoint`), all equally likely."""

    low: int
    high: int
    endpoint: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            try:
                if isinstance(value, bool):
                    raise TypeError
                object.__setattr__(self, name, operator.index(value))
            except TypeError:
                raise ExperimentError(
                    f"integers(): {name} must be an integer, not {shown(value)}; for floats use uniform()"
                ) from None
        object.__setattr__(self, "endpoint", bool(self.endpoint))
        if self._count() < 1:
            raise ExperimentError(
                f"integers({self.low}, {self.high}, endpoint={self.endpoint}): there is no such integer; low "
                "must be less than high (which itself is drawn only with endpoint=True)"
            )

    def _count(self) -> int:
        return self.high - self.low + self.endpoint

    def ppf(self, u: float) -> int:
        """Return low + floor(u count), exactly for integers of any size."""
        numerator, denominator = _unit(u).as_integer_ratio()
        count = self._count()
        return self.low + min(numerator * count // denominator, count - 1)

    def describe(self) -> dict[str, object]:
        return {"distribution": "integers", "low": self.low, "high": self.high, "endpoint": self.endpoint}


@dataclass(frozen=True)
class Choice(Distribution):
    """One of the `options`, all equally likely (an option given twice is twice as likely)."""

    options: tuple[object, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", materialize(self.options, "choice()"))

    def ppf(self, u: float) -> object:
        """Return option number floor(u count), the very object that was given."""
        count = len(self.options)
        return self.options[min(int(_unit(u) * count), count - 1)]

    def describe(self) -> dict[str, object]:
        options = [jsonable(option, "choice()") for option in self.options]
        return {"distribution": "choice", "options": options}


@dataclass(frozen=True)
class Normal(Distribution):
    """Any float around `mean` with the standard deviation `std` (Gaussian)."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", _number(self.mean, "normal(): mean"))
        object.__setattr__(self, "std", _number(self.std, "normal(): std"))
        if self.std <= 0:
            raise ExperimentError(
                f"normal({self.mean}, {self.std}): std must be above 0; for a constant use "
                f"choice([{self.mean}])"
            )

    def ppf(self, u: float) -> float:
        """Return mean + std Φ⁻¹(u), with u clipped into the open interval (0, 1).

        Φ⁻¹ is the standard library's: Wichura, Algorithm AS 241, Applied Statistics 37 (1988) 477-484.
        """
        from statistics import NormalDist

        clipped = min(max(_unit(u), _SMALLEST_U), _LARGEST_U)
        return self.mean + self.std * NormalDist().inv_cdf(clipped)

    def describe(self) -> dict[str, object]:
        return {"distribution": "normal", "mean": self.mean, "std": self.std}


def uniform(low: float, high: float) -> Uniform:
    """Floats from `low` to `high`; ExperimentError unless low < high and both are finite."""
    return Uniform(low, high)


def loguniform(low: float, high: float) -> LogUniform:
    """Floats from `low` to `high`, uniform in their logarithm; ExperimentError unless 0 < low < high."""
    return LogUniform(low, high)


def integers(low: int, high: int, *, endpoint: bool = False) -> Integers:
    """Integers as `numpy.random.Generator.integers` draws them: `high` is excluded unless `endpoint`.

    Raises ExperimentError when there is none, or for bounds that are not integers.
    """
    return Integers(low, high, endpoint)


def choice(options: Iterable[object]) -> Choice:
    """One of `options`, given as they are; ExperimentError for a set, a text or an empty list."""
    return Choice(options)  # type: ignore[arg-type]  # made a tuple by the class


def normal(mean: float, std: float) -> Normal:
    """Floats of the normal distribution; ExperimentError unless std > 0."""
    return Normal(mean, std)
