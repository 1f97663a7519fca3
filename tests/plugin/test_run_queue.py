"""The order in which runs go to workers."""

from __future__ import annotations

from expedition.plugin.run_queue import QueuedRun, RunQueue


def taken(queue: RunQueue, workers: int = 1) -> list[int]:
    """The order in which one worker takes all runs."""
    found: list[int] = []
    while queue:
        found.append(queue.take("gw0", workers=workers))
    return found


def test_nothing_known_is_the_order_of_the_design() -> None:
    assert taken(RunQueue([QueuedRun(place=place) for place in "aabba"])) == [0, 1, 4, 2, 3]
    assert taken(RunQueue([QueuedRun() for _ in range(5)])) == [0, 1, 2, 3, 4]


def test_the_longest_comes_first_and_the_unknown_before_it() -> None:
    runs = [QueuedRun(seconds) for seconds in (1.0, 9.0, None, 3.0, None)]
    assert taken(RunQueue(runs)) == [2, 4, 1, 3, 0]
    assert taken(RunQueue(runs, ordered=True)) == [0, 1, 2, 3, 4]


def test_about_as_long_is_equal() -> None:
    assert taken(RunQueue([QueuedRun(seconds) for seconds in (1.0, 1.05, 0.98, 8.0)])) == [3, 0, 1, 2]
    assert taken(RunQueue([QueuedRun(seconds) for seconds in (0.001, 0.04, 0.002)])) == [0, 1, 2]


def test_one_worker_per_place_and_then_help_where_least_are() -> None:
    queue = RunQueue([QueuedRun(place=place) for place in "aaabb"])
    assert queue.take("gw0", workers=3) == 0
    assert queue.take("gw1", workers=3) == 3
    assert queue.take("gw2", workers=3) == 1
    assert queue.take("gw1", workers=3) == 4
    assert queue.take("gw1", workers=3) == 2
    assert not queue


def test_a_pressing_run_goes_before_fixtures() -> None:
    runs = [QueuedRun(1.0, place="a") for _ in range(8)] + [
        QueuedRun(9.0, place="b"),
        QueuedRun(1.0, place="b"),
    ]
    queue = RunQueue(runs)
    assert queue.take("gw0", workers=2) == 8
    assert queue.take("gw1", workers=2) == 0
    assert queue.take("gw0", workers=2) == 9  # not pressing: it stays where it is
    even = RunQueue([QueuedRun(1.0, place=place) for place in "ab" * 10])
    assert taken(even, workers=2) == [*range(0, 20, 2), *range(1, 20, 2)]


def test_what_comes_back_waits_in_its_place_or_behind_all() -> None:
    queue = RunQueue([QueuedRun() for _ in range(4)])
    assert [queue.take("gw0", workers=1) for _ in range(2)] == [0, 1]
    queue.put(0)
    queue.put(1, last=True)
    assert len(queue) == 4
    assert taken(queue) == [0, 2, 3, 1]
    queue.put(2)
    queue.clear()
    assert not queue


def test_a_worker_that_is_gone_holds_no_place() -> None:
    queue = RunQueue([QueuedRun(place=place) for place in "aabb"])
    assert queue.take("gw0", workers=2) == 0
    queue.forget("gw0")
    assert queue.take("gw1", workers=2) == 1
