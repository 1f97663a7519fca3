"""Finds a run by what people call it: its folder, its key, its id."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from expedition.archive.record import RunRecord
from expedition.archive.rows import RunRow
from expedition.errors import AmbiguousRunError, RecordNotFoundError, near_matches
from expedition.recording import layout

MIN_KEY = 6
"""Digits of a run key that name it at least."""

_SHOWN = 8
_LONGEST = 200
_LATEST = 1_000  # runs whose names are compared with a wrong one


@dataclass(frozen=True)
class Found:
    """What a name means.

    Attributes
    ----------
    what : the path of a run folder, the row of a run, or the record of a summary; of a run nothing is read yet, which
        damage would prevent.
    number : how many runs go by the name, of which this is the newest; 0 for a path.
    """

    what: Path | RunRow | RunRecord
    number: int = 0

    def record(self) -> RunRecord:
        """Return the run, or summary. Raises `DamagedError` when it cannot be read."""
        if isinstance(self.what, Path):
            return RunRecord(self.what)
        return self.what.record() if isinstance(self.what, RunRow) else self.what


def find_named(
    which: str | Path, root: Path, rows: Iterable[RunRow], summaries: Iterable[RunRecord]
) -> Found:
    """Return the run, or summary, of the archive `root` that `which` means, as `Archive.run` says."""
    for candidate in (Path(which), root / which):
        if _holds_run(candidate):
            return Found(candidate)
    text = str(which)
    spellings = _spellings(text)
    found: list[RunRow] = []
    latest: deque[RunRow] = deque(maxlen=_LATEST)
    for row in rows:
        latest.append(row)
        if any(is_called(row, spelling) for spelling in spellings):
            found.append(row)
    if not found:
        names = {name for row in latest for name in names_of(row)}
        for summary in summaries:
            name = f"{summary.sweep}/{summary.path.name}"
            names.add(name)
            if name in spellings:
                return Found(summary)
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        raise RecordNotFoundError(
            f"no run {text!r} in {root}{near_matches(text, names)}; "
            f"name its folder, its key or its id (pytest --archive-list shows them)"
        )
    found = _first(found)
    if len({(row.namespace, row.id) for row in found}) > 1:
        raise AmbiguousRunError(f"{text!r} means several runs of {root}: {_listed(found)}; name one of these")
    return Found(max(found, key=lambda row: row.start), len(found))


def refuse_several(which: str | Path, root: Path, rows: Iterable[RunRow]) -> None:
    """Raise `AmbiguousRunError` when several runs go by a name, also if they are the same run of several sweeps.

    The path of a run folder is one run.
    """
    if any(_holds_run(candidate) for candidate in (Path(which), root / which)):
        return
    spellings = _spellings(str(which))
    found = _first([row for row in rows if any(is_called(row, spelling) for spelling in spellings)])
    if len(found) > 1:
        raise AmbiguousRunError(
            f"{str(which)!r} means {len(found):,} runs of {root}: {_listed(found)}; name one of these"
        )


def _spellings(text: str) -> list[str]:
    # A folder may be written with slashes of any kind; in an id they are part of a value.
    return list(dict.fromkeys((text, text.replace("\\", "/").strip("/"))))


def _first(rows: list[RunRow]) -> list[RunRow]:
    """Those of testing mode only where there are no others: lists leave them out, too."""
    return [row for row in rows if not row.testing] or rows


def _holds_run(folder: Path) -> bool:
    try:
        return (folder / layout.META_FILE).is_file()
    except OSError:  # a name that is too long for any file
        return False


def is_called(row: RunRow, text: str) -> bool:
    """Tell whether `text` means the run: one of its names, or digits of its key."""
    if text == row.id or (len(text) >= MIN_KEY and row.key.startswith(text)):
        return True
    # The name of its folder ends the longer ones, which cost more to make.
    if text.endswith((row.name, "]")):
        return text in names_of(row)
    return text == row.reference


def names_of(row: RunRow) -> Iterator[str]:
    """Yield what a run may be called, its key excepted; ``sweep/run folder`` first, which no other run is called."""
    if row.sweep_path is not None and row.place:
        yield f"{row.sweep}/{os.fspath(row.place).replace(os.sep, '/')}"
    else:
        yield row.name
    yield row.reference
    yield row.folder
    yield row.name
    yield row.id
    yield f"{row.experiment}[{row.id}]"


def _listed(rows: Iterable[RunRow]) -> str:
    names = sorted({f"{row.experiment}: {next(names_of(row))}" for row in rows})
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
