"""``--archive-list`` and ``--archive-show``: answered before anything is collected."""

from __future__ import annotations

import argparse
import sys

import pytest

from expedition.archive import Archive
from expedition.errors import ExpeditionError
from expedition.plugin.printing import print_text
from expedition.plugin.settings import archive_root
from expedition.reporting.runs import list_runs, show_run


def leave_project_alone(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Load no conftest file: reading an archive runs none of the project's code, and needs none of its imports.

    Options that such a file would have declared, and that stand in ``addopts``, are dropped from `args`.
    """
    known = config.known_args_namespace
    known.noconftest = True
    _, unknown = parser.parse_known_and_unknown_args(args, argparse.Namespace(**vars(known)))
    given = config.invocation_params.args
    args[:] = [argument for argument in args if argument not in unknown or argument in given]


def print_report(config: pytest.Config) -> int:
    """Print the report that the options ask for; return the exit status."""
    root = archive_root(config)
    option = config.option
    if option.where is not None:
        raise pytest.UsageError("--where selects runs before they run; it does not apply to archive reports")
    try:
        if not root.exists() and option.archive_show is None:
            text = "[]" if option.archive_format == "json" else f"no runs: there is no archive at {root} yet"
        elif option.archive_show is not None:
            text = show_run(Archive(root).run(option.archive_show), format=option.archive_format)
        else:
            text = list_runs(Archive(root), format=option.archive_format, testing=option.testing)
    except ExpeditionError as error:
        raise pytest.UsageError(str(error)) from None
    try:
        print_text(text)
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as head has seen enough
        sys.stdout = None
    return pytest.ExitCode.OK
