"""Commit lines of runs that were edited, deleted or brought back: they go on where the lines of the run ended."""

from __future__ import annotations

import os
import secrets
from typing import Any, Self

from expedition.archive.commits import Version, last_versions
from expedition.archive.recovery import line_of, look_at
from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.recording import layout, outcomes
from expedition.recording.journal import Journal
from expedition.values import dumps

OPTIONAL = frozenset({"series", "derived", "annotations"})
"""Members of a line that are left out when they are empty."""


def follow(line: dict[str, Any], last: Version | None) -> dict[str, Any]:
    """Return a commit line as one that counts after the `last` one of its run; None where there is none."""
    if last is None or last < (line["attempt"], 0):
        return line
    rest = {name: part for name, part in line.items() if name not in ("index", "attempt", "edit")}
    return {"index": line["index"], "attempt": last[0], "edit": last[1] + 1, **rest}


class EditLog:
    """A commit log of its own for the changes of one sweep, whose lock the caller holds.

    A run is announced before its folder is touched: from then on readers ask the folder, whatever becomes of it.
    """

    def __init__(self, sweep: SweepFolder) -> None:
        self._sweep = sweep
        self._last = last_versions(sweep)
        folder = sweep.path / layout.JOURNALS_FOLDER
        folder.mkdir(exist_ok=True)
        self._journal = Journal(folder / f"edits-{os.getpid()}-{secrets.token_hex(3)}.jsonl")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sync()

    def announce(self, entry: RunEntry, *, deleted: bool = False) -> None:
        """Say that a run is about to be changed, or `deleted`. Raises `OSError`."""
        found = look_at(self._sweep, entry)
        line: dict[str, Any] = {
            "index": entry.index,
            "attempt": found.meta["attempt"] if found else 0,
            "deleted" if deleted else "changing": True,
            "key": entry.key,
            "status": outcomes.PENDING,
            "start": None,
            "stop": None,
            "worker": "",
            "seed": None,
            "error": None,
            "data": {},
        }
        self._write(line, (line["attempt"], 0))

    def tell(self, entry: RunEntry) -> None:
        """Give a run the line that its folder stands for now; a run without an end has none. Raises `OSError`."""
        found = look_at(self._sweep, entry)
        if found is None or found.meta["status"] == outcomes.RUNNING:
            return
        line = line_of(self._sweep, entry, found)
        self._write({name: part for name, part in line.items() if part or name not in OPTIONAL})

    def sync(self) -> None:
        """Have all lines on the disk. Raises `OSError`."""
        self._journal.close(durable=True)

    def _write(self, line: dict[str, Any], least: Version | None = None) -> None:
        last = self._last.get(line["index"], least)
        line = follow(line, max(last, least) if last and least else last)
        self._journal.write(dumps(line))
        self._last[line["index"]] = line["attempt"], line.get("edit", 0)
