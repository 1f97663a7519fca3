"""Takes the sweeps of a zip, or of a folder from elsewhere, into an archive, and replaces nothing that is there.

All of it is unpacked to a hidden folder of the archive root and checked first. Then each sweep gets its place by one
rename; of a sweep that is there already only the runs that it lacks do, one rename each.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, ExperimentError, OutputExistsError, reason_of
from expedition.plugin.acting.action import Action, counted
from expedition.plugin.acting.arrivals import Arrival, compare, is_log
from expedition.plugin.acting.incoming import Source, incoming_sweeps, open_source
from expedition.plugin.acting.unfinished import Work, unfinished_of
from expedition.plugin.locks import hold_sweep, release
from expedition.plugin.sweeps import make_root
from expedition.recording import layout
from expedition.recording.files import write_all
from expedition.reporting.durations import format_bytes

_ROOM = 64 << 20
"""Bytes of the disk that an import leaves free."""
_LISTED = 5


def plan_import(root: Path, file: Path) -> Action:
    """Check that the sweeps of the zip file or folder `file` can be taken into the archive `root`.

    A sweep that is there with the same content is left alone; of one that has other runs those that are missing
    come in. Raises `ExperimentError` when something there would have to be replaced or something is running,
    `RecordNotFoundError` when there is nothing to import, and `DamagedError` for what is damaged or may not be
    unpacked.
    """
    if file.is_dir() and (_is_below(file, root) or _is_below(root, file)):
        raise ExperimentError(
            f"{file} is a part of the archive {root}, or the other way round; nothing to import"
        )
    source = open_source(file)
    arrivals: list[Arrival] = []
    conflicts: list[str] = []
    unfinished = {place for found in unfinished_of(root) for place in found.places}
    for sweep in incoming_sweeps(source):
        arrival = Arrival(sweep, root.joinpath(*sweep.place.split("/")), runs=list(sweep.members.runs))
        if os.path.lexists(arrival.target):
            arrival.is_unfinished = sweep.place in unfinished
            conflicts += compare(source, arrival)
        else:
            conflicts += _obstacle(root, arrival.target)
        arrivals.append(arrival)
    if conflicts:
        more = f"; and {len(conflicts) - _LISTED} more" if len(conflicts) > _LISTED else ""
        raise ExperimentError(
            f"{file} cannot be imported into {root}, where nothing is replaced: "
            f"{'; '.join(conflicts[:_LISTED])}{more}. "
            f"Import it into an archive of its own (--archive OTHER), or delete those here first (--archive-delete)"
        )
    needed = sum(source.sizes[name] for arrival in arrivals if arrival.is_needed for name in arrival.names)
    place = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed + _ROOM > free:
        raise ExperimentError(
            f"{file} needs {format_bytes(needed)} below {root}, where {format_bytes(free)} are free"
        )
    return _Import(root, source, arrivals, needed)


def _is_below(path: Path, other: Path) -> bool:
    return path.resolve().is_relative_to(other.resolve())


def _obstacle(root: Path, target: Path) -> list[str]:
    """Say what stands in the way of a new sweep folder."""
    above = target.parent
    while above not in (root, above.parent):
        if above.is_symlink() or (above.exists() and not above.is_dir()):
            return [f"{above} is no folder of the archive"]
        if (above / layout.SWEEP_FILE).exists() or (above / layout.META_FILE).exists():
            return [f"{above} is a sweep or run itself"]
        above = above.parent
    if root.exists() and not root.is_dir():
        return [f"{root} is no folder"]
    return []


class _Import:
    def __init__(self, root: Path, source: Source, arrivals: list[Arrival], size: int) -> None:
        self._root = root
        self._source = source
        self._arrivals = arrivals
        self.problems: list[str] = []
        needed = [arrival for arrival in arrivals if arrival.is_needed]
        runs = sum(len(arrival.runs) for arrival in needed)
        self.question = ""
        if needed:
            self.question = (
                f"import {counted(runs, 'run')} ({format_bytes(size)}) of {counted(len(needed), 'sweep')} "
                f"into {root}?"
            )

    def preview(self) -> Iterator[str]:
        """Yield the runs that would come in, and the sweeps that are here already."""
        for arrival in self._arrivals:
            place = arrival.sweep.place
            if arrival.is_new and not arrival.runs:
                yield f"import {place}, a sweep without runs"
            for run in arrival.runs:
                inside = arrival.sweep.inside(run)
                yield f"import {place}" if inside == "." else f"import {place}/{inside}"
            if arrival.is_unfinished and not arrival.runs:
                yield f"finish the import of {place}, which had been killed"
            yield from self._told(arrival)

    @staticmethod
    def _told(arrival: Arrival) -> Iterator[str]:
        place = arrival.sweep.place
        if not arrival.is_needed:
            yield f"{place} is here already, left alone"
        elif arrival.same:
            yield f"{counted(arrival.same, 'run')} of {place} {'is' if arrival.same == 1 else 'are'} here already"
        for name in arrival.kept:
            yield f"{place}/{name} differs, and stays as it is here"

    def apply(self) -> Iterator[str]:
        """Unpack, check, and put everything in place."""
        needed = [arrival for arrival in self._arrivals if arrival.is_needed]
        try:
            for arrival in self._arrivals:
                if not arrival.is_needed:
                    yield from self._told(arrival)
            if needed or unfinished_of(self._root):
                yield from self._take_in(needed)
        finally:
            self._source.close()

    def _take_in(self, arrivals: list[Arrival]) -> Iterator[str]:
        try:
            make_root(self._root)
            abandoned = unfinished_of(self._root)
            for found in abandoned:
                found.empty()
            work = Work.begin(self._root)
        except OSError as error:
            self.problems.append(f"nothing was imported into {self._root}: {reason_of(error)}")
            return
        try:
            folders = [work.path / str(number) for number in range(len(arrivals))]
            try:
                for arrival, folder in zip(arrivals, folders, strict=True):
                    self._unpack(arrival, folder)
                work.note([arrival.sweep.place for arrival in arrivals if not arrival.is_new])
                if hasattr(os, "sync"):
                    os.sync()  # a rename must not reach the disk before what it names
            except (OSError, DamagedError, ExperimentError) as error:
                self.problems.append(f"nothing was imported from {self._source.path}: {reason_of(error)}")
                return
            failed, taken = set(), 0
            for arrival, folder in zip(arrivals, folders, strict=True):
                try:
                    self._settle(arrival, folder)
                except (OSError, DamagedError, ExperimentError) as error:
                    self.problems.append(f"{arrival.sweep.place} was not imported: {reason_of(error)}")
                    failed.add(arrival.sweep.place)
                    continue
                if arrival.is_unfinished and not arrival.runs:
                    yield f"finished the import of {arrival.sweep.place}, which had been killed"
                else:
                    taken += len(arrival.runs)
                    yield f"imported {counted(len(arrival.runs), 'run')} of {arrival.sweep.place}"
                yield from self._told(arrival)
            settled = {arrival.sweep.place for arrival in arrivals}
            for found in abandoned:
                self._compile_left([place for place in found.places if place not in settled])
                if failed.isdisjoint(found.places):
                    found.remove()
            if not failed:
                work.finish()
            if taken:
                yield f"imported {counted(taken, 'run')} into {self._root}"
        finally:
            work.end()

    def _compile_left(self, places: Sequence[str]) -> None:
        """Compile sweeps into which a killed import of something else had begun to put runs."""
        for place in places:
            target = self._root.joinpath(*place.split("/"))
            if not (target / layout.SWEEP_FILE).is_file():
                continue
            try:
                (target / layout.JOURNALS_FOLDER).mkdir(exist_ok=True)
                lock = hold_sweep(target)
            except (OSError, ExperimentError) as error:
                self.problems.append(f"{place}: {error}")
                continue
            try:
                self._compile(target, place)
            finally:
                release(lock)

    def _unpack(self, arrival: Arrival, folder: Path) -> None:
        folder.mkdir()
        sweep = arrival.sweep
        for name in arrival.names:
            self._source.copy(name, folder / sweep.inside(name))
        for name in self._source.folders:
            inside = sweep.inside(name)
            mine = name.startswith(f"{sweep.folder}/") if sweep.folder else True
            if mine and any(name.startswith(f"{run}/") for run in arrival.runs):
                (folder / inside).mkdir(parents=True, exist_ok=True)
        if arrival.is_new:
            (folder / layout.JOURNALS_FOLDER).mkdir(exist_ok=True)
            self._source.check_unchanged(arrival.names, sweep.members.runs)
            SweepFolder.open(folder)
            self._compile_new(folder, sweep.place)
        else:
            self._source.check_unchanged(arrival.names, arrival.runs)

    def _settle(self, arrival: Arrival, folder: Path) -> None:
        """Put what was unpacked in place. Raises `OSError` or `ExperimentError` as far as that cannot be."""
        if arrival.is_new:
            arrival.target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(arrival.target):
                raise OutputExistsError(
                    f"{arrival.target} has come into being meanwhile; import it once more"
                )
            os.rename(folder, arrival.target)
            return
        (arrival.target / layout.JOURNALS_FOLDER).mkdir(exist_ok=True)
        lock = hold_sweep(arrival.target)
        try:
            for name, content in arrival.lines.items():
                _append(arrival.target / arrival.sweep.inside(name), content)
            # Logs come after the runs: of a run without a folder they would say that it has ended.
            files = sorted(arrival.files, key=lambda name: is_log(arrival.sweep.inside(name)))
            first = sum(not is_log(arrival.sweep.inside(name)) for name in files)
            self._move_files(arrival, folder, files[:first])
            for run in arrival.runs:
                _move_run(
                    folder,
                    arrival.target,
                    arrival.sweep.inside(run),
                    arrival.sweep.members.runs[run],
                    arrival,
                )
            self._move_files(arrival, folder, files[first:])
            self._compile(arrival.target, arrival.sweep.place)
        finally:
            release(lock)

    @staticmethod
    def _move_files(arrival: Arrival, folder: Path, names: Sequence[str]) -> None:
        for inside in map(arrival.sweep.inside, names):
            (arrival.target / inside).parent.mkdir(parents=True, exist_ok=True)
            _move(folder / inside, arrival.target / inside)

    def _compile_new(self, folder: Path, place: str) -> None:
        """Compile the trajectory of a sweep that comes: the one that came may be older than its runs.

        It stays, with its time, where it is the same, and where none can be compiled.
        """
        from expedition.trajectory.compile import compile_trajectory

        own, came = folder / layout.TRAJECTORY_FILE, folder.with_name(f"{folder.name}.h5")
        if not own.is_file():
            self._compile(folder, place)
            return
        os.rename(own, came)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                compile_trajectory(SweepFolder.open(folder))
        except (DamagedError, OSError) as error:
            os.replace(came, own)
            self.problems.append(
                f"{place}: its {layout.TRAJECTORY_FILE} is the one that came, since none can be compiled: "
                f"{str(error).replace(str(folder), place)}"
            )
            return
        texts = [str(warning.message).replace(str(folder), place) for warning in caught]
        self.problems += [f"{place}: {text}" for text in dict.fromkeys(texts) if "cannot be read" in text]
        if filecmp.cmp(came, own, shallow=False):
            os.replace(came, own)

    def _compile(self, folder: Path, place: str) -> None:
        from expedition.trajectory.repair import repair_sweep

        repair = repair_sweep(folder)
        self.problems += [f"{place}: {problem}" for problem in repair.problems]


def _move_run(folder: Path, target: Path, inside: str, names: Sequence[str], arrival: Arrival) -> None:
    if inside != ".":
        (target / inside).parent.mkdir(exist_ok=True)
        _move(folder / inside, target / inside)
        return
    # The run shares its folder with the sweep: its meta file, which makes it a run, comes last.
    for name in sorted(map(arrival.sweep.inside, names), key=lambda name: name == layout.META_FILE):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (target / name).is_file() and filecmp.cmp(folder / name, target / name, shallow=False):
            continue  # an import that was killed has brought it
        _move(folder / name, target / name)


def _move(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise OutputExistsError(f"{target} has come into being meanwhile; import it once more")
    os.rename(source, target)


def _append(file: Path, content: bytes) -> None:
    """Add whole lines to a file of lines, in one write."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
