"""Comments and units that runs gave to columns: what they agree on, and what each said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from expedition.trajectory.file import format as fmt
from expedition.trajectory.writing.gather import Gathered
from expedition.trajectory.writing.heading import Schema, label, resolve_note
from expedition.trajectory.writing.writer import FileWriter


@dataclass(frozen=True)
class Said:
    """What runs said about a column by way of a comment or unit.

    `text` is None when they did not say the same; `first` and `last` are the first and last row that said something.
    """

    text: str | None
    first: int
    last: int


def note(annotations: Mapping[str, Mapping[int, Mapping[str, str]]]) -> dict[str, dict[str, Said]]:
    """Return what runs said about columns: by name of the column, then ``comment`` or ``unit``."""
    found: dict[str, dict[str, Said]] = {}
    for key, notes in annotations.items():
        for name in ("comment", "unit"):
            texts = {row: said[name] for row, said in notes.items() if said.get(name)}
            if texts:
                agreed = texts[min(texts)] if len(set(texts.values())) == 1 else None
                found.setdefault(key, {})[name] = Said(agreed, min(texts), max(texts))
    return found


def annotate(writer: FileWriter, schema: Schema, table: Gathered) -> None:
    """Put comments and units into the schema, on the columns and into ``/annotations``.

    Runs usually agree; where they do not, the last run has its way for the column, and ``/annotations``
    has the text of every run.
    """
    for key, kinds in note(table.annotations).items():
        path = resolve_note(schema, key)
        if path is None:
            continue
        for name, said in kinds.items():
            notes = table.annotations[key]
            schema[path][name] = notes[said.last][name]
            if said.text is None:
                at = f"{fmt.ANNOTATIONS}/{schema[path]['at']}/{name}"
                texts = {row: clean_note(about.get(name)) for row, about in notes.items()}
                writer.text(at, [texts.get(row, "") for row in range(writer.n_runs)], {})
    label(writer.file, schema.values())


def clean_note(text: str | None) -> str:
    """Return what a column of text can hold of a comment."""
    return (text or "").replace("\0", "�")
