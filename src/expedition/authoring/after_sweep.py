"""Functions of experiment files that are called when all runs of a sweep have ended."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar

from expedition.authoring.parameters import RUN_FIXTURES
from expedition.authoring.specs import check_plain, claim, defines, spec_of
from expedition.errors import ExperimentError, near_matches

F = TypeVar("F", bound=Callable[..., Any])

RESULTS = "results"
"""Name of the fixture, and of the argument, that finds finished runs."""

_AFTER_SWEEP = "__expedition_after_sweep__"


@dataclass(frozen=True)
class AfterSweep:
    """What ``@experiment.after_sweep`` said of a function.

    `experiments` are the names of those that it belongs to, none stands for all of its file. `run_at` is the
    position of the argument that gets the run which records for the sweep, `results_at` that of what finds runs of
    other sweeps; None when it takes none.
    """

    experiments: tuple[str, ...]
    run_at: int | None
    results_at: int | None = None


def after_sweep_of(function: object) -> AfterSweep | None:
    """Return what ``@experiment.after_sweep`` said of a function, or None."""
    if not isinstance(function, FunctionType):
        return None
    found = function.__dict__.get(_AFTER_SWEEP)
    return found if isinstance(found, AfterSweep) else None


def find_after_sweep(module: Mapping[str, Any], *names: str) -> Callable[..., Any] | None:
    """Return the function of a module that is called after the sweep of an experiment known under `names`.

    `module` holds its globals. One that names the experiment goes before one that belongs to the whole file.
    Raises `ExperimentError` when two are equally near.
    """
    own: list[Callable[..., Any]] = []
    common: list[Callable[..., Any]] = []
    for function, about in _after_sweeps(module):
        if set(about.experiments) & set(names):
            own.append(function)
        elif not about.experiments:
            common.append(function)
    found = own or common
    if len(found) > 1:
        raise ExperimentError(
            f"{names[0]}: {found[0].__name__} and {found[1].__name__} both are to be called after the sweep; keep "
            f"one, or say which experiment each belongs to: @experiment.after_sweep({names[0]!r})"
        )
    return found[0] if found else None


def check_after_sweeps(module: Mapping[str, Any]) -> None:
    """Raise `ExperimentError` for a function of a module that names an experiment which is not there."""
    known = {
        name
        for value in module.values()
        if (spec := spec_of(value)) is not None and value.__module__ == module.get("__name__")
        for name in (value.__name__, spec.name)
        if name
    }
    for function, about in _after_sweeps(module):
        for name in about.experiments:
            if name not in known:
                raise ExperimentError(
                    f"{function.__name__}: experiment.after_sweep names {name!r}, which is no experiment of this "
                    f"file{near_matches(name, known)}; experiments: {', '.join(sorted(known)) or 'none'}"
                )


def _after_sweeps(module: Mapping[str, Any]) -> Iterator[tuple[FunctionType, AfterSweep]]:
    """Functions that a module defines itself; what it imports belongs to another file."""
    for name, value in module.items():
        about = after_sweep_of(value)
        if about is not None and defines(module, name, value):
            yield value, about


def mark_after_sweep(function: F, *names: str) -> F:
    """Note that a function is called after the sweeps of the experiments `names`. Raises `ExperimentError`."""
    check_plain(function, "@experiment.after_sweep", "a function for after_sweep")
    label = getattr(function, "__name__", repr(function))
    claim(function, "after_sweep")
    required = [
        argument
        for argument in inspect.signature(function).parameters.values()
        if argument.default is argument.empty and argument.kind is not argument.VAR_KEYWORD
    ]
    runs = [position for position, argument in enumerate(required) if argument.name in RUN_FIXTURES]
    finders = [position for position, argument in enumerate(required) if argument.name == RESULTS]
    if len(required) - len(runs) == 1:
        finders = []  # whatever its name is, it is the trajectory
    by_position = all(a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD) for a in required)
    if not by_position or len(runs) > 1 or len(required) - len(runs) - len(finders) != 1:
        raise ExperimentError(
            f"{label}: a function for after_sweep takes the trajectory, and perhaps the run of the summary, by the "
            f"name experiment or e: def {label}(traj) or def {label}(traj, e); what finds other runs comes by the "
            f"name results: def {label}(traj, e, results)"
        )
    earlier = after_sweep_of(function)
    known = earlier.experiments if earlier is not None else ()
    run_at, results_at = (found[0] if found else None for found in (runs, finders))
    setattr(function, _AFTER_SWEEP, AfterSweep((*names, *known), run_at, results_at))
    return function
