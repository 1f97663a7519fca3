"""One run whole: everything that is known of it, as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from expedition.archive import RunRecord
from expedition.recording import layout, outcomes
from expedition.recording.inputs import QUERY, RUN, query_text
from expedition.reporting.durations import format_bytes, format_duration, format_when
from expedition.reporting.formats import dump_json
from expedition.reporting.pages import Facts, Grid, Lines, Page, check_page_format, render_page
from expedition.reporting.plain_text import log_line, plain_lines
from expedition.reporting.run_contents import RunContents, Unread, place_of, run_name
from expedition.reporting.run_document import run_document
from expedition.reporting.series_table import series_grid
from expedition.reporting.value_text import value_text
from expedition.values import dumps

__all__ = ["show_run", "status_text"]

_MAX_BYTES = 16 << 20
"""Arrays and the like above this size are shown by dtype and shape alone."""

_PATHS = ("run", "folder", "repeats", "in")
"""Facts that are paths."""

_COMMIT = 12  # digits of a commit


def show_run(record: RunRecord, *, format: str = "table", width: int | None = None, several: int = 1) -> str:
    """Return everything about one run; what is empty is left out, and what cannot be read is said.

    As a page: state, parameters with origin, derived parameters, data, series as bars with their extremes, artifacts,
    children, provenance, edits, error, and the end of the log. As JSON all of it exactly: values are tagged JSON as in
    the files, series have all entries, and of the log there are the last lines.

    :param format: ``"table"``, ``"markdown"`` or ``"json"``.
    :param width: columns of the terminal, None where the output is none: then nothing is cut.
    :param several: how many runs have the name by which this one was asked for, being the newest.
    :raises ExperimentError: for another format.
    """
    check_page_format(format, "a run")
    contents = RunContents(record, max_bytes=_MAX_BYTES)
    if format == "json":
        return dump_json(run_document(contents))
    page = _page(contents, None if format == "markdown" else width, several)
    return render_page(page, format=format, width=width)


def status_text(record: RunRecord) -> str:
    """Return how a run ended, in words."""
    status, reason = record.status, record.reason
    error = record.error
    because = f": {reason}" if reason else ""
    if record.meta["outcome"].get("expected_failure"):
        return f"done, with the failure that was expected{because}"
    match status:
        case outcomes.CRASHED:
            return "crashed: the process died without an end record; what it had recorded until then is below"
        case outcomes.UNKNOWN:
            host = str(record.meta["process"].get("host"))
            return f"unknown: it has no end, and only {host} could tell whether it still runs"
        case outcomes.RUNNING:
            return "running; what it has recorded until now is below"
        case outcomes.DONE:
            return status
    if error is not None:
        first = error.message.partition("\n")[0]
        return f"{status}: {error.type}{f': {first}' if first else ''}"
    return f"{status}{because}"


def _page(contents: RunContents, width: int | None, several: int) -> Page:
    record = contents.record
    parts = [*_parts(contents, width)]
    # Last, when all parts were read
    if contents.problems:
        parts.insert(1, Lines("could not be read", list(dict.fromkeys(contents.problems))))
    newest = f"  (the newest of {several:,})" if several > 1 else ""
    return Page(f"{run_name(record)}  {record.status}{newest}", parts)


def _parts(contents: RunContents, width: int | None) -> Iterator[Facts | Grid | Lines]:
    record = contents.record
    yield Facts("", [*_state(contents)], whole=_PATHS)
    notes = contents.annotations
    earlier = [*_earlier_attempts(record)]
    if earlier:
        yield Grid("earlier attempts", ("attempt", "started", "duration", "how it ended"), earlier)
    if contents.parameters:
        yield Grid(
            "parameters", ("name", "value", "type", "origin", "unit", "description"), [*_parameters(contents)]
        )
    for title, values in (("derived parameters", contents.derived), ("data", contents.data)):
        rows = [
            [
                name,
                _value(value, exact=title != "data"),
                str(notes.get(name, {}).get("unit", "")),
                str(notes.get(name, {}).get("comment", "")),
            ]
            for name, value in values.items()
        ]
        if rows:
            yield Grid(title, ("name", "value", "unit", "comment"), rows)
    series = series_grid(contents, width=width)
    if series.rows:
        yield series
    artifacts = [
        [
            str(entry["name"]),
            format_bytes(entry["size"]) if isinstance(entry.get("size"), int) else "",
            str(entry.get("kind", "")),
            entry.get("problem", ""),
        ]
        for entry in contents.artifacts
    ]
    if artifacts:
        yield Grid("artifacts", ("name", "size", "kind", ""), artifacts, right={1})
    children = [
        [
            run_name(child),
            child.status,
            format_duration(child.duration),
            child.path.relative_to(record.path).as_posix(),
        ]
        for child in contents.children
    ]
    if children:
        yield Grid("children", ("run", "status", "duration", "folder"), children, right={2})
    inputs = [*_inputs(record)]
    if inputs:
        yield Grid("inputs", ("input", "kind", "status", "size", "key or SHA-256"), inputs, right={3})
    provenance = [*_provenance(contents)]
    if provenance:
        yield Facts("provenance", provenance, whole=_PATHS)
    edits = [
        [str(edit.get("time", "")), str(edit.get("operation", "")), _changes(edit)]
        for edit in record.edits
        if isinstance(edit, dict)
    ]
    if edits:
        yield Grid("edits", ("time", "operation", "changes"), edits)
    if record.error is not None:
        yield Lines(f"error: {record.error.type}", plain_lines(record.error.traceback), language="pytb")
    yield from _log(contents)


def _state(contents: RunContents) -> Iterator[tuple[str, str]]:
    record, meta = contents.record, contents.record.meta
    description = meta["experiment"].get("description")
    if description:
        yield "about", str(description).strip()
    yield "status", status_text(record)
    criterion = meta["outcome"].get("criterion")
    if criterion and str(criterion) not in status_text(record):
        yield "criterion", str(criterion)
    for problem in meta["outcome"].get("problems", ()):
        yield "not recorded", str(problem)
    lasted = f", {format_duration(record.duration)}" if record.duration is not None else ""
    yield "started", f"{format_when(record.started)}{lasted}"
    yield "run", place_of(record)
    yield "folder", str(record.path)
    if record.key:
        yield "key", record.key
    if record.code:
        yield "code", _code(contents)
    if record.repeats is not None:
        yield "repeats", str(record.repeats.get("folder", ""))
    repeated = [f"replicate {record.replicate}"] if record.replicate else []
    repeated += [f"attempt {record.attempt + 1}"] if record.attempt else []
    repeated += ["testing mode"] if record.testing else []
    if repeated:
        yield "which", ", ".join(repeated)
    if meta["experiment"].get("version"):
        yield "version", str(meta["experiment"]["version"])
    if record.tags:
        yield "tags", " ".join(map(str, record.tags))
    for note in record.notes:
        yield "note", str(note)


def _earlier_attempts(record: RunRecord) -> Iterator[list[str]]:
    for earlier in record.attempts:
        lasted = format_duration(earlier.duration) if earlier.duration is not None else ""
        ended = status_text(earlier).partition(";")[0]
        yield [str(earlier.attempt + 1), format_when(earlier.started), lasted, ended]


def _code(contents: RunContents) -> str:
    """The digest of the code, and where it stands when the copies of sources are those of another."""
    digest, about = contents.record.code, contents.manifest.get("code")
    if not isinstance(about, dict) or about.get("digest") == digest:
        return digest
    return f"{digest}, later than the copies in {layout.SOURCE_FOLDER}: {layout.INVOCATIONS_FILE} tells what is other"


def _parameters(contents: RunContents) -> Iterator[list[str]]:
    for name, value in contents.parameters.items():
        about, note = contents.about_parameters[name], contents.annotations.get(name, {})
        description = about.get("description") or note.get("comment", "")
        yield [
            name,
            _value(value),
            str(about.get("type", "")),
            str(about.get("origin", "")),
            str(note.get("unit", "")),
            str(description),
        ]


def _inputs(record: RunRecord) -> Iterator[list[str]]:
    for one in record.inputs:
        if one.get("kind") == QUERY:
            yield [query_text(one), QUERY, "", f"{one.get('runs')} runs", str(one.get("sha256", ""))]
            continue
        is_run = one.get("kind") == RUN
        size = one.get("size")
        yield [
            str(one.get("folder" if is_run else "path", "")),
            str(one.get("kind", "")),
            str(one.get("status", "")),
            format_bytes(size) if isinstance(size, int) else "",
            str(one.get("key" if is_run else "sha256", "")),
        ]


def _value(value: Any, *, exact: bool = True) -> str:
    return value.text if isinstance(value, Unread) else value_text(value, exact=exact)


def _changes(edit: Mapping[str, Any]) -> str:
    before, after = edit.get("before"), edit.get("after")
    before = before if isinstance(before, dict) else {}
    after = after if isinstance(after, dict) else {}

    def text(side: Mapping[str, Any], path: str) -> str:
        return dumps(side[path]) if path in side else "nothing"

    changes = (f"{path}: {text(before, path)} → {text(after, path)}" for path in {**before, **after})
    return "; ".join(changes)


def _provenance(contents: RunContents) -> Iterator[tuple[str, str]]:
    meta, sweep = contents.record.meta, contents.provenance
    yield "seed", str(contents.record.seed)
    process = meta["process"]
    at = [f"{process.get('host')}, pid {process.get('pid')}", f"worker {process.get('worker') or 'none'}"]
    yield "process", ", ".join(at)
    versions = meta.get("versions")
    if isinstance(versions, dict):
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    if isinstance(sweep.get("os"), dict):
        yield (
            "system",
            " ".join(str(sweep["os"][n]) for n in ("name", "machine") if sweep["os"].get(n)),
        )
    git = sweep.get("git")
    if isinstance(git, dict):
        yield "git", git_text(git)
    argv = sweep.get("argv")
    if isinstance(argv, list):
        yield "command", " ".join(map(str, argv))
    if sweep.get("cwd"):
        yield "in", str(sweep["cwd"])
    packages = sweep.get("distributions")
    if isinstance(packages, list):
        begun = contents.manifest.get("provenance", {}).get("distributions") == packages
        file = layout.SWEEP_FILE if begun else layout.INVOCATIONS_FILE
        yield "packages", f"{len(packages)}, listed in {file}"


def git_text(git: Mapping[str, Any]) -> str:
    """Return commit, branch and whether there were changes besides."""
    commit = git.get("commit")
    parts = [str(commit)[:_COMMIT] if commit else "no commit yet"]
    parts += [f"on {git['branch']}"] if git.get("branch") else []
    parts += ["with uncommitted changes"] if git.get("dirty") else []
    untracked = git.get("untracked_count")
    parts += [f"{untracked} untracked"] if untracked else []
    return ", ".join(parts)


def _log(contents: RunContents) -> Iterator[Lines]:
    lines, left_out = contents.log_end
    if not lines:
        return
    # What stands for itself, and not how it looked: no colours, no movements of the cursor
    note = f"{left_out} lines before these are in experiment_out.log" if left_out else ""
    yield Lines("log" if not left_out else "log, last lines", [log_line(line) for line in lines], note)
