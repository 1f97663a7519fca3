"""Durations, sizes, times, and the estimate of what is left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from expedition.reporting.durations import estimate_remaining, format_bytes, format_duration, format_when


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.85, "850 ms"),
        (12.3, "12.3 s"),
        (245, "4:05 min"),
        (7391, "2:03:11 h"),
        (0, "0 ms"),
        (0.0000849, "85 µs"),
        (0.0009996, "1 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00 min"),
        (3599.4, "59:59 min"),
        (3599.6, "1:00:00 h"),
        (100 * 3600, "100:00:00 h"),
        (-12.3, "-12.3 s"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
    ],
)
def test_duration(seconds: float | None, expected: str) -> None:
    assert format_duration(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (23 * 1024**2, "23.0 MiB"),
        (5 * 1024**5, "5.0 PiB"),
        (5000 * 1024**5, "5000.0 PiB"),
        (-2048, "-2.0 KiB"),
        (None, "–"),
    ],
)
def test_bytes(size: int | None, expected: str) -> None:
    assert format_bytes(size) == expected


class TestWhen:
    @pytest.fixture(autouse=True)
    def zone(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
        monkeypatch.undo()
        time.tzset()

    @pytest.mark.parametrize(
        "when",
        [
            datetime(2026, 11, 22, 9, 0, 59, tzinfo=UTC),
            datetime(2026, 11, 22, 10, 0, tzinfo=timezone(timedelta(hours=1))),
            datetime(2026, 11, 22, 14, 30),
            1_795_338_000_000_000,
        ],
        ids=["utc", "other zone", "naive", "microseconds"],
    )
    def test_local_time(self, when: datetime | int) -> None:
        assert format_when(when) == "2026-11-22 14:30"

    def test_before_1970_and_out_of_range(self) -> None:
        assert format_when(-1) == "1970-01-01 05:29"
        assert format_when(10**30) == str(10**30)
        assert format_when(None) == "–"


class TestEstimate:
    def test_nothing_known(self) -> None:
        assert estimate_remaining([], 10, 2, 5.0) is None
        assert estimate_remaining([math.nan], 10, 2, 5.0) is None

    def test_nothing_left(self) -> None:
        assert estimate_remaining([], 0, 2, 5.0) == 0.0

    def test_one_worker(self) -> None:
        assert estimate_remaining([2.0, 4.0], 10, 1, 6.0) == 30.0

    def test_workers_share(self) -> None:
        assert estimate_remaining([3.0] * 20, 80, 4, 15.0) == 60.0

    def test_at_the_start_the_pace_is_not_believed(self) -> None:
        # One of eight parallel runs is done after its 10 s; the other seven nearly
        assert estimate_remaining([10.0], 79, 8, 10.0) == pytest.approx(98.75)

    def test_overhead_between_runs_counts(self) -> None:
        assert estimate_remaining([0.001] * 100, 100, 1, 10.0) == pytest.approx(10.0)

    def test_fewer_runs_than_workers(self) -> None:
        assert estimate_remaining([6.0, 6.0], 1, 8, 6.0) == 6.0

    def test_odd_input(self) -> None:
        assert estimate_remaining([2.0], 3, 0, 0.0) == 6.0
