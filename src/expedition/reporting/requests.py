"""`ReportRequest`: which report is wanted; the options of pytest and the console script are answered alike."""

from __future__ import annotations

import contextlib
import gc
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from expedition.archive import Archive
from expedition.archive.rows import DAMAGED
from expedition.errors import DamagedError, ExperimentError
from expedition.reporting.format_names import PAGE_FORMATS
from expedition.reporting.printing import print_text, terminal_width
from expedition.reporting.queries import RunQuery


def default_format(verb: str, wanted: str) -> str:
    """Return the format of a report where only the project says one: `wanted`, if the report has it."""
    return wanted if verb not in ("show", "diff") or wanted in PAGE_FORMATS else "table"


@dataclass(frozen=True)
class ReportRequest:
    """A report on an archive.

    Attributes
    ----------
    verb : ``list``, ``tail``, ``overview``, ``show``, ``diff`` or ``scan``.
    runs : what names the run that is shown, or the two that are compared.
    count : how many runs ``tail`` has. key : by what ``scan`` groups.
    query : which runs, in which order, with which columns; of no meaning for ``show`` and ``diff``.
    format : ``table``, ``json``, ``csv``, ``markdown`` or ``latex``.
    """

    verb: str
    runs: tuple[str, ...] = ()
    count: int = 5
    key: str = "experiment"
    query: RunQuery = field(default_factory=RunQuery)
    format: str = "table"


def print_answer(request: ReportRequest, root: Path) -> None:
    """Print a report on the archive `root`, as wide as the terminal. Raises the errors of `answer_request`."""
    exact = request.format == "csv"
    is_long = request.verb == "list" and request.format in ("json", "csv") and root.exists()
    if not is_long:
        return print_text(answer_request(request, root, width=terminal_width()), exact=exact)
    from expedition.reporting.run_tables import list_parts

    with _collecting_nothing():
        for part in list_parts(Archive(root), request.query, format=request.format):
            print_text(part, end="", exact=exact)
    return print_text("")


def answer_request(request: ReportRequest, root: Path, *, width: int | None = None) -> str:
    """Return a report on the archive `root`, in lines of at most `width` columns where that is not None.

    An archive that is not there yet has no runs. Raises `ExpeditionError`: for an expression, a column or a run that
    is not known, or for an archive that cannot be read.
    """
    with _collecting_nothing():
        return _answer(request, root, width)


@contextlib.contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Look for no cycles: a long table is many objects without any, and to look at them takes a tenth of its time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _answer(request: ReportRequest, root: Path, width: int | None) -> str:
    query, format = request.query, request.format
    if request.verb in ("show", "diff"):
        archive = Archive(root)
        found = [archive.find(which) for which in request.runs]
        if request.verb == "show" and (row := archive.row(found[0])).status == DAMAGED:
            from expedition.reporting.damaged_page import show_damaged

            return show_damaged(row, format=format, width=width)
        try:
            runs = [one.record() for one in found]
        except DamagedError as error:
            raise DamagedError(f"{error}; of such a run --archive-show tells what can be read") from None
        if request.verb == "show":
            from expedition.reporting.run_page import show_run

            return show_run(runs[0], format=format, width=width, several=found[0].number)
        from expedition.reporting.comparison import diff_runs

        return diff_runs(runs[0], runs[1], format=format, width=width)
    if request.verb == "tail" and request.count < 1:
        raise ExperimentError(f"the last {request.count} runs cannot be shown; ask for 1 at least")
    query.check()
    if query.select is not None:
        from expedition.authoring.expressions import compile_expression

        compile_expression(query.select)
    if not root.exists():
        return _no_archive(request, root, width)
    return _summary(request, Archive(root), width)


def _summary(request: ReportRequest, archive: Archive, width: int | None) -> str:
    """A report on several runs."""
    query, format = request.query, request.format
    if request.verb == "list":
        from expedition.reporting.run_tables import list_runs

        return list_runs(archive, query, format=format, width=width)
    if request.verb == "tail":
        from expedition.reporting.run_tables import tail_runs

        return tail_runs(archive, request.count, query, format=format, width=width)
    if request.verb == "overview":
        from expedition.reporting.overview import overview

        return overview(archive, query, format=format, width=width)
    from expedition.reporting.scan import scan_runs

    return scan_runs(archive, request.key, query, format=format, width=width)


def _no_archive(request: ReportRequest, root: Path, width: int | None) -> str:
    """What a report says of an archive that is not there yet; programs get what they get of an empty one."""
    if request.format not in ("json", "csv"):
        return f"no runs: there is no archive at {root} yet"
    with tempfile.TemporaryDirectory() as empty:
        text = _summary(request, Archive(empty), width)
        return text.replace(json.dumps(empty), json.dumps(str(root)))
