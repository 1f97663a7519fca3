"""What the decorators of an experiment said, kept on its function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

from expedition.authoring.design import Design
from expedition.errors import ExperimentError

INCLUDES = "__expedition_includes__"
"""Variable of a module in which ``experiment.include`` notes what it was given."""

INCLUDE = "__INCLUDE__"
"""Special variable that names mixins: a path, or a list of paths."""

REMARKS = "__expedition_remarks__"
"""Variable of a module in which a config notes what may not be meant: line and text of each."""

UNNAMED = "<extended>"
"""Name of what ``experiment.extend`` returns until a variable of its file names it."""

SPECIAL = (
    "__DEBUG__",
    "__TESTING__",
    "__CACHING__",
    "__REPRODUCIBLE__",
    "__PREFIX__",
    "__VERSION__",
    INCLUDE,
)
"""Special variables of experiment files, mixins and configs."""

_ATTRIBUTE = "__expedition__"
_ROLE = "__expedition_role__"
_ROLES = {
    "experiment": "an experiment",
    "after_sweep": "what is called after a sweep",
    "hook": "a hook",
    "testing": "what testing mode asks",
    "analysis": "an analysis",
    "stage": "a stage",
}


@dataclass(frozen=True)
class Base:
    """What an experiment extends: the text of ``experiment.extend``, in line `line` of the file `file`."""

    text: str
    file: Path
    line: int


@dataclass(frozen=True)
class Include:
    """A mixin that the file `file` names in its line `line`; line 0 is an option."""

    text: str
    file: Path
    line: int = 0


@dataclass(frozen=True)
class Written:
    """A value as it stands in a config, still to be typed; `place` is the config and the line."""

    value: Any
    place: str


@dataclass
class ExperimentSpec:
    """What the decorators of one experiment said.

    Attributes
    ----------
    designs : in the order of the decorators on the page, the outermost loop first.
    replicates : how often every point is repeated; None where nothing was said.
    timeout : seconds that one attempt of a run may take, 0 for any; None where nothing was said.
    retries : how often a run that failed is tried again; None where nothing was said.
    base : the experiment that this one extends.
    values : of parameters, given to ``extend`` or by a config.
    testing : values of parameters in testing mode.
    is_written : True where the values of the sweep are those of a config, still to be typed; `sweep_place` is
        where it stands there.
    has_body : False where the function of the base is used.
    """

    name: str | None = None
    namespace: str | None = None
    tags: tuple[str, ...] = ()
    designs: tuple[Design, ...] = ()
    replicates: int | None = None
    paired: bool = False
    timeout: float | None = None
    retries: int | None = None
    base: Base | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    testing: Mapping[str, Any] = field(default_factory=dict)
    is_written: bool = False
    sweep_place: str = ""
    has_body: bool = True

    def design(self) -> Design | None:
        """The product of all designs, or None when nothing is swept."""
        if not self.designs:
            return None
        product = self.designs[0]
        for design in self.designs[1:]:
            product = product * design
        return product


def spec_of(function: object) -> ExperimentSpec | None:
    """Return the spec of a marked function, or None."""
    if not isinstance(function, FunctionType):
        return None
    spec = function.__dict__.get(_ATTRIBUTE)
    return spec if isinstance(spec, ExperimentSpec) else None


def check_plain(function: object, mark: str, what: str) -> None:
    """Raise `ExperimentError` for what is no plain function; `mark` is the decorator, `what` its function."""
    if not isinstance(function, FunctionType):
        kind = type(function).__name__
        raise ExperimentError(f"{mark} marks plain functions, but got a {kind}: {function!r}")
    unlike = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(function) for is_kind in unlike):
        raise ExperimentError(
            f"{function.__name__}: {what} must be a plain function, not async and without yield"
        )


def claim(function: Callable[..., Any], role: str) -> None:
    """Give a function its one role in an experiment file. Raises `ExperimentError` when it has another one."""
    taken = function.__dict__.setdefault(_ROLE, role)
    if taken != role:
        raise ExperimentError(
            f"{function.__name__} is {_ROLES[taken]} already, and cannot be {_ROLES[role]} too; write another function"
        )


def mark(function: Callable[..., Any]) -> ExperimentSpec:
    """Return the spec of a function, which becomes an experiment by that. Raises `ExperimentError`."""
    check_plain(function, "@experiment", "an experiment")
    claim(function, "experiment")
    spec: ExperimentSpec = function.__dict__.setdefault(_ATTRIBUTE, ExperimentSpec())
    return spec


def defines(module: Mapping[str, Any], name: str, value: Any) -> bool:
    """Tell whether a module made the function `value`, which stands under `name`, and did not import it."""
    return bool(value.__module__ == module.get("__name__") and value.__name__ == name)
