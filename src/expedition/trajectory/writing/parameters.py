"""The cells that planned runs have of their parameters, and what the manifest says of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from expedition.archive.sweep import RunEntry
from expedition.trajectory.file.stored import Spill, compact
from expedition.trajectory.writing.gather import Cells


def parameter_segments(name: str, names: Iterable[str]) -> list[str]:
    """Return the logical path of a parameter below its branch: dots are groups.

    A name that is also the beginning of another stays whole, like a name with odd dots.
    """
    segments = name.split(".")
    beginnings = {".".join(segments[:k]) for k in range(1, len(segments))}
    if not all(segments) or any(n in beginnings or n.startswith(f"{name}.") for n in names):
        return [name]
    return segments


def describe_parameter(entry: dict[str, Any], name: str, about: Mapping[str, Any]) -> None:
    """Put into the schema what the manifest says of a parameter."""
    entry["name"] = name
    entry["declared"] = about.get("type")
    entry["swept"] = bool(about.get("swept"))
    for key, source in (("comment", "description"), ("unit", "unit")):
        if about.get(source):
            entry[key] = about[source]


def parameter_cells(entries: Iterable[RunEntry], name: str, about: Mapping[str, Any], spill: Spill) -> Cells:
    """Return the cells that planned runs have of a parameter."""
    column = Cells(0)
    for entry in entries:
        if name in entry.params:
            cell = entry.params[name]
        elif "value" in about and name not in entry.absent:
            cell = about["value"]
        else:
            continue
        column.add(entry.index, compact(cell, spill) if type(cell) is dict else cell)
    return column


def flattened(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the leaves of the options; a dict with odd keys is one leaf."""
    for key, value in tree.items():
        if isinstance(value, dict) and value and all(k and "/" not in k and k != "$" for k in value):
            yield from flattened(value, (*path, key))
        else:
            yield (*path, key), value
