"""``experiment_meta.json``: what a run is, how it ended, and with which parameters."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from expedition.recording import layout
from expedition.recording.files import Encoded, dump_pretty, overwrite_file, replace_file, room_of
from expedition.recording.masking import Mask
from expedition.version import __version__


@dataclass(frozen=True)
class RunIdentity:
    """What is known of a run before it starts.

    Attributes
    ----------
    experiment : name, file, function, namespace, description.
    parameters : per name the live value; `about` per name type, description and origin.
    tagged : per name the value as tagged JSON.
    mask : hides the values of secret parameters.
    is_nested : whether it is a run inside of another one, which has no row in the sweep.
    repeats : of the past run that it repeats `key`, `sweep` and `folder`; None when it repeats none.
    folder : the run folder; `sweep` the sweep folder.
    code : digest of the code of its experiment, empty where it is not known.
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
    mask: Mask = field(default_factory=Mask)
    is_nested: bool = False
    repeats: Mapping[str, str] | None = None
    code: str = ""

    @cached_property
    def encoded(self) -> dict[str, Encoded]:
        """Members of the meta file that stay as they are, for it is written at the start and at the end."""
        parameters = {
            name: {"value": value, **self.about.get(name, {})} for name, value in self.tagged.items()
        }
        members = {
            "index": self.index,
            "replicate": self.replicate,
            "attempt": self.attempt,
            "experiment": self.experiment,
            "parameters": parameters,
            "seed": self.seed,
        }
        return {name: Encoded.of(value) for name, value in members.items()}


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
    text = f"{error['type']}: {error['message']}"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def isoformat(microseconds: int) -> str:
    """ISO 8601 text in UTC of a time in µs since the epoch."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:06d}Z"


def write_meta(
    identity: RunIdentity,
    end: RunEnd,
    *,
    process: Mapping[str, Any] | Encoded,
    rng: Mapping[str, Any],
    extras: Mapping[str, Any],
    in_place: bool = False,
    durable: bool = False,
) -> None:
    """Write the meta file of a run whole; `extras` are artifacts, series, tags, notes, annotations.

    With `durable` it is on the disk then.

    With `in_place` it is written over the one that is there, which a full disk still allows; of the traceback
    then only the end is kept that finds room.
    """
    fixed = identity.encoded
    outcome: dict[str, Any] = {"error": end.error, "expected_failure": end.expected_failure}
    if end.criterion:
        outcome["criterion"] = end.criterion
    if end.reason:
        outcome["reason"] = end.reason
    if end.problems:
        outcome["problems"] = end.problems
    content = {
        "format": layout.RUN_FORMAT,
        "format_version": layout.FORMAT_VERSION,
        "id": identity.id,
        "index": fixed["index"],
        "key": identity.key,
        "replicate": fixed["replicate"],
        "attempt": fixed["attempt"],
        "status": end.status,
        "experiment": fixed["experiment"],
        # A debug run is made under another name, until it is whole.
        "sweep": layout.DEBUG_FOLDER if identity.experiment.get("debug") else identity.sweep.name,
        "start": isoformat(end.start),
        "stop": isoformat(end.stop) if end.stop is not None else None,
        "duration": (end.stop - end.start) / 1e6 if end.stop is not None else None,
        "parameters": fixed["parameters"],
        "seed": fixed["seed"],
        "rng": rng,
        "process": process,
        "versions": versions(),
        "outcome": outcome,
        **({"code": identity.code} if identity.code else {}),
        **({"repeats": dict(identity.repeats)} if identity.repeats is not None else {}),
        **extras,
    }
    file = identity.folder / layout.META_FILE
    if not in_place:
        replace_file(file, dump_pretty(content), durable=durable)
        return
    excess = len(dump_pretty(content)) - room_of(file)
    if end.error is not None and excess > 0:
        trace = end.error["traceback"]
        outcome["error"] = {**end.error, "traceback": "…" + trace[len(trace) and excess + 32 :]}
    overwrite_file(file, dump_pretty(content))


def versions() -> Encoded:
    """Versions of Expedition, Python and, where it is loaded, numpy."""
    return _versions("numpy" in sys.modules)


@cache
def _versions(with_numpy: bool) -> Encoded:
    found = {"expedition": __version__, "python": platform.python_version()}
    if with_numpy:
        found["numpy"] = sys.modules["numpy"].__version__
    return Encoded.of(found)
