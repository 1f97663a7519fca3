"""Times that a jump of the system's clock does not make false, and lines that reach the disk while a run is silent."""

from __future__ import annotations

import pytest

from tests.durability.laboratory import Laboratory


@pytest.mark.parametrize("jump", [-7200, 7200])
def test_a_clock_that_jumps_makes_no_duration_false(lab: Laboratory, jump: int) -> None:
    lab.write(
        "conftest.py",
        """
        import time
        import pytest

        jump, real, real_ns = [0], time.time, time.time_ns
        time.time = lambda: real() + jump[0]
        time.time_ns = lambda: real_ns() + jump[0] * 10**9

        @pytest.fixture
        def set_clock():
            yield jump
            jump[0] = 0
        """,
    )
    lab.write(
        "exp_clock.py",
        """
        from expedition import experiment

        @experiment.parametrize("x", [0, 1])
        def exp_clock(e, set_clock, x: int = 0):
            e.track("s", 1)
            set_clock[0] += JUMP
            e.track("s", 2)
        """.replace("JUMP", str(jump)),
    )
    lab.run().exits(0)
    for name, record in lab.records().items():
        assert record.duration is not None
        assert 0 <= record.duration < 3600
        assert record.stopped is not None
        assert (record.stopped - record.started).total_seconds() == pytest.approx(record.duration)
        line = lab.commits()[name]
        assert (line["stop"] - line["start"]) / 1e6 == pytest.approx(record.duration)


def test_a_line_is_on_the_disk_soon_though_none_follows(lab: Laboratory) -> None:
    lab.write(
        "exp_silent.py",
        """
        import os, time
        import numpy as np
        from expedition import experiment

        synced = []
        before = os.fdatasync
        def noted(descriptor):
            before(descriptor)
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}").rpartition("/")[2])

        @experiment
        def exp_silent(e):
            import expedition.recording.syncer as syncer
            syncer._sync = noted
            e["x"] = 1
            e.track("field", np.zeros(1000))
            while not {"experiment_journal.jsonl", "series.bin"} <= set(synced):
                time.sleep(0.05)  # no line follows
            synced.clear()
            e.track("y", 1)
            while "experiment_journal.jsonl" not in synced:
                time.sleep(0.05)
        """,
    )
    lab.run().exits(0)
