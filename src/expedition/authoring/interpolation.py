"""Variables of the environment in the texts of a config: ``${NAME}``, ``${NAME:-default}``, and ``$$`` for ``$``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from expedition.authoring.text import load_yaml
from expedition.errors import ExperimentError, near_matches

_REFERENCE = re.compile(r"\$(?:\$|\{([^{}]*)\})")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?\Z", re.DOTALL)


class Interpolated(str):
    """A text that was put together from the environment: the annotation of its parameter says what it means."""


def interpolate(
    value: Any,
    environment: Mapping[str, str],
    at: Callable[[tuple[object, ...]], str],
    defaulted: Callable[[str, str, tuple[object, ...]], None] = lambda name, default, path: None,
) -> Any:
    """Return a value of lists, dicts and texts with the variables of its texts put in; keys stay as they are.

    `at` makes the place of a member, by the keys on the way to it, for messages. `defaulted` is told of every
    variable that is not set, its default, and those keys. Raises `ExperimentError` for a variable that is not set
    and has no default, and for a ``${`` without its end.
    """

    def visit(value: Any, path: tuple[object, ...]) -> Any:
        if isinstance(value, dict):
            return {key: visit(member, (*path, key)) for key, member in value.items()}
        if isinstance(value, list):
            return [visit(item, (*path, number)) for number, item in enumerate(value)]
        if isinstance(value, str) and "$" in value:
            return _put_in(value, environment, at(path), lambda name, text: defaulted(name, text, path))
        return value

    return visit(value, ())


def contains_interpolated(value: Any) -> bool:
    """Tell whether there is an `Interpolated` in lists and dicts."""
    if isinstance(value, dict):
        return any(map(contains_interpolated, value.values()))
    if isinstance(value, list):
        return any(map(contains_interpolated, value))
    return isinstance(value, Interpolated)


def read_inside(value: Any, source: str) -> Any:
    """Return lists and dicts with each `Interpolated` as the YAML value that its text is, or as text if it is none."""
    if isinstance(value, dict):
        return {key: read_inside(member, source) for key, member in value.items()}
    if isinstance(value, list):
        return [read_inside(item, source) for item in value]
    if not isinstance(value, Interpolated):
        return value
    try:
        return load_yaml(str(value), source=source)
    except ExperimentError:
        return str(value)


def _put_in(
    text: str, environment: Mapping[str, str], place: str, defaulted: Callable[[str, str], None]
) -> str:
    found = False

    def replace(match: re.Match[str]) -> str:
        nonlocal found
        if match[1] is None:
            return "$"
        found = True
        parts = _NAME.match(match[1])
        if parts is None:
            raise ExperimentError(
                f"{place}: {match[0]!r} names no variable; write ${{NAME}} or ${{NAME:-default}}, and $$ for a dollar"
            )
        name, default = parts[1], parts[2]
        # As in a shell, the default stands for a variable that is empty, too.
        if default is not None:
            if name not in environment:
                defaulted(name, default)
            return environment.get(name) or default
        if name not in environment:
            raise ExperimentError(
                f"{place}: the variable {name} is not set in the environment{near_matches(name, environment)}; set "
                f"it, or give a default: ${{{name}:-default}}"
            )
        return environment[name]

    result = _REFERENCE.sub(replace, text)
    if "${" in _REFERENCE.sub("", text):
        raise ExperimentError(f"{place}: {text!r} has a ${{ without its }}; write $$ for a dollar")
    return Interpolated(result) if found else result
