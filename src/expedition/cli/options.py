"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from expedition.cli.completing import complete_columns, complete_runs, complete_selection
from expedition.reporting.format_names import FORMATS, PAGE_FORMATS

C = TypeVar("C", bound=Callable[..., Any])

archive = click.option(
    "--archive",
    type=click.Path(),
    metavar="DIR|ZIP",
    help="Archive root, or a zip file of one (default: as for pytest).",
)
archive_folder = click.option(
    "--archive",
    type=click.Path(),
    metavar="DIR",
    help="Archive root (default: as for pytest).",
)
select = click.option(
    "--select",
    metavar="EXPR",
    shell_complete=complete_selection,
    help="Only the runs that match, such as \"status == 'done' and alpha < 1 and data.rmse > 2\".",
)
sort = click.option(
    "--sort",
    metavar="KEY",
    multiple=True,
    shell_complete=complete_columns,
    help="Sort by a fact, parameter or stored value; -KEY for the largest first (repeatable).",
)
columns = click.option(
    "--columns",
    metavar="A,B",
    multiple=True,
    shell_complete=complete_columns,
    help="Columns: facts such as status, parameters, stored values.",
)
limit = click.option("--limit", metavar="N", type=click.IntRange(min=0), help="At most N lines.")
format = click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="How it is printed (default: ini experiment_report_format, table).",
)
run_format = click.option(
    "--format",
    type=click.Choice(PAGE_FORMATS),
    help="How it is printed (default: ini experiment_report_format, table).",
)
testing = click.option("--testing", is_flag=True, help="The runs of testing mode.")
everything = click.option("--all", "everything", is_flag=True, help="All runs.")
dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be changed.")
yes = click.option("-y", "--yes", is_flag=True, help="Do it without asking.")
run = click.argument("run", shell_complete=complete_runs)
runs = click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=complete_runs)


def selection(function: C) -> C:
    """Add the options that say which runs an action is about."""
    for option in (testing, limit, sort, everything, select):
        function = option(function)
    return function


def confirmation(function: C) -> C:
    """Add ``--dry-run`` and ``--yes``."""
    return dry_run(yes(function))


def query(function: C) -> C:
    """Add the options of a report on several runs."""
    for option in (testing, format, limit, columns, sort, select, archive):
        function = option(function)
    return function


def change(function: C) -> C:
    """Add what says which runs a command changes, in which archive, and whether it asks."""
    return runs(archive_folder(selection(confirmation(function))))
