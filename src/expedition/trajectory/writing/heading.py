"""What a trajectory file says of itself: the flat links at its root, comments and units, who wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from expedition.recording import outcomes
from expedition.trajectory.file import format as fmt
from expedition.version import __version__

if TYPE_CHECKING:
    import h5py

OPEN = frozenset({outcomes.PENDING, outcomes.RUNNING, outcomes.UNKNOWN})
"""Statuses of runs that have not ended; with one of them the file is not complete."""

Schema = dict[str, dict[str, Any]]
"""What ``/_meta/schema`` says of the columns, by logical path."""


def generator() -> str:
    """Return the value of the attribute of this name."""
    return f"pytest-expedition {__version__}"


def resolve_note(schema: Mapping[str, Any], key: str) -> str | None:
    """Return the logical path of the column that an annotation `key` means, None when there is none."""
    branches = (fmt.RESULTS, fmt.SERIES, fmt.DERIVED, fmt.PARAMETERS)
    return next((f"{branch}/{key}" for branch in branches if f"{branch}/{key}" in schema), None)


def label(file: h5py.File, entries: Iterable[Mapping[str, Any]]) -> None:
    """Put comments and units of columns on their nodes and into ``/annotations``."""
    for entry in entries:
        for name in ("comment", "unit"):
            if name in entry and entry.get("encoding") != "tail":
                file[entry["at"]].attrs[name] = entry[name]
                file.require_group(f"{fmt.ANNOTATIONS}/{entry['at']}").attrs[name] = entry[name]


def flat_links(schema: Schema) -> dict[str, str]:
    """Return the names of the columns that are linked at the root, with their HDF5 paths."""
    flat = [(name, f"{fmt.RUNS}.{name}", f"{fmt.RUNS}/{name}") for name in ("id", "status", "replicate")]
    flat.extend(_columns(schema))
    links: dict[str, str] = {}
    for name, longer, path in flat[: fmt.FLAT_LIMIT]:
        names = (fmt.link_name(name), fmt.link_name(longer))
        chosen = next((n for n in names if n not in links and n not in fmt.ROOT_NAMES), None)
        if chosen is not None:
            links[chosen] = path
    return links


def relink(
    file: h5py.File, before: Mapping[str, str], after: Mapping[str, str], remade: frozenset[str]
) -> None:
    """Bring the flat links of a file up to date; `remade` are the HDF5 paths of columns that were made anew."""
    for name, path in before.items():
        if after.get(name) != path or path in remade:
            del file[name]
    for name, path in after.items():
        if before.get(name) != path or path in remade:
            file[name] = file[path]


def _columns(schema: Schema) -> Iterator[tuple[str, str, str]]:
    for branch in (fmt.PARAMETERS, fmt.DERIVED, fmt.RESULTS):
        for path, entry in schema.items():
            if path.startswith(branch + "/") and entry["kind"] != "array" and entry.get("encoding") is None:
                name = path[len(branch) + 1 :].replace("/", ".")
                yield name, f"{branch}.{name}", entry["at"]
