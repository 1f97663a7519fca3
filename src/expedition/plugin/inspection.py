"""What collection knows of a file, for those who start no runs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from expedition.authoring.plan import SweepPlan
from expedition.errors import ExperimentError
from expedition.plugin.archive_invocation import report_format
from expedition.plugin.archive_options import archive_root
from expedition.reporting.queries import names_in


@dataclass(frozen=True)
class Collected:
    """What collection makes of files and folders.

    Attributes
    ----------
    plans : of the experiments that are valid. report : what ``--experiment-validate`` prints. is_valid : whether all
    of them are.
    """

    plans: Sequence[SweepPlan]
    report: str
    is_valid: bool


def collected(paths: Sequence[Path]) -> Collected:
    """Collect the experiments of files and folders in this process; none of them is run."""
    listener = _Listener()
    files = [argument for path in paths for argument in ("--experiments", str(path))]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = pytest.main(["--experiment-validate", *files], plugins=[listener])
    return Collected(listener.plans, out.getvalue().rstrip(), code == pytest.ExitCode.OK)


def plans_of(path: Path) -> Sequence[SweepPlan]:
    """Return the plans of the experiments of a file, collected in this process.

    Raises `ExperimentError` with the report of ``--experiment-validate`` when the file is not valid.
    """
    found = collected([path])
    if not found.is_valid:
        raise ExperimentError(f"{path} is not valid:\n{found.report}")
    return found.plans


@dataclass(frozen=True)
class ReportSettings:
    """The archive root, absolute, and what the ini file says of reports."""

    archive: Path
    format: str
    columns: tuple[str, ...]
    sort: tuple[str, ...]


def reports_here(archive: str | None) -> ReportSettings:
    """Return what reports are about that are asked for in this folder; `archive` names another archive root.

    Raises `ExperimentError` when pytest cannot start here, or its ini file is wrong.
    """
    finder = _Finder()
    given = ["--archive", archive] if archive else []
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(out),
        contextlib.suppress(_EnoughError),
    ):
        pytest.main(["--archive-list", *given], plugins=[finder])
    if finder.found is None:
        raise ExperimentError(f"pytest cannot start here:\n{out.getvalue().rstrip()}")
    return finder.found


def archive_here(archive: str | None) -> Path:
    """Return the archive root, absolute: `archive`, or that of an invocation of pytest in this folder.

    Raises `ExperimentError` as `reports_here`.
    """
    return reports_here(archive).archive


class _Listener:
    """Keeps the plans of a session."""

    def __init__(self) -> None:
        self.plans: list[SweepPlan] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        collection = session.config.pluginmanager.get_plugin("expedition-collection")
        if collection is not None:
            self.plans = list(collection.plans.values())


class _EnoughError(Exception):
    """Ends an invocation."""


class _Finder:
    """Ends an invocation when its options are known, before the report that it asks for is made."""

    found: ReportSettings | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, object, object]:
        self.found = ReportSettings(
            archive_root(config).resolve(),
            config.option.archive_format or report_format(config),
            names_in(config.option.archive_columns or config.getini("experiment_report_columns")),
            names_in(config.option.archive_sort or config.getini("experiment_report_sort")),
        )
        _end()
        return (yield)


def _end() -> None:
    raise _EnoughError
