"""Puts a finished file into place in one step, and tells later whether it is still what was put there."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from expedition.archive.liveness import FOREIGN_SILENCE, process_exists
from expedition.errors import OutputExistsError
from expedition.recording.writer import host_identity
from expedition.trajectory.file import format as fmt

if TYPE_CHECKING:
    import h5py

_BLOCK = 1 << 20
_WIDTH = 4  # bytes of the checksum
TRIES = 5
"""How often a file is made anew when others put theirs into place meanwhile."""


class OvertakenError(Exception):
    """Somebody else has put a file into place while this one was made of what was there before."""


class Stamp(NamedTuple):
    """What tells one file at a path from the next."""

    inode: int
    modified: int
    size: int


NO_FILE = Stamp(0, 0, 0)


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of the file at `path`, `NO_FILE` when there is none."""
    try:
        stat = os.stat(path)
    except OSError:
        return NO_FILE
    return Stamp(stat.st_ino, stat.st_mtime_ns, stat.st_size)


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool = True, only: Stamp | None = None) -> Iterator[Path]:
    """Give a temporary path beside `target`, and put what was written there into its place at the end.

    The file is on the disk before it is renamed, so that a reader, a kill and a power loss find the old file
    or the new one. When the block raises, the temporary file is removed, and so are those of killed processes.
    Without `overwrite` a file that is there at the end stays, and `OutputExistsError` is raised. With `only`, the
    stamp of the file that the new one is made of, another one stays, and `OvertakenError` is raised.
    """
    remove_stale(target)
    temporary = temporary_of(target)
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        if only is not None and stamp_of(target) != only:
            raise OvertakenError(f"another process has put a new file {target} into place")
        if overwrite or not _link(temporary, target):
            os.replace(temporary, target)
        else:
            temporary.unlink()
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    with contextlib.suppress(OSError):  # not every file system takes a folder, and the file is in place
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_free(target: Path) -> None:
    """Raise `OutputExistsError` when there is something at `target`."""
    if os.path.lexists(target):
        raise OutputExistsError(
            f"there is a file {target} already: give another name, or overwrite it if you can"
        )


def _link(temporary: Path, target: Path) -> bool:
    """Give a file a second name, which nobody can have taken meanwhile; false where links are not to be had."""
    check_free(target)
    try:
        os.link(temporary, target)
    except FileExistsError:
        check_free(target)
        raise
    except OSError:
        return False
    return True


def remove_stale(target: Path) -> None:
    """Remove what writers of `target` left that were killed."""
    prefix = f"{target.name}.tmp-"
    for path in target.parent.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):
            if _is_stale(path, path.name[len(prefix) :]):
                path.unlink()


def temporary_of(target: Path) -> Path:
    """Return a temporary path beside `target` that nobody else has."""
    return target.with_name(f"{target.name}.tmp-{_host()}-{os.getpid()}-{secrets.token_hex(3)}")


def _is_stale(path: Path, owner: str) -> bool:
    """Tell whether nobody writes a temporary file any more; of this process and of other hosts its age tells."""
    host, _, rest = owner.partition("-")
    pid = rest.partition("-")[0]
    if host == _host() and pid.isdigit() and int(pid) != os.getpid():
        return not process_exists(int(pid))
    return time.time() - path.stat().st_mtime > FOREIGN_SILENCE


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", host_identity()[0])


def reserve_checksum(file: h5py.File) -> int:
    """Make the place of the checksum in a file that is being written; return where in the file it is."""
    import numpy as np

    dataset = file.require_dataset(fmt.CHECKSUM, shape=(), dtype="<u4")
    dataset[()] = np.uint32(0)
    file.flush()
    return int(dataset.id.get_offset())


def checksum_place(file: h5py.File) -> int | None:
    """Return where in an open file its checksum is, None when it has none."""
    import h5py

    try:
        if not isinstance(file.get(fmt.CHECKSUM, getlink=True), h5py.HardLink):
            return None
        dataset = file[fmt.CHECKSUM]
        place = dataset.id.get_offset() if isinstance(dataset, h5py.Dataset) else None
        return place if place is None or dataset.dtype.itemsize == _WIDTH else None
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):  # what h5py raises for what is damaged
        return None


def seal(path: Path, place: int) -> None:
    """Write the checksum of a closed file into the `place` that was reserved."""
    with open(path, "r+b") as stream:
        checksum = _checksum(path, place)
        stream.seek(place)
        stream.write(checksum.to_bytes(_WIDTH, "little"))


def is_whole(path: Path, place: int) -> bool:
    """Tell whether a file is, byte for byte, what was sealed."""
    with open(path, "rb") as stream:
        stream.seek(place)
        written = stream.read(_WIDTH)
    return len(written) == _WIDTH and _checksum(path, place) == int.from_bytes(written, "little")


def _checksum(path: Path, place: int) -> int:
    """CRC-32 of a file with zeros in the place of the checksum."""
    crc, position = 0, 0
    with open(path, "rb") as stream:
        while block := stream.read(min(_BLOCK, place - position) if position < place else _BLOCK):
            crc = zlib.crc32(block, crc)
            position += len(block)
            if position == place:
                stream.seek(_WIDTH, os.SEEK_CUR)
                crc = zlib.crc32(bytes(_WIDTH), crc)
                position += _WIDTH
    return crc
