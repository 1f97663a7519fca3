"""What the members of an archive's files have to look like, where readers rely on it: whoever wrote the file.

JSON and checksums say that a file is whole, not that its members are what they should be. What these functions refuse
counts as damage, where the file is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_INT64 = 1 << 63
_WRITER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")


def is_int64(value: object) -> bool:
    """Tell whether a value is an integer of 64 bits, and no bool."""
    return type(value) is int and -_INT64 <= value < _INT64


def is_count(value: object) -> bool:
    """Tell whether a value is an integer from 0 on, of 63 bits."""
    return type(value) is int and 0 <= value < _INT64


def are_texts(value: object) -> bool:
    """Tell whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def are_objects(value: object) -> bool:
    """Tell whether a value is an object whose members are objects."""
    return isinstance(value, dict) and all(isinstance(item, dict) for item in value.values())


def are_series(value: object) -> bool:
    """Tell whether a value describes series: per name the number of entries, their kind, and the form of arrays."""
    return isinstance(value, dict) and all(_is_series(about) for about in value.values())


def _is_series(about: object) -> bool:
    if not isinstance(about, dict) or not is_count(about.get("n")) or not isinstance(about.get("kind"), str):
        return False
    shape, dtype = about.get("shape"), about.get("dtype")
    return (shape is None or is_shape(shape)) and isinstance(dtype, str | list | None)


def is_shape(value: object) -> bool:
    """Tell whether a value is the shape of an array: at most 64 lengths."""
    return isinstance(value, list) and len(value) <= 64 and all(is_count(size) for size in value)


def are_annotations(value: object) -> bool:
    """Tell whether a value has per name a comment, a unit, or both."""
    return are_objects(value) and all(
        isinstance(text, str)
        for about in value.values()  # type: ignore[attr-defined]
        for text in about.values()
    )


def are_artifacts(value: object) -> bool:
    """Tell whether a value lists artifacts: each with its name and kind, and size and hash where it is complete."""
    return isinstance(value, list) and all(
        isinstance(about, dict)
        and isinstance(about.get("name"), str)
        and isinstance(about.get("kind"), str)
        and isinstance(about.get("sha256", ""), str)
        and is_count(about.get("size", 0))
        for about in value
    )


def is_writer(value: object) -> bool:
    """Tell whether a value names the writer of a log: it becomes the name of a file, and leads to no other folder."""
    return isinstance(value, str) and _WRITER.match(value) is not None


def wrong_member(
    content: Mapping[str, Any], members: Iterable[tuple[str, Callable[[Any], bool]]]
) -> str | None:
    """Return the first of some members that is there and not as it should be; None without one."""
    return next((name for name, is_right in members if name in content and not is_right(content[name])), None)
