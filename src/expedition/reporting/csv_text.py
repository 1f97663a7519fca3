"""Tables as CSV, for spreadsheets and programs."""

from __future__ import annotations

import csv
import enum
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from expedition.reporting.cells import (
    NONE,
    Bytes,
    Distinct,
    Done,
    Rate,
    Seconds,
    Share,
    Stored,
    Told,
    When,
    WithN,
    format_cell,
    is_bool,
    is_number,
    iso_text,
    json_cell,
    plain_number,
)
from expedition.trajectory.statistics import Interval

PART = 1 << 20
"""Characters of text for programs that are made at a time."""


def csv_parts(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield RFC 4180 text with a header, some rows at a time; lines end in LF, but for the last one."""
    text = _Lines()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(map(_harmless, columns))
    before = ""
    for row in rows:
        cells = [_csv_cell(row.get(name), name) for name in columns]
        # A line of one empty cell would be an empty line, which readers pass over
        writer.writerow(cells) if cells != [""] else text.write('""\r\n')
        if text.tell() > PART:
            yield before + text.taken().removesuffix("\n")
            before = "\n"
    if rest := text.taken():
        yield before + rest.removesuffix("\n")


class _Lines(io.StringIO):
    """Takes whole lines and ends them in LF, which all programs take; the writer is to quote each CR in a cell."""

    def write(self, line: str, /) -> int:
        return super().write(f"{line[:-2]}\n")

    def taken(self) -> str:
        """Return what was written since the last time."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def _csv_cell(value: Any, name: str) -> str:
    match value:
        case None:
            return ""
        case str():
            return _harmless(value)
        case Stored(tagged):
            return _csv_stored(tagged)
        case Seconds(value) | Bytes(value) | Told(value):
            return _csv_cell(value, name)
        case When(value):
            return iso_text(value)
        case Interval() | WithN() | Share() | Done() | Rate() | Distinct():
            text = format_cell(value)
            return "" if text == NONE else text
        case date():
            return value.isoformat()
    if is_bool(value):
        return str(bool(value))
    if is_number(value):
        return repr(value.item() if hasattr(value, "item") else value)
    if isinstance(value, enum.Enum):
        return _harmless(value.name)
    return _csv_stored(json_cell(value, name))


_SPOKEN = frozenset({"datetime", "date", "time", "decimal", "int", "path", "fraction", "float", "np"})


def _csv_stored(tagged: Any) -> str:
    tagged = plain_number(tagged)
    if tagged is None or isinstance(tagged, str):
        return _harmless(tagged or "")
    if isinstance(tagged, bool | int | float):
        return repr(tagged)
    kind = tagged.get("$") if isinstance(tagged, dict) else None
    if isinstance(kind, str) and kind in _SPOKEN and isinstance(tagged.get("v"), str):
        return _harmless(tagged["v"])
    return json.dumps(tagged, ensure_ascii=False, allow_nan=False)


def _harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula; a number stays as it is."""
    if not text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
