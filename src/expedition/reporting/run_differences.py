"""Two runs compared part by part: what differs, with both values, and what could not be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from expedition.recording.inputs import QUERY, RUN, query_text
from expedition.reporting.changes import Change, Section, encoded, names_of_both
from expedition.reporting.durations import format_bytes, format_duration
from expedition.reporting.environment import environment_of
from expedition.reporting.run_contents import RunContents, Unread
from expedition.reporting.series_differences import series_changes
from expedition.reporting.value_differences import difference, percent_text
from expedition.reporting.value_text import value_text
from expedition.values import encode

__all__ = ["differences"]

_DIGITS = 12

ABSENT = object()
"""Stands for what one of the runs does not have."""


def differences(first: RunContents, second: RunContents) -> Iterator[Section]:
    """Yield all parts of two runs but their code, in the order of a page, with what differs in each."""
    yield Section("run", [*_plain_changes(_state(first), _state(second))])
    yield Section(
        "parameters",
        [
            *_values(
                first.parameters,
                second.parameters,
                lambda contents, name: contents.about_parameters[name]["value"],
                first,
                second,
            )
        ],
    )
    yield Section(
        "derived parameters",
        [
            *_values(
                first.derived,
                second.derived,
                lambda contents, name: contents.tagged_derived[name],
                first,
                second,
            )
        ],
    )
    yield Section(
        "data",
        [*_values(first.data, second.data, lambda contents, name: contents.tagged_data[name], first, second)],
    )
    yield Section("units and comments", [*_plain_changes(_notes(first), _notes(second))])
    yield Section("series", [*series_changes(first, second)])
    yield Section("artifacts", [*_artifacts(first, second)])
    yield Section("inputs", [*_plain_changes(_inputs(first), _inputs(second))])
    yield Section("environment", [*_plain_changes(environment_of(first), environment_of(second))])


# --- facts that are compared as they are --------------------------------------------------------------


def _plain_changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Change]:
    for name in names_of_both(first, second):
        a, b = first.get(name, ABSENT), second.get(name, ABSENT)
        if a is not ABSENT and b is not ABSENT and type(a) is type(b) and a == b:
            continue
        both = a is not ABSENT and b is not ABSENT
        found = difference(a, b) if both and name == "duration" else None
        content = {
            **({"first": encode(a)} if a is not ABSENT else {}),
            **({"second": encode(b)} if b is not ABSENT else {}),
            **encoded(found.measures if found else {}),
        }
        kind = "added" if a is ABSENT else "removed" if b is ABSENT else "value"
        relative = found.measures.get("relative") if found else None
        text = percent_text(relative) if relative is not None else ""
        yield Change(name, kind, _fact_text(name, a), _fact_text(name, b), text, content)


def _fact_text(name: str, value: Any) -> str:
    if value is ABSENT:
        return ""
    if name == "duration":
        return format_duration(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else value_text(value)


def _inputs(contents: RunContents) -> dict[str, Any]:
    """What the run read, by path or folder, with what tells one content from another."""
    found: dict[str, Any] = {}
    for one in contents.record.inputs:
        if one.get("kind") == RUN:
            found[str(one.get("folder", ""))] = (
                f"{one.get('status')}, begun {one.get('start', 'at a time unknown')}"
            )
        elif one.get("kind") == QUERY:
            found[query_text(one)] = f"{one.get('runs')} runs"
        else:
            size = f" ({one['size']} bytes)" if "size" in one else ""
            found[str(one.get("path", ""))] = f"{str(one.get('sha256', ''))[:_DIGITS]}{size}"
    return found


def _state(contents: RunContents) -> dict[str, Any]:
    """What of the run itself is compared."""
    record, about, outcome = (
        contents.record,
        contents.record.meta["experiment"],
        contents.record.meta["outcome"],
    )
    facts: dict[str, Any] = {
        "experiment": record.experiment,
        "namespace": record.namespace,
        "function": about.get("function"),
        "version": about.get("version"),
        "code": record.code or None,
        "status": record.status,
        "expected failure": bool(outcome.get("expected_failure")) or None,
        "error": f"{record.error.type}: {record.error.message}" if record.error else None,
        "reason": record.reason or None,
        "duration": record.duration,
        "testing mode": record.testing or None,
        "replicate": record.replicate,
        "attempt": record.attempt + 1,
        "seed": record.seed,
        "tags": sorted(map(str, record.tags)) or None,
        "notes": list(map(str, record.notes)) or None,
        "children": len(contents.children) or None,
        "edits": len(record.edits) or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _notes(contents: RunContents) -> dict[str, Any]:
    return {
        f"{name}: {kind}": str(about[kind])
        for name, about in contents.annotations.items()
        for kind in ("unit", "comment")
        if kind in about
    }


# --- values -------------------------------------------------------------------------------------------


def _values(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    tagged: Callable[[RunContents, str], Any],
    of_first: RunContents,
    of_second: RunContents,
) -> Iterator[Change]:
    for name in names_of_both(first, second):
        content: dict[str, Any] = {}
        if name in first:
            content["first"] = tagged(of_first, name)
        if name in second:
            content["second"] = tagged(of_second, name)
        if name not in second:
            yield Change(name, "removed", _text(first[name]), "", "", content)
            continue
        if name not in first:
            yield Change(name, "added", "", _text(second[name]), "", content)
            continue
        found = difference(first[name], second[name])
        if found is None:
            continue
        if found.kind == "unread":
            if _same_file(content["first"], content["second"]):
                continue
            kind, text = _unread(content["first"], content["second"])
            yield Change(name, kind, _text(first[name]), _text(second[name]), text, content)
            continue
        a, b = _texts(first[name], second[name])
        yield Change(name, found.kind, a, b, found.text, {**content, **encoded(found.measures)})


def _unread(first: Any, second: Any) -> tuple[str, str]:
    """Of values whose files are too large to be read, or damaged, the checksums tell more than nothing."""
    crcs = [tagged.get("crc") if isinstance(tagged, dict) else None for tagged in (first, second)]
    if None not in crcs and crcs[0] != crcs[1]:
        return "value", "their checksums differ"
    return "unread", "not compared"


def _same_file(first: Any, second: Any) -> bool:
    """Tell whether two values that are too large to be read are the same by all that is recorded of their files."""
    if not isinstance(first, dict) or not isinstance(second, dict) or not first.get("crc"):
        return False
    return {**first, "file": ""} == {**second, "file": ""}


def _text(value: Any) -> str:
    return value.text if isinstance(value, Unread) else value_text(value)


def _texts(first: Any, second: Any) -> tuple[str, str]:
    """Two values in a line each; of long texts the part from which on they differ."""
    a, b = _text(first), _text(second)
    if isinstance(first, str) and isinstance(second, str) and min(len(a), len(b)) > _LONG:
        same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        if same > _LONG // 2:
            start = same - _BEFORE
            return f"…{a[start:]}", f"…{b[start:]}"
    return a, b


_LONG = 40
_BEFORE = 8


# --- artifacts ----------------------------------------------------------------------------------------


def _artifacts(first: RunContents, second: RunContents) -> Iterator[Change]:
    mine, others = ({entry["name"]: entry for entry in contents.artifacts} for contents in (first, second))
    for name in names_of_both(mine, others):
        a, b = mine.get(name), others.get(name)
        content = {**({"first": a} if a else {}), **({"second": b} if b else {})}
        if a is None or b is None:
            yield Change(name, "added" if a is None else "removed", _artifact(a), _artifact(b), "", content)
            continue
        parts = []
        if a.get("sha256") is None or b.get("sha256") is None:
            parts.append("not completed, so not compared")
        elif a["sha256"] != b["sha256"]:
            parts.append("other content")
        if a.get("kind") != b.get("kind"):
            parts.append(f"kind {a.get('kind')} → {b.get('kind')}")
        if a.get("problem") != b.get("problem") and parts[:1] != ["not completed, so not compared"]:
            parts += [
                f"{which}: {entry['problem']}"
                for which, entry in (("first", a), ("second", b))
                if entry.get("problem")
            ]
        if parts:
            yield Change(name, "value", _artifact(a), _artifact(b), ", ".join(parts), content)


def _artifact(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    size = format_bytes(entry["size"]) if isinstance(entry.get("size"), int) else "unknown size"
    return f"{size}, {str(entry.get('sha256') or 'no hash')[:8]}"
