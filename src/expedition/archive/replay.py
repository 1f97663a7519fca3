"""What a run had recorded, played back from its journal: the way to the data of a run that never ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.archive.shapes import is_count, is_int64
from expedition.recording import layout, outcomes
from expedition.recording.journal import read_journal

_MEMBERS: dict[str, dict[str, type]] = {
    "track": {"n": str, "s": int, "t": int, "v": object},
    "store": {"k": str, "v": object},
    "derived": {"k": str, "v": object},
    "annotate": {"k": str, "v": dict},
    "drop": {"k": str},
    "commit": {"name": str, "size": int, "sha256": str, "kind": str},
    "open": {"name": str},
    "tag": {"v": str},
    "note": {"v": str},
    "inputs": {"v": list},
}
"""Members of an event, and their types; a line with others is passed over."""


@dataclass
class Recorded:
    """The state that the journal of a run leads to.

    `data` maps slash paths to tagged JSON, `series` names to number of entries and kind; `damaged` are the
    numbers of lines that were torn or altered, and so left out.
    """

    data: dict[str, Any] = field(default_factory=dict)
    series: dict[str, dict[str, Any]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    derived: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, dict[str, str]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)


def replay(folder: Path) -> Recorded:
    """Read the journal of the run folder `folder`; a run without one has recorded nothing."""
    found = Recorded()
    for event in read_journal(folder / layout.JOURNAL_FILE, damaged=found.damaged):
        kind = event.get("e")
        members = _MEMBERS.get(str(kind))
        if members is None or not _has(event, members) or (kind == "track" and not is_entry(event)):
            continue
        if kind == "track":
            series = found.series.get(event["n"])
            if series is None:
                series = found.series[event["n"]] = {"n": 0, **_form(event["v"])}
            series["n"] += 1
        elif kind == "store":
            found.data[event["k"]] = event["v"]
        elif kind == "drop":
            found.data.pop(event["k"], None)
        elif kind == "commit" and is_count(event["size"]):
            found.artifacts[event["name"]] = {k: event[k] for k in ("name", "size", "sha256", "kind")}
        elif kind == "open":
            found.artifacts.setdefault(event["name"], {"name": event["name"], "kind": "file"})
        elif kind == "derived":
            found.derived[event["k"]] = event["v"]
        elif kind == "annotate":
            said = {name: text for name, text in event["v"].items() if isinstance(text, str)}
            found.annotations.setdefault(event["k"], {}).update(said)
        elif kind == "tag":
            found.tags.append(event["v"])
        elif kind == "note":
            found.notes.append(event["v"])
        elif kind == "inputs":
            found.inputs.extend(event["v"])
    return found


def is_entry(event: Mapping[str, Any]) -> bool:
    """Tell whether an event of a journal is an entry of a series."""
    return (
        event.get("e") == "track"
        and _has(event, _MEMBERS["track"])
        and is_int64(event["s"])
        and is_int64(event["t"])
    )


def _has(event: Mapping[str, Any], members: Mapping[str, type]) -> bool:
    return all(name in event and isinstance(event[name], kind) for name, kind in members.items())


def is_open(meta: Mapping[str, Any]) -> bool:
    """Tell whether the journal of a run knows more than the files of its end: there was none, or no room for it.

    Before a run is edited, these files are made whole.
    """
    problems = meta["outcome"].get("problems") and not meta.get("edits")
    return bool(meta["status"] == outcomes.RUNNING or problems)


def _form(value: Any) -> dict[str, Any]:
    """What is said of a series: its kind, and of arrays their shape and dtype."""
    tag = value.get("$") if isinstance(value, dict) else None
    if tag == "file":
        return {"kind": "picture"}
    if tag not in ("bin", "array"):
        return {"kind": "scalar"}
    shape, dtype = (value.get(name) for name in (("sh", "d") if tag == "bin" else ("shape", "dtype")))
    return {"kind": "array", "shape": shape, "dtype": dtype}
