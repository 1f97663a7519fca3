"""Every file of a small real archive is changed, by chance and on purpose, and read in every way there is.

What may come of it are errors of the package, rows that say ``damaged``, and less than there was: no other error, no
process that dies or hangs, no file that is written elsewhere, nothing that the archive names run or imported, and
nothing printed that steers a terminal. `tests.security.readers` watches all that; a failure names the number by which
`tests.security.mutations` makes the change again.

``EXPEDITION_THOROUGH=20 pytest tests/security/test_fuzz.py`` tries twenty times as many.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from expedition import Archive, RunRecord, Trajectory
from expedition.cli.main import main as expedition
from expedition.errors import DamagedError
from tests.security.mutations import KINDS
from tests.security.readers import content_of
from tests.thoroughness import FACTOR, examples

HERE = Path(__file__).parents[2]


def problems_of(source: Path, work: Path, seeds: list[int], kinds: tuple[str, ...] = KINDS) -> list[str]:
    """Read an archive once for each number, in a process of its own; what went wrong, as text."""
    order = {"source": str(source), "work": str(work), "seeds": seeds, "kinds": kinds}
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.security.readers"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=120 + 10 * len(seeds),
        cwd=HERE,
        check=False,
    )
    assert done.returncode == 0, f"the reader died:\n{done.stderr[-4000:]}"
    *found, (_, tried) = map(json.loads, done.stdout.splitlines())
    assert tried == len(seeds)
    return ["\n".join([title, *problems]) for title, problems in found]


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_read_or_refused(small: Path, tmp_path: Path, kind: str) -> None:
    first = 1_000_000 if FACTOR > 1 else 0  # a thorough night tries others than those of every day
    seeds = list(range(first, first + examples(4)))
    assert problems_of(small, tmp_path, seeds, (kind,)) == []


def test_a_changed_zip_is_read_or_refused(small: Path, tmp_path: Path) -> None:
    file = tmp_path / "runs.zip"
    assert expedition(["archive", "compress", str(file), "--all", "--archive", str(small)]) == 0
    assert problems_of(file, tmp_path / "work", list(range(examples(4)))) == []


COVERED = ("experiment_journal.jsonl", "series.bin", "array.npy", "frame.parquet")
"""Files of a run of which each value has a checksum; the stored values stand in the journal of one without an end."""


def values_of(record: RunRecord) -> dict[str, object]:
    """What a run recorded as far as it can be read, each value as text that shows every digit."""
    found: dict[str, object] = {}
    for name, tagged in record.tagged_data.items():
        try:
            value = record.decoded(tagged)
        except DamagedError:
            continue
        found[name] = value.tobytes() if isinstance(value, np.ndarray) else repr(value)
    for name in record.series:
        try:
            step, time, value = record.series[name]
        except DamagedError:
            continue
        found[f"series {name}"] = list(
            zip(
                step.tolist(),
                time.tolist(),
                (v if isinstance(v, str) else v.tobytes() for v in value),
                strict=True,
            )
        )
    return found


def _without_its_end(folder: Path) -> None:
    """Make a run what a kill leaves of it."""
    meta = json.loads((folder / "experiment_meta.json").read_bytes())
    meta |= {"status": "running", "stop": None, "duration": None}
    (folder / "experiment_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    (folder / "experiment_data.json").unlink()


@pytest.mark.parametrize("name", COVERED)
def test_no_changed_byte_gives_another_value_where_a_checksum_covers_it(
    small: Path, tmp_path: Path, name: str
) -> None:
    source = next(record.path for record in Archive(small).runs("status == 'failed'"))
    file = min(source.rglob(name), key=lambda path: len(path.parts))  # not that of an attempt or a child
    copy = tmp_path / source.name
    copy.mkdir()
    for path, content in content_of(source).items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes(content)
    place = copy / file.relative_to(source)
    ended = values_of(RunRecord(copy))
    if name == "experiment_journal.jsonl":
        _without_its_end(copy)
    whole, content, generator = values_of(RunRecord(copy)), file.read_bytes(), random.Random(name)
    assert len(whole) > 8
    assert whole == ended
    lost: set[str] = set()
    for _ in range(examples(60)):
        data = bytearray(content)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        place.write_bytes(bytes(data))
        found = values_of(RunRecord(copy))
        assert found.keys() <= whole.keys()
        for key, value in found.items():
            if isinstance(value, list):  # entries of a series may be missing, and no other may come in
                assert set(map(repr, value)) <= set(map(repr, whole[key])), key  # type: ignore[call-overload]
                lost |= {key} if len(value) < len(whole[key]) else set()  # type: ignore[arg-type]
            else:
                assert value == whole[key], key
        lost |= whole.keys() - found.keys()
    wanted = {"series.bin": {"series field"}, "array.npy": {"array"}, "frame.parquet": {"frame"}}
    # Where no change was noticed this test would show nothing.
    assert lost >= wanted.get(name, {"series fold/rmse", "scores/all", "masked"}), lost


def test_no_changed_byte_of_a_trajectory_is_taken_for_whole(small: Path, tmp_path: Path) -> None:
    source = next(small.rglob("trajectory.h5"))
    content, generator = source.read_bytes(), random.Random(0)
    file = tmp_path / "trajectory.h5"
    for _ in range(examples(40)):
        data = bytearray(content)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        file.write_bytes(bytes(data))
        with pytest.raises(DamagedError), Trajectory.open(file) as trajectory:
            trajectory.verify()


def test_the_watch_sees_what_it_is_there_for(tmp_path: Path) -> None:
    """Each thing that must not happen is done once, and noticed."""
    script = """
import os, subprocess, sys
from pathlib import Path
from tests.security.readers import Watch
work = Path(sys.argv[1])
(work / "results").mkdir()
(work / "outside").mkdir()
(work / "outside" / "canary").write_text("x")
(work / "results" / "owned.py").write_text("")
watch = Watch(work / "results", work / "results")
def seen(action):
    watch.found, watch.on = [], True
    try:
        action()
    except OSError:
        pass
    watch.on = False
    assert watch.found, action
seen(lambda: open(work / "elsewhere", "w"))
seen(lambda: os.open(work / "elsewhere", os.O_WRONLY | os.O_CREAT))
seen(lambda: open(work / "outside" / "canary"))
seen(lambda: os.remove(work / "elsewhere"))
seen(lambda: os.mkdir(work / "folder"))
seen(lambda: subprocess.run(["true"]))
seen(lambda: os.system("true"))
seen(lambda: os.kill(os.getpid(), 0))
seen(lambda: exec(compile("x = 1", str(work / "results" / "owned.py"), "exec")))
sys.path.insert(0, str(work / "results"))
seen(lambda: __import__("owned"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
