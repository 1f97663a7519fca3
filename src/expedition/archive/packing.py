"""Rows as they stand in an index: short texts that are decoded as far as somebody asks, and share what repeats."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from expedition.archive.liveness import derive_status
from expedition.archive.rows import RunRow
from expedition.recording import outcomes

FIRST_FACTS = (
    "status",
    "experiment",
    "namespace",
    "id",
    "key",
    "index",
    "replicate",
    "attempt",
    "start",
    "stop",
    "duration",
    "seed",
    "testing",
    "tags",
    "notes",
    "reason",
    "error_type",
    "error_message",
    "version",
)
LAST_FACTS = ("left_out", "process", "from_journal", "size", "files", "problem", "repeats", "code")
"""Attributes of a row as they are packed, before and after its parameters and stored values, in their own order.

A change of these is another version of the index.
"""

_FACTS = FIRST_FACTS + LAST_FACTS
_TUPLES = tuple(map(_FACTS.index, ("tags", "notes", "left_out")))
_PROCESS = _FACTS.index("process")
_DECODER = json.JSONDecoder()
_NOWHERE: dict[str, Any] = {}  # one for all the rows that have an end
_REPEATED = tuple(
    map(_FACTS.index, ("status", "experiment", "namespace", "reason", "error_type", "version", "code"))
)


class NameList:
    """Names of the parameters, or of the stored values, of runs; most runs of an experiment have the same.

    Attributes
    ----------
    places : where the value of each name stands. digest : identifies the names and their order, 64 bits.
    """

    __slots__ = ("digest", "places", "text")

    def __init__(self, names: Iterable[str]) -> None:
        self.places = {sys.intern(name): place for place, name in enumerate(names)}
        self.text = json.dumps(list(self.places), separators=(",", ":"))
        digest = hashlib.blake2b(self.text.encode(), digest_size=8).digest()
        self.digest = int.from_bytes(digest, "big", signed=True)

    @classmethod
    def parse(cls, text: str, digest: int) -> NameList:
        """Return the list with this text. Raises ValueError when `digest` is not its own."""
        names = json.loads(text)
        found = cls(names) if isinstance(names, list) and all(isinstance(n, str) for n in names) else None
        if found is None or found.digest != digest:
            raise ValueError("a list of names is damaged")
        return found


class PackedValues(Mapping[str, Any]):
    """Tagged JSON by name. The values are decoded when the first of them is asked for, the names never are."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: NameList, text: str) -> None:
        """`text` is the JSON list of the values, in the order of `names`."""
        self._names = names.places
        self._values: str | list[Any] = text

    def __getitem__(self, name: str) -> Any:
        return self._list()[self._names[name]]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, or `default`; without the exception that a Mapping's own is made of."""
        place = self._names.get(name)
        if place is None:
            return default
        values = self._values  # decoded nearly always, and a call takes as long as the rest
        return values[place] if type(values) is list else self._list()[place]

    def _list(self) -> list[Any]:
        values = self._values
        if isinstance(values, str):
            values = self._values = _decoded(values)
        return values

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))


class PackedRow(NamedTuple):
    """A row without its place: three lines of ASCII, for facts, parameters and stored values, and their names."""

    content: str
    parameters: NameList
    stored: NameList


class NameLists:
    """All lists of names that were met, so that rows share them."""

    def __init__(self) -> None:
        self._by_names: dict[tuple[str, ...], NameList] = {}
        self._by_digest: dict[int, NameList] = {}

    def of(self, names: Iterable[str]) -> NameList:
        """Return the list of these names."""
        wanted = tuple(names)
        found = self._by_names.get(wanted)
        if found is None:
            found = self._by_names[wanted] = NameList(wanted)
            self._by_digest[found.digest] = found
        return found

    def add(self, names: NameList) -> None:
        """Take up a list that was read."""
        self._by_names.setdefault(tuple(names.places), names)
        self._by_digest.setdefault(names.digest, names)

    def get(self, digest: int) -> NameList | None:
        """Return the list with this digest; None for one that was never met."""
        return self._by_digest.get(digest)


def pack(row: RunRow, lists: NameLists) -> PackedRow:
    """Return what is to be kept of a row."""
    facts = [getattr(row, name) for name in _FACTS]
    parts = (facts, list(row.parameters.values()), list(row.stored.values()))
    # Escapes leave no line feed inside of a line, and nothing that UTF-8 has no form for.
    content = "\n".join(json.dumps(part, separators=(",", ":"), allow_nan=False) for part in parts)
    return PackedRow(content, lists.of(row.parameters), lists.of(row.stored))


def unpack(packed: PackedRow, place: str | Path, sweep_path: Path | None) -> RunRow:
    """Return the row of a run that stands in the `place` of a sweep folder now.

    Raises ValueError or TypeError when the text is none that `pack` made.
    """
    lines = packed.content.split("\n")
    if len(lines) != 3:
        raise ValueError("a row is damaged")
    facts = _decoded(lines[0])
    if len(facts) != len(_FACTS):
        raise ValueError("a row is damaged")
    for at in _TUPLES:
        facts[at] = tuple(facts[at])
    for at in _REPEATED:
        facts[at] = sys.intern(facts[at])
    facts[_PROCESS] = facts[_PROCESS] or _NOWHERE
    make: Callable[..., RunRow] = RunRow  # by position, which takes half the time
    return make(
        place,
        sweep_path,
        *facts[: len(FIRST_FACTS)],
        PackedValues(packed.parameters, lines[1]),
        PackedValues(packed.stored, lines[2]),
        *facts[len(FIRST_FACTS) :],
    )


def _decoded(text: str) -> Any:
    """What `json.loads` returns of a text without blanks around it, in half the time for a short one."""
    value, end = _DECODER.raw_decode(text)
    if end != len(text):
        raise ValueError("a row is damaged")
    return value


def is_still(row: RunRow) -> bool:
    """Whether the status of a row that was kept is what it was: a run without an end may have died since.

    It depends on locks and on the host that asks, and on no file of the run.
    """
    if not row.process:
        return True
    meta = {"status": outcomes.RUNNING, "process": row.process}
    return derive_status(meta, row.path, row.sweep_path or row.path.parent) == row.status
