"""Series: what can be tracked, in which order, and that every value is there when the call has returned."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.figure import Figure
from PIL import Image

from expedition import Run, RunRecord
from expedition.errors import DamagedError, ExperimentError, NameNotFoundError, UnstorableError
from tests.thoroughness import examples
from tests.values.equality import exactly_equal

Read = Callable[[], RunRecord]

DTYPES = ["?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d", "g", "F", "D", "G"]


def test_scalars_of_python(run: Run, journalled: Read, read: Read) -> None:
    series: dict[str, list[Any]] = {
        "bool": [True, False],
        "int": [1, -(2**63), 2**63 - 1],
        "big": [1, 2**70],
        "float": [0.1, float("nan"), float("inf"), -0.0, 5e-324],
        "complex": [1j, complex("nan+infj")],
        "mixed": [1, 2.5, True],
    }
    for name, values in series.items():
        for value in values:
            run.track(f"group/{name}", value)
    for record in (journalled(), read()):
        for name, values in series.items():
            found = record.series[f"group/{name}"]
            assert exactly_equal(found.value.tolist(), values), name
            assert found.step.tolist() == list(range(len(values)))
            assert found.step.dtype == np.int64
    kinds = {name: record.series[f"group/{name}"].value.dtype.kind for name in series}
    assert kinds == {"bool": "b", "int": "i", "big": "O", "float": "f", "complex": "c", "mixed": "O"}


@pytest.mark.parametrize("code", DTYPES)
def test_scalars_and_arrays_of_every_dtype(run: Run, journalled: Read, read: Read, code: str) -> None:
    dtype = np.dtype(code)
    scalars = [dtype.type(1), dtype.type(0), np.array(1, dtype=dtype)[()]]
    small = [np.ones((2, 3), dtype=dtype), np.zeros((2, 3), dtype=dtype)]
    large = [np.full((40, 50), i, dtype=dtype) for i in range(3)]
    for value in scalars:
        run.track("scalar", value)
    run.track("zero-d", np.array(1, dtype=dtype))
    for value in small:
        run.track("small", value)
    for value in large:
        run.track("large", value)
    for record in (journalled(), read()):
        assert exactly_equal(list(record.series["scalar"].value), scalars)
        assert record.series["scalar"].value.dtype == dtype
        assert exactly_equal(list(record.series["zero-d"].value), [dtype.type(1)])
        assert exactly_equal(record.series["small"].value, np.stack(small))
        assert exactly_equal(record.series["large"].value, np.stack(large))


def test_values_of_different_numpy_types_stay_what_they_were(run: Run, read: Read) -> None:
    values = [np.int64(2**60 + 1), np.float64(0.5), np.float32(0.1), 3, np.True_]
    for value in values:
        run.track("mixed", value)
    assert exactly_equal(list(read().series["mixed"].value), values)


@settings(max_examples=examples(25), deadline=None)
@given(
    scalars=st.lists(st.one_of(st.booleans(), st.integers(), st.floats(), st.complex_numbers())),
    arrays=st.tuples(
        st.one_of(
            hnp.floating_dtypes(),
            hnp.integer_dtypes(),
            hnp.unsigned_integer_dtypes(),
            hnp.complex_number_dtypes(),
            hnp.datetime64_dtypes(),
        ),
        hnp.array_shapes(max_dims=3, max_side=15),
    ).flatmap(lambda about: st.lists(hnp.arrays(*about), max_size=3)),
    steps=st.lists(st.integers(-(2**63), 2**63 - 2), min_size=1, max_size=5),
)
def test_any_series_survives(
    scalars: list[Any], arrays: list[Any], steps: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Run.detached(tmp_path_factory.mktemp("any") / "run") as run:
        for value in scalars:
            run.track("scalars", value)
        for value in arrays:
            run.track("arrays", value)
        for step in steps:
            run.track("steps", 0.5, step=step)
        dead = RunRecord(run.path)
    for record in (dead, RunRecord(run.path)):
        assert exactly_equal([*record.series["scalars"].value.tolist()] if scalars else [], scalars)
        assert exactly_equal([*record.series["arrays"].value] if arrays else [], arrays)
        assert record.series["steps"].step.tolist() == steps
    assert RunRecord(run.path).status == "done"


def test_steps(run: Run, read: Read) -> None:
    run.track("s", 1.0)
    run.track("s", 1.0, step=10)
    run.track("s", 1.0)
    run.track("s", 1.0, step=np.int32(3))
    run.track("s", 1.0)
    run.track("other", 1.0)
    assert read().series["s"].step.tolist() == [0, 10, 11, 3, 4]


@pytest.mark.parametrize("step", [1.5, "1", True, np.float64(1), 2**63, -(2**63) - 1, [1]])
def test_what_is_no_step(run: Run, read: Read, step: Any) -> None:
    with pytest.raises(ExperimentError, match="series s: a step must"):
        run.track("s", 1.0, step=step)
    run.track("s", 2.0)
    assert read().series["s"].step.tolist() == [0]


@pytest.mark.parametrize(
    "value",
    [
        "text",
        None,
        [1],
        {"a": 1},
        b"x",
        np.array(["a"]),
        np.array([None]),
        np.array("a"),
        object(),
        np.str_("a"),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:4]}",
)
def test_what_cannot_be_tracked_is_refused_and_leaves_no_trace(run: Run, read: Read, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^series bad: .*cannot be tracked"):
        run.track("bad", value)
    run.track("bad/below", 1)  # the name is not taken by what was refused
    assert list(read().series) == ["bad/below"]
    assert read().meta["series"] == {"bad/below": {"n": 1, "kind": "scalar"}}


def test_a_series_stays_of_one_kind_shape_and_dtype(run: Run, read: Read) -> None:
    run.track("scalar", 1.0)
    run.track("array", np.zeros(1000))
    run.track("picture", Image.new("RGB", (2, 2)))
    for name, value in (
        ("scalar", np.zeros(1000)),
        ("scalar", Image.new("RGB", (2, 2))),
        ("array", 1.0),
        ("array", np.zeros(1001)),
        ("array", np.zeros(1000, dtype=np.float32)),
        ("array", np.zeros((10, 100))),
        ("picture", 1),
        ("picture", np.zeros(3)),
    ):
        with pytest.raises(UnstorableError, match=f"series {name}"):
            run.track(name, value)
    run.track("array", np.ones(1000))
    record = read()
    assert {name: len(values.step) for name, values in record.series.items()} == {
        "scalar": 1,
        "array": 2,
        "picture": 1,
    }
    assert (run.path / "data" / "series.bin").stat().st_size == 16_000  # nothing of what was refused
    assert len(list((run.path / "data" / "series").iterdir())) == 1


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a\0", 3, None])
def test_what_is_no_name(run: Run, name: Any) -> None:
    with pytest.raises(ExperimentError, match="name of a series"):
        run.track(name, 1)


def test_a_series_and_a_group_of_one_name_clash(run: Run) -> None:
    run.track("a/b", 1)
    with pytest.raises(UnstorableError, match="group and a series"):
        run.track("a", 1)
    with pytest.raises(UnstorableError, match="group and a series"):
        run.track("a/b/c", 1)


def test_track_many(run: Run, read: Read) -> None:
    run.track_many({"loss": 0.5, "metrics": {"mae": 1, "deep": {"x": 2}}}, step=4)
    run.track_many({"loss": 0.25})
    series = read().series
    assert {name: values.value.tolist() for name, values in series.items()} == {
        "loss": [0.5, 0.25],
        "metrics/mae": [1],
        "metrics/deep/x": [2],
    }
    assert series["loss"].step.tolist() == [4, 5]
    assert series["metrics/deep/x"].step.tolist() == [4]


def test_pictures(run: Run, journalled: Read, read: Read) -> None:
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    run.track("figure", figure)
    run.track("figure", figure)
    run.track("image", Image.new("RGB", (3, 2), "red"))
    for record in (journalled(), read()):
        paths = record.series["figure"].value.tolist()
        assert len(set(paths)) == 2
        for path in paths:
            assert Path(path).read_bytes().startswith(b"\x89PNG")
        (path,) = record.series["image"].value.tolist()
        with Image.open(path) as image:
            assert image.size == (3, 2)


def test_arrays_are_recorded_as_they_were_when_tracked(run: Run, read: Read) -> None:
    array = np.zeros(1000)
    for i in range(3):
        array[:] = i
        run.track("a", array)
    run.track("view", np.arange(4000.0)[::2][::-1])
    run.track("fortran", np.asfortranarray(np.arange(600.0).reshape(20, 30)))
    series = read().series
    assert series["a"].value[:, 0].tolist() == [0, 1, 2]
    assert series["view"].value[0].tolist() == list(np.arange(4000.0)[::2][::-1])
    assert np.array_equal(series["fortran"].value[0], np.arange(600.0).reshape(20, 30))


def test_times_are_recorded(run: Run, read: Read) -> None:
    before = time.time_ns() // 1000
    run.track("s", 1)
    after = time.time_ns() // 1000
    (moment,) = read().series["s"].time.astype("int64").tolist()
    assert before <= moment <= after
    assert read().series["s"].time.dtype == np.dtype("datetime64[us]")


def test_series_of_a_record_are_a_mapping_with_near_matches(run: Run, read: Read) -> None:
    run.track("fold/rmse", 1.0)
    series = read().series
    assert dict(series).keys() == {"fold/rmse"}
    assert len(series) == 1
    assert "fold/rmse" in series
    assert series.get("x") is None
    with pytest.raises(NameNotFoundError, match="did you mean 'fold/rmse'"):
        series["fold/rms"]
    with pytest.raises(KeyError):
        series["x"]


def test_damage_to_the_binary_file_is_found(run: Run, read: Read) -> None:
    for i in range(3):
        run.track("a", np.full(1000, float(i)))
        run.track("s", i)
    file = run.path / "data" / "series.bin"
    content = bytearray(file.read_bytes())
    content[9000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=r"series\.bin is damaged at byte 8000"):
        read().series["a"]
    assert read().series["s"].value.tolist() == [0, 1, 2]
    file.write_bytes(content[:9000])
    with pytest.raises(DamagedError, match="damaged"):
        read().series["a"]
    file.unlink()
    with pytest.raises(DamagedError, match="damaged"):
        read().series["a"]
