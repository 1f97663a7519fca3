"""Mean and confidence interval of replicates, and how they are written down."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from expedition.errors import ExperimentError

__all__ = ["Interval", "format_interval", "format_number", "mean_interval"]

# Of missing values in other libraries (pandas.NA, pandas.NaT, numpy.ma.masked), known by name, since
# importing those libraries to ask is slow and comparing with them raises or warns
_MISSING_TYPES = frozenset({"NAType", "NaTType", "MaskedConstant"})


@dataclass(frozen=True)
class Interval:
    """Mean of a sample with its confidence interval, in the unit of the values.

    `std` is the sample standard deviation (n - 1 in the denominator). What the sample is too small for is
    NaN: everything of no value, all but the mean of one.
    """

    mean: float
    low: float
    high: float
    half_width: float
    std: float
    n: int
    missing: int = 0
    confidence: float = 0.95


def mean_interval(values: Iterable[object], confidence: float = 0.95) -> Interval:
    """Return the mean of a sample and Student's t confidence interval for it.

    The interval is ``mean ± t s / sqrt(n)`` with t the (1 + confidence) / 2 quantile of Student's
    distribution with n - 1 degrees of freedom and s the sample standard deviation: NIST/SEMATECH
    e-Handbook of Statistical Methods, section 1.3.5.2, "Confidence Limits for the Mean"; after Student,
    "The Probable Error of a Mean", Biometrika 6 (1908). It equals ``scipy.stats.t.interval``. It assumes
    independent values of about normal distribution; for the replicates of one point, with their
    independent seeds, the first holds.

    None, NaN and the missing values of pandas and numpy are left out, and counted in `missing`. Integers
    too large for a float count as infinite; an infinite value makes the interval NaN. Sums cannot
    overflow: the values are scaled by a power of two first.

    :param values: real numbers of any kind, booleans included.
    :param confidence: the coverage, between 0 and 1.
    :raises ExperimentError: when the confidence is not between 0 and 1.
    :raises TypeError: when a value is not a real number.
    """
    if not 0 < confidence < 1:
        raise ExperimentError(f"the confidence must lie between 0 and 1, not be {confidence!r}")
    given = list(values)
    # Whole numbers are taken from the first one, lest a float lose the digits in which they differ.
    whole = bool(given) and all(type(value) is int and abs(value) > 2**53 for value in given)
    origin: Any = given[0] if whole else 0
    sample: list[float] = []
    missing = 0
    for value in given:
        number = _to_float(value - origin if whole else value)
        if math.isnan(number):
            missing += 1
        else:
            sample.append(number)
    n = len(sample)
    mean, std = _mean_and_std(sample)
    if origin:
        mean = _to_float(origin + Fraction(mean)) if math.isfinite(mean) else _to_float(origin)
    half_width = math.nan
    if n > 1:
        half_width = std * (_t_quantile((1 + confidence) / 2, n - 1) / math.sqrt(n))
    return Interval(
        mean, mean - half_width, mean + half_width, half_width, std, n, missing=missing, confidence=confidence
    )


def format_interval(interval: Interval, digits: int = 2, *, show_n: bool = False) -> str:
    """Write an interval as ``57.31 ± 0.42``.

    The half width is rounded to `digits` significant digits and the mean to the same decimals; ``57310 ±
    420`` likewise. Very large and very small ones share an exponent: ``(5.731 ± 0.042)e-8``. Without a
    half width (one value) the mean alone is written in six significant digits; without a value, ``–``.

    :param digits: significant digits of the half width, at least 1.
    :param show_n: append the number of values, as ``(n=3)``.
    """
    text = _format_parts(interval.mean, interval.half_width, max(1, digits)) if interval.n else "–"
    return f"{text} (n={interval.n})" if show_n else text


def format_number(value: float) -> str:
    """Write a number in six significant digits, with a short exponent: ``1e-7``, ``57.3123``."""
    text = f"{value:.6g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def _to_float(value: object) -> float:
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return math.nan
    if isinstance(value, (str, bytes, bytearray)):  # float() would read them
        raise TypeError(f"a number is expected, not {value!r}")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]


def _mean_and_std(sample: list[float]) -> tuple[float, float]:
    n = len(sample)
    if n == 0:
        return math.nan, math.nan
    if any(math.isinf(value) for value in sample):
        return (sample[0] if len(set(sample)) == 1 else sum(map(_infinite_part, sample))), math.nan
    if min(sample) == max(sample):  # exactly, without the rounding of a sum
        return sample[0], 0.0 if n > 1 else math.nan
    _, exponent = math.frexp(max(map(abs, sample)))
    scaled = [_ldexp(value, -exponent) for value in sample]  # all within -1 … 1
    mean = math.fsum(scaled) / n
    variance = math.fsum((value - mean) ** 2 for value in scaled) / (n - 1)
    return _ldexp(mean, exponent), _ldexp(math.sqrt(variance), exponent)


def _infinite_part(value: float) -> float:
    return value if math.isinf(value) else 0.0


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


@lru_cache(maxsize=256)  # a sweep asks for the same n over and over
def _t_quantile(probability: float, degrees: int) -> float:
    # What scipy.stats.t.ppf calls; importing scipy.stats takes a second, scipy.special a third of it
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _format_parts(mean: float, half: float, digits: int) -> str:
    if math.isnan(half) or not math.isfinite(mean):
        return format_number(mean)
    if half == 0 or math.isinf(half):
        return f"{format_number(mean)} ± {format_number(half)}"
    exponent = _leading(max(abs(mean), half), 15)
    if -5 < exponent < 6:
        return " ± ".join(_fixed(mean, half, digits))
    factor = -exponent
    parts = _fixed(_scale(mean, factor), _scale(half, factor), digits)
    return f"({' ± '.join(parts)})e{exponent}"


def _fixed(mean: float, half: float, digits: int) -> tuple[str, str]:
    decimals = digits - 1 - _leading(half, digits)
    # Digits behind the 15th of a float are noise
    if mean and decimals + _leading(mean, 15) >= 15:
        return f"{mean:.15g}", f"{half:.{digits}g}"
    mean, half = round(mean, decimals), round(half, decimals)
    shown = max(decimals, 0)
    # Adding 0.0 turns -0.0 into 0.0
    return f"{mean + 0.0:.{shown}f}", f"{half:.{shown}f}"


def _leading(value: float, digits: int) -> int:
    """Return the power of ten of the first digit, after rounding to `digits` significant digits."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


def _scale(value: float, exponent: int) -> float:
    """Return value × 10**exponent, by the decimal text: exact, and without overflow on the way."""
    mantissa, _, power = f"{value:.17e}".partition("e")
    return float(f"{mantissa}e{int(power) + exponent}")
