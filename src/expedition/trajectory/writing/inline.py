"""Brings what stands in files of run folders into the tagged JSON of its cell, where it is small."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from expedition.errors import DamagedError, UnstorableError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.file.stored import StoredArray, StoredValue, Tag
from expedition.values import Json, decode, dumps, encode
from expedition.values.files import dtype_from_json

_FILE_TAGS = frozenset({"npy", "masked", "sparse", "frame"})
_KINDS = {"npy": "array", "frame": "pandas"}
"""The tag that a value has without its file, where it is another one."""
_HEADERS = 4096  # bytes of a file of arrays that are no data, about


def is_reference(tree: Json) -> bool:
    """Tell whether a tag refers to a file of the run folder."""
    return isinstance(tree, dict) and str(tree.get("$")) in _FILE_TAGS and "file" in tree


def whole_tree(source: ArraySource, row: int, cell: Any) -> Json:
    """Return the tagged JSON of a cell, without references to files unless they are large, damaged or gone."""
    if isinstance(cell, StoredArray | StoredValue):
        cell = source.spill.tag(cell)
    found = list(_references(cell))
    if not found or not _are_small(source, row, found):
        return cell  # type: ignore[no-any-return]
    return _without_files(source, row, cell)


def loaded_tag(source: ArraySource, row: int, tag: Tag) -> Tag | None:
    """Return the tag of a value itself for one that refers to a file; None when it is large or cannot be read."""
    if not _are_small(source, row, [tag]):
        return None
    kind = tag["$"]
    try:
        source.path(row, tag)
        tree = encode(decode(tag, folder=source.folders[row]))
    except (DamagedError, UnstorableError):
        return None
    # A codec of the user's may have another form for the class by now.
    if not isinstance(tree, dict) or tree.get("$") != _KINDS.get(kind, kind):
        return None
    # Frames are compressed in their files.
    return tree if kind != "frame" or len(dumps(tree)) <= 2 * fmt.INLINE_LIMIT else None


def json_text(tree: Json) -> str:
    """Return a tree as text that HDF5 keeps."""
    text = dumps(tree)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # not from `encode`, which tags lone surrogates
        return json.dumps(tree, allow_nan=False)
    return text


def _references(tree: Json) -> Iterator[Tag]:
    if isinstance(tree, dict):
        if is_reference(tree):
            yield tree
            return
        tree = list(tree.values())
    if isinstance(tree, list):
        for item in tree:
            if isinstance(item, dict | list):
                yield from _references(item)


def _without_files(source: ArraySource, row: int, tree: Json) -> Json:
    if isinstance(tree, list):
        return [_without_files(source, row, item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if is_reference(tree):
        return loaded_tag(source, row, tree) or tree
    return {key: _without_files(source, row, item) for key, item in tree.items()}


def _are_small(source: ArraySource, row: int, tags: list[Tag]) -> bool:
    total = 0
    for tag in tags:
        if tag["$"] in ("npy", "masked"):
            total += math.prod(tag["shape"]) * dtype_from_json(tag["dtype"]).itemsize
            continue
        if tag["$"] == "frame" and math.prod(tag["shape"]) > fmt.INLINE_LIMIT:
            return False
        try:
            size = source.path(row, tag).stat().st_size
        except OSError:
            return False
        total += max(size - _HEADERS, 0)
    return total <= fmt.INLINE_LIMIT
