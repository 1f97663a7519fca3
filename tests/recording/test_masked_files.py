"""Files of any size lose the secrets in them, and keep everything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.recording import masking
from expedition.recording.masking import Mask


@pytest.mark.parametrize("block", [1, 7, 64])
@pytest.mark.parametrize("way", ["beside", "over"])
def test_block_by_block_is_as_in_one_piece(
    block: int, way: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("masked")
    file = folder / "log"
    mask = Mask(["abab", "babcabc", "ccc c", 1212])
    monkeypatch.setattr(masking, "_BLOCK", block)
    if way == "over":
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))

    @settings(max_examples=150, deadline=None)
    @given(st.text("abc 12.", max_size=60) | st.text("12. ", max_size=12))
    def check(text: str) -> None:
        file.write_text(text, encoding="utf-8")
        mask.file(file)
        masked = file.read_text(encoding="utf-8")
        assert not any(secret in masked for secret in ("abab", "babcabc", "ccc c"))
        assert (masked == text) == (mask.text(text) == text)
        kept = iter(text)  # what is left stands there in the same order
        assert all(letter in kept for letter in masked.replace("***", ""))
        assert [path.name for path in folder.iterdir()] == ["log"]

    check()


def test_a_file_without_secrets_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"\xff nothing")
    before = file.stat()
    Mask(["secret"]).file(file)
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
