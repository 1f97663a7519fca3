"""What is refused: subscripts that do not fit, assignments, paths that hold no trajectory, and what messages say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from expedition.errors import (
    ExpeditionError,
    ExperimentError,
    MergeError,
    NameNotFoundError,
    ReadOnlyError,
    RecordNotFoundError,
    SelectionError,
    TrajectoryFormatError,
)
from expedition.trajectory import Trajectory, compile_trajectory, merge
from tests.trajectory.conftest import BuildSweep, SweepBuilder


@pytest.fixture(scope="module")
def traj(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trajectory]:
    builder = SweepBuilder(tmp_path_factory.mktemp("refusals") / "sweep", [{"i": i} for i in range(5)])
    for i in range(5):
        data = {
            "scalar": i / 2,
            "text": "word",
            "stacked": np.arange(24).reshape(2, 3, 4) + i,
            "ragged": np.arange(i + 1.0),
            "masked": np.ma.masked_array(np.arange(4.0), mask=[0, 1, 0, 0]),
            "list": [1, 2, {"a": i}],
            "frame": pd.DataFrame({"a": [1, 2]}),
            "bare": {"x": i},
            "g/inner": i,
            "many": {f"k{i}": 1},
        }
        builder.run(i, data, series={"loss": [1.0] * 3, "img": [np.zeros((2, 2))] * 2})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


# subscripts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("results/scalar", (3, 0)),
        ("results/text", (3, 0)),
        ("results/ragged", (3, 99)),
        ("results/ragged", (3, 0, 0)),
        ("results/masked", (3, 99)),
        ("results/list", (3, 99)),
        ("results/list", (3, "a")),
        ("results/bare", (3, "y")),
        ("results/stacked", (3, 99)),
        ("results/stacked", (3, 0, 0, 0, 0)),
        ("results/stacked", (3, np.array([True, False, True]))),
        ("results/stacked", (slice(None), np.array([True, False, True]))),
        ("results/stacked", (slice(None), "a")),
        ("results/frame", (3, "b")),
        ("results/frame", (3, 0, 0)),
        ("series/img", (3, 5)),
        ("series/img", (3, 0, 7)),
        ("series/loss", (3, 0, 1)),
        ("series/loss", (3, "a")),
    ],
)
def test_a_part_that_is_not_there_is_told_with_its_column(traj: Trajectory, path: str, key: Any) -> None:
    column = traj[path]
    with pytest.raises(SelectionError, match=path):
        column[key]


def test_parts_of_values_are_those_of_the_value(traj: Trajectory) -> None:
    assert traj.res.ragged[3, 1] == 1.0
    assert traj.res["list"][3, 2] == {"a": 3}
    assert traj.res.bare[3, "x"] == 3
    assert traj.res.frame[3, "a"].tolist() == [1, 2]
    assert traj.res.masked[3, 0] == 0.0


@pytest.mark.parametrize(
    "key",
    [
        (slice(None), slice(None, None, -1)),
        (slice(None, None, -1), slice(None), slice(2, 0, -1)),
        (3, slice(None, None, -1)),
        (3, 1, slice(None, None, -2), slice(3, None, -1)),
        (slice(1, 4), 0, slice(None, None, -1), -1),
        ([3, 1], slice(None, None, -1)),
        (Ellipsis, slice(None, None, -1)),
    ],
)
def test_inner_axes_go_backwards_as_in_numpy(traj: Trajectory, key: Any) -> None:
    whole = np.array([np.arange(24).reshape(2, 3, 4) + i for i in range(5)])
    found = traj.res.stacked[key]
    assert found.shape == whole[key].shape
    assert np.array_equal(found, whole[key])


@pytest.mark.parametrize("key", [([0, 1], [0, 1]), (3, [0, 1], [0, 1]), ([0, 1], 0, [True, False, True])])
def test_two_lists_in_one_subscript_are_refused(traj: Trajectory, key: Any) -> None:
    with pytest.raises(SelectionError, match=r"results/stacked: two lists.*one after the other"):
        traj.res.stacked[key]


def test_an_observation_out_of_range_names_file_column_and_run(traj: Trajectory) -> None:
    for ask in (lambda: traj.series.loss[3, 100], lambda: traj.series.loss.lazy(3).value[100]):
        with pytest.raises(
            SelectionError, match=r"series/loss of run 3 in .*trajectory\.h5 has no observation 100.*0 to 2"
        ):
            ask()


# assignments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        lambda traj: traj,
        lambda traj: traj[:2],
        lambda traj: traj.par,
        lambda traj: traj.res.g,
        lambda traj: traj.runs,
        lambda traj: traj[0],
        lambda traj: traj[0].res,
    ],
    ids=["trajectory", "selection", "branch", "group", "fields", "run", "group of a run"],
)
def test_nothing_is_assigned(traj: Trajectory, place: Callable[[Trajectory], Any]) -> None:
    for name in ("foo", "i", "index", "status"):
        with pytest.raises(
            ReadOnlyError, match=rf"'{name}' cannot be set: .*expand\(\).*annotate\(\)"
        ) as caught:
            setattr(place(traj), name, 3)
        assert isinstance(caught.value, AttributeError)
    with pytest.raises(AttributeError):
        del place(traj).foo
    assert traj.par.i.values.tolist() == [0, 1, 2, 3, 4]
    assert "foo" not in traj


# paths ----------------------------------------------------------------------------------------------------------------


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "merged.h5").write_bytes(b"")
    with pytest.raises(
        RecordNotFoundError, match=r"mergde\.h5: no file or folder.*did you mean 'merged\.h5'"
    ):
        Trajectory.open(tmp_path / "mergde.h5")
    with pytest.raises(RecordNotFoundError, match="no file or folder"):
        Trajectory.open(tmp_path / "nowhere" / "trajectory.h5")
    with pytest.raises(RecordNotFoundError, match="neither a sweep folder nor one that holds sweeps"):
        Trajectory.open(tmp_path)


def test_a_sweep_that_has_just_begun(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    folder = builder.path / "journal"
    folder.mkdir(exist_ok=True)
    with (
        FileLock(folder / "main-1-abc.lock"),
        pytest.raises(RecordNotFoundError, match="the sweep is running; its first"),
    ):
        Trajectory.open(builder.path)
    with pytest.raises(RecordNotFoundError, match=rf"pytest --archive-repair {re.escape(str(builder.path))}"):
        Trajectory.open(builder.path)
    with pytest.raises(RecordNotFoundError, match="pytest --archive-repair"):
        Trajectory.open(builder.path / "trajectory.h5")


def test_the_folder_of_a_namespace_names_its_last_sweeps(tmp_path: Path) -> None:
    for day in (3, 1, 7, 2, 6, 5, 4):
        SweepBuilder(tmp_path / f"sweep{day}", [{"i": 0}], created=f"2026-11-0{day}T00:00:00+00:00")
    (tmp_path / "notes").mkdir()
    shown = ".*".join(f"sweep{day}" for day in (3, 4, 5, 6, 7))
    with pytest.raises(RecordNotFoundError, match=rf"the last 5 of 7, newest last: .*{shown}\)") as caught:
        Trajectory.open(tmp_path)
    assert "sweep2" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("2.0", "format version 2.0, .*newer pytest-expedition"),
        ("0.9", "'0.9': .*malformed or older"),
        ("one", "'one': .*malformed or older"),
        ("1.x", "'1.x': .*malformed or older"),
        ("", "no format version: .*malformed or older"),
        (None, "no format version: .*malformed or older"),
    ],
)
def test_versions_that_are_not_read(build_sweep: BuildSweep, version: str | None, message: str) -> None:
    builder = build_sweep([{"i": 0}])
    path = compile_trajectory(builder.path)
    with h5py.File(path, "a") as file:
        del file.attrs["format_version"]
        if version is not None:
            file.attrs["format_version"] = version
    with pytest.raises(TrajectoryFormatError, match=message) as caught:
        Trajectory.open(path)
    assert ("newer" in str(caught.value)) == (version == "2.0")


def test_a_folder_that_is_not_there_is_named(traj: Trajectory, tmp_path: Path) -> None:
    for write in (traj.to_csv, traj.to_parquet):
        with pytest.raises(ExpeditionError, match=r"no folder .*nowhere to write t\.out") as caught:
            write(tmp_path / "nowhere" / "t.out")
        assert isinstance(caught.value, FileNotFoundError)
        assert str(caught.value)


def test_an_open_file_is_no_input_of_a_merge(traj: Trajectory, tmp_path: Path) -> None:
    with h5py.File(traj.path) as file, pytest.raises(MergeError, match=r"give the path '.*trajectory\.h5'"):
        merge(file, to=tmp_path / "m.h5")  # type: ignore[arg-type]
    with (
        open(traj.path, "rb") as stream,
        pytest.raises(MergeError, match=r"give the path '.*trajectory\.h5'"),
    ):
        merge(stream, to=tmp_path / "m.h5")  # type: ignore[arg-type]


# aggregates and names -----------------------------------------------------------------------------------------------


def test_aggregates_say_what_they_take(traj: Trajectory) -> None:
    with pytest.raises(ExperimentError, match="'bogus' is no status; statuses are pending, running, done"):
        traj.aggregate(status="bogus")
    with pytest.raises(ExperimentError, match=r"'dnoe' is no status \(did you mean 'done'"):
        traj.aggregate(status=["failed", "dnoe"])
    with pytest.raises(ExperimentError, match="over says what is folded, by what is kept"):
        traj.aggregate(over="i", by="i")
    with pytest.raises(ExperimentError, match=r"results/text has no mean: it is of kind text, ") as caught:
        traj.aggregate(results=["text"])
    assert "word" not in str(caught.value)


def test_beginnings_of_keys_that_are_too_short(traj: Trajectory) -> None:
    key = traj[2].key
    assert traj[key[:6]].index == 2
    for length in (1, 3):
        with pytest.raises(NameNotFoundError, match=r"too short: that takes at least 4 of the 64 digits"):
            _ = traj[key[:length]]
