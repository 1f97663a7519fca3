"""Append-only journals: one JSON object a line, its last member the CRC of what stands before it.

A line reaches the kernel in one write, so it survives the death of its process; ``fdatasync`` once a second, by a
`Syncer` where there is one, bounds what a power loss can take. A reader skips what is torn and counts it.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expedition.errors import UnstorableError
from expedition.recording.files import NO_LINK
from expedition.recording.plain_files import LARGEST_JSON, open_plain, plain_lines
from expedition.recording.syncer import Syncer

SYNC_INTERVAL = 1.0
"""Seconds between two ``fdatasync`` of a journal without a `Syncer`, while lines arrive."""

_CRC_MARK = b',"crc":"'


def seal(text: str) -> bytes:
    """Return the journal line for the JSON object `text`: with its ``crc`` member and a line feed."""
    # Lone surrogates become \udXXX, which JSON reads back as what they were.
    body = text[:-1].encode("utf-8", "backslashreplace")
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


class Journal:
    """Writes one journal file, which is made by the first line.

    Attributes
    ----------
    path : the file.
    exclusive : refuse a file that exists already (a journal never continues behind a torn tail).
    syncer : forces what is written to the disk, also when no further line follows.
    """

    __slots__ = ("_descriptor", "_is_known", "_synced", "_syncer", "_torn", "exclusive", "path")

    def __init__(self, path: Path | str, *, exclusive: bool = False, syncer: Syncer | None = None) -> None:
        self.path = os.fspath(path)
        self._syncer = syncer
        self._is_known = False
        self.exclusive = exclusive
        self._descriptor = -1
        self._synced = 0.0
        self._torn = False

    def write(self, text: str) -> None:
        """Append the JSON object `text` as one sealed line.

        Raises `OSError` when the disk refuses it, `UnstorableError` for a line that no reader would take.
        """
        line = seal(text)
        if len(line) > LARGEST_JSON:
            raise UnstorableError(
                f"what is recorded at once may have {LARGEST_JSON:,} bytes as JSON, and this has {len(line):,}: "
                f"record large texts as artifacts (commit), and many numbers as numpy arrays"
            )
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | NO_LINK
            self._descriptor = os.open(self.path, flags | (os.O_EXCL if self.exclusive else 0), 0o666)
            self._synced = time.monotonic()
            self._torn = self._ends_torn()
        if self._torn:  # what is left of a torn line must not swallow this one
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        if written != len(line):
            self._torn = True
            raise OSError(28, "No space left on device (a journal line was written in part)", self.path)
        self._torn = False
        if self._syncer is not None:
            if not self._is_known:
                self._is_known = True
                self._syncer.add(self)
            return
        now = time.monotonic()
        if now - self._synced > SYNC_INTERVAL:
            self._sync()
            self._synced = now

    def take_descriptor(self) -> int:
        """Return the descriptor of the file, -1 when it is closed, for a `Syncer` to force it to the disk."""
        self._is_known = False
        return self._descriptor

    def _sync(self) -> None:
        os.fdatasync(self._descriptor) if hasattr(os, "fdatasync") else os.fsync(self._descriptor)

    def _ends_torn(self) -> bool:
        """Whether an earlier process left the file without a line feed at its end."""
        size = os.fstat(self._descriptor).st_size
        return size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def close(self, *, durable: bool = False) -> None:
        """Close the file, with `durable` when its lines are on the disk; a later line opens it again."""
        if self._descriptor >= 0:
            if self._syncer is not None:
                self._syncer.discard(self)
                self._is_known = False
            try:
                if durable:
                    self._sync()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1


def append_line(path: Path | str, text: str) -> None:
    """Append one JSON object to a file of sealed lines, and have it on the disk. Raises `OSError`."""
    journal = Journal(path)
    try:
        journal.write(text)
    finally:
        journal.close(durable=True)


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the object of one sealed line, or None when the line is torn or altered."""
    mark = line.rfind(_CRC_MARK)
    if mark < 0 or not line.endswith(b'"}\n') or line[mark + 8 : -3] != b"%08x" % zlib.crc32(line[:mark]):
        return None
    try:
        parsed = json.loads(line.decode())  # bytes would be searched for their encoding
    except (ValueError, RecursionError, MemoryError):
        return None
    return parsed if isinstance(parsed, dict) else None


def read_journal(path: Path | str, *, damaged: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the good lines of a journal in order; numbers of bad lines are added to `damaged`.

    A file that does not exist has no lines. A line that is larger than any that is written counts as bad, and so does
    all that stands behind it.
    """
    try:
        stream = open_plain(path)  # closed below, and absence is no error
    except FileNotFoundError:
        return
    with stream:
        for number, line in enumerate(plain_lines(stream), 1):
            parsed = parse_line(line)
            if parsed is not None:
                yield parsed
            elif damaged is not None and line.strip():
                damaged.append(number)
