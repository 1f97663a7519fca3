"""What an import takes in: the sweeps of a zip, or of a folder that was copied from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from expedition.archive.bundle import SweepMembers, find_sweeps, join_names, sort_members
from expedition.archive.liveness import is_held
from expedition.archive.record import RunRecord
from expedition.archive.sweep import SweepFolder
from expedition.archive.zip_file import CheckedZip, check_names
from expedition.errors import DamagedError, ExperimentError, RecordNotFoundError
from expedition.plugin.acting.carried import carried_of_sweep
from expedition.plugin.acting.copying import Look, look_of, refuse_changed, refuse_prepared
from expedition.recording import layout, outcomes
from expedition.recording.plain_files import open_plain, read_plain

_BLOCK = 1 << 20
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?")
"""Names that mean a device on Windows, with any ending."""
_MAX_NAME = 255
"""Bytes of a part of a path that file systems take."""
_MAX_NAMESPACE = 1024


class Source(Protocol):
    """Files with names, as in a zip.

    Attributes
    ----------
    path : where they are. sizes : their bytes by name. folders : names of folders with nothing in them.
    """

    path: Path
    sizes: Mapping[str, int]
    folders: list[str]

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        ...

    def crc(self, name: str) -> int:
        """Return the CRC-32 of a file."""
        ...

    def copy(self, name: str, target: Path) -> None:
        """Copy a file, with its time, to where none is."""
        ...

    def check_unchanged(self, names: Iterable[str], runs: Iterable[str]) -> None:
        """Raise `ExperimentError` when files, or those of run folders, were changed since this was made."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


class ZipSource:
    """The members of a zip file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = CheckedZip(path)
        self.sizes: Mapping[str, int] = {name: info.file_size for name, info in self._zip.members.items()}
        self.folders = self._zip.folders

    def read(self, name: str) -> bytes:
        """Return the content of a member. Raises `DamagedError`."""
        return self._zip.read(name)

    def crc(self, name: str) -> int:
        """Return what the directory of the zip says; unpacking checks it."""
        return self._zip.members[name].CRC

    def copy(self, name: str, target: Path) -> None:
        """Unpack a member. Raises `DamagedError` or `OSError`."""
        self._zip.extract(name, target)

    def check_unchanged(self, names: Iterable[str], runs: Iterable[str]) -> None:
        """Members have checksums; unpacking compares them."""

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


class FolderSource:
    """The files below a folder: of sweeps those that are carried, elsewhere all but those in hidden folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: Mapping[str, int] = {}
        self.folders: list[str] = []
        self._looks: dict[str, Look] = {}
        self.sizes = dict(self._walk(path))
        check_names([(name, False) for name in self.sizes], f"{path}: its file")

    def _walk(self, top: Path) -> Iterator[tuple[str, int]]:
        waiting = [("", top)]  # folders may be in one another as deeply as their names allow
        while waiting:
            above, folder = waiting.pop()
            status = os.lstat(folder) if above else os.stat(folder)
            if stat.S_ISREG(status.st_mode):
                yield self._seen(above, status)
            elif not stat.S_ISDIR(status.st_mode):
                raise DamagedError(
                    f"{folder} is neither a file nor a folder; nothing is imported that leads elsewhere"
                )
            elif (folder / layout.SWEEP_FILE).is_file():
                yield from self._carried(above, folder)
            else:
                names = (name for name in os.listdir(folder) if not name.startswith("."))
                # What is in hidden folders is no part of the archive.
                waiting += [(join_names(above, name), folder / name) for name in sorted(names, reverse=True)]

    def _carried(self, above: str, sweep: Path) -> Iterator[tuple[str, int]]:
        for parts, path, is_folder in carried_of_sweep(sweep):
            name = join_names(above, "/".join(parts))
            if is_folder:
                self.folders.append(name)
            else:
                yield self._seen(name, os.lstat(path))

    def _seen(self, name: str, status: os.stat_result) -> tuple[str, int]:
        self._looks[name] = look_of(status)
        return name, status.st_size

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return read_plain(self.path / name)

    def crc(self, name: str) -> int:
        """Read a file for its CRC-32."""
        return crc_of(self.path / name)

    def copy(self, name: str, target: Path) -> None:
        """Copy a file, with its time."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.path / name, target, follow_symlinks=False)

    def check_unchanged(self, names: Iterable[str], runs: Iterable[str]) -> None:
        """Look at the files once more, and for edits that began meanwhile."""
        refuse_prepared(((self.path / run, None) for run in runs), "imported")
        refuse_changed(((self.path / name, self._looks[name]) for name in names), "imported")

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class IncomingSweep:
    """A sweep that is to be imported.

    Attributes
    ----------
    folder : its name in the source. place : where it belongs below an archive root: namespace and folder.
    members : the names of its files.
    """

    folder: str
    place: str
    members: SweepMembers

    @property
    def names(self) -> list[str]:
        """All files."""
        return [*self.members.own, *(name for names in self.members.runs.values() for name in names)]

    def inside(self, name: str) -> str:
        """Return the name of a file, or of a run folder, below the sweep folder; ``.`` for this itself."""
        return "." if name == self.folder else name[len(self.folder) + 1 if self.folder else 0 :]


def open_source(file: Path) -> Source:
    """Open a zip file or folder that is to be imported.

    Raises `RecordNotFoundError` when there is none, `DamagedError` for one that may not be unpacked.
    """
    if file.is_dir():
        return FolderSource(file)
    return ZipSource(file)


def incoming_sweeps(source: Source) -> list[IncomingSweep]:
    """Return the sweeps of a source, oldest first.

    Raises `RecordNotFoundError` when there are none, `DamagedError` for a manifest that cannot be read or leads
    elsewhere, and `ExperimentError` while something is running in them, or an edit is not finished.
    """
    folders = find_sweeps(source.sizes)
    if not folders:
        raise RecordNotFoundError(
            f"{source.path} has no sweep in it (no folder with a {layout.SWEEP_FILE}), so there is nothing to import; "
            f"a single run can be read where it is"
        )
    sorted_members = sort_members(source.sizes, folders, source.read)
    found: dict[str, IncomingSweep] = {}
    for folder in folders:
        sweep = _checked(source, folder, sorted_members[folder])
        if sweep.place in found:
            raise DamagedError(
                f"{source.path} has the sweep {sweep.place} twice: in {found[sweep.place].folder or '.'} and in "
                f"{folder or '.'}"
            )
        found[sweep.place] = sweep
        if isinstance(source, FolderSource):
            _refuse_running(source, sweep)
    return list(found.values())


def _checked(source: Source, folder: str, members: SweepMembers) -> IncomingSweep:
    path = source.path.joinpath(folder) if folder else source.path
    sweep = SweepFolder.parse(source.read(join_names(folder, layout.SWEEP_FILE)), path)
    invocations = join_names(folder, layout.INVOCATIONS_FILE)
    # Which refuses run folders outside of it
    sweep.entries_by(source.read(invocations) if invocations in source.sizes else b"")
    experiment = sweep.manifest["experiment"]
    namespace = experiment.get("namespace")
    if namespace is None or namespace == "":
        namespace = experiment["name"]
    name = folder.rpartition("/")[2] or (
        source.path.resolve().name if source.path.is_dir() else str(sweep.manifest.get("sweep", ""))
    )
    parts = namespace.split("/") if isinstance(namespace, str) else [""]
    if not (all(map(_is_portable, parts)) and len(namespace.encode()) <= _MAX_NAMESPACE and _is_plain(name)):
        wrong = repr(namespace if _is_plain(name) else name)
        raise DamagedError(
            f"{path / layout.SWEEP_FILE} is damaged: its sweep belongs to {wrong[:80]}{'…' if wrong[80:] else ''}; "
            f"a namespace is folder names joined by '/' that every file system can hold. "
            f"Write another one there, and import it again"
        )
    parts.append(name)
    return IncomingSweep(folder, "/".join(parts), members)


def _is_plain(part: str) -> bool:
    """Whether a part of a path stays below its folder, and can be shown."""
    good = part != "" and not part.startswith(".") and part != layout.SWEEP_FILE and part.isprintable()
    return good and not set(part) & set('\\/:"<>|?*') and len(part.encode()) <= _MAX_NAME


def _is_portable(part: str) -> bool:
    """Whether a part of a namespace is the name of a folder on every system: Windows has further rules."""
    return _is_plain(part) and part.strip(" ") == part.rstrip(".") == part and not _DEVICE.fullmatch(part)


def _refuse_running(source: FolderSource, sweep: IncomingSweep) -> None:
    folder = source.path / sweep.folder
    if is_held(folder / layout.JOURNALS_FOLDER / layout.INVOCATION_LOCK):
        raise ExperimentError(f"{folder} cannot be imported yet: an invocation is at it; wait for its end")
    refuse_prepared(((source.path / run, folder) for run in sweep.members.runs), "imported")
    for run in sweep.members.runs:
        try:
            status = RunRecord(source.path / run, sweep=folder).status
        except (DamagedError, RecordNotFoundError):
            continue
        if status in (outcomes.RUNNING, outcomes.UNKNOWN):
            raise ExperimentError(
                f"{source.path / run} cannot be imported yet: it is {status}; wait for its end"
                + ("" if status == outcomes.RUNNING else ", or until its host has been silent for 24 hours")
            )


def crc_of(path: Path) -> int:
    """Return the CRC-32 of a file."""
    crc = 0
    with open_plain(path) as stream:
        while block := stream.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
