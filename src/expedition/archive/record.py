"""`RunRecord`: a run at rest, read from its folder and from nothing else."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from expedition.archive.last_lines import LONGEST, LastLines, read_last_lines
from expedition.archive.liveness import derive_status
from expedition.archive.meta_file import check_meta, parse_json
from expedition.archive.recovery import edited_data
from expedition.archive.replay import Recorded, is_open, replay
from expedition.archive.run_files import FolderFiles, RunFiles
from expedition.archive.series import SeriesReader
from expedition.errors import DamagedError, RecordNotFoundError
from expedition.recording import layout, outcomes
from expedition.recording.artifacts import check_name
from expedition.recording.plain_files import open_plain
from expedition.recording.store import flatten, nest
from expedition.values import decode

if TYPE_CHECKING:
    pass


class RunError(NamedTuple):
    """What ended a run: the exception's type and message, and the traceback as text."""

    type: str
    message: str
    traceback: str


class RunRecord:
    """One run of an archive. Reading it runs no code of the experiment and changes no file."""

    def __init__(self, path: Path | str, *, sweep: Path | None = None, files: RunFiles | None = None) -> None:
        """Read the run folder `path`; `sweep` is its sweep folder where the caller knows it.

        `files` gives the files of a run that is no folder on the disk.

        Raises `RecordNotFoundError` when there is no run, `DamagedError` when its meta file cannot be read.
        """
        self.path = Path(path)
        self._files = files or FolderFiles(self.path)
        try:
            self.meta: dict[str, Any] = check_meta(self._json(layout.META_FILE), self.path / layout.META_FILE)
        except FileNotFoundError:
            raise RecordNotFoundError(
                f"{path} is no run folder: it has no {layout.META_FILE}; Archive(…).runs() finds those below "
                f"a folder"
            ) from None
        self._sweep = sweep

    def __repr__(self) -> str:
        return f"<RunRecord {self.experiment}[{self.id}] {self.status} in {self.path}>"

    @property
    def id(self) -> str:
        """``name=value`` pairs of the swept parameters."""
        return str(self.meta["id"])

    @property
    def key(self) -> str:
        """The run key, 64 hexadecimal digits."""
        return str(self.meta["key"])

    @property
    def index(self) -> int:
        """Position of the run in its sweep."""
        return int(self.meta["index"])

    @property
    def replicate(self) -> int:
        """Which replicate of its point the run is, from 0."""
        return int(self.meta["replicate"])

    @property
    def attempt(self) -> int:
        """How often the run had been tried before."""
        return int(self.meta["attempt"])

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return str(self.meta["experiment"]["name"])

    @property
    def testing(self) -> bool:
        """Whether the run was made in testing mode, with other values than those that count."""
        return bool(self.meta["experiment"].get("testing"))

    @property
    def namespace(self) -> str:
        """The experiment's folder below the archive root."""
        return str(self.meta["experiment"]["namespace"])

    @property
    def sweep(self) -> str:
        """Name of the sweep folder."""
        return str(self.meta["sweep"])

    @cached_property
    def status(self) -> str:
        """How the run ended; ``crashed`` when it died without a word, ``running`` while its lock is held."""
        if self._files.is_closed and self.meta["status"] == outcomes.RUNNING:
            return outcomes.CRASHED
        return derive_status(self.meta, self.path, self.sweep_path)

    @property
    def sweep_path(self) -> Path:
        """The sweep folder that the run stands in."""
        if self._sweep is not None:
            return self._sweep
        return _sweep_of(self.path)

    @property
    def children(self) -> list[RunRecord]:
        """The records of the runs that this one ran inside of it, first to last; unreadable ones are left out."""
        found: list[RunRecord] = []
        for path, files in sorted(self._files.children(), key=lambda child: _number(child[0])):
            with contextlib.suppress(RecordNotFoundError, DamagedError):
                found.append(RunRecord(path, sweep=self._sweep, files=files))
        return found

    @property
    def attempts(self) -> list[RunRecord]:
        """The records of the earlier attempts of the run, first to last; unreadable ones are left out."""
        found: list[RunRecord] = []
        for path, files in self._files.attempts() if self.attempt else ():
            with contextlib.suppress(RecordNotFoundError, DamagedError):
                found.append(RunRecord(path, sweep=self.sweep_path, files=files))
        return sorted(found, key=lambda record: record.attempt)

    @property
    def started(self) -> datetime:
        """When the run began (UTC)."""
        return datetime.fromisoformat(self.meta["start"])

    @property
    def stopped(self) -> datetime | None:
        """When the run ended (UTC), None while it has no end."""
        return datetime.fromisoformat(self.meta["stop"]) if self.meta["stop"] else None

    @property
    def duration(self) -> float | None:
        """Seconds from begin to end, None while it has no end."""
        return None if self.meta["duration"] is None else float(self.meta["duration"])

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.meta["seed"])

    @property
    def tags(self) -> list[str]:
        """Tags of the run."""
        return list(dict.fromkeys([*self.meta["tags"], *(self._journal.tags if self._open_end else ())]))

    @property
    def notes(self) -> list[str]:
        """Notes of the run."""
        had_no_end = self.meta["status"] == outcomes.RUNNING  # an end without room still has all notes
        return [*self.meta["notes"], *(self._journal.notes if had_no_end else ())]

    @property
    def error(self) -> RunError | None:
        """What ended the run, None when nothing did."""
        error = self.meta["outcome"]["error"]
        return RunError(error["type"], error["message"], error["traceback"]) if error else None

    @property
    def repeats(self) -> dict[str, str] | None:
        """Of the past run that this one repeats `key`, `sweep` and `folder` below the archive; None without one."""
        found = self.meta.get("repeats")
        return dict(found) if isinstance(found, dict) else None

    @property
    def code(self) -> str:
        """The digest of the code of its experiment, 12 hexadecimal digits; empty where it was not recorded."""
        return str(self.meta.get("code", ""))

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What the run read, in the order of its reading, as it was then.

        Of a `kind` ``file`` or ``folder`` there are `path` (below the folder of the project, else absolute),
        `sha256`, `size`, `mtime`, and of folders `files`; of a ``run`` `key`, `sweep`, `folder`, `status`, `attempt`
        and `start`.
        """
        found = self._journal.inputs if self._open_end else self.meta.get("inputs", [])
        return [dict(one) for one in found if isinstance(one, dict)]

    @property
    def reason(self) -> str:
        """Why the run was skipped, pruned or expected to fail; empty otherwise."""
        return str(self.meta["outcome"].get("reason", ""))

    @cached_property
    def params(self) -> dict[str, Any]:
        """All parameters by name, equal in value and type to what the run had."""
        return {name: self.decoded(about["value"]) for name, about in self.meta["parameters"].items()}

    @cached_property
    def flat_data(self) -> dict[str, Any]:
        """Stored values by slash path."""
        return {key: self.decoded(value) for key, value in self.tagged_data.items()}

    @cached_property
    def tagged_data(self) -> dict[str, Any]:
        """Stored values by slash path, as tagged JSON: those of the data file, without the files it refers to.

        Where that is damaged or missing they are those of the journal, if it is whole: see `data_problem`. Raises
        `DamagedError` when it is not.
        """
        return self._journal.data if self._open_end else self._stored[0]

    @property
    def data_problem(self) -> str:
        """Why the stored values of a run that has ended are not those of its data file; empty when they are."""
        return "" if self._open_end else self._stored[1]

    @cached_property
    def _stored(self) -> tuple[dict[str, Any], str]:
        try:
            return dict(flatten(self._json(layout.DATA_FILE))), ""
        except FileNotFoundError:
            # A run that stored nothing has no such file.
            kept = self._kept_by_journal() if self._has_stored() else None
            return (kept, f"{self.path / layout.DATA_FILE} is missing") if kept else ({}, "")
        except DamagedError as error:
            kept = self._kept_by_journal()
            if kept is None:
                raise
            return kept, str(error)

    def _has_stored(self) -> bool:
        """Whether the journal says of any stored value; quicker to know than what it leads to."""
        try:
            return b'"e":"store"' in self._files.read(layout.JOURNAL_FILE)
        except DamagedError:  # one that is too large to be read at once
            return True
        except OSError:
            return False

    def _kept_by_journal(self) -> dict[str, Any] | None:
        """The stored values by the journal, None unless it is whole: each line, and as many as the meta file counts."""
        if self._files.size(layout.JOURNAL_FILE) is None:
            return None
        try:
            journal = self._journal
        except (OSError, DamagedError):
            return None
        counted = self.meta.get("series", {})
        counts = {name: about.get("n") for name, about in counted.items() if isinstance(about, dict)}
        if journal.damaged or counts != {name: about["n"] for name, about in journal.series.items()}:
            return None
        return edited_data(journal.data, self.meta)

    @property
    def data(self) -> dict[str, Any]:
        """Stored values as a nested dict, equal in value and type to what was stored."""
        return nest(self.flat_data)

    @cached_property
    def derived(self) -> dict[str, Any]:
        """Derived parameters by name."""
        return {name: self.decoded(value) for name, value in self.tagged_derived.items()}

    @property
    def tagged_derived(self) -> dict[str, Any]:
        """Derived parameters by name, as tagged JSON."""
        return dict(self._journal.derived if self._open_end else self.meta.get("derived", {}))

    @property
    def edits(self) -> list[dict[str, Any]]:
        """What was changed after the run, first to last: ``time``, ``operation``, and tagged values by path in
        ``before`` and ``after``.
        """
        return list(self.meta.get("edits", []))

    @property
    def annotations(self) -> dict[str, dict[str, str]]:
        """Per annotated name its ``comment`` and ``unit``."""
        return dict(self._journal.annotations if self._open_end else self.meta.get("annotations", {}))

    @cached_property
    def series(self) -> SeriesReader:
        """The series by name; each is read when asked for."""
        return SeriesReader(self.path, self._files)

    @property
    def artifacts(self) -> Mapping[str, Path]:
        """Paths of the committed files by name; of a run in a zip each is unpacked when it is asked for.

        Asking for one that lies elsewhere, behind a link, raises `DamagedError`; the others are there.
        """
        entries = self._journal.artifacts if self._open_end else {a["name"]: a for a in self.artifact_list}
        return self._files.paths([check_name(name) for name in entries])

    @property
    def artifact_list(self) -> list[dict[str, Any]]:
        """Name, size, SHA-256 and kind of the committed files; of one that was never completed name and kind."""
        return list(self._journal.artifacts.values() if self._open_end else self.meta.get("artifacts", []))

    @property
    def series_list(self) -> dict[str, dict[str, Any]]:
        """Per series the number of entries ``n`` and their ``kind``: scalar, array or picture."""
        return dict(self._journal.series if self._open_end else self.meta.get("series", {}))

    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file of the run folder, None when it is not there."""
        return self._files.size(name)

    def read_of_sweep(self, name: str) -> bytes:
        """Return the content of a file of the sweep folder, such as ``source/exp_a.py``.

        Raises `FileNotFoundError`, or `DamagedError` when the file is damaged or lies elsewhere.
        """
        return self._files.read_of_sweep(self.sweep_path, name)

    def decoded(self, tagged: Any) -> Any:
        """Return the value of tagged JSON of this run, which may refer to its files. Raises `DamagedError`."""
        return decode(tagged, folder=self._files.folder_for(tagged))

    @property
    def log(self) -> str:
        """What the run printed, warned and logged, as a whole; of a long one see `last_lines` and `log_file`."""
        path = self.log_file
        if path is None:
            return ""
        with io.TextIOWrapper(open_plain(path), encoding="utf-8", errors="replace") as stream:
            return stream.read()

    @property
    def log_file(self) -> Path | None:
        """The file that `log` reads, None without one; of a run in a zip it is unpacked.

        Raises `DamagedError` when it is a link.
        """
        path = self._files.folder_with(layout.LOG_FILE) / layout.LOG_FILE
        if path.is_symlink():
            raise DamagedError(f"{path} is a link, which no archive holds: it may lead anywhere")
        return path if path.is_file() else None

    def last_lines(self, count: int, *, most: int = LONGEST) -> LastLines:
        """Return the last `count` lines of `log`, and how many there are before them, however long it is.

        Of lines that take more than `most` bytes the last part is returned.
        """
        path = self.log_file
        return LastLines([], 0) if path is None else read_last_lines(path, count, most=most)

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content = self._files.read(name)
        except NotADirectoryError:
            raise FileNotFoundError(str(self.path)) from None
        return parse_json(content, self.path / name)

    @property
    def recorded(self) -> Recorded:
        """What the journal leads to: of a run that has an end the same as its files, unless these were damaged."""
        return self._journal

    @cached_property
    def _journal(self) -> Recorded:
        return replay(self._files.folder_with(layout.JOURNAL_FILE))

    @property
    def _open_end(self) -> bool:
        return is_open(self.meta)


def _sweep_of(run: Path) -> Path:
    """The sweep folder around a run folder; a child stands in that of its parent."""
    for folder in (run, *list(run.parents)[:3]):
        if (folder / layout.SWEEP_FILE).is_file():
            return folder
    return _sweep_of(run.parent.parent) if run.parent.name == layout.CHILDREN_FOLDER else run.parent


def _number(child: Path) -> tuple[int, str]:
    """The number that a child's folder begins with: beyond 9999 it has more digits."""
    digits = child.name.partition("-")[0]
    return (int(digits) if digits.isdecimal() else -1), child.name


def summary_of(sweep: Path) -> RunRecord | None:
    """What the function marked ``@experiment.after_sweep`` recorded for the sweep folder `sweep`; None without.

    Raises `DamagedError` when its meta file cannot be read.
    """
    folder = sweep / layout.SUMMARY_FOLDER
    if not (folder / layout.META_FILE).is_file():
        return None
    return RunRecord(folder, sweep=sweep)
