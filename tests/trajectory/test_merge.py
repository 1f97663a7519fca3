"""Merging trajectories: which runs, what of parameters that differ, files of runs, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from expedition.errors import (
    AmbiguousNameError,
    ClosedError,
    DamagedError,
    MergeError,
    OutputExistsError,
    RecordNotFoundError,
    TrajectoryFormatError,
)
from expedition.trajectory import Trajectory, compile_trajectory, merge, merge_folder
from tests.trajectory.laboratory import Sweep

Make = Callable[..., Sweep]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function (name, points, constants=None, **manifest) → a new sweep below the temporary folder."""

    def build(
        name: str,
        points: Sequence[Mapping[str, Any]],
        constants: Mapping[str, Any] | None = None,
        **manifest: Any,
    ) -> Sweep:
        return Sweep(tmp_path / name, points, constants, **{"sweep": name, **manifest})

    return build


def compiled(sweep: Sweep) -> Path:
    return compile_trajectory(sweep.path)


def simple(make: Make, name: str, values: Sequence[int], **manifest: Any) -> Path:
    """A sweep over i whose runs have ``x``, the number of the value in this sweep."""
    sweep = make(name, [{"i": value} for value in values], **manifest)
    for index in range(len(values)):
        sweep.end(index, index + 1, {"x": index})
    return compiled(sweep)


# rows --------------------------------------------------------------------------------------------------------


def test_runs_stand_in_the_order_of_the_inputs_with_their_origin(make: Make, tmp_path: Path) -> None:
    first, second = simple(make, "a", [1, 2, 3]), simple(make, "b", [4, 5])
    with merge(first, second.parent, to=tmp_path / "all.h5") as traj:
        assert traj.path == tmp_path / "all.h5"
        assert len(traj) == 5
        assert traj.par.i.values.tolist() == [1, 2, 3, 4, 5]
        assert traj.res.x.values.tolist() == [0, 1, 2, 0, 1]
        assert traj.runs.origin.values.tolist() == [0, 0, 0, 1, 1]
        assert traj.runs.origin_index.values.tolist() == [0, 1, 2, 0, 1]
        assert traj.find("origin == 1 and i > 4").tolist() == [4]
        assert "origin" in traj.runs
        assert [(s["sweep_id"], s["path"], s["experiment"], s["n_runs"]) for s in traj.sources] == [
            ("a", "a/trajectory.h5", "exp_x", 3),
            ("b", "b/trajectory.h5", "exp_x", 2),
        ]
        assert {source["created"] for source in traj.sources} == {"2026-11-22T14:30:05+00:00"}
        assert traj.attrs["n_sources"] == 2
        assert (traj.attrs["explored"], traj.attrs["complete"]) == (["i"], 1)
    with Trajectory.open(first) as traj:
        assert traj.sources == []
        assert "origin" not in traj.runs


def test_a_settled_run_wins_then_the_one_that_stopped_last(make: Make, tmp_path: Path) -> None:
    a = make("a", [{"i": i} for i in range(5)])
    a.end(0, 1, {"x": "a"}, status="failed")
    a.end(1, 9, {"x": "a"})
    a.end(2, 1, {"x": "a"})
    a.end(3, 5, {"x": "a"}, status="crashed")  # run 4 was never started
    b = make("b", [{"i": i} for i in range(5)])
    b.end(0, 2, {"x": "b"}, status="pruned")
    b.end(1, 1, {"x": "b"}, status="skipped")
    b.end(2, 2, {"x": "b"})
    b.end(3, 4, {"x": "b"}, status="failed")
    b.end(4, 1, {"x": "b"}, status="failed")
    paths = compiled(a), compiled(b)
    with merge(*paths, to=tmp_path / "all.h5") as traj:
        assert traj.res.x.tolist() == ["b", "a", "b", "a", "b"]
        assert traj.runs.status.values.tolist() == ["pruned", "done", "done", "crashed", "failed"]
        assert traj.runs.origin.values.tolist() == [1, 0, 1, 0, 1]
    with merge(*reversed(paths), to=tmp_path / "reversed.h5") as traj:
        assert traj.res.x.tolist() == ["b", "a", "b", "a", "b"]


def test_equal_duplicates_are_those_of_the_first(make: Make, tmp_path: Path) -> None:
    paths = simple(make, "a", [1, 2]), simple(make, "b", [2, 1])
    with merge(*paths, paths[0], to=tmp_path / "all.h5") as traj:
        assert traj.runs.origin.values.tolist() == [1, 0]  # run i=2 ended later in a, i=1 in b
        assert traj.par.i.values.tolist() == [1, 2]
        assert traj.attrs["n_sources"] == 2  # the same one is not told twice
    with merge(paths[0], to=tmp_path / "one.h5") as traj:
        assert traj.runs.origin.values.tolist() == [0, 0]


def test_duplicates_can_stay_and_go_later(make: Make, tmp_path: Path) -> None:
    paths = simple(make, "a", [1, 2]), simple(make, "b", [2, 3])
    with merge(*paths, to=tmp_path / "all.h5", remove_duplicates=False) as traj:
        assert traj.par.i.values.tolist() == [1, 2, 2, 3]
        key = traj[1].key
        for name in (key, key[:9], traj[1].id):
            with pytest.raises(
                AmbiguousNameError, match=r"it may be run 1 or run 2, both 'exp_x.*by their numbers"
            ):
                traj[name]
        with merge(traj, to=tmp_path / "again.h5") as again:
            assert again.par.i.values.tolist() == [1, 2, 3]
            assert again.runs.origin.values.tolist() == [0, 0, 1]


def test_selections_are_merged_like_files(make: Make, tmp_path: Path) -> None:
    paths = simple(make, "a", [1, 2, 3]), simple(make, "b", [4, 5])
    with Trajectory.open(paths[0]) as first, first.merge(paths[1], to=tmp_path / "all.h5") as traj:
        assert len(traj) == 5
        with merge(traj.select("i > 2"), first.select([1, 0]), to=tmp_path / "some.h5") as some:
            assert some.par.i.values.tolist() == [3, 4, 5, 2, 1]
            assert some.runs.origin.values.tolist() == [0, 1, 1, 0, 0]
            assert some.runs.origin_index.values.tolist() == [2, 0, 1, 1, 0]
        with merge(first.select("i > 9"), traj.select("i > 9"), to=tmp_path / "none.h5") as none:
            assert (len(none), none.par.i.values.tolist()) == (0, [])


# parameters --------------------------------------------------------------------------------------------------


def test_fixed_parameters_that_differ_become_swept_columns(make: Make, tmp_path: Path) -> None:
    paths = []
    for name, constants in (
        ("a", {"c": 1.5, "d": [1], "V": np.arange(3)}),
        ("b", {"c": 2, "d": [1], "V": np.arange(4)}),
    ):
        paths.append(compiled(make(name, [{"i": 0}], constants)))
    with merge(*paths, to=tmp_path / "all.h5", remove_duplicates=False) as traj:
        assert traj.par.c.tolist() == [1.5, 2]
        assert [value.tolist() for value in traj.par.V.tolist()] == [[0, 1, 2], [0, 1, 2, 3]]
        assert traj.attrs["explored"] == ["i", "c", "V"]
        assert [p["c"] for p in traj.unique_points()] == [1.5, 2]


def test_other_spaces_are_refused_and_the_differences_named(make: Make, tmp_path: Path) -> None:
    def declare(name: str, types: Mapping[str, str], experiment: str = "exp_x") -> Path:
        sweep = make(name, [{"i": 0}])
        manifest = sweep.sweep.manifest
        manifest["parameters"] = {key: {"type": kind, "value": 0} for key, kind in types.items()}
        manifest["experiment"]["name"] = experiment
        (sweep.path / "sweep.json").write_text(json.dumps(manifest))
        return compiled(sweep)

    base = declare("base", {"i": "float", "alpha": "float"})
    with pytest.raises(
        MergeError, match=r"b/trajectory\.h5 is of the experiment 'exp_b', .*base.* of 'exp_x'"
    ):
        merge(base, declare("b", {"i": "float", "alpha": "float"}, "exp_b"), to=tmp_path / "all.h5")
    with pytest.raises(MergeError, match=r"'alpha' is declared float in .*base.* and int in .*c/traj"):
        merge(base, declare("c", {"i": "float", "alpha": "int"}), to=tmp_path / "all.h5")
    more = declare("d", {"i": "float", "alpha": "float", "beta": "float", "model.depth": "int"})
    with pytest.raises(MergeError) as raised:
        merge(base, more, base, to=tmp_path / "all.h5")
    assert "base/trajectory.h5 have no parameter 'beta'" in str(raised.value)
    assert "no parameter 'model.depth'" in str(raised.value)
    assert "fill={'beta': …, 'model.depth': …}" in str(raised.value)
    assert isinstance(raised.value, ValueError)
    assert not list(tmp_path.glob("all.h5*"))

    with merge(
        base, more, to=tmp_path / "all.h5", remove_duplicates=False, fill={"beta": 2, "model.depth": 3}
    ) as traj:
        assert traj.par.beta.tolist() == [2.0, 0]
        assert type(traj.par.beta[0]) is float  # as declared
        assert traj.par.model.depth.tolist() == [3, 0]
        assert traj.attrs["explored"] == ["i", "beta", "model.depth"]

    for fill, message in (
        ({"beta": "x", "model.depth": 1}, r"'beta' the value 'x', but it is declared float"),
        ({"beta": 1.0, "model.depth": 1, "gamma": 1}, r"fill names 'gamma', which no trajectory has"),
        ({"beta": 1.0, "model.depth": 1, "bata": 1}, r"did you mean 'beta'"),
        ({"beta": 1.0, "model.depth": 1, "alpha": 1}, r"fill names 'alpha', which no trajectory lacks"),
    ):
        with pytest.raises(MergeError, match=message):
            merge(base, more, to=tmp_path / "other.h5", fill=fill)


def test_trials_go_on_where_the_earlier_ones_end(make: Make, tmp_path: Path) -> None:
    paths = []
    for name, count in (("a", 2), ("b", 3), ("c", 1)):
        sweep = make(name, [{"seed": n, "i": i} for n in range(count) for i in (0, 1)])
        for index in range(2 * count):
            sweep.end(index, 1, {"x": f"{name}{index}"})
        paths.append(compiled(sweep))
    with merge(*paths[:2], to=tmp_path / "two.h5", trial="seed") as two:
        assert two.par.seed.values.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert [source.get("shift") for source in two.sources] == [None, {"seed": 2}]
        with merge(two, paths[2], to=tmp_path / "three.h5", trial="seed") as three:
            assert sorted(set(three.par.seed.values.tolist())) == [0, 1, 2, 3, 4, 5]
            assert [source.get("shift") for source in three.sources] == [None, {"seed": 2}, {"seed": 5}]
        # The keys are those of the runs; what tells shifted runs apart is kept with them.
        assert two.attrs["identity"] == ["parameters/seed"]
        with merge(two, two, to=tmp_path / "again.h5") as again:
            assert again.res.x.tolist() == two.res.x.tolist()


def test_replicates_and_numpy_integers_can_be_trials(make: Make, tmp_path: Path) -> None:
    paths = [compiled(make(name, [{"i": 0}, {"i": 0}, {"i": np.int8(1)}])) for name in ("a", "b")]
    with merge(*paths, to=tmp_path / "all.h5", trial="replicate") as traj:
        assert traj.runs.replicate.values.tolist() == [0, 1, 0, 2, 3, 2]
    paths = [compiled(make(name, [{"i": np.int8(n)} for n in range(3)])) for name in ("c", "d")]
    with merge(*paths, to=tmp_path / "numpy.h5", trial="i") as traj:
        assert [(value, value.dtype) for value in traj.par.i.tolist()] == [(n, np.int8) for n in range(6)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], r"trial='i' must count from 0 without a gap .*b/trajectory\.h5 has 1, 2"),
        ([0, 2], r"must count from 0 without a gap"),
        ([0.0, 1.0], r"must be an integer in every run, but run 0 of .*b/trajectory\.h5 has 0\.0 \(float\)"),
        ([False, True], r"must be an integer in every run, but run 0"),
        ([0, None], r"run 1 of .* has None"),
        (list(map(np.uint8, range(255))), r"cannot be shifted by 2, which uint8 does not hold"),
    ],
)
def test_trials_that_cannot_be_shifted_are_refused(
    make: Make, tmp_path: Path, values: list[Any], message: str
) -> None:
    paths = [
        compiled(make("a", [{"i": 0}, {"i": 1}])),
        compiled(make("b", [{"i": value} for value in values])),
    ]
    with pytest.raises(MergeError, match=message):
        merge(*paths, to=tmp_path / "all.h5", trial="i")
    with pytest.raises(MergeError, match=r"trial names 'ii', which is no parameter \(did you mean 'i'"):
        merge(*paths, to=tmp_path / "all.h5", trial="ii")


# columns -----------------------------------------------------------------------------------------------------


def test_kinds_that_differ_keep_value_and_type(make: Make, tmp_path: Path) -> None:
    paths = []
    for name, values in (
        ("a", [1, 2]),
        ("b", [1.5, np.float64(2)]),
        ("c", ["text", None]),
        ("d", [np.arange(3), 3]),
    ):
        sweep = make(name, [{"i": i} for i in range(2)])
        for index, value in enumerate(values):
            sweep.end(index, 1, {"x": value, name: index})
        paths.append(compiled(sweep))
    with merge(*paths[:2], to=tmp_path / "numbers.h5", remove_duplicates=False) as traj:
        assert traj.res.x.kind == "json"  # as the compiler does with int, float and numpy in one column
        assert [type(value) for value in traj.res.x.tolist()] == [int, int, float, np.float64]
        assert traj.res.a.tolist("none") == [0, 1, "none", "none"]
        assert traj.res.a.states.tolist() == [1, 1, 0, 0]
    with merge(*paths, to=tmp_path / "all.h5", remove_duplicates=False) as traj:
        found = traj.res.x.tolist()
        assert found[:6] == [1, 2, 1.5, 2.0, "text", None]
        assert (found[6].tolist(), found[6].dtype, found[7]) == ([0, 1, 2], np.arange(3).dtype, 3)


def test_what_is_leaf_here_and_group_there_is_one_column(make: Make, tmp_path: Path) -> None:
    a, b = make("a", [{"i": 0}]), make("b", [{"i": 1}])
    a.end(0, 1, {"x": 1.5, "y/z": 1})
    b.end(0, 1, {"x/p": np.arange(2), "x/q/r": 2, "y/w": 3})
    with merge(compiled(a), compiled(b), to=tmp_path / "all.h5") as traj:
        first, second = traj.res.x.tolist()
        assert first == 1.5
        assert (second["p"].tolist(), second["q"]) == ([0, 1], {"r": 2})
        assert sorted(traj.res.y) == ["w", "z"]


def test_many_leaves_of_many_inputs_share_a_column(make: Make, tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        sweep = make(f"s{number}", [{"i": number}])
        sweep.end(0, 1, {}, tagged={f"m{number}{k:03d}": k for k in range(600)})
        paths.append(compiled(sweep))
    with pytest.warns(UserWarning, match=r"1,200 different results; those after the first 1,000"):
        merged = merge(*paths, to=tmp_path / "all.h5")
    with merged as traj:
        assert (traj.res.m1599.tolist(), traj.res.m0001.tolist()) == ([None, 599], [1, None])
        with pytest.warns(UserWarning, match=r"1,200 different results"):
            again = merge(traj, paths[0], to=tmp_path / "again.h5")
        with again:
            assert (again.res.m1599.tolist(), again.res.m0001.tolist()) == ([None, 599], [1, None])


def test_comments_and_units_that_differ_are_told(make: Make, tmp_path: Path) -> None:
    paths = []
    for number, unit in enumerate(["K", "K", "°C"]):
        sweep = make(f"s{number}", [{"i": number}])
        notes = {"x": {"unit": unit, "comment": "as measured"}}
        sweep.end(0, 1, {"x": 1.0, "y": 2.0}, annotations=notes, series={"s": [1]})
        paths.append(compiled(sweep))
    with merge(*paths[:2], to=tmp_path / "same.h5") as traj:  # warnings are errors here
        assert (traj.res.x.unit, traj.res.x.comment) == ("K", "as measured")
        assert traj.par.i.comment == "about i"
    with pytest.warns(
        UserWarning, match=r"unit of results/x is '°C' in .*s2.*, which is kept, and 'K' in .*s0"
    ):
        merged = merge(*paths, to=tmp_path / "all.h5")
    with merged as traj, h5py.File(tmp_path / "all.h5") as h5:
        assert (traj.res.x.unit, traj.res.x.comment) == ("°C", "as measured")
        assert h5["annotations/results/x/unit"].asstr()[:].tolist() == ["K", "K", "°C"]
        assert "comment" not in h5["annotations/results/x"]


def test_notes_and_links_come_along(make: Make, tmp_path: Path) -> None:
    paths = simple(make, "a", [1, 2]), simple(make, "b", [3])
    with Trajectory.open(paths[0]) as traj:
        traj.annotate("results", comment="what came out")
        traj.annotate("x", unit="m")
        traj.link("best", "results/x")
    with merge(*paths, to=tmp_path / "all.h5") as merged:
        assert merged.best.values.tolist() == [0, 1, 0]
        assert merged.res.x.unit == "m"
        merged.link("first", "parameters/i")
        with merge(merged, paths[1], to=tmp_path / "again.h5") as again:
            assert again.links == {"best": "results/x", "first": "parameters/i"}
            with h5py.File(again.path) as h5:
                assert h5["results"].attrs["comment"] == "what came out"
    with Trajectory.open(paths[1]) as traj:
        traj.link("best", "parameters/i")
    with pytest.warns(UserWarning, match=r"link best is 'parameters/i' in .*b/trajectory\.h5, which is kept"):
        assert merge(*paths, to=tmp_path / "other.h5").links == {"best": "parameters/i"}


def test_series_and_arrays_are_joined_as_they_are(make: Make, tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        sweep = make(f"s{number}", [{"i": 10 * number + k} for k in range(3)])
        for index in (0, 2):
            data = {"V": np.full((20, 30), index + number), "r": np.arange(float(index + number))}
            series = {
                "loss": [0.5 * k for k in range(index + 1)],
                "img": [np.full((4, 5), index)] * 2,
                "n": [index],
            }
            series["mixed"] = [[1], [1.5], ["text"]][number]
            sweep.end(index, 1, data, series=series)
        paths.append(compiled(sweep))
    with merge(*paths, to=tmp_path / "all.h5") as traj:
        assert traj.res.V.shape == (9, 20, 30)
        assert traj.res.V[8, 1, 2:4].tolist() == [4, 4]
        assert [value is None for value in traj.res.V.tolist()] == [False, True, False] * 3
        assert traj.res.r[5].tolist() == [0.0, 1.0, 2.0]
        assert traj.series.loss[5].value.tolist() == [0.0, 0.5, 1.0]
        assert traj.series.loss.counts.tolist() == [1, 0, 3] * 3
        assert traj.series.img[8].value.shape == (2, 4, 5)
        assert traj.series.n.kind == "int"
        assert [list(traj.series.mixed[row].value) for row in (0, 5, 8)] == [[1], [1.5], ["text"]]
        assert traj.series.loss[3].time.tolist() == Trajectory.open(paths[1]).series.loss[0].time.tolist()


def test_nan_keeps_its_bits(make: Make, tmp_path: Path) -> None:
    bits = 0x7FF8000000000001
    nan = np.array([bits], np.int64).view(np.float64)[0]
    paths = []
    for number in range(2):
        sweep = make(f"s{number}", [{"i": number}])
        sweep.end(0, 1, {"x": float(nan)}, series={"s": [nan, np.float64("-inf")], "t": [float(nan)]})
        paths.append(compiled(sweep))
    with merge(*paths, to=tmp_path / "all.h5") as traj:
        assert traj.res.x.values.view(np.int64).tolist() == [bits, bits]
        for name in ("s", "t"):
            assert [traj.series[name][row].value.view(np.int64)[0] for row in range(2)] == [bits, bits]
        assert traj.series.s[1].value[1] == -np.inf


def test_arrays_too_long_for_json_stay_in_the_file(make: Make, tmp_path: Path) -> None:
    paths = []
    for number, size in enumerate((200_000, 200_001)):
        sweep = make(f"s{number}", [{"i": 2 * number}, {"i": 2 * number + 1}])
        for index in range(2):
            sweep.end(index, 1, {"V": np.arange(size) + index})
        paths.append(compiled(sweep))
        shutil.rmtree(sweep.folder(0))
        shutil.rmtree(sweep.folder(1))
    with merge(*paths, to=tmp_path / "all.h5") as traj:
        assert traj.res.V.kind == "array"
        assert [len(value) for value in traj.res.V.tolist()] == [200_000] * 2 + [200_001] * 2
        assert traj.res.V[3][-1] == 200_001


def test_readers_of_other_makers_open_a_merged_file(make: Make, tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        sweep = make(f"s{number}", [{"i": 2 * number}, {"i": 2 * number + 1}])
        data = {"x": 0.5, "V": np.ones((3, 4)), "r": np.arange(number + 1), "t": "a", "only": number}
        sweep.end(0, 1, data, series={"s": [1, None], "a": [np.ones(2)]})
        paths.append(compiled(sweep))
    merge(*paths, to=tmp_path / "all.h5").close()
    for engine in ("h5netcdf", "netcdf4"):
        with xr.open_dataset(tmp_path / "all.h5", engine=engine) as data:
            assert data.sizes["run"] == 4
            assert data["i"].values.tolist() == [0, 1, 2, 3]
            assert data["status"].values.tolist() == ["done", "pending"] * 2
        with xr.open_dataset(tmp_path / "all.h5", engine=engine, group="runs") as data:
            assert data["origin"].values.tolist() == [0, 0, 1, 1]
        with xr.open_dataset(tmp_path / "all.h5", engine=engine, group="series/a") as data:
            assert data["value"].shape == (2, 2)
    with netCDF4.Dataset(tmp_path / "all.h5") as data:
        assert data["results/V"].dimensions == ("run", "V_dim1", "V_dim2")


# run folders -------------------------------------------------------------------------------------------------


def referring(make: Make, name: str, i: int) -> Path:
    """A sweep with arrays that stay in the run folder, and pictures."""
    sweep = make(name, [{"i": i}, {"i": i + 1}])
    for index in range(2):
        (sweep.folder(index) / "picture.png").write_text("a picture")
        data = {"V": np.arange(200_000.0 + index), "odd": [np.arange(150_000.0), index]}
        sweep.end(
            index, 1, data, series={"p": [{"$": "file", "file": "picture.png"}], "o": [np.ones(300), "x"]}
        )
    return compiled(sweep)


def test_files_of_runs_are_found_where_the_inputs_are(make: Make, tmp_path: Path) -> None:
    paths = referring(make, "data/a", 0), referring(make, "data/b", 2)
    with merge(*paths, to=tmp_path / "merged" / "first.h5") as traj:
        assert traj.res.V[2].tolist() == np.arange(200_000.0).tolist()
        assert traj.res.odd[3][0].tolist() == np.arange(150_000.0).tolist()
        assert traj[3].folder.resolve() == tmp_path / "data/b/0001-x"
        assert Path(traj[1].series.p.value[0]).read_text() == "a picture"
        assert traj[0].series.o.value[0].tolist() == [1.0] * 300
        assert [s["path"] for s in traj.sources] == [f"../data/{n}/trajectory.h5" for n in "ab"]
        with merge(traj, to=tmp_path / "merged" / "deeper" / "again.h5") as again:
            assert [s["path"] for s in again.sources] == [f"../../data/{n}/trajectory.h5" for n in "ab"]
            assert again.res.V[1].tolist() == np.arange(200_001.0).tolist()
    shutil.move(tmp_path / "data", tmp_path / "moved" / "data")
    shutil.move(tmp_path / "merged", tmp_path / "moved" / "merged")
    with Trajectory.open(tmp_path / "moved" / "merged" / "first.h5") as traj:
        assert traj.res.V[2][:3].tolist() == [0.0, 1.0, 2.0]


def test_a_merged_file_without_its_inputs_says_what_is_missing(make: Make, tmp_path: Path) -> None:
    paths = referring(make, "a", 0), simple(make, "b", [2])
    with merge(*paths, to=tmp_path / "all.h5") as traj:
        shutil.rmtree(tmp_path / "a")
        message = (
            r"run folder .*/a/0000-x of run 0 \(exp_x.*\) is not there: .* the sweep a or this file was moved"
        )
        for read in (
            lambda: traj.res.V[0],
            lambda: traj[0].folder,
            lambda: traj[0].series.p,
            lambda: traj.res.odd.tolist(),
        ):
            with pytest.raises(RecordNotFoundError, match=message):
                read()
        assert traj.par.i.values.tolist() == [0, 1, 2]
        assert traj.res.x.tolist() == [None, None, 0]
        assert traj[2].folder.name == "0000-x"


def test_another_run_in_the_place_of_a_run_is_not_taken_for_it(make: Make, tmp_path: Path) -> None:
    paths = referring(make, "a", 0), referring(make, "b", 2)
    with merge(*paths, to=tmp_path / "all.h5") as traj:
        shutil.rmtree(tmp_path / "a")
        shutil.copytree(tmp_path / "b", tmp_path / "a")
        with pytest.raises(RecordNotFoundError, match="is of another run"):
            _ = traj.res.V[0]


def test_what_stands_in_the_file_needs_no_inputs(make: Make, tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        sweep = make(f"s{number}", [{"i": number}])
        tagged = {f"m{k:04d}": k for k in range(1010)}
        sweep.end(0, 1, {"list": [1, "a"]}, tagged=tagged, series={"odd": [1, "a"], "mixed": [number, 0.5]})
        with pytest.warns(UserWarning, match="1,011 different results"):
            paths.append(compiled(sweep))
    with pytest.warns(UserWarning, match="1,011 different results"):
        merged = merge(*paths, to=tmp_path / "all.h5")
    for number in range(2):
        shutil.rmtree(tmp_path / f"s{number}")
    with merged as traj:
        assert traj.res.list.tolist() == [[1, "a"]] * 2
        assert traj.res.m1009.tolist() == [1009, 1009]
        assert list(traj.series.odd[1].value) == [1, "a"]
        assert traj.series.mixed[1].value.tolist() == [1.0, 0.5]


def test_a_damaged_file_of_a_run_is_named(make: Make, tmp_path: Path) -> None:
    with merge(referring(make, "in/a", 0), to=tmp_path / "out" / "all.h5") as traj:
        file = next((tmp_path / "in/a/0000-x/data").glob("V*.npy"))
        file.write_bytes(file.read_bytes()[:-8])
        with pytest.raises(DamagedError, match=r"in/a/0000-x/data/V\.npy: not a whole \.npy file"):
            _ = traj.res.V[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"path": "/etc/x.h5"}]', "of a source is not relative"),
        ('[{"path": "c:/x.h5"}]', "of a source is not relative"),
        ('[{"path": "..\\\\x"}]', "a source has no path"),
        ("{}", "it is no list of sources"),
        ("[", "does not list its sources"),
    ],
)
def test_foreign_sources_are_refused(make: Make, tmp_path: Path, text: str, message: str) -> None:
    merge(referring(make, "a", 0), to=tmp_path / "all.h5").close()
    with h5py.File(tmp_path / "all.h5", "r+") as h5:
        h5["_meta/sources"][()] = text
    with Trajectory.open(tmp_path / "all.h5") as traj, pytest.raises(TrajectoryFormatError, match=message):
        _ = traj.sources


def test_a_foreign_file_cannot_lead_to_other_folders(make: Make, tmp_path: Path) -> None:
    np.save(tmp_path / "secret.npy", np.arange(200_000.0))
    merge(referring(make, "a", 0), to=tmp_path / "deep" / "all.h5").close()
    with h5py.File(tmp_path / "deep" / "all.h5", "r+") as h5:
        h5["_meta/sources"][()] = '[{"path": "../trajectory.h5"}]'
        h5["runs/origin"][1] = 7
    with Trajectory.open(tmp_path / "deep" / "all.h5") as traj:
        with pytest.raises(RecordNotFoundError, match="is not there"):
            _ = traj.res.V[0]
        with pytest.raises(TrajectoryFormatError, match="source 7, of which there is none"):
            _ = traj.res.V[1]


# the file ----------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_inputs_are_never_touched_and_the_same_inputs_give_the_same_file(make: Make, tmp_path: Path) -> None:
    paths = referring(make, "in/a", 0), simple(make, "in/b", [2, 3])
    before = contents(tmp_path / "in")
    for name in ("one.h5", "two.h5"):
        merge(*paths, to=tmp_path / name).close()
    assert contents(tmp_path / "in") == before
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "one.h5", "two.h5"]


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(make: Make, tmp_path: Path) -> None:
    path = simple(make, "a", [1, 2])
    merge(path, to=tmp_path / "all.h5").close()
    before = (tmp_path / "all.h5").read_bytes()
    second = simple(make, "b", [3])
    with pytest.raises(OutputExistsError, match=r"all\.h5 already"):
        merge(path, second, to=tmp_path / "all.h5")
    assert (tmp_path / "all.h5").read_bytes() == before
    with (
        Trajectory.open(tmp_path / "all.h5") as old,
        merge(path, second, to=old.path, overwrite=True) as traj,
    ):
        assert (len(old), len(traj)) == (2, 3)
        assert old.refresh()
        assert len(old) == 3


def test_outputs_that_make_no_sense_are_refused(make: Make, tmp_path: Path) -> None:
    path, second = simple(make, "a", [1]), simple(make, "b", [2])
    (tmp_path / "link.h5").symlink_to(path)
    for to, message in (
        (tmp_path, "is a folder: name the file"),
        (second, "is the trajectory of a sweep, which is compiled from its runs"),
        (tmp_path / "link.h5", "is one of the trajectories that are merged"),
    ):
        with pytest.raises(MergeError, match=message):
            merge(path, to=to, overwrite=True)
    with pytest.raises(MergeError, match="at least one trajectory"):
        merge(to=tmp_path / "all.h5")
    with pytest.raises(MergeError, match=r"not 3 \(int\)"):
        merge(path, 3, to=tmp_path / "all.h5")  # type: ignore[arg-type]
    with pytest.raises(RecordNotFoundError, match="no trajectory"):
        merge(path, tmp_path / "none", to=tmp_path / "all.h5")
    with Trajectory.open(path) as traj:
        pass
    with pytest.raises(ClosedError, match="closed"):
        merge(traj, to=tmp_path / "all.h5")


def test_a_failure_leaves_what_was_there(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = simple(make, "a", [1])
    merge(path, to=tmp_path / "all.h5").close()
    before = (tmp_path / "all.h5").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("expedition.trajectory.merging.file.write_runs", full)
    with pytest.raises(OSError, match="No space left"):
        merge(path, to=tmp_path / "all.h5", overwrite=True)
    assert (tmp_path / "all.h5").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "all.h5"]


def test_all_sweeps_of_a_namespace_oldest_first(make: Make, tmp_path: Path) -> None:
    for name, created, values in (
        ("z", "2026-01-01", [1]),
        ("m", "2026-03-01", [3]),
        ("a", "2026-02-01", [2]),
    ):
        simple(make, f"results/exp_x/{name}", values, created=f"{created}T00:00:00+00:00", sweep=name)
    (tmp_path / "results/exp_x/notes.txt").write_text("no sweep")
    (tmp_path / "results/exp_x/other").mkdir()
    with merge_folder(tmp_path / "results/exp_x") as traj:
        assert traj.par.i.values.tolist() == [1, 2, 3]
        assert traj.attrs["created"] == "2026-01-01T00:00:00+00:00"
    with Trajectory.open(tmp_path / "results/exp_x") as traj:
        assert [source["sweep_id"] for source in traj.sources] == ["z", "a", "m"]
    with pytest.raises(OutputExistsError):
        merge_folder(tmp_path / "results/exp_x")
    merge_folder(tmp_path / "results/exp_x", overwrite=True).close()
    with merge_folder(tmp_path / "results/exp_x", tmp_path / "elsewhere.h5") as traj:
        assert len(traj) == 3
    (tmp_path / "results/exp_x/a/trajectory.h5").unlink()
    with pytest.raises(RecordNotFoundError, match=r"exp_x/a has no trajectory\.h5: write it with"):
        merge_folder(tmp_path / "results/exp_x", tmp_path / "none.h5")
    with pytest.raises(RecordNotFoundError, match="holds no sweep; give the folder of one namespace"):
        merge_folder(tmp_path / "results")
    with pytest.raises(RecordNotFoundError, match="there is no folder"):
        merge_folder(tmp_path / "nowhere")


MEMORY = """
import resource, sys
from expedition.trajectory import merge
merge(sys.argv[1], to=sys.argv[1] + ".small").close()  # imports and caches
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
merge(*sys.argv[2:], to=sys.argv[1] + ".big").close()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_does_not_grow_with_the_data(make: Make, tmp_path: Path) -> None:
    small = make("small", [{"i": 0}])
    small.end(0, 1, {"V": np.arange(500.0)}, series={"img": [np.ones((20, 20))], "s": [1.5]})
    noise = np.random.default_rng(0).normal(size=1_000_000)
    paths = [str(compiled(small))]
    for number in range(2):
        sweep = make(f"big{number}", [{"i": 10 * number + k} for k in range(10)])
        for index in range(10):
            data = {"stack": noise[index : 400_000 + index], "ragged": noise[: 100_000 + index]}
            series = {"img": [noise[:150_000].reshape(3, -1)] * 4, "s": [0.5] * 2000}
            sweep.end(index, 1, data, series=series)
        paths.append(str(compiled(sweep)))
    command = [sys.executable, "-c", MEMORY, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert os.path.getsize(paths[0] + ".big") > 150e6
    assert float(done.stdout) < 60
    with Trajectory.open(paths[0] + ".big") as traj:
        assert traj[19].res.ragged.tobytes() == noise[:100_009].tobytes()
        assert traj[12].res.stack.tobytes() == noise[2:400_002].tobytes()
        assert traj[19].series.img.value[3].tobytes() == noise[:150_000].tobytes()


def test_seeds_stay_whole_beside_runs_that_never_began(tmp_path: Path) -> None:
    begun, planned = Sweep(tmp_path / "begun", [{"i": 0}]), Sweep(tmp_path / "planned", [{"i": 1}])
    begun.run(0, {"x": 1}, seed=2**62 + 1)
    for sweep in (begun, planned):
        compile_trajectory(sweep.path)
    with merge(planned.path, begun.path, to=tmp_path / "all.h5") as merged:
        assert merged.runs.seed.tolist() == [None, 2**62 + 1]


def test_dicts_where_a_name_is_leaf_and_group_have_one_order_of_keys(make: Make, tmp_path: Path) -> None:
    a, b = make("a", [{"i": 0}]), make("b", [{"i": 1}, {"i": 2}])
    a.end(0, 1, {"g/a": 1})
    b.end(0, 1, {"g/b": 2, "g/a": 3})
    b.end(1, 1, {"g": 4})
    with merge(compiled(a), compiled(b), to=tmp_path / "all.h5") as traj:
        assert [list(value) for value in traj.res.g.tolist()[:2]] == [["a"], ["a", "b"]]
