"""How the code of two runs differs, by the copies of it that their sweep folders keep."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.archive import RunRecord
from expedition.archive.recorded_code import RecordedCodes
from expedition.errors import ExpeditionError
from expedition.recording import layout
from expedition.recording.journal import parse_line
from expedition.recording.snapshot import code_file_of
from expedition.reporting.run_contents import RunContents

__all__ = ["FileDifference", "code_differences"]

_MAX_BYTES = 256 << 10
"""Bytes of a file above which it is not compared line by line: that could take minutes."""

_OWN = "\0own"
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True)
class FileDifference:
    """A file of the code that differs.

    Attributes
    ----------
    name : of the file, below the root folder. kind : ``changed``, ``added``, ``removed`` or ``unread``.
    lines : the unified diff, with the names of both; a line that says why where there is none.
    """

    name: str
    kind: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    name: str
    kept: str
    sha256: str


def code_differences(first: RunContents, second: RunContents) -> list[FileDifference]:
    """Return the files of the archived sources of two runs that differ, with ``git.diff``, by name.

    The files of the two experiments are compared with each other, whatever their names are. The copies are those of
    the first invocation of a sweep: where one of the runs was made with later code, functions and constants are
    compared instead.
    """
    if (parts := _by_parts(first, second)) is not None:
        return parts
    if first.record.sweep_path == second.record.sweep_path and _own_file(first) == _own_file(second):
        return []
    mine, others = _sources(first), _sources(second)
    found = []
    for key in sorted({*mine, *others}):
        a, b = mine.get(key), others.get(key)
        if a is not None and b is not None and a.sha256 and a.sha256 == b.sha256:
            continue
        difference = _compared(first, a, second, b)
        if difference is not None:
            found.append(difference)
    return found


def _by_parts(first: RunContents, second: RunContents) -> list[FileDifference] | None:
    """The parts of the code that differ; None where both runs are of the copies of sources, or nothing is known."""
    codes: list[RecordedCodes] = []
    for contents in (first, second):
        codes.append(_codes_of(contents.record, contents.manifest))
    digests = [contents.record.code for contents in (first, second)]
    if not all(digests) or all(digest == known.first for digest, known in zip(digests, codes, strict=True)):
        return None
    a, b = (known.parts(digest) for digest, known in zip(digests, codes, strict=True))
    if a is None or b is None:
        return None
    found = []
    for part in sorted({*a, *b}):
        if a.get(part) == b.get(part):
            continue
        kind = "added" if part not in a else "removed" if part not in b else "changed"
        texts = [known.source(digest, part) for digest, known in zip(digests, codes, strict=True)]
        lines = [f"{part}: {_digest_text(a.get(part))} and {_digest_text(b.get(part))}"]
        if any(text is not None for text in texts):
            before, after = ((text or "").splitlines() for text in texts)
            lines = [*_unified(before, after, f"first/{part}", f"second/{part}")]
        found.append(FileDifference(part, kind, tuple(lines)))
    return found


def _codes_of(record: RunRecord, manifest: Mapping[str, Any]) -> RecordedCodes:
    def read(file: str) -> bytes:
        return record.read_of_sweep(f"{layout.SOURCE_FOLDER}/{file}")

    try:
        content = record.read_of_sweep(layout.INVOCATIONS_FILE)
        lines = [line for text in content.splitlines(keepends=True) if (line := parse_line(text)) is not None]
    except (ExpeditionError, OSError):
        lines = []
    return RecordedCodes(manifest, lines, read)


def _digest_text(text: str | None) -> str:
    return "nothing" if text is None else text[:12]


def _compared(
    first: RunContents, a: _Source | None, second: RunContents, b: _Source | None
) -> FileDifference | None:
    name = (b or a).name  # type: ignore[union-attr]
    kind = "added" if a is None else "removed" if b is None else "changed"
    texts: list[list[str]] = []
    for contents, source in ((first, a), (second, b)):
        text = _text(contents, source)
        if isinstance(text, str):
            return FileDifference(name, kind if kind != "changed" else "unread", (f"{name}: {text}",))
        texts.append(text)
    if texts[0] == texts[1]:  # of a file without a recorded hash
        return None
    lines = _unified(
        texts[0], texts[1], f"first/{a.name}" if a else "/dev/null", f"second/{b.name}" if b else "/dev/null"
    )
    return FileDifference(name, kind, tuple(lines))


def _unified(a: list[str], b: list[str], first: str, second: str) -> Iterator[str]:
    for line in difflib.unified_diff(a, b, first, second, lineterm=""):
        yield _NO_NEWLINE if line[1:] == _NO_NEWLINE else line


def _text(contents: RunContents, source: _Source | None) -> list[str] | str:
    """The lines of a file, or why there are none."""
    if source is None:
        return []
    try:
        content = contents.record.read_of_sweep(f"{layout.SOURCE_FOLDER}/{source.kept}")
    except FileNotFoundError:
        return f"differs, but the sweep folder of {contents.record.sweep} has no copy of it any more"
    except (ExpeditionError, OSError, ValueError) as error:
        return f"cannot be read: {error}"
    if len(content) > _MAX_BYTES:
        return f"differs, and is too long to be compared line by line ({len(content):,} bytes)"
    text = content.decode("utf-8", errors="replace").replace("\r\n", "\n")
    lines = text.split("\n")
    if lines[-1]:
        lines.append(_NO_NEWLINE)
    else:
        lines.pop()
    return lines


def _sources(contents: RunContents) -> dict[str, _Source]:
    """The archived files by the names under which they are compared."""
    recorded = contents.provenance.get("sources")
    recorded = recorded if isinstance(recorded, Mapping) else {}
    own = _own_file(contents)
    file = _file_of(contents.manifest)
    copy = code_file_of(Path(file))
    found: dict[str, _Source] = {}
    for name, sha256 in recorded.items():
        if name == copy and file in recorded:
            continue  # the same file again
        shown = file if name == copy else str(name)
        found[_OWN if shown == own else shown] = _Source(shown, str(name), str(sha256))
    git = contents.provenance.get("git")
    if isinstance(git, Mapping) and git.get("diff"):
        found[layout.DIFF_FILE] = _Source(layout.DIFF_FILE, layout.DIFF_FILE, "")
    return found


def _own_file(contents: RunContents) -> str:
    return _file_of(contents.record.meta)


def _file_of(content: Mapping[str, Any]) -> str:
    about = content.get("experiment")
    return str(about.get("file", "")) if isinstance(about, Mapping) else ""
