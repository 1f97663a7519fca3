"""The options of one invocation, checked and typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from expedition.authoring.expressions import Expression, compile_expression
from expedition.authoring.limits import LONGEST_TIMEOUT, check_retries, check_timeout
from expedition.authoring.modules import use_root
from expedition.authoring.overrides import Override
from expedition.authoring.specs import Include
from expedition.authoring.text import load_mapping_file
from expedition.errors import ExperimentError
from expedition.plugin import launch
from expedition.plugin.archive_options import archive_root

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Settings:
    """What the command line and the ini file say about experiments.

    `roots` are the collected folders, absolute; the folder of a file that was named itself. `select` is the
    expression that names the past runs which are to run again, None when those of the design are. `run_timeout` (0
    for none) and `run_retries` go before what experiments say, unless they are None; `timeout_grace` are the seconds
    that a run has after its timeout. `resume_from` names the sweep to go on with, None for the last one; `force` runs
    settled runs again, `ignore_code` takes the code for unchanged.
    """

    rootdir: Path
    roots: tuple[Path, ...]
    files: frozenset[Path]
    file_patterns: tuple[str, ...]
    archive: Path
    seed: int
    overrides: tuple[Override, ...]
    where: Expression | None
    tags: tuple[str, ...]
    notes: tuple[str, ...]
    resume: bool
    resume_from: str | None
    force: bool
    ignore_code: bool
    snapshot_interval: float
    max_generations: int
    includes: tuple[Include, ...]
    special: Mapping[str, Any]
    why_stale: bool
    select: str | None
    run_timeout: float | None
    run_retries: int | None
    timeout_grace: float

    @classmethod
    def from_config(cls, config: pytest.Config) -> Settings:
        """Read the options. Raises `ExperimentError` naming the option and the remedy."""
        option = config.option
        use_root(config.rootpath)
        paths = [_absolute(config, argument) for argument in option.experiments]
        paths += [_absolute(config, argument) for argument in option.file_or_dir or ()]
        overrides = [override for name in option.params_file for override in _from_file(config, name)]
        overrides += [Override.from_option(argument) for argument in option.param]
        overrides += launch.read_overrides(config)
        resume = bool(option.resume) or option.resume_from is not None
        for name in ("force", "ignore_code"):
            if getattr(option, name) and not resume:
                raise ExperimentError(
                    f"--{name.replace('_', '-')} says which runs --resume runs again; give --resume, or --resume-from "
                    f"SWEEP, with it"
                )
        if option.archive_select is not None and resume:
            raise ExperimentError(
                "--archive-select runs past runs again, in a sweep of their own, and --resume goes on with one that is "
                "there; give one of them"
            )
        if option.archive_select is not None and option.archive_limit is not None:
            raise ExperimentError(
                "--archive-limit is about reports and what is done with an archive; which past runs run again is said "
                "by --archive-select alone"
            )
        return cls(
            rootdir=config.rootpath,
            roots=tuple(dict.fromkeys(path if path.is_dir() else path.parent for path in paths)),
            files=frozenset(path for path in paths if path.is_file()),
            file_patterns=tuple(config.getini("experiment_files")),
            archive=archive_root(config),
            seed=_seed(str(config.getini("experiment_seed"))),
            overrides=tuple(overrides),
            where=_expression(option.where) if option.where is not None else None,
            tags=tuple(_texts("--tag", option.tag)),
            notes=tuple(_texts("--note", option.note)),
            resume=resume,
            resume_from=_texts("--resume-from", [option.resume_from])[0]
            if option.resume_from is not None
            else None,
            force=bool(option.force),
            ignore_code=bool(option.ignore_code),
            snapshot_interval=_seconds(str(config.getini("experiment_snapshot_interval"))),
            max_generations=_generations(str(config.getini("experiment_max_generations"))),
            includes=tuple(
                Include(text, config.invocation_params.dir / "the folder of the command")
                for text in _texts("--include", option.include)
            ),
            why_stale=bool(option.why_stale),
            select=option.archive_select,
            run_timeout=limit(option.run_timeout, check_timeout, "--run-timeout"),
            run_retries=limit(option.run_retries, check_retries, "--run-retries"),
            timeout_grace=_seconds(
                str(config.getini("experiment_timeout_grace")), "experiment_timeout_grace", "none"
            ),
            special={
                "debug": bool(option.debug_run),
                "testing": bool(option.testing),
                "caching": not option.no_experiment_cache,
                "prefix": option.run_prefix,
            },
        )


def relative_file(path: Path, root: Path) -> str:
    """Return an experiment file as run keys and records name it: relative to the root folder, with ``/``."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _absolute(config: pytest.Config, argument: str) -> Path:
    return Path(config.invocation_params.dir / str(argument).split("::")[0]).resolve()


def _expression(text: str) -> Expression:
    try:
        return compile_expression(text)
    except ExperimentError as error:
        raise ExperimentError(f"--where: {error}") from None


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,1000}", text.strip()):
        raise ExperimentError(
            f"ini experiment_seed must be a whole number of at least 0 and at most 1,000 digits, but got {text[:80]!r}"
        )
    return int(text)


def _seconds(text: str, key: str = "experiment_snapshot_interval", zero: str = "no snapshots") -> float:
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text.strip()) or float(text) > LONGEST_TIMEOUT:
        raise ExperimentError(
            f"ini {key} must be a number of seconds, 0 for {zero}, and ten years at most, but got {text[:80]!r}"
        )
    return float(text)


def limit(text: str | None, check: Callable[[object, str], _Number], option: str) -> _Number | None:
    """Return the number of an option by the rules of `check`; None where the option is not given.

    Raises `ExperimentError`.
    """
    if text is None:
        return None
    digits = text.strip()
    value: object = text
    if re.fullmatch(r"\d{1,18}", digits):
        value = int(digits)
    elif re.fullmatch(r"(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?", digits):
        value = float(digits)
    return check(value, option)


def _generations(text: str) -> int:
    if not re.fullmatch(r"0{,9}[1-9]\d{,17}", text.strip()):
        raise ExperimentError(
            f"ini experiment_max_generations must be a whole number of at least 1, but got {text[:80]!r}"
        )
    return int(text)


def _texts(option: str, texts: Sequence[str]) -> Sequence[str]:
    for text in texts:
        if not text.strip():
            raise ExperimentError(f"{option} must not be empty")
    return texts


def _from_file(config: pytest.Config, name: str) -> list[Override]:
    mapping = load_mapping_file(config.invocation_params.dir / name)
    found = []
    for key, value in mapping.items():
        experiment, _, parameter = key.rpartition(":")
        found.append(Override(experiment or None, parameter, name, value=value))
    return found
