"""Finding runs by values of any kind, and by names that mean one thing only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from expedition.errors import AmbiguousNameError, ExperimentError, ExpressionError, NameNotFoundError
from expedition.trajectory import Trajectory, compile_trajectory
from tests.trajectory.conftest import BuildSweep

MOLECULES = [np.array([0.0, 1.0]), np.array([0.0, 1.5, 2.0])]


@pytest.fixture
def traj(build_sweep: BuildSweep) -> Iterator[Trajectory]:
    builder = build_sweep([{"molecule": MOLECULES[i % 2]} for i in range(4)])
    for i in range(4):
        data: dict[str, Any] = {
            "day": dt.date(2024, 1, 2 + i),
            "when": dt.datetime(2024, 1, 2 + i, 12),
            "path": Path(f"/x/{i}"),
            "frame": pd.DataFrame({"a": [i % 2]}),
            "csr": sp.csr_matrix(np.eye(2) * (i % 2 + 1)),
            "pair": (i % 2, 1.5),
            "nan": float("nan") if i else 1.0,
            "mixed": ["a", 1, 2, None][i],
            "text": "ab"[i % 2],
            "V": np.arange(3) + i,
        }
        builder.run(i, data, series={"loss": [1.0, 0.5]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


def test_values_of_any_kind_find_their_runs(traj: Trajectory) -> None:
    assert traj.find(molecule=traj.par.molecule[1]).tolist() == [1, 3]
    assert traj.find(molecule=MOLECULES[0].astype(np.float32)).tolist() == []
    for point, runs in traj.group_by():
        assert traj.find(**point).tolist() == runs.rows.tolist()
    assert traj.find(frame=pd.DataFrame({"a": [1]})).tolist() == [1, 3]
    assert traj.find(frame=pd.DataFrame({"a": [1.0]})).tolist() == []
    assert traj.find(csr=traj.res.csr[0]).tolist() == [0, 2]
    assert traj.find(V=np.arange(3) + 2).tolist() == [2]
    assert traj.find(pair=(1, 1.5)).tolist() == [1, 3]
    assert traj.find(day=dt.date(2024, 1, 3)).tolist() == [1]
    assert traj.find(when=dt.datetime(2024, 1, 3, 12)).tolist() == [1]
    assert traj.find(path=Path("/x/2")).tolist() == [2]
    assert traj.find(nan=float("nan")).tolist() == [1, 2, 3]
    assert traj.find(mixed=1.0).tolist() == [1]


def test_dates_and_paths_compare_with_their_text(traj: Trajectory) -> None:
    assert traj.find("day == '2024-01-03'").tolist() == [1]
    assert traj.find("day > '2024-01-03'").tolist() == [2, 3]
    assert traj.find("when < '2024-01-03T13:00'").tolist() == [0, 1]
    assert traj.find("path == '/x/1'").tolist() == [1]
    assert traj.find("'/x/1' == path").tolist() == [1]
    assert traj.find("path != '/x/1'").tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss > 0", "series/loss is a series"),
        ("text == 'a' and loss > 0", "series/loss is a series"),
        ("day > 'soon'", r"\"day > 'soon'\" .*results/day is of kind json"),
        ("when < 3", "results/when is of kind datetime"),
        ("text == 'a' or when < 3", "'when < 3' .*results/when is of kind datetime"),
        ("text > nan", "results/nan is of kind float and results/text is of kind text"),
        ("V > 1", "results/V is of kind array"),
        ("pair.startswith('a')", "results/pair is of kind json"),
    ],
)
def test_what_cannot_be_compared_in_any_run_is_refused(traj: Trajectory, text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        traj.find(text)
    with pytest.raises(ExpressionError, match=message):
        traj.select(text)


def test_what_can_be_compared_in_some_runs_is_no_error(traj: Trajectory) -> None:
    assert traj.find("mixed > 1").tolist() == [2]
    assert traj.find("when == 'soon'").tolist() == []
    assert traj[:0].find("when < 3").tolist() == []
    assert traj.select(lambda loss: loss.value[-1] < 1).rows.tolist() == [0, 1, 2, 3]
    with pytest.raises(ExpressionError, match="series/loss is a series"):
        traj.find(loss=1.0)


@pytest.mark.parametrize("condition", [3, [0, 1], np.arange(2)])
def test_positions_are_for_select(traj: Trajectory, condition: Any) -> None:
    with pytest.raises(ExperimentError, match=r"traj\[3\] .*select\(\[1, 3\]\)"):
        traj.find(condition)


def test_several_names_are_for_to_pandas(traj: Trajectory) -> None:
    with pytest.raises(NameNotFoundError, match=r"one column.*to_pandas"):
        traj.collect(["text", "day"])  # type: ignore[arg-type]
    with pytest.raises(NameNotFoundError, match=r"the run of number 3 is traj\[3\]"):
        _ = traj.runs[3]  # type: ignore[index]


# names of the experiment that bookkeeping has as well --------------------------------------------------------------


@pytest.fixture
def twice(build_sweep: BuildSweep) -> Iterator[Trajectory]:
    builder = build_sweep([{"alpha": a} for a in (1.0, 2.0)], {"status": "s"})
    for i in range(2):
        data = {
            "duration": 7 + i,
            "replicate": i,
            "run": i,
            "alpha": -i,
            "total": i,
            "deep/duration": 0,
            "own": i,
        }
        builder.run(i, data, derived={"total": 5 + i})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


@pytest.mark.parametrize(
    ("name", "one", "other", "value"),
    [
        ("duration", "runs.duration", "results.duration", 8),
        ("replicate", "runs.replicate", "results.replicate", 1),
        ("status", "runs.status", "parameters.status", "s"),
        ("alpha", "parameters.alpha", "results.alpha", -1),
        ("total", "results.total", "derived_parameters.total", 6),
    ],
)
def test_a_bare_name_of_two_things_is_refused(
    twice: Trajectory, name: str, one: str, other: str, value: Any
) -> None:
    message = rf"ambiguous .*'{one}' or '{other}'"
    with pytest.raises(AmbiguousNameError, match=message):
        twice.find(f"{name} == {value!r}")
    with pytest.raises(AmbiguousNameError, match=message):
        twice.select(**{name: value})
    found = [0, 1] if name == "status" else [1]
    assert twice.find(f"{other} == {value!r}").tolist() == found
    assert twice.find(**{other: value}).tolist() == found
    assert twice.collect(one).tolist() != twice.collect(other).tolist()  # each full path is one of them


def test_outside_of_conditions_results_go_before_bookkeeping(twice: Trajectory) -> None:
    assert twice.collect("duration").tolist() == [7, 8]
    assert twice.aggregate(results=["duration"])["duration"].mean.tolist() == [7.0, 8.0]
    assert twice.to_pandas(["duration"])["duration"].tolist() == [7, 8]
    assert twice.collect("seed").tolist() == [1000, 1001]


def test_names_of_one_thing_need_no_path(twice: Trajectory) -> None:
    assert twice.find("own == 1 and runs.status == 'done' and index == 1").tolist() == [1]
    assert twice.unique_points() == [{"alpha": 1.0}, {"alpha": 2.0}]
    assert [point for point, _ in twice.group_by("alpha")] == twice.unique_points()
    assert twice.aggregate(by="alpha").points == twice.unique_points()


def test_tables_of_results_that_are_called_like_bookkeeping(twice: Trajectory, tmp_path: Path) -> None:
    frame = twice.to_pandas()
    assert frame["results.run"].tolist() == frame["results.replicate"].tolist() == [0, 1]
    assert frame.reset_index()["run"].tolist() == [0, 1]
    assert twice.res.run.to_pandas().reset_index()["results.run"].tolist() == [0, 1]
    flat = twice.to_xarray(grid=False)
    assert flat["results.run"].dims == ("run",)
    assert flat["run"].values.tolist() == [0, 1]
    grid = twice.to_xarray()
    assert grid["results.run"].dims == ("alpha",)
    assert grid["run"].values.tolist() == [0, 1]
    written = pd.read_parquet(twice.to_parquet(tmp_path / "t.parquet")).reset_index()
    assert written["results.run"].tolist() == written["run"].tolist() == [0, 1]
    assert "results.run" in twice.to_csv(tmp_path / "t.csv").read_text().splitlines()[0].split(",")
