"""The end of a text file of any size, and how much stands before it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from expedition.recording.plain_files import open_plain

_BLOCK = 1 << 16

LONGEST = 1 << 20
"""Bytes of lines that are returned at most; a progress bar may have filled one with gigabytes."""


class LastLines(NamedTuple):
    """The last lines of a text, without their line feeds, and the number of lines before them."""

    lines: list[str]
    left_out: int


def read_last_lines(file: Path, count: int, *, most: int = LONGEST) -> LastLines:
    """Return the last `count` lines of a UTF-8 file; bytes that are no UTF-8 are ``\\ufffd``.

    The file is read in blocks. Of more than `most` bytes the last are returned: then the first line begins with the
    number of its bytes that are missing. Raises `FileNotFoundError` and other errors of the operating system,
    `DamagedError` for what is no file.
    """
    with open_plain(file) as stream:
        end = start = stream.seek(0, 2)
        least = max(0, end - most)
        tail = b""
        while start > least and (not tail or tail.count(b"\n", 0, -1) < count):
            start = max(least, end - max(2 * len(tail), _BLOCK))
            stream.seek(start)
            tail = stream.read(end - start)
        lines = tail.split(b"\n")
        if not lines[-1]:
            lines.pop()
        kept = lines[-count:] if count else []
        left_out = len(lines) - len(kept)
        before, feed = 0, -1
        stream.seek(0)
        while before < start and (block := stream.read(min(start - before, _BLOCK))):
            left_out += block.count(b"\n")
            last = block.rfind(b"\n")
            feed = before + last if last >= 0 else feed
            before += len(block)
    texts = [line.decode("utf-8", errors="replace") for line in kept]
    missing = start - feed - 1
    if missing and len(kept) == len(lines) and texts:
        texts[0] = f"… ({missing:,} bytes before this) {texts[0]}"
    return LastLines(texts, left_out)
