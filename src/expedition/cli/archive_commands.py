"""``expedition archive …``: the reports and actions of the ``--archive-…`` options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from expedition.cli import completing, options
from expedition.cli.ending import INTERRUPTED, refusing, spelled
from expedition.cli.project import project_here

if TYPE_CHECKING:
    from expedition.reporting.queries import RunQuery


@click.group()
@options.archive
def archive(archive: str | None) -> None:
    """Look at the archive, and act on its runs."""


def _report(
    verb: str,
    *,
    archive: str | None,
    format: str | None,
    select: str | None = None,
    sort: Sequence[str] = (),
    columns: Sequence[str] = (),
    limit: int | None = None,
    testing: bool = False,
    **more: Any,
) -> None:

    with refusing():
        from expedition.reporting.queries import RunQuery, names_in
        from expedition.reporting.requests import ReportRequest, default_format, print_answer

        project = project_here(_root_of(archive))
        query = RunQuery(
            select=select,
            sort=names_in(sort) or (project.sort if verb == "list" else ()),
            columns=names_in(columns) or (project.columns if verb in ("list", "tail") else ()),
            limit=limit,
            testing=testing,
        )
        request = ReportRequest(
            verb, query=query, format=format or default_format(verb, project.format), **more
        )
        print_answer(request, project.archive)


def _act(
    verb: str,
    *,
    archive: str | None,
    dry_run: bool,
    yes: bool = False,
    query: RunQuery | None = None,
    **more: Any,
) -> int:
    from expedition.reporting.printing import print_text

    with refusing():
        from expedition.plugin.acting.performing import perform
        from expedition.plugin.acting.requests import ActionRequest, plan_action
        from expedition.plugin.archive_options import ASKING
        from expedition.reporting.queries import RunQuery

        request = ActionRequest(verb, query=query or RunQuery(), **more)
        try:
            action = plan_action(request, project_here(_root_of(archive)).archive)
            names = str if verb == "modify" else spelled  # its lines quote what people wrote
            return perform(action, dry_run=dry_run, yes=yes, asks=verb in ASKING, spelled=names)
        except KeyboardInterrupt:
            print_text("interrupted; nothing was changed")  # it was not begun
            return INTERRUPTED


def _act_on_runs(
    verb: str,
    *,
    select: str | None,
    everything: bool,
    sort: Sequence[str],
    limit: int | None,
    testing: bool,
    runs: Sequence[str] = (),
    columns: Sequence[str] = (),
    **more: Any,
) -> int:
    from expedition.reporting.queries import RunQuery, names_in

    query = RunQuery(select, names_in(sort), names_in(columns), limit, testing)
    return _act(verb, query=query, runs=tuple(runs), everything=everything, **more)


def _quoted(text: str) -> str:
    """A tag or note as an operation has it: in quotes where it would be read otherwise."""
    return json.dumps(text, ensure_ascii=False) if text.split() != [text] or text[0] in "'\"" else text


def _root_of(given: str | None) -> str | None:
    """The archive of this command, or of the group in front of it."""
    context = click.get_current_context()
    return given or (context.parent.params.get("archive") if context.parent is not None else None)


@archive.command("list")
@options.query
def list_command(**given: Any) -> None:
    """List the runs, oldest first."""
    _report("list", **given)


@archive.command("tail")
@click.argument("last", metavar="[N]", type=click.IntRange(min=1), required=False)
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="The same as N.")
@options.query
def tail_command(last: int | None, count: int | None, **given: Any) -> None:
    """Show the last N runs, newest first (default: 5)."""
    if last is not None and count is not None:
        raise click.UsageError(f"say once how many runs are shown: {last}, or -n {count}")
    _report("tail", count=last or count or 5, **given)


@archive.command("overview")
@options.query
def overview_command(**given: Any) -> None:
    """Sum up: how runs ended, times, sizes, errors, experiments."""
    _report("overview", **given)


@archive.command("show")
@options.run
@options.archive
@options.run_format
def show_command(run: str, **given: Any) -> None:
    """Show one run whole.

    RUN is a run folder, an id, EXPERIMENT[ID], SWEEP/FOLDER, or a key or 6 digits of it.
    """
    _report("show", runs=(run,), **given)


@archive.command("diff")
@click.argument("first", metavar="A", shell_complete=completing.complete_runs)
@click.argument("second", metavar="B", shell_complete=completing.complete_runs)
@options.archive
@options.run_format
def diff_command(first: str, second: str, **given: Any) -> None:
    """Show what differs between two runs: parameters, data, code, environment."""
    _report("diff", runs=(first, second), **given)


@archive.command("scan")
@click.argument("key", default="experiment", shell_complete=completing.complete_columns)
@options.query
def scan_command(**given: Any) -> None:
    """Group the runs by KEY, and sum up each group.

    KEY is a fact, a parameter, a stored value or an expression of these, such as "alpha < 1"
    (default: experiment).
    """
    _report("scan", **given)


@archive.command("delete")
@options.change
def delete_command(**given: Any) -> int:
    """Move runs into the trash of the archive."""
    return _act_on_runs("delete", **given)


@archive.command("restore")
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=completing.complete_deleted)
@options.archive_folder
@options.everything
@options.confirmation
def restore_command(**given: Any) -> int:
    """Bring deleted runs back from the trash.

    RUN is a deletion (all that it took), a run by its folder, id or key, or the folder of a sweep.
    """
    return _act("restore", **given)


@archive.command("purge")
@click.argument("age", metavar="[AGE]", default="")
@options.archive_folder
@options.everything
@options.confirmation
def purge_command(**given: Any) -> int:
    """Empty the trash for good.

    Removes what was deleted longer ago than AGE, such as 30d or 12h, or everything with --all.
    """
    return _act("purge", **given)


@archive.command("compress")
@click.argument("file", type=click.Path(path_type=Path))
@options.runs
@options.archive_folder
@options.selection
@options.dry_run
def compress_command(file: Path, **given: Any) -> int:
    """Write runs into a zip FILE, which every report reads as it is."""
    return _act_on_runs("compress", target=Path.cwd() / file, **given)


@archive.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@options.archive_folder
@options.confirmation
def import_command(file: Path, **given: Any) -> int:
    """Take in the runs of a zip FILE, or of another archive."""
    return _act("import", target=Path.cwd() / file, **given)


@archive.command("modify")
@click.argument("operations", metavar="OPERATION...", nargs=-1, required=True)
@click.option(
    "--run",
    "runs",
    metavar="RUN",
    multiple=True,
    shell_complete=completing.complete_runs,
    help="This run (repeatable).",
)
@options.archive_folder
@options.selection
@options.confirmation
def modify_command(operations: Sequence[str], **given: Any) -> int:
    """Change what is noted of runs.

    \b
    An OPERATION is one text, and several are done in their order:
    "set params.x=1"       "set data.a.b=text"   "drop data.tmp"
    "rename params.x=y"    "tag paper"           "note TEXT"
    """
    return _act_on_runs("modify", operations=tuple(operations), **given)


@archive.command("tag")
@click.argument("tag")
@options.change
def tag_command(tag: str, **given: Any) -> int:
    """Give runs a TAG."""
    return _act_on_runs("modify", operations=(f"tag {_quoted(tag)}",), **given)


@archive.command("untag")
@click.argument("tag")
@options.change
def untag_command(tag: str, **given: Any) -> int:
    """Take a TAG from runs."""
    return _act_on_runs("modify", operations=(f"untag {_quoted(tag)}",), **given)


@archive.command("note")
@click.argument("text")
@options.change
def note_command(text: str, **given: Any) -> int:
    """Note a TEXT in runs."""
    return _act_on_runs("modify", operations=(f"note {_quoted(text)}",), **given)


@archive.command("export")
@click.argument("format", type=click.Choice(["csv", "parquet", "folder"]))
@options.runs
@click.option(
    "-o",
    "--output",
    "output",
    type=click.Path(path_type=Path),
    required=True,
    help="File or folder to write.",
)
@options.archive
@options.selection
@options.columns
@options.dry_run
def export_command(output: Path, **given: Any) -> int:
    """Write runs for others: as a csv or parquet table, or as a folder of plain files."""
    return _act_on_runs("export", target=Path.cwd() / output, **given)


@archive.command("repair")
@options.archive_folder
@options.dry_run
def repair_command(**given: Any) -> int:
    """Write trajectories anew from the run folders, and lost commit lines again."""
    return _act("repair", **given)
