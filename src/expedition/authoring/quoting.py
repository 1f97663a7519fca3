"""How the expression language writes names: parts joined by dots, a part with a dot of its own in brackets.

So ``data.a.b`` is the value ``b`` of the group ``a``, and ``data['a.b']`` the value ``a.b``: one name, one value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

_QUOTED = r"\[('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\]"
_PART = re.compile(rf"{_QUOTED}|(?:^|\.)((?:(?!\[['\"])[^.])+)", re.DOTALL)

PARAMETERS = frozenset({"params", "parameters", "par"})
"""Branches whose names have dots and no groups: with brackets or without, a name of them is the same."""


def needs_quotes(part: str) -> bool:
    """Tell whether a part would be read as another one without brackets around it."""
    return "." in part or "['" in part or '["' in part


def join_parts(parts: Iterable[str]) -> str:
    """Return the one name that means these parts."""
    return "".join(f"[{part!r}]" if needs_quotes(part) else f".{part}" for part in parts).removeprefix(".")


def split_name(name: str) -> list[str] | None:
    """Return the parts of a name; None for a text that is none."""
    if "['" not in name and '["' not in name:
        return name.split(".") if all(name.split(".")) else None
    parts: list[str] = []
    end = 0
    while end < len(name):
        found = _PART.match(name, end)
        if found is None or (found[2] is not None and (end == 0) == name.startswith(".", end)):
            return None
        try:
            parts.append(found[2] if found[2] is not None else ast.literal_eval(found[1]))
        except (SyntaxError, ValueError):
            return None
        end = found.end()
    return parts
