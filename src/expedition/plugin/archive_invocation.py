"""What the options ask of the archive, checked and answered before anything is collected."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from expedition.errors import ExpeditionError, RecordNotFoundError
from expedition.plugin.archive_options import (
    ASKING,
    LISTING,
    REPORTS,
    SELECTING,
    archive_root,
    verbs_of,
    with_long_names,
)
from expedition.plugin.refusing import usage_error
from expedition.reporting.format_names import FORMATS
from expedition.reporting.printing import print_text
from expedition.reporting.queries import RunQuery, names_in
from expedition.reporting.requests import ReportRequest, default_format, print_answer

if TYPE_CHECKING:
    from expedition.plugin.acting.requests import ActionRequest

_FITTING = {
    "select": {"list", "tail", "overview", "scan", *SELECTING},
    "sort": {"list", "tail", "overview", "scan", "compress", "export", "delete", "modify"},
    "columns": {"list", "tail", "overview", "scan", "export"},
    "limit": {"list", "tail", "overview", "scan", *SELECTING},
    "format": {*REPORTS},
    "output": {"export"},
    "all": {"restore", "purge", *SELECTING},
    "dry_run": {*ASKING, *SELECTING, "repair"},
    "yes": {*ASKING, *SELECTING, "repair"},
}
"""The verbs to which an option ``--archive-…`` means something."""

_OF_RUNS = {
    "where": "--where",
    "experiments": "--experiments",
    "param": "-P",
    "params_file": "--params-file",
    "include": "--include",
    "resume": "--resume",
    "debug_run": "--debug-run",
    "run_prefix": "--run-prefix",
    "tag": "--tag",
    "note": "--note",
    "experiment_validate": "--experiment-validate",
}
"""Options that say what is run, and how."""


def leave_project_alone(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Load no conftest file: reading an archive runs none of the project's code, and needs none of its imports.

    Options that such a file would have declared, and that stand in ``addopts``, are dropped from `args`.
    """
    args[:] = with_long_names(args)
    known = config.known_args_namespace
    known.noconftest = True
    _, unknown = parser.parse_known_and_unknown_args(args, argparse.Namespace(**vars(known)))
    given = with_long_names(config.invocation_params.args)
    args[:] = [argument for argument in args if argument not in unknown or argument in given]


def refuse_lone_options(config: pytest.Config) -> None:
    """Raise `pytest.UsageError` for a selection with which nothing is to be done, or a list nobody asked for."""
    option = config.option
    if option.archive_all:
        raise pytest.UsageError(
            "--archive-all: say what to do with all runs, such as --archive-compress FILE"
        )
    if not option.experiments and option.archive_select is not None:
        raise pytest.UsageError(
            "--archive-select: say what to do with the runs, such as --archive-list, or --experiments to run them again"
        )
    alone = [
        name for name in LISTING if name in _given(config)
    ]  # in addopts they are meant for other invocations
    if alone and not option.experiments:
        raise pytest.UsageError(
            f"{alone[0]}: say which report of the archive it is for, such as --archive-list"
        )


def answer(config: pytest.Config) -> int:
    """Print the report, or do what is to be done; return the exit status.

    Raises `pytest.UsageError`, before anything is written, for options that are wrong or do not go together.
    """
    verb = ""
    try:
        verb = _verb(config)
        root = archive_root(config)
        if verb in REPORTS:
            print_answer(_report(config, verb), root)
            return pytest.ExitCode.OK
        from expedition.plugin.acting.performing import perform
        from expedition.plugin.acting.requests import plan_action

        _let_input_through(config)
        option = config.option
        return perform(
            plan_action(_action(config, verb), root),
            dry_run=option.archive_dry_run,
            yes=option.archive_yes,
            asks=verb in ASKING,
        )
    except (ExpeditionError, pytest.UsageError) as error:
        raise usage_error(_text(config, error)) from None
    except KeyboardInterrupt:
        print_text(f"interrupted{'; nothing was changed' if verb not in REPORTS else ''}")  # it was not begun
        return pytest.ExitCode.INTERRUPTED


def _verb(config: pytest.Config) -> str:
    """The one thing that is asked. Raises `pytest.UsageError` for two, and for options that do not fit to it."""
    option = config.option
    verbs = verbs_of(option)
    if len(verbs) > 1:
        names = " and ".join(f"--archive-{verb}" for verb in verbs)
        raise pytest.UsageError(f"{names} do not go together: ask for one at a time")
    verb = verbs[0]
    given = _given(config)
    for name, label in _OF_RUNS.items():
        value = getattr(option, name)
        if value not in (None, False, []) and (name == "where" or given & {label, *_LONG.get(label, ())}):
            remedy = "; --archive-select selects past runs" if name in ("where", "experiments") else ""
            raise pytest.UsageError(
                f"{label} is about runs to come; it does not apply to --archive-{verb}{remedy}"
            )
    paths = [path for path in option.file_or_dir or () if path in config.invocation_params.args]
    if paths:
        raise pytest.UsageError(
            f"--archive-{verb} takes no path of experiments, but got {paths[0]!r}; --archive names another archive, "
            f"--archive-select selects runs"
        )
    for name, verbs_of_it in _FITTING.items():
        label = f"--archive-{name.replace('_', '-')}"
        if verb not in verbs_of_it and label in given:
            others = ", ".join(f"--archive-{other}" for other in sorted(verbs_of_it))
            raise pytest.UsageError(f"{label} means nothing to --archive-{verb}; it goes with {others}")
    return verb


_LONG = {"-P": ("--param",)}


def _given(config: pytest.Config) -> set[str]:
    """Names of the options on the command line itself: what stands in addopts is meant for other invocations, too."""
    arguments = with_long_names(config.invocation_params.args)
    names = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}
    return names | {"-P" for argument in arguments if argument.startswith("-P")}


def _query(config: pytest.Config, verb: str) -> RunQuery:
    option = config.option
    return RunQuery(
        select=option.archive_select if verb in _FITTING["select"] else None,
        sort=names_in(option.archive_sort or _default(config, verb, "sort"))
        if verb in _FITTING["sort"]
        else (),
        columns=names_in(option.archive_columns or _default(config, verb, "columns"))
        if verb in _FITTING["columns"]
        else (),
        limit=option.archive_limit if verb in _FITTING["limit"] else None,
        testing=option.testing,
    )


def _default(config: pytest.Config, verb: str, name: str) -> Sequence[str]:
    """What the ini file says of lists of runs."""
    if verb != "list" and (verb, name) != ("tail", "columns"):  # the last runs are not those of an order
        return ()
    return list(config.getini(f"experiment_report_{name}"))


def _report(config: pytest.Config, verb: str) -> ReportRequest:
    option = config.option
    return ReportRequest(
        verb,
        runs=(option.archive_show,) if verb == "show" else tuple(option.archive_diff or ()),
        count=option.archive_tail if option.archive_tail is not None else 5,
        key=option.archive_scan or "experiment",
        query=_query(config, verb),
        format=option.archive_format or default_format(verb, report_format(config)),
    )


def report_format(config: pytest.Config) -> str:
    """The format of reports of the ini file. Raises `pytest.UsageError` when there is no such format."""
    format = str(config.getini("experiment_report_format"))
    if format not in FORMATS:
        raise pytest.UsageError(
            f"ini experiment_report_format must be one of {', '.join(FORMATS)}, but got {format!r}"
        )
    return format


def _action(config: pytest.Config, verb: str) -> ActionRequest:
    from expedition.plugin.acting.requests import ActionRequest

    option = config.option
    target = {
        "compress": option.archive_compress,
        "import": option.archive_import,
        "export": option.archive_output,
    }.get(verb)
    if target is not None and not target.strip():
        raise pytest.UsageError(f"--archive-{verb}: the name of the file is empty")
    return ActionRequest(
        verb,
        query=_query(config, verb),
        runs=tuple(which for which in option.archive_restore or () if which),
        everything=option.archive_all,
        target=Path(config.invocation_params.dir / target) if target is not None else None,
        operations=tuple(option.archive_modify or ()),
        format=option.archive_export or "",
        age=option.archive_purge or "",
    )


def _text(config: pytest.Config, error: Exception) -> str:
    """The message of an error, with the ini key that named what is not there."""
    option = config.option
    if isinstance(error, RecordNotFoundError):
        for name in ("columns", "sort"):
            value = config.getini(f"experiment_report_{name}")
            if (
                value
                and not getattr(option, f"archive_{name}")
                and any(repr(n.lstrip("-")) in str(error) for n in names_in(value))
            ):
                return f"ini experiment_report_{name}: {error}"
    return str(error)


def _let_input_through(config: pytest.Config) -> None:
    """Give the standard input back, which pytest keeps from tests."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
