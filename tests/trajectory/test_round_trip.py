"""What runs stored comes back from the trajectory equal in value and type."""

from __future__ import annotations

import datetime as dt
import math
import shutil
import struct
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.errors import NameNotFoundError
from expedition.trajectory import Trajectory, compile_trajectory
from expedition.values import encode
from tests.thoroughness import examples
from tests.trajectory.conftest import BuildSweep, SweepBuilder

ABSENT = object()


def same(left: Any, right: Any) -> bool:
    """Equal in value and type, NaN like NaN and -0.0 unlike 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray) and left.dtype.str == "<f16":  # has padding bytes
        return np.array_equal(left, right, equal_nan=True)
    if isinstance(left, np.generic):
        return left.dtype == right.dtype and bool(left == right or (left != left and right != right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right) or (left != left and right != right)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    return bool(left == right)


def compiled(builder: SweepBuilder) -> Trajectory:
    return Trajectory.open(compile_trajectory(builder.path))


def check_cells(builder: SweepBuilder, cells: list[Any]) -> None:
    """Store `cells` as ``x``, one per run, and compare what comes back by every way of access."""
    for index, value in enumerate(cells):
        builder.run(index, {} if value is ABSENT else {"x": value})
    with compiled(builder) as traj:
        if all(value is ABSENT for value in cells):
            assert "x" not in traj.results
            return
        column = traj.res.x
        listed = column.tolist(missing=ABSENT)
        for index, value in enumerate(cells):
            if value is ABSENT:
                assert listed[index] is ABSENT
                assert "x" not in traj[index].results
                with pytest.raises(NameNotFoundError, match=rf"run {index} .* has no results/x"):
                    _ = traj[index].results.x
                continue
            assert same(listed[index], value), (listed[index], value)
            assert same(column[index], value)
            assert same(traj[index].res.x, value)


EPOCH = dt.datetime(1970, 1, 1)
COLUMNS: dict[str, list[Any]] = {
    "float": [1.5, -0.0, 0.1, 1e308],
    "float with nan and holes": [1.5, math.nan, ABSENT, None, math.inf, -math.inf],
    "int": [1, -(2**63), 2**63 - 1, 0],
    "int with holes": [1, ABSENT, -(2**63), None],
    "int beyond 64 bits": [1, 2**63, -(10**40)],
    "bool": [True, False, True],
    "bool with holes": [True, ABSENT, False, None],
    "bool and int": [True, 1, 0, False],
    "int and float": [1, 2.5, -3, math.nan, 2**53],
    "int too large for a float": [2**53 + 1, 2.5],
    "int and float with holes": [1, 2.5, None, ABSENT],
    "text": ["a", "", "héllo \n", "日本"],
    "text with holes": ["a", ABSENT, None, ""],
    "text with NUL": ["a\0b", "c"],
    "lone surrogate": ["\ud800", "x"],
    "text and number": ["a", 1, 2.0, None, ABSENT],
    "complex": [1j, complex(math.nan, -0.0), 2 + 3j],
    "complex with holes": [1j, ABSENT, None],
    "datetime": [EPOCH, dt.datetime(2026, 11, 22, 1, 2, 3, 4), dt.datetime.max, dt.datetime.min],
    "aware datetime": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), ABSENT],
    "datetimes of two zones": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), EPOCH],
    "timedelta": [dt.timedelta(1, 2, 3), ABSENT, dt.timedelta(0), None],
    "numpy float32": [np.float32(0.1), np.float32(math.nan), ABSENT],
    "numpy float16": [np.float16(0.1), ABSENT],
    "numpy int8": [np.int8(-5), ABSENT, np.int8(7)],
    "numpy uint64": [np.uint64(2**64 - 1), np.uint64(0)],
    "numpy bool": [np.True_, np.False_],
    "numpy bool with holes": [np.True_, ABSENT],
    "numpy complex64": [np.complex64(1j), ABSENT],
    "numpy longdouble": [np.longdouble(1) / 3],
    "numpy datetime64": [np.datetime64("2026-01-01T00:00:00", "ns"), np.datetime64("NaT", "ns")],
    "numpy and python": [np.float64(1.0), 1.0],
    "None": [None, None],
    "None and missing": [None, ABSENT],
    "missing": [ABSENT, ABSENT],
    "list": [[1, 2.0, None], [], ["a"]],
    "tuple": [(1, 2), (1,), ABSENT],
    "empty dict": [{}, {}],
    "set": [{1, 2}, frozenset({"a"})],
    "bytes": [b"\0\xff", bytearray(b"x")],
    "decimal": [Decimal("0.10"), Decimal("1E+3")],
    "path": [Path("a/b"), ABSENT],
    "array": [np.arange(3), np.arange(3) + 1, ABSENT, None],
    "array float": [np.array([1.0, math.nan]), np.array([math.inf, -0.0])],
    "array bool": [np.array([True, False]), ABSENT],
    "array bool in all": [np.array([True, False]), np.array([False, False])],
    "array float16": [np.array([0.1, 2], np.float16), ABSENT],
    "array longdouble": [np.array([0.1], np.longdouble)],
    "array big-endian": [np.array([1, 2], ">i4"), np.array([3, 4], ">i4")],
    "array uint8": [np.array([0, 255], np.uint8), ABSENT],
    "array complex64": [np.array([1j, 2], np.complex64)],
    "array of text": [np.array(["a", "bcd"])],
    "array of datetimes": [np.array(["2026-01-01"], "M8[D]")],
    "structured array": [np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])],
    "0-d array": [np.array(1.5), np.array(2.5)],
    "empty array": [np.zeros((0, 3)), np.zeros((0, 3))],
    "ragged": [np.arange(3), np.arange(5), ABSENT, np.arange(0), None],
    "ragged 2-d": [np.ones((2, 3), np.float32), np.ones((4, 1), np.float32)],
    "ragged bool": [np.array([True]), np.array([True, False])],
    "arrays of two dtypes": [np.arange(3), np.arange(3.0)],
    "arrays of two ranks": [np.arange(3), np.ones((2, 2))],
    "array and number": [np.arange(3), 3],
    "large array": [np.arange(1000.0), np.arange(1000.0) + 1],
    "large ragged": [np.arange(1000.0), np.arange(2000.0)],
    "large of two dtypes": [np.arange(1000.0), np.arange(1000), ABSENT],
    "large Fortran": [np.asfortranarray(np.arange(1000.0).reshape(20, 50)), np.ones((20, 50))],
    "masked array": [np.ma.array([1, 2], mask=[0, 1])],
}


@pytest.mark.parametrize("cells", COLUMNS.values(), ids=COLUMNS.keys())
def test_a_column_keeps_value_and_type(build_sweep: BuildSweep, cells: list[Any]) -> None:
    builder = build_sweep([{"i": i} for i in range(len(cells))])
    if isinstance(cells[0], np.ma.MaskedArray):
        builder.run(0, {"x": cells[0]})
        with compiled(builder) as traj:
            assert np.ma.allequal(traj[0].res.x, cells[0])
        return
    check_cells(builder, cells)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=20),
    st.complex_numbers(),
    st.datetimes(),
    st.timedeltas(),
    st.binary(max_size=8),
    st.floats(width=32).map(np.float32),
    st.integers(-128, 127).map(np.int8),
    st.just(ABSENT),
)
arrays = st.one_of(
    st.lists(st.floats(), max_size=4).map(np.array),
    st.lists(st.integers(-5, 5), min_size=2, max_size=2).map(np.array),
    st.just(np.arange(200.0)),
)
values = st.one_of(
    scalars,
    arrays,
    st.lists(scalars.filter(lambda v: v is not ABSENT), max_size=3),
    st.dictionaries(
        st.text(st.characters(blacklist_categories=["Cs"]), max_size=4), st.integers(), max_size=3
    ),
)
columns = st.one_of(
    st.lists(values, min_size=1, max_size=6),
    *(
        st.lists(st.one_of(kind, st.just(ABSENT)), min_size=1, max_size=6)
        for kind in (
            st.floats(),
            st.integers(),
            st.one_of(st.integers(), st.floats()),
            st.text(),
            st.booleans(),
        )
    ),
)


@settings(
    deadline=None, max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cells=columns)
def test_any_column_keeps_value_and_type(tmp_path: Path, cells: list[Any]) -> None:
    shutil.rmtree(tmp_path / "sweep", ignore_errors=True)
    builder = SweepBuilder(tmp_path / "sweep", [{"i": i} for i in range(len(cells))])
    check_cells(builder, cells)


def test_parameters_of_every_kind_come_back(build_sweep: BuildSweep) -> None:
    rows: list[dict[str, Any]] = [
        {"alpha": 0.1, "model.depth": 1, "act": "relu", "mix": 1},
        {"alpha": 1.0, "model.depth": 2, "act": None, "mix": "a"},
    ]
    constants = {"N": 3, "data": "mnist", "layers": [1, 2], "w": np.arange(3.0), "none": None, "flag": True}
    builder = build_sweep(rows, constants)
    with compiled(builder) as traj:
        assert traj[0].params.to_dict()["model"] == {"depth": 1}
        assert same(traj[1].params.alpha, 1.0)
        assert same(traj[1].par.act, None)
        assert [traj[i].par.mix for i in (0, 1)] == [1, "a"]
        for index in (0, 1):
            run = traj[index]
            assert all(same(run.params[name], value) for name, value in constants.items())
        assert traj.par["model.depth"].values.tolist() == [1, 2]
        assert traj.par.alpha.comment == "about alpha"


def test_a_name_that_is_leaf_and_group_becomes_json(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(4)])
    builder.run(0, {"x": 1, "y/a": 1.0})
    builder.run(1, {"x/a": 1.5, "x/b/c": np.arange(2), "y/a": 2.0})
    builder.run(2, {"x/$": "tuple", "x/b": None, "y/a/z": 3})
    with compiled(builder) as traj:
        assert traj.res.x.kind == "json"
        assert traj[0].res.x == 1
        assert traj[1].res.x["a"] == 1.5
        assert traj[1].res.x["b"]["c"].tolist() == [0, 1]
        assert traj[2].res.x == {"$": "tuple", "b": None}
        assert [run.results.get("y/a") for run in traj] == [1.0, 2.0, {"z": 3}, None]


@pytest.mark.parametrize(
    "name", [".", "..", "a.b", "ü ñ", " lead", "_x", "x" * 300, "a\nb", "run", "value", "é" * 150, "a~b", "$"]
)
def test_odd_names_work(build_sweep: BuildSweep, name: str) -> None:
    builder = build_sweep([{"i": 0}, {"i": 1}])
    builder.run(0, {name: 1.5, f"group/{name}": 2, f"{name}2/x": np.arange(3)}, series={name: [1, 2]})
    with compiled(builder) as traj:
        assert traj[0].results[name] == 1.5
        assert traj[0].results[f"group/{name}"] == 2
        assert traj[0].results[f"{name}2/x"].tolist() == [0, 1, 2]
        assert traj[0].series[name].value.tolist() == [1, 2]
        assert name in traj.results


def test_names_of_the_format_itself_can_be_used(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for index in range(3):
        data = {"x": np.arange(2), "x_dim1": 5.0, "r": np.arange(index), "r_": 1, "x_dim1_": 2.0}
        builder.run(index, data, series={"s": [1.0], "s2/value": [2], "s2/step": [3.0, 4.0]})
    with compiled(builder) as traj:
        assert traj[1].res.x_dim1 == 5.0
        assert traj[2].res.r.tolist() == [0, 1]
        assert traj[0].series["s2/value"].value.tolist() == [2]
        assert traj[0].series["s2/step"].value.tolist() == [3.0, 4.0]


def test_series_that_are_leaf_and_group_across_runs(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    builder.run(0, series={"a": [1.0, 2.0]})
    builder.run(1, series={"a/value": [3], "a/b": [4.0]})
    with compiled(builder) as traj:
        assert traj.series["a"][0].value.tolist() == [1.0, 2.0]
        assert traj.series["a/value"][1].value.tolist() == [3]
        assert traj.series["a/b"][1].value.tolist() == [4.0]


def test_many_leaves_share_a_column(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for index in range(2):
        builder.run(index, tagged={f"m{k:04d}": k + 0.5 for k in range(1010)} | {f"only{index}": index})
    with pytest.warns(UserWarning, match="1,012 different results; those after the first 1,000"):
        path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        assert traj[1].res.m1009 == 1009.5
        assert traj.res.m1009.tolist() == [1009.5, 1009.5, None]
        assert traj.res.m1009.values.tolist() == [1009.5, 1009.5, None]
        assert [run.results.get("only1") for run in traj] == [None, 1, None]
        assert traj.res.m0999[0] == 999.5


def test_pending_and_failed_runs_are_rows(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(4)])
    builder.run(2, {"x": 1}, status="failed", error="ValueError: no\0pe ü", worker="gw1", attempt=1)
    builder.run(0, {"x": 2})
    with compiled(builder) as traj:
        assert len(traj) == 4
        assert traj.runs.status.values.tolist() == ["done", "pending", "failed", "pending"]
        failed, pending = traj[2], traj[1]
        assert failed.error == "ValueError: no�pe ü"
        assert (failed.worker, failed.attempt, failed.seed, failed.replicate) == ("gw1", 1, 1002, 0)
        assert failed.start == dt.datetime(2023, 11, 14, 22, 13, 22, tzinfo=dt.UTC)
        assert (failed.duration, failed.folder) == (0.25, builder.path / "0002-x")
        assert (pending.start, pending.stop, pending.duration) == (None, None, None)
        assert (pending.worker, pending.seed, pending.error) == (None, None, None)
        assert pending.params.to_dict() == {"i": 1}
        assert pending.results.to_dict() == {}


def test_the_highest_attempt_counts_and_long_errors_are_kept(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}, {"i": 1}])
    builder.run(0, {"x": 1}, status="failed", error="E: " + "long " * 2000)
    builder.run(0, {"x": 2}, attempt=1, worker="gw0")
    builder.run(1, {"x": 1}, status="failed", error="E: " + "long " * 2000, seed=2**100)
    with compiled(builder) as traj:
        assert (traj[0].res.x, traj[0].attempt, traj[0].error) == (2, 1, None)
        assert traj[1].error == "E: " + "long " * 2000
        assert traj[1].seed == 2**100


def test_a_sweep_without_runs_and_one_without_results(build_sweep: BuildSweep, tmp_path: Path) -> None:
    with compiled(SweepBuilder(tmp_path / "none", [])) as traj:
        assert (len(traj), list(traj), traj.find("status == 'done'").tolist()) == (0, [], [])
        assert traj.to_pandas().empty
    with compiled(build_sweep([{"i": 0}])) as traj:
        assert (len(traj), traj[0].status, list(traj.results)) == (1, "pending", [])


def test_config_holds_the_options(build_sweep: BuildSweep) -> None:
    options = {"testing": True, "timeout": 1.5, "nested": {"a": 1, "b": [1]}, "odd": {"x/y": 1}, "none": None}
    with compiled(build_sweep([{"i": 0}, {"i": 1}], options=options)) as traj:
        assert traj[1].config.to_dict() == options
        assert traj.conf.nested.a.values.tolist() == [1, 1]


def test_annotations_become_unit_and_comment(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}, {"i": 1}])
    builder.run(0, {"x": 1.0}, annotations={"x": {"unit": "K", "comment": "first"}}, series={"s": [1]})
    builder.run(1, {"x": 1.0}, annotations={"x": {"unit": "K", "comment": "second"}, "s": {"unit": "s"}})
    with compiled(builder) as traj:
        assert (traj.res.x.unit, traj.res.x.comment) == ("K", "second")
        assert traj.series.s.unit == "s"


def test_runs_added_by_an_invocation_are_appended(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    row = {"index": 1, "id": "exp_x.py::exp_x[i=9]", "key": "f" * 64, "folder": "0001-x", "replicate": 0}
    builder.sweep.add_invocation({"runs": [{**row, "params": {"i": encode(9)}}]})
    builder.run(1, {"x": 1})
    with compiled(builder) as traj:
        assert (len(traj), traj["ffff"].params.i, traj[1].res.x) == (2, 9, 1)


def test_damaged_and_missing_array_files_leave_their_cells_empty(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(4)])
    for index in range(4):
        builder.run(index, {"V": np.arange(300.0) + index, "r": np.arange(300.0 + index)})
    (builder.folder(1) / "data" / "V.npy").unlink()
    file = builder.folder(2) / "data" / "V.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    file = builder.folder(0) / "data" / "r.npy"
    file.write_bytes(file.read_bytes()[:-80])
    with pytest.warns(UserWarning, match=r"the array of run 1 cannot be read .*and 2 more"):
        path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        assert traj[0].res.V[1] == 1.0
        assert traj[3].res.V[1] == 4.0
        assert [run.results.get("V") is None for run in traj] == [False, True, True, False]
        assert [run.results.get("r") is None for run in traj] == [True, False, False, False]
        assert np.isnan(traj.res.V[1:3]).all()
        assert traj[3].res.r.tolist() == np.arange(303.0).tolist()


def test_the_same_folder_gives_the_same_file(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for index in (2, 0):
        builder.run(index, {"x": 1.0, "t": "a", "V": np.ones(500)}, series={"s": [1, 2]}, worker=f"gw{index}")
    first = compile_trajectory(builder.path).read_bytes()
    with warnings.catch_warnings():
        assert compile_trajectory(builder.path).read_bytes() == first


def test_times_of_centuries_are_exact_in_numpy(build_sweep: BuildSweep) -> None:
    """A product with 10**6 has no exact microseconds beyond 285 years."""
    builder = build_sweep([{"i": i} for i in range(3)])
    lags = [
        dt.timedelta(days=108480, seconds=74901, microseconds=217461),
        dt.timedelta(microseconds=-1),
        None,
    ]
    for index, lag in enumerate(lags):
        builder.run(index, {"lag": lag})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.res.lag.kind == "timedelta"
        assert traj.res.lag.tolist() == lags
        assert traj.res.lag.values.tolist() == lags


def test_seeds_before_any_run_has_begun(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": i} for i in range(2)])
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.runs.seed.tolist() == [None, None]
        assert traj[0].seed is None
        assert traj.runs.to_pandas()["seed"].isna().all()
    with h5py.File(builder.path / "trajectory.h5") as file:
        assert file["runs/seed"].dtype == np.int64
