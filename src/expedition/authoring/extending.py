"""Makes the functions that stand for an experiment which is extended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, cast

from expedition.authoring.specs import Base, mark
from expedition.errors import ExperimentError


def make_extended(
    name: str, module: str, *, call: Callable[..., Any], decorate: Callable[[Any], Any] | None = None
) -> Any:
    """Return a function `name` of the module called `module`, for a file that has no function of its own.

    Called, it calls `call` with itself and its arguments. Called with one function it is a decorator, where
    `decorate` is given.
    """

    def extended(*arguments: Any, **keywords: Any) -> Any:
        if (
            decorate is not None
            and len(arguments) == 1
            and not keywords
            and type(arguments[0]) is FunctionType
        ):
            return decorate(arguments[0])
        return call(cast(FunctionType, extended), *arguments, **keywords)

    extended.__name__ = extended.__qualname__ = name
    extended.__module__ = module
    mark(extended).has_body = False
    return extended


def set_base(function: Any, base: Base, values: Mapping[str, Any]) -> None:
    """Say what a function extends, with values of parameters. Raises `ExperimentError` when it does already."""
    spec = mark(function)
    if spec.base is not None:
        raise ExperimentError(
            f"{function.__name__}: extends {spec.base.text!r} and {base.text!r}; extend one experiment, and include "
            f"what else is needed as a mixin"
        )
    spec.base, spec.values = base, dict(values)
