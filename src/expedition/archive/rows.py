"""`RunRow`: what lists and selections need of a run, small enough to be kept in an index."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from expedition.archive.record import RunRecord
from expedition.archive.replay import is_open
from expedition.archive.row_names import ArchiveNames
from expedition.archive.run_files import RunFiles
from expedition.authoring.quoting import join_parts, split_name
from expedition.errors import DamagedError, RecordNotFoundError
from expedition.recording import layout, outcomes
from expedition.values import decode

DAMAGED = "damaged"
"""Status of a row whose run cannot be read."""

MAX_VALUE = 2_000
"""Characters of JSON up to which a value stands in a row; a longer one is read from the run when asked for."""

MAX_MESSAGE = 500

_STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-(\w{4})(?:-|$)")
"""Name of a sweep folder; the letters after the time are what tells it from nearly all others."""


def short_reference(sweep: str, run: str | None) -> str | None:
    """Return ``k3f9/12`` for the run folder ``0012-…`` of a sweep folder ``…-k3f9``, ``k3f9`` for the sweep itself.

    None for a sweep folder with another kind of name.
    """
    letters = _STAMPED.match(sweep)
    if letters is None or run is None:
        return letters[1] if letters is not None else None
    return f"{letters[1]}/{run.partition('-')[0].lstrip('0') or '0'}"


@dataclass(frozen=True, slots=True)  # a dict of so many attributes would be the most of it
class RunRow:
    """A run as a row: facts about it, its parameters, and its stored values as far as they are small.

    Attributes
    ----------
    place : the run folder as a path below `sweep_path`, empty for the sweep folder itself. Elsewhere the whole path.
    sweep_path : the sweep folder around it, None for a run that was copied out of one.
    status : as in `RunRecord.status`; ``damaged`` when the meta file cannot be read: what would stand there is empty,
    0 or None.
    problem : why the meta file or the data file cannot be read; empty when both can.
    parameters, stored : tagged JSON by name, those of `left_out` excepted.
    process : of a run without an end record where it ran, by which its status is derived; else empty.
    from_journal : whether the stored values are those of the journal: there was no end, no room for it, or the data
    file cannot be read.
    left_out : names of parameters (``params/…``) and stored values (``data/…``) that are too long for a row.
    size : bytes of the run folder with everything in it. files : how many files these are.
    repeats : `reference` of the past run that it repeats; None when it repeats none.
    code : digest of the code of its experiment, empty where it was not recorded.
    source : what gives its files, where the run is in a zip and `path` says where in it; else None.
    among : the names of all runs of its archive, by which a name means the same for each of them; None for a row alone.
    """

    place: str | Path  # of a hundred thousand runs, a Path each takes more than what else is known of them
    sweep_path: Path | None
    status: str
    experiment: str
    namespace: str
    id: str
    key: str = ""
    index: int = -1
    replicate: int = 0
    attempt: int = 0
    start: str = ""
    stop: str | None = None
    duration: float | None = None
    seed: int = 0
    testing: bool = False
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    error_type: str = ""
    error_message: str = ""
    version: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    stored: Mapping[str, Any] = field(default_factory=dict, repr=False)
    left_out: tuple[str, ...] = ()
    process: Mapping[str, Any] = field(default_factory=dict, repr=False)
    from_journal: bool = False
    size: int = 0
    files: int = 0
    problem: str = ""
    repeats: str | None = None
    code: str = ""
    source: RunFiles | None = field(default=None, repr=False, compare=False)
    among: ArchiveNames | None = field(default=None, repr=False, compare=False)

    @property
    def path(self) -> Path:
        """The run folder."""
        if isinstance(self.place, Path) or self.sweep_path is None:
            return Path(self.place)
        return self.sweep_path / self.place

    @property
    def name(self) -> str:
        """The name of the run folder."""
        if isinstance(self.place, str) and self.place:
            return self.place.rpartition(os.sep)[2]
        return self.path.name

    @property
    def sweep(self) -> str:
        """Name of the sweep."""
        return self.sweep_path.name if self.sweep_path is not None else ""

    @property
    def folder(self) -> str:
        """The run folder below the archive root: namespace, sweep and its own name, with slashes."""
        if self.sweep_path is None:
            return self.name
        inner = os.fspath(self.place).replace(os.sep, "/")
        return "/".join(part for part in (self.namespace, self.sweep, inner) if part not in ("", "."))

    @property
    def reference(self) -> str:
        """A name of the run that is short, for `Archive.run`: ``k3f9/12``, run 12 of the sweep that ends in k3f9.

        Runs of a sweep folder with another name, such as that of debug runs, have no shorter one than `folder`.
        """
        short = short_reference(self.sweep, self.name if self.place else None)
        return self.folder if short is None else short

    @property
    def started(self) -> datetime | None:
        """When the run began (UTC); None when it is damaged."""
        return datetime.fromisoformat(self.start) if self.start else None

    @property
    def stopped(self) -> datetime | None:
        """When the run ended (UTC), None while it has no end."""
        return datetime.fromisoformat(self.stop) if self.stop else None

    @property
    def params(self) -> dict[str, Any]:
        """Parameters by name, those that are too long for a row read from the run; unreadable ones are left out."""
        return dict(self._values("params", self.parameters))

    @property
    def data(self) -> dict[str, Any]:
        """Stored values by slash path, as far as they are in the row and need no file besides."""
        return dict(self._values("data", self.stored, read=False))

    @property
    def facts(self) -> frozenset[str]:
        """Names that mean facts about any run, and never a parameter or a stored value."""
        return FACTS

    @property
    def names(self) -> frozenset[str]:
        """All names that the select language knows for this run; rows of the same names share the set."""
        return _names_of(tuple(self.parameters), tuple(self.stored), self.left_out)

    def value(self, name: str) -> Any:
        """Return what a name of the select language means for the run. Raises `LookupError` when it is nothing."""
        branch, key = self._place(name)
        if branch:
            return self._decoded(self._tagged(branch, key))
        return self._fact(key)

    def tagged(self, name: str) -> Any:
        """Return the same as tagged JSON: no file of a value is read. Times are ISO 8601 text."""
        branch, key = self._place(name)
        if branch:
            return self._tagged(branch, key)
        return self._fact({"started": "start", "stopped": "stop"}.get(key, key))

    def is_fact(self, name: str) -> bool:
        """Whether a name means a fact for the run, and no parameter or stored value."""
        try:
            return not self._place(name)[0]
        except LookupError:
            return False

    def join(self, among: ArchiveNames) -> RunRow:
        """Say which runs the row is one of; the row itself is returned."""
        object.__setattr__(self, "among", among)  # a copy of ten thousand rows would take its time
        return self

    def _fact(self, attribute: str) -> Any:
        value = getattr(self, attribute)
        if attribute in _OPTIONAL and not value:
            return None
        return list(value) if isinstance(value, tuple) else value

    def _place(self, name: str) -> tuple[str, str]:
        """Return the branch and the key that a name means; for a fact no branch and its attribute."""
        if "['" in name or '["' in name:
            return self._quoted_place(name)
        branch, _, rest = name.partition(".")
        fact = rest if branch == FACT_BRANCH and rest else name
        if fact in ATTRIBUTES and (fact is not name or name in FIRM_FACTS or not self._is_own(name)):
            if self.status == DAMAGED and fact not in READABLE_OF_DAMAGED:
                raise KeyError(name)
            return "", ATTRIBUTES[fact]
        if branch in PARAMETER_BRANCHES and rest:
            return "params", rest
        if branch in DATA_BRANCHES and rest:
            return "data", rest.replace(".", "/")
        if name in self.parameters or f"params/{name}" in self.left_out:
            return "params", name
        return "data", name.replace(".", "/")

    def _quoted_place(self, name: str) -> tuple[str, str]:
        """Return the same for a name with brackets: what has a dot in its own name."""
        parts = split_name(name)
        if parts is None:
            raise KeyError(name)
        branch, *rest = parts
        if branch in PARAMETER_BRANCHES and rest:
            return "params", ".".join(rest)
        return "data", "/".join(rest if branch in DATA_BRANCHES and rest else parts)

    def _is_own(self, name: str) -> bool:
        """Whether a name means what runs themselves call so: this one, or another one of the archive."""
        return self._has(name) or (self.among is not None and self.among.has_own(name))

    def _has(self, name: str) -> bool:
        """Whether the run itself has a parameter or a stored value of that name."""
        key = name.replace(".", "/")
        left = (f"params/{name}", f"data/{key}")
        return name in self.parameters or key in self.stored or any(one in self.left_out for one in left)

    def record(self) -> RunRecord:
        """Return the whole run. Raises `RecordNotFoundError` or `DamagedError`."""
        return RunRecord(self.path, sweep=self.sweep_path, files=self.source)

    def _tagged(self, branch: str, key: str) -> Any:
        held = self.parameters if branch == "params" else self.stored
        if key in held:
            return held[key]
        if f"{branch}/{key}" in self.left_out:
            return self._read(branch, key)
        left = [name.split("/", 1)[1] for name in self.left_out if name.startswith(f"{branch}/")]
        other = _normalized((*held, *left)).get(_normal(key))
        if other is None or other == key:
            raise KeyError(key)
        return self._tagged(branch, other)

    def _values(
        self, branch: str, tagged: Mapping[str, Any], *, read: bool = True
    ) -> Iterator[tuple[str, Any]]:
        for name, value in tagged.items():
            if not read and isinstance(value, dict) and "file" in value:
                continue
            try:
                yield name, self._decoded(value)
            except LookupError:
                continue
        for name in self.left_out if read else ():
            if name.startswith(f"{branch}/"):
                try:
                    key = name.split("/", 1)[1]
                    yield key, self._decoded(self._read(branch, key))
                except LookupError:
                    continue

    def _read(self, branch: str, name: str) -> Any:
        try:
            record = self.record()
            return (
                record.meta["parameters"][name]["value"] if branch == "params" else record.tagged_data[name]
            )
        except (DamagedError, RecordNotFoundError, KeyError) as error:
            raise LookupError(f"{name}: {error}") from error

    def _decoded(self, tagged: Any) -> Any:
        if not isinstance(tagged, dict | list):
            return tagged
        try:
            return decode(tagged, folder=self.source.folder_for(tagged) if self.source else self.path)
        except DamagedError as error:
            raise LookupError(str(error)) from error


_FIRM = (
    "status",
    "duration",
    "started",
    "stopped",
    "tags",
    "notes",
    "experiment",
    "namespace",
    "sweep",
    "id",
)

ATTRIBUTES = {
    **{
        name: name
        for name in (
            *_FIRM,
            "key",
            "index",
            "replicate",
            "attempt",
            "seed",
            "testing",
            "version",
            "code",
            "reason",
            "size",
            "files",
        )
    },
    "rep": "replicate",
    "run": "reference",
    "folder": "folder",
    "problem": "problem",
    "repeats": "repeats",
    "error": "error_type",
    "error.type": "error_type",
    "error.message": "error_message",
}
"""What the select language calls the facts about a run, and their attributes."""

_OPTIONAL = frozenset({"reason", "error_type", "error_message", "version", "problem", "code"})
"""Attributes that are empty where a run has nothing of the kind, for which the select language has None."""

MOMENTS = frozenset({"started", "stopped", "run.started", "run.stopped"})
"""Facts that are dates with time."""

CHOICES = dict.fromkeys(("status", "run.status"), (*outcomes.STATUSES, DAMAGED))
"""Facts that are one of some texts."""

FACTS = frozenset(ATTRIBUTES)
FIRM_FACTS = frozenset({*_FIRM, "replicate", "rep", "run"})
"""Facts whose names mean nothing else. The others yield: where a run of the archive itself calls something ``size``
or ``error``, the name means that, for all of its runs."""

FACT_BRANCH = "run"
"""Every fact is also called ``run.size`` and so on, whatever the run itself has."""

READABLE_OF_DAMAGED = frozenset(
    {"status", "experiment", "namespace", "sweep", "id", "run", "folder", "problem", "size", "files"}
)
PARAMETER_BRANCHES = ("params", "parameters", "par")
DATA_BRANCHES = ("data", "results", "res")


@lru_cache(maxsize=256)
def _names_of(
    parameters: tuple[str, ...], stored: tuple[str, ...], left_out: tuple[str, ...]
) -> frozenset[str]:
    left = [name.split("/", 1) for name in left_out]
    parameters = (*parameters, *(name for branch, name in left if branch == "params"))
    stored = (*stored, *(name for branch, name in left if branch == "data"))
    parameters = (*parameters, *(_normal(name) for name in parameters if not name.isascii()))
    forms = {form for name in stored for form in (join_parts(name.split("/")), _normal_name(name))}
    # A name that begins with brackets has to be said with its branch.
    bare = (name for name in forms if not name.startswith("["))
    found = {*FACTS, *(f"{FACT_BRANCH}.{name}" for name in FACTS), *parameters, *bare}
    found |= {f"{branch}.{name}" for name in parameters for branch in PARAMETER_BRANCHES}
    return frozenset(found | {_below(branch, name) for name in forms for branch in DATA_BRANCHES})


def _place_in(sweep_path: Path | None, path: Path) -> str | Path:
    """Return the `RunRow.place` of the run folder `path`."""
    if sweep_path is None:
        return path
    text, base = os.fspath(path), os.fspath(sweep_path)
    if text == base:
        return ""
    return text[len(base) + 1 :] if text.startswith(f"{base}{os.sep}") else os.path.relpath(path, sweep_path)


def stored_name(key: str) -> str:
    """Return what the select language calls a stored value: ``data.a.b`` for ``a/b``, ``data['a.b']`` for ``a.b``."""
    return join_parts(("data", *key.split("/")))


def _below(branch: str, name: str) -> str:
    return f"{branch}{name}" if name.startswith("[") else f"{branch}.{name}"


@lru_cache(maxsize=256)
def _normalized(keys: tuple[str, ...]) -> dict[str, str]:
    """Keys by their normal form, where that is not how they are stored."""
    return {_normal(key): key for key in reversed(keys) if not key.isascii()}


def _normal(key: str) -> str:
    """Return a name as Python's parser has it, which the select language uses: with one form of a letter like µ."""
    return key if key.isascii() else unicodedata.normalize("NFKC", key)


def _normal_name(key: str) -> str:
    return join_parts(map(_normal, key.split("/")))


def read_row(
    path: Path,
    sweep_path: Path | None,
    *,
    namespace: str,
    source: RunFiles | None = None,
    measured: tuple[int, int] | None = None,
) -> RunRow:
    """Read the row of the run folder `path`; `namespace` is that of its sweep folder, for damaged runs.

    Of a run in a zip, `source` gives its files, and `measured` says what `measure` says of a folder. Raises
    `RecordNotFoundError` when there is no run (any more).
    """
    size, files = measured or measure(path)
    problem = ""
    try:
        record = RunRecord(path, sweep=sweep_path, files=source)
    except (DamagedError, RecordNotFoundError) as error:
        reason = _why_unreadable(error, path)
        name = path.name.partition("-")[2] if path != sweep_path else path.name
        return RunRow(
            _place_in(sweep_path, path),
            sweep_path,
            DAMAGED,
            experiment=namespace.rpartition("/")[2],
            namespace=namespace,
            id=name,
            size=size,
            files=files,
            problem=_without_root(reason, path, sweep_path, namespace),
            source=source,
        )
    try:
        tagged, problem = record.tagged_data, record.data_problem
    except DamagedError as error:
        tagged, problem = {}, str(error)
    meta, ended = record.meta, record.error
    parameters = {name: about["value"] for name, about in meta["parameters"].items()}
    left = [f"params/{name}" for name in parameters if not _is_short(parameters[name])]
    left += [f"data/{name}" for name in tagged if not _is_short(tagged[name])]
    return RunRow(
        _place_in(sweep_path, path),
        sweep_path,
        record.status,
        experiment=record.experiment,
        namespace=record.namespace,
        id=record.id,
        key=record.key,
        index=record.index,
        replicate=record.replicate,
        attempt=record.attempt,
        start=meta["start"],
        stop=meta["stop"],
        duration=record.duration,
        seed=record.seed,
        testing=record.testing,
        tags=tuple(record.tags),
        notes=tuple(record.notes),
        reason=record.reason,
        error_type=ended.type if ended else "",
        error_message=ended.message[:MAX_MESSAGE] if ended else "",
        version=str(meta["experiment"].get("version", "")),
        parameters={name: value for name, value in parameters.items() if f"params/{name}" not in left},
        stored={name: value for name, value in tagged.items() if f"data/{name}" not in left},
        left_out=tuple(left),
        process=_process_of(meta),
        from_journal=is_open(meta) or bool(problem),
        size=size,
        files=files,
        problem=_without_root(problem, path, sweep_path, namespace),
        repeats=_reference_of(record.repeats),
        code=record.code,
        source=source,
    )


def _why_unreadable(error: DamagedError | RecordNotFoundError, path: Path) -> str:
    """Return why a run folder cannot be read; raise the error again where there is nothing of a run."""
    if isinstance(error, DamagedError):
        return str(error)
    if not (path / layout.JOURNAL_FILE).is_file():
        raise error
    return (
        f"{path / layout.META_FILE} is gone, though the run has a journal; where an older version left it so, "
        f"--archive-repair makes it from there"
    )


def _without_root(problem: str, path: Path, sweep_path: Path | None, namespace: str) -> str:
    """Return what is said of a run with its paths below the archive root, which may be moved."""
    sweep = sweep_path if sweep_path is not None else path
    below = sweep.name if sweep_path is None or namespace in ("", ".") else f"{namespace}/{sweep.name}"
    return problem.replace(f"{sweep}{os.sep}", f"{below}/")


def _reference_of(repeated: Mapping[str, str] | None) -> str | None:
    """Return what a table calls the run that is repeated, as `RunRow.reference` does."""
    if repeated is None:
        return None
    folder = PurePosixPath(repeated.get("folder", ""))
    sweep = repeated.get("sweep", "")
    run = folder.name if folder.name != sweep else None
    return short_reference(sweep, run) or repeated.get("folder") or repeated.get("key")


def measure(path: Path) -> tuple[int, int]:
    """Return the bytes in a run folder and in how many files; those of other runs inside are not counted."""
    size = files = 0
    waiting = [os.fspath(path)]
    is_sweep = os.path.isfile(os.path.join(path, layout.SWEEP_FILE))
    while waiting:
        try:
            with os.scandir(waiting.pop()) as listing:
                for entry in listing:
                    if entry.is_dir(follow_symlinks=False):
                        if not (is_sweep and entry.name in layout.SWEEP_OWNED):
                            waiting.append(entry.path)
                    elif not (is_sweep and entry.name in layout.SWEEP_OWNED):
                        size += entry.stat(follow_symlinks=False).st_size
                        files += 1
        except OSError:
            continue
    return size, files


def _process_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    if meta["status"] != outcomes.RUNNING:
        return {}
    return {name: meta["process"].get(name) for name in ("host", "boot_id", "writer", "pid")}


def _is_short(tagged: Any) -> bool:
    if tagged is None or isinstance(tagged, bool | int | float):
        return True
    if isinstance(tagged, str):
        return len(tagged) <= MAX_VALUE
    return len(json.dumps(tagged, ensure_ascii=False)) <= MAX_VALUE
