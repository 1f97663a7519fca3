"""`Archive`: all sweeps and runs below one folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from expedition.archive.record import RunRecord, summary_of
from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError, RecordNotFoundError, near_matches
from expedition.recording import layout, outcomes
from expedition.values import decode


class Archive:
    """The runs below `root`, whether it is an archive root, a namespace, a sweep folder or a copy of one."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise RecordNotFoundError(f"there is no archive at {self.root}: no such folder")

    def sweeps(self) -> Iterator[SweepFolder]:
        """Yield the sweep folders below the root, by name of their folders; unreadable ones are left out."""
        for folder in self.sweep_folders():
            try:
                yield SweepFolder.open(folder)
            except DamagedError:
                continue

    def sweep_folders(self) -> list[Path]:
        """Return the sweep folders below the root, oldest first, whether or not they can be read."""
        return _sweep_folders(self.root)

    def runs(self, select: str | None = None) -> Iterator[RunRecord]:
        """Yield the runs, oldest sweep first; with `select` those that match the expression.

        Names in the expression are ``status``, ``duration``, ``started``, ``tags``, ``experiment``,
        parameters (``alpha`` or ``params.alpha``) and stored values (``data.rmse.mean``); what cannot be read
        does not match. Raises `ExpressionError`, also at the end when a name means nothing to any run.
        """
        matches: Callable[[RunRecord], bool] | None = None
        unknown: set[str] = set()
        seen: set[str] = set()
        if select is not None:
            from expedition.authoring.expressions import compile_expression

            expression = compile_expression(select)
            unknown = set(expression.names)

            def matches(record: RunRecord) -> bool:
                return expression.matches(lambda name: value_of(record, name))

        for folder, sweep in self._run_folders():
            try:
                record = RunRecord(folder, sweep=sweep)
            except (RecordNotFoundError, DamagedError):
                continue
            if unknown:
                known = names_of(record)
                unknown -= known
                seen |= known
            if matches is None or matches(record):
                yield record
        if unknown and seen:
            from expedition.authoring.expressions import check_names

            check_names(expression, seen)

    def summaries(self) -> Iterator[RunRecord]:
        """Yield what functions marked ``@experiment.after_sweep`` recorded, oldest sweep first.

        A summary is a record like that of a run, but no run of the sweep: `runs` does not yield it.
        """
        for folder in _sweep_folders(self.root):
            try:
                summary = summary_of(folder)
            except DamagedError:
                continue
            if summary is not None:
                yield summary

    def damaged(self) -> Iterator[tuple[Path, str]]:
        """Yield run folders whose meta or data file cannot be read, with the reason."""
        for folder, sweep in self._run_folders():
            try:
                record = RunRecord(folder, sweep=sweep)
                if record.meta["status"] != outcomes.RUNNING:  # its journal is passed over line by line
                    _ = record.tagged_data
            except RecordNotFoundError:
                continue
            except DamagedError as error:
                yield folder, str(error)

    def run(self, which: str | Path) -> RunRecord:
        """Return one run by its folder, ``sweep/run folder``, run key (or 6 digits of it at least) or id.

        ``sweep/summary`` is the summary of a sweep. Where several runs fit (the same run in several sweeps), the
        latest is meant. Raises `RecordNotFoundError` with near matches.
        """
        for candidate in (Path(which), self.root / which):
            if (candidate / layout.META_FILE).is_file():
                return RunRecord(candidate)
        text = str(which).strip("/")
        found: RunRecord | None = None
        names: set[str] = set()
        for record in itertools.chain(self.runs(), self.summaries()):
            known = {record.id, f"{record.experiment}[{record.id}]", record.path.name, record.sweep}
            known.add(f"{record.sweep}/{record.path.name}")
            if record.path.name == layout.SUMMARY_FOLDER:
                known = {f"{record.sweep}/{record.path.name}"}
            fits = text in known or (len(text) >= 6 and record.key.startswith(text))
            if fits and (found is None or record.started >= found.started):
                found = record
            names |= known
        if found is None:
            raise RecordNotFoundError(
                f"no run {text!r} in {self.root}{near_matches(text, names)}; "
                f"name its folder, its key or its id (pytest --archive-list shows them)"
            )
        return found

    def _run_folders(self) -> Iterator[tuple[Path, Path | None]]:
        if not (self.root / layout.SWEEP_FILE).is_file() and (self.root / layout.META_FILE).is_file():
            yield self.root, None
            return
        for sweep in _sweep_folders(self.root):
            if (sweep / layout.META_FILE).is_file():
                yield sweep, sweep
            for entry in _folders(sweep):
                if not entry.name[0].isdigit():
                    continue
                if entry.name.isdigit() and not os.path.isfile(os.path.join(entry.path, layout.META_FILE)):
                    for inner in _folders(Path(entry.path)):
                        yield Path(inner.path), sweep
                else:
                    yield Path(entry.path), sweep


_ATTRIBUTES = frozenset(
    [
        "status",
        "duration",
        "started",
        "stopped",
        "tags",
        "experiment",
        "namespace",
        "sweep",
        "id",
        "key",
        "index",
        "replicate",
        "attempt",
        "seed",
    ]
)


def names_of(record: RunRecord) -> set[str]:
    """All names that the select language knows for a run; what cannot be read adds none."""
    parameters = list(record.meta["parameters"])
    try:
        stored = [key.replace("/", ".") for key in record.tagged_data]
    except DamagedError:
        stored = []
    found = {*_ATTRIBUTES, "rep", *parameters, *stored}
    found |= {f"{branch}.{name}" for name in parameters for branch in ("params", "parameters", "par")}
    return found | {f"{branch}.{name}" for name in stored for branch in ("data", "results", "res")}


def value_of(record: RunRecord, name: str) -> Any:
    """Return what a name of the select language means for a run. Raises `LookupError` when it is nothing."""
    if name in _ATTRIBUTES:
        return getattr(record, name)
    if name == "rep":
        return record.replicate
    branch, _, rest = name.partition(".")
    if branch in ("params", "parameters", "par") and rest:
        return _decoded(record, record.meta["parameters"][rest]["value"])
    if branch in ("data", "results", "res") and rest:
        return _stored(record, rest)
    if name in record.meta["parameters"]:
        return _decoded(record, record.meta["parameters"][name]["value"])
    return _stored(record, name)


def _stored(record: RunRecord, name: str) -> Any:
    try:
        tagged = record.tagged_data
    except DamagedError as error:
        raise LookupError(str(error)) from error
    return _decoded(record, tagged[name.replace(".", "/")])


def _decoded(record: RunRecord, tagged: Any) -> Any:
    """One value; a selection must not read the arrays of all runs, nor end at a damaged one."""
    try:
        return decode(tagged, folder=record.path)
    except DamagedError as error:
        raise LookupError(str(error)) from error


def _sweep_folders(root: Path) -> list[Path]:
    """Sweep folders below `root`, oldest first (names begin with the time); their inside is not searched."""
    if (root / layout.SWEEP_FILE).is_file():
        return [root]
    found: list[Path] = []
    waiting = [root]
    while waiting:
        for entry in _folders(waiting.pop()):
            if entry.name.startswith("."):
                continue
            if os.path.isfile(os.path.join(entry.path, layout.SWEEP_FILE)):
                found.append(Path(entry.path))
            else:
                waiting.append(Path(entry.path))
    return sorted(found, key=lambda path: (path.name, str(path)))


def _folders(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as listing:
            found = [entry for entry in listing if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)
