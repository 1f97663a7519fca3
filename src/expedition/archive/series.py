"""The series of a run at rest, read from its journal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from expedition.archive.replay import is_entry
from expedition.archive.run_files import RunFiles
from expedition.errors import DamagedError, NameNotFoundError, near_matches
from expedition.recording import layout
from expedition.recording.journal import read_journal
from expedition.values import decode

if TYPE_CHECKING:
    import numpy as np


class SeriesValues(NamedTuple):
    """A series as arrays: `step` int64 (n,), `time` datetime64[us] in UTC (n,), `value` (n,) or (n, …).

    Values that share no numpy type are an object array of exact Python values; pictures are file paths.
    """

    step: np.ndarray[Any, Any]
    time: np.ndarray[Any, Any]
    value: np.ndarray[Any, Any]


class SeriesReader(Mapping[str, SeriesValues]):
    """The series of one run folder by name."""

    def __init__(self, folder: Path, files: RunFiles) -> None:
        self._folder = folder
        self._files = files

    @cached_property
    def _events(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        folder = self._files.folder_with(layout.JOURNAL_FILE)
        for event in read_journal(folder / layout.JOURNAL_FILE):
            if is_entry(event):
                found.setdefault(event["n"], []).append(event)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __contains__(self, name: object) -> bool:
        return name in self._events  # what Mapping has would read the series

    def entries(self, name: str) -> list[tuple[int, int, Any]]:
        """Return step, time (µs since the epoch) and tagged value of each entry; no file of arrays is read.

        Raises `NameNotFoundError`.
        """
        if name not in self._events:
            raise self._unknown(name)
        return [(event["s"], event["t"], event["v"]) for event in self._events[name]]

    def _unknown(self, name: str) -> NameNotFoundError:
        return NameNotFoundError(f"{self._folder} has no series {name!r}{near_matches(name, self._events)}")

    def __getitem__(self, name: str) -> SeriesValues:
        import numpy as np

        try:
            events = self._events[name]
        except KeyError:
            raise self._unknown(name) from None
        try:
            step = np.array([event["s"] for event in events], dtype=np.int64)
            time = np.array([event["t"] for event in events], dtype="datetime64[us]")
            value = stack_values([self._value(event["v"]) for event in events])
        except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
            if isinstance(error, DamagedError):
                raise
            raise DamagedError(
                f"{self._folder}: the series {name!r} is damaged: {type(error).__name__}: {error}"
            ) from error
        return SeriesValues(step, time, value)

    def _value(self, tagged: Any) -> Any:
        import numpy as np

        tag = tagged.get("$") if isinstance(tagged, dict) else None
        if tag == "file":
            name = check_series_file(tagged["file"])
            return str(self._files.folder_with(name) / name)
        if tag != "bin":
            return decode(tagged, folder=self._files.folder_for(tagged))
        dtype, shape = np.dtype(tagged["d"]), tuple(tagged["sh"])
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        with open(self._files.folder_with(layout.SERIES_FILE) / layout.SERIES_FILE, "rb") as stream:
            there = os.fstat(stream.fileno()).st_size  # no more is asked for, whatever the journal says
            stream.seek(tagged["o"])
            content = stream.read(size) if size <= there else b""
        import zlib

        if len(content) != size or f"{zlib.crc32(content):08x}" != tagged["crc"]:
            raise DamagedError(f"{self._folder / layout.SERIES_FILE} is damaged at byte {tagged['o']}")
        return np.frombuffer(content, dtype=dtype).reshape(shape)


def check_series_file(name: str) -> str:
    """Return the relative path of a series' picture. Raises `DamagedError` when it leaves ``data/series``."""
    parts = Path(name).parts
    if parts[:2] != ("data", "series") or ".." in parts:
        raise DamagedError(f"a series refers to the file {name!r}, outside of data/series")
    return name


def stack_values(values: list[Any]) -> np.ndarray[Any, Any]:
    """Return tracked values as one array: of their common type and shape, or of objects when they share no type.

    numpy's own form of a builtin number shares its type, as it does in an array. Raises ValueError for arrays of
    different shapes.
    """
    import numpy as np

    kinds = {type(value) for value in values}
    (kind,) = kinds if len(kinds) == 1 else (object,)  # of mixed types numpy would make one, and lose digits
    if kind in (float, bool, complex) or issubclass(kind, np.generic):
        return np.array(values)
    for builtin, form in ((int, np.int64), (float, np.float64), (bool, np.bool_)):
        if (
            values
            and kinds <= {builtin, form}
            and (form is not np.int64 or all(-(2**63) <= v < 2**63 for v in values))
        ):
            return np.array(values, dtype=form)
    if kind is np.ndarray:
        return np.stack(values, dtype=values[0].dtype)  # without dtype it would change the byte order
    mixed = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):  # an array among them is one value, too
        mixed[position] = value
    return mixed
