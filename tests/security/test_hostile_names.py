"""Names that would lead elsewhere, wherever a name reaches the file system; each is refused, or made harmless.

Names of artifacts are tried in tests/recording/test_artifacts.py, those of members of zip files in
tests/archive/test_zips.py, namespaces in manifests in tests/archive/test_carrying.py, files that values refer to in
tests/values/test_files.py and tests/archive/test_reading.py, run folders in tests/trajectory/test_foreign.py, and the
trash in tests/plugin/test_deletion.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from expedition import Archive
from expedition.archive.liveness import derive_status
from expedition.archive.shapes import is_writer
from expedition.recording.writer import host_identity
from expedition.values.files import file_stem
from tests.plugin.conftest import Lab

ELSEWHERE = ["../x", "/tmp/x", "a/../../x", "..", ".", "a\\b", "C:x", "a\0b", "~/x/../..", "a\nb"]
"""Names that are no names of something inside of a folder."""

PLAIN = """
@experiment
def exp_a(e):
    pass
"""


@pytest.mark.parametrize("name", [*ELSEWHERE, ".hidden", "a//b", "a/", ""])
@pytest.mark.parametrize("member", ["name", "namespace"])
def test_of_experiments(lab: Lab, member: str, name: str) -> None:
    lab.experiment(PLAIN.replace("@experiment\n", f"@experiment({member}={name!r})\n"))
    before = lab.files()
    outcome = lab.run()
    if outcome.code == 0:  # a name of an experiment need not be that of a file, if none is made by it
        assert {path.name for path in lab.path.parent.iterdir()} >= {lab.path.name}
        assert all(str(path).startswith(str(lab.path / "results")) for path in lab.sweeps())
    else:
        outcome.exits(pytest.ExitCode.USAGE_ERROR)
        assert lab.files() == before


@pytest.mark.parametrize("name", [name for name in ELSEWHERE if "\0" not in name])
def test_of_prefixes(lab: Lab, name: str) -> None:
    lab.experiment(PLAIN)
    lab.refused(f"--run-prefix={name}", workers=False)


@pytest.mark.parametrize("line", ["extend: {}", "extend: exp_a.py\ninclude: [{}]"])
@pytest.mark.parametrize(
    "path",
    [
        "../../../../../../etc/passwd",
        "/etc/passwd",
        "/dev/zero",
        ".",
        "pipe",
        "exp_a.py/../../x.py",
        '"a\\0b"',
    ],
)
def test_of_files_that_configs_name(lab: Lab, line: str, path: str) -> None:
    """What is no Python file of the project's is refused; above all, nobody waits for a pipe or reads a device."""
    lab.experiment(PLAIN)
    os.mkfifo(lab.path / "pipe")
    lab.file("exp_b.yml", line.format(path) + "\n")
    lab.refused("exp_b.yml", workers=False)


def test_of_swept_values(lab: Lab) -> None:
    """A value becomes part of the name of a run folder."""
    values = [
        "../x",
        "/etc/passwd",
        "..",
        ".",
        "a\\b",
        "a\0b",
        "CON",
        "\x1b[31m",
        "x" * 300,
        "\u202eevil",
        "a\nb",
        "ü" * 200,
    ]
    lab.experiment(
        f"@experiment.parametrize('v', {values!r})\ndef exp_a(e, v: str):\n    e.commit('a.txt', 'x')"
    )
    lab.run().exits(0)
    (sweep,) = lab.sweeps()
    assert {record.params["v"] for record in lab.records()} == set(values)
    for record in lab.records():
        assert record.path.parent == sweep
        assert len(os.fsencode(record.path.name)) < 256
        assert record.path.name.isprintable()
        assert not {*'\\:*?"<>|'} & {*record.path.name}


@pytest.mark.parametrize(
    "key", ["../x", "a/../../b", "/x", "con", "nul.txt", "a\\b", "a\0b", "..", "~", "x" * 999, "\x1b[31m"]
)
def test_of_stored_arrays(key: str) -> None:
    stem = file_stem(key)
    assert stem not in (".", "..", "")
    assert not {*"/\\:\0"} & {*stem}
    assert stem.isprintable()
    assert len(os.fsencode(stem)) <= 220
    assert stem.split(".")[0].split("~")[0].lower() not in ("con", "nul") or "~" in stem


@pytest.mark.parametrize(
    "writer",
    ["../../../outside", "/etc/passwd", "", ".", "..", "a/b", "a\0b", "\x1b[31m", "x" * 300, 5, None, ["a"]],
)
def test_of_writers(tmp_path: Path, writer: object) -> None:
    """The name of a writer becomes that of a lock file: a run with a foreign one has died, and nothing is opened."""
    outside = tmp_path / "outside.lock"
    os.mkfifo(outside)  # who opens it waits for ever
    sweep = tmp_path / "results" / "exp_a" / "sweep"
    (sweep / "journal").mkdir(parents=True)
    host, boot = host_identity()
    meta = {"status": "running", "process": {"host": host, "boot_id": boot, "writer": writer, "pid": "x"}}
    assert derive_status(meta, sweep, sweep) == "crashed"
    assert not is_writer(writer)


@pytest.mark.parametrize("pid", [2**70, -1, 0, "1", None, 1.5, True, [1]])
def test_of_processes(tmp_path: Path, pid: object) -> None:
    host, boot = host_identity()
    meta = {"status": "running", "process": {"host": host, "boot_id": boot, "pid": pid}}
    assert derive_status(meta, tmp_path, tmp_path) == "crashed"


def test_a_lock_that_is_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    os.mkfifo(tmp_path / "journal" / "main-1-abc.lock")
    host, boot = host_identity()
    meta = {"status": "running", "process": {"host": host, "boot_id": boot, "writer": "main-1-abc"}}
    assert derive_status(meta, tmp_path, tmp_path) == "crashed"


@pytest.mark.parametrize(
    "which", ["../../../etc/passwd", "/etc", "/dev/zero", "\0", "..", "", "x" * 5000, "a/" * 500]
)
def test_of_runs_that_are_asked_for(lab: Lab, small: Path, which: str) -> None:
    if "\0" not in which:
        lab.pytest("--archive-show", which, "--archive", small).exits(4).omits("Traceback")
    with pytest.raises((LookupError, OSError)):
        Archive(small).run(which)


@pytest.mark.parametrize("sweep", ["../..", "/etc", "a\\b", "x" * 5000])
def test_of_sweeps_that_are_asked_for(lab: Lab, sweep: str) -> None:
    lab.experiment(PLAIN)
    lab.run().exits(0)
    lab.run(f"--resume-from={sweep}").exits(4).omits("Traceback")
    assert len(lab.sweeps()) == 1


def test_of_exports(lab: Lab, small: Path) -> None:
    """What is there is never replaced, also where a link to nothing has the name."""
    (lab.path / "there.csv").symlink_to(lab.path / "nothing.csv")
    for name in ("there.csv", "no/such/folder.csv", "/dev/full", "."):
        lab.pytest("--archive-export", "csv", "--archive-output", name, "--all", "--archive", small).exits(4)
    assert not (lab.path / "nothing.csv").exists()
