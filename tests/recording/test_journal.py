"""Journals: a sealed line per event; what is torn or altered is skipped and counted, never fatal."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition import Run, RunRecord
from expedition.archive.replay import replay
from expedition.recording.journal import Journal, append_line, parse_line, read_journal, seal
from tests.thoroughness import examples

Read = Callable[[], RunRecord]


def filled(tmp_path: Path, lines: int = 20) -> Path:
    journal = Journal(tmp_path / "journal.jsonl")
    for i in range(lines):
        journal.write(json.dumps({"i": i, "text": f"line {i} ☃"}))
    journal.close()
    return tmp_path / "journal.jsonl"


def read(file: Path) -> tuple[list[int], list[int]]:
    damaged: list[int] = []
    return [line["i"] for line in read_journal(file, damaged=damaged)], damaged


def test_every_line_is_an_object_that_ends_in_its_crc(run: Run) -> None:
    run["a"] = {"b": [1, 2.5, "☃\udcff"], "c": np.arange(3)}
    run["big"] = np.arange(1000)
    run.track("s", 1.5)
    run.track("a", np.zeros(500))
    run.commit("x.txt", "text")
    run.derived("d", 1)
    run.annotate("a", unit="m")
    run.tag("t")
    run.note("n")
    del run["a/b"]
    with run.open("f", "w"):
        pass
    run.close()
    lines = (run.path / "experiment_journal.jsonl").read_bytes().splitlines(keepends=True)
    kinds = []
    for line in lines:
        # As docs/archive-format.md says, and with none of our code.
        body, mark, crc = line.rpartition(b',"crc":"')
        assert mark
        assert crc == b'%08x"}\n' % zlib.crc32(body)
        event = json.loads(line)
        assert list(event)[-1] == "crc"
        kinds.append(event["e"])
    assert set(kinds) == {
        *("store", "drop", "track", "commit", "open", "derived", "annotate", "tag", "note"),
    }


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.lists(st.text())), min_size=1))
def test_what_was_sealed_is_read(content: dict[str, object]) -> None:
    content.pop("crc", None)
    content["x"] = '","crc":"00000000"}'
    line = seal(json.dumps(content, ensure_ascii=False))
    assert line.count(b"\n") == 1
    parsed = parse_line(line)
    assert parsed is not None
    del parsed["crc"]
    assert parsed == content


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == ([], [])
    (tmp_path / "empty").touch()
    assert read(tmp_path / "empty") == ([], [])


def test_a_torn_tail(tmp_path: Path) -> None:
    file = filled(tmp_path)
    content = file.read_bytes()
    last = content[:-1].rfind(b"\n") + 1
    for end in range(last + 1, len(content)):
        file.write_bytes(content[:end])
        assert read(file) == (list(range(19)), [20])


def test_a_torn_tail_does_not_swallow_what_another_process_appends(tmp_path: Path) -> None:
    file = filled(tmp_path)
    file.write_bytes(file.read_bytes()[:-5])
    journal = Journal(file)
    journal.write('{"i":100}')
    journal.write('{"i":101}')
    journal.close()
    assert read(file) == ([*range(19), 100, 101], [20])


def test_a_line_written_in_part_does_not_swallow_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write('{"i":0}')
    with monkeypatch.context() as patch:
        real = os.write
        patch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:7]))
        with pytest.raises(OSError, match="No space left"):
            journal.write('{"i":1}')
    journal.write('{"i":2}')
    journal.close()
    assert read(tmp_path / "journal.jsonl") == ([0, 2], [2])


@settings(max_examples=examples(50))
@given(position=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_its_line_and_at_most_the_next(
    position: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = filled(tmp_path_factory.mktemp("flip"))
    content = bytearray(file.read_bytes())
    place = int(position * len(content))
    content[place] ^= 1 << bit
    file.write_bytes(content)
    lines, damaged = read(file)
    hit = bytes(content[:place]).count(b"\n")
    assert set(range(20)) - set(lines) <= {hit, hit + 1}
    assert hit not in lines
    assert damaged


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:500] + bytes(200) + content[700:],
        lambda content: content[:500] + b"\n\n\n" + content[500:],
        lambda content: b"\xff\xfe garbage \n" + content + b"{}\n[]\n" + seal("[1]") + b'"crc"',
        lambda content: content.replace(b"line 3", b"line 4"),
        lambda content: os.urandom(300) + b"\n" + content,
        lambda content: content + b'{"deep":' + b"[" * 100_000,
        lambda content: content + seal('{"deep":' + "[" * 100_000 + "]" * 100_000 + "}"),
    ],
    ids=["zeroed", "blank lines", "garbage", "altered", "random", "deep", "deep and sealed"],
)
def test_damage_is_skipped_and_reported(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    file = filled(tmp_path)
    file.write_bytes(spoil(file.read_bytes()))
    lines, damaged = read(file)
    assert len(lines) >= 13
    assert lines == sorted(set(lines))
    assert damaged
    assert 0 in lines
    assert 19 in lines


def test_an_exclusive_journal_continues_no_file(tmp_path: Path) -> None:
    file = filled(tmp_path)
    with pytest.raises(FileExistsError):
        Journal(file, exclusive=True).write("{}")


def test_a_damaged_journal_of_a_dead_run_gives_all_that_is_whole(run: Run, journalled: Read) -> None:
    for i in range(50):
        run.track("s", i)
        run[f"k/{i}"] = i
    file = run.path / "experiment_journal.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[20] = lines[20].replace(b'"v":10', b'"v":11')
    lines[21] = lines[21][:10]  # torn, and its line feed with it: the next one goes too
    file.write_bytes(b"".join(lines))
    record = journalled()
    kept = [i for i in range(50) if i not in (10, 11)]
    assert record.series["s"].value.tolist() == kept
    assert set(record.data["k"]) == {str(i) for i in range(50) if i != 10}
    assert replay(run.path).damaged == [21, 22]


@pytest.mark.parametrize("event", ['{"e":"track"}', '{"e":"store","k":1}', '{"e":"future","x":1}', '{"x":1}'])
def test_events_that_this_version_does_not_know_are_passed_over(
    run: Run, journalled: Read, event: str
) -> None:
    run["a"] = 1
    run.track("s", 2)
    with open(run.path / "experiment_journal.jsonl", "ab") as file:
        file.write(seal(event))
    record = journalled()
    assert record.data == {"a": 1}
    assert record.series["s"].value.tolist() == [2]


def test_a_line_that_stands_for_itself_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fdatasync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    path = tmp_path / "lines.jsonl"
    for number in range(2):
        append_line(path, json.dumps({"i": number}))
    assert synced == [str(path)] * 2
    assert [line["i"] for line in read_journal(path)] == [0, 1]
