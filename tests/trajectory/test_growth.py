"""A trajectory that is extended by what is new equals one that is compiled as a whole."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from expedition.trajectory import Trajectory, compile_trajectory, update_trajectory
from expedition.trajectory.file import format as fmt
from expedition.trajectory.growing import splice
from tests.thoroughness import further
from tests.trajectory.growing import GrowingSweep, differences, steps, update_and_compare

Build = Callable[..., GrowingSweep]


@pytest.fixture
def grow(tmp_path: Path) -> Build:
    """Return a function (number of runs, constants) → `GrowingSweep`."""

    def build(count: int, constants: dict[str, Any] | None = None, **manifest: Any) -> GrowingSweep:
        return GrowingSweep(tmp_path / "sweep", [{"i": i} for i in range(count)], constants, **manifest)

    return build


def everything(i: int) -> dict[str, Any]:
    """What run i records: something of every kind that columns and series have."""
    data = {
        "float": i / 3,
        "nan": float("nan") if i % 2 else 0.5,
        "int": i,
        "bool": bool(i % 2),
        "text": f"é{i}",
        "same": "same",
        "complex": complex(i, 1),
        "when": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=i),
        "naive": datetime(2026, 1, 1) + timedelta(hours=i),
        "took": timedelta(seconds=i),
        "f4": np.float32(i),
        "natural": np.float64(i),
        "day": np.datetime64("2026-01-01", "D") + i,
        "json": [i, "a"],
        "none": None if i % 2 else i,
        "either": i if i % 2 else i + 0.5,
        "deep/er/leaf": i,
        "_odd": i,
        "stack": np.full((2, 3), i),
        "flags": np.array([True, bool(i % 2)]),
        "large": np.full(130, i / 2),
        "ragged": np.arange(i + 1),
        "some": np.arange(3.0) if i % 3 else None,
    }
    if i % 4:
        data["hole"] = i
        data["gap"] = bool(i % 2)
        data["lacking"] = np.ones(4)
    series = {
        "loss": [i + k / 2 for k in range(i % 3 + 1)],
        "count": [1, i],
        "mixed": [i, 0.5, None],
        "words": ["a", f"{i}"],
        "field": [np.full((2, 2), i)] * 2,
        "big": [np.full(200, i / 2)],
        "picture": [{"$": "file", "file": f"data/series/{i}.png"}],
    }
    return {
        "data": data,
        "series": series,
        "derived": {"twice": 2 * i},
        "annotations": {"float": {"unit": "K", "comment": "root"}, "loss": {"comment": "of the fold"}},
        "worker": f"gw{i % 2}",
    }


def test_runs_that_end_in_any_order(grow: Build) -> None:
    sweep = grow(12, {"name": "mnist", "w": np.arange(3.0), "opt": {"a": [1]}})
    order = [0, 3, 1, 2, 7, 5, 4, 6, 11, 10, 8, 9]
    for number, first in enumerate(range(0, 12, 3)):
        for index in order[first : first + 3]:
            sweep.run(index, **everything(index))
        assert update_and_compare(sweep.path) == number
    with Trajectory.open(sweep.path) as traj:
        assert traj[7].results.to_dict()["deep"]["er"]["leaf"] == 7
        assert traj[7].series.loss.value.tolist() == [7.0, 7.5]
        assert [run.res.stack[0, 0] for run in traj] == list(range(12))


def test_runs_that_are_added_to_the_design(grow: Build) -> None:
    sweep = grow(4, {"name": "mnist", "n": 3}, grid={"dims": ["i"], "shape": [4]})
    for index in range(4):
        sweep.run(index, **everything(index))
    assert update_and_compare(sweep.path) == 0
    sweep.expand([{"i": 100}, {"i": 101}])
    assert update_and_compare(sweep.path) == 1
    sweep.run(5, **everything(5))
    sweep.run(4, **everything(4))
    assert update_and_compare(sweep.path) == 2
    new = {"type": "int", "description": "how deep", "swept": False}
    sweep.expand([{"i": 7, "model.depth": 2, "name": "other"}], {"model.depth": new}, absent=["n"])
    sweep.run(6, **everything(6))
    assert update_and_compare(sweep.path) == 3
    with h5py.File(sweep.path / "trajectory.h5") as file:
        assert file["parameters/name"].asstr()[:].tolist() == ["mnist"] * 6 + ["other"]
        assert "grid_shape" not in file.attrs
        assert file.attrs["n_runs"] == 7
        assert list(file["_state/parameters/n"]) == [1] * 6 + [0]
    with Trajectory.open(sweep.path) as traj:
        assert traj.par.model.depth.tolist() == [None] * 6 + [2]


def test_runs_that_run_die_and_are_tried_again(grow: Build) -> None:
    sweep = grow(6)
    sweep.run(0, {"x": 1.5}, series={"s": [1.0, 2.0]})
    sweep.begin(1, {"x": 2.5}, series={"s": [3.0]})
    sweep.run(2, {"x": 3.5}, status="failed", error="ValueError: a long message", series={"s": [4.0]})
    assert update_and_compare(sweep.path) == 0
    assert statuses(sweep) == ["done", "running", "failed", "pending", "pending", "pending"]
    sweep.begin(1, {"x": 2.5}, series={"s": [3.0, 3.5]})
    sweep.begin(3, {"x": 9.5}, alive=False)
    assert update_and_compare(sweep.path) == 1
    assert statuses(sweep) == ["done", "running", "failed", "crashed", "pending", "pending"]
    assert update_and_compare(sweep.path) == 1  # a run that is where it was is no news
    sweep.again(1, data={"x": 2.5}, series={"s": [3.0, 3.5, 4.0]})
    sweep.again(2, data={"x": 1.25}, series={"s": [9.0]}, attempt=1)
    sweep.begin(3, {"x": 0.5}, series={"s": [7.0]}, attempt=1, alive=False)
    assert update_and_compare(sweep.path) == 2
    assert statuses(sweep) == ["done", "done", "done", "crashed", "pending", "pending"]
    for index in (3, 4, 5):
        sweep.again(index, data={"x": 8.5}, series={"s": [1.0]}, attempt=2)
    assert update_and_compare(sweep.path) == 3
    with h5py.File(sweep.path / "trajectory.h5") as file:
        assert file.attrs["complete"] == 1
        assert file["runs/status"].shape[1] == 4
        assert file["runs/attempt"][:].tolist() == [0, 0, 1, 2, 2, 2]
        assert "_state/results" not in file


def statuses(sweep: GrowingSweep) -> list[str]:
    with Trajectory.open(sweep.path) as traj:
        return [run.status for run in traj]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1, 2], 0.5),
        ([1, 2**60], 0.5),
        ([0.5, 1.5], 1),
        ([0.5, 1.5], 2**53 + 1),
        ([0.5, 1.5], "text"),
        ([True, False], 1),
        (["a", "b"], 1),
        (["a", "b"], "nul\0"),
        (["a", "a"], "b"),
        (["", ""], "b"),
        ([None, None], "a"),
        ([None, 1], None),
        ([1, 2], 2**70),
        ([1.5, 2.5], np.float64(3)),
        ([np.float32(1), np.float32(2)], 0.5),
        ([np.int8(1), np.int8(2)], np.int8(3)),
        ([[1], [2]], 5),
        ([[1], "a"], {"k": 1}),
        ([datetime(2026, 1, 1)] * 2, datetime(2026, 1, 1, tzinfo=UTC)),
        ([timedelta(1), timedelta(2)], timedelta(days=10**8, microseconds=1)),
        ([(1,), (2,)], (3,)),
        ([b"raw", b""], b"x"),
    ],
    ids=repr,
)
def test_a_column_may_change_its_kind(grow: Build, before: list[Any], after: Any) -> None:
    sweep = grow(5)
    for index, value in enumerate(before):
        sweep.run(index, {"x": value, "y": index})
    compile_trajectory(sweep.path)
    sweep.run(2, {"x": after, "y": 2})
    assert update_and_compare(sweep.path) == 1
    for index in (3, 4):
        sweep.run(index, {"x": before[0], "y": index})
    assert update_and_compare(sweep.path) == 2
    with Trajectory.open(sweep.path) as traj:
        values = [run.res.x for run in traj]
    assert list(map(repr, values)) == list(map(repr, [*before, after, before[0], before[0]]))


@pytest.mark.parametrize("odd", ["text", [1], 2**60, None, 0.5, np.float64(1)], ids=repr)
def test_a_later_attempt_may_take_the_reason_for_a_kind_away(grow: Build, odd: Any) -> None:
    sweep = grow(4)
    sweep.run(0, {"x": 1})
    sweep.run(1, {"x": odd}, status="failed")
    sweep.run(2, {"x": 2})
    compile_trajectory(sweep.path)
    sweep.again(1, data={"x": 3}, attempt=1)
    assert update_and_compare(sweep.path) == 1
    with h5py.File(sweep.path / "trajectory.h5") as file:
        assert file["results/x"].dtype == np.int64


def test_leaves_and_series_that_come_later(grow: Build) -> None:
    sweep = grow(6)
    sweep.run(3, {"b": 1, "a": 2})
    compile_trajectory(sweep.path)
    sweep.run(1, {"c": 0.5, "b": 3}, series={"t": [1]}, derived={"d": 1})
    assert update_and_compare(sweep.path) == 1
    sweep.run(4, {"g/x": "text", "V": np.arange(3), "z": [1]}, series={"s": [1.0], "t": [2]})
    sweep.run(0, {"e": 1}, annotations={"e": {"unit": "m"}})
    assert update_and_compare(sweep.path) == 2
    with Trajectory.open(sweep.path) as traj:
        assert list(traj.results) == ["e", "c", "b", "a", "g", "V", "z"]
        assert traj.res.e.unit == "m"


def test_what_runs_say_of_columns(grow: Build) -> None:
    sweep = grow(9)

    def run(index: int, comment: str = "", **more: Any) -> None:
        about = {"comment": comment} if comment else {}
        sweep.again(index, data={"x": index}, annotations={"x": about, "nothing": about}, **more)

    run(0, "one")
    run(1, "one", status="failed")
    assert update_and_compare(sweep.path) == 0
    run(2, "one")
    run(3)
    assert update_and_compare(sweep.path) == 1
    run(1, "one", attempt=1)
    assert update_and_compare(sweep.path) == 2
    run(5, "another")
    assert update_and_compare(sweep.path) == 0  # now it matters who said what
    run(4, "one")
    run(7)
    assert update_and_compare(sweep.path) == 1
    run(8, "last")
    assert update_and_compare(sweep.path) == 2
    sweep.expand([{"i": 50}])
    assert update_and_compare(sweep.path) == 3
    with Trajectory.open(sweep.path) as traj:
        assert traj.res.x.comment == "last"


UNFIT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a leaf becomes a group": ({"data": {"g": 1}}, {"data": {"g/x": 1}}),
    "a group becomes a leaf": ({"data": {"g/x": 1}}, {"data": {"g": 1}}),
    "arrays of another shape": ({"data": {"V": np.zeros(3)}}, {"data": {"V": np.zeros(4)}}),
    "arrays of another type": ({"data": {"V": np.zeros(3)}}, {"data": {"V": np.zeros(3, "f4")}}),
    "no array any more": ({"data": {"V": np.zeros(3)}}, {"data": {"V": "text"}}),
    "an array now": ({"data": {"V": 1.5}}, {"data": {"V": np.zeros(3)}}),
    "the name of a dimension": ({"data": {"V": np.zeros(3)}}, {"data": {"V_dim1": 1}}),
    "a series of another kind": ({"series": {"s": [1.0]}}, {"series": {"s": ["a"]}}),
    "a series of two kinds": ({"series": {"s": [1, 2]}}, {"series": {"s": [0.5, 1]}}),
    "a comment of another column": (
        {"series": {"x": [1.0]}, "annotations": {"x": {"unit": "K"}}},
        {"data": {"x": 1}},
    ),
}


@pytest.mark.parametrize(("before", "after"), UNFIT.values(), ids=UNFIT)
def test_what_only_all_runs_decide_is_compiled_as_a_whole(
    grow: Build, before: dict[str, Any], after: dict[str, Any]
) -> None:
    sweep = grow(4)
    sweep.run(0, **before)
    sweep.run(1, **before)
    compile_trajectory(sweep.path)
    sweep.run(2, **after)
    assert update_and_compare(sweep.path) == 0
    sweep.run(3, **before)
    update_and_compare(sweep.path)


def test_a_series_whose_types_do_not_go_together(grow: Build) -> None:
    """Ints and numpy scalars may each stand among floats, but not both."""
    sweep = grow(3)
    sweep.run(0, series={"s": [0.5, 1], "t": [0.5, None]})
    compile_trajectory(sweep.path)
    sweep.run(1, series={"s": [0.5, np.float64(2)], "t": [0.5, 2]})
    assert update_and_compare(sweep.path) == 0


def test_arrays_that_begin_to_repeat(grow: Build) -> None:
    sweep = grow(40)
    for index in range(10):
        sweep.run(index, {"V": np.full(500, index), "W": np.full(5, index)})
    assert update_and_compare(sweep.path) == 0
    for index in range(10, 18):
        sweep.run(index, {"V": np.full(500, index), "W": np.full(5, index % 2)})
    assert update_and_compare(sweep.path) == 1
    for index in range(18, 40):
        sweep.run(index, {"V": np.full(500, index % 3), "W": np.full(5, index % 2)})
    assert update_and_compare(sweep.path) == 0
    with h5py.File(sweep.path / "trajectory.h5") as file:
        assert file["results/V"].attrs["encoding"] == "indexed"
        assert file["results/W"].shape == (40, 5)
    with Trajectory.open(sweep.path) as traj:
        assert [run.res.V[499] for run in traj] == [*range(18), *(i % 3 for i in range(18, 40))]


def test_an_array_that_all_runs_share(grow: Build) -> None:
    sweep = grow(3, {"w": np.arange(3.0), "half": np.ones(4, "f2"), "mask": np.array([True, False])})
    sweep.run(0, {"x": 1})
    compile_trajectory(sweep.path)
    sweep.expand([{"i": 5}, {"i": 6}])
    assert update_and_compare(sweep.path) == 1
    sweep.expand([{"i": 7, "w": np.zeros(3)}])
    assert update_and_compare(sweep.path) == 0
    with Trajectory.open(sweep.path) as traj:
        assert [run.par.w[2] for run in traj] == [2, 2, 2, 2, 2, 0]


def test_nothing_new_leaves_the_file_alone(grow: Build) -> None:
    sweep = grow(2)
    sweep.run(0, {"x": 1})
    before = compile_trajectory(sweep.path).stat()
    assert update_trajectory(sweep.path).stat() == before


def test_the_published_file_is_never_written(grow: Build) -> None:
    sweep = grow(3)
    sweep.run(0, **everything(0))
    sweep.run(2, **everything(2))
    path = compile_trajectory(sweep.path)
    kept = path.with_name("kept.h5")
    os.link(path, kept)
    before = kept.read_bytes()
    with h5py.File(path, "r", locking="best-effort") as reader:
        sweep.run(1, **everything(1))
        update_trajectory(sweep.path)
        assert reader["runs/status"][1, 0] == b"p"
    assert kept.read_bytes() == before
    assert steps(sweep.path) == 1
    assert sorted(p.name for p in sweep.path.glob("trajectory*")) == ["trajectory.h5"]


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]


def test_a_damaged_last_file_is_no_ground_to_build_on(grow: Build) -> None:
    sweep = grow(3)
    sweep.run(0, **everything(0))
    sweep.run(1, **everything(1))
    path = compile_trajectory(sweep.path)
    whole = path.read_bytes()
    sweep.run(2, **everything(2))
    expected = compile_trajectory(sweep.path).rename(sweep.path / "expected.h5")
    rng = random.Random(0)
    contents = [flip(whole, rng.randrange(len(whole))) for _ in range(15)]
    contents += [whole[: rng.randrange(len(whole))] for _ in range(8)]
    contents += [b"", whole + b"more", whole[:4096] + bytes(4096) + whole[8192:]]
    for content in contents:
        path.write_bytes(content)
        update_trajectory(sweep.path)
        assert steps(sweep.path) == 0
        assert path.read_bytes() == expected.read_bytes()


def test_a_file_of_another_version_is_no_ground_to_build_on(grow: Build) -> None:
    sweep = grow(2)
    sweep.run(0, {"x": 1})
    for name, value in (("format_version", "1.9"), ("generator", "pytest-expedition 0.0.1")):
        path = compile_trajectory(sweep.path)
        with h5py.File(path, "r+") as file:
            file.attrs[name] = value
            place = file["_meta/checksum"].id.get_offset()
        from expedition.trajectory.file.publish import seal

        seal(path, place)
        assert update_and_compare(sweep.path) == 0
    with h5py.File(path, "r+") as file:
        del file["_meta/growth"]
    sweep.run(1, {"x": 2})
    assert update_and_compare(sweep.path) == 0


def log(sweep: GrowingSweep) -> Path:
    return sweep.path / "journal" / "main.jsonl"


def test_logs_that_are_not_what_they_were(grow: Build) -> None:
    sweep = grow(4)
    for index in range(3):
        sweep.run(index, {"x": index})
    compile_trajectory(sweep.path)
    lines = log(sweep).read_bytes().splitlines(keepends=True)
    for content in (lines[:2], [*lines[:2], b"torn"], [lines[0], lines[2]], [*lines[:2], lines[2][:-5]]):
        compile_trajectory(sweep.path)
        log(sweep).write_bytes(b"".join(content))
        assert update_and_compare(sweep.path) == 0
        log(sweep).write_bytes(b"".join(lines))
        update_and_compare(sweep.path)
        assert statuses(sweep) == ["done", "done", "done", "pending"]
    log(sweep).unlink()
    assert update_and_compare(sweep.path) == 0
    assert statuses(sweep) == ["pending"] * 4
    manifest = sweep.path / "sweep.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"A built sweep.", b"A built sweep!"))
    assert update_and_compare(sweep.path) == 0


def test_a_line_that_is_being_written(grow: Build) -> None:
    sweep = grow(3)
    sweep.run(0, {"x": 0})
    compile_trajectory(sweep.path)
    sweep.run(1, {"x": 1})
    whole = log(sweep).read_bytes()
    log(sweep).write_bytes(whole[:-20])
    assert update_and_compare(sweep.path) == 0  # nothing is news: the line has to be waited for
    assert statuses(sweep) == ["done", "pending", "pending"]
    log(sweep).write_bytes(whole)
    assert update_and_compare(sweep.path) == 1
    assert statuses(sweep) == ["done", "done", "pending"]
    sweep.begin(2, {"x": 2}, alive=False)
    assert update_and_compare(sweep.path) == 2
    sweep.run(2, {"x": 3}, attempt=1)
    whole = log(sweep).read_bytes()
    log(sweep).write_bytes(whole[:-20])
    sweep.begin(2, {"x": 3}, attempt=1, alive=False)
    assert update_and_compare(sweep.path) == 3
    assert statuses(sweep)[2] == "crashed"
    log(sweep).write_bytes(whole)
    update_and_compare(sweep.path)
    assert statuses(sweep)[2] == "done"


def test_a_run_of_which_a_log_speaks_before_the_design(grow: Build) -> None:
    sweep = grow(2)
    sweep.run(0, {"x": 0})
    line = json.loads(log(sweep).read_bytes())
    del line["crc"]
    sweep.commit({**line, "index": 2, "data": {"x": 5}})
    update_and_compare(sweep.path)
    sweep.expand([{"i": 9}])
    assert update_and_compare(sweep.path) == 0
    with Trajectory.open(sweep.path) as traj:
        assert traj.res.x.tolist() == [0, None, 5]


def test_the_same_attempt_twice(grow: Build) -> None:
    sweep = grow(2)
    sweep.run(0, {"x": 0})
    compile_trajectory(sweep.path)
    sweep.run(0, {"x": 7}, worker="a-worker-that-sorts-first")
    assert update_and_compare(sweep.path) == 0
    with Trajectory.open(sweep.path) as traj:
        assert traj[0].res.x == 7


def test_an_array_that_cannot_be_read_is_looked_for_again(grow: Build) -> None:
    sweep = grow(4)
    for index in range(2):
        sweep.run(index, {"V": np.full(300, index)})
    compile_trajectory(sweep.path)
    sweep.run(2, {"V": np.full(300, 2)})
    file = next(sweep.folder(2).glob("data/*.npy"))
    content = file.read_bytes()
    file.write_bytes(content[:-8])
    with pytest.warns(UserWarning, match="the array of run 2 cannot be read"):
        update_trajectory(sweep.path)
    with Trajectory.open(sweep.path) as traj:
        assert traj.res.V.states.tolist() == [1, 1, 0, 0]
    file.write_bytes(content)
    sweep.run(3, {"V": np.full(300, 3)})
    assert update_and_compare(sweep.path) == 0
    with Trajectory.open(sweep.path) as traj:
        assert traj[2].res.V[299] == 2


def test_a_column_that_was_dropped_comes_back(grow: Build) -> None:
    sweep = grow(2)
    sweep.run(0, {"x": 0, "y": 0})
    path = compile_trajectory(sweep.path)
    with h5py.File(path, "r+") as file:
        text = file["_meta/schema"][()].decode()
        del file["_meta/schema"], file["y"], file["results/y"]
        columns = json.loads(text)
        del columns["columns"]["results/y"]
        file.create_dataset("_meta/schema", data=json.dumps(columns), dtype=h5py.string_dtype())
        place = file["_meta/checksum"].id.get_offset()
        file["_meta/checksum"][()] = 0
    from expedition.trajectory.file.publish import seal

    seal(path, place)
    sweep.run(1, {"x": 1, "y": 1})
    assert update_and_compare(sweep.path) == 0


def test_the_file_does_not_grow_by_what_it_no_longer_uses(grow: Build) -> None:
    sweep = grow(80)
    rng, sizes, counts = np.random.default_rng(0), [], []
    for index in range(80):
        sweep.run(
            index, {"x": index, "t": "text" * 5000, "V": rng.normal(size=9000)}, series={"s": [1.0] * 9}
        )
        sizes.append(update_trajectory(sweep.path).stat().st_size)
        counts.append(steps(sweep.path))
    updated = (sweep.path / "trajectory.h5").rename(sweep.path / "updated.h5")
    whole = compile_trajectory(sweep.path)
    assert not differences(updated, whole)
    assert max(sizes) < 1.4 * whole.stat().st_size + 2**20
    assert 0 in counts[50:]
    assert max(counts) > 5


def test_small_chunks_do_not_stay_for_ever(grow: Build) -> None:
    sweep = grow(2)
    sweep.run(0, {"x": 0})
    compile_trajectory(sweep.path)
    sweep.expand([{"i": i} for i in range(50)])
    assert update_and_compare(sweep.path) == 0
    with h5py.File(sweep.path / "trajectory.h5") as file:
        assert file["results/x"].chunks == (52,)


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_other_readers_see_no_difference(grow: Build, engine: str) -> None:
    sweep = grow(8, {"name": "mnist"})
    for index in (0, 2, 1):
        sweep.run(index, **everything(index))
    compile_trajectory(sweep.path)
    for index in (5, 3):
        sweep.run(index, **everything(index))
    update_trajectory(sweep.path)
    sweep.expand([{"i": 20}])
    sweep.run(8, **everything(8))
    updated = update_trajectory(sweep.path)
    assert steps(sweep.path) == 2
    updated = updated.rename(sweep.path / "updated.h5")
    whole = compile_trajectory(sweep.path)
    with xr.open_dataset(updated, engine=engine) as one, xr.open_dataset(whole, engine=engine) as other:
        assert dict(one.sizes) == {"run": 9}
        odd = ["complex"]  # netCDF has no complex numbers, and xarray does not compare the pairs
        xr.testing.assert_identical(one.drop_vars(odd).load(), other.drop_vars(odd).load())
    with xr.open_datatree(updated, engine=engine) as one, xr.open_datatree(whole, engine=engine) as other:
        for name in ("results/deep/er", "results/ragged", "series/loss", "series/field", "runs", "_state"):
            xr.testing.assert_identical(one[name].load(), other[name].load())


def test_netcdf_reads_every_variable_of_an_extended_file(grow: Build) -> None:
    sweep = grow(4)
    for index in (0, 1):
        sweep.run(index, **everything(index))
    compile_trajectory(sweep.path)
    for index in (3, 2):
        sweep.run(index, **everything(index))
        update_trajectory(sweep.path)
    assert steps(sweep.path) == 2

    def walk(group: netCDF4.Group) -> int:
        for variable in group.variables.values():
            variable[...]
        return len(group.variables) + sum(map(walk, group.groups.values()))

    with netCDF4.Dataset(sweep.path / "trajectory.h5") as file:
        assert walk(file) > 50
        assert file["series/loss/value"][:].tolist() == [0, 1, 1.5, 2, 2.5, 3, 3]
        assert len(file.dimensions["run"]) == 4


@pytest.mark.parametrize("rows", [2, *further(5)])
def test_many_chunks(grow: Build, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(fmt, "ROW_CHUNK", rows)
    monkeypatch.setattr(fmt, "OBS_CHUNK", rows)
    monkeypatch.setattr(fmt, "ARRAY_CHUNK_BYTES", 64)
    monkeypatch.setattr(splice, "_BATCH_BYTES", 40 * rows)
    sweep = grow(40, {"name": "mnist"})
    rng = random.Random(rows)
    order = rng.sample(range(40), 40)
    for first in range(0, 40, 8):
        for index in order[first : first + 8]:
            record = everything(index)
            del record["data"]["large"]  # so many might be few different ones
            sweep.run(index, **record)
        assert update_and_compare(sweep.path) == first // 8
    sweep.expand([{"i": k} for k in range(9)])
    for index in (40, 48, 44):
        sweep.run(index, {"float": 0.5, "ragged": np.arange(5), "stack": np.zeros((2, 3), int)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert update_and_compare(sweep.path) == 5
