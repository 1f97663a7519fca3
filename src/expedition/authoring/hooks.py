"""Hooks: named places in an experiment that functions of experiment files, mixins and conftests fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from expedition.authoring.lineage import Lineage, reference
from expedition.authoring.parameters import RUN_FIXTURES
from expedition.authoring.specs import check_plain, claim, defines
from expedition.errors import ExperimentError

F = TypeVar("F", bound=Callable[..., Any])

STANDARD = ("before_run", "after_run", "on_timeout", "before_testing")
"""Hooks that every run applies: before and after the function, and before the first of them in testing mode."""

_ATTRIBUTE = "__expedition_hooks__"


@dataclass(frozen=True)
class Hook:
    """A function that fills the hook `name`; with `replace` it does so instead of those farther away."""

    name: str
    function: Callable[..., Any]
    replace: bool

    @property
    def arguments(self) -> dict[str, inspect.Parameter]:
        """What the function asks for besides the run, by name."""
        return dict(list(inspect.signature(self.function).parameters.items())[1:])

    @property
    def place(self) -> str:
        """File and line of the function, for messages."""
        code = inspect.unwrap(self.function).__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    @property
    def hides_others(self) -> bool:
        """Whether what it overrides is called by nobody."""
        return self.replace and not self.applies_outer(fixture_name(self.name))

    def applies_outer(self, fixture: str) -> bool:
        """Tell whether the function calls what it overrides itself, by asking for it."""
        return fixture in self.arguments


def fixture_name(hook: str) -> str:
    """Return the name of the fixture that a hook is."""
    return f"hook_{hook}"


def mark_hook(function: F, name: str, *, replace: bool) -> F:
    """Note that a function fills a hook. Raises `ExperimentError`."""
    check_plain(function, "@experiment.hook", "a hook")
    claim(function, "hook")
    arguments = list(inspect.signature(function).parameters.values())
    first = arguments[0] if arguments else None
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise ExperimentError(
            f"{function.__name__}: a hook gets the run first: def {function.__name__}(e, …)"
        )
    for argument in arguments[1:]:
        if argument.name in RUN_FIXTURES or argument.kind in (
            argument.VAR_POSITIONAL,
            argument.POSITIONAL_ONLY,
        ):
            raise ExperimentError(
                f"{function.__name__}: a hook gets the run first and everything else by name; {argument.name!r} "
                f"cannot be given so"
            )
    hook = Hook(name, function, replace)
    if not replace and hook.applies_outer(fixture_name(name)):
        raise ExperimentError(
            f"{function.__name__}: a hook that asks for {fixture_name(name)} calls what it overrides itself, and one "
            f"with replace=False is called after it; leave one of them out"
        )
    function.__dict__.setdefault(_ATTRIBUTE, []).append(hook)
    return function


def check_hook_name(name: object) -> str:
    """Return the name of a hook. Raises `ExperimentError` when it is no identifier."""
    if isinstance(name, FunctionType):
        raise ExperimentError(
            f'{name.__name__}: @experiment.hook needs the name of the hook: @experiment.hook("{name.__name__}")'
        )
    if not isinstance(name, str) or not name.isidentifier():
        raise ExperimentError(
            f"the name of a hook must be an identifier, such as 'load_words', but got {name!r}"
        )
    return name


def hooks_of(module: Mapping[str, Any]) -> Iterator[Hook]:
    """Yield the hooks that a module defines itself, in the order of the page."""
    for name, value in list(module.items()):
        if isinstance(value, FunctionType) and _ATTRIBUTE in value.__dict__ and defines(module, name, value):
            yield from value.__dict__[_ATTRIBUTE]


def described_hooks(lineage: Lineage, root: Path) -> dict[str, list[dict[str, str]]]:
    """Return the functions that fill each hook in the files of an experiment, those of bases first.

    Of each there is ``function``, as ``<file relative to root>::<name>``, and its docstring as ``description``.
    """
    found: dict[str, list[dict[str, str]]] = {}
    for source in lineage.sources:
        for hook in hooks_of(source.module):
            about = {"function": reference(source.path, hook.function.__name__, root)}
            if doc := inspect.getdoc(hook.function):
                about["description"] = doc
            found.setdefault(hook.name, []).append(about)
    return found
