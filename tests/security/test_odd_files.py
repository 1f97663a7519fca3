"""Files of an archive that are none, that lead elsewhere, or that claim more than there is memory for.

What the fuzz of tests/security/test_fuzz.py meets by chance at best is done here on purpose.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from expedition import Archive, Run
from expedition.cli.main import main as expedition
from expedition.errors import UnstorableError
from expedition.recording.journal import parse_line, seal
from tests.durability.laboratory import Laboratory
from tests.plugin.conftest import Lab

HERE = Path(__file__).parents[2]

DYING = """
import os, signal
from expedition import experiment

@experiment.parametrize("x", [1, 2])
def exp_f(e, x: int = 1):
    e["x"] = x
    if x == 2:
        file = e.open("model.txt", "w")
        print("half of it", file=file, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def make_pipe(path: Path) -> None:
    """Put a pipe into the place of a file."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def test_a_pipe_keeps_nobody_waiting(laboratory: Laboratory) -> None:
    """Whoever opens one as if it were a file waits for ever: then the command is given up."""
    laboratory.write("exp_f.py", DYING)
    laboratory.run().exits(-signal.SIGKILL)
    sweep = laboratory.sweep()
    (died,) = sweep.glob("0001-*")
    make_pipe(died / "model.txt")
    laboratory.pytest("--archive-modify", "set data.x=5", "--archive-select", "x == 2", "--yes").exits(0)
    assert laboratory.records()["x=2"].artifact_list == []
    make_pipe(sweep / "source" / "exp_f.py")
    make_pipe(sweep / "source" / "git.diff")
    make_pipe(sweep / "journal" / "z.live")
    laboratory.write("exp_f.py", DYING.replace("if x == 2:", "if x == 3:"))
    laboratory.run("--resume", "--why-stale", "--where", "x == 1").exits(0)
    make_pipe(sweep / "journal" / "a.jsonl")
    laboratory.run("-n", "2").exits(0)


@pytest.fixture
def hostile(small: Path, tmp_path: Path) -> Path:
    """A copy of the small archive, for who changes it."""
    copy = tmp_path / "results"
    shutil.copytree(small, copy)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "id_rsa").write_text("of nobody's business")
    return copy


def with_picture(run: Path, name: str) -> None:
    """Let the journal of a run say that its picture is the file `name`, with a right checksum."""
    file = run / "experiment_journal.jsonl"
    events = [parse_line(line) for line in file.read_bytes().splitlines(keepends=True)]
    for event in events:
        assert event is not None
        event.pop("crc")
        if event.get("n") == "picture":
            event["v"]["file"] = name
    file.write_bytes(b"".join(seal(json.dumps(event)) for event in events))


@pytest.mark.parametrize(
    "name", ["data/series/id_rsa", "data/link/id_rsa", "data/series/\0.png", "data/series/\ud800.png", "pipe"]
)
def test_pictures_of_series_are_files_of_the_run(
    hostile: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = (record.path for record in list(Archive(hostile).runs("experiment == 'exp_all'"))[:2])
    if name == "pipe":
        name = "data/series/pipe.png"
        os.mkfifo(run / name)
    else:
        shutil.rmtree(run / "data" / "series")
        (run / "data" / "series").symlink_to(tmp_path / "outside")
    with_picture(run, name)
    for words in (
        ("diff", str(run), str(other)),
        ("show", str(run)),
        ("export", "folder", "--all", "-o", str(tmp_path / "plain")),
    ):
        assert expedition(["archive", *words, "--archive", str(hostile)]) in (0, 1), words
    assert "picture" in capsys.readouterr().err
    assert not [file for file in tmp_path.rglob("plain/**/*.csv") if "id_rsa" in file.read_text()]
    for file in (tmp_path / "plain").rglob("*"):
        assert not file.is_file() or b"nobody's business" not in file.read_bytes()


def test_an_invocation_line_whose_runs_are_no_rows(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for sweep in Archive(hostile).sweep_folders():
        with (sweep / "invocations.jsonl").open("ab") as file:
            file.write(seal('{"runs":5}') + seal('{"runs":[5]}'))
    assert expedition(["archive", "import", str(hostile), "--archive", str(tmp_path / "new"), "--yes"]) == 0
    packed = tmp_path / "runs.zip"
    assert expedition(["archive", "compress", str(packed), "--all", "--archive", str(hostile)]) == 0
    assert expedition(["archive", "import", str(packed), "--archive", str(tmp_path / "other"), "--yes"]) == 0
    assert len(list(Archive(tmp_path / "new").runs())) == len(list(Archive(hostile).runs())) == 4


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_of_any_method(hostile: Path, tmp_path: Path, method: int) -> None:
    file = tmp_path / "runs.zip"
    with zipfile.ZipFile(file, "w", method) as target:
        for path in sorted(hostile.rglob("*")):
            if path.is_file() and ".expedition" not in path.parts:
                target.write(path, path.relative_to(hostile))
    with zipfile.ZipFile(file) as source:
        places = [info.header_offset for info in source.infolist() if info.filename.endswith("_meta.json")]
    content = bytearray(file.read_bytes())
    for place in places:
        content[place + 150 : place + 250] = bytes(100)
    file.write_bytes(bytes(content))
    rows = list(Archive(file).rows())
    assert rows
    assert {row.status for row in rows} == {"damaged"}


def test_folders_within_folders(hostile: Path, tmp_path: Path) -> None:
    """More than Python goes down by itself: in the archive, and in a run."""
    run = next(Archive(hostile).runs("experiment == 'exp_child'")).path
    into = ("--archive", str(tmp_path / "new"), "--yes")
    for top in (hostile / "deep", run / "deep"):
        made = [f"{top}{'/a' * number}" for number in range(sys.getrecursionlimit() + 100)]
        for folder in made:
            os.mkdir(folder)
        (Path(made[-1]) / "file").touch()
        try:
            assert expedition(["archive", "list", "--archive", str(hostile)]) == 0
            assert expedition(["archive", "import", str(hostile), *into]) == 4
        finally:
            (Path(made[-1]) / "file").unlink()
            for folder in reversed(made):  # what cleans up does not go down so far either
                os.rmdir(folder)
    assert expedition(["archive", "import", str(hostile), *into]) == 0


CLAIMS = """
import json, resource, sys, warnings
from pathlib import Path
from expedition import Archive
from tests.security.readers import Reading, MEMORY

warnings.simplefilter("ignore")
root, out, packed = map(Path, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
reading = Reading(root, out)
for record in reading.attempt(lambda: list(Archive(root).runs())) or []:
    reading.record(record)
for words in ("list", "repair --dry-run", f"export folder --all -o {out}/runs", "scan alpha"):
    reading.command("archive", *words.split(), "--archive", str(root))
zipped = Reading(packed, out)
zipped.command("archive", "list", "--archive", str(packed))
print(json.dumps(reading.problems + zipped.problems))
"""
"""Asks for what follows under a limit of memory, and ends the process where an answer takes long."""


def test_what_a_file_claims_takes_neither_all_memory_nor_all_time(hostile: Path, tmp_path: Path) -> None:
    done, failed = (
        next(Archive(hostile).runs(f"experiment == 'exp_all' and status == '{status}'")).path
        for status in ("done", "failed")
    )
    child = next(Archive(hostile).runs("experiment == 'exp_child'")).path
    with (failed / "experiment_journal.jsonl").open("ab") as file:
        file.write(
            seal(
                json.dumps(
                    {
                        "e": "track",
                        "n": "far",
                        "s": 0,
                        "t": 0,
                        "v": {"$": "bin", "o": 0, "d": "<f8", "sh": [4 << 30], "crc": "0"},
                    }
                )
            )
        )
    for place, size in (
        (failed / "data" / "series.bin", 64 << 30),
        (done / "experiment_journal.jsonl", 64 << 30),
        (child / "experiment_data.json", 64 << 30),
        (child / "journal" / "z.jsonl", 1 << 30),
    ):
        with place.open("ab") as file:
            file.truncate(size)  # a hole, which takes no room
    packed, out = tmp_path / "bomb.zip", tmp_path / "out"
    out.mkdir()
    sweep = next(folder for folder in Archive(hostile).sweep_folders() if folder.parent.name == "exp_all")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for name in ("sweep.json", f"{done.name}/experiment_meta.json"):
            target.write(sweep / name, f"a/{name}")
        with target.open(f"a/{done.name}/experiment_data.json", "w") as member:
            member.write(b'{"y":[[]')
            for _ in range(100):
                member.write(b",[]" * (1 << 20))
            member.write(b"]}")
    answer = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", CLAIMS, hostile, out, packed],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert json.loads(answer.stdout) == []


def test_what_no_reader_would_take_is_not_written(
    tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Run.detached(tmp_path / "run") as run:
        run["text"] = "a" * (64 << 20)
        with pytest.raises(UnstorableError, match="more: the values of a run may have 134,217,728 bytes"):
            run["more"] = "b" * (65 << 20)
        run["text"] = "short"
        run["more"] = [1]
        monkeypatch.setattr("expedition.recording.journal.LARGEST_JSON", 1000)
        with pytest.raises(UnstorableError, match="record large texts as artifacts"):
            run.note("n" * 1000)
        run.note("n" * 900)
    assert (run.data, run.problems) == ({"text": "short", "more": [1]}, [])
    monkeypatch.setattr("expedition.archive.sweep.LARGEST_JSON", 1000)
    lab.experiment("@experiment\ndef exp_a(e): pass\n")
    lab.run().exits(4).says("the manifest of its sweep has", "make several sweeps of it")
    assert list(Archive(lab.path / "results").rows()) == []
