"""Stages: functions that several runs share, computed once for all that need the same of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar

from expedition.authoring.parameters import RUN_FIXTURES
from expedition.authoring.specs import check_plain, claim, defines
from expedition.errors import ExperimentError

F = TypeVar("F", bound=Callable[..., Any])

SCOPES = ("session", "function")
_ATTRIBUTE = "__expedition_stage__"


@dataclass(frozen=True)
class Stage:
    """A function marked with ``@experiment.stage``; see there."""

    function: Any
    scope: str = "session"
    version: str = ""
    codec: str | None = None

    @property
    def name(self) -> str:
        """The name by which experiments and other stages ask for it."""
        return str(self.function.__name__)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the function asks for: parameters and other stages."""
        return tuple(inspect.signature(self.function).parameters)

    @property
    def place(self) -> str:
        """File and line of the function, for messages."""
        code = self.function.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"


def mark_stage(function: F, *, scope: str, version: str | int, codec: str | None) -> F:
    """Note that a function is a stage. Raises `ExperimentError`."""
    check_plain(function, "@experiment.stage", "a stage")
    claim(function, "stage")
    if scope not in SCOPES:
        raise ExperimentError(
            f"{function.__name__}: the scope of a stage is one of {', '.join(SCOPES)}, not {scope!r}"
        )
    if not isinstance(version, str | int):
        raise ExperimentError(
            f"{function.__name__}: the version of a stage is a text or a whole number, such as version=2, but got "
            f"{version!r}"
        )
    if codec not in (None, "pickle"):
        raise ExperimentError(f'{function.__name__}: the codec of a stage is None or "pickle", not {codec!r}')
    for argument in inspect.signature(function).parameters.values():
        if argument.name in RUN_FIXTURES:
            raise ExperimentError(
                f"{function.__name__}: a stage is shared by runs and cannot ask for one of them; ask for the "
                f"parameters that it needs, and record its result in the experiment"
            )
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
            raise ExperimentError(
                f"{function.__name__}: a stage names its arguments; {argument.name!r} cannot be given"
            )
    function.__dict__[_ATTRIBUTE] = Stage(function, scope, str(version), codec)
    return function


def stage_of(function: object) -> Stage | None:
    """Return the stage that a function is, None when it is none."""
    found = getattr(function, "__dict__", {}).get(_ATTRIBUTE)
    return found if isinstance(found, Stage) else None


def stages_of(module: Mapping[str, Any]) -> Iterator[Stage]:
    """Yield the stages that a module defines itself."""
    for name, value in list(module.items()):
        stage = stage_of(value) if isinstance(value, FunctionType) else None
        if stage is not None and defines(module, name, value):
            yield stage
