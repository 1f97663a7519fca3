"""Brings what earlier versions wrote into the form of now, in place; ``--archive-repair`` calls it.

A migration knows a run folder, or a sweep folder, that is in an older form by what is in it. It writes whole files
under a temporary name and renames them, so that a kill leaves the old form or the new one. What a reader can do
with an older form without it is said in `expedition.archive.versions`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from expedition.archive.meta_file import check_meta, parse_json
from expedition.archive.run_folders import run_folders
from expedition.archive.versions import is_old, of_version
from expedition.errors import DamagedError
from expedition.recording import layout
from expedition.recording.files import dump_pretty, replace_file
from expedition.recording.journal import read_journal
from expedition.recording.plain_files import read_plain


class Migration(NamedTuple):
    """A change of form.

    Attributes
    ----------
    what : what is done, for the report. plan : returns the file of a folder that has to be written, with its new
    content; None when the folder is not in that older form.
    """

    what: str
    plan: Callable[[Path], tuple[Path, dict[str, Any]] | None]


@dataclass
class Migrated:
    """How many folders each migration changed (by what it did), and what could not be done."""

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def start_of(folder: Path) -> dict[str, Any] | None:
    """Return the content of the meta file that the first line of a run's journal has, None without one.

    For a short time before the first release a run got its meta file at its end only. Of one that had none, the
    first line of the journal says what it is.
    """
    for event in read_journal(folder / layout.JOURNAL_FILE):
        meta = event.get("meta") if event.get("e") == "start" else None
        return meta if isinstance(meta, dict) else None
    return None


def _meta_from_journal(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    file = folder / layout.META_FILE
    if file.exists():
        return None
    meta = start_of(folder)
    if meta is None:
        return None
    check_meta(dict(meta), folder / layout.JOURNAL_FILE)
    return file, meta


def _first_release(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    name = layout.SWEEP_FILE if (folder / layout.SWEEP_FILE).is_file() else layout.META_FILE
    return _renewed(folder / name)


def _of_single_run(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    if not (folder / layout.SWEEP_FILE).is_file():
        return None
    return _renewed(folder / layout.META_FILE)


def _renewed(file: Path) -> tuple[Path, dict[str, Any]] | None:
    """The content of an old meta file or manifest as a file of now has it."""
    try:
        content = parse_json(read_plain(file), file)
    except FileNotFoundError:
        return None
    if not is_old(content):
        return None
    content = {**of_version(content), "format_version": layout.FORMAT_VERSION}
    if content.get("format") == layout.RUN_FORMAT:
        check_meta(dict(content), file)
    return file, content


_RENEWED = f"written as version {layout.FORMAT_VERSION}"

MIGRATIONS = (
    Migration(f"{layout.META_FILE} made from the journal", _meta_from_journal),
    Migration(_RENEWED, _first_release),
    Migration(_RENEWED, _of_single_run),
)
"""All changes of form, oldest first."""


def migrate_sweep(sweep: Path, *, write: bool = True) -> Migrated:
    """Bring a sweep folder, with all runs, attempts and children in it, into the form of now.

    With `write=False` it is only found out what would be done. What cannot be done is told, not raised.
    """
    found = Migrated()
    for folder in _folders(sweep):
        for migration in MIGRATIONS:
            try:
                planned = migration.plan(folder)
                if planned is None:
                    continue
                if write:
                    replace_file(planned[0], dump_pretty(planned[1]), durable=True)
            except (DamagedError, OSError) as problem:
                found.problems.append(str(problem))
                continue
            found.counts[migration.what] = found.counts.get(migration.what, 0) + 1
    return found


def _folders(sweep: Path) -> Iterator[Path]:
    """The sweep folder and all folders that are, or may be, those of runs: the parts before what they are part of."""
    waiting = [sweep]
    found: list[Path] = []
    while waiting:
        folder = waiting.pop()
        found.append(folder)
        for part in (layout.ATTEMPTS_FOLDER, layout.CHILDREN_FOLDER):
            waiting += [inner for inner in _subfolders(folder / part) if inner.name[0].isdigit()]
        if folder == sweep:
            waiting += [sweep / run for run in run_folders(sweep) if run != "."]
            waiting += [sweep / layout.SUMMARY_FOLDER] if (sweep / layout.SUMMARY_FOLDER).is_dir() else []
    yield from reversed(found)


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as listing:
            return sorted(Path(entry.path) for entry in listing if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
