"""Random growth: what is extended step by step equals what is compiled as a whole, node by node."""

from __future__ import annotations

import tempfile
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.trajectory.file import format as fmt
from tests.thoroughness import examples
from tests.trajectory.growing import GrowingSweep, update_and_compare

NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.floats(allow_nan=True, width=32),
    st.sampled_from([2**53 + 1, -(2**63), 2**70, True, False, None]),
    st.floats(-1, 1).map(np.float64),
    st.integers(0, 9).map(np.int64),
    st.integers(0, 9).map(np.int8),
)
ODD = st.sampled_from(
    [
        "é",
        "",
        "a\0b",
        "x" * 40,
        np.str_("u"),
        1j,
        (1, 2),
        [1, "a"],
        {},
        b"raw",
        datetime(2026, 1, 2, 3, 4, 5),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        timedelta(seconds=1.5),
        np.datetime64("2026-01-01", "s"),
        np.timedelta64(5, "ms"),
    ]
)
ARRAYS = st.sampled_from(
    [
        np.arange(3.0),
        np.zeros(3),
        np.arange(4.0),
        np.arange(3),
        np.zeros((2, 2)),
        np.zeros(0),
        np.array(5.0),
        np.array([True, False]),
        np.ones(300),
        np.ma.masked_equal(np.arange(3), 1),
    ]
)
VALUES = {
    "float": st.floats(allow_nan=True),
    "int": st.integers(-100, 100),
    "text": st.text(max_size=5),
    "bool": st.booleans(),
    "number": NUMBERS,
    "list": st.lists(st.integers(0, 3), max_size=2),
    "stack": st.integers(0, 9).map(lambda k: np.full(3, k / 2)),
    "ragged": st.integers(1, 4).map(lambda k: np.arange(k)),
    "any": st.one_of(NUMBERS, ODD, ARRAYS),
}
"""By habit of a column; now and then a run has something else, or nothing."""
OBSERVATIONS = {
    "float": st.floats(allow_nan=True),
    "number": NUMBERS,
    "text": st.text(max_size=3),
    "array": st.integers(0, 9).map(lambda k: np.full((2, 2), k / 2)),
    "large": st.integers(0, 9).map(lambda k: np.full(200, k)),
    "any": st.one_of(NUMBERS, st.sampled_from(["a", [1]]), ARRAYS),
}
NAMES = ["a", "b", "c", "g/x", "g/y", "z"]
TROUBLE = ["g", "a/deeper", "_odd", "a_dim1"]
"""Names that are leaf and group, or in the way of others."""
STATUSES = ["done", "done", "done", "failed", "skipped"]


class History:
    """Draws what happens to a sweep."""

    def __init__(self, draw: Any, path: Path) -> None:
        self.draw = draw
        self.habits = {name: draw(st.sampled_from(sorted(VALUES))) for name in NAMES}
        self.tracks = {name: draw(st.sampled_from(sorted(OBSERVATIONS))) for name in ("s", "t/u")}
        rows = [{"i": i, "lr": i / 4} for i in range(draw(st.integers(1, 6)))]
        constants = {"n": 3, "name": "mnist", "w": np.arange(3.0)}
        self.sweep = GrowingSweep(path, rows, constants)
        self.attempts: dict[int, int] = {}
        self.settled: set[int] = set()

    def record(self) -> dict[str, Any]:
        """What a run records."""
        draw, data, series = self.draw, {}, {}
        names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
        if draw(st.integers(0, 20)) == 0:
            names += [draw(st.sampled_from(TROUBLE))]
        for name in names:
            usual = name in self.habits and draw(st.integers(0, 9)) > 0
            data[name] = draw(VALUES[self.habits[name]] if usual else VALUES["any"])
        taken = {name.split("/")[0] for name in data if "/" in name}
        data = {name: value for name, value in data.items() if name not in taken}
        for name in draw(st.lists(st.sampled_from(sorted(self.tracks)), unique=True)):
            usual = draw(st.integers(0, 9)) > 0
            values = OBSERVATIONS[self.tracks[name]] if usual else OBSERVATIONS["any"]
            series[name] = draw(st.lists(values, min_size=1, max_size=3))
        notes = {}
        if draw(st.integers(0, 2)) == 0:
            key = draw(st.sampled_from(["a", "g/x", "s", "lr", "nothing"]))
            notes[key] = {"unit": draw(st.sampled_from(["K", "K", "K", "m"])), "comment": draw(TEXTS)}
        return {"data": data, "series": series, "annotations": notes}

    def step(self) -> None:
        """Let one thing happen."""
        draw, sweep = self.draw, self.sweep
        what = draw(st.sampled_from(["end", "end", "end", "end", "begin", "crash", "expand"]))
        if what == "expand":
            self._expand()
            return
        open_runs = [e.index for e in sweep.sweep.entries if e.index not in self.settled]
        if not open_runs:
            return
        index = draw(st.sampled_from(open_runs)) if draw(st.booleans()) else open_runs[0]
        attempt = self.attempts[index] = self.attempts.get(index, -1) + 1
        if what == "end":
            status = draw(st.sampled_from(STATUSES))
            error = (
                draw(st.sampled_from(["E: no", "ValueError: " + "x" * 30])) if status == "failed" else None
            )
            worker = draw(st.sampled_from(["gw0", "gw1", "gw10"]))
            derived = {"total": draw(NUMBERS)} if draw(st.booleans()) else {}
            how = {"status": status, "error": error, "worker": worker, "attempt": attempt}
            sweep.again(index, derived=derived, **how, **self.record())
            if status != "failed":
                self.settled.add(index)
        else:
            sweep.begin(index, attempt=attempt, alive=what == "begin", **self.record())

    def _expand(self) -> None:
        draw = self.draw
        count = draw(st.integers(1, 3))
        points: list[dict[str, Any]] = [
            {"i": 100 + k, "lr": draw(st.sampled_from([0.5, 1, "auto", None]))} for k in range(count)
        ]
        parameters: dict[str, Any] = {}
        kind = draw(st.integers(0, 5))
        if kind == 0:
            points = [{**point, "n": 4} for point in points]
        elif kind == 1:
            parameters = {"extra.depth": {"type": "int", "description": "new", "swept": False}}
            points = [{**point, "extra.depth": k} for k, point in enumerate(points)]
        self.sweep.expand(points, parameters, absent=["name"] if kind == 2 else ())


TEXTS = st.sampled_from(["", "what it is", "what it is", "other"])


@settings(
    max_examples=examples(8),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_an_extended_file_equals_a_compiled_one(data: st.DataObject) -> None:
    chunk = fmt.ROW_CHUNK
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = History(data.draw, Path(folder) / "sweep")
        fmt.ROW_CHUNK = data.draw(st.sampled_from([2, 1024]), label="rows of a chunk")
        try:
            for _ in range(data.draw(st.integers(1, 5), label="updates")):
                for _ in range(data.draw(st.integers(1, 3), label="events")):
                    history.step()
                update_and_compare(history.sweep.path)
        finally:
            fmt.ROW_CHUNK = chunk
