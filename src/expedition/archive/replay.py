"""What a run had recorded, played back from its journal: the way to the data of a run that never ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.recording import layout
from expedition.recording.journal import read_journal

_MEMBERS = {
    "track": frozenset("nstv"),
    **dict.fromkeys(("store", "derived", "annotate"), frozenset("kv")),
    "drop": frozenset("k"),
    "commit": frozenset({"name", "size", "sha256", "kind"}),
    "open": frozenset({"name"}),
    **dict.fromkeys(("tag", "note"), frozenset("v")),
}


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
    damaged: list[int] = field(default_factory=list)


def replay(folder: Path) -> Recorded:
    """Read the journal of the run folder `folder`; a run without one has recorded nothing."""
    found = Recorded()
    for event in read_journal(folder / layout.JOURNAL_FILE, damaged=found.damaged):
        kind = event.get("e")
        if not _MEMBERS.get(str(kind), frozenset()) <= event.keys():
            continue
        if kind == "track":
            series = found.series.setdefault(event["n"], {"n": 0, "kind": _kind(event["v"])})
            series["n"] += 1
        elif kind == "store":
            found.data[event["k"]] = event["v"]
        elif kind == "drop":
            found.data.pop(event["k"], None)
        elif kind == "commit":
            found.artifacts[event["name"]] = {k: event[k] for k in ("name", "size", "sha256", "kind")}
        elif kind == "open":
            found.artifacts.setdefault(event["name"], {"name": event["name"], "kind": "file"})
        elif kind == "derived":
            found.derived[event["k"]] = event["v"]
        elif kind == "annotate":
            found.annotations.setdefault(event["k"], {}).update(event["v"])
        elif kind == "tag":
            found.tags.append(event["v"])
        elif kind == "note":
            found.notes.append(event["v"])
    return found


def _kind(value: Any) -> str:
    tag = value.get("$") if isinstance(value, dict) else None
    return {"bin": "array", "array": "array", "file": "picture"}.get(str(tag), "scalar")
