"""Large values in files that their own libraries read: ``.npy``, ``.npz``, ``.parquet``, ``.csv``."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Protocol

from expedition.errors import UnstorableError
from expedition.values._arrays import without_padding
from expedition.values._dtypes import dtype_from_json, dtype_to_json
from expedition.values._frames import sparse_parts
from expedition.values._pandas import identical
from expedition.values._references import array_crc, file_crc, read_npy, read_npz, resolve_file
from expedition.values._walk import SinkKind, Tag, untyped
from expedition.values.tagged import canonical, decode, encode

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


class FileGuard(Protocol):
    """Says which files must not be made."""

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""

    def check_file(self, path: Path, name: str) -> None:
        """Raise `UnstorableError` when the file must not be made of the value that is to be stored under `name`."""


class FileSink:
    """Writes arrays, masked arrays, sparse matrices and frames below a folder; returns references to them.

    A file is written under a temporary name and renamed. No file is ever replaced: a key that is stored again
    gets a name with a number, and whoever refers to the files removes the old one. `written` lists the files
    that were made, relative to the folder. `guard` sees every file before it has its name.
    """

    def __init__(self, folder: Path, subfolder: str = "data", *, guard: FileGuard | None = None) -> None:
        self.folder = Path(folder)
        self.subfolder = subfolder
        self._guard = guard
        self._taken: dict[str, str] = {}
        self.written: list[str] = []

    def put_array(self, name: str, array: Any, kind: SinkKind) -> Tag | None:
        """Write a value under the slashed key `name`; None when no file format keeps it exactly."""
        if kind == "frame":
            return self._put_frame(name, array)
        import numpy as np

        if kind == "npy":
            plain = without_padding(array) if array.dtype.names else array
            path = self._write(name, ".npy", lambda f: np.save(f, plain, allow_pickle=False))
            tag: Tag = {"$": "npy", "file": path, "dtype": dtype_to_json(array.dtype)}
            return {**tag, "shape": list(array.shape), "crc": array_crc(plain)}
        if kind == "masked":
            parts = {"data": np.asarray(array)}
            if array.mask is not np.ma.nomask:
                parts["mask"] = np.asarray(array.mask)
        else:
            parts = sparse_parts(array)
        path = self._write(name, ".npz", lambda f: np.savez(f, **parts))  # type: ignore[arg-type]
        dtype = dtype_to_json(array.dtype)
        return {
            "$": "npz",
            "file": path,
            "dtype": dtype,
            "shape": list(array.shape),
            "crc": file_crc(self.folder / path),
        }

    def _put_frame(self, name: str, value: Any) -> Tag | None:
        for suffix, write, kept in ((".parquet", self._to_parquet, "pyarrow"), (".csv", _to_csv, "pandas")):
            if find_spec(kept) is None:
                continue
            frame, tag = _as_frame(value)
            if frame is None:
                return None
            tag = {"$": "frame", "format": suffix[1:], **tag, "shape": list(value.shape)}
            if suffix == ".csv":
                columns = _csv_columns(frame)
                if columns is None:
                    continue
                tag |= columns
            try:
                tag["file"] = self._write(name, suffix, lambda f, w=write, x=frame: w(x, f))  # type: ignore[misc]
            except UnstorableError:  # so says the guard
                raise
            except Exception:  # the library has no form for this frame
                continue
            if self._reads_back(tag, value):
                tag["crc"] = file_crc(self.folder / tag["file"])
                return tag
            (self.folder / tag["file"]).unlink()
        return None

    def _to_parquet(self, frame: Any, file: IO[bytes]) -> None:
        # No guard can look through what is compressed.
        frame.to_parquet(file, engine="pyarrow", compression=None if self._guard else "snappy")

    def _reads_back(self, tag: Tag, value: Any) -> bool:
        """Tell whether the file that was just written gives exactly the frame or series that it is of."""
        try:
            return identical(decode(tag, folder=self.folder), value, canonical)
        except Exception:
            return False

    def _write(self, key: str, suffix: str, write: Callable[[IO[bytes]], object]) -> str:
        stem = file_stem(key)
        if self._taken.setdefault(stem.casefold(), key) != key:  # the file system may not tell A from a
            stem = f"{stem}~{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
        folder = self.folder / self.subfolder
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{hashlib.sha256(stem.encode()).hexdigest()[:16]}.tmp-{os.getpid()}"
        try:
            # What a killed process left goes first, and so does a link that leads elsewhere.
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:
                write(file)
            if self._guard:
                self._guard.check_file(temporary, key)
            # What a journal refers to already stays until the journal says otherwise.
            path, n = folder / f"{stem}{suffix}", 1
            while path.exists():
                n += 1
                path = folder / f"{stem}+{n}{suffix}"
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        self.written.append(f"{self.subfolder}/{path.name}")
        return self.written[-1]


def _to_csv(frame: Any, file: IO[bytes]) -> None:
    frame.to_csv(file, index=False, encoding="utf-8", lineterminator="\n")


def _as_frame(value: Any) -> tuple[Any, Tag]:
    """Return a frame with text columns for a DataFrame or Series, and what else a reference must say.

    The frame is None for other types and names.
    """
    pd = untyped("pandas")

    tag: Tag = {}
    if attrs := getattr(value, "attrs", None):
        try:
            tag["attrs"] = encode(attrs)
        except UnstorableError:  # who writes the frame as JSON then says so
            return None, {}
        value = value.copy(deep=False)
        value.attrs = {}
    if type(value) is pd.Series:
        tag |= {"series": True, "name": encode(value.name)}
        value = value.to_frame(name="value")
    if type(value) is not pd.DataFrame:
        return None, {}
    names = list(value.columns)
    plain = type(value.columns) is pd.Index and value.columns.name is None
    if not plain or not all(type(name) is str for name in names) or len(set(names)) < len(names):
        tag["columns"] = encode(value.columns)
        value = value.set_axis([str(i) for i in range(len(names))], axis=1)
    if getattr(value.index, "freq", None) is not None:
        tag["freq"] = value.index.freqstr
    return value, tag


def _csv_columns(frame: Any) -> Tag | None:
    """Return what a reference to a ``.csv`` must say about its columns, or None when csv cannot keep them."""
    pd = untyped("pandas")

    index = frame.index
    plain = type(index) is pd.RangeIndex and (index.start, index.step, index.name) == (0, 1, None)
    names = list(frame.columns)
    if not plain or frame.columns.name is not None or not all(type(name) is str for name in names):
        return None
    kinds = [str(dtype) for dtype in frame.dtypes]
    known = [
        kind in ("str", "object") or kind.lstrip("u").startswith(("int", "float", "bool")) for kind in kinds
    ]
    return {"names": names, "dtypes": kinds} if names and all(known) else None


__all__ = ["FileSink", "dtype_from_json", "file_stem", "read_npy", "read_npz", "resolve_file"]
