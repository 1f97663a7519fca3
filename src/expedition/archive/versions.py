"""Versions of the format: which are read, what older ones lack, and what a file is written as.

Of a major version every minor one is read: members that it does not know are passed over, and those that it lacks
have the values that `of_version` fills in. Version 0.x, from before the first release, is read in the same way.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from expedition.errors import DamagedError
from expedition.recording import layout

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\Z")
_MAJOR = int(layout.FORMAT_VERSION.partition(".")[0])

_RUN_LACKS: dict[str, Any] = {
    "replicate": 0,
    "attempt": 0,
    "sweep": "",
    "stop": None,
    "duration": None,
    "process": {},
    "outcome": {},
    "tags": [],
    "notes": [],
}
_SWEEP_LACKS: dict[str, Any] = {
    "replicates": 1,
    "paired": False,
    "design": None,
    "sharded": False,
    "options": {},
    "provenance": {},
}


def check_version(version: object, file: Path) -> None:
    """Raise `DamagedError`, with what is to be done, unless `version` is one that this package reads."""
    found = _VERSION.match(version) if isinstance(version, str) else None
    if found is None:
        shown = str(version)[:40] if version else "(none)"
        raise DamagedError(
            f"{file} has format version {shown}, this Expedition reads {_MAJOR}.x: it is damaged, or was written by "
            f"something else"
        )
    if int(found[1]) > _MAJOR:
        raise DamagedError(
            f"{file} has format version {version}, this Expedition reads {_MAJOR}.x: read it with a newer "
            f"pytest-expedition"
        )


def of_version(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a meta file or manifest with what its version could lack; a current one as it is."""
    if not is_old(content):
        return content
    lacks = _RUN_LACKS if content.get("format") == layout.RUN_FORMAT else _SWEEP_LACKS
    return {**copy.deepcopy(lacks), **content}


def is_old(content: dict[str, Any]) -> bool:
    """Tell whether a meta file or manifest has an older major version, which a repair brings up to date."""
    found = _VERSION.match(str(content.get("format_version", "")))
    return found is not None and int(found[1]) < _MAJOR


def version_to_write(content: dict[str, Any]) -> str:
    """Return the version of a file that is written again with what it had: no older one than it was."""
    found = _VERSION.match(str(content.get("format_version", "")))
    if found is None:
        return layout.FORMAT_VERSION
    major, minor = map(int, layout.FORMAT_VERSION.split("."))
    return layout.FORMAT_VERSION if (int(found[1]), int(found[2])) < (major, minor) else found[0]
