"""``expedition new``: writes files to start from."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from expedition.authoring.plan import SweepPlan
from expedition.cli.scaffolding.config_file import config_text
from expedition.cli.scaffolding.experiment_file import experiment_text
from expedition.cli.scaffolding.extension import extension_text
from expedition.cli.scaffolding.sweep_analysis import analysis_notebook, analysis_script
from expedition.errors import ExpeditionError, ExperimentError, OutputExistsError, near_matches
from expedition.plugin import DEFAULT_FILES
from expedition.plugin.inspection import archive_here, plans_of
from expedition.recording import layout
from expedition.recording.files import replace_file
from expedition.reporting.printing import print_text

_SUFFIXES = {"experiment": ".py", "extend": ".py", "config": ".yml", "analysis": ".py"}


@dataclass(frozen=True)
class NewFile:
    """A file that is wanted.

    Attributes
    ----------
    kind : ``experiment``, ``extend``, ``config`` or ``analysis``.
    name : of the file, with or without its suffix. folder : where it is written. force : whether one may be replaced.
    base : ``FILE[::EXPERIMENT]`` that is extended. sweep : the sweep folder that is analysed, None for the last one.
    """

    kind: str
    name: str
    folder: str = "."
    force: bool = False
    description: str = ""
    base: str | None = None
    sweep: str | None = None
    notebook: bool = False
    archive: str | None = None


def write_new(wanted: NewFile) -> None:
    """Write a file to start from, and say how to run it. Raises `ExpeditionError` when nothing was written."""
    try:
        target = _target(wanted)
        text = _text(wanted, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, text.encode("utf-8"))
    except OSError as error:
        if isinstance(error, ExpeditionError):
            raise
        raise ExperimentError(f"{wanted.name} cannot be written: {error}") from error
    shown = os.path.relpath(target)
    print_text(f"wrote {shown}")
    if wanted.kind != "analysis":
        print_text(f"run it with: pytest --experiments {shown}")
    elif target.suffix == ".py":
        print_text(f"run it with: python {shown}")


def _target(wanted: NewFile) -> Path:
    """The path of the new file. Raises `ExperimentError` for a bad name, `OutputExistsError` for a taken one."""
    suffix = ".ipynb" if wanted.kind == "analysis" and wanted.notebook else _SUFFIXES[wanted.kind]
    name = wanted.name
    stem = name.removesuffix(suffix)
    if wanted.kind == "config":
        stem = stem.removesuffix(".yaml")
    given = stem
    if wanted.kind != "analysis" and not any(fnmatch.fnmatch(stem + suffix, p) for p in DEFAULT_FILES):
        stem = f"exp_{stem}"  # so that it is found in its folder
    is_name = re.fullmatch(r"[^\W\d][\w-]*", stem) if suffix == ".yml" else stem.isidentifier()
    if not is_name or not given:
        near = re.sub(r"\W+", "_", given).strip("_")
        raise ExperimentError(
            f"{name!r} cannot be the name of the file; use letters, digits and _, such as "
            f"{near if near.isidentifier() else 'exp_search'!r}, and --folder for another folder"
        )
    target = Path(wanted.folder).resolve() / f"{stem}{suffix}"
    base = wanted.base
    if base and target == Path(base.partition("::")[0]).resolve():
        raise ExperimentError(f"{target.name} would extend itself; give another name")
    if target.exists() and not wanted.force:
        raise OutputExistsError(f"{os.path.relpath(target)} exists; give another name, or --force")
    return target


def _text(wanted: NewFile, target: Path) -> str:
    if wanted.kind == "analysis":
        return _analysis(wanted, target)
    description = wanted.description
    if wanted.kind == "experiment":
        return experiment_text(_function(target), description)
    base, plan = _base(wanted.base or "", target)
    if wanted.kind == "config":
        return config_text(target.stem, base, plan, description)
    return extension_text(_function(target), base, plan, description)


def _function(target: Path) -> str:
    """The name of the experiment; an UPPERCASE one would be a parameter."""
    return target.stem.lower() if target.stem.isupper() else target.stem


def _base(given: str, target: Path) -> tuple[str, SweepPlan]:
    """What the new file extends, relative to it, and its plan. Raises `ExperimentError`."""
    file, _, name = given.partition("::")
    path = Path(file).resolve()
    if not path.is_file():
        names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ExperimentError(f"--from {given}: there is no file {file!r}{near_matches(path.name, names)}")
    plans = {plan.function: plan for plan in plans_of(path)}
    if name and name not in plans:
        raise ExperimentError(
            f"--from {given}: there is no experiment {name!r}{near_matches(name, plans)}; "
            f"experiments: {', '.join(plans)}"
        )
    if not name and len(plans) > 1:
        raise ExperimentError(
            f"--from {given}: there are several experiments; say which, as in {f'{file}::{next(iter(plans))}'!r} "
            f"(there are {', '.join(plans)})"
        )
    text = _relative(path, target.parent)
    several = name or len(plans) > 1
    return (f"{text}::{name}" if several else text), plans[name or next(iter(plans))]


def _analysis(wanted: NewFile, target: Path) -> str:
    root = archive_here(wanted.archive)
    sweep = _sweep(root, wanted.sweep) if wanted.sweep else None
    if sweep is None and not any(root.rglob(layout.TRAJECTORY_FILE)):
        raise ExperimentError(
            f"there is no sweep in {root} yet; run an experiment first, or name a sweep: --from"
        )
    folders = {
        "archive": _relative(root, target.parent),
        "sweep": _relative(sweep, target.parent) if sweep is not None else "",
    }
    if target.suffix == ".ipynb":
        return analysis_notebook(**folders)
    return analysis_script(target.stem, **folders)


def _sweep(root: Path, given: str) -> Path:
    """A sweep folder by its path, from here or from the archive root, or by its name. Raises `ExperimentError`."""
    found = [folder for folder in (Path(given).resolve(), root / given) if _is_sweep(folder)]
    known = [file.parent for file in root.rglob(layout.SWEEP_FILE)] if root.is_dir() else []
    found += [folder for folder in known if folder.name == PurePath(given).name]
    if not found:
        near = near_matches(PurePath(given).name, [folder.name for folder in known])
        raise ExperimentError(f"--from {given}: there is no such sweep folder, also not in {root}{near}")
    if not (found[0] / layout.TRAJECTORY_FILE).is_file():
        raise ExperimentError(
            f"--from {given}: the sweep has no trajectory yet; wait for its end, or write one with "
            f"expedition archive repair"
        )
    return found[0]


def _is_sweep(folder: Path) -> bool:
    return (folder / layout.SWEEP_FILE).is_file()


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
