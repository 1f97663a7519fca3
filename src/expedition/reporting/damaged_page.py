"""What can be read of a run whose meta file cannot."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expedition.archive.last_lines import LastLines, read_last_lines
from expedition.archive.meta_file import parse_json
from expedition.archive.replay import Recorded, replay
from expedition.archive.rows import RunRow
from expedition.archive.run_files import FolderFiles
from expedition.errors import DamagedError
from expedition.recording import layout
from expedition.recording.store import flatten
from expedition.reporting.durations import format_bytes
from expedition.reporting.formats import dump_json
from expedition.reporting.pages import Facts, Grid, Lines, Page, check_page_format, render_page
from expedition.reporting.plain_text import log_line
from expedition.reporting.run_contents import LOG_BYTES, LOG_LINES
from expedition.values import dumps

__all__ = ["show_damaged"]

_UNREADABLE = (OSError, DamagedError, ValueError, RecursionError)


def show_damaged(row: RunRow, *, format: str = "table", width: int | None = None) -> str:
    """Return what can be read of a run with a damaged meta file: place, problem, stored values, files, end of the log.

    Stored values are those of the data file, else those of the journal; there is no saying whether they are all.

    :param format: ``"table"``, ``"markdown"`` or ``"json"``.
    :raises ExperimentError: for another format.
    """
    check_page_format(format, "a run")
    problems: list[str] = []
    data, series = _recorded(row, problems)
    log = _log(row, problems)
    files = dict(_sizes(row))
    if format == "json":
        content = {
            "experiment": row.experiment,
            "id": row.id,
            "status": row.status,
            "problem": row.problem,
            "sweep": row.sweep,
            "namespace": row.namespace,
            "path": row.folder,
            "folder": str(row.path),
            "size": row.size,
            "data": data,
            "series": series,
            "files": files,
            "log": {"lines": log.lines, "left_out": log.left_out},
            "unreadable": [row.problem, *problems],
        }
        return dump_json(content)
    facts = [("status", row.status), ("run", row.folder), ("folder", str(row.path))]
    parts: list[Facts | Grid | Lines] = [
        Facts("", facts, whole=("run", "folder")),
        Lines("could not be read", [row.problem, *problems]),
        *([Grid("data", ("name", "value"), [[name, dumps(data[name])] for name in data])] if data else []),
    ]
    if series:
        rows = [[name, str(about["n"]), str(about["kind"])] for name, about in series.items()]
        parts.append(Grid("series", ("name", "n", "kind"), rows, right={1}))
    if files:
        rows = [[name, format_bytes(size)] for name, size in files.items()]
        parts.append(Grid("files", ("name", "size"), rows, right={1}))
    if log.lines:
        note = f"{log.left_out} lines before these are in {layout.LOG_FILE}" if log.left_out else ""
        parts.append(
            Lines("log, last lines" if note else "log", [log_line(line) for line in log.lines], note)
        )
    return render_page(Page(f"{row.reference}  {row.status}", parts), format=format, width=width)


def _recorded(row: RunRow, problems: list[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Stored values by slash path, as tagged JSON, and what the journal has of series."""
    source = row.source or FolderFiles(row.path)
    journal = Recorded()
    with contextlib.suppress(*_UNREADABLE):
        journal = replay(source.folder_with(layout.JOURNAL_FILE))
    file = row.path / layout.DATA_FILE
    try:
        return dict(flatten(parse_json(source.read(layout.DATA_FILE), file))), journal.series
    except FileNotFoundError:
        reason = f"{file.name} is missing"
    except _UNREADABLE as error:
        reason = str(error)
    if journal.data:
        problems.append(f"{reason}; stored values are those of the journal")
    return journal.data, journal.series


def _log(row: RunRow, problems: list[str]) -> LastLines:
    source = row.source or FolderFiles(row.path)
    try:
        file = source.folder_with(layout.LOG_FILE) / layout.LOG_FILE
        if not file.is_symlink():  # which no archive holds: it may lead anywhere
            return read_last_lines(file, LOG_LINES, most=LOG_BYTES)
    except FileNotFoundError:
        pass
    except _UNREADABLE as error:
        problems.append(str(error))
    return LastLines([], 0)


def _sizes(row: RunRow) -> Iterator[tuple[str, int]]:
    """Names of the files of a run, with slashes, and their bytes; of a run in a zip those that every run may have."""
    if row.source is not None:
        for name in (layout.META_FILE, layout.DATA_FILE, layout.JOURNAL_FILE, layout.LOG_FILE):
            size = row.source.size(name)
            if size is not None:
                yield name, size
        return
    owned = layout.SWEEP_OWNED if row.path == row.sweep_path else ()
    for folder, inner, names in os.walk(row.path):
        below = Path(folder).relative_to(row.path)
        inner[:] = sorted(name for name in inner if below != Path() or name not in owned)
        for name in sorted(names):
            if below == Path() and name in owned:
                continue
            with contextlib.suppress(OSError):
                yield (below / name).as_posix(), os.lstat(os.path.join(folder, name)).st_size
