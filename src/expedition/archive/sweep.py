"""The sweep folder: its manifest (``sweep.json``), what invocations added, and the commit logs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from expedition.archive.shapes import are_objects, are_texts, is_count, wrong_member
from expedition.archive.versions import check_version, of_version
from expedition.errors import DamagedError, ExperimentError
from expedition.recording import layout
from expedition.recording.files import dump_pretty, replace_file
from expedition.recording.journal import append_line, parse_line, read_journal
from expedition.recording.plain_files import LARGEST_JSON, read_plain
from expedition.recording.writer import host_identity


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One row of a sweep's manifest: a run that is planned, whether or not it was ever started.

    `params` holds the swept parameters and those that differ from the manifest, as tagged JSON; `absent`
    names parameters of the manifest that the run does not have. `folder` is relative to the sweep folder,
    ``"."`` for the one run of an unparametrized experiment.
    """

    index: int
    id: str
    key: str
    folder: str
    params: Mapping[str, Any]
    replicate: int
    absent: tuple[str, ...] = ()


_MEMBERS = (
    ("swept", are_texts),
    ("parameters", are_objects),
    ("runs", lambda rows: all(isinstance(row, dict) for row in rows)),
    ("options", lambda value: isinstance(value, dict)),
    ("provenance", lambda value: isinstance(value, dict)),
)
WORKER = "worker"
"""Member of the lines in which a worker tells of the code of its runs: they are no invocations."""

_LINE_MEMBERS = (
    ("parameters", are_objects),
    ("constants", lambda value: isinstance(value, dict)),
    ("runs", lambda rows: isinstance(rows, list) and all(isinstance(row, dict) for row in rows)),
)
"""Members of the lines of invocations; a line with others is passed over, as one with a wrong checksum is."""


def parse_invocation(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line of ``invocations.jsonl``; None for one that is damaged, or says what none does."""
    parsed = parse_line(line)
    return parsed if parsed is not None and _is_invocation(parsed) else None


def _is_invocation(line: dict[str, Any]) -> bool:
    return WORKER not in line and wrong_member(line, _LINE_MEMBERS) is None


def _is_entry(entry: RunEntry) -> bool:
    texts = (entry.id, entry.key, entry.folder, *entry.absent)
    return (
        all(isinstance(text, str) for text in texts)
        and "\0" not in entry.folder
        and is_count(entry.index)
        and is_count(entry.replicate)
        and isinstance(entry.params, dict)
    )


@dataclass(frozen=True)
class SweepFolder:
    """A sweep folder at rest or in use; reading it changes nothing.

    `manifest` is the content of ``sweep.json``.
    """

    path: Path
    manifest: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, path: Path | str) -> SweepFolder:
        """Read the manifest of the sweep folder `path`.

        Raises `DamagedError` when there is none, or none that this version understands.
        """
        file = Path(path) / layout.SWEEP_FILE
        try:
            text = read_plain(file)
        except FileNotFoundError:
            raise DamagedError(f"{path} is no sweep folder: it has no {layout.SWEEP_FILE}") from None
        return cls.parse(text, Path(path))

    @classmethod
    def parse(cls, text: bytes, path: Path) -> SweepFolder:
        """Return the sweep folder `path` whose manifest is `text`. Raises `DamagedError` as `open`."""
        file = path / layout.SWEEP_FILE
        try:
            manifest = json.loads(text)
        except MemoryError:
            raise DamagedError(f"{file} cannot be read: it takes more memory than there is") from None
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{file} is damaged: {error}") from None
        if not isinstance(manifest, dict) or manifest.get("format") != layout.SWEEP_FORMAT:
            raise DamagedError(f"{file} is not the manifest of a sweep")
        check_version(manifest.get("format_version"), file)
        manifest = of_version(manifest)
        experiment = manifest.get("experiment")
        if not isinstance(experiment, dict) or not isinstance(experiment.get("name"), str):
            raise DamagedError(f"{file} is damaged: it names no experiment")
        for name, kind in (("parameters", dict), ("swept", list), ("runs", list)):
            if not isinstance(manifest.get(name), kind):
                raise DamagedError(f"{file} is damaged: its member {name!r} is missing or of a wrong type")
        wrong = wrong_member(manifest, _MEMBERS)
        if wrong is not None:
            raise DamagedError(f"{file} is damaged: its member {wrong!r} is not as it should be")
        return cls(path, manifest)

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any]) -> SweepFolder:
        """Write `manifest` as the ``sweep.json`` of the existing folder `path`, once.

        Raises `ExperimentError` for one that is too large to be read.
        """
        content = {"format": layout.SWEEP_FORMAT, "format_version": layout.FORMAT_VERSION, **manifest}
        text = dump_pretty(content)
        if len(text) > LARGEST_JSON:
            raise ExperimentError(
                f"{manifest['experiment']['name']}: the manifest of its sweep has {len(text):,} bytes, and "
                f"{LARGEST_JSON:,} at most can be read: make several sweeps of it, and give large values as files"
            )
        replace_file(path / layout.SWEEP_FILE, text, durable=True)
        (path / layout.JOURNALS_FOLDER).mkdir(exist_ok=True)
        return cls(path, content)

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return str(self.manifest["experiment"]["name"])

    @property
    def swept(self) -> list[str]:
        """Names of the swept parameters, outermost first; those that only added runs vary come last."""
        first: list[str] = list(self.manifest["swept"])
        added = {name for entry in self.entries[len(self.manifest["runs"]) :] for name in entry.params}
        return first + [name for name in self._declared if name in added and name not in first]

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """Per parameter its type, description, swept flag and, where most runs share it, tagged `value`.

        Those that only runs of later invocations have come last, without a value.
        """
        swept = set(self.swept)
        return {
            name: {**about, "swept": True} if name in swept else about
            for name, about in self._declared.items()
        }

    @property
    def _declared(self) -> dict[str, dict[str, Any]]:
        found = dict(self.manifest["parameters"])
        for line in self.invocations():
            for name, about in line.get("parameters", {}).items():
                found.setdefault(name, about)
        return found

    @property
    def constants(self) -> dict[str, Any]:
        """Tagged values of the fixed parameters that are no longer those of the manifest, by name."""
        latest: dict[str, Any] = {}
        for line in self.invocations():
            latest = line
        return dict(latest.get("constants", {}))

    @cached_property
    def entries(self) -> list[RunEntry]:
        """All planned runs; position equals index, runs added by later invocations last."""
        return self._planned(self.invocations())

    def entries_by(self, invocations: bytes) -> list[RunEntry]:
        """All planned runs, of a sweep whose ``invocations.jsonl`` has this content. Raises `DamagedError`."""
        lines = map(parse_invocation, invocations.splitlines(keepends=True))
        return self._planned(line for line in lines if line is not None)

    def _planned(self, lines: Iterable[Mapping[str, Any]]) -> list[RunEntry]:
        rows = list(self.manifest["runs"])
        for line in lines:
            rows.extend(line.get("runs", ()))
        return self.numbered(rows, 0)

    def numbered(self, rows: Iterable[Mapping[str, Any]], first: int) -> list[RunEntry]:
        """The rows of planned runs, whose indices must count from `first`. Raises `DamagedError`."""
        try:
            entries = [
                RunEntry(
                    r["index"],
                    r["id"],
                    r["key"],
                    r["folder"],
                    r["params"],
                    r["replicate"],
                    tuple(r.get("absent", ())),
                )
                for r in rows
            ]
            inside = all(not e.folder.startswith("/") and ".." not in e.folder.split("/") for e in entries)
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{self.path / layout.SWEEP_FILE}: a run is incomplete: {error!r}") from None
        wrong = next((entry for entry in entries if not _is_entry(entry)), None)
        if wrong is not None:
            raise DamagedError(
                f"{self.path / layout.SWEEP_FILE}: run {wrong.index!r:.50} is not as it should be"
            )
        if not inside:
            raise DamagedError(
                f"{self.path / layout.SWEEP_FILE}: a run folder lies outside of the sweep folder"
            )
        if [entry.index for entry in entries] != list(range(first, first + len(entries))):
            last = first + len(entries) - 1
            raise DamagedError(f"{self.path / layout.SWEEP_FILE}: run indices are not {first}…{last}")
        return entries

    def invocations(self) -> Iterator[dict[str, Any]]:
        """Yield the line of every invocation that worked on this sweep, first to last."""
        lines = read_journal(self.path / layout.INVOCATIONS_FILE)
        return filter(_is_invocation, lines)

    def add_code(self, worker: str, code: Mapping[str, Any]) -> None:
        """Append what the code of the runs of a worker is, where it is not that of the invocation."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line = {
            "started": now,
            "host": host_identity()[0],
            "pid": os.getpid(),
            WORKER: worker,
            "code": code,
        }
        append_line(
            self.path / layout.INVOCATIONS_FILE, json.dumps(line, separators=(",", ":"), allow_nan=False)
        )

    def add_invocation(self, line: Mapping[str, Any]) -> None:
        """Append one invocation, with the runs that it adds to the design under ``runs``."""
        text = json.dumps(line, separators=(",", ":"), allow_nan=False)
        append_line(self.path / layout.INVOCATIONS_FILE, text)
        known = self.__dict__.get("entries")
        if known is not None:  # a sweep that grows in many steps must not read them all again at each
            known.extend(self.numbered(line.get("runs", ()), len(known)))

    def parameters_of(self, entry: RunEntry) -> dict[str, Any]:
        """All parameters of one run as tagged JSON, in their declared order."""
        found = {
            name: entry.params[name] if name in entry.params else about["value"]
            for name, about in self.manifest["parameters"].items()
            if name in entry.params or ("value" in about and name not in entry.absent)
        }
        # A run that a later invocation added may know a parameter that the first one did not.
        return found | {name: value for name, value in entry.params.items() if name not in found}

    def started_folders(self) -> set[str]:
        """Folders (as in `RunEntry.folder`) that hold a run, found with one listing per shard."""
        found: set[str] = set()
        if (self.path / layout.META_FILE).is_file():
            found.add(".")
        parents = [""]
        if self.manifest.get("sharded"):
            parents = [f"{e.name}/" for e in os.scandir(self.path) if e.name.isdigit() and e.is_dir()]
        for parent in parents:
            with os.scandir(self.path / parent) as listing:
                found.update(f"{parent}{e.name}" for e in listing if e.name[0].isdigit() and e.is_dir())
        if self.entries and self.entries[0].folder == ".":  # the others may be folders with its artifacts
            found.intersection_update(entry.folder for entry in self.entries)
        return found


class DescribedSweep(SweepFolder):
    """A sweep folder whose parameters somebody else has found out, as they are now, and set as `_swept` and
    `_parameters`."""

    _parameters: dict[str, dict[str, Any]]
    _swept: list[str]

    @property
    def swept(self) -> list[str]:
        """Names of the swept parameters, outermost first; those that came later stand last."""
        return list(self._swept)

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """Per parameter what is said of it: by the manifest, a later invocation or an edited run."""
        return dict(self._parameters)
