"""The options that look at an archive or change it. Every pytest session loads this: it imports next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.reporting.format_names import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytest

SHORT = {"--all": "--archive-all", "--dry-run": "--archive-dry-run", "--yes": "--archive-yes"}
"""What may be said shorter where the archive is asked. Declared, these names would clash with those of projects."""

REPORTS = ("list", "tail", "overview", "show", "diff", "scan")
ACTIONS = ("delete", "restore", "purge", "compress", "import", "modify", "export", "repair")
SELECTING = frozenset({"delete", "compress", "modify", "export"})
"""Actions that want to be told which runs."""
ASKING = frozenset({"delete", "restore", "purge", "modify", "import"})
"""Actions that change what is there; the others only add files."""

LISTING = ("--archive-sort", "--archive-columns", "--archive-limit", "--archive-format")
"""Options that say how runs are listed."""


def archive_root(config: pytest.Config) -> Path:
    """The archive root of the options or the ini file, absolute.

    Where no ini file says what the root folder is, pytest takes one that contains all given paths, so that
    experiments elsewhere would put their archive into a folder that nobody named, and reports would not find it.
    """
    from pathlib import Path

    if config.option.archive:
        return Path(config.invocation_params.dir / config.option.archive)
    known = config.inipath is not None or config.option.rootdir
    base = config.rootpath if known else config.invocation_params.dir
    return Path(base / str(config.getini("experiment_archive")))


def verbs_of(option: Any) -> list[str]:
    """Return what the options ask of the archive: names of `REPORTS` and `ACTIONS`."""
    given = {verb: getattr(option, f"archive_{verb}") for verb in (*REPORTS, *ACTIONS)}
    return [verb for verb, value in given.items() if value is not None and value is not False]


def with_long_names(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of an invocation that asks the archive, options of `SHORT` under their own names."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [*(SHORT.get(argument, argument) for argument in arguments[:end]), *arguments[end:]]


def add_archive_options(add: Callable[..., None]) -> None:
    """Declare the options with the ``addoption`` of a group."""
    add(
        "--archive",
        metavar="DIR",
        help="Archive root (default: ini experiment_archive, results); for reports and exports also a zip file of one",
    )
    _add_reports(add)
    _add_selection(add)
    _add_actions(add)


def _add_reports(add: Callable[..., None]) -> None:
    add("--archive-list", action="store_true", help="List the runs of the archive, oldest first")
    add(
        "--archive-tail",
        nargs="?",
        const=5,
        type=int,
        metavar="N",
        help="Show the last N runs, newest first (default: 5)",
    )
    add(
        "--archive-overview",
        action="store_true",
        help="Sum the archive up: how runs ended, times, sizes, errors, experiments",
    )
    add(
        "--archive-show",
        metavar="RUN",
        help="Show one run whole; RUN is its folder, its id, EXPERIMENT[ID], or its key or 6 digits of it",
    )
    add(
        "--archive-diff",
        nargs=2,
        metavar=("A", "B"),
        help="Show what differs between two runs, named as for --archive-show",
    )
    add(
        "--archive-scan",
        nargs="?",
        const="experiment",
        metavar="KEY",
        help="Group the runs by a name or expression such as 'alpha < 1' (default: experiment) and sum up each group",
    )


def _add_selection(add: Callable[..., None]) -> None:
    add(
        "--archive-select",
        metavar="EXPR",
        help="Only the runs that match, such as \"status == 'done' and alpha < 1 and data.rmse > 2\"; "
        "with --experiments: run these again",
    )
    add(
        "--archive-sort",
        action="append",
        metavar="KEY",
        help="Sort by a fact, parameter or stored value; =-KEY for the largest first (repeatable)",
    )
    add(
        "--archive-columns",
        action="append",
        metavar="A,B",
        help="Columns of lists: facts, parameters, stored values; of overview and scan: runs, success, … (repeatable)",
    )
    add("--archive-limit", type=int, metavar="N", help="At most N runs")
    add(
        "--archive-format",
        choices=FORMATS,
        help="Format of the archive reports (default: ini experiment_report_format, table)",
    )


def _add_actions(add: Callable[..., None]) -> None:
    add("--archive-delete", action="store_true", help="Move the selected runs into the trash of the archive")
    add(
        "--archive-restore",
        action="append",
        metavar="RUN",
        nargs="?",
        const="",
        help="Bring a deleted run back from the trash (repeatable); all of them with --all",
    )
    add(
        "--archive-purge",
        nargs="?",
        const="",
        metavar="AGE",
        help="Empty the trash for good: of what was deleted longer ago than AGE, such as 30d or 12h, or --all",
    )
    add("--archive-compress", metavar="FILE", help="Write the selected runs into a zip file")
    add("--archive-import", metavar="FILE", help="Take the runs of a zip file or of another archive in")
    add(
        "--archive-modify",
        action="append",
        metavar="OPERATION",
        help="Change the selected runs: 'set params.x=1', 'rename params.x=y', 'drop data.tmp', 'tag TAG', "
        "'untag TAG', 'note TEXT' (repeatable)",
    )
    add(
        "--archive-export",
        metavar="FORMAT",
        help="Write the selected runs for others to --archive-output: as csv, parquet or folder",
    )
    add("--archive-output", metavar="PATH", help="Where --archive-export writes")
    add(
        "--archive-repair",
        action="store_true",
        help="Write the trajectories of the archive anew from the run folders, and lost commit lines again",
    )
    add("--archive-all", action="store_true", help="All runs, where a selection is wanted (short: --all)")
    add(
        "--archive-dry-run",
        action="store_true",
        help="Only say what would be changed in the archive (short: --dry-run)",
    )
    add("--archive-yes", action="store_true", help="Change the archive without asking (short: --yes)")


def add_archive_keys(parser: pytest.Parser) -> None:
    """Declare the ini keys."""
    parser.addini("experiment_archive", "Archive root, relative to the ini file", default="results")
    parser.addini("experiment_report_format", "Format of the archive reports", default="table")
    parser.addini(
        "experiment_report_columns", "Columns of --archive-list and --archive-tail", type="args", default=[]
    )
    parser.addini(
        "experiment_report_sort", "Order of --archive-list: names, -NAME descending", type="args", default=[]
    )
