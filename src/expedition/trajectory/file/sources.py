"""The sweeps that a merged trajectory is made of: what the file tells of them, and where their runs are."""

from __future__ import annotations

import json
import ntpath
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from expedition.errors import RecordNotFoundError
from expedition.recording import layout
from expedition.recording.plain_files import read_plain
from expedition.values import loads


def parse_sources(text: str | bytes) -> list[dict[str, Any]]:
    """Return the sources that the JSON of ``/_meta/sources`` lists.

    Each has `path`, the trajectory file relative to the merged one, `sweep_id`, `experiment`, `n_runs` and
    `created`; `shift` says by how much its trials were shifted. Raises ValueError for anything else.
    """
    sources = loads(text)
    if not isinstance(sources, list) or not sources:
        raise ValueError("it is no list of sources")
    for source in sources:
        path = source.get("path") if isinstance(source, dict) else None
        if not isinstance(path, str) or not path or "\0" in path or "\\" in path:
            raise ValueError("a source has no path")
        if PurePosixPath(path).is_absolute() or ntpath.splitdrive(path)[0]:
            raise ValueError(f"the path {path!r} of a source is not relative")
    return sources


def find_run_folder(root: Path, source: Mapping[str, Any], folder: PurePosixPath, run: str, key: str) -> Path:
    """Return the folder of a run of a source, `root` being the folder of the merged file.

    A merged file leads out of its own folder, so only a folder whose meta file has the key of the run counts.
    Raises `RecordNotFoundError` when there is none.
    """
    path = root.joinpath(PurePosixPath(source["path"]).parent, *folder.parts)
    file = path / layout.META_FILE
    try:
        meta = json.loads(read_plain(file))
    except (OSError, ValueError, RecursionError):
        meta = None
    if isinstance(meta, dict) and meta.get("key") == key:
        return path
    reason = "is of another run" if meta is not None else "is not there"
    sweep = source.get("sweep_id") or source["path"]
    raise RecordNotFoundError(
        f"the run folder {path} of {run} {reason}: the run was never started, or the sweep {sweep} or this file "
        f"was moved or changed since they were merged; put both back, or merge again"
    )
