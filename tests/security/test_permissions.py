"""Files are made as the umask of the user says, nobody is given more than it leaves, and none goes through a link."""

from __future__ import annotations

import os
import stat
import time
import zipfile
from pathlib import Path

import pytest

from expedition.archive.index import SETTLING
from expedition.plugin.locks import hold
from expedition.recording.files import replace_file
from expedition.recording.journal import Journal
from expedition.values.files import FileSink
from tests.durability.laboratory import Laboratory

EXPERIMENT = """
import numpy as np
from expedition import experiment

@experiment.parametrize("alpha", [1, 2])
def exp_a(e, alpha: int):
    e["array"] = np.arange(1000.0)
    e.track("field", np.zeros(500))
    e.commit("notes/a.txt", "text")
    with e.open("b.txt", "w") as file:
        file.write("b")
    e.cache.cached("made", scope=("s",))(lambda: 1)()
"""


def modes(folder: Path) -> dict[str, int]:
    """The permissions of everything below a folder, but for what belongs to Python and pytest."""
    return {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.lstat().st_mode)
        for path in [folder, *folder.rglob("*")]
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_what_is_made_follows_the_umask(laboratory: Laboratory, umask: int) -> None:
    laboratory.write("exp_a.py", EXPERIMENT)
    before = os.umask(umask)
    try:
        laboratory.run("-n2" if umask == 0o077 else "-v").exits(0)
        time.sleep(SETTLING / 1e9 + 0.1)  # only then the index keeps a row
        laboratory.pytest("--archive-list").exits(0)
        laboratory.pytest("--archive-compress", "runs.zip", "--all").exits(0)
        laboratory.pytest("--archive-export", "folder", "--archive-output", "plain", "--all").exits(0)
        laboratory.pytest("--archive-delete", "--archive-select", "alpha == 1", "--yes").exits(0)
    finally:
        os.umask(before)
    found = modes(laboratory.path / "results") | modes(laboratory.path / "plain")
    assert any(name.endswith("trajectory.h5") for name in found)
    assert any("index.sqlite" in name for name in found)
    assert any("trash" in name for name in found)
    assert {name: oct(mode) for name, mode in found.items() if mode & umask} == {}
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o600 != 0o600} == {}
    assert not stat.S_IMODE((laboratory.path / "runs.zip").stat().st_mode) & umask
    with zipfile.ZipFile(laboratory.path / "runs.zip") as packed:
        assert not any(info.external_attr >> 16 & 0o7022 for info in packed.infolist())


def test_nobody_is_given_more_than_a_file_or_folder_needs(laboratory: Laboratory) -> None:
    """A umask of 0 shows what is asked of the system: to read and write files, and to enter folders, no more.

    What others may not write with the usual umask of 022 they could not write if there were no archive at all.
    """
    laboratory.write("exp_a.py", EXPERIMENT)
    before = os.umask(0)
    try:
        laboratory.run().exits(0)
        asked = modes(laboratory.path / "results")
        os.umask(0o022)
        laboratory.run("--resume", "-P", "alpha=3").exits(0)
    finally:
        os.umask(before)
    for name, mode in asked.items():
        needed = 0o777 if (laboratory.path / "results" / name).is_dir() else 0o666
        assert mode & ~needed == 0, f"{name} has {mode:o}"
    made = {name: mode for name, mode in modes(laboratory.path / "results").items() if name not in asked}
    assert any(name.endswith("experiment_meta.json") for name in made)
    assert {name: oct(mode) for name, mode in made.items() if mode & 0o022} == {}


def test_a_temporary_name_that_somebody_has_put_there_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    target = tmp_path / "experiment_meta.json"
    (tmp_path / f"experiment_meta.json.tmp-{os.getpid()}").symlink_to(victim)
    replace_file(target, b"new")
    assert (target.read_bytes(), target.is_symlink()) == (b"new", False)
    assert victim.read_text(encoding="utf-8") == "precious"


def test_arrays_are_not_written_through_a_link(tmp_path: Path) -> None:
    import hashlib

    import numpy as np

    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (tmp_path / "data").mkdir()
    name = f".{hashlib.sha256(b'x').hexdigest()[:16]}.tmp-{os.getpid()}"
    (tmp_path / "data" / name).symlink_to(victim)
    FileSink(tmp_path).put_array("x", np.arange(1000), "npy")
    assert victim.read_text(encoding="utf-8") == "precious"


def test_a_journal_and_a_lock_are_no_links(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (tmp_path / "invocations.jsonl").symlink_to(victim)
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system calls it
        Journal(tmp_path / "invocations.jsonl").write('{"a":1}')
    (tmp_path / "invocation.lock").symlink_to(victim)
    with pytest.raises(OSError):  # noqa: PT011
        hold(tmp_path / "invocation.lock")
    assert victim.read_text(encoding="utf-8") == "precious"


def test_files_of_a_zip_are_unpacked_where_nobody_else_looks(small: Path, tmp_path: Path) -> None:
    from expedition import Archive
    from expedition.cli.main import main

    file = tmp_path / "runs.zip"
    assert main(["archive", "compress", str(file), "--all", "--archive", str(small)]) == 0
    record = next(iter(Archive(file).runs("status == 'done' and alpha < 1")))
    place = record.artifacts["notes/a.txt"]
    assert place.read_text(encoding="utf-8") == "text"
    above = next(path for path in place.parents if path.name.startswith("expedition-"))
    assert stat.S_IMODE(above.stat().st_mode) == 0o700
