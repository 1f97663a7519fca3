"""Whole-file writes that a kill can never leave half done, and JSON laid out for people."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path


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


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte of `content` to `descriptor`, however many calls the system needs."""
    written = os.write(descriptor, content)
    while written < len(content):
        written += os.write(descriptor, content[written:])


def dump_pretty(content: object) -> bytes:
    """Strict JSON for people: one member a line at the top, rows of lists compact."""
    if not isinstance(content, dict):
        return json.dumps(content, allow_nan=False).encode()
    parts = []
    for key, value in content.items():
        parts.append(f" {json.dumps(key)}: {_member(value)}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _member(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[0], dict):
        rows = ",\n  ".join(json.dumps(row, allow_nan=False) for row in value)
        return f"[\n  {rows}\n ]"
    if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
        rows = ",\n  ".join(
            f"{json.dumps(key)}: {json.dumps(row, allow_nan=False)}" for key, row in value.items()
        )
        return f"{{\n  {rows}\n }}"
    return json.dumps(value, allow_nan=False)
