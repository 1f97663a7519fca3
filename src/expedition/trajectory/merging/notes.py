"""Comments, units and links of a merged file: the last input has its way, and what others said is kept beside it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from expedition.errors import AmbiguousNameError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.notes import NAMES, Notes
from expedition.trajectory.file.noting import apply_notes
from expedition.trajectory.file.raw import pick_rows
from expedition.trajectory.merging.plan import MergePlan, Part
from expedition.trajectory.reading.tree import build_tree, lookup
from expedition.trajectory.writing.heading import label
from expedition.trajectory.writing.writer import FileWriter

_SHOWN = 5


def write_notes(writer: FileWriter, schema: dict[str, dict[str, Any]], plan: MergePlan) -> dict[str, Any]:
    """Put comments and units into the schema, on the nodes and into ``/annotations``.

    Returns what the document of the schema says of groups and links. Warns of what two inputs say differently.
    """
    disputed: list[str] = []
    for path, entry in schema.items():
        for name in NAMES:
            said = [
                (part, str(part.store.schema[path][name])) for part in plan.parts if _says(part, path, name)
            ]
            if said:
                entry[name] = _settle(f"{name} of {path}", said, disputed)
                texts = _texts_of_runs(said, path, name, plan.n_runs)
                if len({text for text in texts if text}) > 1:
                    writer.text(f"{fmt.ANNOTATIONS}/{entry['at']}/{name}", texts, {})
    label(writer.file, schema.values())
    notes = Notes(_groups(schema, plan, disputed), _links(schema, plan, disputed))
    if disputed:
        more = f"; and {len(disputed) - _SHOWN:,} more" if len(disputed) > _SHOWN else ""
        warnings.warn(
            f"the merged trajectories say different things: {'; '.join(disputed[:_SHOWN])}{more}",
            UserWarning,
            stacklevel=2,
        )
    return apply_notes(writer.file, schema, notes)


def _says(part: Part, path: str, name: str) -> bool:
    return bool(part.store.schema.get(path, {}).get(name))


def _texts_of_runs(said: Sequence[tuple[Part, str]], path: str, name: str, n_runs: int) -> list[str]:
    """Return what was said to each run: its own words where they are known, else those of its input."""
    texts = [""] * n_runs
    for part, text in said:
        store = part.store
        own = f"{fmt.ANNOTATIONS}/{store.schema[path]['at']}/{name}"
        if store.has(own):
            found = pick_rows(partial(store.read_text, own), part.rows)
        else:
            found = [text.replace("\0", "�")] * len(part.rows)
        for target, each in zip(part.targets.tolist(), found, strict=True):
            texts[target] = each
    return texts


def _groups(
    schema: dict[str, dict[str, Any]], plan: MergePlan, disputed: list[str]
) -> dict[str, dict[str, str]]:
    """Return what is said of the groups that the merged file has."""
    found: dict[str, dict[str, str]] = {}
    abouts = [(part, part.store.notes.about) for part in plan.parts]
    for path in dict.fromkeys(path for _, about in abouts for path in about):
        if path in schema or not _is_group(path, schema):
            continue
        for name in NAMES:
            said = [(part, about[path][name]) for part, about in abouts if about.get(path, {}).get(name)]
            if said:
                found.setdefault(path, {})[name] = _settle(f"{name} of {path}", said, disputed)
    return found


def _links(schema: dict[str, dict[str, Any]], plan: MergePlan, disputed: list[str]) -> dict[str, str]:
    """Return the links whose targets are there, and that hide nothing."""
    tree = build_tree(schema)
    found = {}
    for name in dict.fromkeys(name for part in plan.parts for name in part.store.notes.links):
        said = [(part, part.store.notes.links[name]) for part in plan.parts if name in part.store.notes.links]
        target = _settle(f"link {name}", said, disputed)
        try:
            hides = lookup(tree, name) is not None
        except AmbiguousNameError:
            hides = True
        if hides:
            disputed.append(f"link {name} is left out, for there is a column or group of that name")
        elif target in schema or _is_group(target, schema):
            found[name] = target
        else:
            disputed.append(f"link {name} is left out, for no run that was merged has {target}")
    return found


def _is_group(path: str, schema: Iterable[str]) -> bool:
    return any(known.startswith(f"{path}/") for known in schema)


def _settle(what: str, said: Sequence[tuple[Part, str]], disputed: list[str]) -> str:
    """Return what the last input says; note when another says something else."""
    last, kept = said[-1]
    other = next(((part, text) for part, text in said if text != kept), None)
    if other is not None:
        disputed.append(
            f"{what} is {kept!r} in {last.store.path}, which is kept, and {other[1]!r} in {other[0].store.path}"
        )
    return kept
