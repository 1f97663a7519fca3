"""What stands for the value of a constant where code is told apart."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from expedition.authoring.source_digest import hash_of
from expedition.errors import UnstorableError

_LONGEST = 80


def has_exact_form(value: Any) -> bool:
    """Tell whether `text_of_constant` has a text for a value."""
    from expedition.values import canonical

    if _is_array(value):
        return True
    try:
        canonical(value)
    except UnstorableError:
        return False
    return True


def text_of_constant(value: Any, root: Path, hide: Callable[[str], str] = str) -> str | None:
    """Return what is recorded of a constant; None where it has no exact form.

    A short number stands there as it is, anything else by its hash. Paths below the folder `root`, also in texts, are
    relative to it: the project may be moved. `hide` takes out of a text what must not be guessed from its hash.
    """
    from expedition.values import canonical

    if _is_array(value):
        numpy = sys.modules["numpy"]
        head = f"{value.dtype.descr} {value.shape} ".encode()
        return hashlib.sha256(head + numpy.ascontiguousarray(value).tobytes()).hexdigest()
    try:
        text = canonical(value)
    except UnstorableError:
        return None
    shown = hide(_without(root, text))
    if type(value) in (bytes, bytearray, list, tuple, dict, set, frozenset) and hide(repr(value)) != repr(
        value
    ):
        shown = hide(repr(value))  # bytes stand otherwise in the canonical text
    if (isinstance(value, int | float | complex) or value is None) and len(shown) <= _LONGEST:
        return shown
    return hash_of(shown)


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject


def _without(root: Path, text: str) -> str:
    """Return a JSON text with paths below `root` relative to it."""
    return _pattern(root).sub(".", text) if len(root.parts) > 1 else text


@lru_cache(maxsize=64)
def _pattern(root: Path) -> re.Pattern[str]:
    names = {json.dumps(name)[1:-1] for name in (str(root), os.path.realpath(root))}
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w./-])(?:{either})(?=[/\\\"]|$)")
