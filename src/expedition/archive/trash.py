"""The trash of an archive: folders of runs and sweeps that were deleted, each at its path below the root.

``.expedition/trash/<time>-<random>/`` holds what one deletion took away, and ``<time>-<random>.json`` beside it says
what that is. Things go in and out by rename, so nothing is copied and nothing is half there.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from expedition.archive.index import index_root
from expedition.errors import DamagedError, ExperimentError
from expedition.recording import layout
from expedition.recording.files import dump_pretty, replace_file
from expedition.recording.plain_files import read_plain

TRASH_FOLDER = Path(".expedition") / "trash"
"""Where the trash is, below the archive root."""

TRASH_FORMAT = "expedition-trash"
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]+\Z")
_PURGED = ".purged-"


@dataclass(frozen=True)
class Trashed:
    """One folder in the trash.

    Attributes
    ----------
    entry : name of the deletion that took it. deleted : when that was.
    place : path of the folder below the archive root, where it was.
    path : where it is now. about : what its manifest says of it: ``kind`` (``run`` or ``sweep``), ``size``, and of a
        run ``id``, ``index``, ``key``.
    """

    entry: str
    deleted: datetime
    place: str
    path: Path
    about: Mapping[str, Any]

    @property
    def is_sweep(self) -> bool:
        """Whether it is a sweep folder, with all its runs."""
        return self.about.get("kind") == "sweep"

    @property
    def runs(self) -> int:
        """How many runs are in it."""
        return int(self.about.get("runs", 1))


def archive_base(root: Path) -> Path:
    """Return the archive root that `root` is, or is a part of: its trash and its index are there."""
    root = root.resolve()
    found = index_root(root)
    if found is not None:
        return found.resolve()
    if (root / layout.SWEEP_FILE).is_file():
        return _above_namespace(root)
    if (root / layout.META_FILE).is_file():
        parents = [folder for folder in list(root.parents)[:2] if (folder / layout.SWEEP_FILE).is_file()]
        return _above_namespace(parents[0]) if parents else root.parent
    return root


def _above_namespace(sweep: Path) -> Path:
    """The folder that the namespace of a sweep begins in; that around the sweep folder when it was moved."""
    try:
        namespace = json.loads(read_plain(sweep / layout.SWEEP_FILE))["experiment"]["namespace"].split("/")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return sweep.parent
    if sweep.parts[-1 - len(namespace) : -1] != tuple(namespace):
        return sweep.parent
    return sweep.parents[len(namespace)]


class Trash:
    """The trash of the archive that `root` is, or is a part of."""

    def __init__(self, root: Path) -> None:
        self.base = archive_base(root)
        self.folder = self.base / TRASH_FOLDER

    def place_of(self, path: Path) -> str:
        """Return the path of a folder below the archive root. Raises `ExperimentError` when it has none."""
        try:
            place = path.resolve().relative_to(self.base).as_posix()
        except ValueError:
            raise ExperimentError(f"{path} is not in the archive {self.base}") from None
        if place == "." or place.startswith(".expedition/"):
            raise ExperimentError(
                f"{path} is {'the archive itself' if place == '.' else 'in the trash already'}; "
                f"--archive-purge empties the trash"
            )
        return place

    def begin(self, items: Iterable[Mapping[str, Any]]) -> TrashEntry:
        """Make an entry for folders that are about to be deleted. Raises `OSError`.

        `items` are what its manifest says of them: ``place``, ``kind``, ``size`` and the like.
        """
        now = datetime.now(UTC)
        # The digits begin with the microsecond: deletions of one second sort by their time, too.
        name = f"{now.strftime('%Y-%m-%dT%H-%M-%SZ')}-{now.microsecond:05x}{secrets.token_hex(2)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "format": TRASH_FORMAT,
            "format_version": layout.FORMAT_VERSION,
            "deleted": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "items": [dict(item) for item in items],
        }
        replace_file(self.folder / f"{name}.json", dump_pretty(content), durable=True)
        return TrashEntry(self.base, self.folder / name)

    def entries(self) -> list[str]:
        """Return the names of the deletions, oldest first; those are among them whose manifest cannot be read."""
        try:
            found = {entry.name.removesuffix(".json") for entry in os.scandir(self.folder)}
        except OSError:
            return []
        return sorted(name for name in found if _NAME.match(name))

    def content(self, entry: str) -> list[Trashed]:
        """Return what a deletion took and is still in the trash. Raises `DamagedError`."""
        file = self.folder / f"{entry}.json"
        try:
            manifest = json.loads(read_plain(file))
            if manifest["format"] != TRASH_FORMAT:
                raise KeyError("format")
            deleted = datetime.fromisoformat(manifest["deleted"])
            if deleted.tzinfo is None:
                raise ValueError(f"deleted {manifest['deleted']!r} has no time zone")
            items = [(item["place"], item) for item in manifest["items"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(
                f"{file} is damaged: {error!r}; what is in {entry} can be moved back by hand"
            ) from None
        found: list[Trashed] = []
        for place, about in items:
            parts = place.split("/") if isinstance(place, str) else [""]
            if not all(parts) or {".", "..", ".expedition"} & {*parts} or "\\" in place or ":" in parts[0]:
                raise DamagedError(f"{file} is damaged: {place!r} is no path below the archive")
            runs = about.get("runs", 1)
            if type(runs) is not int or runs < 0:
                raise DamagedError(
                    f"{file} is damaged: runs of {place!r} must be a number from 0 on, not {runs!r}"
                )
            path = self.folder / entry / place
            try:
                link = _first_link(self.folder, f"{entry}/{place}")
                is_there = path.is_dir()
            except (OSError, ValueError) as error:  # names that are too long, or that no file system has
                raise DamagedError(f"{file} is damaged: {place!r:.100} is no place: {error!r:.200}") from None
            if link is not None:
                raise DamagedError(
                    f"{link} is a link, which no trash holds: it may lead anywhere; nothing of {entry} comes back "
                    f"until it is gone"
                )
            if is_there:
                found.append(Trashed(entry, deleted, place, path, about))
        return found

    def deleted_at(self, entry: str) -> datetime:
        """Return when a deletion was made, as its name says. Raises `DamagedError` when it says no time."""
        try:
            return datetime.strptime(entry[:20], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise DamagedError(
                f"{self.folder / entry} is damaged: its name says no time, so nothing tells its age; "
                f"--archive-purge --all removes it with all others"
            ) from None

    def link_before(self, place: str) -> Path | None:
        """Return the first link among the folders above a place in the archive; None without one."""
        return _first_link(self.base, str(PurePosixPath(place).parent))

    def measure(self, entry: str) -> int:
        """Return the bytes that an entry takes."""
        found = 0
        for folder, _, names in os.walk(self.folder / entry):
            for name in names:
                try:
                    found += os.lstat(os.path.join(folder, name)).st_size
                except OSError:
                    continue
        return found

    def restore(self, item: Trashed) -> None:
        """Move a folder back to its place.

        Raises `OSError`, `FileExistsError` when the place is taken, `DamagedError` when a link is on the way to it.
        """
        link = _first_link(self.folder, f"{item.entry}/{item.place}") or self.link_before(item.place)
        if link is not None:
            raise DamagedError(f"{link} is a link, which may lead anywhere; put a folder in its place")
        target = self.base / item.place
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "the place is taken", str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(item.path, target)
        _tidy(item.path.parent, self.folder / item.entry)

    def purge(self, entry: str) -> None:
        """Remove a deletion for good. Raises `OSError`; what is left then goes with the next purge."""
        gone = self.folder / f"{_PURGED}{entry}"
        if (self.folder / entry).is_dir():
            os.rename(self.folder / entry, gone)
        (self.folder / f"{entry}.json").unlink(missing_ok=True)
        if gone.is_dir():
            shutil.rmtree(gone)

    def leftovers(self) -> Iterator[Path]:
        """Yield the folders that a purge which was killed left behind."""
        if self.folder.is_dir():
            yield from (path for path in self.folder.iterdir() if path.name.startswith(_PURGED))


class TrashEntry:
    """One deletion while it is being made."""

    def __init__(self, base: Path, folder: Path) -> None:
        self._base = base
        self._made: set[Path] = set()
        self.folder = folder

    def take(self, place: str) -> Path:
        """Move a folder of the archive into the trash; return where it is now. Raises `OSError`."""
        target = self.folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        self._made.add(target.parent)
        os.rename(self._base / place, target)
        return target

    def close(self) -> None:
        """Take the entry away again when nothing came into it."""
        for path in self._made:
            _tidy(path, self.folder)
        if not self._made and not self.folder.exists():
            self.folder.with_suffix(".json").unlink(missing_ok=True)


def _first_link(start: Path, place: str) -> Path | None:
    """Return the first link on the way from a folder to what is below it; None without one."""
    path = start
    for part in PurePosixPath(place).parts:
        path /= part
        if path.is_symlink():
            return path
    return None


def _tidy(folder: Path, entry: Path) -> None:
    """Take away a folder of an entry and those above it, as far as nothing is in them; the last with its manifest."""
    while folder.is_relative_to(entry):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:
            return
        folder = folder.parent
    entry.with_suffix(".json").unlink(missing_ok=True)
