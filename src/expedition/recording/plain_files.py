"""Opening files of an archive that anybody may have made: plain files only.

A pipe keeps whoever opens it waiting, a device never ends, and a link may lead to what is nobody's business.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from expedition.errors import DamagedError

MOST_AT_ONCE = 2 << 30
"""Bytes that `read_plain` takes into memory: far more than a JSON file of any archive has."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_IS_LINK = frozenset({errno.ELOOP, errno.EMLINK})  # the latter on BSD


def open_plain(path: Path | str | os.PathLike[str]) -> BinaryIO:
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


def read_plain(path: Path | str | os.PathLike[str]) -> bytes:
    """Return the content of a file. Raises as `open_plain`, also for one that is too large for a JSON file."""
    with open_plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MOST_AT_ONCE:
            raise DamagedError(f"{path} has {size:,} bytes: no file of its kind is so large")
        return stream.read()
