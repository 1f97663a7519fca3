"""Writes the commit lines again that the logs of a sweep lost; their runs are read from their folders."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.archive.commits import Reading, latest_commits
from expedition.archive.edit_lines import OPTIONAL, follow
from expedition.archive.edits import finish_edit
from expedition.archive.meta_file import load_meta
from expedition.archive.replay import is_entry
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError
from expedition.recording import layout, outcomes
from expedition.recording.journal import Journal, read_journal
from expedition.values import dumps

_DERIVED = frozenset({outcomes.RUNNING, outcomes.CRASHED, outcomes.UNKNOWN})
"""Statuses of runs without an end record: these have no line, since no process gave them one."""


@dataclass
class Restored:
    """What was found of a sweep: runs that began, lines missing and written again, and messages on what is lost."""

    runs: int = 0
    missing: int = 0
    lines: int = 0
    losses: list[str] = field(default_factory=list)


def restore_lines(sweep: SweepFolder, *, write: bool = True) -> Restored:
    """Give every run of a sweep that has ended, and has no commit line, a line in a log of its own.

    An edit that was killed halfway is finished, or taken back where it had not begun. Else nothing that is there is
    changed or removed. With `write=False` missing lines are only counted.
    Raises `OSError`.
    """
    if write:
        for started in sweep.started_folders():
            finish_edit(sweep.path / started)
    reading, found = Reading(), Restored()
    lines: list[dict[str, Any]] = []
    known: set[int] = set()
    for line in latest_commits(sweep, reading):
        known.add(line["index"])
        folder = sweep.path / sweep.entries[line["index"]].folder
        found.losses.extend(_lost_observations(folder, line.get("series", {})))
        if line["index"] in reading.recovered and line["status"] not in _DERIVED:
            line = {name: part for name, part in line.items() if part or name not in OPTIONAL}
            lines.append(follow(line, reading.edited.get(line["index"])))
    found.runs, found.missing = len(known), len(lines)
    found.losses.extend(_lost_runs(sweep, reading, known))
    if reading.strays:
        found.losses.append("the commit logs name runs that are not in the design any more")
    if lines and write:
        folder = sweep.path / layout.JOURNALS_FOLDER
        folder.mkdir(exist_ok=True)
        log = Journal(folder / f"repair-{os.getpid()}-{secrets.token_hex(3)}.jsonl", exclusive=True)
        try:
            for line in sorted(lines, key=lambda line: int(line["index"])):
                log.write(dumps(line))
        finally:
            log.close(durable=True)
        found.lines = len(lines)
    return found


def _lost_observations(folder: Path, series: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say of which series of a run the journal has fewer entries than were tracked."""
    if not series:
        return []
    counts = dict.fromkeys(series, 0)
    for event in read_journal(folder / layout.JOURNAL_FILE):
        if is_entry(event) and event["n"] in counts:
            counts[event["n"]] += 1
    return [
        f"{folder.name}: {about['n'] - counts[name]:,} of {about['n']:,} entries of the series {name} are lost"
        for name, about in series.items()
        if counts[name] < about.get("n", 0)
    ]


def _lost_runs(sweep: SweepFolder, reading: Reading, known: set[int]) -> list[str]:
    """Say which runs began, and neither a commit line nor their folder tells how they went."""
    losses = []
    started = sweep.started_folders()
    for entry in sweep.entries:
        folder = sweep.path / entry.folder
        if entry.index in known:
            continue
        if entry.folder not in started:
            if entry.index in reading.recovered and entry.index not in reading.deleted:
                losses.append(f"{entry.folder}: its commit line is damaged, and the folder is gone")
            continue
        try:
            load_meta(folder)
        except FileNotFoundError:
            if any((folder / name).exists() for name in (layout.JOURNAL_FILE, layout.DATA_FILE)):
                losses.append(f"{entry.folder}: its {layout.META_FILE} is gone")
        except DamagedError as error:
            losses.append(str(error))
    return losses
