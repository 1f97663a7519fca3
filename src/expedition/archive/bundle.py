"""`Bundle`: an archive in a zip, read where it is. Only what needs a file of its own is unpacked, and only then."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from expedition.archive.record import RunRecord
from expedition.archive.rows import RunRow, read_row
from expedition.archive.run_files import NamedPaths, RunFiles, files_named_in
from expedition.archive.run_folders import RunFolders, order_of, planned_folders
from expedition.archive.sweep import SweepFolder
from expedition.archive.zip_file import CheckedZip
from expedition.errors import DamagedError, RecordNotFoundError
from expedition.recording import layout

LARGE = 1 << 20
"""Bytes above which values may stay in run folders when their trajectory is written."""


if TYPE_CHECKING:
    _PlainPath = Path
else:
    _PlainPath = type(Path())


class HeldPath(_PlainPath):
    """A path below a temporary folder, which stays as long as the path does."""

    _holder: object = None

    @classmethod
    def of(cls, path: Path, holder: object) -> Path:
        """Return `path`; what `holder` removes at its end stays until then."""
        held = cls(path)
        held._holder = holder
        return held


class Bundle:
    """The sweeps and runs in a zip file.

    Attributes
    ----------
    path : the file. sweeps : names of the members that are sweep folders, oldest first; ``""`` is the top.
    lone : name of the folder of a run that was packed without its sweep; None when there is none.
    """

    def __init__(self, path: Path) -> None:
        """Open and check the zip file `path`.

        Raises `RecordNotFoundError` when it has no archive in it, `DamagedError`, naming the member, when it is
        damaged or nothing that may be unpacked.
        """
        self.path = path
        self._zip = CheckedZip(path)
        self.sweeps = find_sweeps(self._zip.members)
        self.lone = None if self.sweeps else _lone_run(self._zip.members)
        if not self.sweeps and self.lone is None:
            raise RecordNotFoundError(
                f"{path} has no archive in it: no folder with a {layout.SWEEP_FILE}; pack one with "
                f"pytest --archive-compress FILE.zip"
            )

    def rows(self) -> Iterator[RunRow]:
        """Yield the rows of all runs, oldest sweep first; those of runs that cannot be read are ``damaged``."""
        for sweep, run in self._runs:
            row = self._row(sweep, run)
            if row is not None:
                yield row

    def row_at(self, which: str | Path) -> RunRow | None:
        """Return the row of the run that stands at a path, in the zip or behind its name; None without one."""
        wanted = PurePosixPath(str(which).replace("\\", "/"))
        if wanted.is_relative_to(self.path.as_posix()):
            wanted = wanted.relative_to(self.path.as_posix())
        run = "" if wanted == PurePosixPath() else wanted.as_posix()
        return self._row(self._sweeps[run], run) if run in self._sweeps else None

    def sweep_paths(self) -> list[Path]:
        """Return where the sweeps are: the path of the zip file, and in it."""
        return [self._place(sweep) for sweep in self.sweeps]

    def open_sweeps(self) -> Iterator[SweepFolder]:
        """Yield the sweeps, unpacked but for their runs; unreadable ones are left out."""
        for sweep in self.sweeps:
            with contextlib.suppress(DamagedError):
                yield self.open_sweep(sweep)

    def open_sweep(self, sweep: str) -> SweepFolder:
        """Return one sweep, unpacked but for its runs: of these only large values that its trajectory refers to.

        The folder is removed when nobody has it, its path or the bundle any more. Raises `DamagedError`.
        """
        found = self._members_of_sweeps[sweep]
        for name in found.own:
            self._unpack(name)
        for run, names in found.runs.items():
            for name in names:
                data = f"{join_names(run, layout.DATA_FOLDER)}/"
                if name.startswith(data) and self._zip.members[name].file_size >= LARGE:
                    self._unpack(name)
        folder = self._folder / sweep
        return SweepFolder(HeldPath.of(folder, self), SweepFolder.open(folder).manifest)

    def summaries(self) -> Iterator[RunRecord]:
        """Yield the summaries of the sweeps that have one, oldest sweep first; unreadable ones are left out."""
        for sweep in self.sweeps:
            folder = join_names(sweep, layout.SUMMARY_FOLDER)
            with contextlib.suppress(DamagedError, RecordNotFoundError):
                yield RunRecord(
                    self._place(folder), sweep=self._place(sweep), files=ZippedFiles(self, folder)
                )

    def read(self, name: str) -> bytes:
        """Return the content of a member. Raises `FileNotFoundError` or `DamagedError`."""
        return self._zip.read(name)

    def size(self, name: str) -> int | None:
        """Return the bytes of a member, unpacked; None when there is none of that name."""
        member = self._zip.members.get(name)
        return member.file_size if member is not None else None

    def unpacked(self, folder: str, names: Sequence[str]) -> Path:
        """Return a folder in which those of the files `names` stand that the folder `folder` of the zip has.

        Raises `DamagedError` when one is damaged.
        """
        for name in names:
            self._unpack(join_names(folder, name))
        return HeldPath.of(self._folder / folder, self)

    def runs_below(self, run: str, part: str) -> Iterator[tuple[Path, str]]:
        """Yield places and names of the folders below a part of a run: ``children/`` or ``attempts/``."""
        prefix = f"{join_names(run, part)}/"
        members = self._members_of_run(self._sweeps[run], run) if run in self._sweeps else self._zip.members
        names = {name[len(prefix) :].partition("/")[0] for name in members if name.startswith(prefix)}
        for name in names:
            yield self._place(prefix + name), prefix + name

    def _row(self, sweep: str | None, run: str) -> RunRow | None:
        members = self._members_of_run(sweep, run)
        sizes = [self._zip.members[name].file_size for name in members]
        above = PurePosixPath(sweep or run).parts[:-1]
        try:
            return read_row(
                self._place(run),
                self._place(sweep) if sweep is not None else None,
                namespace="/".join(above[1:]),
                source=ZippedFiles(self, run),
                measured=(sum(sizes), len(sizes)),
            )
        except RecordNotFoundError:
            return None

    def _members_of_run(self, sweep: str | None, run: str) -> list[str]:
        if sweep is None:
            return [name for name in self._zip.members if name.startswith(f"{run}/" if run else "")]
        return self._members_of_sweeps[sweep].runs[run]

    @cached_property
    def _runs(self) -> list[tuple[str | None, str]]:
        if self.lone is not None:
            return [(None, self.lone)]
        return [(sweep, run) for sweep in self.sweeps for run in self._members_of_sweeps[sweep].runs]

    @cached_property
    def _sweeps(self) -> dict[str, str | None]:
        return {run: sweep for sweep, run in self._runs}

    @cached_property
    def _members_of_sweeps(self) -> dict[str, SweepMembers]:
        return sort_members(self._zip.members, self.sweeps, self._zip.read)

    def _place(self, name: str) -> Path:
        return self.path.joinpath(*PurePosixPath(name).parts)

    @cached_property
    def _folder(self) -> Path:
        folder = tempfile.mkdtemp(prefix="expedition-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _unpack(self, name: str) -> None:
        if name in self._zip.members:
            target = self._folder.joinpath(*name.split("/"))
            if not target.exists():
                self._zip.extract(name, target)


class ZippedFiles:
    """The files of a run in a bundle, whose folder there is `run`."""

    is_closed = True

    def __init__(self, bundle: Bundle, run: str) -> None:
        self._bundle = bundle
        self._run = run

    def read(self, name: str) -> bytes:
        """Return the content of a file, from the zip."""
        return self._bundle.read(join_names(self._run, name))

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, unpacked."""
        return self._bundle.size(join_names(self._run, name))

    def read_of_sweep(self, sweep: Path, name: str) -> bytes:
        """Return the content of a file of the sweep, from the zip."""
        try:
            return self._bundle.read((sweep / name).relative_to(self._bundle.path).as_posix())
        except ValueError:
            raise FileNotFoundError(str(sweep / name)) from None

    def folder_with(self, *names: str) -> Path:
        """Unpack files of the run; return the temporary folder of the run."""
        return self._bundle.unpacked(self._run, names)

    def folder_for(self, tagged: Any) -> Path:
        """Unpack the files that a value refers to; return the temporary folder of the run."""
        names = list(files_named_in(tagged)) if isinstance(tagged, dict | list) else []
        return self._bundle.unpacked(self._run, names) if names else self._bundle.path

    def paths(self, names: Sequence[str]) -> Mapping[str, Path]:
        """Return paths that are unpacked when they are asked for."""
        return _UnpackedPaths(self, names)

    def children(self) -> Iterator[tuple[Path, RunFiles]]:
        """Yield the runs below ``children/``."""
        for path, name in self._bundle.runs_below(self._run, layout.CHILDREN_FOLDER):
            yield path, ZippedFiles(self._bundle, name)

    def attempts(self) -> Iterator[tuple[Path, RunFiles]]:
        """Yield the runs below ``attempts/``."""
        for path, name in self._bundle.runs_below(self._run, layout.ATTEMPTS_FOLDER):
            yield path, ZippedFiles(self._bundle, name)

    def held(self, path: Path) -> Path:
        """Return a path in the temporary folder that keeps the folder."""
        return HeldPath.of(path, self._bundle)


class _UnpackedPaths(NamedPaths):
    def __init__(self, files: ZippedFiles, names: Sequence[str]) -> None:
        super().__init__(names)
        self._files = files

    def path_of(self, name: str) -> Path:
        """Return the path of a file in the temporary folder, unpacked."""
        return self._files.held(self._files.folder_with(name) / name)

    def __repr__(self) -> str:
        return f"<artifacts in a zip, each unpacked when it is asked for: {list(self._names)}>"


class SweepMembers:
    """The members of a sweep: its `own` files, and those of its `runs` by the folder of the run."""

    def __init__(self) -> None:
        self.own: list[str] = []
        self.runs: dict[str, list[str]] = {}


def sort_members(
    members: Mapping[str, Any] | Sequence[str], sweeps: Sequence[str], read: Callable[[str], bytes]
) -> dict[str, SweepMembers]:
    """Sort the names of files by the sweep folders that they are in; others are left out.

    `read` returns the content of a file. The runs of a sweep are in the order of their indices.
    """
    found = {sweep: SweepMembers() for sweep in sweeps}
    known = frozenset(members)
    folders = {sweep: _run_folders(sweep, known, read) for sweep in sweeps}
    for name in members:
        sweep = _sweep_of(name, found)
        if sweep is None:
            continue
        parts = name[len(sweep) + 1 if sweep else 0 :].split("/")
        run = folders[sweep].of(parts)
        if run is not None:
            found[sweep].runs.setdefault(join_names(sweep, run), []).append(name)
        elif join_names(sweep, layout.META_FILE) in known and parts[0] not in layout.SWEEP_OWNED:
            found[sweep].runs.setdefault(sweep, []).append(name)
        else:
            found[sweep].own.append(name)
    for sweep, sorted_ in found.items():
        order = {run: (run != sweep, order_of(run)) for run in sorted_.runs}
        sorted_.runs = {run: sorted_.runs[run] for run in sorted(order, key=order.__getitem__)}
    return found


def _run_folders(sweep: str, known: frozenset[str], read: Callable[[str], bytes]) -> RunFolders:
    return RunFolders(
        [name for name in layout.RUN_OWNED if join_names(sweep, name) in known],
        lambda folder: join_names(join_names(sweep, folder), layout.META_FILE) in known,
        lambda: planned_folders(lambda name: read(join_names(sweep, name)), Path(sweep)),
    )


def _sweep_of(name: str, sweeps: Mapping[str, object]) -> str | None:
    end = name.rfind("/")
    found = None
    while end >= 0:
        if name[:end] in sweeps:
            found = name[:end]  # the outermost: the inside of a sweep is not searched for others
        end = name.rfind("/", 0, end) if end else -1
    return "" if "" in sweeps else found


def find_sweeps(members: Mapping[str, object]) -> list[str]:
    """Return the folders with a manifest, oldest first, but those inside of another or in a hidden folder."""
    ending = f"/{layout.SWEEP_FILE}"
    if layout.SWEEP_FILE in members:
        return [""]
    candidates = {name[: -len(ending)] for name in members if name.endswith(ending)}
    found = [
        name
        for name in candidates
        if not any(part.startswith(".") for part in name.split("/"))
        and not any(above.as_posix() in candidates for above in PurePosixPath(name).parents)
    ]
    return sorted(found, key=lambda name: (name.rpartition("/")[2], name))


def _lone_run(members: Mapping[str, object]) -> str | None:
    """Return the folder of a run that stands alone, at the top or in a folder there."""
    if layout.META_FILE in members:
        return ""
    found = [name for name in members if name.endswith(f"/{layout.META_FILE}") and name.count("/") == 1]
    return found[0].rpartition("/")[0] if len(found) == 1 else None


def join_names(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def sweep_on_disk(path: Path | str) -> Path:
    """Return `path`, or where the sweep was unpacked to that it means: a zip with one sweep, or a place in a zip.

    Raises `RecordNotFoundError` when the zip has no such sweep, or several, and `DamagedError`.
    """
    given = Path(path)
    if given.is_dir() or (given.exists() and given.suffix.lower() != ".zip"):
        return given
    file = next((place for place in (given, *given.parents) if place.is_file()), None)
    if file is None or file.suffix.lower() != ".zip":
        return given
    bundle = Bundle(file)
    inside = given.relative_to(file)
    wanted = "" if inside == Path() else inside.as_posix()
    found = [
        sweep for sweep in bundle.sweeps if sweep == wanted or not wanted or sweep.startswith(f"{wanted}/")
    ]
    if len(found) != 1:
        listed = ", ".join(str(place) for place in bundle.sweep_paths()[:5])
        raise RecordNotFoundError(
            f"{given} means {len(found)} sweeps; {file} has {listed}; name one of these"
        )
    return bundle.open_sweep(found[0]).path
