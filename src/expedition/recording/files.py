"""Whole-file writes that a kill can never leave half done, and JSON laid out for people."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path

_encode = json.JSONEncoder(allow_nan=False).encode  # json.dumps with options makes an encoder for every call


NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""A flag of `os.open`: a link in the place of the file is refused, since it may lead anywhere."""


def replace_file(path: Path | str, content: bytes, *, durable: bool = False) -> None:
    """Write `content` to a temporary name beside `path`, then rename it into place.

    With `durable` the content is forced to the disk before the rename, so that a power loss leaves the old
    file or the new one. Raises `OSError` as the system does; the temporary file is removed then.
    """
    target = os.fspath(path)
    temporary = f"{target}.tmp-{os.getpid()}"
    descriptor = _open_new(temporary)
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


def _open_new(path: str) -> int:
    """Make a file for writing; what has its name goes first, and no link is followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:  # left by a process of this number that was killed, or put there by somebody else
        os.unlink(path)
        return os.open(path, flags, 0o666)


def overwrite_file(path: Path | str, content: bytes) -> None:
    """Write `content` over an existing file, within the space that it has: the way that a full disk leaves.

    Raises `OSError`, with nothing changed, when the file has less space.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | NO_LINK)
    try:
        if len(content) > room_of(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def room_of(path: Path | str) -> int:
    """Bytes that a file may have without taking another block of the disk."""
    status = os.stat(path)
    return max(status.st_size, getattr(status, "st_blocks", 0) * 512)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte of `content` to `descriptor`, however many calls the system needs."""
    written = os.write(descriptor, content)
    while written < len(content):
        written += os.write(descriptor, content[written:])


class Encoded(str):
    """JSON text as `dump_pretty` writes it for a member; for what is written more than once."""

    __slots__ = ()

    @classmethod
    def of(cls, value: object) -> Encoded:
        """Encode `value`."""
        return cls(_member(value))


def dump_pretty(content: object) -> bytes:
    """Strict JSON for people: one member a line at the top, rows of lists compact."""
    if not isinstance(content, dict):
        return _encode(content).encode()
    members = [f" {_encode(key)}: {_member(value)}" for key, value in content.items()]
    return ("{\n" + ",\n".join(members) + "\n}\n").encode()


def _member(value: object) -> str:
    if isinstance(value, Encoded):
        return value
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
