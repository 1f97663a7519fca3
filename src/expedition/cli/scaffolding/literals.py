"""Values, types and texts as source code: exactly, or not at all."""

from __future__ import annotations

import ast
import json
import pprint
from typing import Any

from expedition.authoring.inherit import Inherit
from expedition.authoring.interpolation import interpolate
from expedition.authoring.parameters import MISSING, Parameter, name_of_type
from expedition.authoring.resolution import typed
from expedition.authoring.text import load_yaml
from expedition.errors import ExperimentError
from expedition.values import canonical

_WIDTH = 100
_BUILTINS = frozenset(
    ["bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"]
)
_BOOLS_OF_YAML_1_1 = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])


def python_literal(value: Any) -> str | None:
    """Return the Python literal that is `value`, of equal type throughout; None where there is none."""
    try:
        text = repr(value)
        if type(value) is str and text == f"'{value}'" and '"' not in value:
            text = f'"{value}"'
        if len(text) > _WIDTH:
            text = pprint.pformat(value, width=_WIDTH, sort_dicts=False)
        is_same = canonical(ast.literal_eval(text)) == canonical(value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return text if is_same else None


def builtin_annotation(parameter: Parameter) -> str:
    """Return the type of a parameter as an annotation that needs no import, empty where there is none."""
    if parameter.annotation is MISSING:
        return ""
    text = name_of_type(parameter.annotation)
    try:
        names = {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
    except SyntaxError:
        return ""
    return text if names <= _BUILTINS else ""


def docstring(text: str) -> str:
    """Return the source of a docstring that says `text`, whatever is in it."""
    escaped = text.strip().replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if escaped.endswith('"'):
        escaped = f'{escaped[:-1]}\\"'
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in escaped)
    return f'"""{shown}\n"""' if "\n" in shown else f'"""{shown}"""'


def yaml_key(name: str) -> str:
    """Return a name as a key, in quotes where readers of YAML 1.1 take it for something else."""
    return json.dumps(name) if name.lower() in _BOOLS_OF_YAML_1_1 else name


def yaml_text(text: str) -> str:
    """Return the YAML of a text in a config, in quotes and with ``$`` doubled."""
    quoted = json.dumps(text.replace("$", "$$"), ensure_ascii=False)
    return quoted if quoted.isprintable() else json.dumps(text.replace("$", "$$"))


def yaml_value(value: Any, parameter: Parameter) -> str | None:
    """Return the YAML that means `value` for a parameter of a config; None where there is none."""
    if isinstance(value, dict) and value.keys() == {"inherit"}:
        return None  # it has a meaning of its own
    text = _flow(value)
    if text is None:
        return None
    try:
        read = interpolate(load_yaml(text, source=""), {}, lambda keys: "")
        made = typed(read, parameter, origin="", experiment="")
        is_same = not isinstance(made, Inherit) and canonical(made) == canonical(value)
    except (ExperimentError, TypeError):
        return None
    return text if is_same else None


def _flow(value: Any) -> str | None:
    """A value in the flow style of YAML 1.2; tuples and sets as lists, which their annotation makes of them again."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if type(value) is str:
        return yaml_text(value)
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    if isinstance(value, list | tuple):
        items = [_flow(item) for item in value]
        return None if None in items else f"[{', '.join(item for item in items if item is not None)}]"
    if isinstance(value, dict):
        pairs = [(_flow(key), _flow(member)) for key, member in value.items()]
        if any(key is None or member is None for key, member in pairs):
            return None
        return f"{{{', '.join(f'{key}: {member}' for key, member in pairs)}}}"
    return None
