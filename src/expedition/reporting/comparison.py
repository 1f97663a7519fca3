"""Two runs side by side: all that differs, and nothing else."""

from __future__ import annotations

from typing import Any

from expedition.archive import RunRecord
from expedition.reporting.cells import GAP
from expedition.reporting.changes import Section
from expedition.reporting.code_differences import FileDifference, code_differences
from expedition.reporting.durations import format_when
from expedition.reporting.formats import dump_json
from expedition.reporting.pages import Facts, Grid, Lines, Page, check_page_format, render_page
from expedition.reporting.run_contents import RunContents, place_of, run_name
from expedition.reporting.run_differences import differences

__all__ = ["diff_runs"]

_MAX_BYTES = 64 << 20
"""Values above this size are compared by their checksums alone."""

_MAX_LINES = 200
"""Lines of code that a page shows; JSON has all of them."""

_NAMES = 30  # columns that names and gaps take of a terminal, about
_KEPT = 12  # columns of a common beginning that are no gain to cut

_WITHOUT = {"added": "only in the second", "removed": "only in the first"}


def diff_runs(first: RunRecord, second: RunRecord, *, format: str = "table", width: int | None = None) -> str:
    """Return what differs between two runs, and in which parts nothing does.

    Compared are: state, duration and seed; parameters, derived parameters and stored values, by value and type;
    series at the steps that both have; artifacts by their hashes; the archived code as a unified diff; packages,
    Python, machine, command and variables of the environment. When values were recorded, and by which process, is not
    compared.

    :param format: ``"table"``, ``"markdown"`` or ``"json"``: there, values are tagged JSON.
    :param width: columns of the terminal, None where the output is none: then only code is cut.
    :raises ExperimentError: for another format.
    """
    check_page_format(format, "a comparison")
    contents = (RunContents(first, max_bytes=_MAX_BYTES), RunContents(second, max_bytes=_MAX_BYTES))
    sections = [*differences(*contents)]
    code = code_differences(*contents)
    problems = [
        (which, problem)
        for which, one in zip(("first", "second"), contents, strict=True)
        for problem in dict.fromkeys([*one.problems, *_missing(one)])
    ]
    if format == "json":
        return dump_json(_content(contents, sections, code, problems))
    page = _page(contents, sections, code, problems, None if format == "markdown" else width)
    return render_page(page, format=format, width=width)


def _missing(contents: RunContents) -> list[str]:
    if contents.provenance:
        return []
    return ["without its sweep.json, code and most of the environment are not known"]


def _page(
    contents: tuple[RunContents, RunContents],
    sections: list[Section],
    code: list[FileDifference],
    problems: list[tuple[str, str]],
    width: int | None,
) -> Page:
    first, second = (one.record for one in contents)
    names = [run_name(record) for record in (first, second)]
    parts: list[Facts | Grid | Lines] = [
        Facts("", [(which, _about(record)) for which, record in (("first", first), ("second", second))])
    ]
    if problems:
        parts.append(Facts("could not be compared", problems))
    for section in sections:
        rows = [
            [
                change.name,
                *_where_they_differ(change.first, change.second, width),
                change.text or _WITHOUT.get(change.kind, ""),
            ]
            for change in section.changes
        ]
        if rows:
            parts.append(Grid(section.title, ("name", "first", "second", "difference"), rows, firm=(3,)))
    if code:
        lines = [line.expandtabs(8) for difference in code for line in difference.lines]
        left_out = len(lines) - _MAX_LINES
        shown = lines[:_MAX_LINES]
        if left_out > 0:
            shown.append(f"… {left_out} more lines: they are in --archive-format json")
        parts.append(Lines("code", shown, language="diff"))
    if first.path == second.path:
        end = "no difference: both are the same run"
    else:
        same = [section.title for section in sections if not section.changes] + ([] if code else ["code"])
        different = len(same) <= len(sections)
        end = f"no difference in {', '.join(same)}" if different and same else "no difference" if same else ""
    return Page(f"{names[0]} and {names[1]}" if names[0] != names[1] else f"{names[0]} twice", parts, end)


def _where_they_differ(first: str, second: str, width: int | None) -> tuple[str, str]:
    """Two texts without the beginning that both have, where a terminal is too narrow for the whole of them."""
    if width is None or max(len(first), len(second)) <= max((width - _NAMES) // 2, _KEPT):
        return first, second
    pairs = enumerate(zip(first, second, strict=False))
    common = next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))
    begin = first.rfind(" ", 0, common) + 1  # of a word that differs all of it
    if common - begin > _KEPT:
        begin = common - _KEPT
    return (f"{GAP} {first[begin:]}", f"{GAP} {second[begin:]}") if begin > _KEPT else (first, second)


def _about(record: RunRecord) -> str:
    return f"{place_of(record)}, {record.status}, {format_when(record.started)}"


def _content(
    contents: tuple[RunContents, RunContents],
    sections: list[Section],
    code: list[FileDifference],
    problems: list[tuple[str, str]],
) -> dict[str, Any]:
    runs = {
        which: {
            "experiment": one.record.experiment,
            "id": one.record.id,
            "status": one.record.status,
            "key": one.record.key,
            "started": one.record.started.isoformat(),
            "path": place_of(one.record),
            "folder": str(one.record.path),
        }
        for which, one in zip(("first", "second"), contents, strict=True)
    }
    found: dict[str, Any] = {
        section.title.replace(" ", "_"): {
            change.name: {
                "kind": change.kind,
                **change.content,
                **({"text": change.text} if change.text else {}),
            }
            for change in section.changes
        }
        for section in sections
    }
    found["code"] = {file.name: {"kind": file.kind, "diff": list(file.lines)} for file in code}
    different = [title for title, changes in found.items() if changes]
    unread = [{"run": which, "problem": problem} for which, problem in problems]
    return {**runs, "differ": different, "differences": found, "unreadable": unread}
