"""The end of a text file of any size, and how much stands before it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_BLOCK = 1 << 16


class LastLines(NamedTuple):
    """The last lines of a text, without their line feeds, and the number of lines before them."""

    lines: list[str]
    left_out: int


def read_last_lines(file: Path, count: int) -> LastLines:
    """Return the last `count` lines of a UTF-8 file; bytes that are no UTF-8 are ``\\ufffd``.

    The file is read in blocks: memory grows with the lines returned, not with the file. Raises `FileNotFoundError`
    and other errors of the operating system.
    """
    with open(file, "rb") as stream:
        end = start = stream.seek(0, 2)
        tail = b""
        while start and (not tail or tail.count(b"\n", 0, -1) < count):
            start = max(0, end - max(2 * len(tail), _BLOCK))
            stream.seek(start)
            tail = stream.read(end - start)
        lines = tail.split(b"\n")
        if not lines[-1]:
            lines.pop()
        kept = lines[-count:] if count else []
        left_out = len(lines) - len(kept)
        stream.seek(0)
        while start > 0 and (block := stream.read(min(start, _BLOCK))):
            left_out += block.count(b"\n")
            start -= len(block)
    return LastLines([line.decode("utf-8", errors="replace") for line in kept], left_out)
