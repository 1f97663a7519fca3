"""A sweep that runs, grows, is compiled, searched, reopened and merged, next to a plain dictionary of its rows."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from expedition import Trajectory
from expedition.errors import NameNotFoundError
from expedition.trajectory import compile_trajectory, merge
from expedition.values import encode
from tests.thoroughness import examples
from tests.trajectory.conftest import SweepBuilder, run_key
from tests.values.equality import exactly_equal

SETTLED = "done"
PARAMETERS = st.integers(-3, 12)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(), st.floats(width=32).map(np.float32)
)
ARRAYS = st.one_of(
    st.integers(0, 3).map(lambda n: np.arange(2.0) + n),
    st.integers(1, 4).map(lambda n: np.arange(n)),
    st.just(np.zeros((2, 2), np.int16)),
)
OTHERS = st.one_of(
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=2),
    st.tuples(st.integers(0, 2), st.text(max_size=1)),
    st.integers(0, 10**6).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "number": NUMBERS,
        "group/float": st.floats(),
        "group/int": st.integers(0, 9),
        "array": ARRAYS,
        "other": OTHERS,
        "any": st.one_of(NUMBERS, ARRAYS, OTHERS),
    },
)
SERIES = st.dictionaries(
    st.sampled_from(["s", "t/u"]), st.lists(st.floats(-9, 9), min_size=1, max_size=3), max_size=2
)


@dataclass
class Row:
    """What the model knows of a run."""

    x: int
    replicate: int
    status: str = "pending"
    attempt: int = -1
    data: dict[str, Any] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)


class Sweep:
    """A sweep folder and the model of it."""

    def __init__(self, path: Path, values: list[int]) -> None:
        self.rows: list[Row] = []
        for x in values:
            self.rows.append(Row(x, sum(row.x == x for row in self.rows)))
        self.builder = SweepBuilder(path, [{"x": x} for x in values], {"fixed": "constant"})

    def grow(self, values: list[int]) -> None:
        """Append runs, as an invocation that resumes an expanded sweep does."""
        added = []
        for x in values:
            replicate = sum(row.x == x for row in self.rows)
            index = len(self.rows)
            params = {"x": encode(x)}
            point = f'{{"x": {x}}}'
            added.append(
                {
                    "index": index,
                    "id": f"exp_x.py::exp_x[x={x}-rep={replicate}]",
                    "key": run_key(point, replicate),
                    "folder": f"{index:04d}-x",
                    "params": params,
                    "replicate": replicate,
                }
            )
            self.rows.append(Row(x, replicate))
        self.builder.sweep.add_invocation({"runs": added})

    def end(self, index: int, status: str, data: dict[str, Any], series: dict[str, list[float]]) -> None:
        """Commit a run, which may have been tried before."""
        row = self.rows[index]
        row.status, row.data, row.attempt = status, data, row.attempt + 1
        if row.attempt:  # the earlier attempt is set aside
            shutil.rmtree(self.builder.folder(index))
        row.series = series
        self.builder.run(
            index, data, series=series, status=status, attempt=row.attempt, worker=f"gw{index % 2}"
        )


def check_row(run: Any, row: Row) -> None:
    assert run.status == row.status
    assert run.par.x == row.x
    assert run.par.fixed == "constant"
    assert run.replicate == row.replicate
    stored = {name: run.get(f"results/{name}", KeyError) for name in ALL}
    for name in ALL:
        if name in row.data:
            assert exactly_equal(stored[name], row.data[name]), (name, stored[name], row.data[name])
        else:
            assert stored[name] is KeyError, (name, stored[name])
    for name in ("s", "t/u"):
        if row.series.get(name):
            assert run.series[name].value.tolist() == row.series[name]
            assert run.series[name].step.tolist() == list(range(len(row.series[name])))
        else:
            found = run.get(f"series/{name}")
            assert found is None or len(found.value) == 0


ALL = ("number", "group/float", "group/int", "array", "other", "any")


class Machine(RuleBasedStateMachine):
    """Every step is one that a user or the harness takes; the file must always say what the dictionary says."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.other: Sweep | None = None
        self.compiled = False

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @initialize(values=st.lists(PARAMETERS, min_size=1, max_size=5))
    def begin(self, values: list[int]) -> None:
        self.sweep = Sweep(self.folder / "sweep", values)

    @rule(
        pick=st.integers(0, 99), data=DATA, series=SERIES, status=st.sampled_from(["done", "done", "failed"])
    )
    def store(self, pick: int, data: dict[str, Any], series: dict[str, list[float]], status: str) -> None:
        open_rows = [i for i, row in enumerate(self.sweep.rows) if row.status != SETTLED]
        if open_rows:
            self.sweep.end(open_rows[pick % len(open_rows)], status, data, series)
            self.compiled = False

    @rule(values=st.lists(PARAMETERS, min_size=1, max_size=3))
    def expand(self, values: list[int]) -> None:
        if len(self.sweep.rows) < 20:
            self.sweep.grow(values)
            self.compiled = False

    @rule()
    def compile(self) -> None:
        compile_trajectory(self.sweep.builder.path)
        self.compiled = True

    @precondition(lambda self: self.compiled)
    @rule()
    def reopen(self) -> None:
        with Trajectory.open(self.sweep.builder.path) as traj:
            self.check(traj, self.sweep.rows)

    @precondition(lambda self: self.compiled)
    @rule(limit=PARAMETERS, status=st.sampled_from(["done", "failed", "pending"]))
    def select(self, limit: int, status: str) -> None:
        rows = self.sweep.rows
        wanted = [i for i, row in enumerate(rows) if row.x < limit and row.status == status]
        with Trajectory.open(self.sweep.builder.path) as traj:
            assert traj.find(f"x < {limit} and status == '{status}'").tolist() == wanted
            view = traj.select(lambda x: x < limit).select(status=status)
            assert [run.index for run in view] == wanted
            assert view.par.x.tolist() == [rows[i].x for i in wanted]
            self.check(view, [rows[i] for i in wanted])
            points = traj.unique_points()
            assert len(points) == len({row.x for row in rows})

    @precondition(lambda self: self.compiled)
    @rule(values=st.lists(PARAMETERS, min_size=1, max_size=4), data=st.lists(DATA, min_size=4, max_size=4))
    def merge_with_another(self, values: list[int], data: list[dict[str, Any]]) -> None:
        other = Sweep(Path(tempfile.mkdtemp(dir=self.folder)) / "other", values)
        for index in range(len(values)):
            other.end(index, "done", data[index], {})
        compile_trajectory(other.builder.path)
        target = self.folder / "merged.h5"
        before = [(sweep.builder.path / "trajectory.h5").read_bytes() for sweep in (self.sweep, other)]
        merge(self.sweep.builder.path, other.builder.path, to=target, overwrite=True)
        after = [(sweep.builder.path / "trajectory.h5").read_bytes() for sweep in (self.sweep, other)]
        assert before == after
        chosen: dict[tuple[int, int], Row] = {}
        for row in [*self.sweep.rows, *other.rows]:
            have = chosen.get((row.x, row.replicate))
            if have is None or have.status != SETTLED:
                chosen[row.x, row.replicate] = row
        with Trajectory.open(target) as traj:
            found = {(run.par.x, run.replicate): run for run in traj}
            assert len(traj) == len(found) == len(chosen)
            for key, run in found.items():
                mine = [row for row in self.sweep.rows if (row.x, row.replicate) == key]
                theirs = [row for row in other.rows if (row.x, row.replicate) == key]
                candidates = [row for row in (*mine, *theirs) if row.status == chosen[key].status]
                for candidate in candidates:  # of two that are settled the one that stopped later counts
                    try:
                        check_row(run, candidate)
                        break
                    except (AssertionError, NameNotFoundError):
                        if candidate is candidates[-1]:
                            raise

    @invariant()
    def published_file_is_whole(self) -> None:
        if self.compiled:
            with Trajectory.open(self.sweep.builder.path) as traj:
                assert len(traj) == len(self.sweep.rows)

    def check(self, traj: Any, rows: list[Row]) -> None:
        assert len(traj) == len(rows)
        for run, row in zip(traj, rows, strict=True):
            check_row(run, row)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=examples(10), stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
