"""Sweep folders of an invocation: made anew, or found again to be resumed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from expedition.archive.invocations import changed_provenance
from expedition.archive.sweep import SweepFolder
from expedition.authoring.analysis import analyses_of
from expedition.authoring.experiment_code import ExperimentCode
from expedition.authoring.hooks import described_hooks
from expedition.authoring.identity import folder_name
from expedition.authoring.parameters import MISSING
from expedition.authoring.plan import PlannedRun, SweepPlan
from expedition.authoring.special import Special
from expedition.errors import ExperimentError
from expedition.plugin.debug_runs import DebugRuns
from expedition.plugin.experiment_codes import masked_parts
from expedition.plugin.settings import Settings
from expedition.recording import layout
from expedition.recording.files import replace_file
from expedition.recording.masked_sources import masked_source
from expedition.recording.masking import NO_MASK, Mask
from expedition.recording.plain_files import read_plain
from expedition.recording.provenance import collect_provenance, git_diff
from expedition.recording.snapshot import code_file_of, local_sources, write_snapshot
from expedition.values import encode

SHARD_ABOVE = 10_000
"""Sweeps of more runs keep a thousand run folders in each of several parent folders."""

LOW_DISK = 1 << 30
"""Bytes of free space below which the user is warned at the start."""
_DIGITS = "23456789abcdefghijkmnpqrstuvwxyz"
"""Digits to base 32 in the order of their characters; four of them tell microseconds."""


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
            self.diff = self.mask.content(self.diff[0]), self.diff[1]
        git = self.provenance.get("git")
        if self.diff is not None and isinstance(git, dict):
            git["diff"] = f"{layout.SOURCE_FOLDER}/{layout.DIFF_FILE}"
            git["diff_truncated"] = self.diff[1]

    def copy_of(self, file: str) -> bytes:
        """The content of a file of the project as it may be copied, without secrets. Raises `ExperimentError`."""
        path = self.settings.rootdir / file
        try:
            return masked_source(path.read_bytes(), path.suffix, self.mask)
        except OSError as error:
            raise ExperimentError(
                f"{file} cannot be read again: {error}; do not move it while pytest runs"
            ) from None

    def changes_to(self, sweep: SweepFolder) -> dict[str, Any]:
        """What of the provenance is not that of the invocation that began `sweep`."""
        first = sweep.manifest.get("provenance")
        try:
            kept = read_plain(sweep.path / layout.SOURCE_FOLDER / layout.DIFF_FILE)
        except OSError:
            kept = None
        diff = None if self.diff is None else self.diff[0]
        return changed_provenance(
            first if isinstance(first, dict) else {}, self.provenance, diff=diff, kept=kept
        )


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
    plan: SweepPlan,
    invocation: Invocation,
    code: ExperimentCode | None,
    *,
    conftests: Iterable[Path],
    debug: DebugRuns,
    hold: Callable[[Path], None],
) -> SweepFolder:
    """Make the sweep folder of a plan: manifest, sources, analysis script; that of a debug run is one of `debug`.

    `hold` takes the lock of the folder before there is a manifest, by which other invocations know a sweep: none of
    them can go on with it in between. Raises `ExperimentError`.
    """
    archive = invocation.settings.archive
    try:
        make_root(archive)
        path = _new_folder(archive / plan.namespace, plan.special, debug)
        (path / layout.JOURNALS_FOLDER).mkdir()
        hold(path)
        _write_sources(path, plan, invocation, conftests)
        return SweepFolder.create(path, _manifest(plan, path, invocation, code))
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


def _manifest(
    plan: SweepPlan, path: Path, invocation: Invocation, code: ExperimentCode | None
) -> dict[str, Any]:
    sharded = len(plan.runs) > SHARD_ABOVE
    manifest: dict[str, Any] = {
        "sweep": layout.DEBUG_FOLDER if plan.special.debug else path.name,
        "created": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "experiment": {
            "name": plan.name,
            "file": plan.file,
            "function": plan.function,
            "namespace": plan.namespace,
            "description": invocation.mask.text(plan.description),
            "tags": list(map(invocation.mask.text, plan.tags)),
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
    if code is not None:
        places = code.places(code.parts, invocation.settings.rootdir)
        parts = masked_parts(code.parts, invocation.mask)
        manifest["code"] = {"digest": code.digest, "parts": parts, "places": places}
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
    single = _is_single(plan)
    manifest["runs"] = [_row(run, run.index, sharded, {}, single=single) for run in plan.runs]
    if single:
        manifest["runs"][0]["id"] = plan.function
    return manifest


def _is_single(plan: SweepPlan) -> bool:
    """Tell the plan of an unparametrized experiment, whose run folder is the sweep folder."""
    return len(plan.runs) == 1 and not plan.runs[0].id


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
    if _is_single(plan):
        replace_file(path / code_file_of(file), invocation.copy_of(plan.file))
    invocation.provenance["sources"] = hashes
    invocation.provenance["import_paths"] = _import_paths(root)
    replace_file(path / layout.ANALYSIS_FILE, invocation.mask.text(analysis_script(plan)).encode())


def _import_paths(root: Path) -> list[str]:
    """Folders of the project in which imports were looked up, relative to its root, first to last."""
    entries = (Path(os.path.abspath(entry)) for entry in sys.path)
    inside = (entry.relative_to(root).as_posix() for entry in entries if entry.is_relative_to(root))
    return list(dict.fromkeys(inside))


def analysis_script(plan: SweepPlan) -> str:
    """The text of ``analysis.py``: it reloads the sweep it stands in, wherever that was copied.

    The folder of the one run of an unparametrized experiment is the sweep folder: its analyses are called too.
    """
    calls = _is_single(plan) and bool(analyses_of(plan.lineage))
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
