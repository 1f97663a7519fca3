"""The columns of several trajectories over the runs that are merged: as they are, or cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import pick_rows
from expedition.trajectory.merging.plan import Part
from expedition.values import dumps, encode, loads
from expedition.values.columns import MISSING, ColumnData, State, build_column, cell, restore

if TYPE_CHECKING:
    import numpy as np

_TYPED = frozenset({"bool", "int", "float", "text", "datetime", "timedelta", "complex"})
_DECIDING = ("dtype_orig", "timezone")
"""Attributes of a dataset that the type of its values depends on."""
_TEXTS = 256
"""Cells of JSON that are read at once: each may be some MiB."""


class Piece:
    """A column of one input, of the runs that it gives."""

    def __init__(self, part: Part, path: str, entry: dict[str, Any]) -> None:
        self.part = part
        self.path = path
        self.entry = entry
        self._texts: tuple[int, list[str]] = 0, []

    @property
    def kind(self) -> str:
        """The kind of the column."""
        return str(self.entry["kind"])

    @property
    def encoding(self) -> str | None:
        """The encoding of the column."""
        return self.entry.get("encoding")

    @property
    def is_typed(self) -> bool:
        """Whether the cells are in one dataset of a typed or text column."""
        return self.kind in _TYPED and self.encoding is None

    @property
    def is_json(self) -> bool:
        """Whether the cells are in one dataset of JSON text."""
        return self.kind == "json" and self.encoding in ("json", "reference")

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of the dataset."""
        return self.part.store.node_attrs(self.entry["at"])

    @property
    def signature(self) -> tuple[Any, ...]:
        """What typed pieces must have in common to be joined as they are."""
        dtype = self.part.store.dataset(self.entry["at"]).dtype.str
        return (self.kind, dtype, *(str(self.attrs.get(name, "")) for name in _DECIDING))

    @cached_property
    def states(self) -> np.ndarray[Any, Any]:
        """States of the cells, uint8 (k,)."""
        import numpy as np

        store, path = self.part.store, f"{fmt.STATE}/{self.entry['at']}"
        if not store.has(path):
            return np.full(len(self.part.rows), State.VALUE, np.uint8)
        store.column(path)
        return pick_rows(partial(store.read, path), self.part.rows)  # type: ignore[no-any-return]

    @cached_property
    def raw(self) -> Any:
        """The cells of a typed piece as the file has them: a numpy array, or a list of texts."""
        store, path = self.part.store, self.entry["at"]
        store.column(path)
        return pick_rows(
            partial(store.read_text if self.kind == "text" else store.read, path), self.part.rows
        )

    def text(self, position: int) -> str:
        """Return the JSON text of one cell, ``""`` for a missing one; positions that rise are read in blocks."""
        start, texts = self._texts
        if not start <= position < start + len(texts):
            store, path = self.part.store, self.entry["at"]
            store.column(path)
            start, rows = position, self.part.rows[position : position + _TEXTS]
            self._texts = start, texts = start, pick_rows(partial(store.read_text, path), rows)
        return texts[position - start]

    def cell(self, position: int) -> Any:
        """Return the tagged cell of one run of a typed piece; it is not missing."""
        return encode(cell(self.kind, self.attrs, self.raw[position], int(self.states[position])))

    def cells(self) -> Iterator[Any]:
        """Yield the tagged cells of a typed or JSON piece, `MISSING` where there is none."""
        if self.kind == "json":
            for position in range(len(self.part.rows)):
                text = self.text(position)
                yield loads(text) if text else MISSING
            return
        for value in restore(self.kind, self.attrs, self.raw, self.states):
            yield MISSING if value is MISSING else encode(value)


def pieces_of(parts: Sequence[Part], branch: str, *, empty: bool = False) -> dict[str, list[Piece]]:
    """Return the columns of a branch by logical path, those of the first input first.

    Inputs that give no rows count only with `empty`.
    """
    found: dict[str, list[Piece]] = {}
    for part in parts:
        if not empty and not len(part.rows):
            continue
        for path, entry in part.store.schema.items():
            if path.startswith(f"{branch}/"):
                found.setdefault(path, []).append(Piece(part, path, entry))
    return found


def join_typed(pieces: Sequence[Piece], n_runs: int) -> ColumnData | None:
    """Return the column of typed pieces without a look at every cell; None when they do not share a type.

    What `build_column` makes of one cell of each state, it makes of all: type and attributes depend on
    nothing else.
    """
    import numpy as np

    if not all(piece.is_typed for piece in pieces) or len({piece.signature for piece in pieces}) != 1:
        return None
    states = np.full(n_runs, State.MISSING, np.uint8)
    for piece in pieces:
        states[piece.part.targets] = piece.states
    sample: list[Any] = []
    for state in np.unique(states).tolist():
        if state == State.MISSING:
            sample.append(MISSING)
            continue
        piece = next(each for each in pieces if (each.states == state).any())
        sample.append(piece.cell(int(np.flatnonzero(piece.states == state)[0])))
    column = build_column(sample)
    if column.kind != pieces[0].kind:
        return None
    values: Any
    if isinstance(column.values, list):
        values = [""] * n_runs
        for piece in pieces:
            for target, text in zip(piece.part.targets.tolist(), piece.raw, strict=True):
                values[target] = text
    else:
        if any(piece.raw.dtype != column.values.dtype for piece in pieces):
            return None
        values = np.full(n_runs, column.fill, column.values.dtype)
        for piece in pieces:
            values[piece.part.targets] = piece.raw
    plain = bool((states == State.VALUE).all())
    return ColumnData(
        column.kind, values, column.fill, None if plain else states, column.python_type, column.attrs
    )


def are_json(pieces: Sequence[Piece]) -> bool:
    """Tell whether a column is JSON: one of its cells fits no typed column, whatever the others are."""
    if not all(piece.is_typed or piece.is_json for piece in pieces):
        return False
    return any(_is_untyped(piece) for piece in pieces if piece.is_json)


def _is_untyped(piece: Piece) -> bool:
    for position in range(len(piece.part.rows)):
        text = piece.text(position)
        if text.startswith("[") or (text.startswith("{") and build_column([loads(text)]).kind == "json"):
            return True
    return False


def json_texts(pieces: Sequence[Piece], n_runs: int) -> Iterator[tuple[int, str]]:
    """Yield (target, JSON text) of all cells in the order of their rows; that of JSON columns as it stands there."""
    import numpy as np

    which = np.full(n_runs, -1, np.int64)
    position = np.zeros(n_runs, np.int64)
    typed: dict[int, list[Any]] = {}
    for number, piece in enumerate(pieces):
        which[piece.part.targets] = number
        position[piece.part.targets] = np.arange(len(piece.part.rows))
        if piece.is_typed:
            typed[number] = list(piece.cells())
    rows = np.flatnonzero(which >= 0)
    for row, number, place in zip(rows.tolist(), which[rows].tolist(), position[rows].tolist(), strict=True):
        if number in typed:
            cell = typed[number][place]
            text = "" if cell is MISSING else dumps(cell)
        else:
            text = pieces[number].text(place)
        if text:
            yield row, text
