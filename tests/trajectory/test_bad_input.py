"""Files that are cut, spoilt or made to do harm: an error that names file and remedy, and nothing worse."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from expedition import Trajectory
from expedition.errors import TrajectoryFormatError
from expedition.trajectory import compile_trajectory
from tests.thoroughness import examples
from tests.trajectory.conftest import SweepBuilder
from tests.trajectory.reading import read_everything
from tests.values.equality import exactly_equal

Spoil = Callable[[h5py.File], object]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trajectory with every kind of column, of which one run was never started."""
    folder = tmp_path_factory.mktemp("bad") / "sweep"
    rows = [{"alpha": i / 2, "mode": "ab"[i % 2]} for i in range(4)]
    builder = SweepBuilder(folder, rows, {"layers": [1, 2], "w": np.arange(3.0)})
    for i in range(3):
        data = {
            "int": i,
            "float": i / 3,
            "bool": bool(i),
            "complex": 1j * i,
            "text": f"é{i}",
            "when": datetime(2026, 1, 1 + i, tzinfo=UTC),
            "f4": np.float32(i),
            "none": None if i else 1.5,
            "json": [i, "a"],
            "V": np.arange(20.0) * i,
            "ragged": np.arange(i),
            "sparse": sparse.csr_array(np.eye(3 + i)),
            "frame": pd.DataFrame({"x": np.arange(2 + i), "name": ["a", None] + ["b"] * i}),
            "masked": np.ma.masked_array(np.arange(9.0), np.arange(9) % 2 == 0),
            "records": np.zeros(2 + i, [("a", "i4"), ("b", "f8")]),
        }
        series = {"loss": [1.0, 2, None][: i + 1], "img": [np.full((2, 3), i)] * 2, "words": ["a"]}
        series["growing"] = [np.arange(i + 1)] * 2
        builder.run(i, data, series=series)
    return compile_trajectory(folder)


@pytest.fixture
def file(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    path = tmp_path / "trajectory.h5"
    path.write_bytes(original.read_bytes())
    return path


def read_elsewhere(file: Path, target: Path, seeds: list[int], places: list[int]) -> None:
    """Read spoilt copies of a file in another process, which must live, end and have little to say."""
    order = {"file": str(file), "target": str(target), "seeds": seeds, "places": places}
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.trajectory.reading"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {}


def test_an_unspoilt_file_is_read_without_a_problem(original: Path, tmp_path: Path) -> None:
    read_elsewhere(original, tmp_path / "trajectory.h5", [0], [])


def test_a_file_cut_anywhere_names_itself_and_the_remedy(file: Path) -> None:
    content = file.read_bytes()
    generator = random.Random(0)
    for keep in {
        *range(0, 2048, 97),
        *(generator.randrange(len(content)) for _ in range(examples(30))),
        len(content) - 1,
    }:
        file.write_bytes(content[:keep])
        with pytest.raises(TrajectoryFormatError, match=r"trajectory\.h5 .*compile_trajectory") as caught:
            Trajectory.open(file)
        assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("where", ["anywhere", "structure"])
def test_changed_bytes_are_no_worse_than_an_error(original: Path, tmp_path: Path, where: str) -> None:
    places = list(range(original.stat().st_size))
    if where == "structure":  # most bytes are data, and those of a packed chunk are the dullest
        with h5py.File(original) as h5:
            inside = {place for start, size in chunks(h5) for place in range(start, start + size)}
        content = original.read_bytes()
        places = [place for place in places if place not in inside and content[place]]
    read_elsewhere(original, tmp_path / "trajectory.h5", list(range(examples(30))), places)


def chunks(h5: h5py.File) -> Iterator[tuple[int, int]]:
    """Yield place and size of every packed chunk."""
    found: list[h5py.Dataset] = []
    h5.visititems(
        lambda _, node: found.append(node) if isinstance(node, h5py.Dataset) and node.chunks else None
    )
    for dataset in found:
        if dataset.compression == "gzip":
            for number in range(dataset.id.get_num_chunks()):
                info = dataset.id.get_chunk_info(number)
                yield info.byte_offset, info.size


def values_of(path: Path) -> dict[str, Any]:
    with Trajectory.open(path) as traj:
        found = {f"results/{name}": traj.results[name].tolist() for name in traj.results}
        found |= {name: traj.runs[name].tolist() for name in traj.runs}
        return found | {
            f"series/{name}": [tuple(each or ()) for each in traj.series[name].tolist()]
            for name in traj.series
        }


def test_no_changed_byte_of_packed_data_gives_another_value(original: Path, file: Path) -> None:
    expected, content = values_of(original), original.read_bytes()
    with h5py.File(original) as h5:
        spans = sorted(set(chunks(h5)))
    assert len(spans) > 20
    spans = random.Random(0).sample(spans, min(len(spans), examples(25)))
    told = 0
    for start, size in spans:
        for place in {start, start + size // 2, start + size - 1}:
            data = bytearray(content)
            data[place] ^= 0x10
            file.write_bytes(data)
            try:
                found = values_of(file)
            except TrajectoryFormatError as error:
                assert "trajectory.h5" in str(error)  # noqa: PT017
                told += 1
            else:
                assert exactly_equal(found, expected), place
    assert told > len(spans)


# columns that are not what the schema says -------------------------------------------------------------------------


def replaced(path: str, **options: Any) -> Spoil:
    def spoil(h5: h5py.File) -> None:
        attrs = dict(h5[path].attrs) if path in h5 else {}
        del h5[path]
        new = h5.create_dataset(path, **options)
        for name, value in attrs.items():
            if name in ("dtype_orig", "units", "timezone"):
                new.attrs[name] = value

    return spoil


def attribute(path: str, name: str, value: Any) -> Spoil:
    return lambda h5: h5[path].attrs.__setitem__(name, value)


def schema(path: str, **members: Any) -> Spoil:
    def spoil(h5: h5py.File) -> None:
        document = json.loads(h5["_meta/schema"][()])
        document["columns"].setdefault(path, {"order": 99}).update(members)
        h5["_meta/schema"][()] = json.dumps(document)

    return spoil


TEXT = h5py.string_dtype()


CASES: list[tuple[str, Spoil, str]] = [
    ("results/int", replaced("results/int", data=np.zeros((4, 2), int)), "no column of kind 'int'"),
    ("results/int", replaced("results/int", data=np.zeros(3, int)), r"shape \(3,\) in a file of 4 runs"),
    ("results/int", replaced("results/int", data=5), r"shape \(\) in a file of 4 runs"),
    ("results/int", replaced("results/int", data=["a"] * 4, dtype=TEXT), "no column of kind 'int'"),
    ("results/int", replaced("results/int", data=np.zeros(4)), "no column of kind 'int'"),
    ("results/float", replaced("results/float", data=np.zeros(4, [("a", "f8")])), "no column of kind"),
    ("results/float", replaced("results/float", data=np.zeros(4, "V9")), "no column of kind 'float'"),
    ("results/text", replaced("results/text", data=np.zeros(4)), "no column of kind 'text'"),
    ("results/text", replaced("results/text", data=[b"\xff"] * 4, dtype=TEXT), "is no text"),
    ("results/text", replaced("results/text", shape=(4,), dtype=h5py.vlen_dtype("i4")), "is no text"),
    ("results/text", replaced("results/text", shape=(4,), dtype=h5py.ref_dtype), "is no text"),
    ("results/json", replaced("results/json", data=["[1,", "", "", ""], dtype=TEXT), "not JSON"),
    ("results/json", replaced("results/json", data=["[" * 9999] * 4, dtype=TEXT), "not JSON|too deeply"),
    (
        "results/json",
        replaced("results/json", data=['{"$":"x"}'] * 4, dtype=TEXT),
        "no stored value of kind",
    ),
    ("results/json", replaced("results/json", data=['{"$":"tuple"}'] * 4, dtype=TEXT), "is malformed"),
    (
        "results/when",
        replaced("results/when", data=np.full(4, 2**62)),
        "results/when holds what it should",
    ),
    ("results/f4", attribute("results/f4", "dtype_orig", "S1000000000"), "no dtype of numbers"),
    ("results/f4", attribute("results/f4", "dtype_orig", "O"), "no dtype of numbers"),
    ("results/f4", attribute("results/f4", "dtype_orig", "nonsense"), "nonsense"),
    ("results/V", schema("results/V", dtype="S1000000000"), "no dtype of numbers|is not of the dtype"),
    ("results/V", schema("results/V", dtype=["f8"]), "is not of the dtype|no dtype of numbers"),
    ("results/none", replaced("_state/results/none", data=np.zeros(4)), "not whole numbers"),
    ("results/none", replaced("_state/results/none", data=["a"] * 4, dtype=TEXT), "not whole numbers"),
    ("results/none", replaced("_state/results/none", data=np.ones((4, 4), int)), "not whole numbers"),
    ("results/none", replaced("_state/results/none", data=np.full(4, 77)), "77"),
    ("results/ragged", replaced("results/ragged/obs_count", data=np.full(4, 2**40)), "lie outside"),
    ("results/ragged", replaced("results/ragged/obs_count", data=np.full(4, -1)), "lie outside"),
    ("results/ragged", replaced("results/ragged/obs_start", data=np.zeros(4)), "not whole numbers"),
    ("results/ragged", replaced("results/ragged/shape", data=np.full((4, 1), 9)), "is not whole"),
    ("results/ragged", replaced("results/ragged/value", data=1.5), "lie outside"),
    ("series/loss", replaced("series/loss/obs_count", data=[b"a"] * 4), "not whole numbers"),
    ("series/loss", replaced("series/loss/value", data=np.zeros(1)), "lie outside"),
    ("series/words", replaced("series/words/value", data=["{"] * 3, dtype=TEXT), "not JSON"),
    ("results/new", schema("results/new", at="../../x", kind="int"), "is not there"),
    (
        "results/new",
        schema("results/new", at="", kind="int"),
        "is not there|cannot be read|is no dataset",
    ),
    ("results/new", schema("results/new", at="results", kind="int"), "is no dataset"),
    ("results/new", schema("results/new", at="results/int", kind="new"), "no column of kind 'new'"),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_is_not_as_the_schema_says_is_damage(file: Path, case: int) -> None:
    path, spoil, message = CASES[case]
    with h5py.File(file, "a") as h5:
        spoil(h5)
    expected = pytest.raises(
        TrajectoryFormatError, match=rf"trajectory\.h5: .*({message}).*compile_trajectory"
    )
    with Trajectory.open(file) as traj:
        column = traj[path]
        with expected:
            column.tolist()
            for row in range(4):
                column.get(row)
        if path != "results/float":
            assert traj.results.float[1] == 1 / 3
    assert read_everything(file) == []


# files that lead elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [h5py.SoftLink("/results/float"), h5py.ExternalLink("other.h5", "/x")])
@pytest.mark.parametrize(
    "place", ["_state", "_state/results", "results", "results/int", "_meta/schema", "runs/id"]
)
def test_links_are_refused_wherever_they_stand(file: Path, place: str, link: Any) -> None:
    os.mkfifo(file.with_name("other.h5"))  # who opens it waits for ever
    with h5py.File(file, "a") as h5:
        del h5[place]
        h5[place] = link
    refusal = pytest.raises(
        TrajectoryFormatError, match=r"trajectory\.h5: .*leads out of the file or elsewhere"
    )
    with refusal, Trajectory.open(file) as traj:
        _ = traj.results.int.tolist(), traj.results.none.tolist(), traj.runs.id.tolist()


def test_groups_that_hold_themselves_do_not_hang(file: Path) -> None:
    with h5py.File(file, "a") as h5:
        h5["results/self"] = h5["results"]
        h5["runs/root"] = h5["/"]
    read_elsewhere(file, file.with_name("trajectory.h5"), [0], [])
    with Trajectory.open(file) as traj:
        assert traj.results.int[1] == 1


# files that claim too much -----------------------------------------------------------------------------------------


def _many_runs(h5: h5py.File) -> None:
    del h5["run"]
    h5.create_dataset("run", (10**9,), "i8", chunks=(1024,), compression="gzip")


def _wide_characters(h5: h5py.File) -> None:
    del h5["runs/id"]
    h5.create_dataset("runs/id", (4, 2**31), "S1", chunks=(1, 1024), compression="gzip")


def _wide_values(h5: h5py.File) -> None:
    del h5["series/loss/value"], h5["series/loss/step"], h5["series/loss/obs_count"]
    for name in ("value", "step"):
        h5.create_dataset(f"series/loss/{name}", (2**40,), "i8", chunks=(1024,), compression="gzip")
    h5["series/loss/obs_count"] = np.full(4, 2**38)


def _wide_rows(h5: h5py.File) -> None:
    del h5["results/V"]
    h5.create_dataset("results/V", (4, 2**34), "f8", chunks=(1, 1024), compression="gzip")


@pytest.mark.parametrize(
    ("spoil", "read"),
    [
        (_many_runs, lambda traj: len(traj)),
        (_wide_characters, lambda traj: traj.runs.id.tolist()),
        (_wide_characters, lambda traj: traj[1].id),
        (_wide_values, lambda traj: traj.series.loss[1]),
        (_wide_rows, lambda traj: traj.results.V.values),
        (_wide_rows, lambda traj: traj.results.V[1]),
    ],
    ids=["runs", "characters", "characters-of-one", "series", "arrays", "array-of-one"],
)
def test_what_a_file_claims_is_compared_with_its_size(
    file: Path, spoil: Spoil, read: Callable[[Any], Any]
) -> None:
    with h5py.File(file, "a") as h5:
        spoil(h5)
    assert file.stat().st_size < 1 << 20
    refusal = pytest.raises(TrajectoryFormatError, match=r"trajectory\.h5: .*claims [0-9,]+ (bytes|runs)")
    with refusal, Trajectory.open(file) as traj:
        read(traj)


def test_a_text_named_a_hundred_thousand_times_is_not_read(tmp_path: Path) -> None:
    runs, size = 100_000, 1_000_000
    path = tmp_path / "trajectory.h5"
    with h5py.File(path, "w", libver=("earliest", "v110")) as h5:
        h5.attrs.update({"format": "expedition-trajectory", "format_version": "1.0"})
        h5.create_dataset("run", data=np.arange(runs), chunks=(1024,), compression="gzip")
        options = {"dtype": TEXT, "chunks": (1024,), "compression": "gzip"}
        text = h5.create_dataset("results/text", (runs,), **options)
        text[0] = "x" * size
        h5.create_dataset("results/fill", (runs,), fillvalue="y" * size, **options)
        # Every reference of the column is made that of the one text.
        mask, raw = text.id.read_direct_chunk((0,))
        packed = zlib.compress(zlib.decompress(raw)[:16] * 1024)
        for start in range(0, runs, 1024):
            text.id.write_direct_chunk((start,), packed, mask)
        columns = {
            f"results/{name}": {"kind": "text", "at": f"results/{name}", "order": order}
            for order, name in enumerate(("text", "fill"))
        }
        h5["_meta/schema"] = json.dumps({"columns": columns})
    assert path.stat().st_size < 3 * size
    with Trajectory.open(path) as traj:
        assert traj.results.text[77_777] == "x" * size
        assert traj.results.fill[77_777] == "y" * size
        for column in (traj.results.text, traj.results.fill):
            with pytest.raises(TrajectoryFormatError, match=r"claim"):
                column.tolist()


def test_an_attribute_of_many_texts_is_not_read(file: Path) -> None:
    with h5py.File(file, "a", libver=("earliest", "v110")) as h5:
        h5.attrs.create("more", ["a"] * 4000, dtype=TEXT)
    with pytest.raises(TrajectoryFormatError, match=r"trajectory\.h5: /@more claims"):
        Trajectory.open(file)
