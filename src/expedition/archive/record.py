"""`RunRecord`: a run at rest, read from its folder and from nothing else."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from expedition.archive.liveness import derive_status
from expedition.archive.replay import Recorded, replay
from expedition.archive.sweep import check_version
from expedition.errors import DamagedError, NameNotFoundError, RecordNotFoundError, near_matches
from expedition.recording import layout, outcomes
from expedition.recording.artifacts import check_name
from expedition.recording.journal import read_journal
from expedition.recording.store import flatten, nest
from expedition.values import decode

if TYPE_CHECKING:
    import numpy as np


class RunError(NamedTuple):
    """What ended a run: the exception's type and message, and the traceback as text."""

    type: str
    message: str
    traceback: str


class SeriesValues(NamedTuple):
    """A series as arrays: `step` int64 (n,), `time` datetime64[us] in UTC (n,), `value` (n,) or (n, …).

    Values that share no numpy type are an object array of exact Python values; pictures are file paths.
    """

    step: np.ndarray[Any, Any]
    time: np.ndarray[Any, Any]
    value: np.ndarray[Any, Any]


class RunRecord:
    """One run of an archive. Reading it runs no code of the experiment and changes no file."""

    def __init__(self, path: Path | str, *, sweep: Path | None = None) -> None:
        """Read the run folder `path`; `sweep` is its sweep folder where the caller knows it.

        Raises `RecordNotFoundError` when there is no run, `DamagedError` when its meta file cannot be read.
        """
        self.path = Path(path)
        try:
            self.meta: dict[str, Any] = load_meta(self.path)
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
        folder = self.path / layout.CHILDREN_FOLDER
        found: list[RunRecord] = []
        for path in sorted(folder.iterdir(), key=_number) if folder.is_dir() else ():
            with contextlib.suppress(RecordNotFoundError, DamagedError):
                found.append(RunRecord(path, sweep=self._sweep))
        return found

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
        return [*self.meta["notes"], *(self._journal.notes if self._open_end else ())]

    @property
    def error(self) -> RunError | None:
        """What ended the run, None when nothing did."""
        error = self.meta["outcome"]["error"]
        return RunError(error["type"], error["message"], error["traceback"]) if error else None

    @property
    def reason(self) -> str:
        """Why the run was skipped, pruned or expected to fail; empty otherwise."""
        return str(self.meta["outcome"].get("reason", ""))

    @cached_property
    def params(self) -> dict[str, Any]:
        """All parameters by name, equal in value and type to what the run had."""
        return {
            name: decode(about["value"], folder=self.path) for name, about in self.meta["parameters"].items()
        }

    @cached_property
    def flat_data(self) -> dict[str, Any]:
        """Stored values by slash path."""
        return {key: decode(value, folder=self.path) for key, value in self.tagged_data.items()}

    @cached_property
    def tagged_data(self) -> dict[str, Any]:
        """Stored values by slash path, as tagged JSON: nothing but the file itself is read."""
        if self._open_end:
            return self._journal.data
        try:
            return dict(flatten(load_json(self.path / layout.DATA_FILE)))
        except FileNotFoundError:
            return {}

    @property
    def data(self) -> dict[str, Any]:
        """Stored values as a nested dict, equal in value and type to what was stored."""
        return nest(self.flat_data)

    @cached_property
    def derived(self) -> dict[str, Any]:
        """Derived parameters by name."""
        tagged = self._journal.derived if self._open_end else self.meta.get("derived", {})
        return {name: decode(value, folder=self.path) for name, value in tagged.items()}

    @property
    def annotations(self) -> dict[str, dict[str, str]]:
        """Per annotated name its ``comment`` and ``unit``."""
        return dict(self._journal.annotations if self._open_end else self.meta.get("annotations", {}))

    @cached_property
    def series(self) -> SeriesReader:
        """The series by name; each is read when asked for."""
        return SeriesReader(self.path)

    @property
    def artifacts(self) -> dict[str, Path]:
        """Paths of the committed files by name."""
        entries = self._journal.artifacts if self._open_end else {a["name"]: a for a in self.artifact_list}
        return {name: self.path / check_name(name) for name in entries}

    @property
    def artifact_list(self) -> list[dict[str, Any]]:
        """Name, size, SHA-256 and kind of the committed files."""
        return list(self.meta.get("artifacts", []))

    @property
    def log(self) -> str:
        """What the run printed, warned and logged."""
        path = self.path / layout.LOG_FILE
        if path.is_symlink():
            raise DamagedError(f"{path} is a link, which no archive holds: it may lead anywhere")
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    @cached_property
    def _journal(self) -> Recorded:
        return replay(self.path)

    @property
    def _open_end(self) -> bool:
        """Whether the journal knows more than the files of the end: there was no end, or no room for them."""
        return bool(self.meta["status"] == outcomes.RUNNING or self.meta["outcome"].get("problems"))


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


class SeriesReader(Mapping[str, SeriesValues]):
    """The series of one run folder by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _events(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for event in read_journal(self._folder / layout.JOURNAL_FILE):
            if event.get("e") == "track" and event.keys() >= {"n", "s", "t", "v"}:
                found.setdefault(event["n"], []).append(event)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, name: str) -> SeriesValues:
        import numpy as np

        try:
            events = self._events[name]
        except KeyError:
            raise NameNotFoundError(
                f"{self._folder} has no series {name!r}{near_matches(name, self._events)}"
            ) from None
        try:
            step = np.array([event["s"] for event in events], dtype=np.int64)
            time = np.array([event["t"] for event in events], dtype="datetime64[us]")
            value = stack_values([self._value(event["v"]) for event in events])
        except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
            if isinstance(error, DamagedError):
                raise
            raise DamagedError(
                f"{self._folder}: the series {name!r} is damaged: {type(error).__name__}: {error}"
            ) from error
        return SeriesValues(step, time, value)

    def _value(self, tagged: Any) -> Any:
        import numpy as np

        tag = tagged.get("$") if isinstance(tagged, dict) else None
        if tag == "file":
            return str(self._folder / check_series_file(tagged["file"]))
        if tag != "bin":
            return decode(tagged, folder=self._folder)
        dtype, shape = np.dtype(tagged["d"]), tuple(tagged["sh"])
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        with open(self._folder / layout.SERIES_FILE, "rb") as stream:
            there = os.fstat(stream.fileno()).st_size  # no more is asked for, whatever the journal says
            stream.seek(tagged["o"])
            content = stream.read(size) if size <= there else b""
        import zlib

        if len(content) != size or f"{zlib.crc32(content):08x}" != tagged["crc"]:
            raise DamagedError(f"{self._folder / layout.SERIES_FILE} is damaged at byte {tagged['o']}")
        return np.frombuffer(content, dtype=dtype).reshape(shape)


def check_series_file(name: str) -> str:
    """Return the relative path of a series' picture. Raises `DamagedError` when it leaves ``data/series``."""
    parts = Path(name).parts
    if parts[:2] != ("data", "series") or ".." in parts:
        raise DamagedError(f"a series refers to the file {name!r}, outside of data/series")
    return name


_META_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("id", "key", "status", "sweep", "start"), str),
    **dict.fromkeys(("index", "replicate", "attempt", "seed"), int),
    **dict.fromkeys(("experiment", "parameters", "process", "outcome"), dict),
    **dict.fromkeys(("tags", "notes"), list),
    "stop": (str, type(None)),
    "duration": (int, float, type(None)),
}


def load_meta(folder: Path) -> dict[str, Any]:
    """Read the meta file of the run folder `folder`, with every member that readers rely on.

    Raises `FileNotFoundError`, or `DamagedError` naming the file.
    """
    file = folder / layout.META_FILE
    meta = load_json(file)
    if meta.get("format") != layout.RUN_FORMAT:
        raise DamagedError(f"{file} is not the meta file of a run")
    check_version(str(meta.get("format_version", "")), file)
    for name, kinds in _META_TYPES.items():
        if name not in meta or not isinstance(meta[name], kinds):
            raise DamagedError(f"{file} is damaged: its member {name!r} is missing or of a wrong type")
    experiment, error = meta["experiment"], meta["outcome"].get("error")
    good = all(isinstance(experiment.get(name), str) for name in ("name", "namespace"))
    good = good and all(isinstance(about, dict) and "value" in about for about in meta["parameters"].values())
    if error is not None:
        good = good and isinstance(error, dict)
        good = good and all(isinstance(error.get(name), str) for name in ("type", "message", "traceback"))
    try:
        for name in ("start", "stop"):
            datetime.fromisoformat(meta[name] or meta["start"])
    except ValueError:
        good = False
    if not good:
        raise DamagedError(
            f"{file} is damaged: its experiment, parameters, error or times are not as they should be"
        )
    meta["outcome"].setdefault("error", None)
    return meta


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises `FileNotFoundError`, or `DamagedError` naming the file."""
    try:
        content = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except NotADirectoryError:
        raise FileNotFoundError(str(path)) from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged: it holds no JSON object")
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not strict JSON")


def stack_values(values: list[Any]) -> np.ndarray[Any, Any]:
    """Return tracked values as one array: of their common type and shape, or of objects when they share no type.

    numpy's own form of a builtin number shares its type, as it does in an array. Raises ValueError for arrays of
    different shapes.
    """
    import numpy as np

    kinds = {type(value) for value in values}
    (kind,) = kinds if len(kinds) == 1 else (object,)  # of mixed types numpy would make one, and lose digits
    if kind in (float, bool, complex) or issubclass(kind, np.generic):
        return np.array(values)
    for builtin, form in ((int, np.int64), (float, np.float64), (bool, np.bool_)):
        if (
            values
            and kinds <= {builtin, form}
            and (form is not np.int64 or all(-(2**63) <= v < 2**63 for v in values))
        ):
            return np.array(values, dtype=form)
    if kind is np.ndarray:
        return np.stack(values, dtype=values[0].dtype)  # without dtype it would change the byte order
    mixed = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):  # an array among them is one value, too
        mixed[position] = value
    return mixed
