"""The index of an archive: rows of its runs in an SQLite file, so that ten thousand are listed in a moment.

It is a cache and nothing else. A row counts only as long as the files that it was made of have the times, sizes and
numbers they had then. The file of the index may be deleted, damaged or locked by others: rows are read from the runs
then. Each transaction is short, none is open while rows are handed out, and a lock that cannot be had only means that
nothing is written.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from expedition.archive.packing import NameList, NameLists, PackedRow, is_still, pack, unpack
from expedition.archive.rows import RunRow, read_row
from expedition.errors import RecordNotFoundError
from expedition.recording import layout, outcomes
from expedition.recording.plain_files import open_plain

INDEX_FILE = Path(".expedition") / "index.sqlite"
"""Where the index is, below the archive root."""

VERSION = 4
"""Counted up when rows or their packing change. An older index is made anew, a newer one is left alone."""

SETTLING = 2_000_000_000
"""Nanoseconds after a change in which another one may bear the same time; such rows are not kept."""

_WAIT = 2.0  # seconds for the lock of another process
_CHUNK = 1_000  # runs that are looked up together, and rows that are written in one transaction

_TROUBLE = (sqlite3.Error, UnicodeDecodeError)  # the latter where a message quotes from a damaged file
_STAMPED = ("", f"/{layout.META_FILE}", f"/{layout.DATA_FILE}", f"/{layout.JOURNAL_FILE}")
_SCHEMA = {
    "names": "CREATE TABLE names (digest integer primary key, list blob not null)",
    "runs": "CREATE TABLE runs (folder blob not null, name blob not null, stamp blob not null, "
    "parameters integer not null, stored integer not null, content blob not null, checksum integer not null, "
    "primary key (folder, name))",
}


class RunPlace(NamedTuple):
    """Where a run is: its folder, that of its sweep where it is known, and the namespace of the latter.

    `place` is the folder as in `RunRow.place`.
    """

    folder: str  # ten thousand paths take their time
    sweep: Path | None
    place: str | Path
    namespace: str


class _Kept(NamedTuple):
    """What the index has of a run."""

    stamp: bytes
    packed: PackedRow


class _Fresh(NamedTuple):
    """What the index is to have of a run."""

    folder: bytes
    name: bytes
    kept: _Kept


class ArchiveIndex:
    """Rows of the runs of an archive root, from its index as far as that is up to date."""

    def __init__(self, root: Path, *, write: bool) -> None:
        """Use the index of the archive `root`; with `write` rows that are read are kept in it.

        Nothing is raised when there is none, or none that can be used.
        """
        self._root = Path(os.path.realpath(root))
        self._write = write
        self._connection: sqlite3.Connection | None = None
        self._lists = NameLists()
        self._fresh: list[_Fresh] = []
        self._folders: dict[str, bytes] = {}
        self._seen: set[int] = set()

    def __enter__(self) -> Self:
        self._connection = _connect(self._root / INDEX_FILE, write=self._write)
        return self

    def __exit__(self, *_: object) -> None:
        self._keep()
        self._give_up()

    def rows(self, places: Iterable[RunPlace]) -> Iterator[RunRow]:
        """Yield the rows of runs, in their order. Those that vanish meanwhile are left out."""
        part: list[RunPlace] = []
        for place in places:
            part.append(place)
            if len(part) >= _CHUNK:
                yield from self._part(part)
                part = []
        yield from self._part(part)

    def forget_missing(self) -> None:
        """Drop the rows of all runs but those that were among the places of `rows`."""
        self._keep()
        if self._connection is None or not self._write:
            return
        try:
            known = self._connection.execute("select folder, name from runs").fetchall()
            gone = [key for key in known if hash(key) not in self._seen]
            if not gone:
                return
            with _transaction(self._connection):
                self._connection.executemany("delete from runs where folder = ? and name = ?", gone)
                self._connection.execute(
                    "delete from names where digest not in "
                    "(select parameters from runs union select stored from runs)"
                )
        except _TROUBLE as error:
            self._give_up(error)

    def _part(self, places: list[RunPlace]) -> list[RunRow]:
        keys = [self._key(place.folder) for place in places]
        known = self._known(keys)
        found: list[RunRow] = []
        for place, key in zip(places, keys, strict=True):
            kept = known.get(key)
            row = _row_of(kept, place) if kept is not None else None
            if row is None:
                row = self._read(place, key)
            if row is not None:
                found.append(row)
                if self._write:
                    self._seen.add(hash(key))
        if len(self._fresh) >= _CHUNK:
            self._keep()
        return found

    def _read(self, place: RunPlace, key: tuple[bytes, bytes]) -> RunRow | None:
        """Read a run; None when it has vanished."""
        now = time.time_ns()
        stamp, changed = _stamp(place.folder, journal=True)
        try:
            row = read_row(Path(place.folder), place.sweep, namespace=place.namespace)
        except RecordNotFoundError:
            return None
        packed = pack(row, self._lists)
        lasting = changed + SETTLING < now and row.status not in (outcomes.RUNNING, outcomes.UNKNOWN)
        # What is said of damage names the file, which may be moved with the archive.
        if self._write and lasting and not row.problem:
            stamp = stamp if row.from_journal else stamp.rpartition(b" ")[0]
            self._fresh.append(_Fresh(*key, _Kept(stamp, packed)))
        return unpack(packed, place.place, place.sweep)  # the same row, whether or not there is an index

    def _known(self, keys: list[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], _Kept]:
        if self._connection is None:
            return {}
        names: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for folder, name in keys:
            names[folder].append(name)
        found: dict[tuple[bytes, bytes], _Kept] = {}
        try:
            for folder, among in names.items():
                rows = self._connection.execute(
                    "select name, stamp, parameters, stored, content, checksum from runs "
                    "where folder = ? and name between ? and ?",
                    (folder, min(among), max(among)),
                ).fetchall()
                for name, *rest, checksum in rows:
                    kept = self._kept(rest) if checksum == _checksum(folder, name, *rest) else None
                    if kept is not None:
                        found[folder, name] = kept
        except _TROUBLE as error:
            self._give_up(error)
            return {}
        return found

    def _kept(self, columns: list[Any]) -> _Kept | None:
        """What a row of the table says; None when a list of names that it needs is missing or damaged."""
        stamp, parameters, stored, content = columns
        names, more = self._names(parameters), self._names(stored)
        if names is None or more is None:
            return None
        return _Kept(stamp, PackedRow(content.decode(), names, more))

    def _names(self, digest: int) -> NameList | None:
        found = self._lists.get(digest)
        if found is None and self._connection is not None:
            row = self._connection.execute("select list from names where digest = ?", (digest,)).fetchone()
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                found = NameList.parse(row[0], digest)
                self._lists.add(found)
        return found

    def _keep(self) -> None:
        """Write the rows that were read."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        if self._connection is None:  # there was none, or it could not be used
            self._connection = _connect(self._root / INDEX_FILE, write=True, create=True)
        if self._connection is None:
            self._write = False
            return
        lists = {names.digest: names.text for row in fresh for names in row.kept.packed[1:]}
        try:
            with _transaction(self._connection):
                self._connection.executemany(
                    "insert or replace into names values (?, ?)",
                    [(digest, text.encode()) for digest, text in lists.items()],
                )
                self._connection.executemany(
                    "insert or replace into runs values (?, ?, ?, ?, ?, ?, ?)", map(_columns, fresh)
                )
        except _TROUBLE as error:
            self._give_up(error)
            self._write = False

    def _give_up(self, error: Exception | None = None) -> None:
        """Go on without the index: it is locked for long, damaged, or cannot be written."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        if self._write and _is_damage(error):
            _remove(self._root / INDEX_FILE)

    def _key(self, run: str) -> tuple[bytes, bytes]:
        """What the index calls a run: the path of the folder around it below the root, and its name."""
        folder, name = os.path.split(run)
        found = self._folders.get(folder)
        if found is None:
            below = os.path.relpath(os.path.realpath(folder), self._root)
            found = self._folders[folder] = os.fsencode(below.replace(os.sep, "/"))
        return found, os.fsencode(name)


def index_root(root: Path) -> Path | None:
    """Return the archive root that `root` is, or is a part of, None when it is in none that can be told.

    Roots have the folder of the index, or the ``.gitignore`` that new ones get.
    """
    for folder in (root, *root.resolve().parents):
        if (folder / INDEX_FILE.parent).is_dir() or _is_made(folder / layout.IGNORE_FILE):
            return folder
    return None


def _is_made(file: Path) -> bool:
    try:
        with open_plain(file) as stream:
            return stream.read(len(layout.IGNORE_TEXT)) == layout.IGNORE_TEXT
    except OSError:
        return False


def _row_of(kept: _Kept, place: RunPlace) -> RunRow | None:
    """The row of a run as the index has it; None when that is not up to date."""
    if _stamp(place.folder, journal=kept.stamp.count(b" ") == 3)[0] != kept.stamp:
        return None
    try:
        row = unpack(kept.packed, place.place, place.sweep)
    except (ValueError, TypeError, KeyError):
        return None
    return row if is_still(row) else None


def _stamp(run: str, *, journal: bool) -> tuple[bytes, int]:
    """Return what a row of a run rests on, and the newest of the times in it.

    The journal counts only where it has what other files would have at the end.
    """
    parts: list[str] = []
    newest = 0
    for name in _STAMPED if journal else _STAMPED[:-1]:
        try:
            found = os.stat(run + name)
        except OSError:
            parts.append("-")
            continue
        changed = found.st_ctime_ns  # that of the contents can be set at will
        newest = max(newest, changed, found.st_mtime_ns)
        parts.append(f"{found.st_mtime_ns:x}.{changed:x}.{found.st_size:x}.{found.st_ino:x}")
    return " ".join(parts).encode(), newest


def _columns(row: _Fresh) -> tuple[object, ...]:
    stamp, (content, parameters, stored) = row.kept
    rest = (stamp, parameters.digest, stored.digest, content.encode())
    return (row.folder, row.name, *rest, _checksum(row.folder, row.name, *rest))


def _checksum(
    folder: bytes, name: bytes, stamp: bytes, parameters: int, stored: int, content: bytes
) -> int | None:
    """CRC-32 over a row of the table; None for columns of wrong types."""
    try:
        return zlib.crc32(content, zlib.crc32(b"%b/%b %b %d %d" % (folder, name, stamp, parameters, stored)))
    except TypeError:
        return None


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(*_TROUBLE):
            connection.execute("rollback")
        raise


def _connect(file: Path, *, write: bool, create: bool = False) -> sqlite3.Connection | None:
    """Open the index, None when there is none that can be used; with `create` it is made where it is missing.

    One that is older, damaged or altered is then made anew.
    """
    mode = "rwc" if create else "rw" if write else "ro"
    for _ in range(2):
        if any(path.is_symlink() for path in (file, file.parent)):  # it may lead to a file of somebody else
            return None
        connection: sqlite3.Connection | None = None
        try:
            if create:
                file.parent.mkdir(exist_ok=True)
            elif not file.is_file():
                return None
            connection = sqlite3.connect(
                f"{file.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=_WAIT,
                isolation_level=None,
                check_same_thread=False,  # whoever drops the iterator of the rows closes it
            )
            if _is_current(connection) or (create and _make_tables(connection)):
                return connection
            altered = create and _version(connection) == VERSION
            connection.close()
            if not altered:
                return None
            _remove(file)
        except (OSError, *_TROUBLE) as error:
            if connection is not None:
                connection.close()
            if not create or not _is_damage(error):
                return None
            _remove(file)
    return None


def _is_current(connection: sqlite3.Connection) -> bool:
    """Whether it is an index of this version, and nothing else is in the file: no view, no trigger."""
    if _version(connection) != VERSION:
        return False
    found = connection.execute("select name, sql from sqlite_master where sql is not null").fetchall()
    return dict(found) == _SCHEMA


def _make_tables(connection: sqlite3.Connection) -> bool:
    """Make the tables where there are none, or those of an older version; False for an index of a newer one."""
    with _transaction(connection):
        if _version(connection) < VERSION:
            for name, statement in _SCHEMA.items():
                connection.execute(f"drop table if exists {name}")
                connection.execute(statement)
            connection.execute(f"pragma user_version = {VERSION}")
    return _is_current(connection)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def _is_damage(error: BaseException | None) -> bool:
    """Whether the file is no data base or a broken one; what is locked, read-only or full has a class of its own."""
    return type(error) is sqlite3.DatabaseError or isinstance(error, UnicodeDecodeError)


def _remove(file: Path) -> None:
    """Remove the index, and the journal that would be rolled back into the next one."""
    for path in (file, file.with_name(f"{file.name}-journal")):
        with contextlib.suppress(OSError):
            path.unlink()
