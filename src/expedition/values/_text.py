"""Trees as JSON text: strict JSON and back, and the one canonical text of a tree."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from expedition.errors import DamagedError
from expedition.values._walk import Json

# json.dumps with options makes an encoder for every call.
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_sorted = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def dumps(tree: Json) -> str:
    """Return a tree as strict JSON on one line, without blanks and without escapes of non-ASCII text."""
    return _compact(tree)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not strict JSON")


def loads(text: str | bytes) -> Any:
    """Return the tree of JSON text; raises DamagedError when it is not strict JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"not JSON: {error}") from error


def _ordered(tree: Json) -> Json:
    if isinstance(tree, list):
        return [_ordered(item) for item in tree]
    if isinstance(tree, dict):
        tree = {key: _ordered(item) for key, item in tree.items()}
        if tree.get("$") == "dict":
            tree["v"].sort(key=lambda pair: canonical_text(pair[0]))
    return tree


def canonical_text(tree: Json) -> str:
    """Return the one text of an encoded tree that does not depend on the order of dicts."""
    return _sorted(_ordered(tree) if isinstance(tree, list | dict) else tree)
