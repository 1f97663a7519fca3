"""Notes: comments, units and links that people give a trajectory after its runs, and that every later one has too."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.recording import layout
from expedition.recording.journal import append_line, read_journal

NAMES = ("comment", "unit")
"""What can be said of a node."""


@dataclass
class Notes:
    """What was said of nodes by logical path, and where links lead by name.

    An empty text takes back what was said of a node before.
    """

    about: dict[str, dict[str, str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_sweep(cls, sweep: Path) -> Notes:
        """The notes of a sweep folder, as they stand beside its trajectory."""
        notes = cls()
        for event in read_journal(sweep / layout.NOTES_FILE):
            notes.take(event)
        return notes

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Notes:
        """The notes on groups, and the links, that a trajectory file has in its schema.

        Those on columns stand at the columns. Raises ValueError for what are no notes.
        """
        groups, links = document.get("groups", {}), document.get("links", {})
        if not isinstance(groups, dict) or not isinstance(links, dict):
            raise ValueError("its groups or links are no table")
        notes = cls()
        for path, said in groups.items():
            notes.take({"e": "annotate", "path": path, **said})
        for name, target in links.items():
            notes.take({"e": "link", "name": name, "target": target})
        return notes

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event of a notes file; one that is not as it should be is passed over."""
        kind, name, target = event.get("e"), event.get("name"), event.get("target")
        if kind == "annotate" and isinstance(path := event.get("path"), str):
            said = {key: event[key] for key in NAMES if is_plain_text(event.get(key))}
            self.about.setdefault(path, {}).update(said)
        elif kind == "link" and isinstance(name, str) and isinstance(target, str):
            self.links[name] = target
        elif kind == "unlink" and isinstance(name, str):
            self.links.pop(name, None)

    def update(self, other: Notes) -> None:
        """Let the words of `other` count where both say something; links are those of `other`."""
        for path, said in other.about.items():
            self.about.setdefault(path, {}).update(said)
        self.links = dict(other.links)

    def label(self, schema: MutableMapping[str, dict[str, Any]]) -> None:
        """Put what is said of columns into their entries of a schema."""
        for path, said in self.about.items():
            if path in schema:
                entry = dict(schema[path])
                for name, text in said.items():
                    if text:
                        entry[name] = text
                    else:
                        entry.pop(name, None)
                schema[path] = entry

    def members(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What the document of a file with this schema says of groups and links; nothing where there is none."""
        groups = {
            path: {name: text for name, text in said.items() if text}
            for path, said in sorted(self.about.items())
            if path not in schema
        }
        groups = {path: said for path, said in groups.items() if said}
        found: dict[str, Any] = {}
        if groups:
            found["groups"] = groups
        if self.links:
            found["links"] = dict(sorted(self.links.items()))
        return found


def is_plain_text(text: object) -> bool:
    """Whether `text` is what an attribute of a file can hold: UTF-8 without NUL."""
    if not isinstance(text, str) or "\0" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def add_note(sweep: Path, event: Mapping[str, Any]) -> None:
    """Append one event to the notes of a sweep folder. Raises `OSError`."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    append_line(sweep / layout.NOTES_FILE, json.dumps({"at": moment, **event}, separators=(",", ":")))
