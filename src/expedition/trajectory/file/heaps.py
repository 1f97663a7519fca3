"""Finds damage in the heaps of an HDF5 file on which HDF5 itself would loop for ever.

A global heap has the texts of variable length. HDF5 goes through a heap by the sizes of its objects, and does not
get on where one is zero.
"""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

_SIGNATURE = b"GCOL\x01\0\0\0"
_HEADER = struct.Struct("<8sQ")
_OBJECT = struct.Struct("<HHIQ")
_SMALLEST = 4096
"""HDF5 refuses smaller heaps itself."""
WHOLE = 64 << 20
"""A larger file is not read all through to be opened."""
_END = 4 << 20
"""Bytes at either end of it that are searched."""
_BLOCK = 16 << 20
_AHEAD = 64 << 10
_FEW = 50
"""Heaps that are gone through faster one after the other than together."""


def endless_heap(path: Path) -> int | None:
    """Return where the heap stands on which HDF5 would hang, None when there is none. Raises `OSError`."""
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, 2)
        spans = [(0, size)] if size <= WHOLE else [(0, _END), (size - _END, size)]
        for first, last in spans:
            for start in range(first, last, _BLOCK):
                file.seek(start)
                content = file.read(_BLOCK + _AHEAD)
                place = _in_block(file, content, start, size)
                if place is not None:
                    return place
    return None


def _in_block(file: BinaryIO, content: bytes, start: int, size: int) -> int | None:
    """Return where a heap stands that begins in the first `_BLOCK` bytes of `content` and has no end."""
    places: list[int] = []
    ends: list[int] = []
    place = content.find(_SIGNATURE, 0, _BLOCK + len(_SIGNATURE) - 1)
    while 0 <= place <= len(content) - _HEADER.size:
        _, length = _HEADER.unpack_from(content, place)
        after = place + 1
        if _SMALLEST <= length <= size - start - place:  # of others HDF5 itself says that they are damaged
            if place + length <= len(content):
                places.append(place)
                ends.append(place + length)
                after = place + length
            elif _has_no_end(file, start + place, length):
                return start + place
        place = content.find(_SIGNATURE, after, _BLOCK + len(_SIGNATURE) - 1)
    if len(places) > _FEW:
        found = _first_without_end(content, places, ends)
    else:
        inside, spans = BytesIO(content), zip(places, ends, strict=True)
        found = next((place for place, end in spans if _has_no_end(inside, place, end - place)), None)
    return None if found is None else start + found


def _first_without_end(content: bytes, places: list[int], ends: list[int]) -> int | None:
    """Go through heaps as HDF5 does, an object of each at a time; return the place of one that has no end.

    What is free, number 0, is told with its header; the size of others is without it, and padded to 8 bytes.
    """
    import numpy as np

    # As words at any place, since what is damaged need not be in line. All in 64 bits, as HDF5 counts.
    words: Any = np.lib.stride_tricks.as_strided(
        np.frombuffer(content, np.uint8)[:8].view("<u8"), (len(content) - 7,), (1,), writeable=False
    )
    heaps, limits = np.array(places), np.array(ends)
    at = heaps + _HEADER.size
    while len(at):
        sizes = words[at + 8]
        steps = np.where(words[at] & 0xFFFF, ((sizes + 7) & ~np.uint64(7)) + _OBJECT.size, sizes)
        stuck = steps - 1 >= 2**63 - 1
        if stuck.any():
            return int(heaps[np.argmax(stuck)])
        at = at + np.minimum(steps, len(content)).view(np.int64)
        going = at + _OBJECT.size <= limits
        if not going.all():
            heaps, limits, at = heaps[going], limits[going], at[going]
    return None


def _has_no_end(file: BinaryIO, place: int, length: int) -> bool:
    """Tell whether HDF5 would not get through a heap that is longer than what is in memory: one of long texts."""
    at = _HEADER.size
    while at + _OBJECT.size <= length:
        file.seek(place + at)
        number, _, _, size = _OBJECT.unpack(file.read(_OBJECT.size))
        step = (_OBJECT.size + (size + 7) // 8 * 8) % 2**64 if number else size
        if not step or step >= 2**63:
            return True
        at += step
    return False
