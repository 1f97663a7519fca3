"""The JSON files of a run: read as what they should be, or refused by name."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from expedition.archive import shapes
from expedition.archive.versions import check_version, of_version
from expedition.errors import DamagedError
from expedition.recording import layout
from expedition.recording.plain_files import read_plain

_MEMBERS = (
    ("tags", shapes.are_texts),
    ("notes", shapes.are_texts),
    ("series", shapes.are_series),
    ("annotations", shapes.are_annotations),
    ("artifacts", shapes.are_artifacts),
    ("derived", lambda value: isinstance(value, dict)),
    ("children", lambda value: isinstance(value, list)),
    ("inputs", lambda value: isinstance(value, list)),
    ("index", lambda value: value == -1 or shapes.is_count(value)),  # that of a summary is -1
    ("replicate", shapes.is_count),
    ("attempt", shapes.is_count),
)
_META_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("id", "key", "status", "sweep", "start"), str),
    **dict.fromkeys(("index", "replicate", "attempt", "seed"), int),
    **dict.fromkeys(("experiment", "parameters", "process", "outcome"), dict),
    **dict.fromkeys(("tags", "notes"), list),
    "stop": (str, type(None)),
    "duration": (int, float, type(None)),
}


def load_meta(folder: Path) -> dict[str, Any]:
    """Read the meta file of the run folder `folder`, with every member that readers rely on.

    Raises `FileNotFoundError`, or `DamagedError` naming the file.
    """
    file = folder / layout.META_FILE
    return check_meta(load_json(file), file)


def check_meta(meta: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return the content of the meta file `file` of a run when it is right. Raises `DamagedError` naming the file."""
    if meta.get("format") != layout.RUN_FORMAT:
        raise DamagedError(f"{file} is not the meta file of a run")
    check_version(meta.get("format_version"), file)
    meta = of_version(meta)
    for name, kinds in _META_TYPES.items():
        if name not in meta or not isinstance(meta[name], kinds):
            raise DamagedError(f"{file} is damaged: its member {name!r} is missing or of a wrong type")
    wrong = shapes.wrong_member(meta, _MEMBERS)
    if wrong is not None:
        raise DamagedError(f"{file} is damaged: its member {wrong!r} is not as it should be")
    experiment, error = meta["experiment"], meta["outcome"].get("error")
    good = all(isinstance(experiment.get(name), str) for name in ("name", "namespace"))
    good = good and all(isinstance(about, dict) and "value" in about for about in meta["parameters"].values())
    edits = meta.get("edits", [])
    good = good and isinstance(edits, list) and all(_is_edit(edit) for edit in edits)
    if error is not None:
        good = good and isinstance(error, dict)
        good = good and all(isinstance(error.get(name), str) for name in ("type", "message", "traceback"))
    try:
        for name in ("start", "stop"):
            datetime.fromisoformat(meta[name] or meta["start"])
    except ValueError:
        good = False
    if not good:
        raise DamagedError(
            f"{file} is damaged: its experiment, parameters, error or times are not as they should be"
        )
    meta["outcome"].setdefault("error", None)
    return meta


def _is_edit(edit: Any) -> bool:
    return isinstance(edit, dict) and all(isinstance(edit.get(side), dict) for side in ("before", "after"))


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises `FileNotFoundError`, or `DamagedError` naming the file."""
    try:
        content = read_plain(path)
    except NotADirectoryError:
        raise FileNotFoundError(str(path)) from None
    return parse_json(content, path)


def parse_json(text: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object that the file `path` holds. Raises `DamagedError` naming the file."""
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except MemoryError:
        raise DamagedError(f"{path} cannot be read: it takes more memory than there is") from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged: it holds no JSON object")
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not strict JSON")
