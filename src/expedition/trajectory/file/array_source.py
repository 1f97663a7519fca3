"""Reads arrays that are not in memory a block at a time: from the spill file, ``.npy`` and ``.npz`` files."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from expedition.errors import DamagedError
from expedition.recording import layout
from expedition.recording.plain_files import open_plain
from expedition.trajectory.file.stored import FieldOf, MemberOf, Spill, StoredArray
from expedition.values.files import dtype_from_json, resolve_file

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 1 << 20  # bytes read at once


class ArraySource:
    """Reads stored arrays in blocks; `folders` has the absolute run folder of every row."""

    def __init__(self, spill: Spill, folders: Mapping[int, Path] | Any) -> None:
        self.spill = spill
        self.folders = folders
        self._whole: Path | None = None

    def blocks(self, row: int, stored: StoredArray) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the array of a row as flat blocks in C order, of about 1 MiB at most.

        Raises `DamagedError` when the file is missing or is not what the tag says, at the latest at the end.
        """
        import numpy as np

        place = stored.place
        if place is None:
            yield np.zeros(stored.size, np.dtype(stored.dtype))
        elif isinstance(place, FieldOf):
            for block in self.blocks(row, place.whole):
                for name in place.path:
                    block = block[name]
                yield np.ascontiguousarray(block).reshape(-1)
        elif isinstance(place, MemberOf):
            yield from self._member(row, stored, place)
        elif isinstance(place, dict):
            yield from self._file(row, stored, place)
        else:
            yield from self._spilled(stored, place)

    def _spilled(self, stored: StoredArray, offset: int) -> Iterator[np.ndarray[Any, Any]]:
        import numpy as np

        dtype = np.dtype(stored.dtype)
        size = stored.size * dtype.itemsize
        step = max(_BLOCK // dtype.itemsize, 1) * dtype.itemsize
        for start in range(0, size, step):
            yield np.frombuffer(self.spill.read(offset + start, min(step, size - start)), dtype)

    def path(self, row: int, tag: dict[str, Any]) -> Path:
        """Return the file that the tag of a row refers to. Raises `DamagedError` when there is none."""
        try:
            folder = self.folders[row]
        except LookupError:
            folder = None
        return resolve_file(folder, tag["file"])

    def digest(self, row: int, stored: StoredArray) -> bytes:
        """Return a hash of the bytes of an array; raises as `blocks`."""
        import hashlib

        import numpy as np

        hashed = hashlib.blake2b(digest_size=16)
        for block in self.blocks(row, stored):
            hashed.update(np.ascontiguousarray(block).view(np.uint8).data)
        return hashed.digest()

    def _file(self, row: int, stored: StoredArray, tag: dict[str, Any]) -> Iterator[np.ndarray[Any, Any]]:
        import numpy as np

        path = self.path(row, tag)
        crc = 0
        try:
            with open_plain(path) as file:
                for block in _npy_blocks(file, path.stat().st_size, stored):
                    crc = zlib.crc32(block.view(np.uint8).data, crc)
                    yield block
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path}: not the .npy file that was stored: {error}") from error
        if f"{crc:08x}" != tag["crc"]:
            raise DamagedError(f"{path}: its content is not what was stored (wrong CRC)")

    def _member(self, row: int, stored: StoredArray, place: MemberOf) -> Iterator[np.ndarray[Any, Any]]:
        path = self.path(row, place.tag)
        if path != self._whole:  # the parts of one file are read one after another
            _check_crc(path, place.tag["crc"])
            self._whole = path
        try:
            with open_plain(path) as file:
                start, size = _member_span(file, f"{place.name}.npy")
                file.seek(start)
                yield from _npy_blocks(file, start + size, stored)
        except (OSError, ValueError, KeyError, struct.error, zipfile.BadZipFile) as error:
            raise DamagedError(f"{path}: not the .npz file that was stored: {error}") from error


def read_bin(file: IO[bytes], tag: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return the array of a tag ``bin`` from an open ``series.bin``; ValueError when its CRC is wrong."""
    import numpy as np

    dtype = np.dtype(tag["d"])
    size = math.prod(tag["sh"]) * dtype.itemsize
    if size > os.fstat(file.fileno()).st_size:
        raise ValueError(f"{layout.SERIES_FILE} ends early")
    file.seek(tag["o"])
    data = file.read(size)
    if len(data) != size or f"{zlib.crc32(data):08x}" != tag["crc"]:
        raise ValueError(f"{layout.SERIES_FILE} is not what was tracked (at byte {tag['o']})")
    return np.frombuffer(data, dtype).reshape(tag["sh"])


def _check_crc(path: Path, wanted: str) -> None:
    crc = 0
    with open_plain(path) as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    if f"{crc:08x}" != wanted:
        raise DamagedError(f"{path}: its content is not what was stored (wrong CRC)")


def _member_span(file: IO[bytes], name: str) -> tuple[int, int]:
    """Return where the bytes of an uncompressed member of a zip file begin, and how many there are."""
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    file.seek(info.header_offset + 26)
    name_size, extra_size = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + name_size + extra_size, info.file_size


def _npy_blocks(file: IO[bytes], end: int, stored: StoredArray) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the array of a ``.npy`` file that begins where `file` stands, and goes on to `end`."""
    import numpy as np
    from numpy.lib import format as npy

    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if shape != stored.shape or dtype != dtype_from_json(stored.dtype):
        raise ValueError(f"shape {shape} and dtype {dtype}")
    if end - file.tell() != stored.size * dtype.itemsize:
        raise ValueError(f"{end - file.tell()} bytes of data")
    if fortran and len(shape) > 1:
        # Rows of a Fortran array lie apart: let the system page it, a slab of rows at a time.
        mapped = np.memmap(file, dtype, "r", file.tell(), shape, "F")
        step = max(1, _BLOCK * shape[0] // max(mapped.nbytes, 1))
        for start in range(0, shape[0], step):
            yield np.ascontiguousarray(mapped[start : start + step]).reshape(-1)
        return
    left = stored.size
    while left:
        count = min(left, max(1, _BLOCK // dtype.itemsize))
        block = np.fromfile(file, dtype, count)
        if len(block) != count:
            raise ValueError("its data end early")
        yield block
        left -= count
