"""What a run holds, part by part: what cannot be read is said, and costs nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from expedition.archive import RunRecord
from expedition.archive.invocations import invocation_at, invocations_in, provenance_at
from expedition.archive.last_lines import LastLines
from expedition.archive.recovery import edited_data
from expedition.archive.series import SeriesValues
from expedition.errors import ArtifactError, ExpeditionError
from expedition.recording import layout
from expedition.recording.artifacts import check_name
from expedition.values import loads

__all__ = ["RunContents", "Unread", "place_of", "run_name"]

_T = TypeVar("_T")

LOG_LINES = 20
"""Lines of the log that the page of a run has."""

LOG_BYTES = 64 * 1024
"""Bytes of the log that they may have together."""

_ERRORS = (
    *(ExpeditionError, OSError, ValueError, TypeError),
    *(LookupError, AttributeError, ArithmeticError, RecursionError),
)
"""What reading files can raise that anybody may have made."""


@dataclass(frozen=True)
class Unread:
    """Stands for a value that was not, or could not be, read, and says what there is or why."""

    text: str


class RunContents:
    """The parts of one run; none of them raises when files are damaged or missing.

    Attributes
    ----------
    problems : what could not be read as it should, filled as the parts are asked for.
    """

    def __init__(self, record: RunRecord, *, max_bytes: int) -> None:
        """Values above `max_bytes`, by the sizes of their files, are not read."""
        self.record = record
        self.problems: list[str] = []
        self._max_bytes = max_bytes

    @cached_property
    def about_parameters(self) -> dict[str, dict[str, Any]]:
        """Type, description and origin of the parameters, as they were recorded."""
        return dict(self.record.meta["parameters"])

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Parameters by name."""
        return {name: self._value(about["value"]) for name, about in self.about_parameters.items()}

    @cached_property
    def tagged_derived(self) -> dict[str, Any]:
        """Derived parameters as tagged JSON."""
        return self._mapping(lambda: self.record.tagged_derived)

    @cached_property
    def derived(self) -> dict[str, Any]:
        """Derived parameters by name."""
        return {name: self._value(tagged) for name, tagged in self.tagged_derived.items()}

    @cached_property
    def tagged_data(self) -> dict[str, Any]:
        """Stored values by slash path, as tagged JSON; from the journal where the data file is damaged or missing."""
        problem = ""
        found: dict[str, Any] = {}
        try:
            found, problem = self.record.tagged_data, self.record.data_problem
        except _ERRORS as error:
            problem = str(error)
        if found and not problem:
            return found
        # More than others get of it: also what a journal has that is not whole.
        with contextlib.suppress(*_ERRORS):
            found = found or edited_data(self.record.recorded.data, self.record.meta)
        if found:
            reason = problem or f"{layout.DATA_FILE} is missing"
            self.problems.append(f"{reason}; stored values are those of the journal")
        elif problem:
            self.problems.append(problem)
        return found

    @cached_property
    def data(self) -> dict[str, Any]:
        """Stored values by slash path."""
        return {name: self._value(tagged) for name, tagged in self.tagged_data.items()}

    @cached_property
    def annotations(self) -> dict[str, dict[str, str]]:
        """Per annotated name its comment and unit."""
        found = self._mapping(lambda: self.record.annotations)
        return {name: about for name, about in found.items() if isinstance(about, dict)}

    @cached_property
    def series_list(self) -> dict[str, dict[str, Any]]:
        """Per series number of entries and kind, as far as that is known without reading them."""
        found = self._mapping(lambda: self.record.series_list)
        # What the meta file does not have because of a full disk, say, the journal may have.
        there = self._list(lambda: list(self.record.series))
        unknown: dict[str, dict[str, Any]] = {name: {"n": None, "kind": ""} for name in there}
        return {**unknown, **{name: about for name, about in found.items() if isinstance(about, dict)}}

    def series(self, name: str) -> SeriesValues | Unread:
        """Return a series with all its values."""
        try:
            if name not in self.record.series:
                return Unread(f"missing from {layout.JOURNAL_FILE}")
            return self.record.series[name]
        except _ERRORS as error:
            return Unread(f"cannot be read: {error}")

    def entries(self, name: str) -> Sequence[tuple[int, int, Any]]:
        """Return step, time and tagged value of the entries of a series: arrays and pictures are not read."""
        with contextlib.suppress(*_ERRORS):
            if name in self.record.series:
                return self.record.series.entries(name)
        return []

    @cached_property
    def artifacts(self) -> list[dict[str, Any]]:
        """What is known of the committed files, in order, with ``path`` and, where it is not as it was, ``problem``."""
        entries = self._list(lambda: self.record.artifact_list)
        named = (entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str))
        return [{**entry, **self._file(entry)} for entry in named]

    def _file(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        try:
            name = check_name(entry["name"])
        except ArtifactError as error:
            return {"problem": str(error)}
        path, size = str(self.record.path / name), self.record.size_of(name)
        if size is None:
            return {"path": path, "problem": "the file is missing"}
        if "size" not in entry:
            return {"path": path, "size": size, "problem": "not completed"}
        if size != entry["size"]:
            return {"path": path, "problem": f"the file has {size} bytes now"}
        return {"path": path}

    @cached_property
    def children(self) -> list[RunRecord]:
        """The runs that the run ran inside of it."""
        return self._list(lambda: self.record.children)

    @cached_property
    def log_end(self) -> LastLines:
        """The last lines of the log, and how many there are before them."""
        try:
            return self.record.last_lines(LOG_LINES, most=LOG_BYTES)
        except OSError as error:
            self.problems.append(str(error))
            return LastLines([], 0)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the sweep; empty for a run without its sweep."""
        try:
            found = loads(self.record.read_of_sweep(layout.SWEEP_FILE))
        except FileNotFoundError:
            return {}
        except _ERRORS as error:
            self.problems.append(f"{layout.SWEEP_FILE}: {error}")
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def _invocation(self) -> tuple[int, Mapping[str, Any]] | None:
        """Number and line of the invocation that made the run."""
        try:
            content = self.record.read_of_sweep(layout.INVOCATIONS_FILE)
        except FileNotFoundError:
            return None
        except _ERRORS as error:
            self.problems.append(f"{layout.INVOCATIONS_FILE}: {error}")
            return None
        return invocation_at(invocations_in(content), self.record.meta["start"])

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where the run was made, and with what, as its invocation noted it; empty where that is not known."""
        found = self.manifest.get("provenance")
        if not isinstance(found, dict):
            return {}
        made_by = self._invocation
        return found if made_by is None else provenance_at(found, *made_by)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options of the invocation that made the run."""
        made_by = self._invocation
        found = self.manifest.get("options") if made_by is None else made_by[1].get("options")
        return found if isinstance(found, dict) else {}

    def _value(self, tagged: Any) -> Any:
        if not isinstance(tagged, dict | list):
            return tagged
        try:
            size = sum(self._sizes(tagged))
            if size > self._max_bytes:
                return Unread(_declared(tagged))
            return self.record.decoded(tagged)
        except _ERRORS as error:
            return Unread(f"cannot be read: {error}")

    def _sizes(self, tagged: Any) -> Iterator[int]:
        """Bytes of the files that a value refers to, as far as they are known."""
        waiting = [tagged]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                if "$" in value and isinstance(value.get("file"), str):
                    yield self.record.size_of(value["file"]) or 0
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)

    def _mapping(self, read: Callable[[], dict[str, _T]]) -> dict[str, _T]:
        try:
            return read()
        except _ERRORS as error:
            self.problems.append(str(error))
            return {}

    def _list(self, read: Callable[[], list[_T]]) -> list[_T]:
        try:
            return read()
        except _ERRORS as error:
            self.problems.append(str(error))
            return []


def _declared(tagged: Any) -> str:
    """What a value in a file says of itself."""
    if not isinstance(tagged, dict):
        return "a list with large arrays"
    shape = tagged.get("shape")
    size = f"[{'×'.join(map(str, shape))}]" if isinstance(shape, list) else ""
    dtype = tagged.get("dtype", "")
    if isinstance(dtype, str) and dtype:
        with contextlib.suppress(TypeError, ValueError):
            import numpy as np

            dtype = np.dtype(dtype).name
    kind = {"npy": "", "masked": "masked ", "frame": "frame"}.get(str(tagged.get("$")), f"{tagged.get('$')} ")
    return f"{kind}{dtype if isinstance(dtype, str) else 'records'}{size}"


def place_of(record: RunRecord) -> str:
    """Return the run folder below the archive root, with slashes."""
    sweep = record.sweep_path
    inner = (
        record.path.relative_to(sweep).as_posix() if record.path.is_relative_to(sweep) else record.path.name
    )
    parts = [record.namespace, record.sweep, "" if inner == "." else inner]
    return "/".join(part for part in parts if part)


def run_name(record: RunRecord) -> str:
    """Return ``experiment[id]``."""
    return f"{record.experiment}[{record.id}]"
