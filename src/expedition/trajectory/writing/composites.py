"""Writes columns of values that are made of several arrays: one dataset for each part, over all runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file.dtypes import storage
from expedition.trajectory.file.forms import Apart
from expedition.trajectory.file.stored import Spill, StoredArray
from expedition.trajectory.writing.arrays import Item, as_kept, write_spans, write_stacked
from expedition.trajectory.writing.tape import Tape
from expedition.trajectory.writing.writer import FileWriter, RowAxis, array_chunks, compresses
from expedition.values import dumps

if TYPE_CHECKING:
    import h5py
    import numpy as np

    from expedition.trajectory.file.array_source import ArraySource

_TEXT = "text"
_LONGEST_FORM = 16 << 10  # characters of a form in the schema, which every reader loads
_STACKABLE = frozenset({"masked", "fields"})


@dataclass(frozen=True)
class _PartOf:
    """What all values of one form have in common in one part; `inner` is its shape without the axis."""

    axis: str
    dtype: str
    inner: tuple[int, ...]
    optional: bool
    attrs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Form:
    """What several values have in common; `empty` has the axes on which none of them has elements."""

    text: str
    layout: str
    ndim: int
    axes: tuple[str, ...]
    empty: frozenset[str]
    parts: dict[str, _PartOf]


@dataclass(frozen=True, slots=True)
class _Record:
    """A value in the spill file, its parts one after another; `counts` and `sizes` in the order of its form."""

    form: int
    shape: tuple[int, ...]
    counts: tuple[int, ...]
    offset: int
    sizes: tuple[int, ...]


class Collection:
    """The distinct values of one column, taken apart, in the spill file."""

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._forms: list[_Form] = []
        self._form_numbers: dict[Any, int] = {}
        self._numbers: dict[bytes, int] = {}
        self.records: list[_Record] = []
        self.nbytes = 0
        """Bytes of the distinct values."""
        self.repeated = 0
        """Bytes of the values that were there already."""

    def add(self, apart: Apart) -> int:
        """Take a value; return the number of it among the distinct ones."""
        number = self._form(apart)
        blocks = [_bytes(part.values) for part in apart.parts]
        hashed = hashlib.blake2b(f"{number} {apart.shape} {apart.counts}".encode(), digest_size=16)
        for block in blocks:
            hashed.update(len(block).to_bytes(8, "little"))
            hashed.update(block)
        size = sum(map(len, blocks))
        known = self._numbers.setdefault(hashed.digest(), len(self.records))
        if known < len(self.records):
            self.repeated += size
            return known
        self.nbytes += size
        offset = self._spill.append(b"".join(blocks))
        counts, sizes = tuple(apart.counts.values()), tuple(map(len, blocks))
        self.records.append(_Record(number, apart.shape, counts, offset, sizes))
        return known

    def _form(self, apart: Apart) -> int:
        parts = {
            part.name: _PartOf(part.axis, _TEXT, (), part.optional, part.attrs)
            if isinstance(part.values, list)
            else _PartOf(part.axis, part.values.dtype.str, part.values.shape[1:], part.optional, part.attrs)
            for part in apart.parts
        }
        empty = frozenset(axis for axis, count in apart.counts.items() if not count)
        form = _Form(dumps(apart.form), apart.layout, len(apart.shape), tuple(apart.counts), empty, parts)
        key = (form.text, form.layout, form.ndim, form.axes, empty, tuple(parts.items()))
        number = self._form_numbers.setdefault(key, len(self._forms))
        if number == len(self._forms):
            self._forms.append(form)
        return number

    @property
    def parts(self) -> dict[str, _PartOf] | None:
        """The parts of all values together, in dtypes that keep each of them; None when they do not go together."""
        first = self._forms[0]
        if any((form.layout, form.ndim) != (first.layout, first.ndim) for form in self._forms):
            return None
        found: dict[str, _PartOf] = {}
        vague: set[str] = set()  # no value has had an element of these
        for form in self._forms:
            for name, part in form.parts.items():
                other = found.setdefault(name, part)
                if (other.axis, other.inner) != (part.axis, part.inner):
                    return None
                dtype = _common(other.dtype, part.dtype)
                if name in vague:
                    dtype = part.dtype
                elif dtype is None and part.axis in form.empty:
                    dtype = other.dtype
                if dtype is None:
                    return None
                is_new = other is part
                attrs = tuple(pair for pair in other.attrs if pair in part.attrs)
                found[name] = _PartOf(part.axis, dtype, part.inner, part.optional, attrs)
                if part.axis not in form.empty:
                    vague.discard(name)
                elif is_new:
                    vague.add(name)
        for form in self._forms:
            lacks = [part for name, part in found.items() if name not in form.parts]
            if not all(part.optional or part.axis in form.empty for part in lacks):
                return None
        return found

    @property
    def layout(self) -> str:
        """The name of the encoding."""
        layout = self._forms[0].layout
        return layout if layout not in _STACKABLE or self.is_stacked else f"{layout}-ragged"

    @property
    def is_stacked(self) -> bool:
        """Whether all values are arrays of one shape, and not empty."""
        shapes = {record.shape for record in self.records}
        return self._forms[0].layout in _STACKABLE and len(shapes) == 1 and 0 not in shapes.pop()

    def write(
        self,
        writer: FileWriter,
        path: str,
        rows: RowAxis,
        numbers: Sequence[tuple[int, int]],
        source: ArraySource,
    ) -> dict[str, Any]:
        """Write the values into the group at `path`; return what the schema says of their forms.

        `numbers` has (row, number of the value), in the order of rows.
        """
        import numpy as np

        parts = self.parts
        assert parts is not None
        name = path.rpartition("/")[2]
        if self.is_stacked:
            sizes = enumerate(self.records[0].shape, 1)
            scales = [writer.dimension(f"{path}/{name}_dim{axis}", size) for axis, size in sizes]
            for part, about in parts.items():
                items = list(self._items(part, about, numbers))
                holes = len(items) < rows.size
                write_stacked(writer, f"{path}/{part}", items, source, holes, rows, about.dtype, scales)
        else:
            self._write_parts(writer, path, rows, parts, numbers)
        ndim = self._forms[0].ndim
        if ndim and not self.is_stacked:
            shapes = np.zeros((rows.size, ndim), np.int64)
            for row, number in numbers:
                shapes[row] = self.records[number].shape
            writer.table(f"{path}/shape", shapes, writer.dimension(f"{path}/{name}_axis", ndim), rows)
        used = [(row, self.records[number].form) for row, number in numbers]
        return write_forms(writer, path, rows, used, [form.text for form in self._forms])

    def _items(self, part: str, about: _PartOf, numbers: Sequence[tuple[int, int]]) -> Iterator[Item]:
        for row, number in numbers:
            record = self.records[number]
            own = self._forms[record.form].parts.get(part)
            if own is not None:
                offset, _ = self._place(record, part)
                yield Item(row, row, StoredArray(own.dtype, (*record.shape, *about.inner), offset))

    def _place(self, record: _Record, part: str) -> tuple[int, int]:
        """Return offset and size of a part in the spill file."""
        position = list(self._forms[record.form].parts).index(part)
        return record.offset + sum(record.sizes[:position]), record.sizes[position]

    def _count(self, record: _Record, axis: str) -> int:
        return record.counts[self._forms[record.form].axes.index(axis)]

    def _write_parts(
        self,
        writer: FileWriter,
        path: str,
        rows: RowAxis,
        parts: dict[str, _PartOf],
        numbers: Sequence[tuple[int, int]],
    ) -> None:
        name = path.rpartition("/")[2]
        datasets = {
            part: self._write_part(writer, f"{path}/{part}", part, about, numbers)
            for part, about in parts.items()
        }
        # Dimensions come last: none of them may take the name of a part.
        for axis, (starts, counts) in self._spans(rows.size, numbers).items():
            scale = writer.dimension(f"{path}/{name}_{axis}", int(counts.sum()))
            write_spans(writer, path, axis, starts, counts, scale, rows)
            for part, about in parts.items():
                if about.axis == axis:
                    writer.attach(datasets[part], 0, scale)
        for part, about in parts.items():
            for number, size in enumerate(about.inner, 1):
                scale = writer.dimension(f"{path}/{part}_dim{number}", size)
                writer.attach(datasets[part], number, scale)

    def _spans(
        self, size: int, numbers: Sequence[tuple[int, int]]
    ) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Return where the elements of each row begin, and how many there are, by axis."""
        import numpy as np

        spans: dict[str, tuple[Any, Any]] = {}
        ends: dict[str, int] = {}
        for row, number in numbers:
            record = self.records[number]
            for axis, count in zip(self._forms[record.form].axes, record.counts, strict=True):
                if axis not in spans:
                    spans[axis] = np.zeros(size, np.int64), np.zeros(size, np.int64)
                spans[axis][0][row], spans[axis][1][row] = ends.get(axis, 0), count
                ends[axis] = ends.get(axis, 0) + count
        return spans

    def _write_part(
        self,
        writer: FileWriter,
        path: str,
        part: str,
        about: _PartOf,
        numbers: Sequence[tuple[int, int]],
    ) -> h5py.Dataset:
        """Write one part of all values, one after another; zeros where a value lacks it."""
        import h5py
        import numpy as np

        total = sum(self._count(self.records[number], about.axis) for _, number in numbers)
        kept, attrs = h5py.string_dtype(), dict[str, Any](about.attrs)
        if about.dtype != _TEXT:
            kept, _, own_attrs = storage(about.dtype, holes=False)
            attrs = {**own_attrs, **attrs}
        if about.inner:
            dataset = self._with_inner_shape(writer, path, part, about, numbers, kept, total)
            for name, value in attrs.items():
                dataset.attrs[name] = value
        else:
            dataset = writer.observations(path, total, kept, attrs)
        tape = Tape(dataset)
        for _, number in numbers:
            record = self.records[number]
            count = self._count(record, about.axis)
            if not count:
                continue
            own = self._forms[record.form].parts.get(part)
            if own is None:
                tape.add(np.zeros((count, *about.inner), kept))
                continue
            data = self._spill.read(*self._place(record, part))
            if about.dtype == _TEXT:
                texts = np.empty(count, dtype=object)
                texts[:] = json.loads(data)
                tape.add(texts, len(data))
            else:
                block = np.frombuffer(data, own.dtype).reshape(count, *about.inner)
                tape.add(as_kept(block, kept))
        tape.flush()
        return dataset

    def _with_inner_shape(
        self,
        writer: FileWriter,
        path: str,
        part: str,
        about: _PartOf,
        numbers: Sequence[tuple[int, int]],
        kept: np.dtype[Any],
        total: int,
    ) -> h5py.Dataset:
        import numpy as np

        options: dict[str, Any] = {}
        for _, number in numbers:
            record = self.records[number]
            own = self._forms[record.form].parts.get(part)
            if own is not None and self._count(record, own.axis):
                sample = np.frombuffer(self._spill.read(*self._place(record, part)), own.dtype)
                if compresses(sample):
                    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                break
        chunks = array_chunks(max(total, 1), about.inner, kept.itemsize)
        return writer.empty(path, (total, *about.inner), kept, chunks, **options)


def write_forms(
    writer: FileWriter, path: str, rows: RowAxis, used: Sequence[tuple[int, int]], texts: Sequence[str]
) -> dict[str, Any]:
    """Write the forms of some values, and which of them each row has: `used` has (row, number of the form).

    One form that all share needs no datasets: it is returned for the schema.
    """
    import numpy as np

    if len(texts) == 1 and len(texts[0]) <= _LONGEST_FORM:
        return {"form": json.loads(texts[0])}
    forms = np.full(rows.size, -1, np.int64)
    for row, number in used:
        forms[row] = number
    writer.column(f"{path}/form", forms, {}, axis=rows)
    scale = writer.dimension(f"{path}/{path.rpartition('/')[2]}_forms", len(texts))
    writer.texts(f"{path}/forms", enumerate(texts), {"encoding": "json"}, RowAxis(len(texts), scale))
    return {}


def _bytes(values: np.ndarray[Any, Any] | list[str]) -> bytes:
    return dumps(list(values)).encode() if isinstance(values, list) else values.tobytes()


def _common(left: str, right: str) -> str | None:
    """Return a dtype that keeps every number of two exactly; None when there is none."""
    import numpy as np

    if left == right:
        return left
    if _TEXT in (left, right):
        return None
    one, other = np.dtype(left), np.dtype(right)
    if one.kind == other.kind and one.kind in "iufc":
        return max(one, other, key=lambda dtype: dtype.itemsize).newbyteorder("<").str
    if {one.kind, other.kind} == {"i", "u"}:
        both = np.promote_types(one, other)
        return both.newbyteorder("<").str if both.kind == "i" else None
    return None
