"""What a run is, how it ended, and with which parameters.

The first line of the journal says so when the run begins, ``experiment_meta.json`` when it ends.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from expedition.recording import layout
from expedition.recording.files import Reserve, dump_pretty, replace_file
from expedition.recording.journal import parse_line
from expedition.version import __version__


@dataclass(frozen=True)
class RunIdentity:
    """What is known of a run before it starts.

    Attributes
    ----------
    experiment : name, file, function, namespace, description.
    parameters : per name the live value; `about` per name type, description and origin.
    tagged : per name the value as tagged JSON.
    folder : the run folder; `sweep` the sweep folder.
    """

    index: int
    id: str
    key: str
    replicate: int
    attempt: int
    seed: int
    experiment: Mapping[str, Any]
    parameters: Mapping[str, Any]
    tagged: Mapping[str, Any]
    about: Mapping[str, Mapping[str, str]]
    tags: tuple[str, ...]
    notes: tuple[str, ...]
    folder: Path
    sweep: Path


@dataclass
class RunEnd:
    """How a run ended: status, times in µs since the epoch, and the error with its traceback.

    `criterion` is the acceptance criterion (the ``assert``) that did not hold, if it was one.
    """

    status: str
    start: int
    stop: int | None = None
    error: dict[str, str] | None = None
    expected_failure: bool = False
    reason: str = ""
    criterion: str = ""
    problems: list[str] = field(default_factory=list)


def error_line(error: Mapping[str, str] | None, longest: int = 1000) -> str | None:
    """Type and message of an error, cut to what a table or a log takes; None without an error."""
    if error is None:
        return None
    return shortened(f"{error['type']}: {error['message']}", longest)


def shortened(text: str, longest: int) -> str:
    """Cut a text to `longest` characters, the last of them an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def isoformat(microseconds: int) -> str:
    """ISO 8601 text in UTC of a time in µs since the epoch."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:06d}Z"


def meta_of(
    identity: RunIdentity,
    end: RunEnd,
    *,
    process: Mapping[str, Any],
    rng: Mapping[str, Any],
    extras: Mapping[str, Any],
) -> dict[str, Any]:
    """Content of the meta file; `extras` are tags, notes, artifacts, series, derived parameters, annotations."""
    outcome: dict[str, Any] = {"error": end.error, "expected_failure": end.expected_failure}
    if end.criterion:
        outcome["criterion"] = end.criterion
    if end.reason:
        outcome["reason"] = end.reason
    if end.problems:
        outcome["problems"] = end.problems
    about = identity.about
    return {
        "format": layout.RUN_FORMAT,
        "format_version": layout.FORMAT_VERSION,
        "id": identity.id,
        "index": identity.index,
        "key": identity.key,
        "replicate": identity.replicate,
        "attempt": identity.attempt,
        "status": end.status,
        "experiment": identity.experiment,
        "sweep": identity.sweep.name,
        "start": isoformat(end.start),
        "stop": isoformat(end.stop) if end.stop is not None else None,
        "duration": (end.stop - end.start) / 1e6 if end.stop is not None else None,
        "parameters": {n: {"value": value, **about.get(n, {})} for n, value in identity.tagged.items()},
        "seed": identity.seed,
        "rng": rng,
        "process": process,
        "versions": versions(),
        "outcome": outcome,
        **extras,
    }


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write the meta file of the run in `folder`, whole. Raises `OSError`."""
    replace_file(os.path.join(folder, layout.META_FILE), dump_pretty(meta))


def write_meta_into_reserve(folder: Path, meta: dict[str, Any], reserve: Reserve) -> None:
    """Write the meta file in the space that was kept for it, the way that a full disk leaves.

    Of the error's message only the begin is kept, and of its traceback the end, as far as there is room. Raises
    `OSError`, also when the reserve is spent.
    """
    error = meta["outcome"]["error"]
    if error is not None and len(dump_pretty(meta)) > reserve.size:
        trace = error["traceback"]
        error = {**error, "message": shortened(error["message"], 1000), "traceback": ""}
        meta = {**meta, "outcome": {**meta["outcome"], "error": error}}
        room = (reserve.size - len(dump_pretty(meta))) // 6  # a character takes six bytes at most, as \uXXXX
        error["traceback"] = "…" + trace[-room:] if room > 0 else ""
    reserve.spend(os.path.join(folder, layout.META_FILE), dump_pretty(meta))


def read_start(folder: Path | str) -> dict[str, Any] | None:
    """Return what the first line of a run's journal says of the run; None without a journal that says so."""
    try:
        with open(os.path.join(folder, layout.JOURNAL_FILE), "rb") as stream:
            event = parse_line(stream.readline())
    except (FileNotFoundError, NotADirectoryError):
        return None
    meta = event.get("meta") if event is not None and event.get("e") == "start" else None
    return meta if isinstance(meta, dict) else None


def holds_run(folder: Path | str) -> bool:
    """Whether a folder is that of a run that has begun."""
    # A journal that is not needed is removed once the meta file is there, so one of them is found in this order.
    return any(os.path.isfile(os.path.join(folder, n)) for n in (layout.JOURNAL_FILE, layout.META_FILE))


def versions() -> dict[str, str]:
    """Versions of Expedition, Python and, where it is loaded, numpy."""
    return _versions("numpy" in sys.modules)


@cache
def _versions(with_numpy: bool) -> dict[str, str]:
    found = {"expedition": __version__, "python": platform.python_version()}
    if with_numpy:
        found["numpy"] = sys.modules["numpy"].__version__
    return found
