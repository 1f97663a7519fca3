"""The files that trees refer to: found inside their folder, and read when they are whole."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

from expedition.errors import DamagedError
from expedition.values._dtypes import dtype_from_json
from expedition.values._walk import Tag, expect


def resolve_file(folder: Path | None, reference: Any) -> Path:
    """Return the path of a file reference inside `folder`.

    Raises:
        DamagedError: the reference leaves the folder, there is no folder, or no such file.
    """
    name = expect(reference, str)
    if folder is None:
        raise DamagedError(f"{name!r} is a file of a run folder: read it with folder=")
    pure = PurePosixPath(name)
    if (
        not pure.parts
        or pure.is_absolute()
        or ".." in pure.parts
        or "\\" in name
        or "\0" in name
        or ":" in name
    ):
        raise DamagedError(f"the file reference {name!r} leaves its folder")
    root = Path(os.path.realpath(folder))
    path = root.joinpath(*pure.parts)
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise DamagedError(f"the file reference {name!r} leaves its folder")
    if not path.is_file():
        raise DamagedError(f"{root / name}: the file is missing")
    return path


def file_crc(path: Path) -> str:
    """Return the CRC-32 of a file as eight hexadecimal digits."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def array_crc(array: Any) -> str:
    """Return the CRC-32 of the bytes of an array in C order as eight hexadecimal digits."""
    import numpy as np

    raw: Any = np.asarray(array, order="C").reshape(-1).view(np.uint8) if array.nbytes else b""
    return f"{zlib.crc32(raw):08x}"


def check_file(path: Path, tag: Tag) -> None:
    """Compare a file with the CRC that its reference recorded.

    Raises:
        DamagedError: the file is not the one that was stored.
    """
    if "crc" in tag and file_crc(path) != tag["crc"]:
        raise DamagedError(f"{path} is damaged: its content is not what was stored")


def read_npy(folder: Path | None, tag: Tag) -> Any:
    """Return the array of a reference to a ``.npy`` file, which must have the recorded dtype and shape."""
    path = resolve_file(folder, tag["file"])
    try:
        with path.open("rb") as file:
            array = _read_member(file, path.stat().st_size)
    except (ValueError, OSError, EOFError) as error:
        raise DamagedError(f"{path}: not a whole .npy file: {error}") from error
    _check(path, array, tag)
    if "crc" in tag and array_crc(array) != tag["crc"]:
        raise DamagedError(f"{path} is damaged: its values are not what was stored")
    return array


def read_npz(folder: Path | None, tag: Tag) -> dict[str, Any]:
    """Return the arrays of a reference to a ``.npz`` file by their names."""
    path = resolve_file(folder, tag["file"])
    check_file(path, tag)
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > path.stat().st_size:
                    raise ValueError(f"{info.filename} is compressed")
                with archive.open(info) as file:
                    arrays[info.filename.removesuffix(".npy")] = _read_member(file, info.file_size)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DamagedError(f"{path}: not a whole .npz file: {error}") from error
    return arrays


def _read_member(file: IO[bytes], size: int) -> Any:
    """Read one array after checking that its header does not promise more than there is."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("dtype object is never stored")
    if any(n < 0 for n in shape) or size - file.tell() != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{size - file.tell()} bytes for shape {shape} and dtype {dtype}")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _check(path: Path, array: Any, tag: Tag) -> None:
    dtype = dtype_from_json(tag["dtype"])
    if list(array.shape) != tag["shape"] or array.dtype != dtype:
        stored = f"{tag['shape']} and {dtype} were stored"
        raise DamagedError(f"{path}: shape {list(array.shape)} and dtype {array.dtype} where {stored}")
