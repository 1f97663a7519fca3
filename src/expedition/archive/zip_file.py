"""Zip files from anywhere: all members are checked before one is read, and no more is unpacked than they say."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import stat
import struct
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.errors import DamagedError, RecordNotFoundError
from expedition.recording.plain_files import open_plain

if TYPE_CHECKING:
    from zipfile import ZipInfo

MAX_RATIO = 300
"""How many times larger than the zip file all members together may be, above `MODEST` bytes."""

MODEST = 1 << 30

STORED_RATIO = 100
"""A member that would become smaller than this part of itself is stored as it is, lest it looks like a bomb."""

_METHODS = frozenset({0, 8, 12, 14})  # stored, deflate, bzip2, LZMA
_MAX_NAME = 255  # bytes of a part of a path that file systems take
_MAX_DEPTH = 200  # parts of a name: what makes and removes folders goes down by itself, and not without end
_TIMES = 0x5455  # the extra field with times in seconds since the epoch, in UTC
_DRIVE = re.compile(r"[A-Za-z]:")
_BLOCK = 1 << 20


class CheckedZip:
    """A zip file all of whose members could be unpacked side by side below a folder, and nowhere else.

    Attributes
    ----------
    path : the file. size : its bytes. members : its files by name; folders that are members are in `folders`.
    """

    def __init__(self, path: Path) -> None:
        """Open and check the file.

        Raises `RecordNotFoundError` when there is none, and `DamagedError`, naming the member, when it is damaged,
        encrypted, or has members that would leave a folder, replace one another or fill a disk.
        """
        import zipfile

        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            self.size = os.stat(path).st_size
        except FileNotFoundError:
            raise RecordNotFoundError(f"there is no archive at {path}: no such file") from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OverflowError) as error:
            raise DamagedError(
                f"{path} cannot be read as an archive: it is no zip file, or a damaged one ({error})"
            ) from None
        infos = self._zip.infolist()
        try:
            check_names([(info.filename, info.is_dir()) for info in infos], f"{path}: its member")
            for info in infos:
                _check_kind(info, path)
            _check_sizes(infos, path, min(self.size, getattr(self._zip, "start_dir", self.size)))
        except BaseException:
            self._zip.close()
            raise
        self.members = {info.filename: info for info in infos if not info.is_dir()}
        self.folders = [info.filename.rstrip("/") for info in infos if info.is_dir()]

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def read(self, name: str) -> bytes:
        """Return the content of a member. Raises `FileNotFoundError`, or `DamagedError` naming the member."""
        return b"".join(self._blocks(name))

    def extract(self, name: str, target: Path) -> None:
        """Write a member to the file `target`, which must not exist, with the time that it had; folders are made.

        Raises as `read`, and `OSError` as the system does; nothing is left half then.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".tmp-{os.getpid()}-{threading.get_ident()}")
        try:
            with open(temporary, "xb") as file:
                for block in self._blocks(name):
                    file.write(block)
            moment = time_of(self.members[name])
            os.utime(temporary, (moment, moment))
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _blocks(self, name: str) -> Iterator[bytes]:
        import lzma
        import zipfile
        import zlib

        info = self.members.get(name)
        if info is None:
            raise FileNotFoundError(f"{self.path / name}")
        try:
            with self._zip.open(info) as stream:
                read = 0
                while block := stream.read(_BLOCK):
                    read += len(block)
                    yield block
        except OSError as error:
            if error.errno is not None:  # the system's own; bz2 has no class for what is damaged
                raise
            raise DamagedError(f"{self.path}: its member {name!r} is damaged: {error}") from None
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError) as error:
            raise DamagedError(f"{self.path}: its member {name!r} is damaged: {error}") from None
        if read != info.file_size:
            raise DamagedError(
                f"{self.path}: its member {name!r} is damaged: it has {read:,} bytes, not {info.file_size:,}"
            )


def check_names(names: Iterable[tuple[str, bool]], what: str) -> None:
    """Check names of members, each with whether it is that of a folder; `what` begins a message.

    Raises `DamagedError` for names that would leave the folder they are unpacked to, or that mean one file, or a
    file and a folder, on some file system.
    """
    kinds: dict[str, tuple[str, bool]] = {}  # by what a careless file system takes for the same
    for name, is_folder in names:
        plain = name[:-1] if is_folder and name.endswith("/") else name
        parts = plain.split("/")
        if name.startswith("/") or _DRIVE.match(name):
            raise DamagedError(f"{what} {name!r} has an absolute name; nothing is read from such a file")
        if "\\" in name or "\0" in name:
            raise DamagedError(f"{what} {name!r} has a character that no name of an archive has")
        if len(parts) > _MAX_DEPTH:
            raise DamagedError(
                f"{what} {name[:80]!r}… is in {len(parts) - 1:,} folders, one within the other"
            )
        for part in parts:
            if part in ("", ".", "..") or _DRIVE.match(part):
                raise DamagedError(
                    f"{what} {name!r} would leave the folder; nothing is read from such a file"
                )
            if len(part.encode("utf-8", "surrogatepass")) > _MAX_NAME:
                raise DamagedError(f"{what} {name[:80]!r}… has a name that is too long for a file system")
        _enter(kinds, parts, is_folder, what)


def _enter(kinds: dict[str, tuple[str, bool]], parts: Sequence[str], is_folder: bool, what: str) -> None:
    """Note down a member and the folders above it; refuse what is there in another form."""
    name = "/".join(parts)
    key = _same(name)
    there = kinds.get(key)
    if there is not None and not (is_folder and there == (name, True)):
        if there == (name, False) and not is_folder:
            raise DamagedError(f"{what} {name!r} is there twice")
        if there[0] == name:
            raise DamagedError(f"{what} {name!r} is a file and a folder")
        raise DamagedError(f"{what} {name!r} and {there[0]!r} differ by case only, or by nothing one can see")
    kinds[key] = (name, is_folder)
    for end in range(len(parts) - 1, 0, -1):
        above = "/".join(parts[:end])
        key = _same(above)
        there = kinds.get(key)
        if there == (above, True):
            return  # and so are the folders above that
        if there is not None:
            wrong = "is a file and a folder" if there[0] == above else f"and {there[0]!r} differ by case only"
            raise DamagedError(f"{what} {above!r} {wrong}")
        kinds[key] = (above, True)


def _same(name: str) -> str:
    return name if name.isascii() and name.islower() else unicodedata.normalize("NFC", name).casefold()


def _check_kind(info: ZipInfo, path: Path) -> None:
    name, mode = info.filename, info.external_attr >> 16
    original = info.orig_filename
    if "\\" in original or "\0" in original:
        raise DamagedError(f"{path}: its member {original!r} has a character that no name of an archive has")
    if info.flag_bits & 1:
        raise DamagedError(
            f"{path}: its member {name!r} is encrypted; unpack it and pack it without a password"
        )
    kind = stat.S_IFMT(mode) if info.create_system == 3 else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "no file"
        raise DamagedError(f"{path}: its member {name!r} is {what}; archives have files and folders only")
    if info.compress_type not in _METHODS:
        raise DamagedError(f"{path}: its member {name!r} is packed by a method that is not known here")


def _check_sizes(infos: Sequence[ZipInfo], path: Path, end: int) -> None:
    total = sum(info.file_size for info in infos)
    if total > MODEST and total > MAX_RATIO * end:
        largest = max(infos, key=lambda info: info.file_size)
        raise DamagedError(
            f"{path} has {end:,} bytes and claims to hold {total:,}, of which {largest.file_size:,} are in its "
            f"member {largest.filename!r}: that is no archive but a trap for whoever unpacks it"
        )
    before: ZipInfo | None = None
    for info in sorted(infos, key=lambda info: info.header_offset):
        if before is not None and before.header_offset + 30 + before.compress_size > info.header_offset:
            raise DamagedError(f"{path}: its members {before.filename!r} and {info.filename!r} overlap")
        before = info
    if before is not None and before.header_offset + 30 + before.compress_size > end:
        raise DamagedError(f"{path}: its member {before.filename!r} is cut off")


def time_of(info: ZipInfo) -> float:
    """Return when a member was changed, in seconds since the epoch."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == _TIMES and size >= 5 and extra[4:5] and extra[4] & 1 and len(extra) >= 9:
            return float(struct.unpack("<i", extra[5:9])[0])
        extra = extra[4 + size :]
    try:
        return datetime.datetime(*info.date_time, tzinfo=datetime.UTC).timestamp()
    except ValueError:
        return 0.0


class ZipOutput:
    """Writes the members of a zip file, the same bytes for the same names, times and contents.

    `sink` is an open binary file.
    """

    def __init__(self, sink: Any) -> None:
        import zipfile

        self._zip = zipfile.ZipFile(sink, "w", allowZip64=True)

    def add_file(self, name: str, source: Path) -> None:
        """Add a file, deflated unless that saves nothing. Raises `OSError`."""
        import zipfile

        with open_plain(source) as file:
            status = os.fstat(file.fileno())
            info = self._info(name, status.st_mtime)
            head = file.read(_BLOCK)
            file.seek(0)
            if not _is_worth_it(name, head):
                info.compress_type = zipfile.ZIP_STORED
            info.file_size = status.st_size
            with self._zip.open(info, "w", force_zip64=status.st_size > 0x7FFF0000) as target:
                shutil.copyfileobj(file, target, _BLOCK)

    def add_bytes(self, name: str, content: bytes, moment: float) -> None:
        """Add a file with `content` that was changed at `moment`, in seconds since the epoch."""
        self._zip.writestr(self._info(name, moment), content)

    def add_folder(self, name: str, moment: float) -> None:
        """Add a folder that has nothing in it."""
        info = self._info(f"{name}/", moment)
        info.compress_type, info.external_attr = 0, (0o40755 << 16) | 0x10
        self._zip.writestr(info, b"")

    def close(self) -> None:
        """Write the directory at the end of the file, which stays open."""
        self._zip.close()

    @staticmethod
    def _info(name: str, moment: float) -> ZipInfo:
        import zipfile

        seconds = int(moment)
        when = datetime.datetime.fromtimestamp(
            min(max(seconds, 315532800), 4354819198), datetime.UTC
        )  # 1980 … 2107
        info = zipfile.ZipInfo(name, when.timetuple()[:6])
        info.create_system, info.external_attr = 3, 0o100644 << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        if -(2**31) <= seconds < 2**31:
            info.extra = struct.pack("<HHBi", _TIMES, 5, 1, seconds)
        return info


_PACKED = frozenset(
    {
        *(".7z", ".br", ".bz2", ".gz", ".lz4", ".lzma", ".rar", ".tgz", ".whl", ".xz", ".zip", ".zst"),
        *(".avif", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".webp"),
        *(".flac", ".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".ogg", ".webm"),
        *(".npz", ".parquet"),
    }
)


def _is_worth_it(name: str, head: bytes) -> bool:
    """Whether a file is to be deflated: not what is packed already, and not what would look like a bomb."""
    import zlib

    if os.path.splitext(name)[1].lower() in _PACKED or not head:
        return False
    if len(head) < 1 << 16:
        return True
    return STORED_RATIO * len(zlib.compress(head, 6)) > len(head)
