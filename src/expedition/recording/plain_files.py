"""Opening files of an archive that anybody may have made: plain files only, and of a size that they can have.

A pipe keeps whoever opens it waiting, a device never ends, and a link may lead to what is nobody's business. A file
with holes may claim any size.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from expedition.errors import DamagedError

LARGEST_JSON = 256 << 20
"""Bytes of a JSON file, or of a line of a journal, at most: nothing writes larger ones, and reading one may take
thirty times its bytes."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_IS_LINK = frozenset({errno.ELOOP, errno.EMLINK})  # the latter on BSD


def open_plain(path: Path | str | os.PathLike[str]) -> BufferedReader:
    """Open a file for reading. Folders on the way to it may be links.

    Raises `OSError` as the system does, `DamagedError` for a link, a folder, a pipe, a socket or a device.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:  # a name with NUL
        raise DamagedError(f"{path!r} is no name of a file: {error}") from None
    except OSError as error:
        if error.errno in _IS_LINK:
            raise DamagedError(f"{path} is a link, which no archive holds: it may lead anywhere") from None
        if error.errno == errno.ENXIO:
            raise DamagedError(f"{path} is no plain file") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedError(f"{path} is no plain file")
    return open(descriptor, "rb")


def read_plain(path: Path | str | os.PathLike[str], most: int = LARGEST_JSON) -> bytes:
    """Return the content of a file. Raises as `open_plain`, also for one of more than `most` bytes."""
    with open_plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise DamagedError(f"{path} has {size:,} bytes: no file of its kind is so large")
        try:
            return stream.read()
        except MemoryError:
            raise DamagedError(f"{path} has {size:,} bytes, more than there is memory for") from None


def plain_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file from where it stands. One of more than `LARGEST_JSON` bytes is cut, and the last."""
    for line in iter(partial(stream.readline, LARGEST_JSON), b""):
        yield line
        if len(line) == LARGEST_JSON and not line.endswith(b"\n"):
            return
