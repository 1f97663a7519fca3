"""Testing mode: the values with which an experiment is tried out in a moment."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType, MappingProxyType
from typing import Any, TypeVar

from expedition.authoring.lineage import Lineage
from expedition.authoring.specs import check_plain, claim, defines
from expedition.errors import ExperimentError, near_matches

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__expedition_testing__"


class TestingValues:
    """What a function marked with ``@experiment.testing`` gets: the values so far, to be assigned anew."""

    __test__ = False
    __slots__ = ("_given", "_known")

    def __init__(self, known: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_known", known)
        object.__setattr__(self, "_given", {})

    @property
    def params(self) -> Mapping[str, Any]:
        """All parameters, with the values they have so far; of a swept one none."""
        return MappingProxyType({**self._known, **self._given})

    def __getattr__(self, name: str) -> Any:
        values = self.params
        if name not in values:
            raise AttributeError(f"there is no parameter {name!r} with one value{near_matches(name, values)}")
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._given[name] = value


def mark_testing(function: F) -> F:
    """Note that a function gives the values of testing mode. Raises `ExperimentError`."""
    check_plain(function, "@experiment.testing", "a function for testing mode")
    claim(function, "testing")
    if len(inspect.signature(function).parameters) > 1:
        raise ExperimentError(
            f"{function.__name__}: a function for testing mode takes no arguments and returns a dict, or takes the "
            f"parameters and assigns them: def {function.__name__}(e): e.EPOCHS = 1"
        )
    function.__dict__[_ATTRIBUTE] = True
    return function


def testing_values(
    lineage: Lineage, known: Mapping[str, Any], secrets: Collection[str]
) -> Iterator[tuple[str, Any, str]]:
    """Yield name, value and place of what testing mode overrides, those of bases first.

    `known` has the values so far, `secrets` names those that no message may show. Raises `ExperimentError` when a
    function fails or returns anything but a dict.
    """
    # Copies: a value that a function changes in place belongs to the module, and so to every later run.
    current = copy.deepcopy(dict(known))
    for level in lineage.levels:
        found: dict[str, Any] = {}
        for source in (*level.mixins, level.source):
            for name, function in source.module.items():
                if _gives_values(function) and defines(source.module, name, function):
                    found.update(_call(function, {**current, **found}, level.label, secrets))
        found.update(level.spec.testing)
        for name, value in found.items():
            yield name, value, "testing"
        current.update(found)


def _gives_values(value: object) -> bool:
    return isinstance(value, FunctionType) and _ATTRIBUTE in value.__dict__


def _call(
    function: FunctionType, known: Mapping[str, Any], label: str, secrets: Collection[str]
) -> dict[str, Any]:
    values = TestingValues(known)
    arguments = (values,) if inspect.signature(function).parameters else ()
    try:
        returned = function(*arguments)
    except Exception as error:
        failed = f"{label}: the function {function.__name__} for testing mode failed: {type(error).__name__}"
        if any(name in secrets for name in known):  # which may be in the text
            raise ExperimentError(failed) from None
        raise ExperimentError(f"{failed}: {error}") from error
    if returned is not None and not isinstance(returned, dict):
        raise ExperimentError(
            f"{label}: the function {function.__name__} for testing mode returned a {type(returned).__name__}; it "
            f"returns a dict of values, or assigns them"
        )
    return {**values._given, **(returned or {})}
