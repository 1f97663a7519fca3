"""Values in a few words for people: the same in every process, without addresses of memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from expedition.errors import UnstorableError
from expedition.values.tagged import canonical

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_CUSTOM = re.compile(r'"\$":"custom","codec":"([^"]+)","v":')
_VERSION = re.compile(r',"version":\d+\}')
_ODD = re.compile(r'["{}\[\]$]+')


def short_text(value: object) -> str:
    """Return `str` of a value; where that names a place in memory the codec that keeps it, and its parts."""
    text = str(value)
    if not _ADDRESS.search(text):
        return text
    try:
        return parts_text(canonical(value))
    except UnstorableError:  # of nothing that is stored
        return type(value).__name__ if text.startswith("<") else _ADDRESS.sub("", text)


def parts_text(identity: str) -> str:
    """Return the codecs and parts of the values in canonical JSON, without the signs between them."""
    return _ODD.sub("", _VERSION.sub("}", _CUSTOM.sub(r"\1 ", identity)))


def short_hash(value: object) -> str:
    """Return eight digits that tell a value from others."""
    try:
        identity = canonical(value)
    except UnstorableError:
        identity = repr(value)
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def has_axes(value: Any) -> bool:
    """Tell whether a value is an array, a frame or the like, of which its shape is shown."""
    shape = getattr(value, "shape", None)
    return isinstance(shape, tuple) and bool(shape) and not isinstance(value, Mapping)
