"""Extends what runs said about columns: comments and units, in the schema and below ``/annotations``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.growing.growth import UnfitError
from expedition.trajectory.growing.splice import write_rows
from expedition.trajectory.writing.annotations import Said, clean_note, note
from expedition.trajectory.writing.gather import Gathered
from expedition.trajectory.writing.heading import Schema, resolve_note
from expedition.trajectory.writing.writer import FileWriter

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Notes = dict[str, dict[str, Said]]


class NotesGrower:
    """Extends the annotations in the file of `writer` by the ascending `rows`, of which some are `replaced`."""

    def __init__(self, writer: FileWriter, rows: Array, replaced: Array, table: Gathered) -> None:
        self._writer = writer
        self._rows = rows
        self._replaced = replaced
        self._said = table.annotations

    def grow(self, notes: Notes, before: Schema, schema: Schema) -> set[str]:
        """Bring `notes` and the entries of `schema` up to date; return the columns with another comment or unit.

        `before` is the schema of the last file. Raises `UnfitError` where it matters what single rows said of
        which only the sum is known.
        """
        new = note(self._said)
        changed: set[str] = set()
        for key in dict.fromkeys([*notes, *new]):
            path = resolve_note(schema, key)
            if key in notes and path != resolve_note(before, key):
                raise UnfitError(f"what runs said of {key} means another column now")
            for name in ("comment", "unit"):
                old, added = notes.get(key, {}).get(name), new.get(key, {}).get(name)
                if old is None and added is None:
                    continue
                said = self._join(key, name, old, added)
                notes.setdefault(key, {})[name] = said
                if path is None:
                    continue
                if said.text is None:
                    self._grow_texts(f"{fmt.ANNOTATIONS}/{schema[path]['at']}/{name}", key, name)
                if added is not None and said.last == added.last:
                    text = self._said[key][said.last][name]
                    if schema[path].get(name) != text:
                        schema[path][name] = text
                        changed.add(path)
        return changed

    def _join(self, key: str, name: str, old: Said | None, added: Said | None) -> Said:
        """Return what all rows say, from what the rows said before and what the new rows say."""
        if old is None:
            assert added is not None
            return added
        witness_lost = old.first in self._replaced
        if added is None:
            if old.text is not None and witness_lost:
                raise UnfitError(f"it is uncertain whether a run still says something of {key}")
            return old
        if old.text != added.text and old.text is not None:
            raise UnfitError(f"runs do not agree any more on what {key} is")
        first = added.first if witness_lost else min(old.first, added.first)
        return Said(old.text, first, max(old.last, added.last))

    def _grow_texts(self, at: str, key: str, name: str) -> None:
        """Write the texts of the new rows where runs say different things."""
        import numpy as np

        notes = self._said.get(key, {})
        texts = [clean_note(notes.get(row, {}).get(name)) for row in self._rows.tolist()]
        if at not in self._writer.file:
            merged = [""] * self._writer.n_runs
            for row, text in zip(self._rows.tolist(), texts, strict=True):
                merged[row] = text
            self._writer.text(at, merged, {})
            return
        dataset = self._writer.file[at]
        if dataset.fillvalue:
            raise UnfitError(f"what runs say of {key} differs by what text cannot hold")
        for row, text in zip(self._replaced.tolist(), texts, strict=False):
            former = dataset[row].decode("utf-8")
            if former and former != text:
                raise UnfitError(f"run {row} says something else of {key} now")
        dataset.resize(self._writer.n_runs, axis=0)
        needed = np.array([bool(text) for text in texts], bool)
        if needed.any():
            write_rows(dataset, self._rows[needed], np.array(texts, dtype=object)[needed])
