"""Archives in zip files: read where they are, and refused when they could do harm."""

from __future__ import annotations

import gc
import json
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition import Archive, ExpeditionError, Trajectory
from expedition.archive import zip_file
from expedition.archive.zip_file import CheckedZip, ZipOutput, check_names
from expedition.errors import DamagedError, RecordNotFoundError
from tests.archive.conftest import fingerprint
from tests.durability.laboratory import Laboratory


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary folders are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def pack(root: Path, file: Path, *, top: str = "results") -> Path:
    """Zip a folder as any tool does."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as output:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            output.write(path, f"{top}/{name}" if top else name)
    return file


@pytest.fixture
def zipped(root: Path, tmp_path: Path) -> Path:
    return pack(root, tmp_path / "a.zip")


def test_a_zip_reads_as_the_folder_does(root: Path, zipped: Path, temporary: Path) -> None:
    folder, packed = Archive(root), Archive(zipped)
    columns = [
        "id",
        "status",
        "started",
        "duration",
        "alpha",
        "scores.mean",
        "tags",
        "error",
        "size",
        "files",
    ]
    assert packed.runs().table(columns) == folder.runs().table(columns)
    assert len(list(packed.runs("status == 'done' and alpha < 1"))) == 2
    assert os.listdir(temporary) == []
    for ours, theirs in zip(packed.runs(), folder.runs(), strict=True):
        assert ours.meta == theirs.meta
        assert ours.params == theirs.params
        assert ours.log == theirs.log
        assert ours.status == theirs.status
        assert ours.flat_data.keys() == theirs.flat_data.keys()
        assert {name: path.read_bytes() for name, path in ours.artifacts.items()} == {
            name: path.read_bytes() for name, path in theirs.artifacts.items()
        }
        assert list(ours.series) == list(theirs.series)
        for name in theirs.series:
            assert np.array_equal(ours.series[name].value, theirs.series[name].value)
            assert np.array_equal(ours.series[name].time, theirs.series[name].time)
        if "array" in theirs.flat_data:
            assert np.array_equal(ours.flat_data["array"], theirs.flat_data["array"])


@pytest.mark.parametrize("top", ["", "anything", "two/folders"])
def test_the_archive_may_stand_anywhere_in_the_zip(root: Path, tmp_path: Path, top: str) -> None:
    packed = Archive(pack(root, tmp_path / "b.zip", top=top))
    assert len(list(packed.runs())) == 7
    assert packed.run("exp_single").data == {"x": 1}


def test_a_sweep_folder_and_a_single_run_in_a_zip(sweep: Path, tmp_path: Path) -> None:
    assert len(list(Archive(pack(sweep, tmp_path / "s.zip", top="")).runs())) == 6
    run = next(path for path in sorted(sweep.iterdir()) if path.name.startswith("0000"))
    (record,) = Archive(pack(run, tmp_path / "r.zip", top=run.name)).runs()
    assert record.params["alpha"] == 0.1


def test_runs_go_by_their_names_and_places(zipped: Path, sweep: Path) -> None:
    archive = Archive(zipped)
    folder = f"results/exp_all/{sweep.name}/0001-kind=a-alpha=1.0"
    key = archive.run("kind=a-alpha=1.0").key
    for name in (folder, zipped / folder, f"{sweep.name}/0001-kind=a-alpha=1.0", key, key[:8]):
        assert archive.run(name).key == key
    with pytest.raises(RecordNotFoundError, match="no run"):
        archive.run("nothing")


def test_only_what_is_asked_for_is_unpacked_and_goes_with_the_archive(zipped: Path, temporary: Path) -> None:
    path = Archive(zipped).run("kind=a-alpha=0.1").artifacts["notes/a.txt"]
    gc.collect()
    assert path.read_text(encoding="utf-8") == "text"
    assert [p.name for p in temporary.rglob("*") if p.is_file()] == ["a.txt"]
    del path
    gc.collect()
    assert os.listdir(temporary) == []


def test_the_trajectory_of_a_zipped_sweep(zipped: Path, sweep: Path, temporary: Path) -> None:
    (found,) = (each for each in Archive(zipped).sweeps() if each.name == "exp_all")
    with Trajectory.open(found.path) as there, Trajectory.open(sweep) as here:
        assert there.to_pandas().equals(here.to_pandas())
        there.verify()
    with Trajectory.open(zipped / "results/exp_all" / sweep.name) as there:
        assert len(there) == 6
    with pytest.raises(RecordNotFoundError, match="means 2 sweeps"):
        Trajectory.open(zipped)
    del found, there
    gc.collect()
    assert os.listdir(temporary) == []


def test_a_damaged_member_costs_its_run_only(zipped: Path) -> None:
    with zipfile.ZipFile(zipped) as file:
        info = next(i for i in file.infolist() if "0002-" in i.filename and i.filename.endswith("_meta.json"))
    content = bytearray(zipped.read_bytes())
    start = info.header_offset + 30 + len(info.filename.encode())
    content[start + 20 : start + 60] = bytes(40)
    zipped.write_bytes(content)
    archive = Archive(zipped)
    assert [row.status for row in archive.rows()].count("damaged") == 1
    assert len(list(archive.runs())) == 6
    ((path, reason),) = archive.damaged()
    assert path.name == "0002-kind=a-alpha=10.0"
    assert "member" in reason
    assert info.filename in reason


def test_a_run_without_an_end_has_died_in_a_zip(root: Path, sweep: Path, tmp_path: Path) -> None:
    file = sweep / "0000-kind=a-alpha=0.1" / "experiment_meta.json"
    meta = json.loads(file.read_bytes())
    file.write_text(
        json.dumps({**meta, "status": "running", "stop": None, "duration": None}), encoding="utf-8"
    )
    record = Archive(pack(root, tmp_path / "c.zip")).run("kind=a-alpha=0.1")
    assert record.status == "crashed"
    assert record.data["scores"] == {"mean": 0.05, "all": [0.1, None]}  # from its journal


def test_reports_read_a_zip(whole: Laboratory, zipped: Path) -> None:
    before = zipped.read_bytes()
    for option in (["--archive-list"], ["--archive-overview"], ["--archive-show", "exp_single"]):
        assert "exp_single" in whole.pytest("--archive", zipped, *option).exits(0).text
    refused = whole.pytest("--archive", zipped, "--archive-delete", "--all", "--yes").exits(4)
    assert "only read" in refused.text
    assert zipped.read_bytes() == before


# --- what is no archive, and what would do harm -------------------------------------------------------

HOSTILE = [
    "/etc/passwd",
    "../outside",
    "results/../../outside",
    "results/./x",
    "results//x",
    "C:/windows/x",
    "C:x",
    "results/C:x",
    "results\\x",
    "..\\..\\outside",
    "\\\\server\\share",
    "results/" + "x" * 300,
]


def hostile_zip(file: Path, *names: str) -> Path:
    with zipfile.ZipFile(file, "w") as output:
        output.writestr("results/a/s/sweep.json", "{}")
        for name in names:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            output.writestr(info, "x")
    return file


def refuses(file: Path, *fragments: str) -> None:
    """The zip is refused by a message, and nothing is written anywhere."""
    before = fingerprint(file.parent)
    with pytest.raises((DamagedError, RecordNotFoundError)) as caught:
        Archive(file)
    assert isinstance(caught.value, ExpeditionError)
    for fragment in (str(file), *fragments):
        assert fragment in str(caught.value)
    assert fingerprint(file.parent) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    refuses(hostile_zip(tmp_path / "x.zip", name), "member", repr(name)[1:60].rstrip("'"))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["results/z", "results/z"], "twice"),
        (["results/A.txt", "results/a.txt"], "case"),
        (["results/B/x", "results/b/y"], "case"),
        (["results/caf\u00e9", "results/cafe\u0301"], "case"),
        (["results/x", "results/x/y"], "file and a folder"),
        (["results/x/y", "results/x"], "file and a folder"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_mean_one_file_are_refused(tmp_path: Path, names: list[str], words: str) -> None:
    refuses(hostile_zip(tmp_path / "x.zip", *names), "member", words)


segments = st.sampled_from(
    ["a", "A", "b.txt", "..", ".", "", "C:", "x\\y", "\u00e9", "e\u0301", "NUL", " ", "~"]
)


@given(st.lists(st.lists(segments, min_size=1, max_size=4).map("/".join), max_size=6))
def test_whatever_passes_stays_inside_and_apart(names: list[str]) -> None:
    try:
        check_names([(name, False) for name in names], "member")
    except DamagedError:
        return
    base = Path("/base/folder")
    targets = [os.path.normpath(base.joinpath(*name.split("/"))) for name in names]
    assert all(target.startswith(f"{base}/") for target in targets)
    assert len({target.casefold() for target in targets}) == len(names)
    assert not any("\\" in name or ":" in name for name in names)


def test_links_and_encrypted_members_are_refused(tmp_path: Path) -> None:
    link = hostile_zip(tmp_path / "link.zip")
    with zipfile.ZipFile(link, "a") as output:
        info = zipfile.ZipInfo("results/link")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        output.writestr(info, "/etc/passwd")
    refuses(link, "results/link", "link")
    secret = hostile_zip(tmp_path / "secret.zip", "results/secret")
    content = bytearray(secret.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1
    secret.write_bytes(content)
    refuses(secret, "results/secret", "encrypted")


def test_bombs_are_refused(tmp_path: Path) -> None:
    bomb = hostile_zip(tmp_path / "bomb.zip", "results/zeros")
    claim = bytearray(bomb.read_bytes())
    place = claim.rindex(b"PK\x01\x02")
    claim[place + 24 : place + 28] = (2 << 30).to_bytes(4, "little")  # its size when unpacked
    bomb.write_bytes(claim)
    refuses(bomb, "results/zeros", "trap")
    bomb.unlink()
    overlap = hostile_zip(tmp_path / "overlap.zip", "results/one", "results/two")
    content = bytearray(overlap.read_bytes())
    first = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    second = content.index(b"PK\x01\x02", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    overlap.write_bytes(content)
    refuses(overlap, "results/two", "overlap")


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 100, b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.zip"
    file.write_bytes(content)
    refuses(file)


def test_a_cut_zip_and_one_without_sweeps_are_refused(zipped: Path, tmp_path: Path) -> None:
    content = zipped.read_bytes()
    for size in (100, len(content) // 2, len(content) - 30):
        cut = tmp_path / "cut" / "x.zip"
        cut.parent.mkdir(exist_ok=True)
        cut.write_bytes(content[:size])
        refuses(cut)
    other = tmp_path / "other" / "x.zip"
    other.parent.mkdir()
    with zipfile.ZipFile(other, "w") as output:
        output.writestr("readme.txt", "hello")
    refuses(other, "no archive in it", "sweep.json")
    with pytest.raises(RecordNotFoundError, match="no such folder or zip file"):
        Archive(tmp_path / "nothing.zip")


def test_what_is_written_is_never_taken_for_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_file, "MODEST", 1 << 20)
    source = tmp_path / "zeros.bin"
    with open(source, "wb") as file:
        file.truncate(16 << 20)  # a hole: deflate would make it a thousandth
    small = tmp_path / "small.txt"
    small.write_bytes(b"a" * 60_000)
    os.utime(small, (1_600_000_001, 1_600_000_001))
    with open(tmp_path / "x.zip", "wb") as sink:
        output = ZipOutput(sink)
        output.add_file("results/a.npy", source)
        output.add_file("results/é.txt", small)
        output.add_folder("results/empty", 0.0)
        output.close()
    opened = CheckedZip(tmp_path / "x.zip")
    assert opened.read("results/é.txt") == small.read_bytes()
    assert opened.folders == ["results/empty"]
    opened.extract("results/é.txt", tmp_path / "out" / "x.txt")
    assert (tmp_path / "out" / "x.txt").stat().st_mtime == 1_600_000_001
    opened.close()


@pytest.fixture(autouse=True)
def _nothing_outside(tmp_path: Path) -> Iterator[None]:
    yield
    assert not (tmp_path.parent / "outside").exists()
    shutil.rmtree(tmp_path / "temporary", ignore_errors=True)
