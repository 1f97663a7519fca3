"""The last word on every run of a sweep: its commit line, or what can be recovered of it."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from expedition.archive import shapes
from expedition.archive.recovery import line_of, look_at, recover
from expedition.archive.sweep import SweepFolder
from expedition.recording import layout, outcomes
from expedition.recording.journal import parse_line
from expedition.recording.plain_files import LARGEST_JSON, open_plain, plain_lines

_COMMIT_MEMBERS = {"index", "attempt", "key", "status", "start", "stop", "worker", "seed", "error", "data"}
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("key", "status"), (str,)),
    **dict.fromkeys(("worker", "error"), (str, type(None))),
    "data": (dict,),
}
_OPTIONAL = (
    ("series", shapes.are_series),
    ("annotations", shapes.are_annotations),
    ("derived", lambda value: isinstance(value, dict)),
    ("parameters", shapes.are_objects),
)
_HEAD = re.compile(rb'\{"index":(\d+),"attempt":(\d+),(?:"edit":(\d+),)?')
_BLOCK = 1 << 20

Version = tuple[int, int]
"""Which of the lines of a run counts: that of the highest attempt, and of this the one with the highest edit."""

_NONE: Version = (-1, -1)


class ChangedError(Exception):
    """What was read before is no longer the beginning of what is there; the message says where."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an append-only file was read: `size` bytes, all of them whole lines, with their CRC-32 `crc`.

    `torn` is what stood behind them: a line that somebody is writing, or that nobody will ever finish.
    """

    size: int = 0
    crc: int = 0
    torn: bytes = b""


@dataclass
class Reading:
    """What a reading of the commit logs took in, so that the next one can go on there.

    Attributes
    ----------
    marks : per log how far it was read.
    recovered : runs whose last word is not a line of a log: size of the journal when the run folder was read
        (-1 where nothing could be read), and the attempt of the last whole line in a log, damaged or not (-1: none).
    strays : whether a line was passed over since the design has no such run (yet).
    edited : version of the last whole line of runs that were edited or deleted.
    deleted : attempt of the last line of runs that were deleted, and have not begun anew.
    """

    marks: dict[str, Mark] = field(default_factory=dict)
    recovered: dict[int, tuple[int, int]] = field(default_factory=dict)
    strays: bool = False
    edited: dict[int, Version] = field(default_factory=dict)
    deleted: dict[int, int] = field(default_factory=dict)


def latest_commits(sweep: SweepFolder, reading: Reading | None = None) -> Iterator[dict[str, Any]]:
    """Yield one line per run that was ever started, and not deleted: the last word on it, in no order.

    That is the commit of its highest attempt, or the line of the last edit of this attempt.

    A run whose last attempt has no commit line (its process died between the two, or is still at it) is
    recovered from its folder: with its end record, or as ``crashed`` or ``running`` with all that its journal
    holds. Lines are streamed; only the numbers of attempts are kept. An empty `reading` is filled in, and then
    nothing is taken from the logs that came after the first call.
    """
    logs = find_logs(sweep)
    marks: dict[str, Mark] = {}
    if reading is not None:
        marks = reading.marks = {name: read_mark(path) for name, path in logs.items()}
    last: dict[int, Version] = {}
    unread: dict[int, Version] = {}  # of lines that are not whole yet, and so will be read again
    total = len(sweep.entries)
    for name, path in logs.items():
        for line in _lines(path, Mark(), marks.get(name)):
            head = _HEAD.match(line)
            if head:
                index, version = int(head[1]), (int(head[2]), int(head[3] or 0))
                seen = last if line.endswith(b"\n") else unread
                seen[index] = max(version, seen.get(index, _NONE))
                if reading is not None and index >= total:
                    reading.strays = True
    if reading is not None:
        reading.edited = {index: version for index, version in last.items() if version[1]}
    given: set[int] = set()
    for name, path in logs.items():
        for line in _lines(path, Mark(), marks.get(name)):
            parsed = _commit(line)
            if parsed is None:
                continue
            index = parsed["index"]
            if index in given or not 0 <= index < total or version_of(parsed) != last.get(index):
                continue
            if version_of(parsed) < unread.get(index, _NONE):
                continue
            given.add(index)
            if says_look(parsed):
                found = recover(sweep, sweep.entries[index])
                if reading is not None:
                    reading.recovered[index] = found[1] if found else -1, parsed["attempt"]
                    if found is None:
                        reading.deleted[index] = parsed["attempt"]
                if found is None:
                    continue
                parsed = found[0]
            elif parsed["status"] not in outcomes.SETTLED:
                # Only such a run is tried again, and the later attempt may have died without a line.
                later = recover(sweep, sweep.entries[index], above=parsed["attempt"])
                if later is not None:
                    if reading is not None:
                        reading.recovered[index] = later[1], parsed["attempt"]
                    parsed = later[0]
            yield parsed
    yield from _recovered(sweep, given, last, reading)


def _recovered(
    sweep: SweepFolder, given: set[int], last: dict[int, Version], reading: Reading | None
) -> Iterator[dict[str, Any]]:
    started: set[str] | None = None
    for entry in sweep.entries:
        if entry.index in given:
            continue
        if started is None:
            started = sweep.started_folders()
        found = recover(sweep, entry) if entry.folder in started else None
        if reading is not None and (found is not None or entry.index in last):
            reading.recovered[entry.index] = found[1] if found else -1, last.get(entry.index, _NONE)[0]
        if found is not None:
            yield found[0]


@dataclass(frozen=True)
class KnownRuns:
    """What an earlier reading said of the first `total` runs of a sweep.

    `status` and `attempt` give those of a run by its index; `unsettled` are the indices of runs whose outcome may
    change without a new line, the pending ones included.
    """

    total: int
    status: Callable[[int], str]
    attempt: Callable[[int], int]
    unsettled: frozenset[int]


def later_commits(
    sweep: SweepFolder, before: Reading, known: KnownRuns
) -> tuple[dict[int, dict[str, Any]], Reading]:
    """Return by index the last word on every run of which `latest_commits` would now say something else.

    `before` is what the earlier reading took in; what this one did is returned as well. It reads what was
    appended to the logs since, and the folders of the runs in `known` that are not settled.

    Raises `ChangedError` when the logs are no longer those that were read, or tell of a run what could only be
    judged by reading all of them again, such as that it was edited or deleted.
    """
    logs = find_logs(sweep)
    gone = sorted(before.marks.keys() - logs.keys())
    if gone:
        raise ChangedError(f"the commit log {gone[0]} is gone")
    after = Reading(recovered=dict(before.recovered))
    last: dict[int, int] = {}
    unread: dict[int, int] = {}
    lines: dict[int, dict[str, Any]] = {}
    total = len(sweep.entries)
    for name, path in logs.items():
        start = before.marks.get(name, Mark())
        after.marks[name] = read_mark(path, start)
        for line in _lines(path, start, after.marks[name]):
            head = _HEAD.match(line)
            if head:
                index, attempt = int(head[1]), int(head[2])
                if head[3]:
                    raise ChangedError(f"run {index} was edited or deleted")
                if index >= total:
                    raise ChangedError(
                        f"the commit log {name} has a line of run {index}, which is not planned"
                    )
                seen = last if line.endswith(b"\n") else unread
                seen[index] = max(attempt, seen.get(index, -1))
            parsed = _commit(line)
            if parsed is not None and 0 <= parsed["index"] < total:
                other = lines.get(parsed["index"])
                if other is None or parsed["attempt"] > other["attempt"]:
                    lines[parsed["index"]] = parsed
    runs = _LaterRuns(sweep, before, known, after)
    for index in sorted({*last, *unread, *known.unsettled, *before.recovered, *range(known.total, total)}):
        runs.look(index, last.get(index, -1), unread.get(index, -1), lines.get(index))
    return runs.changed, after


class _LaterRuns:
    """Finds out, run by run, what `latest_commits` would say now that it did not say before."""

    def __init__(self, sweep: SweepFolder, before: Reading, known: KnownRuns, after: Reading) -> None:
        self._sweep = sweep
        self._before = before.recovered
        self._known = known
        self._after = after.recovered
        self._started: set[str] | None = None
        self.changed: dict[int, dict[str, Any]] = {}

    def look(self, index: int, newest: int, unread: int, line: dict[str, Any] | None) -> None:
        """Judge a run by the highest attempts that the new lines name, the whole ones and those that are not.

        `line` is the commit line of the highest attempt among the good ones.
        """
        status = self._known.status(index) if index < self._known.total else outcomes.PENDING
        held = self._before.get(index)
        if held is not None:
            last = held[1]
        else:
            last = -1 if status == outcomes.PENDING else self._known.attempt(index)
        if newest >= 0 and newest == last:
            raise ChangedError(f"the commit logs have a second line of attempt {last} of run {index}")
        highest = max(last, newest)
        if newest > last and newest >= unread and line is not None and line["attempt"] == newest:
            if line["status"] in outcomes.SETTLED or not self._recover(index, newest, newest):
                self.changed[index] = line
                self._after.pop(index, None)
        elif status == outcomes.PENDING:
            if self._has_started(index) and not self._recover(index, -1, highest) and highest > last:
                self._after[index] = -1, highest
        elif held is not None:
            self._compare(index, status, (held[0], highest))
        elif newest > last or unread > last:
            if not self._has_started(index) or not self._recover(index, -1, highest):
                raise ChangedError(f"a commit line of run {index} is damaged, and its folder tells no more")
        elif status not in outcomes.SETTLED:
            self._recover(index, last, last)

    def _recover(self, index: int, above: int, last: int) -> bool:
        found = recover(self._sweep, self._sweep.entries[index], above=above)
        if found is None:
            return False
        self.changed[index] = found[0]
        self._after[index] = found[1], last
        return True

    def _compare(self, index: int, status: str, held: tuple[int, int]) -> None:
        """Look whether a run that is known from its folder is what it was."""
        entry = self._sweep.entries[index]
        attempt = self._known.attempt(index)
        found = look_at(self._sweep, entry)
        if found is None or found.meta["attempt"] < attempt:
            raise ChangedError(f"the folder of run {index} does not tell what it did")
        self._after[index] = found.journal, held[1]
        if (found.status, found.meta["attempt"], found.journal) != (status, attempt, held[0]):
            self.changed[index] = line_of(self._sweep, entry, found)

    def _has_started(self, index: int) -> bool:
        if self._started is None:
            self._started = self._sweep.started_folders()
        return self._sweep.entries[index].folder in self._started


def find_logs(sweep: SweepFolder) -> dict[str, str]:
    """Return the paths of the commit logs by name, in the order in which they are read."""
    folder = sweep.path / layout.JOURNALS_FOLDER
    if not folder.is_dir():
        return {}
    found = {entry.name: entry.path for entry in os.scandir(folder) if entry.name.endswith(".jsonl")}
    return dict(sorted(found.items()))


def read_mark(path: str | os.PathLike[str], known: Mark | None = None) -> Mark:
    """Return the mark of the whole lines that an append-only file has now; a missing file has none.

    Raises `ChangedError` when it no longer begins with what `known` stands for.
    """
    known = known or Mark()
    size, crc = 0, 0
    rest: list[bytes] = []
    waiting = 0
    try:
        stream = open_plain(path)  # closed below, and absence is no error
    except FileNotFoundError:
        if known.size:
            raise ChangedError(f"{path} is gone") from None
        return Mark()
    with stream:
        while size < known.size:
            block = stream.read(min(_BLOCK, known.size - size))
            if not block:
                raise ChangedError(f"{path} has become shorter")
            size, crc = size + len(block), zlib.crc32(block, crc)
        if crc != known.crc:
            raise ChangedError(f"{path} is not what it was")
        while block := stream.read(_BLOCK):
            cut = block.rfind(b"\n") + 1
            if cut:
                for part in (*rest, block[:cut]):
                    crc = zlib.crc32(part, crc)
                size, rest, waiting = size + waiting + cut, [], 0
            rest.append(block[cut:])
            waiting += len(block) - cut
            if waiting > LARGEST_JSON:  # no line is so large; what is behind it does not count
                return Mark(size, crc)
    return Mark(size, crc, b"".join(rest))


def _lines(path: str, start: Mark, end: Mark | None) -> Iterator[bytes]:
    """Yield the lines between two marks, and the torn one behind them; to the end of the file without `end`."""
    with open_plain(path) as stream:
        stream.seek(start.size)
        left = None if end is None else end.size - start.size
        for line in plain_lines(stream) if left != 0 else ():
            yield line
            if left is not None:
                left -= len(line)
                if left <= 0:
                    break
    if end is not None and end.torn:
        yield end.torn


def last_versions(sweep: SweepFolder) -> dict[int, Version]:
    """Return by index which line is the last that the commit logs have of a run, damaged ones included."""
    last: dict[int, Version] = {}
    for path in find_logs(sweep).values():
        for line in _lines(path, Mark(), None):
            head = _HEAD.match(line)
            if head:
                version = int(head[2]), int(head[3] or 0)
                last[int(head[1])] = max(version, last.get(int(head[1]), _NONE))
    return last


def version_of(line: Mapping[str, Any]) -> Version:
    """Return which attempt and which edit of it a commit line tells of."""
    return line["attempt"], line.get("edit", 0)


def says_look(line: Mapping[str, Any]) -> bool:
    """Tell whether a commit line says that the run folder has the last word: the run is being edited, or deleted.

    Such a line is written before the folder is touched. So what a kill leaves is read as it is.
    """
    return bool(line.get("deleted") or line.get("changing"))


def _commit(line: bytes) -> dict[str, Any] | None:
    """Return the object of a commit line; None when it is torn, altered or no commit line."""
    parsed = parse_line(line)
    if parsed is None or not parsed.keys() >= _COMMIT_MEMBERS or type(parsed["index"]) is not int:
        return None
    if not shapes.is_count(parsed["attempt"]) or not shapes.is_count(parsed.get("edit", 0)):
        return None
    if not all(isinstance(parsed[name], kinds) for name, kinds in _TYPES.items()):
        return None
    if not all(parsed[name] is None or shapes.is_int64(parsed[name]) for name in ("start", "stop")):
        return None
    if type(parsed["seed"]) is not int and parsed["seed"] is not None:
        return None
    return parsed if shapes.wrong_member(parsed, _OPTIONAL) is None else None
