"""Writes the selected runs into a zip that is an archive of its own, with what their sweeps need to be read."""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from expedition.archive.rows import RunRow
from expedition.archive.run_folders import run_folders
from expedition.archive.sweep import SweepFolder
from expedition.archive.zip_file import ZipOutput, check_names
from expedition.errors import DamagedError, ExperimentError, reason_of
from expedition.plugin.acting.action import Action, counted, name_of, refuse_running
from expedition.plugin.acting.carried import Carried
from expedition.plugin.acting.copying import look_of, refuse_changed, refuse_prepared
from expedition.plugin.acting.new_files import check_target, put_in_place, temporary_name
from expedition.recording import layout
from expedition.recording.plain_files import open_plain
from expedition.reporting.durations import format_bytes

_LINE = re.compile(rb'\{"index":(\d+),')


@dataclass
class _Sweep:
    """A sweep folder of which runs are packed: all that it has when it `is_whole`."""

    path: Path | None
    place: str
    rows: list[RunRow] = field(default_factory=list)
    is_whole: bool = False


@dataclass(frozen=True)
class _File:
    name: str
    path: Path
    is_folder: bool = False


def plan_compression(root: Path, rows: Sequence[RunRow], file: Path) -> Action:
    """Check that the runs `rows` of the archive `root` can be written into the new zip file `file`.

    Raises `OutputExistsError` when there is such a file, `FolderNotFoundError` when there is no folder for it,
    `ExperimentError` for runs without an end, or with an edit that is not finished, and for a name that is none of a
    zip file, and `DamagedError` for what cannot stand in a zip.
    """
    refuse_running(rows, "compressed")
    if any(row.source is not None for row in rows):
        raise ExperimentError(f"{root} is a zip file already; import it first to pack some of its runs")
    if file.suffix.lower() != ".zip":
        raise ExperimentError(f"{file} is no name for a zip file: let it end in .zip")
    check_target(file)
    refuse_prepared(((row.path, row.sweep_path) for row in rows), "compressed")
    sweeps = _sweeps(root, rows)
    parent = file.parent.resolve()
    for sweep in sweeps:
        if sweep.path is not None and parent.is_relative_to(sweep.path.resolve()):
            raise ExperimentError(
                f"{file} would stand in the sweep that it is made of; choose another folder"
            )
    names = [(f.name, f.is_folder) for sweep in sweeps for f in _files_of(sweep)]
    check_names(names, "it cannot be packed:")
    return _Compression(file, sweeps, len(names))


class _Compression:
    def __init__(self, file: Path, sweeps: list[_Sweep], count: int) -> None:
        self._file = file
        self._sweeps = sweeps
        self._rows = [row for sweep in sweeps for row in sweep.rows]
        self._count = count
        self.problems: list[str] = []
        size = sum(row.size for row in self._rows)
        experiments = len({(row.namespace, row.experiment) for row in self._rows})
        self.question = (
            f"pack {counted(len(self._rows), 'run')} ({format_bytes(size)}) of "
            f"{counted(experiments, 'experiment')} into {file}?"
        )

    def preview(self) -> Iterator[str]:
        """Yield the runs that would be packed."""
        for row in self._rows:
            yield f"pack {name_of(row)} ({format_bytes(row.size)})"

    def apply(self) -> Iterator[str]:
        """Write the file, whole or not at all."""
        temporary = temporary_name(self._file)
        try:
            with open(temporary, "xb") as sink, contextlib.closing(ZipOutput(sink)) as output:
                for sweep in self._sweeps:
                    _pack(sweep, output)
                    yield f"packed {counted(len(sweep.rows), 'run')} of {sweep.place}"
                output.close()
                sink.flush()
                os.fsync(sink.fileno())
            put_in_place(temporary, self._file)
        except (OSError, DamagedError, ExperimentError, ValueError) as error:
            self.problems.append(f"{self._file} was not written: {reason_of(error)}")
            return
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        yield f"{self._file}: {counted(len(self._rows), 'run')}, {format_bytes(os.stat(self._file).st_size)}"


def _sweeps(root: Path, rows: Sequence[RunRow]) -> list[_Sweep]:
    """Return the sweeps of the rows, by their place in the archive."""
    found: dict[Path | None, _Sweep] = {}
    top = root.resolve().name or "results"
    for row in rows:
        sweep = found.get(row.sweep_path)
        if sweep is None:
            if row.sweep_path is None:
                place = top
            elif row.sweep_path.resolve() == root.resolve():
                place = "/".join(["results", *_namespace(row), row.sweep_path.resolve().name])
            else:
                place = f"{top}/{row.sweep_path.relative_to(root).as_posix()}"
            sweep = found[row.sweep_path] = _Sweep(row.sweep_path, place)
        sweep.rows.append(row)
    for path, sweep in found.items():
        sweep.rows.sort(key=lambda row: row.path)
        if path is not None:
            chosen = {row.path for row in sweep.rows}
            sweep.is_whole = all(
                path / folder in chosen
                for folder in run_folders(path)
                if (path / folder / layout.META_FILE).is_file()
            )
    return sorted(found.values(), key=lambda sweep: sweep.place)


def _namespace(row: RunRow) -> list[str]:
    parts = [part for part in row.namespace.split("/") if part not in ("", ".", "..")]
    return parts or [row.experiment or "experiment"]


def _files_of(sweep: _Sweep) -> Iterator[_File]:
    """Yield what is packed of a sweep, but for commit logs and a trajectory that have to be made for it."""
    for row in sweep.rows:
        if row.path != sweep.path:
            above = row.path.relative_to(sweep.path).parts if sweep.path is not None else ()
            for parts, path, is_folder in Carried(row.path):
                yield _File("/".join((sweep.place, *above, *parts)), path, is_folder)
    if sweep.path is None:
        return
    has_run = any(row.path == sweep.path for row in sweep.rows)
    for parts, path, is_folder in Carried(sweep.path, is_sweep=True, has_run=has_run):
        if not sweep.is_whole:
            if parts[0] in (layout.JOURNALS_FOLDER, layout.TRAJECTORY_FILE, "report.html"):
                continue
            if parts[0] not in layout.SWEEP_OWNED and not has_run:
                continue
        yield _File("/".join((sweep.place, *parts)), path, is_folder)


def _pack(sweep: _Sweep, output: ZipOutput) -> None:
    """Pack a sweep. Raises `ExperimentError` when runs of it are changed meanwhile."""
    files = list(_files_of(sweep))
    looks = [(file.path, look_of(os.lstat(file.path))) for file in files if not file.is_folder]
    made: dict[str, tuple[bytes, float]] = {}
    with tempfile.TemporaryDirectory(prefix="expedition-") as folder:
        if sweep.path is not None:
            if not sweep.is_whole:
                made = _part_of_logs(sweep)
            trajectory = _trajectory_of(sweep, made, Path(folder))
            if trajectory is not None:
                name = f"{sweep.place}/{layout.TRAJECTORY_FILE}"
                files = [*(file for file in files if file.name != name), _File(name, trajectory)]
        for name in sorted(made):
            output.add_bytes(name, *made[name])
        for file in sorted(files, key=lambda file: file.name):
            if file.is_folder:
                output.add_folder(file.name, os.stat(file.path).st_mtime)
            else:
                output.add_file(file.name, file.path)
    refuse_prepared(((row.path, row.sweep_path) for row in sweep.rows), "compressed")
    refuse_changed(looks, "packed")


def _part_of_logs(sweep: _Sweep) -> dict[str, tuple[bytes, float]]:
    """Return the commit logs of some runs of a sweep by name, with their times."""
    assert sweep.path is not None
    indices = {row.index for row in sweep.rows}
    logs: dict[str, tuple[bytes, float]] = {}
    journals = sweep.path / layout.JOURNALS_FOLDER
    for log in sorted(journals.glob("*.jsonl")) if journals.is_dir() else ():
        with open_plain(log) as stream:
            lines = [line for line in stream if (head := _LINE.match(line)) and int(head[1]) in indices]
        if lines:
            logs[f"{sweep.place}/{layout.JOURNALS_FOLDER}/{log.name}"] = (
                b"".join(lines),
                os.stat(log).st_mtime,
            )
    return logs


def _trajectory_of(sweep: _Sweep, logs: dict[str, tuple[bytes, float]], folder: Path) -> Path | None:
    """Return the trajectory of the runs of a sweep that are packed: that of the sweep only if it is the same.

    The one that stands there may be older than the runs. `folder` is an empty folder to work in. None when a
    trajectory cannot be made; of a whole sweep its own is packed then.
    """
    assert sweep.path is not None
    try:
        made = _trajectory(sweep, logs, folder)
    except (OSError, DamagedError):
        return None
    own = sweep.path / layout.TRAJECTORY_FILE
    if sweep.is_whole and own.is_file() and filecmp.cmp(made, own, shallow=False):
        return own
    return made


def _copy(source: Path, target: Path) -> None:
    """Copy a file; a link stays one, which readers refuse."""
    shutil.copyfile(source, target, follow_symlinks=False)


def _trajectory(sweep: _Sweep, logs: dict[str, tuple[bytes, float]], folder: Path) -> Path:
    from expedition.trajectory.compile import compile_trajectory

    assert sweep.path is not None
    for file in (layout.SWEEP_FILE, layout.INVOCATIONS_FILE, layout.EXPANSIONS_FILE, layout.NOTES_FILE):
        if (sweep.path / file).is_file():
            _copy(sweep.path / file, folder / file)
    (folder / layout.JOURNALS_FOLDER).mkdir()
    if sweep.is_whole:
        for log in (sweep.path / layout.JOURNALS_FOLDER).glob("*.jsonl"):
            _copy(log, folder / layout.JOURNALS_FOLDER / log.name)
    for name, (content, _) in logs.items():
        (folder / layout.JOURNALS_FOLDER / name.rpartition("/")[2]).write_bytes(content)
    for row in sweep.rows:
        if row.path == sweep.path:
            for name in sorted(layout.RUN_OWNED):
                if (row.path / name).is_dir():
                    (folder / name).symlink_to((row.path / name).resolve())
                elif (row.path / name).exists() and name != layout.LOG_FILE:
                    _copy(row.path / name, folder / name)
            continue
        link = folder / row.path.relative_to(sweep.path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(row.path.resolve(), target_is_directory=True)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of arrays that cannot be read, as the sweep's own trajectory was told
        path = compile_trajectory(SweepFolder.open(folder))
    moment = max(os.stat(row.path / layout.META_FILE).st_mtime for row in sweep.rows)
    os.utime(path, (moment, moment))
    return path
