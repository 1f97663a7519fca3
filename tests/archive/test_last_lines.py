"""The end of a log of any size."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition import Run, RunRecord
from expedition.archive import last_lines
from expedition.archive.last_lines import read_last_lines
from expedition.errors import DamagedError


@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_it_is_what_reading_everything_gives(
    block: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path_factory.mktemp("lines") / "log"
    monkeypatch.setattr(last_lines, "_BLOCK", block)

    @settings(max_examples=200, deadline=None)
    @given(st.text(st.sampled_from("aß\n"), max_size=30), st.integers(0, 6))
    def check(text: str, count: int) -> None:
        file.write_text(text, encoding="utf-8")
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        found = read_last_lines(file, count)
        assert found.lines == lines[len(lines) - min(count, len(lines)) :]
        assert found.left_out == len(lines) - len(found.lines)

    check()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_a_line_without_an_end_the_last_part_is_returned(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_lines, "_BLOCK", 4)
    file = tmp_path / "log"
    file.write_bytes(b"first\nsecond\n" + b"12345" * 20)
    long = "… (90 bytes before this) 1234512345"
    assert read_last_lines(file, count, most=10) == ([long], 2)
    file.write_bytes(b"first\n" + b"12345" * 20 + b"\nend\n")
    wanted = ["… (95 bytes before this) 12345\n".strip(), "end"][-count:]
    assert read_last_lines(file, count, most=10) == (wanted, 3 - len(wanted))
    file.write_bytes(b"first\nsecond\n12345\nend\n")
    assert read_last_lines(file, count, most=10).lines == ["12345", "end"][-count:]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\xffb\nc")
    assert read_last_lines(tmp_path / "log", 2).lines == ["a�b", "c"]


def test_of_a_run(tmp_path: Path) -> None:
    with Run.detached(tmp_path / "run"):
        pass
    assert RunRecord(tmp_path / "run").last_lines(3) == ([], 0)
    (tmp_path / "run" / "experiment_out.log").write_text("1\n2\n3\n4\n")
    assert RunRecord(tmp_path / "run").last_lines(3) == (["2", "3", "4"], 1)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    with Run.detached(tmp_path / "run"):
        pass
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "run" / "experiment_out.log").symlink_to(tmp_path / "secret")
    with pytest.raises(DamagedError, match="link"):
        RunRecord(tmp_path / "run").last_lines(3)
