"""Large values in files that their own libraries read: ``.npy``, ``.npz``, ``.parquet``, ``.csv``."""

from __future__ import annotations

import hashlib
import math
import os
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO, Any

from expedition.errors import DamagedError
from expedition.values import _arrays, _frames
from expedition.values._walk import SinkKind, Tag, expect

MAX_STEM = 100  # characters; with suffix and hash a name stays below 120 characters and 255 bytes
MAX_STEM_BYTES = 200
_UNSAFE = re.compile(r"[^\w. \-+=@,()\[\]]")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def file_stem(key: str) -> str:
    """Return a file name without suffix for a slashed key: ``rmse/mean`` becomes ``rmse.mean``.

    A key whose name had to be altered in any other way gets a hash of the key after ``~``, so different keys
    have different names.
    """
    parts = [_UNSAFE.sub("_", part) for part in key.split("/")]
    stem = ".".join(parts)
    while len(stem) > MAX_STEM or len(stem.encode("utf-8")) > MAX_STEM_BYTES:
        stem = stem[:-1]
    stem = unicodedata.normalize("NFC", stem).strip(". ") or "value"
    if stem != ".".join(key.split("/")) or "." in key or _RESERVED.fullmatch(stem):
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        stem = f"{stem}~{digest}"
    return stem


class FileSink:
    """Writes arrays, masked arrays, sparse matrices and frames below a folder; returns references to them.

    A file is written under a temporary name and renamed; storing a key again replaces its file.
    """

    def __init__(self, folder: Path, subfolder: str = "data") -> None:
        self.folder = Path(folder)
        self.subfolder = subfolder
        self._taken: dict[str, str] = {}

    def put_array(self, name: str, array: Any, kind: SinkKind) -> Tag | None:
        """Write a value under the slashed key `name`; None when no file format keeps it exactly."""
        if kind == "frame":
            return self._put_frame(name, array)
        import numpy as np

        if kind == "npy":
            plain = _arrays.without_padding(array) if array.dtype.names else array
            path = self._write(name, ".npy", lambda f: np.save(f, plain, allow_pickle=False))
            raw: Any = np.asarray(plain, order="C").reshape(-1).view(np.uint8) if plain.nbytes else b""
            tag: Tag = {"$": "npy", "file": path, "dtype": _arrays.dtype_to_json(array.dtype)}
            return {**tag, "shape": list(array.shape), "crc": f"{zlib.crc32(raw):08x}"}
        if kind == "masked":
            parts = {"data": np.asarray(array)}
            if array.mask is not np.ma.nomask:
                parts["mask"] = np.asarray(array.mask)
        else:
            parts = _frames.sparse_parts(array)
        path = self._write(name, ".npz", lambda f: np.savez(f, **parts))  # type: ignore[arg-type]
        dtype = _arrays.dtype_to_json(array.dtype)
        return {"$": "npz", "file": path, "dtype": dtype, "shape": list(array.shape), "crc": self._crc(path)}

    def _put_frame(self, name: str, value: Any) -> Tag | None:
        for suffix, write, kept in ((".parquet", _to_parquet, "pyarrow"), (".csv", _to_csv, "pandas")):
            if find_spec(kept) is None:
                continue
            frame, tag = _frames.as_frame(value)
            if frame is None:
                return None
            tag = {"$": "frame", "format": suffix[1:], **tag, "shape": list(value.shape)}
            if suffix == ".csv":
                columns = _frames.csv_columns(frame)
                if columns is None:
                    continue
                tag |= columns
            try:
                tag["file"] = self._write(name, suffix, lambda f, w=write, x=frame: w(x, f))  # type: ignore[misc]
            except Exception:  # the library has no form for this frame
                continue
            if _frames.reads_back(self.folder / tag["file"], tag, value):
                tag["crc"] = self._crc(tag["file"])
                return tag
            (self.folder / tag["file"]).unlink()
        return None

    def _crc(self, path: str) -> str:
        crc = 0
        with (self.folder / path).open("rb") as file:
            while block := file.read(1 << 20):
                crc = zlib.crc32(block, crc)
        return f"{crc:08x}"

    def _write(self, key: str, suffix: str, write: Callable[[IO[bytes]], object]) -> str:
        stem = file_stem(key)
        if self._taken.setdefault(stem.casefold(), key) != key:  # the file system may not tell A from a
            stem = f"{stem}~{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
        folder = self.folder / self.subfolder
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{hashlib.sha256(stem.encode()).hexdigest()[:16]}.tmp-{os.getpid()}"
        try:
            with temporary.open("wb") as file:
                write(file)
            os.replace(temporary, folder / f"{stem}{suffix}")
        finally:
            temporary.unlink(missing_ok=True)
        return f"{self.subfolder}/{stem}{suffix}"


def _to_parquet(frame: Any, file: IO[bytes]) -> None:
    frame.to_parquet(file, engine="pyarrow")


def _to_csv(frame: Any, file: IO[bytes]) -> None:
    frame.to_csv(file, index=False, encoding="utf-8", lineterminator="\n")


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
    root = Path(folder).resolve()
    path = root.joinpath(*pure.parts)
    if not path.resolve().is_relative_to(root):
        raise DamagedError(f"the file reference {name!r} leaves its folder")
    if not path.is_file():
        raise DamagedError(f"{root / name}: the file is missing")
    return path


def read_npy(folder: Path | None, tag: Tag) -> Any:
    """Return the array of a reference to a ``.npy`` file, which must have the recorded dtype and shape."""
    path = resolve_file(folder, tag["file"])
    try:
        with path.open("rb") as file:
            array = _read_member(file, path.stat().st_size)
    except (ValueError, OSError, EOFError) as error:
        raise DamagedError(f"{path}: not a whole .npy file: {error}") from error
    _check(path, array, tag)
    return array


def read_npz(folder: Path | None, tag: Tag) -> dict[str, Any]:
    """Return the arrays of a reference to a ``.npz`` file by their names."""
    path = resolve_file(folder, tag["file"])
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
    dtype = _arrays.dtype_from_json(tag["dtype"])
    if list(array.shape) != tag["shape"] or array.dtype != dtype:
        stored = f"{tag['shape']} and {dtype} were stored"
        raise DamagedError(f"{path}: shape {list(array.shape)} and dtype {array.dtype} where {stored}")


__all__ = ["FileSink", "file_stem", "read_npy", "read_npz", "resolve_file"]
