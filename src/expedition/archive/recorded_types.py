"""Types of parameters, from the text that a record has of them: without the module that they were written in."""

from __future__ import annotations

import ast
import datetime
import decimal
import fractions
import pathlib
import typing
import uuid
from typing import Any

_NAMES: dict[str, Any] = {
    **{
        kind.__name__: kind
        for kind in (int, float, str, bool, complex, bytes, list, tuple, dict, set, frozenset)
    },
    **{kind.__name__: kind for kind in (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)},
    **{kind.__name__: kind for kind in (pathlib.Path, decimal.Decimal, fractions.Fraction, uuid.UUID)},
    **{name: getattr(typing, name) for name in ("Any", "Optional", "Union", "Literal")},
    "List": list,
    "Tuple": tuple,
    "Dict": dict,
    "Set": set,
    "NoneType": type(None),
}
_PREFIXES = ("typing.", "datetime.", "pathlib.", "decimal.", "fractions.", "uuid.")
_LONGEST = 1_000


def type_from_text(text: str) -> Any:
    """Return the type that a text such as ``float | None`` or ``list[int]`` means; nothing is evaluated.

    Raises `LookupError` when a part of it is none of the types that come with Python.
    """
    try:
        if len(text) > _LONGEST:
            raise LookupError(text[:_LONGEST])
        return _type(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise LookupError(text) from None


def _type(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        if node.value is None or node.value is Ellipsis:
            return node.value
        raise LookupError(repr(node.value))
    if isinstance(node, ast.Name | ast.Attribute):
        name = ast.unparse(node)
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        return _NAMES[name]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return typing.Union[_type(node.left), _type(node.right)]  # noqa: UP007 - of values
    if isinstance(node, ast.Subscript):
        base = _type(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if base is typing.Literal:
            return base[tuple(_constant(part) for part in parts)]
        found = tuple(_type(part) for part in parts)
        return base[found if len(found) > 1 else found[0]]
    raise LookupError(ast.dump(node))


def _constant(node: ast.expr) -> Any:
    """A member of a ``Literal``: a text, number, truth value or None."""
    value = ast.literal_eval(node)
    if value is None or isinstance(value, str | int | float | bool | bytes):
        return value
    raise LookupError(repr(value))
