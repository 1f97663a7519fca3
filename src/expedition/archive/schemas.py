"""The JSON schemas of an archive's files, which are shipped with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from expedition.errors import RecordNotFoundError, near_matches

_FOLDER = Path(__file__).parent.parent / "schema"
_ENDING = ".schema.json"


def schema_names() -> list[str]:
    """Return the names of all schemas: ``sweep``, ``run-meta``, ``journal-line``, ``tagged-json`` and so on."""
    return sorted(path.name.removesuffix(_ENDING) for path in _FOLDER.glob(f"*{_ENDING}"))


def schema_path(name: str) -> Path:
    """Return the file of a schema. Raises `RecordNotFoundError`, with near matches, when there is none."""
    names = schema_names()
    if name not in names:
        raise RecordNotFoundError(
            f"there is no schema {name!r}{near_matches(name, names)}; there are {', '.join(names)}"
        )
    return _FOLDER / f"{name}{_ENDING}"


def load_schemas() -> dict[str, dict[str, Any]]:
    """Return all schemas by their ``$id``, as a registry of a validator wants them: they refer to each other."""
    loaded = (json.loads(schema_path(name).read_bytes()) for name in schema_names())
    return {str(schema["$id"]): schema for schema in loaded}
