"""The store: nested keys, exact values, changes made to values after they were stored, refusals."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import fractions
import pathlib
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from expedition import Run, RunRecord
from expedition.errors import DamagedError, ExpeditionError, ExperimentError, UnstorableError
from tests.thoroughness import examples
from tests.values.equality import exactly_equal

Read = Callable[[], RunRecord]


class Colour(enum.Enum):
    RED = 1


@dataclass
class Point:
    x: float
    y: Any


class Pair(NamedTuple):
    a: int
    b: str


class Odd:
    pass


VALUES: dict[str, Any] = {
    "none": None,
    "bool": True,
    "int": -3,
    "big": 2**80,
    "float": 0.1,
    "nan": float("nan"),
    "inf": float("-inf"),
    "complex": 1 - 2j,
    "text": "naïve ☃ \n",
    "surrogate": "\udcff",
    "bytes": b"\x00\xff",
    "tuple": (1, (2.0,)),
    "set": {1, 2},
    "list": [1, [2, None]],
    "empty": {},
    "path": pathlib.PurePosixPath("a/b"),
    "date": datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC),
    "delta": datetime.timedelta(days=1, microseconds=1),
    "decimal": decimal.Decimal("1.10"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=5),
    "enum": Colour.RED,
    "dataclass": Point(1.0, [2]),
    "namedtuple": Pair(1, "b"),
    "int keys": {1: "a", (2, 3): "b"},
    "slash keys": {"a/b": 1},
    "float32": np.float32(0.1),
    "datetime64": np.datetime64("2026-11-23T00:00:01"),
    "zero-d": np.array(3, dtype=np.int16),
    "small": np.arange(6, dtype=">i2").reshape(2, 3),
    "large": np.linspace(0, 1, 1000),
    "fortran": np.asfortranarray(np.arange(2000.0).reshape(40, 50)),
    "strings": np.array(["a", "bcd"]),
    "structured": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "masked": np.ma.masked_array([1, 2], [True, False]),
    "large masked": np.ma.masked_array(np.arange(1000), np.arange(1000) % 2 == 0),
    "frame": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    "series": pd.Series([1.5, 2.5], name="s"),
    "sparse": sparse.csr_array(np.eye(3)),
}


def test_values_come_back_equal_in_value_and_type(run: Run, journalled: Read, read: Read) -> None:
    for name, value in VALUES.items():
        run[f"group/{name}"] = copy.deepcopy(value)
    for record in (journalled(), read()):
        for name, value in VALUES.items():
            assert exactly_equal(record.flat_data[f"group/{name}"], value), name
        assert set(record.data["group"]) == set(VALUES)
    assert read().status == "done"


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(alphabet=st.characters(exclude_categories=())),
    st.binary(max_size=20),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12)),
    hnp.arrays(np.float64, st.integers(0, 400), elements=st.floats(-1, 1)),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
        st.dictionaries(st.integers(), inner, max_size=2),
    ),
    max_leaves=6,
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parameters=st.lists(values, max_size=2), stored=st.lists(values, min_size=1, max_size=4))
def test_any_value_survives_journal_data_file_and_parameters(
    parameters: list[Any], stored: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    given_parameters = {f"p{i}": value for i, value in enumerate(parameters)}
    with Run.detached(tmp_path_factory.mktemp("any") / "run", **given_parameters) as run:
        for i, value in enumerate(stored):
            run[f"values/{i}"] = [value]  # in a list, since a dict would become a group
        dead = RunRecord(run.path)
        assert exactly_equal([dead.flat_data[f"values/{i}"][0] for i in range(len(stored))], stored)
    record = RunRecord(run.path)
    assert record.status == "done", record.error
    assert exactly_equal([record.flat_data[f"values/{i}"][0] for i in range(len(stored))], stored)
    assert exactly_equal(record.params, given_parameters)


def test_keys_make_groups(run: Run, read: Read) -> None:
    run["a/b/c"] = 1
    run["a/d"] = 2
    run["e"] = {"f": {"g": 3}, "h": 4}
    assert run["a/b"] == {"c": 1}
    assert run["a"] == {"b": {"c": 1}, "d": 2}
    assert run["e/f/g"] == 3
    assert run.data == {"a": {"b": {"c": 1}, "d": 2}, "e": {"f": {"g": 3}, "h": 4}}
    assert all(key in run for key in ("a", "a/b", "a/b/c", "e/f"))
    assert not any(key in run for key in ("a/x", "b", "a/b/c/d", 3, ""))
    assert run.get("a/x") is None
    assert run.get("a/x", 5) == 5
    assert run.get("a/d", 5) == 2
    assert read().data == run.data


def test_a_group_that_is_stored_again_is_replaced(run: Run, journalled: Read, read: Read) -> None:
    run["a"] = {"x": 1, "y": 2}
    run["a"] = {"y": 3, "z": {"w": 4}}
    assert run["a"] == {"y": 3, "z": {"w": 4}}
    assert journalled().data == read().data == {"a": {"y": 3, "z": {"w": 4}}}


def test_leaf_and_group_of_one_name_clash(run: Run, read: Read) -> None:
    run["a/b"] = 1
    run["c"] = 2
    with pytest.raises(UnstorableError, match=r"^a: it is a group \(a/b"):
        run["a"] = 3
    with pytest.raises(UnstorableError, match=r"^c/d: c holds a value \(int\)"):
        run["c/d"] = 3
    run["c"] = {"d": 4}  # a group in its place says what it wants
    del run["a"]
    run["a"] = 5
    assert read().data == {"c": {"d": 4}, "a": 5}


def test_deleting(run: Run, journalled: Read, read: Read) -> None:
    run["a"] = {"x": 1, "y": {"z": 2}}
    run["b"] = np.zeros(1000)
    del run["a/y"]
    del run["b"]
    with pytest.raises(KeyError, match="a/y"):
        del run["a/y"]
    with pytest.raises(KeyError, match="did you mean 'a/x'"):
        run["a/X"]
    assert journalled().data == read().data == {"a": {"x": 1}}


def test_scratch_keys_are_not_saved(run: Run, read: Read) -> None:
    run["_model"] = odd = Odd()
    assert run["_model"] is odd
    assert "_model" in run
    assert run.data == {}
    run["kept/_x"] = 1
    del run["_model"]
    assert "_model" not in run
    with pytest.raises(KeyError):
        run["_model"]
    assert read().data == {"kept": {"_x": 1}}


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/./b", "..", "a/$", "a\0b", 3, None, ("a",)])
def test_what_is_no_key(run: Run, key: Any) -> None:
    with pytest.raises(ExperimentError, match="key of the store"):
        run[key] = 1
    assert run.data == {}


@pytest.mark.parametrize(
    "value", [Odd(), lambda: 0, [1, {2: Odd()}], {"deep": {"er": Odd()}}, np.array([None]), iter([]), Odd]
)
def test_what_cannot_be_stored_is_refused_at_once_naming_key_and_type(
    run: Run, read: Read, value: Any
) -> None:
    run["before"] = 1
    run["a"] = {"key": 1}
    with pytest.raises(TypeError, match=r"^a/key.*(Odd|function|ndarray|iterator|type)"):
        run["a/key"] = value
    with pytest.raises(UnstorableError):
        run["a"] = {"key": 2, "other": value}
    assert run["a"] == {"key": 1}
    record = read()
    assert record.status == "done"
    assert record.data == {"before": 1, "a": {"key": 1}}


def test_a_dict_that_contains_itself_is_refused(run: Run) -> None:
    value: dict[str, Any] = {"x": 1}
    value["self"] = value
    with pytest.raises(UnstorableError, match=r"^a: "):
        run["a"] = value
    assert run.data == {}


def test_values_that_change_after_they_were_stored_are_recorded_as_they_are_at_the_end(
    run: Run, journalled: Read, read: Read
) -> None:
    run["list"] = items = [1]
    run["small"] = small = np.zeros(3)
    run["large"] = large = np.zeros(1000)
    run["frame"] = frame = pd.DataFrame({"a": [1.0, 2.0]})
    run["nested/tuple"] = pair = ([], 1)
    items.append(2)
    small[1] = 5
    large[7] = 5
    frame.loc[0, "a"] = 9.0
    pair[0].append("x")
    assert journalled().data["list"] == [1]  # what was acknowledged
    record = read()
    assert record.data["list"] == [1, 2]
    assert record.data["small"].tolist() == [0, 5, 0]
    assert record.data["large"][7] == 5
    assert record.data["frame"]["a"].tolist() == [9.0, 2.0]
    assert record.data["nested"]["tuple"] == (["x"], 1)
    assert len(list((run.path / "data").iterdir())) == 2  # no second file


def test_a_dict_that_changes_after_it_was_stored_is_followed(run: Run, read: Read) -> None:
    run["log"] = log = {"loss": [1.0], "epoch": 1, "gone": 0, "deep": {"a": 1}}
    log["loss"].append(0.5)  # type: ignore[attr-defined]
    log["epoch"] = 2
    del log["gone"]
    log["deep"]["b"] = 2  # type: ignore[index]
    log["new"] = {"x": 1}
    run["log/said"] = "by the run"
    assert read().data == {
        "log": {
            "loss": [1.0, 0.5],
            "epoch": 2,
            "deep": {"a": 1, "b": 2},
            "new": {"x": 1},
            "said": "by the run",
        }
    }


def test_what_the_run_stores_later_wins_over_the_dict(run: Run, read: Read) -> None:
    run["a"] = source = {"x": 1, "y": 1}
    run["a/x"] = 10
    del run["a/y"]
    source["x"] = 2
    run["b"] = other = {"x": 1}
    run["b"] = {"x": 5}
    other["x"] = 2
    assert read().data == {"a": {"x": 10}, "b": {"x": 5}}


def test_a_group_that_was_read_refuses_changes_that_would_be_lost(run: Run) -> None:
    run["a"] = {"x": {"y": 1}}
    group = run["a"]
    assert group == {"x": {"y": 1}}
    assert isinstance(group, dict)
    with pytest.raises(TypeError, match="would not be recorded"):
        group["z"] = 2
    with pytest.raises(TypeError, match="would not be recorded"):
        run.data["a"]["x"].update(y=2)
    assert type(copy.deepcopy(group)) is dict
    run["b"] = group
    run["c"] = {"inner": group}
    assert run["c/inner/x/y"] == run["b/x/y"] == 1


def test_what_became_unstorable_fails_the_run_and_everything_else_is_kept(run: Run, read: Read) -> None:
    run["good"] = 1
    run["list"] = items = [1]
    run["dict"] = source = {"a": 1}
    items.append(Odd())  # type: ignore[arg-type]
    source["odd"] = Odd()  # type: ignore[assignment]
    run["after"] = np.arange(1000)
    run.track("s", 1)
    record = read()
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.type == "UnstorableError"
    assert "Odd" in record.error.message
    assert len(record.meta["outcome"]["problems"]) == 2
    assert record.data["good"] == 1
    assert record.data["list"] == [1]
    assert record.data["dict"] == {"a": 1}
    assert record.data["after"].tolist() == list(range(1000))
    assert record.series["s"].value.tolist() == [1]


def test_keys_that_would_share_a_file_do_not(run: Run, read: Read) -> None:
    arrays = {key: np.full(1000, i) for i, key in enumerate(["a/b", "a.b", "A/b", "a:b", "a?b", "ä", "a b"])}
    for key, array in arrays.items():
        run[f"x{key}"] = array
    found = read().flat_data
    for key, array in arrays.items():
        assert np.array_equal(found[f"x{key}"], array), key
    assert len(list((run.path / "data").iterdir())) == len(arrays)


def test_arrays_are_files_that_numpy_reads(run: Run, read: Read, tmp_path: Path) -> None:
    run["big/array"] = np.arange(500.0)
    record = read()
    tag = record.tagged_data["big/array"]
    assert np.load(run.path / tag["file"]).tolist() == list(range(500))
    assert tag["file"].startswith("data/")


def test_one_flipped_bit_is_found(run: Run, read: Read) -> None:
    run["w"] = np.arange(1000.0)
    run["other"] = 1
    read()
    path = run.path / "data" / "w.npy"
    whole = path.read_bytes()
    for position in (len(whole) - 1, len(whole) // 2, len(whole) - 8000):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DamagedError, match=r"w\.npy"):
            _ = RunRecord(run.path).data
    path.write_bytes(whole)
    assert RunRecord(run.path).data["w"].tolist() == list(range(1000))


def test_a_refused_value_leaves_the_files_of_the_old_one(run: Run, journalled: Read, read: Read) -> None:
    run["x"] = [np.arange(1000.0), "ok"]
    with pytest.raises(UnstorableError, match=r"^x"):
        run["x"] = [np.zeros(1000), object()]
    for record in (journalled(), read()):
        assert record.data["x"][0].tolist() == list(range(1000))
        assert record.data["x"][1] == "ok"
    assert read().status == "done"


def test_a_refused_value_leaves_the_old_one_also_when_the_process_is_killed(tmp_path: Path) -> None:
    code = """
import os, signal, sys
import numpy as np
from expedition import Run

run = Run.detached(sys.argv[1])
run["x"] = [np.arange(1000.0), "ok"]
try:
    run["x"] = [np.zeros(1000), object()]
except TypeError:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], timeout=60)
    assert done.returncode == -signal.SIGKILL
    record = RunRecord(tmp_path / "run")
    assert record.status == "crashed"
    assert record.data["x"][0].tolist() == list(range(1000))
    assert record.data["x"][1] == "ok"


def test_names_that_utf_8_cannot_write_are_refused(tmp_path: Path) -> None:
    run = Run.detached(tmp_path / "run")
    for use in (
        lambda: run.__setitem__("y\udcff", 1),
        lambda: run.track("y\udcff", 1),
        lambda: run.derived("y\udcff", 1),
        lambda: run.annotate("y\udcff", "text"),
    ):
        with pytest.raises(ExpeditionError, match="UTF-8"):
            use()
    run["value"] = {"y\udcff": "z\udcff"}  # a value, and no group
    run.finish("done")
    assert RunRecord(tmp_path / "run").flat_data == {"value": {"y\udcff": "z\udcff"}}
