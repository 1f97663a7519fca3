"""Sweep folders of an invocation: made anew, or found again to be resumed."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from expedition.archive import Archive
from expedition.archive.commits import Reading, latest_commits
from expedition.archive.invocations import changed_provenance
from expedition.archive.liveness import is_held
from expedition.archive.sweep import SweepFolder
from expedition.authoring.analysis import analyses_of
from expedition.authoring.hooks import described_hooks
from expedition.authoring.identity import folder_name
from expedition.authoring.parameters import MISSING
from expedition.authoring.plan import PlannedRun, SweepPlan
from expedition.authoring.repeats import DESIGN as REPEATS
from expedition.authoring.special import Special
from expedition.errors import DamagedError, ExperimentError
from expedition.plugin.debug_runs import DebugRuns
from expedition.plugin.locks import hold_sweep
from expedition.plugin.settings import Settings
from expedition.recording import layout, outcomes
from expedition.recording.files import replace_file
from expedition.recording.masked_sources import masked_source
from expedition.recording.masking import NO_MASK, Mask
from expedition.recording.provenance import collect_provenance, git_diff
from expedition.recording.snapshot import code_file_of, local_sources, write_snapshot
from expedition.reporting.cells import format_cell
from expedition.values import decode, encode

SHARD_ABOVE = 10_000
"""Sweeps of more runs keep a thousand run folders in each of several parent folders."""

LOW_DISK = 1 << 30
"""Bytes of free space below which the user is warned at the start."""
_DIGITS = "23456789abcdefghijkmnpqrstuvwxyz"
"""Digits to base 32 in the order of their characters; four of them tell microseconds."""

_NO_VALUE = object()


@dataclass
class Resumption:
    """What an earlier invocation left of a sweep: statuses and attempts by run key.

    `expansions` is up to which byte the expansions of the sweep folder were read.
    """

    sweep: SweepFolder
    statuses: Mapping[str, str]
    attempts: Mapping[str, int]
    lock: Any = None
    expansions: int = 0

    @property
    def settled(self) -> frozenset[str]:
        """Keys of the runs that need not run again."""
        return frozenset(key for key, status in self.statuses.items() if status in outcomes.SETTLED)

    def differences(self, plan: SweepPlan) -> str:
        """What of the fixed parameters is new, gone or changed since the sweep was begun; these make runs new."""
        known = self.sweep.manifest["parameters"]
        parts = [f"{name} is new" for name in plan.parameters if name not in known]
        parts += [f"{name} is gone" for name in known if name not in plan.parameters]
        for name, value in plan.shown.items():
            before = known.get(name, {}).get("value", _NO_VALUE)
            if before is not _NO_VALUE and before != encode(value, name=name):
                parts.append(f"{name} was {format_cell(decode(before), 30)}, is {format_cell(value, 30)}")
        return "; ".join(parts)

    def describe(self, plan: SweepPlan) -> str:
        """How many runs of `plan` are settled, to be run again, and new."""
        counts: dict[str, int] = {}
        for run in plan.runs:
            status = self.statuses.get(run.key, "new")
            counts[status] = counts.get(status, 0) + 1
        order = [s for s in (*outcomes.STATUSES, "new") if s in counts]
        return ", ".join(f"{counts[status]} {status}" for status in order)


@dataclass
class Invocation:
    """What all sweeps of one invocation share, found out once."""

    settings: Settings
    argv: Sequence[str]
    options: Mapping[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    diff: tuple[bytes, bool] | None = None
    mask: Mask = NO_MASK

    def collect(self) -> None:
        """Collect the provenance; takes some ten ms, mostly git."""
        root = self.settings.rootdir
        self.provenance = collect_provenance(rootdir=root, argv=self.argv, exclude=self.settings.archive)
        self.diff = git_diff(root, exclude=self.settings.archive)
        if self.diff is not None:
            self.diff = self.mask.bytes(self.diff[0]), self.diff[1]
        git = self.provenance.get("git")
        if self.diff is not None and isinstance(git, dict):
            git["diff"] = f"{layout.SOURCE_FOLDER}/{layout.DIFF_FILE}"
            git["diff_truncated"] = self.diff[1]

    def changes_to(self, sweep: SweepFolder) -> dict[str, Any]:
        """What of the provenance is not that of the invocation that began `sweep`."""
        first = sweep.manifest.get("provenance")
        try:
            kept = (sweep.path / layout.SOURCE_FOLDER / layout.DIFF_FILE).read_bytes()
        except OSError:
            kept = None
        diff = None if self.diff is None else self.diff[0]
        return changed_provenance(
            first if isinstance(first, dict) else {}, self.provenance, diff=diff, kept=kept
        )


def find_last(plan: SweepPlan, archive: Path, *, hold: bool) -> Resumption | None:
    """Return the last sweep of the experiment of `plan`, or None when there is none.

    With `hold` its lock is taken before anything of it is read. Raises `ExperimentError` when another
    process is still at it.
    """
    if not archive.is_dir():
        return None
    # The namespace is where to look first; a file collected from another folder, or one that got a second
    # experiment, has another one now.
    folder = archive / plan.namespace
    own = (
        [path for path in folder.iterdir() if (path / layout.SWEEP_FILE).is_file()] if folder.is_dir() else []
    )
    own.sort(key=_age, reverse=True)
    others = (
        sweep.path for sweep in sorted(Archive(archive).sweeps(), key=lambda s: _age(s.path), reverse=True)
    )
    for path in itertools.chain(own, others):
        try:
            sweep = SweepFolder.open(path)
        except DamagedError:
            continue
        about = sweep.manifest["experiment"]
        is_alike = bool(about.get("testing")) == plan.special.testing and not about.get("debug")
        # What repeats past runs has a design of its own: that of the file would be added to it.
        is_alike = is_alike and (sweep.manifest.get("design") or {}).get("kind") != REPEATS
        if (about["file"], about["function"]) == (plan.file, plan.function) and is_alike:
            _refuse_busy(sweep)
            lock = hold_sweep(path) if hold else None
            sweep = SweepFolder.open(
                path
            )  # again: until the lock was held another invocation may have added runs
            statuses = {entry.key: outcomes.PENDING for entry in sweep.entries}
            attempts = {}
            reading = Reading()
            for line in latest_commits(sweep, reading):
                key = sweep.entries[line["index"]].key
                statuses[key] = line["status"]
                attempts[key] = line["attempt"] + 1
            # A run that was deleted begins anew, but not as an attempt that its old lines would pass for.
            attempts |= {sweep.entries[index].key: last + 1 for index, last in reading.deleted.items()}
            return Resumption(sweep, statuses, attempts, lock)
    return None


def _refuse_busy(sweep: SweepFolder) -> None:
    for lock in (sweep.path / layout.JOURNALS_FOLDER).glob("*.lock"):
        if is_held(lock):
            raise ExperimentError(
                f"{sweep.path} cannot be resumed: the process {lock.stem} is still running it; wait for its end, "
                f"or end it with SIGTERM"
            )


def _age(sweep: Path) -> tuple[str, int]:
    """When a sweep began: the second in its name, and within that when its manifest was written."""
    return sweep.name[: len("2026-01-01T00-00-00Z")], (sweep / layout.SWEEP_FILE).stat().st_mtime_ns


def check_archive(archive: Path) -> str | None:
    """Raise `ExperimentError` when nothing can be written below `archive`; return a warning for a full disk."""
    existing = archive
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ExperimentError(f"the archive root {archive} cannot be made: {existing} is no folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ExperimentError(
            f"the archive root {archive} cannot be written: no permission in {existing}; choose another with "
            f"--archive DIR"
        )
    free = shutil.disk_usage(existing).free
    return f"only {free / 1e9:.1f} GB are free at {existing}" if free < LOW_DISK else None


def create_sweep(
    plan: SweepPlan, invocation: Invocation, *, conftests: Iterable[Path], debug: DebugRuns
) -> SweepFolder:
    """Make the sweep folder of a plan: manifest, sources, analysis script; that of a debug run is one of `debug`.

    Raises `ExperimentError`.
    """
    archive = invocation.settings.archive
    try:
        make_root(archive)
        path = _new_folder(archive / plan.namespace, plan.special, debug)
        _write_sources(path, plan, invocation, conftests)
        return SweepFolder.create(path, _manifest(plan, path, invocation))
    except OSError as error:
        raise ExperimentError(
            f"the sweep folder of {plan.name} cannot be made below {archive}: {error}; choose another archive "
            f"root with --archive DIR"
        ) from None


def make_root(archive: Path) -> None:
    """Make the archive root with a ``.gitignore``, so that results are not committed by accident."""
    if archive.is_dir():
        return
    archive.mkdir(parents=True, exist_ok=True)
    replace_file(archive / layout.IGNORE_FILE, layout.IGNORE_TEXT)


class NewRows:
    """Makes the manifest rows of runs that a sweep does not have yet.

    Attributes
    ----------
    constants : tagged values of the fixed parameters of the plan that are not those of the manifest.
    parameters : what the manifest would say of the parameters that it does not know.
    """

    def __init__(self, plan: SweepPlan, sweep: SweepFolder) -> None:
        self._sweep = sweep
        known = sweep.parameters
        first = sweep.manifest["parameters"]
        fixed = {name: encode(value, name=name) for name, value in plan.shown.items()}
        self.constants = {n: v for n, v in fixed.items() if n not in first or first[n].get("value", ...) != v}
        self.parameters = {
            name: _about(plan, name, fixed="default") for name in plan.parameters if name not in known
        }
        self._absent = [name for name in known if name not in plan.parameters]

    def of(self, runs: Iterable[PlannedRun], known: Container[str]) -> list[dict[str, Any]]:
        """Return rows for those of `runs` whose run key is not `known`, numbered behind those of the sweep."""
        rows: list[dict[str, Any]] = []
        for run in runs:
            if run.key not in known:
                index = len(self._sweep.entries) + len(rows)
                row = _row(run, index, bool(self._sweep.manifest.get("sharded")), self.constants)
                rows.append(row | ({"absent": self._absent} if self._absent else {}))
        return rows


def _manifest(plan: SweepPlan, path: Path, invocation: Invocation) -> dict[str, Any]:
    sharded = len(plan.runs) > SHARD_ABOVE
    manifest: dict[str, Any] = {
        "sweep": layout.DEBUG_FOLDER if plan.special.debug else path.name,
        "created": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "experiment": {
            "name": plan.name,
            "file": plan.file,
            "function": plan.function,
            "namespace": plan.namespace,
            "description": plan.description,
            "tags": list(plan.tags),
        },
        "parameters": {name: _about(plan, name) for name in plan.parameters},
        "swept": list(plan.swept),
        "replicates": plan.replicates,
        "paired": plan.paired,
        "design": plan.design,
        "options": dict(invocation.options),
        "sharded": sharded,
        "digest": plan.digest(),
        "provenance": invocation.provenance,
    }
    analyses = [one.reference(invocation.settings.rootdir) for one in analyses_of(plan.lineage)]
    if analyses:
        manifest["experiment"]["analysis"] = analyses
    hooks = described_hooks(plan.lineage, invocation.settings.rootdir)
    if hooks:
        manifest["experiment"]["hooks"] = hooks
    for name in ("debug", "testing", "prefix", "version"):
        if getattr(plan.special, name):
            manifest["experiment"][name] = getattr(plan.special, name)
    if plan.opaque:
        manifest["opaque_variables"] = dict(plan.opaque)
    if plan.grid is not None:
        manifest["grid"] = {"dims": [n for n, _ in plan.grid], "shape": [size for _, size in plan.grid]}
    single = len(plan.runs) == 1 and not plan.runs[0].id
    manifest["runs"] = [_row(run, run.index, sharded, {}, single=single) for run in plan.runs]
    if single:
        manifest["runs"][0]["id"] = plan.function
    return manifest


def _about(plan: SweepPlan, name: str, *, fixed: str = "value") -> dict[str, Any]:
    """What a manifest says of a parameter; `fixed` is the member for the value that no design sweeps."""
    parameter = plan.parameters[name]
    about: dict[str, Any] = {"type": parameter.type_name, "kind": parameter.kind}
    if parameter.annotation is not MISSING:
        about["annotated"] = True
    if parameter.description:
        about["description"] = parameter.description
    about["swept"] = name in plan.swept
    if name in plan.fixed:
        about[fixed] = encode(plan.shown[name], name=name)
    elif parameter.default is not MISSING and not parameter.is_secret:
        about["default"] = encode(parameter.default, name=name)
    about["origin"] = plan.origins.get(name, "")
    return about


def _row(
    run: PlannedRun, index: int, sharded: bool, different: Mapping[str, Any], *, single: bool = False
) -> dict[str, Any]:
    point = {name: encode(value, name=name) for name, value in run.point.items()}
    row = {
        "index": index,
        "id": run.id,
        "key": run.key,
        "folder": "." if single else folder_name(index, run.id, sharded=sharded),
        "params": {**different, **point},
        "replicate": run.replicate,
    }
    return row | ({"repeats": dict(run.repeats)} if run.repeats is not None else {})


def _new_folder(namespace: Path, special: Special, debug: DebugRuns) -> Path:
    namespace.mkdir(parents=True, exist_ok=True)
    while True:
        seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
        stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(seconds))
        # Digits to base 32: folders of one second sort by their time, too.
        letters = "".join(_DIGITS[micros >> 5 * place & 31] for place in (3, 2, 1, 0))
        name = f"{stamp}-{letters}{f'-{special.prefix}' if special.prefix else ''}"
        path = namespace / name
        try:
            if special.debug:
                return debug.begin(namespace, name)
            path.mkdir()
        except FileExistsError:
            continue
        return path


def _write_sources(path: Path, plan: SweepPlan, invocation: Invocation, conftests: Iterable[Path]) -> None:
    root = invocation.settings.rootdir
    file = Path(root / plan.file)
    own = [c for c in conftests if file.is_relative_to(c.parent) and c.is_relative_to(root)]
    bases = [source.path for source in plan.lineage.sources[:-1]]
    sources = local_sources(file, rootdir=root, extra=[*own, *bases], exclude=[invocation.settings.archive])
    mask = partial(masked_source, mask=invocation.mask)
    hashes = write_snapshot(path / layout.SOURCE_FOLDER, sources, experiment_file=file, mask=mask)
    if invocation.diff is not None:
        replace_file(path / layout.SOURCE_FOLDER / layout.DIFF_FILE, invocation.diff[0])
    if len(plan.runs) == 1 and not plan.runs[0].id:
        replace_file(path / code_file_of(file), mask(file.read_bytes(), file.suffix))
    invocation.provenance["sources"] = hashes
    invocation.provenance["import_paths"] = _import_paths(root)
    replace_file(path / layout.ANALYSIS_FILE, analysis_script(plan).encode())


def _import_paths(root: Path) -> list[str]:
    """Folders of the project in which imports were looked up, relative to its root, first to last."""
    entries = (Path(os.path.abspath(entry)) for entry in sys.path)
    inside = (entry.relative_to(root).as_posix() for entry in entries if entry.is_relative_to(root))
    return list(dict.fromkeys(inside))


def analysis_script(plan: SweepPlan) -> str:
    """The text of ``analysis.py``: it reloads the sweep it stands in, wherever that was copied.

    The folder of the one run of an unparametrized experiment is the sweep folder: its analyses are called too.
    """
    calls = len(plan.runs) == 1 and not plan.runs[0].id and bool(analyses_of(plan.lineage))
    title = json.dumps(f"{plan.name}: {plan.description.splitlines()[0] if plan.description else 'analysis'}")
    return f"""{title}
# Reload this sweep: python analysis.py            (needs pytest-expedition, and nothing of the experiment)

from pathlib import Path

from expedition import Archive, Trajectory{_IMPORT if calls else ""}

SWEEP = Path(__file__).resolve().parent


def main() -> None:
    archive = Archive(SWEEP)
    for record in archive.runs():
        print(f"{{record.id or record.experiment}}: {{record.status}}")
        for name, value in record.flat_data.items():
            shown = repr(value)
            print(f"    {{name}} = {{shown if len(shown) < 80 else shown[:79] + '…'}}")
        for name, series in record.series.items():
            print(f"    {{name}}: series of {{len(series.step)}} values")
    if not (SWEEP / "trajectory.h5").exists():
        return  # the sweep was killed before its first trajectory; pytest --resume writes it
    with Trajectory.open(SWEEP) as trajectory:
        count = len(trajectory)
        print(f"{{count}} run{{'s' if count != 1 else ''}} in {{SWEEP / 'trajectory.h5'}}")
        # trajectory.find("status == 'done'"), trajectory.res.<name>.values, trajectory.to_pandas() …


if __name__ == "__main__":
    main(){_CALL if calls else ""}
"""


_IMPORT = "\nfrom expedition.archive import rerun_analysis"
_CALL = "\n    raise SystemExit(rerun_analysis(SWEEP))  # the functions marked @experiment.analysis"
