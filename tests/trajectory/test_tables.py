"""Runs as tables: pandas, CSV, Parquet, and the observations of series."""

from __future__ import annotations

import csv
import datetime as dt
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from expedition.errors import ExpeditionError, ExperimentError, MissingLibraryError, NameNotFoundError
from expedition.trajectory import Trajectory, compile_trajectory
from expedition.values import decode, loads
from tests.trajectory.conftest import BuildSweep

MIXED: list[Any] = [1, "a", None, (1, 2), [1.5, float("inf")], {"a": {1, 2}}]


@pytest.fixture
def traj(build_sweep: BuildSweep) -> Iterator[Trajectory]:
    """Six runs with every kind of value; the last one was never started."""
    rows = [{"alpha": a, "name": f"n{k}"} for k, a in enumerate((0.1, 1.0, 10.0)) for _ in range(2)]
    builder = build_sweep(rows, {"N": 5, "model.depth": 2, "layers": [1, 2]})
    for i in range(5):
        data: dict[str, Any] = {
            "rmse/mean": [0.1 + 0.2, float("nan"), None, float("inf"), -0.0][i],
            "count": 2**53 + i,
            "ok": bool(i % 2),
            "word": ["", 'é,\n"x"', "1e5", "null", "NA"][i],
            "when": dt.datetime(2026, 1, 1 + i, 1, 2, 3, 456789, dt.UTC),
            "naive": dt.datetime(2026, 1, 1 + i),
            "lag": dt.timedelta(seconds=i, microseconds=1),
            "z": complex(i, float("inf")),
            "mixed": MIXED[i],
            "small": np.float32(i / 3),
            "V": np.arange(6.0).reshape(2, 3) + i,
            "R": np.arange(i),
            "alpha": i,
        }
        if i == 3:
            for name in ("count", "ok", "word", "mixed", "V"):
                del data[name]
        series = {
            "loss": [0.5, None, 2][: i + 1],
            "n": [2**60 + i] * (i % 2),
            "note": ["a", ("b",)][: i % 3],
            "img": [np.full((2, 2), i)] * 2,
            "flag": [True, False],
            "x/y": [1.0] * (i == 4),
        }
        builder.run(i, data, series=series, derived={"total": i * 10})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        yield traj


def test_columns_of_the_table(traj: Trajectory) -> None:
    frame = traj.to_pandas()
    parameters = ["alpha", "name", "N", "model.depth", "layers", "replicate", "status"]
    results = [
        "rmse.mean",
        "count",
        "ok",
        "word",
        "when",
        "naive",
        "lag",
        "z",
        "mixed",
        "small",
        "results.alpha",
    ]
    assert list(frame) == [*parameters, "total", *results]
    assert frame.index.tolist() == list(range(6))
    assert frame["small"].dtype == np.float32
    assert frame["count"].dtype == pd.Int64Dtype()
    assert frame["count"].tolist()[:3] == [2**53, 2**53 + 1, 2**53 + 2]
    assert frame["ok"].tolist()[:3] == [False, True, False]
    assert frame["ok"].isna().tolist() == [False, False, False, True, False, True]
    assert frame["naive"].dtype.kind == "M"
    assert str(frame["when"].dtype) == "datetime64[us, UTC]"
    assert frame["lag"].iloc[2] == pd.Timedelta(seconds=2, microseconds=1)
    assert frame["mixed"].tolist() == [1, "a", None, None, MIXED[4], None]
    assert frame["results.alpha"].isna().tolist() == [False] * 5 + [True]
    assert frame["status"].tolist() == ["done"] * 5 + ["pending"]


def test_only_some_columns(traj: Trajectory) -> None:
    frame = traj.to_pandas(["rmse/mean", "results.alpha", "total", "duration", "V", "R"])
    extra = ["total", "rmse.mean", "results.alpha", "V", "R", "duration"]
    assert list(frame)[7:] == extra
    assert frame["duration"].tolist()[:5] == [0.25] * 5
    assert frame["V"].iloc[1].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert frame["V"].iloc[3] is None
    assert frame["R"].iloc[2].tolist() == [0, 1]
    with pytest.raises(NameNotFoundError, match="did you mean 'count'"):
        traj.to_pandas(["cuont"])
    with pytest.raises(ExperimentError, match=r"'loss' is a series.*to_pandas\(series='loss'\)"):
        traj.to_pandas(["loss"])


def test_arrays_are_asked_for(traj: Trajectory) -> None:
    frame = traj.to_pandas(arrays=True)
    assert {"V", "R"} == set(frame) - set(traj.to_pandas())
    assert frame["V"].iloc[0].dtype == np.float64


def test_a_view_has_the_same_table(traj: Trajectory) -> None:
    rows = [4, 0, 2]
    pd.testing.assert_frame_equal(traj.select(rows).to_pandas(), traj.to_pandas().loc[rows])
    pd.testing.assert_frame_equal(traj[1:4].to_pandas(), traj.to_pandas().loc[1:3])
    assert len(traj[:0].to_pandas()) == 0
    assert list(traj[:0].to_pandas()) == list(traj.to_pandas())


def test_a_column_as_a_series(traj: Trajectory) -> None:
    series = traj.res["count"].to_pandas()
    assert (series.name, series.index.name, series.dtype) == ("count", "run", pd.Int64Dtype())
    assert traj[2:4].par.alpha.to_pandas().to_dict() == {2: 1.0, 3: 1.0}
    assert traj.runs.status.to_pandas().iloc[5] == "pending"


def test_the_fields_of_the_runs(traj: Trajectory) -> None:
    frame = traj.runs.to_pandas()
    assert list(frame)[:3] == ["id", "key", "status"]
    assert frame.index.name == "run"
    assert frame["seed"].tolist()[:2] == [1000, 1001]
    assert frame["seed"].iloc[5] is pd.NA
    assert frame["start"].iloc[0] == pd.Timestamp(1_700_000_000, unit="s", tz="UTC")
    assert pd.isna(frame["start"].iloc[5])
    assert frame["error"].isna().all()
    assert traj[4:].runs.to_pandas().index.tolist() == [4, 5]


def test_csv_is_read_back(traj: Trajectory, tmp_path: Path) -> None:
    path = traj.to_csv(tmp_path / "t.csv", arrays=True)
    assert path == tmp_path / "t.csv"
    assert sorted(os.listdir(tmp_path)) == ["sweep", "t.csv"]
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["run"] for row in rows] == list("012345")
    assert float(rows[0]["rmse.mean"]) == 0.1 + 0.2
    assert float(rows[3]["rmse.mean"]) == float("inf")
    assert (rows[1]["rmse.mean"], rows[2]["rmse.mean"]) == ("", "")
    assert rows[2]["count"] == str(2**53 + 2)
    assert [row["word"] for row in rows] == ["", 'é,\n"x"', "1e5", "", "NA", ""]
    assert rows[0]["when"].startswith("2026-01-01 01:02:03.456789+00:00")
    assert decode(loads(rows[1]["z"])) == complex(1, float("inf"))
    assert [decode(loads(row["mixed"])) if row["mixed"] else "-" for row in rows] == [
        1,
        "a",
        None,
        "-",
        MIXED[4],
        "-",
    ]
    assert decode(loads(rows[1]["V"])).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert decode(loads(rows[4]["layers"])) == [1, 2]
    again = (tmp_path / "t.csv").read_bytes()
    traj.to_csv(path, arrays=True)
    assert path.read_bytes() == again


def test_parquet_is_read_back(traj: Trajectory, tmp_path: Path) -> None:
    path = traj.to_parquet(tmp_path / "t.parquet", arrays=True)
    frame = pd.read_parquet(path)
    table = traj.to_pandas()
    for name in set(table) - {"z", "mixed", "layers"}:
        pd.testing.assert_series_equal(frame[name], table[name])
    assert decode(loads(frame["z"].iloc[1])) == complex(1, float("inf"))
    assert frame["mixed"].iloc[2] == "null"
    assert frame["mixed"].isna().tolist() == [False, False, False, True, False, True]
    assert decode(loads(frame["V"].iloc[1])).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert pd.read_parquet(traj[2:4].to_parquet(path, ["count"])).index.tolist() == [2, 3]


@pytest.mark.parametrize("write", ["to_csv", "to_parquet"])
def test_a_file_is_whole_or_not_there(
    traj: Trajectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    target = tmp_path / "out"
    target.write_text("before")

    def fail(self: pd.DataFrame, path: Path, **_: Any) -> None:
        Path(path).write_text("half")
        raise OSError("no room")

    monkeypatch.setattr(pd.DataFrame, write, fail)
    with pytest.raises(OSError, match="no room"):
        getattr(traj, write)(target)
    assert target.read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["out", "sweep"]
    with pytest.raises(FileNotFoundError, match="no folder"):
        getattr(traj, write)(tmp_path / "none" / "x")


def test_observations_of_one_series(traj: Trajectory) -> None:
    frame = traj.series.loss.to_pandas()
    assert list(frame) == ["run", "step", "time", "value"]
    assert frame["run"].tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert frame["step"].tolist() == [0, 0, 1, 0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert frame["value"].fillna(-1).tolist() == [0.5, 0.5, -1, *[0.5, -1, 2] * 3]
    assert frame["time"].iloc[2] == pd.Timestamp(1_700_000_001_000_001, unit="us", tz="UTC")
    big = traj.series.n.to_pandas()
    assert big["value"].tolist() == [2**60 + 1, 2**60 + 3]
    assert big["value"].dtype == np.int64
    assert traj.series.flag.to_pandas()["value"].dtype == bool
    assert traj.series.note.to_pandas()["value"].tolist() == ["a", "a", ("b",), "a"]
    images = traj[3:].series.img.to_pandas()
    assert images["run"].tolist() == [3, 3, 4, 4]
    assert images["value"].iloc[2].tolist() == [[4, 4], [4, 4]]
    assert len(traj[5:].series.loss.to_pandas()) == 0


def test_observations_of_many_series(traj: Trajectory) -> None:
    frame = traj.to_pandas(series=True)
    assert list(frame) == ["run", "series", "step", "time", "value"]
    assert frame["series"].unique().tolist() == ["flag", "img", "loss", "n", "note", "x/y"]
    assert frame["value"].dtype == object
    assert frame.query("series == 'n'")["value"].tolist() == [2**60 + 1, 2**60 + 3]
    plain = traj.to_pandas(series=["loss", "x/y"])
    assert plain["value"].dtype == np.float64
    assert plain.query("series == 'x/y'")["run"].tolist() == [4]
    mixed = traj.to_pandas(series=["loss", "n"])
    assert mixed["value"].dtype == object  # 2**60 + 1 is no float
    view = traj.select([4, 1]).to_pandas(series="loss")
    assert view["run"].tolist() == [4, 4, 4, 1, 1]
    assert view["series"].unique().tolist() == ["loss"]
    joined = view.join(traj.to_pandas()["alpha"], on="run")
    assert joined["alpha"].tolist() == [10, 10, 10, 0.1, 0.1]
    with pytest.raises(NameNotFoundError, match="did you mean 'loss'"):
        traj.to_pandas(series="lss")
    with pytest.raises(ExperimentError, match="frame of observations"):
        traj.to_pandas(["count"], series=True)


def test_ints_among_floats_become_floats_where_that_is_exact(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}])
    builder.run(0, series={"a": [1, 2], "b": [0.5]})
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        frame = traj.to_pandas(series=True)
        assert frame["value"].dtype == np.float64
        assert frame["value"].tolist() == [1.0, 2.0, 0.5]


def test_a_sweep_without_results_or_series(build_sweep: BuildSweep) -> None:
    builder = build_sweep([{"i": 0}, {"i": 1}])
    with Trajectory.open(compile_trajectory(builder.path)) as traj:
        assert list(traj.to_pandas()) == ["i", "replicate", "status"]
        frame = traj.to_pandas(series=True)
        assert list(frame) == ["run", "series", "step", "time", "value"]
        assert len(frame) == 0
        assert dict(traj.to_xarray().sizes) == {"i": 2}
        assert len(traj.aggregate()) == 0


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("pandas", "to_pandas"),
        ("pandas", "to_csv"),
        ("pandas", "to_parquet"),
        ("pyarrow", "to_parquet"),
        ("xarray", "to_xarray"),
    ],
)
def test_missing_libraries_name_the_extra(
    traj: Trajectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, call: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    arguments = [] if call in ("to_pandas", "to_xarray") else [tmp_path / "x"]
    with pytest.raises(
        MissingLibraryError, match=rf"needs {missing}: pip install 'pytest-expedition\[analysis\]'"
    ) as error:
        getattr(traj, call)(*arguments)
    assert isinstance(error.value, ImportError)
    assert isinstance(error.value, ExpeditionError)
    if missing == "pandas":
        for column in (traj.series.loss, traj.par.alpha, traj.runs):
            with pytest.raises(MissingLibraryError, match="analysis"):
                column.to_pandas()


@pytest.mark.parametrize("suffix", [".gz", ".zip", ".bz2", ".xz", ""])
def test_the_name_of_a_table_says_how_it_is_packed(traj: Trajectory, tmp_path: Path, suffix: str) -> None:
    path = traj.to_csv(tmp_path / f"t.csv{suffix}", ["count"])
    assert pd.read_csv(path)["run"].tolist() == [0, 1, 2, 3, 4, 5]
    assert sorted(os.listdir(tmp_path)) == ["sweep", path.name]


def test_the_tail_is_read_once_for_a_table(build_sweep: BuildSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = build_sweep([{"i": i} for i in range(3)])
    for i in range(3):
        builder.run(i, {f"x{k:04}": k + i for k in range(1020) if k != 1010 or i})
    reads: list[str] = []
    read = h5py.Dataset.__getitem__

    def noted(dataset: h5py.Dataset, *args: Any, **kwargs: Any) -> Any:
        reads.append(str(dataset.name))
        return read(dataset, *args, **kwargs)

    with pytest.warns(UserWarning, match="1,000"):
        path = compile_trajectory(builder.path)
    with Trajectory.open(path) as traj:
        monkeypatch.setattr(h5py.Dataset, "__getitem__", noted)
        frame = traj.to_pandas()
        assert reads.count("/_tail/results") == 1
        view = traj[[2, 0]].to_pandas()
        traj.to_xarray(grid=False)
        assert reads.count("/_tail/results") == 3
    assert frame["x1019"].tolist() == [1019, 1020, 1021]
    assert frame["x1010"].tolist() == [None, 1011, 1012]
    assert view["x1019"].tolist() == [1021, 1019]
