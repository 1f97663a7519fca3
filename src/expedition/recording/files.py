"""Whole-file writes that a kill can never leave half done, and JSON laid out for people."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path

_encode = json.JSONEncoder(allow_nan=False).encode  # json.dumps with options makes an encoder for every call


def replace_file(path: Path | str, content: bytes, *, durable: bool = False) -> None:
    """Write `content` to a temporary name beside `path`, then rename it into place.

    With `durable` the content is forced to the disk before the rename, so that a power loss leaves the old
    file or the new one. Raises `OSError` as the system does; the temporary file is removed then.
    """
    target = os.fspath(path)
    temporary = f"{target}.tmp-{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        try:
            write_all(descriptor, content)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


class Reserve:
    """A file that keeps room on the disk, so that what has to be said can be said on a full one.

    Attributes
    ----------
    size : bytes that it keeps.
    """

    size = 64 * 1024

    def __init__(self, path: Path | str) -> None:
        self._path = os.fspath(path)
        self._kept = False
        self.renew()

    def renew(self) -> None:
        """Take the room again if it is spent; a disk that is full leaves none, which `spend` tells."""
        if self._kept:
            return
        with contextlib.suppress(OSError):
            # Zeros would be a hole on some file systems, and no room at all.
            replace_file(self._path, os.urandom(self.size))
            self._kept = True

    def spend(self, target: str, content: bytes) -> None:
        """Write `content` in the room kept and rename it to `target`. Raises `OSError` when there is none."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if len(content) > os.fstat(descriptor).st_size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)
        os.replace(self._path, target)
        self._kept = False

    def release(self) -> None:
        """Give the room back."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte of `content` to `descriptor`, however many calls the system needs."""
    written = os.write(descriptor, content)
    while written < len(content):
        written += os.write(descriptor, content[written:])


def dump_pretty(content: object) -> bytes:
    """Strict JSON for people: one member a line at the top, rows of lists compact."""
    if not isinstance(content, Mapping):
        return _encode(content).encode()
    members = [f" {_encode(key)}: {_member(value)}" for key, value in content.items()]
    return ("{\n" + ",\n".join(members) + "\n}\n").encode()


def _member(value: object) -> str:
    if value is None:
        return "null"
    if type(value) is int:  # an encoder is made for whatever is not a text
        return repr(value)
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        rows = ",\n  ".join(map(_encode, value))
        return f"[\n  {rows}\n ]"
    if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
        rows = ",\n  ".join(f"{_encode(key)}: {_encode(row)}" for key, row in value.items())
        return f"{{\n  {rows}\n }}"
    return _encode(value)
