"""Values that wait outside of memory until their column is written: in a spill file, or in their run folders."""

from __future__ import annotations

import json
import math
import re
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from expedition.errors import DamagedError
from expedition.values import decode, dumps, encode

if TYPE_CHECKING:
    import numpy as np

Tag: TypeAlias = dict[str, Any]

_NUMERIC = re.compile(r"\|b1|\|[iu]1|[<>][iu][248]|[<>]f[248]|[<>]c(8|16)")
_TIME = re.compile(r"[<>][mM]8(\[\d*(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?")
_SPOOLED = 8 << 20  # bytes kept in memory before they go to a temporary file


def is_numeric(dtype: Any) -> bool:
    """Tell whether HDF5 columns keep the dtype of a tag: numbers up to 8 bytes, complex up to 16, bool."""
    return isinstance(dtype, str) and _NUMERIC.fullmatch(dtype) is not None


def is_plain(dtype: Any) -> bool:
    """Tell whether arrays of the dtype of a tag are columns: numbers, and times as their ticks."""
    return is_numeric(dtype) or (isinstance(dtype, str) and _TIME.fullmatch(dtype) is not None)


@dataclass(frozen=True, slots=True)
class FieldOf:
    """The place of an array that is a field of a structured one."""

    whole: StoredArray
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemberOf:
    """The place of an array in a ``.npz`` file, that `tag` refers to."""

    tag: Tag
    name: str


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array that is not in memory."""

    dtype: Any
    """The dtype as in its tag: text, or a list of fields."""
    shape: tuple[int, ...]
    place: int | Tag | FieldOf | MemberOf | None
    """Offset in the spill file, the tag of a ``.npy`` file, or a part of one; None for zeros."""
    crc: str = ""
    """CRC-32 of its bytes in C order, where it is known: arrays that differ in it differ."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        import numpy as np

        return int(self.size * np.dtype(self.dtype).itemsize)


Kind: TypeAlias = Literal["sparse", "masked", "structured", "frame"]


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value that is made of several arrays, and not in memory."""

    kind: Kind
    place: Tag | tuple[int, int]
    """The tag that refers to a file, or offset and size of the tag's text in the spill file."""


class Spill:
    """A temporary file for inline arrays, so that memory does not grow with them."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOLED, dir=str(folder))  # noqa: SIM115
        self._end = 0

    def put(self, tag: Tag) -> StoredArray | Tag:
        """Move the array of a tag ``array`` to the file; a tag of another dtype is returned as it is."""
        if not tag["shape"] or not is_plain(tag["dtype"]):
            return tag
        return self.take(decode(tag)) or tag

    def take(self, value: Any) -> StoredArray | None:
        """Move an array to the file; None for anything else, and for what has no columns."""
        import numpy as np

        if type(value) is not np.ndarray or not value.ndim or not is_plain(value.dtype.str):
            return None
        data = value.tobytes()
        return StoredArray(value.dtype.str, value.shape, self.append(data), f"{zlib.crc32(data):08x}")

    def keep(self, kind: Kind, tag: Tag) -> StoredValue:
        """Move a tag to the file, unless it only refers to a file of a run folder."""
        if "file" in tag:
            return StoredValue(kind, tag)
        text = dumps(tag).encode()
        return StoredValue(kind, (self.append(text), len(text)))

    def append(self, data: bytes) -> int:
        """Write bytes; return their offset."""
        offset = self._end
        self._file.seek(offset)
        self._file.write(data)
        self._end += len(data)
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`."""
        self._file.seek(offset)
        return self._file.read(size)

    def tag(self, stored: StoredArray | StoredValue) -> Tag:
        """Return the tag of a value again, as it was gathered."""
        tag: Any
        if isinstance(stored.place, dict):
            return stored.place
        if isinstance(stored, StoredValue):
            tag = json.loads(self.read(*stored.place))
        else:
            tag = encode(self.array(stored))
        assert isinstance(tag, dict)
        return tag

    def array(self, stored: StoredArray) -> np.ndarray[Any, Any]:
        """Return an array that `put` moved."""
        import numpy as np

        assert isinstance(stored.place, int)
        dtype = np.dtype(stored.dtype)
        data = self.read(stored.place, stored.size * dtype.itemsize)
        return np.frombuffer(data, dtype=dtype).reshape(stored.shape)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def compact(cell: Tag, spill: Spill) -> Any:
    """Return a `StoredArray` or `StoredValue` for a tag of arrays that have columns, any other tag as it is."""
    try:
        return _kept(cell, spill)
    except (
        LookupError,
        TypeError,
        ValueError,
        DamagedError,
    ):  # no value of ours: it stays the JSON that it is
        return cell


def _kept(cell: Tag, spill: Spill) -> Any:
    kind = cell.get("$")
    if kind == "array":
        return spill.keep("structured", cell) if _has_fields(cell) else spill.put(cell)
    if kind == "npy":
        if _has_fields(cell):
            return spill.keep("structured", cell)
        if cell["shape"] and is_plain(cell["dtype"]):
            return StoredArray(cell["dtype"], tuple(cell["shape"]), cell, cell["crc"])
    elif kind == "masked" or kind == "sparse":
        return spill.keep(kind, cell)
    elif kind == "frame" or (kind == "pandas" and cell["type"] in ("DataFrame", "Series")):
        return spill.keep("frame", cell)
    return cell


def _has_fields(tag: Tag) -> bool:
    return isinstance(tag["dtype"], list) and bool(tag["shape"])
