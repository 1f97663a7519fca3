"""The last word on every run of a sweep: its commit line, or what can be recovered of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from expedition.archive.liveness import derive_status
from expedition.archive.replay import replay
from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.errors import DamagedError
from expedition.recording import layout, outcomes
from expedition.recording.journal import parse_line
from expedition.recording.meta import error_line

_COMMIT_MEMBERS = {"index", "attempt", "key", "status", "start", "stop", "worker", "seed", "error", "data"}
_HEAD = re.compile(rb'\{"index":(\d+),"attempt":(\d+),')


def latest_commits(sweep: SweepFolder) -> Iterator[dict[str, Any]]:
    """Yield one line per run that was ever started: the commit of its highest attempt, in no order.

    A run whose last attempt has no commit line (its process died between the two, or is still at it) is
    recovered from its folder: with its end record, or as ``crashed`` or ``running`` with all that its journal
    holds. Lines are streamed; only the numbers of attempts are kept.
    """
    last: dict[int, int] = {}
    logs = _logs(sweep)
    repeated = False
    for path in logs:
        with open(path, "rb") as stream:
            for line in stream:
                head = _HEAD.match(line)
                if head:
                    index, attempt = int(head[1]), int(head[2])
                    repeated = repeated or index in last
                    last[index] = max(attempt, last.get(index, -1))
    # Most sweeps have neither repeats nor torn lines, and then one pass with no bookkeeping is enough.
    given: set[int] = set()
    total = len(sweep.entries)
    for path in logs:
        with open(path, "rb") as stream:
            for line in stream:
                parsed = parse_line(line)
                if parsed is None:
                    continue
                index = parsed.get("index", -1)
                if (
                    type(index) is not int
                    or index in given
                    or not 0 <= index < total
                    or parsed.get("attempt") != last.get(index)
                ):
                    continue
                if not parsed.keys() >= _COMMIT_MEMBERS:
                    continue
                given.add(index)
                if parsed.get("status") not in outcomes.SETTLED:
                    # Only such a run is tried again, and the later attempt may have died without a line.
                    parsed = _later_attempt(sweep, parsed) or parsed
                yield parsed
    yield from _recovered(sweep, given, last)


def _logs(sweep: SweepFolder) -> list[str]:
    folder = sweep.path / layout.JOURNALS_FOLDER
    if not folder.is_dir():
        return []
    return sorted(entry.path for entry in os.scandir(folder) if entry.name.endswith(".jsonl"))


def _recovered(sweep: SweepFolder, given: set[int], last: dict[int, int]) -> Iterator[dict[str, Any]]:
    started: set[str] | None = None
    for entry in sweep.entries:
        if entry.index in given:
            continue
        if started is None:
            started = sweep.started_folders()
        if entry.folder in started:
            line = recover(sweep, entry)
            if line is not None:
                yield line


def _later_attempt(sweep: SweepFolder, line: dict[str, Any]) -> dict[str, Any] | None:
    return recover(sweep, sweep.entries[line["index"]], above=line["attempt"])


def recover(sweep: SweepFolder, entry: RunEntry, *, above: int = -1) -> dict[str, Any] | None:
    """Return the commit line that a run folder stands for.

    None when the run has not begun there, or no attempt with a number `above` that given.
    """
    from expedition.archive.record import load_meta

    folder = sweep.path / entry.folder
    try:
        meta = load_meta(folder)
    except (DamagedError, FileNotFoundError):
        return None
    if meta["attempt"] <= above:
        return None
    status = derive_status(meta, folder, sweep.path)
    found = replay(folder)
    error = meta["outcome"]["error"]
    stop = meta["stop"]
    line: dict[str, Any] = {
        "index": entry.index,
        "attempt": meta["attempt"],
        "key": entry.key,
        "status": status,
        "expected_failure": bool(meta["outcome"].get("expected_failure")),
        "start": microseconds(meta["start"]),
        "stop": microseconds(stop) if stop else None,
        "worker": meta["process"].get("worker", ""),
        "seed": meta["seed"],
        "error": error_line(error),
        "data": found.data,
        "series": found.series,
        "derived": found.derived,
        "annotations": found.annotations,
    }
    if status == outcomes.CRASHED and line["error"] is None:
        line["error"] = "the process of the run died without an end record"
    return line


def microseconds(text: str) -> int:
    """µs since the epoch of an ISO 8601 time in UTC."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
