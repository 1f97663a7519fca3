"""Which invocation made a run, and with what: the manifest knows the first one only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from expedition.recording.journal import parse_line

OF_SWEEP = ("sources", "import_paths")
"""Members of the provenance that belong to the sweep: its copies of sources are made once."""


def invocations_in(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and content of the good lines of ``invocations.jsonl`` that begin an invocation, first to last.

    Lines of further generations of one are left out: they repeat what its first line says. So are those of workers.
    """
    for number, line in enumerate(content.splitlines(keepends=True)):
        parsed = parse_line(line)
        if parsed is not None and "generation" not in parsed and "worker" not in parsed:
            yield number, parsed


def invocation_at(
    lines: Iterable[tuple[int, Mapping[str, Any]]], start: str
) -> tuple[int, Mapping[str, Any]] | None:
    """Return number and line of the invocation that made a run which began at `start`; None when it is not known.

    Of several invocations only one at a time works on a sweep: it is the last that had begun by then.
    """
    found: tuple[int, Mapping[str, Any]] | None = None
    began = datetime.fromisoformat(start)
    for number, line in lines:
        try:
            if datetime.fromisoformat(line["started"]) <= began or found is None:
                found = number, line
        except (KeyError, TypeError, ValueError):
            continue
    return found


def provenance_at(provenance: Mapping[str, Any], number: int, line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of runs of an invocation; `provenance` is that of the manifest, of invocation 0.

    A later invocation says what was different. One of an earlier version says only where and how it was called:
    of the rest nothing is claimed.
    """
    if number == 0:
        return dict(provenance)
    own = line.get("provenance")
    if isinstance(own, dict):
        found = {**provenance, **own}
    else:
        found = {name: provenance[name] for name in OF_SWEEP if name in provenance}
    found["hostname"] = line.get("host")
    found["argv"] = line.get("argv")
    return found


def changed_provenance(
    first: Mapping[str, Any], now: Mapping[str, Any], *, diff: bytes | None, kept: bytes | None
) -> dict[str, Any]:
    """Return the members of the provenance `now` that are not those of the `first` invocation of a sweep.

    `diff` is the uncommitted changes of now, `kept` what the sweep folder has of them: only the same are named.
    """
    found = dict(now)
    git = found.get("git")
    if isinstance(git, dict) and diff != kept:
        found["git"] = {**git, "diff": None}
        found["git"].pop("diff_truncated", None)
    besides = (*OF_SWEEP, "argv", "hostname")  # the latter two are in the line already
    return {
        name: value
        for name, value in found.items()
        if name not in besides and (name not in first or first[name] != value)
    }
