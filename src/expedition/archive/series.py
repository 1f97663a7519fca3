"""The series of a run at rest, read from its journal."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from expedition.archive.replay import is_entry
from expedition.archive.run_files import RunFiles
from expedition.errors import DamagedError, NameNotFoundError, near_matches
from expedition.recording import layout
from expedition.recording.journal import read_journal
from expedition.recording.plain_files import open_plain
from expedition.values import decode, is_utf8

if TYPE_CHECKING:
    import numpy as np


class SeriesValues(NamedTuple):
    """A series as arrays: `step` int64 (n,), `time` datetime64[us] in UTC (n,), `value` (n,) or (n, …).

    Values that share no numpy type are an object array of exact Python values; pictures are file paths.
    """

    step: np.ndarray[Any, Any]
    time: np.ndarray[Any, Any]
    value: np.ndarray[Any, Any]


class SeriesEntries(Sequence[tuple[int, int, Any]]):
    """Step, time (µs since the epoch) and tagged value of each entry of a series, kept as columns.

    As objects of its journal a million entries would take half a gigabyte, so they take 50 MB.
    """

    __slots__ = ("_steps", "_times", "values")

    def __init__(self) -> None:
        self._steps: array[int] | list[int] = array("q")
        self._times: array[int] | list[int] = array("q")
        self.values: list[Any] = []

    def add(self, event: Mapping[str, Any]) -> None:
        """Append the entry that an event of a journal is."""
        self._steps = _appended(self._steps, event["s"])
        self._times = _appended(self._times, event["t"])
        self.values.append(event["v"])

    @property
    def steps(self) -> np.ndarray[Any, Any]:
        """The steps as int64. Raises `OverflowError` for those that no run has recorded."""
        import numpy as np

        return np.array(self._steps, dtype=np.int64)

    @property
    def times(self) -> np.ndarray[Any, Any]:
        """The times as datetime64[us]. Raises `OverflowError` as `steps` does."""
        import numpy as np

        return np.array(self._times, dtype=np.int64).view("datetime64[us]")

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return list(zip(self._steps[index], self._times[index], self.values[index], strict=True))
        return self._steps[index], self._times[index], self.values[index]

    def __iter__(self) -> Iterator[tuple[int, int, Any]]:
        return zip(self._steps, self._times, self.values, strict=True)


def _appended(column: array[int] | list[int], number: int) -> array[int] | list[int]:
    try:
        column.append(number)
    except OverflowError:  # a journal that no run has written
        return [*column, number]
    return column


class SeriesReader(Mapping[str, SeriesValues]):
    """The series of one run folder by name."""

    def __init__(self, folder: Path, files: RunFiles) -> None:
        self._folder = folder
        self._files = files

    @cached_property
    def _entries(self) -> dict[str, SeriesEntries]:
        found: dict[str, SeriesEntries] = {}
        folder = self._files.folder_with(layout.JOURNAL_FILE)
        for event in read_journal(folder / layout.JOURNAL_FILE):
            if is_entry(event):
                name = event["n"]
                if name not in found:
                    found[name] = SeriesEntries()
                found[name].add(event)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # what Mapping has would read the series

    def entries(self, name: str) -> SeriesEntries:
        """Return step, time (µs since the epoch) and tagged value of each entry; no file of arrays is read.

        Raises `NameNotFoundError`.
        """
        if name not in self._entries:
            raise self._unknown(name)
        return self._entries[name]

    def _unknown(self, name: str) -> NameNotFoundError:
        return NameNotFoundError(f"{self._folder} has no series {name!r}{near_matches(name, self._entries)}")

    def __getitem__(self, name: str) -> SeriesValues:
        entries = self.entries(name)
        try:
            step, time = entries.steps, entries.times
            value = stack_values([self._value(tagged) for tagged in entries.values])
        except MemoryError:
            raise DamagedError(
                f"{self._folder}: the series {name!r} cannot be read: it takes more memory than there is"
            ) from None
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
            return str(self._files.paths([name])[name])
        if tag != "bin":
            return decode(tagged, folder=self._files.folder_for(tagged))
        dtype, shape = np.dtype(tagged["d"]), tuple(tagged["sh"])
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        with open_plain(self._files.folder_with(layout.SERIES_FILE) / layout.SERIES_FILE) as stream:
            there = os.fstat(stream.fileno()).st_size  # no more is asked for, whatever the journal says
            stream.seek(tagged["o"])
            content = stream.read(size) if size <= there else b""
        import zlib

        if len(content) != size or f"{zlib.crc32(content):08x}" != tagged["crc"]:
            raise DamagedError(f"{self._folder / layout.SERIES_FILE} is damaged at byte {tagged['o']}")
        return np.frombuffer(content, dtype=dtype).reshape(shape)


def check_series_file(name: str) -> str:
    """Return the relative path of a series' picture.

    Raises `DamagedError` when it leaves ``data/series``, or is no name that a file may have.
    """
    parts = Path(name).parts
    is_name = is_utf8(name) and "\0" not in name
    if parts[:2] != ("data", "series") or ".." in parts or not is_name:
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
