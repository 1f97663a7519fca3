"""Merging against a model: rows as plain Python dicts, and the compiler given all rows at once."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.trajectory import Trajectory, compile_trajectory, merge
from tests.thoroughness import examples
from tests.trajectory.conftest import START
from tests.trajectory.laboratory import SECOND, Sweep
from tests.trajectory.test_arrays import ABSENT as NO_ARRAY
from tests.trajectory.test_arrays import columns, dtypes, kinds
from tests.trajectory.test_arrays import same as same_arrays
from tests.trajectory.test_round_trip import ABSENT, same, values

SETTLED = ("done", "skipped", "pruned")


@dataclass(frozen=True)
class Row:
    """A run as it is given to the builder, and what the merged file must say of it."""

    point: dict[str, Any]
    status: str
    stop: int
    data: dict[str, Any]
    derived: dict[str, Any]
    series: dict[str, list[Any]]
    constant: Any = 0
    key: str = ""
    origin: tuple[int, int] = (0, 0)


numbers = st.one_of(
    st.integers(-5, 5), st.floats(), st.booleans(), st.none(), st.floats(width=32).map(np.float32)
)
observations = st.one_of(
    st.lists(st.integers(-5, 5), max_size=3),
    st.lists(st.floats(), max_size=3),
    st.lists(st.floats().map(np.float64), max_size=3),
    st.lists(numbers, max_size=3),
    st.lists(st.just(np.arange(3.0)), max_size=2),
    st.lists(st.just(np.arange(4)), max_size=2),
    st.lists(st.just(np.arange(200)), max_size=2),
)
scalars = st.one_of(st.integers(-5, 5), st.floats(), st.sampled_from(["a", "b"]), values)
data = st.dictionaries(st.sampled_from(["x", "y", "g/a", "g/b", "z"]), scalars, max_size=3).map(
    lambda found: {name: value for name, value in found.items() if value is not ABSENT}
)
clashing = st.dictionaries(st.sampled_from(["y/a", "y/b", "g"]), st.integers(0, 9), max_size=1)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A run of any kind."""
    found = draw(data)
    for name, value in draw(clashing).items():
        if not any(other.startswith(f"{name}/") or name.startswith(f"{other}/") for other in found):
            found[name] = value
    return Row(
        {"i": draw(st.integers(0, 2)), "j": draw(st.sampled_from([0, 1.5, "a", None]))},
        draw(st.sampled_from([*SETTLED, "failed", "crashed"])),
        draw(st.integers(1, 4)),
        found,
        draw(st.dictionaries(st.sampled_from(["d", "e"]), st.integers(0, 3), max_size=1)),
        draw(st.dictionaries(st.sampled_from(["s", "t"]), observations, max_size=2)),
    )


@st.composite
def inputs(draw: st.DrawFn) -> list[list[Row]]:
    """Some sweeps of one experiment, whose runs overlap; every one has its own value of a constant."""
    found = draw(st.lists(st.lists(rows(), min_size=1, max_size=3), min_size=1, max_size=3))
    return [
        [replace(row, constant=draw(st.sampled_from([0, 1.5]))) for row in sweep[:1] + sweep[1:]]
        for sweep in found
    ]


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="merge-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def build(path: Path, sweep: Sequence[Row]) -> list[Row]:
    """Record and compile a sweep; return its rows with their keys and origins."""
    builder = Sweep(path, [row.point for row in sweep], {"c": sweep[0].constant})
    for index, row in enumerate(sweep):
        series = {name: items for name, items in row.series.items() if items}
        builder.end(index, row.stop, row.data, derived=row.derived, series=series, status=row.status)
    compile_trajectory(path)
    keys = [entry.key for entry in builder.sweep.entries]
    return [replace(row, key=key, constant=sweep[0].constant) for row, key in zip(sweep, keys, strict=True)]


def merged_rows(sweeps: Sequence[Sequence[Row]], *, remove_duplicates: bool) -> list[Row]:
    """The model: which rows a merged file has, and in which order."""
    found: dict[Any, Row] = {}
    for number, sweep in enumerate(sweeps):
        for index, row in enumerate(sweep):
            row = replace(row, origin=(number, index))
            name = row.key if remove_duplicates else (number, index)
            rank = (row.status in SETTLED, row.stop)
            if name not in found or rank > (found[name].status in SETTLED, found[name].stop):
                found[name] = row
    return list(found.values())


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Slashed names as nested dicts: what is a leaf in one run and a group in another is a dict in the file."""
    out: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, leaf = name.split("/")
        node = out
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return out


def plain(value: Any) -> Any:
    """Dicts in one order."""
    return {name: plain(value[name]) for name in sorted(value)} if isinstance(value, dict) else value


def check(traj: Trajectory, expected: Sequence[Row]) -> None:
    """Compare every row with the model, in value and type."""
    assert len(traj) == len(expected)
    for run, row in zip(traj, expected, strict=True):
        assert (run.key, run.status) == (row.key, row.status)
        assert run.stop is not None
        assert round(run.stop.timestamp() * 1e6) == START + row.stop * SECOND
        assert same(plain(run.params.to_dict()), plain({**row.point, "c": row.constant}))
        assert same(plain(nested(run.results.flat())), plain(nested(row.data)))
        assert same(plain(run.derived.flat()), plain(row.derived))
        origin = (traj.runs.origin[run.index], traj.runs.origin_index[run.index])
        assert origin == row.origin
        for name in ("s", "t"):
            items = row.series.get(name, [])
            if not items:
                assert name not in run.series
                continue
            found = run.series[name]
            assert found.step.tolist() == list(range(len(items)))
            assert len(found.value) == len(items)
            for left, right in zip(found.value, items, strict=True):
                assert np.array_equal(np.asarray(left, object), np.asarray(right, object)) or (
                    right is None or np.array_equal(np.float64(left), np.float64(right), equal_nan=True)
                )


SLOW = settings(max_examples=examples(5), deadline=None, suppress_health_check=list(HealthCheck))


@SLOW
@given(inputs(), st.booleans())
def test_a_merged_file_has_the_rows_of_the_model(sweeps: list[list[Row]], remove_duplicates: bool) -> None:
    with folder() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [build(root / f"sweep{number}", sweep) for number, sweep in enumerate(sweeps)]
        paths = [root / f"sweep{number}" for number in range(len(sweeps))]
        expected = merged_rows(known, remove_duplicates=remove_duplicates)
        with merge(*paths, to=root / "all.h5", remove_duplicates=remove_duplicates) as traj:
            check(traj, expected)
            assert [source["path"] for source in traj.sources] == [f"{p.name}/trajectory.h5" for p in paths]


@SLOW
@given(inputs())
def test_a_merged_file_is_what_the_compiler_makes_of_all_runs(sweeps: list[list[Row]]) -> None:
    every = [row for sweep in sweeps for row in sweep]
    with folder() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, sweep in enumerate(sweeps):
            build(root / f"sweep{number}", sweep)
        build(root / "all", every)
        paths = [root / f"sweep{number}" for number in range(len(sweeps))]
        with (
            merge(*paths, to=root / "merged.h5", remove_duplicates=False) as merged,
            Trajectory.open(root / "all") as compiled,
        ):
            paths_of = [[leaf.path for leaf in traj._tree.leaves()] for traj in (merged, compiled)]
            assert sorted(paths_of[0]) == sorted(paths_of[1])
            for path in set(paths_of[1]) - {"parameters/c"}:  # the only one that the built sweeps fix
                left, right = merged[path], compiled[path]
                if path.startswith("series/"):
                    for run in range(len(every)):
                        assert same(left[run].step, right[run].step)
                        assert same(list(left[run].value), list(right[run].value))
                else:
                    assert same(left.tolist(ABSENT), right.tolist(ABSENT))
                    assert left.states.tolist() == right.states.tolist()
                if "json" not in (left.kind, right.kind):
                    assert (left.kind, left.dtype) == (right.kind, right.dtype)


@SLOW
@given(inputs(), st.booleans(), st.data())
def test_merging_in_steps_is_merging_at_once(
    sweeps: list[list[Row]], remove_duplicates: bool, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(sweeps)))
    with folder() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [build(root / f"sweep{number}", sweep) for number, sweep in enumerate(sweeps)]
        paths = [root / f"sweep{number}" for number in range(len(sweeps))]
        with merge(*paths[:cut], to=root / "some" / "first.h5", remove_duplicates=remove_duplicates) as first:
            again = [first, *paths[cut:]]
            with merge(*again, to=root / "all.h5", remove_duplicates=remove_duplicates) as traj:
                check(traj, merged_rows(known, remove_duplicates=remove_duplicates))
                with merge(*paths, to=root / "once.h5", remove_duplicates=remove_duplicates) as once:
                    assert traj.sources == once.sources


@SLOW
@given(inputs(), st.randoms(use_true_random=False))
def test_the_order_of_inputs_changes_only_the_order_of_rows(sweeps: list[list[Row]], random: Any) -> None:
    with folder() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [build(root / f"sweep{number}", sweep) for number, sweep in enumerate(sweeps)]
        order = random.sample(range(len(sweeps)), len(sweeps))
        with merge(*(root / f"sweep{number}" for number in order), to=root / "all.h5") as traj:
            check(traj, merged_rows([known[number] for number in order], remove_duplicates=True))


@SLOW
@given(st.lists(st.lists(rows(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_trials_are_shifted_and_no_run_is_a_duplicate(sweeps: list[list[Row]]) -> None:
    with folder() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, shift = [], 0
        for number, sweep in enumerate(sweeps):
            numbered = [replace(row, point={**row.point, "n": index}) for index, row in enumerate(sweep)]
            for index, row in enumerate(build(root / f"sweep{number}", numbered)):
                expected.append(replace(row, point={**row.point, "n": index + shift}, origin=(number, index)))
            shift += len(sweep)
        paths = [root / f"sweep{number}" for number in range(len(sweeps))]
        with merge(*paths, to=root / "all.h5", trial="n") as traj:
            check(traj, expected)
            assert traj.par.n.values.tolist() == list(range(len(expected)))
            with merge(traj, to=root / "again.h5") as again:  # what was shifted is no duplicate later either
                check(again, expected)


# arrays, and values made of several arrays -------------------------------------------------------------------

one_kind = kinds.flatmap(
    lambda kind: st.lists(st.lists(kind, min_size=1, max_size=3), min_size=2, max_size=3)
)
several_kinds = st.lists(columns, min_size=2, max_size=3)


@settings(SLOW, max_examples=examples(5))
@given(st.one_of(one_kind, several_kinds))
def test_columns_of_arrays_are_exact_without_the_inputs(inputs: list[list[Any]]) -> None:
    cells = [cell for cells in inputs for cell in cells]
    with folder() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = [record(root / f"sweep{number}", own) for number, own in enumerate(inputs)]
        everything = record(root / "all", cells)
        with merge(*paths, to=root / "merged.h5", remove_duplicates=False) as merged:
            for path in paths:
                shutil.rmtree(path.parent)
            if all(cell is NO_ARRAY for cell in cells):
                assert "x" not in merged.results
                return
            for row, cell in enumerate(cells):
                assert merged.res.x.has(row) == (cell is not NO_ARRAY)
                assert cell is NO_ARRAY or same_arrays(merged.res.x[row], cell)
            with Trajectory.open(everything) as compiled:
                entries = [traj._store.schema["results/x"] for traj in (merged, compiled)]
                assert entries[0] == entries[1]


@settings(SLOW, max_examples=examples(5))
@given(kinds.flatmap(lambda kind: st.lists(st.lists(kind, min_size=1, max_size=2), min_size=2, max_size=3)))
def test_parameters_that_are_arrays_are_exact(inputs: list[list[Any]]) -> None:
    with folder() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = []
        for number, values in enumerate(inputs):
            sweep = Sweep(root / f"sweep{number}", [{"w": value} for value in values], {"fixed": values[0]})
            paths.append(compile_trajectory(sweep.path))
        with merge(*paths, to=root / "merged.h5", remove_duplicates=False) as merged:
            expected = [(value, values[0]) for values in inputs for value in values]
            for row, (value, fixed) in enumerate(expected):
                assert same_arrays(merged.par.w[row], value)
                assert same_arrays(merged.par.fixed[row], fixed)
            differs = any(not same_arrays(values[0], inputs[0][0]) for values in inputs)
            assert merged._store.schema["parameters/fixed"]["swept"] == differs


tracked = dtypes.flatmap(
    lambda dtype: st.lists(
        hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=20).flatmap(
            lambda shape: st.lists(hnp.arrays(dtype, shape), min_size=1, max_size=3)
        ),
        min_size=1,
        max_size=3,
    )
)


@settings(SLOW, max_examples=examples(5))
@given(st.lists(st.one_of(tracked, st.lists(observations, min_size=1, max_size=3)), min_size=2, max_size=3))
def test_series_are_what_the_compiler_makes_of_all_runs(inputs: list[list[list[Any]]]) -> None:
    with folder() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sweeps = [*inputs, [items for own in inputs for items in own]]
        paths = []
        for number, runs in enumerate(sweeps):
            sweep = Sweep(root / f"sweep{number}", [{"i": index} for index in range(len(runs))])
            for index, items in enumerate(runs):
                sweep.end(index, 1, series={"s": items} if items else {})
            paths.append(compile_trajectory(sweep.path))
        with (
            merge(*paths[:-1], to=root / "merged.h5", remove_duplicates=False) as merged,
            Trajectory.open(paths[-1]) as compiled,
        ):
            for path in paths[:-1]:
                shutil.rmtree(path.parent)
            if not any(sweeps[-1]):
                assert "s" not in merged.series
                return
            kept = [traj._store.schema["series/s"] for traj in (merged, compiled)]
            assert kept[0] == kept[1]
            for run in range(len(sweeps[-1])):
                left, right = merged.series.s[run], compiled.series.s[run]
                assert same(left.step, right.step)
                assert left.time.dtype == right.time.dtype
                assert same_arrays(left.value, right.value)


def record(path: Path, cells: Sequence[Any]) -> Path:
    """Record cells as ``x``, one per run, and compile."""
    sweep = Sweep(path, [{"i": index} for index in range(len(cells))])
    for index, cell in enumerate(cells):
        sweep.end(index, 1, {} if cell is NO_ARRAY else {"x": cell})
    return compile_trajectory(path)
