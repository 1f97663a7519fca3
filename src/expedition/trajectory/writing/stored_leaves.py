"""Writes leaves whose values are arrays, or made of several arrays, as datasets that hold those of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.file.forms import take_apart
from expedition.trajectory.file.stored import Kind, StoredArray, StoredValue, Tag
from expedition.trajectory.writing.arrays import Item, write_ragged, write_stacked
from expedition.trajectory.writing.composites import Collection
from expedition.trajectory.writing.gather import Cells
from expedition.trajectory.writing.inline import loaded_tag
from expedition.trajectory.writing.large_composites import are_large_and_alike, write_large
from expedition.trajectory.writing.repeats import find_distinct, is_worth
from expedition.trajectory.writing.writer import FileWriter, RowAxis
from expedition.values import dumps

if TYPE_CHECKING:
    import numpy as np

Entry = dict[str, Any]


class StoredLeaf:
    """One leaf with arrays while it is written at `path`.

    `failed` gets (row, reason) of arrays that cannot be read. With `always` each distinct value is stored once,
    whether that makes the file smaller or not.
    """

    def __init__(
        self,
        writer: FileWriter,
        source: ArraySource,
        path: str,
        failed: list[tuple[int, str]],
        *,
        always: bool,
    ) -> None:
        self._writer = writer
        self._source = source
        self._path = path
        self._failed = failed
        self._always = always

    def write(self, column: Cells) -> Entry | None:
        """Write the cells; return what the schema says of them, None when they have no such columns."""
        import numpy as np

        cells = sorted(zip(column.rows, column.values, strict=True), key=lambda cell: cell[0])
        given = [(row, value) for row, value in cells if value is not None]
        states = np.full(self._writer.n_runs, fmt.MISSING, np.uint8)
        states[column.rows] = fmt.NONE
        kinds = {value.kind if type(value) is StoredValue else type(value) for _, value in given}
        if kinds == {StoredArray}:
            entry = self._arrays([Item(row, row, stored) for row, stored in given], states)
        elif len(kinds) == 1 and isinstance(kind := kinds.pop(), str):
            entry = self._composites(kind, given, states)
        else:
            return None
        if entry is not None:
            self._writer.state(self._path, states)
        return entry

    # arrays ------------------------------------------------------------------------------------------------

    def _arrays(self, items: list[Item], states: np.ndarray[Any, Any]) -> Entry | None:
        import numpy as np

        first = items[0].stored
        if any(i.stored.dtype != first.dtype or len(i.stored.shape) != len(first.shape) for i in items):
            return None
        large: list[tuple[int, Tag]] = []
        layout = "stacked"
        if not first.size or any(item.stored.shape != first.shape for item in items):
            layout = "ragged"
            large = [(i.row, i.stored.place) for i in items if _is_large(i.stored)]  # type: ignore[misc]
            items = [item for item in items if not _is_large(item.stored)]
            if not items:
                return None
        states[[item.row for item in items]] = fmt.VALUE
        entry: Entry = {"kind": "array", "dtype": np.dtype(first.dtype).str}
        distinct = find_distinct(items, self._source)
        if self._always or is_worth(len(distinct.firsts), len(items), distinct.repeated):
            self._fail(distinct.failed, states)
            if not distinct.firsts:
                return None
            rows = self._index([item.row for item in items], distinct.numbers, len(distinct.firsts))
            failed = self._lay_out(layout, distinct.firsts, rows)
            gone = {row for row, _ in failed}
            lost = {first.slot for first in distinct.firsts if first.row in gone}
            for item, number in zip(items, distinct.numbers, strict=True):
                if number in lost:
                    states[item.row] = fmt.MISSING
            self._failed.extend(failed)
            entry |= {"encoding": "indexed", "values": layout}
        else:
            self._fail(self._lay_out(layout, items, None), states)
            if layout == "ragged":
                entry["encoding"] = layout
        self._label(entry)
        self._refer(large, states)
        return entry

    def _lay_out(self, layout: str, items: Sequence[Item], rows: RowAxis | None) -> list[tuple[int, str]]:
        """Write arrays over the runs, or over `rows` as part of a group."""
        if layout == "ragged":
            return write_ragged(self._writer, self._path, items, self._source, rows)
        path = self._path if rows is None else f"{self._path}/value"
        holes = len(items) < (rows or self._writer.runs).size
        return write_stacked(self._writer, path, items, self._source, holes, rows)

    # values of several arrays ------------------------------------------------------------------------------

    def _composites(
        self, kind: Kind, given: list[tuple[int, StoredValue]], states: np.ndarray[Any, Any]
    ) -> Entry | None:
        if are_large_and_alike(kind, given):
            return self._large(kind, given, states)
        collection = Collection(self._source.spill)
        rows: list[int] = []
        numbers: list[int] = []
        references: list[tuple[int, Tag]] = []
        known: dict[int, int] = {}  # one object stands for the value that all runs share
        for row, value in given:
            if id(value) not in known:
                tag = self._source.spill.tag(value)
                tree = loaded_tag(self._source, row, tag) if "file" in tag else tag
                apart = None if tree is None else take_apart(kind, tree)
                if tree is not None and apart is None:
                    return None
                if apart is None or ("file" in tag and apart.nbytes > fmt.INLINE_LIMIT):
                    references.append((row, tag))
                    continue
                known[id(value)] = collection.add(apart)
            rows.append(row)
            numbers.append(known[id(value)])
        if not rows or collection.parts is None:
            return None
        self._writer.file.require_group(self._path)
        states[rows] = fmt.VALUE
        layout = collection.layout
        entry: Entry = {"kind": kind, "encoding": layout}
        count = len(collection.records)
        if self._always or is_worth(count, len(rows), collection.repeated):
            axis = self._index(rows, numbers, count)
            pairs = [(number, number) for number in range(count)]
            entry |= {"encoding": "indexed", "values": layout}
        else:
            axis, pairs = self._writer.runs, list(zip(rows, numbers, strict=True))
        entry |= collection.write(self._writer, self._path, axis, pairs, self._source)
        self._label(entry)
        self._refer(references, states)
        return entry

    def _large(
        self, kind: Kind, given: list[tuple[int, StoredValue]], states: np.ndarray[Any, Any]
    ) -> Entry | None:
        tags = [(row, value.place) for row, value in given if isinstance(value.place, dict)]
        found = write_large(self._writer, self._path, kind, tags, self._source)
        if found is None:
            return None
        about, failed = found
        states[[row for row, _ in tags]] = fmt.VALUE
        entry: Entry = {"kind": kind, **about}
        self._label(entry)
        self._refer([(row, tag) for row, tag in tags if row in failed], states)
        return entry

    # -------------------------------------------------------------------------------------------------------

    def _index(self, rows: Sequence[int], numbers: Sequence[int], count: int) -> RowAxis:
        """Write which of the distinct values each run has; return their axis."""
        import numpy as np

        self._writer.file.require_group(self._path)
        index = np.full(self._writer.n_runs, -1, np.int64)
        index[rows] = numbers
        self._writer.column(f"{self._path}/index", index, {})
        name = self._path.rpartition("/")[2]
        return RowAxis(count, self._writer.dimension(f"{self._path}/{name}_distinct", count))

    def _label(self, entry: Entry) -> None:
        """Say the encoding on the group."""
        if "encoding" in entry:
            attrs = self._writer.file[self._path].attrs
            for name in ("encoding", "values"):
                if name in entry:
                    attrs[name] = entry[name]

    def _refer(self, references: Sequence[tuple[int, Tag]], states: np.ndarray[Any, Any]) -> None:
        """Keep the references of cells that stay in the run folders."""
        if references:
            states[[row for row, _ in references]] = fmt.SEE_JSON
            texts = [(row, dumps(tag)) for row, tag in references]
            self._writer.texts(f"{self._path}/json", texts, {"encoding": "reference"})

    def _fail(self, failed: Sequence[tuple[int, str]], states: np.ndarray[Any, Any]) -> None:
        states[[row for row, _ in failed]] = fmt.MISSING
        self._failed.extend(failed)


def _is_large(stored: StoredArray) -> bool:
    return isinstance(stored.place, dict) and stored.nbytes > fmt.INLINE_LIMIT
