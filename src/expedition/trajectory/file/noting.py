"""Writes notes into a trajectory file: that of a sweep under construction, or a copy of one that stands alone."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.errors import NoteError
from expedition.recording import layout
from expedition.recording.journal import read_journal
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.notes import Notes
from expedition.trajectory.file.output import open_output
from expedition.trajectory.file.publish import (
    TRIES,
    OvertakenError,
    replacing,
    reserve_checksum,
    seal,
    stamp_of,
)
from expedition.values import dumps, loads

if TYPE_CHECKING:
    import h5py

    from expedition.trajectory.file.store import Store


def rewrite_notes(path: Path, events: Iterable[Mapping[str, Any]]) -> None:
    """Take notes into the trajectory file `path`, which no sweep writes: a copy that has them takes its place.

    Raises `OSError`, and `NoteError` when others put files into its place all the time.
    """
    said = list(events)
    for _ in range(TRIES):
        with contextlib.suppress(OvertakenError), replacing(path, only=stamp_of(path)) as temporary:
            shutil.copyfile(path, temporary)
            shutil.copymode(path, temporary)
            take_notes(temporary, said)
            return
    raise NoteError(f"{path} is replaced all the time by others who take notes: try it again later")


def take_notes(path: Path, events: Iterable[Mapping[str, Any]]) -> None:
    """Write notes into a trajectory file that nobody else has open."""
    import h5py

    with open_output(path, "r+") as file:
        document = loads(file[fmt.SCHEMA].asstr()[()])
        notes = Notes.of_document(document)
        for event in events:
            notes.take(event)
        schema: dict[str, dict[str, Any]] = document["columns"]
        kept = {name: member for name, member in document.items() if name not in ("groups", "links")}
        members = apply_notes(file, schema, notes)
        del file[fmt.SCHEMA]
        file.create_dataset(fmt.SCHEMA, data=dumps({**kept, **members}), dtype=h5py.string_dtype())
        place = reserve_checksum(file) if fmt.CHECKSUM in file else None
    if place is not None:
        seal(path, place)


def take_sweep_notes(store: Store, copy: Path) -> None:
    """Write into a copy of a sweep's trajectory what stands beside it, and would stay behind."""
    if store.is_of_sweep and (store.root / layout.NOTES_FILE).is_file():
        take_notes(copy, read_journal(store.root / layout.NOTES_FILE))


def apply_notes(file: h5py.File, schema: dict[str, dict[str, Any]], notes: Notes) -> dict[str, Any]:
    """Put notes into the schema of a file, on the nodes and into ``/annotations``.

    Returns the members that the document of the schema gets for groups and links.
    """
    notes.label(schema)
    groups = _groups(schema) if notes.about.keys() - schema.keys() else {}
    for path, said in notes.about.items():
        if path not in schema:
            if path in groups:  # one without columns has none
                _label(file, groups[path], said)
        elif schema[path].get("encoding") != "tail":
            _label(file, str(schema[path]["at"]), said)
    return notes.members(schema)


def _label(file: h5py.File, at: str, said: Mapping[str, str]) -> None:
    for name, text in said.items():
        for place in (at, f"{fmt.ANNOTATIONS}/{at}"):
            if text:
                node = file[place] if place in file else file.create_group(place)
                node.attrs[name] = text
            elif place in file and name in file[place].attrs:
                del file[place].attrs[name]


def _groups(schema: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The HDF5 path of every logical group: that of its first column, cut to the same depth."""
    places: dict[str, str] = {}
    for path, entry in schema.items():
        if entry.get("encoding") == "tail":
            continue
        parts, at = path.split("/"), str(entry["at"]).split("/")
        for depth in range(1, len(parts)):
            places.setdefault("/".join(parts[:depth]), "/".join(at[:depth]))
    return places
