"""Points and their statistics: the same numbers as the tables of a sweep, as pandas and as the textbook."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import ExperimentError, ExpressionError, MissingLibraryError, NameNotFoundError
from expedition.trajectory import Trajectory, compile_trajectory
from expedition.trajectory.statistics import mean_interval
from tests.thoroughness import examples
from tests.trajectory.conftest import BuildSweep, SweepBuilder

VALUES = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0]


@pytest.fixture
def traj(build_sweep: BuildSweep) -> Iterator[Trajectory]:
    """alpha × depth with three replicates each; run 4 failed with a result, run 7 lacks one, 11 never ran."""
    rows = [{"alpha": a, "model.depth": d} for a in (0.1, 1.0) for d in (1, 2) for _ in range(3)]
    builder = build_sweep(rows, {"N": 5})
    for i in range(11):
        data: dict[str, Any] = {"rmse/mean": VALUES[i], "count": i, "ok": i % 2 == 0, "text": "t", "c": 1j}
        data["nan"] = float("nan") if i % 3 else 1.5
        if i == 7:
            del data["rmse/mean"]
        notes = {"rmse/mean": {"unit": "K"}}
        builder.run(i, data, status="failed" if i == 4 else "done", annotations=notes)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


def test_over_the_replicates(traj: Trajectory) -> None:
    table = traj.aggregate()
    assert table.points == [
        {"alpha": 0.1, "model.depth": 1},
        {"alpha": 0.1, "model.depth": 2},
        {"alpha": 1.0, "model.depth": 1},
        {"alpha": 1.0, "model.depth": 2},
    ]
    assert list(table) == ["rmse/mean", "count", "nan"]
    assert table.runs == [3, 2, 3, 2]
    samples = [[1.0, 2.0, 4.0], [8.0, 32.0], [64.0, 256.0], [512.0, 1024.0]]
    found = table["rmse/mean"]
    assert found.n.tolist() == [3, 2, 2, 2]
    assert found.n.dtype == np.int64
    for k, sample in enumerate(samples):
        assert found.mean[k] == np.mean(sample)
        assert found.std[k] == pytest.approx(np.std(sample, ddof=1), rel=1e-15)
        low, high = scipy.stats.t.interval(0.95, len(sample) - 1, np.mean(sample), scipy.stats.sem(sample))
        assert found.half_width[k] == pytest.approx((high - low) / 2, rel=1e-12)
        assert table.intervals["rmse/mean"][k] == mean_interval(
            sample + [None] * (table.runs[k] - len(sample))
        )
    assert table["nan"].n.tolist() == [1, 1, 1, 1]
    assert np.isnan(table["nan"].std).all()
    assert table["rmse.mean"].mean.tolist() == found.mean.tolist()
    assert table.units == {"rmse/mean": "K"}


def test_over_and_by(traj: Trajectory) -> None:
    over = traj.aggregate(over=["replicate", "model.depth"], results=["count"])
    assert over.points == [{"alpha": 0.1}, {"alpha": 1.0}]
    assert over["count"].n.tolist() == [5, 5]
    assert over["count"].mean.tolist() == [np.mean([0, 1, 2, 3, 5]), np.mean([6, 7, 8, 9, 10])]
    by = traj.aggregate(by="alpha", results=["count"])
    assert by.points == over.points
    assert by["count"].mean.tolist() == over["count"].mean.tolist()
    single = traj.aggregate(over="alpha", results=["count"])
    assert single.points[1] == {"model.depth": 1, "replicate": 1}
    assert single["count"].n.tolist() == [2, 2, 2, 2, 1, 1]
    assert traj.aggregate(over="rep").points == traj.aggregate().points
    everything = traj.aggregate(by=[], results=["count"])
    assert everything.points == [{}]
    assert everything["count"].n.tolist() == [10]
    assert traj.aggregate(by=["status", "alpha"], status=None, results=["count"]).points[1] == {
        "status": "failed",
        "alpha": 0.1,
    }
    assert traj.aggregate(over="N").points == traj.aggregate(over=[]).points


def test_which_runs_count(traj: Trajectory) -> None:
    assert traj.aggregate(results=["count"])["count"].n.tolist() == [3, 2, 3, 2]
    assert traj.aggregate(results=["count"], status=None)["count"].n.tolist() == [3, 3, 3, 2]
    assert traj.aggregate(results=["count"], status=("failed",))["count"].n.tolist() == [0, 1, 0, 0]
    nothing = traj.aggregate(results=["count"], status="crashed")
    assert nothing["count"].n.tolist() == [0] * 4
    assert np.isnan(nothing["count"].mean).all()
    assert traj.select(alpha=1.0).aggregate(results=["count"])["count"].n.tolist() == [3, 2]
    assert len(traj.select("alpha > 5").aggregate().points) == 0
    assert traj.select("alpha > 5").aggregate()["count"].mean.tolist() == []


def test_booleans_are_numbers_where_they_are_named(traj: Trajectory) -> None:
    assert "ok" not in traj.aggregate()
    assert traj.aggregate(by="alpha", results=["ok"])["ok"].mean.tolist() == [2 / 5, 3 / 5]
    assert traj.aggregate(by="alpha", results=["duration"])["duration"].mean.tolist() == [0.25, 0.25]


def test_confidence(traj: Trajectory) -> None:
    wide, narrow = (traj.aggregate(confidence=c)["count"].half_width[0] for c in (0.99, 0.5))
    assert wide == pytest.approx(scipy.stats.t.ppf(0.995, 2) / math.sqrt(3))
    assert narrow == pytest.approx(scipy.stats.t.ppf(0.75, 2) / math.sqrt(3))
    with pytest.raises(ExperimentError, match="between 0 and 1"):
        traj.aggregate(confidence=95)


def test_what_cannot_be_folded(traj: Trajectory) -> None:
    with pytest.raises(NameNotFoundError, match="did you mean 'alpha'"):
        traj.aggregate(over="alhpa")
    with pytest.raises(NameNotFoundError, match="did you mean 'alpha'"):
        traj.aggregate(by="alhpa")
    with pytest.raises(ExperimentError, match="only parameters can be folded, not results/count"):
        traj.aggregate(over="count")
    for name in ("text", "c"):
        with pytest.raises(ExperimentError, match=f"results/{name} has no mean"):
            traj.aggregate(results=[name])
    with pytest.raises(NameNotFoundError, match=r"no aggregated result 'cout' \(did you mean 'count'"):
        traj.aggregate()["cout"]


def test_as_a_table(traj: Trajectory) -> None:
    frame = traj.aggregate().to_pandas()
    assert frame.index.names == ["alpha", "model.depth"]
    assert frame.columns.names == ["result", "statistic"]
    assert frame.loc[(0.1, 1), ("rmse.mean", "mean")] == 7 / 3
    assert list(frame["count"]) == ["mean", "std", "n", "half_width"]
    plain = traj.to_pandas().query("status == 'done'").groupby(["alpha", "model.depth"])["count"]
    expected = plain.agg(["mean", "std", "count"])
    pd.testing.assert_frame_equal(
        frame["count"][["mean", "std"]], expected[["mean", "std"]], check_names=False, check_dtype=False
    )
    assert frame["count", "n"].tolist() == expected["count"].tolist()
    assert traj.aggregate(by="alpha").to_pandas().index.name == "alpha"
    assert traj.aggregate(by=[]).to_pandas().shape == (1, 12)
    assert traj.aggregate(results=[]).to_pandas().shape == (4, 0)
    rows = list(traj.aggregate().rows())
    assert rows[0]["alpha"] == 0.1
    assert rows[0]["count"] == mean_interval([0, 1, 2])


def test_as_text(traj: Trajectory) -> None:
    lines = repr(traj.aggregate(results=["rmse/mean", "count"])).splitlines()
    assert lines[0] == "4 points, 10 runs: mean ± half width of the 95% confidence interval (n)"
    assert lines[1].split("  ")[0] == "alpha"
    assert "rmse/mean [K]" in lines[1]
    assert "2.3 ± 3.8 (n=3)" in lines[2]
    assert len(lines) == 6
    many = traj.aggregate(by="index", status=None)
    assert len(repr(many).splitlines()) == 14


def test_without_pandas(traj: Trajectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = traj.aggregate()
    assert table["count"].mean[0] == 1.0
    with pytest.raises(MissingLibraryError, match=r"pip install 'pytest-expedition\[analysis\]'") as error:
        table.to_pandas()
    assert isinstance(error.value, ImportError)
    assert error.value.name == "pandas"


def test_points_with_their_runs(traj: Trajectory) -> None:
    points = traj.group_by()
    assert [point for point, _ in points] == traj.unique_points()
    assert [view.rows.tolist() for _, view in points] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert points[3][1].collect("count")[:2].tolist() == [9.0, 10.0]
    by = traj.group_by("status", "alpha")
    assert [(tuple(p.values()), len(view)) for p, view in by] == [
        (("done", 0.1), 5),
        (("failed", 0.1), 1),
        (("done", 1.0), 5),
        (("pending", 1.0), 1),
    ]
    view = traj.select([11, 2, 0])
    assert [(p["alpha"], v.rows.tolist()) for p, v in view.group_by("alpha")] == [(1.0, [11]), (0.1, [2, 0])]
    with pytest.raises(NameNotFoundError):
        traj.group_by("nothing")


def test_constants_that_a_later_invocation_changed_make_points_of_their_own(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"alpha": 0.1}, {"alpha": 0.1}], {"N": 5, "name": "x", "layers": [1, 2]})
    added = [
        {"index": 2, "id": "b", "folder": "2-x", "params": {"alpha": 0.1, "N": 7}, "replicate": 0},
        {"index": 3, "id": "c", "folder": "3-x", "params": {"alpha": 0.1, "layers": [1]}, "replicate": 0},
    ]
    runs = [{**row, "key": str(row["index"]) * 64} for row in added]
    builder.sweep.add_invocation({"runs": runs})
    for i in range(4):
        builder.run(i, {"x": float(i)})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.unique_points() == [
            {"alpha": 0.1, "N": 5, "layers": [1, 2]},
            {"alpha": 0.1, "N": 7, "layers": [1, 2]},
            {"alpha": 0.1, "N": 5, "layers": [1]},
        ]
        assert traj.aggregate()["x"].mean.tolist() == [0.5, 2.0, 3.0]
        assert traj[:2].unique_points() == [{"alpha": 0.1, "N": 5, "layers": [1, 2]}]
        assert traj.aggregate().to_pandas().index.names == ["alpha", "N", "layers"]


def test_values_of_one_type_make_points(build_sweep: BuildSweep) -> None:
    values: list[Any] = [
        True,
        1,
        1.0,
        "1",
        None,
        float("nan"),
        float("nan"),
        (1,),
        [1],
        np.arange(2),
        np.arange(2),
    ]
    builder = build_sweep([{"p": value} for value in values])
    for i in range(len(values)):
        builder.run(i, {"x": i})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        points = [point["p"] for point in traj.unique_points()]
        assert [type(point) for point in points] == [
            bool,
            int,
            float,
            str,
            type(None),
            float,
            tuple,
            list,
            np.ndarray,
        ]
        assert traj.aggregate()["x"].n.tolist() == [1, 1, 1, 1, 1, 2, 1, 1, 2]
        assert len(traj.aggregate().to_pandas().index) == 9


def test_run_fields_and_parameters_of_one_name(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"seed": s} for s in (1, 2)])
    for i in range(2):
        builder.run(i, {"error": i / 10, "duration": 7}, seed=99)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert traj.find(**{"parameters.seed": 2}).tolist() == [1]
        assert traj.find("params.seed == 2").tolist() == [1]
        assert traj.find("runs.seed == 99").tolist() == [0, 1]
        assert traj.find("results.error < 0.05").tolist() == [0]
        assert traj.find("data.duration == 7").tolist() == [0, 1]
        assert traj.find("runs.duration < '1s'").tolist() == [0, 1]
        assert traj.unique_points() == [{"seed": 1}, {"seed": 2}]
        assert [p for p, _ in traj.group_by("seed")] == [{"seed": 1}, {"seed": 2}]
        assert traj.aggregate()["error"].mean.tolist() == [0.0, 0.1]
        with pytest.raises(ExpressionError, match=r"runs\.sead"):
            traj.find("runs.sead == 1")


numbers = st.integers(-(2**60), 2**60) | st.floats(width=32) | st.booleans() | st.none()


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b"]), numbers), min_size=1, max_size=25))
def test_against_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, str, Any]]
) -> None:
    builder = SweepBuilder(tmp_path_factory.mktemp("loop") / "s", [{"k": k, "w": w} for k, w, _ in runs])
    samples: dict[tuple[int, str], list[Any]] = {}
    for i, (k, w, value) in enumerate(runs):
        builder.run(i, {} if value is None else {"x": value})
        samples.setdefault((k, w), []).append(value)
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert [tuple(p.values()) for p in traj.unique_points()] == list(samples)
        if "x" not in traj:
            return
        table = traj.aggregate(results=["x"])
        wanted = [mean_interval(sample) for sample in samples.values()]
        assert repr(table.intervals["x"]) == repr(wanted)  # NaN is not equal to itself
