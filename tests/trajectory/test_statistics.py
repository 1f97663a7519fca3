"""Intervals: against scipy, the standard library, and worked examples from the literature."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from expedition.errors import ExperimentError
from expedition.trajectory.statistics import Interval, format_interval, format_number, mean_interval

NAN, INF = math.nan, math.inf


class TestMeanInterval:
    @pytest.mark.parametrize("n", [2, 3, 5, 30, 1000])
    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
    @pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
    def test_equals_scipy(self, n: int, confidence: float, scale: float) -> None:
        values = np.random.default_rng(n).normal(3, 2, n)
        found = mean_interval((values * scale).tolist(), confidence)
        low, high = scipy.stats.t.interval(
            confidence, n - 1, loc=values.mean(), scale=scipy.stats.sem(values)
        )
        assert found.low == pytest.approx(low * scale, rel=1e-12)
        assert found.high == pytest.approx(high * scale, rel=1e-12)
        assert found.half_width == pytest.approx((high - low) / 2 * scale, rel=1e-12)
        assert found.mean == pytest.approx(statistics.fmean(values) * scale, rel=1e-14)
        assert found.std == pytest.approx(statistics.stdev(values) * scale, rel=1e-12)
        assert (found.n, found.missing, found.confidence) == (n, 0, confidence)

    def test_student_1908_sleep(self) -> None:
        # Additional hours of sleep, Biometrika 6, p. 20: mean 1.58; R's documentation of t.test gives the
        # interval 0.7001142 … 2.4598858 for the same ten differences
        found = mean_interval([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
        assert found.mean == pytest.approx(1.58, abs=1e-12)
        assert found.low == pytest.approx(0.7001142, abs=5e-8)
        assert found.high == pytest.approx(2.4598858, abs=5e-8)
        assert format_interval(found) == "1.58 ± 0.88"

    def test_nist_handbook_1_3_5_2(self) -> None:
        # ZARR13.DAT: N 195, mean 9.261460, standard deviation 0.022789, limits 9.258242 … 9.264679;
        # here by values with exactly that mean and deviation
        mean, std = 9.261460, 0.022789
        found = mean_interval([mean - std, mean + std] * 97 + [mean])
        assert found.n == 195
        assert found.std == pytest.approx(std, rel=1e-9)
        assert found.low == pytest.approx(9.258242, abs=1e-6)
        assert found.high == pytest.approx(9.264679, abs=1e-6)

    def test_by_hand(self) -> None:
        # 1, 2, 3: s = 1, t(0.975, 2) = 4.302653 from every printed table
        found = mean_interval([1, 2, 3])
        assert (found.mean, found.std) == (2.0, 1.0)
        assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
        assert (found.low, found.high) == (found.mean - found.half_width, found.mean + found.half_width)

    def test_too_few(self) -> None:
        for empty in ([], [None, NAN]):
            found = mean_interval(empty)
            assert found.n == 0
            assert found.missing == len(empty)
            assert all(map(math.isnan, (found.mean, found.low, found.high, found.half_width, found.std)))
        one = mean_interval([4])
        assert (one.mean, one.n) == (4.0, 1)
        assert all(map(math.isnan, (one.low, one.high, one.half_width, one.std)))

    def test_missing_of_every_kind_is_counted(self) -> None:
        values = [1, None, NAN, np.float32("nan"), pd.NA, pd.NaT, np.ma.masked, 3]
        found = mean_interval(values)
        assert (found.mean, found.n, found.missing) == (2.0, 2, 6)

    def test_numbers_of_every_kind(self) -> None:
        values = [True, np.bool_(True), 1, np.int8(1), np.float16(1), Decimal(1), Fraction(1), np.array(1)]
        found = mean_interval(values)
        assert (found.mean, found.std, found.half_width, found.n) == (1.0, 0.0, 0.0, 8)
        assert mean_interval([True, False]).mean == 0.5

    def test_equal_values_are_not_rounded(self) -> None:
        for value in (0.1, 1 / 3, 1e308, 5e-324):
            found = mean_interval([value] * 7)
            assert (found.mean, found.low, found.high, found.std) == (value, value, value, 0.0)

    def test_overflow_and_underflow(self) -> None:
        assert mean_interval([1.7e308, 1.6e308]).mean == pytest.approx(1.65e308)
        wide = mean_interval([1.7e308, -1.7e308])
        assert (wide.mean, wide.std, wide.half_width) == (0.0, INF, INF)
        small = mean_interval([1e-200, 3e-200])
        assert small.std == pytest.approx(math.sqrt(2) * 1e-200)
        large = mean_interval([10**400, 1])
        assert large.mean == INF
        assert math.isnan(large.half_width)
        assert mean_interval([-(10**400)]).mean == -INF

    def test_infinite_values(self) -> None:
        assert mean_interval([INF, INF]).mean == INF
        assert mean_interval([INF, 1, 2]).mean == INF
        mixed = mean_interval([INF, -INF])
        assert math.isnan(mixed.mean)
        assert mixed.n == 2

    def test_large_offset_keeps_the_deviation(self) -> None:
        found = mean_interval([1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16])
        assert found.std == pytest.approx(math.sqrt(30), rel=1e-12)  # the textbook one-pass formula fails

    def test_integers_that_no_float_holds(self) -> None:
        # sd of 47, 35, 70, 60 is 15.2534, t(0.975, 3) is 3.182446: 3.182446 * 15.2534 / 2
        small = mean_interval([47, 35, 70, 60])
        assert small.half_width == pytest.approx(24.2716, abs=5e-5)
        found = mean_interval([10**18 + n for n in (47, 35, 70, 60)])
        assert found.half_width == pytest.approx(24.2716, abs=5e-5)
        assert found.std == pytest.approx(15.2534, abs=5e-5)
        assert found.mean == float(10**18 + 53)

    @pytest.mark.parametrize(
        "value", ["1", b"1", [1], 1j, {}], ids=["str", "bytes", "list", "complex", "dict"]
    )
    def test_other_types_are_refused(self, value: object) -> None:
        with pytest.raises(TypeError):
            mean_interval([1, value])

    @pytest.mark.parametrize("confidence", [0, 1, 95, -0.1, NAN])
    def test_bad_confidence(self, confidence: float) -> None:
        with pytest.raises(ExperimentError, match="confidence"):
            mean_interval([1, 2], confidence)


def interval(mean: float, half: float, n: int = 3) -> Interval:
    return Interval(mean, mean - half, mean + half, half, half, n)


class TestFormat:
    @pytest.mark.parametrize(
        ("mean", "half", "expected"),
        [
            (57.3123, 0.4201, "57.31 ± 0.42"),
            (57.3, 0.42, "57.30 ± 0.42"),
            (57.3123, 0.996, "57.3 ± 1.0"),
            (57.3123, 0.0996, "57.31 ± 0.10"),
            (57.3123, 12.3, "57 ± 12"),
            (57312.3, 423.0, "57310 ± 420"),
            (57312.3, 99.6, "57310 ± 100"),
            (0.5, 123.0, "0 ± 120"),
            (-0.001, 1.2, "0.0 ± 1.2"),
            (-57.3123, 0.42, "-57.31 ± 0.42"),
            (0.0, 0.0, "0 ± 0"),
            (100.0, 0.0, "100 ± 0"),
            (5.731234e-8, 4.2e-10, "(5.731 ± 0.042)e-8"),
            (5.731234e8, 4.2e6, "(5.731 ± 0.042)e8"),
            (1.2345e-4, 2e-6, "0.0001234 ± 0.0000020"),
            (1234567.0, 12.0, "(1.234567 ± 0.000012)e6"),
            (0.0, 3e-9, "(0.0 ± 3.0)e-9"),
            (1e300, 2e298, "(1.000 ± 0.020)e300"),
            (1e5, 1e-12, "100000 ± 1e-12"),
            (1.0, INF, "1 ± inf"),
            (INF, NAN, "inf"),
            (57.3123456, NAN, "57.3123"),
            (1e-7, NAN, "1e-7"),
        ],
    )
    def test_examples(self, mean: float, half: float, expected: str) -> None:
        assert format_interval(interval(mean, half)) == expected

    def test_digits_and_n(self) -> None:
        assert format_interval(interval(57.3123, 0.4216), digits=1) == "57.3 ± 0.4"
        assert format_interval(interval(57.3123, 0.4216), digits=3) == "57.312 ± 0.422"
        assert format_interval(interval(57.3123, 0.4216), show_n=True) == "57.31 ± 0.42 (n=3)"
        assert format_interval(mean_interval([])) == "–"
        assert format_interval(mean_interval([]), show_n=True) == "– (n=0)"
        assert format_interval(mean_interval([2.5])) == "2.5"

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (0.1, "0.1"),
            (1 / 3, "0.333333"),
            (1e-5, "1e-5"),
            (1234567.0, "1.23457e6"),
            (NAN, "nan"),
            (-INF, "-inf"),
        ],
    )
    def test_number(self, value: float, expected: str) -> None:
        assert format_number(value) == expected

    def test_nothing_is_lost_or_raised_over_all_magnitudes(self) -> None:
        generator = np.random.default_rng(1)
        for _ in range(2000):
            mean = float(generator.normal() * 10.0 ** generator.integers(-300, 300))
            half = abs(mean) * float(10.0 ** generator.uniform(-6, 2)) or 1.0
            text = format_interval(interval(mean, half))
            body, _, exponent = text.removeprefix("(").partition(")e")
            shown_mean, shown_half = (float(part) for part in body.split(" ± "))
            factor = 10.0 ** -int(exponent or 0)
            assert shown_half == pytest.approx(half * factor, rel=0.06)
            assert abs(shown_mean - mean * factor) <= 0.051 * half * factor
            decimals = {part.partition(".")[2].__len__() for part in body.split(" ± ")}
            assert len(decimals) == 1
