"""Writes large masked and structured arrays of one shape straight from their files, a block at a time."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.file.forms import structured_form
from expedition.trajectory.file.stored import FieldOf, Kind, MemberOf, StoredArray, StoredValue, Tag, is_plain
from expedition.trajectory.writing.arrays import Item, write_stacked
from expedition.trajectory.writing.composites import write_forms
from expedition.trajectory.writing.writer import FileWriter
from expedition.values import dumps
from expedition.values.files import dtype_from_json


def are_large_and_alike(kind: Kind, given: Sequence[tuple[int, StoredValue]]) -> bool:
    """Tell whether values are arrays of one dtype and shape that are too large to be read as a whole."""
    if kind not in ("masked", "structured"):
        return False
    tags = [value.place for _, value in given]
    first = tags[0]
    if not isinstance(first, dict) or not first["shape"]:
        return False
    alike = all(
        isinstance(tag, dict) and (tag["dtype"], tag["shape"]) == (first["dtype"], first["shape"])
        for tag in tags
    )
    return alike and math.prod(first["shape"]) * dtype_from_json(first["dtype"]).itemsize > fmt.INLINE_LIMIT


def write_large(
    writer: FileWriter, path: str, kind: Kind, tags: Sequence[tuple[int, Tag]], source: ArraySource
) -> tuple[dict[str, Any], set[int]] | None:
    """Write masked or structured arrays as stacked parts.

    Returns what the schema says of them and the rows that cannot be read; None when their dtype has no columns.
    """
    parts: list[tuple[str, str, list[Item]]]
    failed: set[int] = set()
    if kind == "structured":
        try:
            form, fields = structured_form(tags[0][1]["dtype"])
        except ValueError:
            return None
        forms = dict.fromkeys((row for row, _ in tags), dumps(form))
        parts = [
            (name, dtype, [_field(row, tag, steps, dtype, inner) for row, tag in tags])
            for name, steps, dtype, inner in fields
        ]
    else:
        if not is_plain(tags[0][1]["dtype"]):
            return None
        masked = {row: _has_mask(source, row, tag) for row, tag in tags}
        failed |= {row for row, found in masked.items() if found is None}
        readable = [(row, tag) for row, tag in tags if row not in failed]
        forms = {row: dumps(_masked_form(tag, masked=bool(masked[row]))) for row, tag in readable}
        parts = [
            ("value", tags[0][1]["dtype"], list(_members(readable, "data", tags[0][1]["dtype"]))),
            ("mask", "|b1", list(_members([cell for cell in readable if masked[cell[0]]], "mask", "|b1"))),
        ]
    parts = [part for part in parts if part[2]]
    if not parts:
        return None
    writer.file.require_group(path)
    name = path.rpartition("/")[2]
    sizes = enumerate(tags[0][1]["shape"], 1)
    scales = [writer.dimension(f"{path}/{name}_dim{axis}", size) for axis, size in sizes]
    for part, dtype, items in parts:
        holes = len(items) < writer.n_runs
        lost = write_stacked(writer, f"{path}/{part}", items, source, holes, writer.runs, dtype, scales)
        failed |= {row for row, _ in lost}
    texts = sorted(set(forms.values()))
    numbers = {text: number for number, text in enumerate(texts)}
    used = [(row, numbers[text]) for row, text in sorted(forms.items()) if row not in failed]
    about = write_forms(writer, path, writer.runs, used, texts)
    return {"encoding": "fields" if kind == "structured" else "masked", **about}, failed


def _field(row: int, tag: Tag, steps: tuple[str, ...], dtype: str, inner: tuple[int, ...]) -> Item:
    shape = tuple(tag["shape"])
    whole = StoredArray(tag["dtype"], shape, tag, tag["crc"])
    return Item(row, row, StoredArray(dtype, (*shape, *inner), FieldOf(whole, steps)))


def _members(tags: Sequence[tuple[int, Tag]], member: str, dtype: str) -> Iterator[Item]:
    for row, tag in tags:
        yield Item(row, row, StoredArray(dtype, tuple(tag["shape"]), MemberOf(tag, member)))


def _masked_form(tag: Tag, *, masked: bool) -> Tag:
    place: dict[str, Any] = {"$": "part", "axis": "obs", "shaped": True}
    data = {**place, "at": "value", "dtype": tag["dtype"]}
    mask = {**place, "at": "mask", "dtype": "|b1"} if masked else False
    return {"$": "masked", "fill": tag["fill"], "hard": tag["hard"], "data": data, "mask": mask}


def _has_mask(source: ArraySource, row: int, tag: Tag) -> bool | None:
    """Tell whether a masked array has a mask; None when its file cannot be read."""
    try:
        with zipfile.ZipFile(source.path(row, tag)) as archive:
            return "mask.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return None
