"""What collection knows of a file, for those who start no runs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from expedition.authoring.plan import SweepPlan
from expedition.errors import ExperimentError
from expedition.plugin.settings import archive_root


def plans_of(path: Path) -> Sequence[SweepPlan]:
    """Return the plans of the experiments of a file, collected in this process.

    Raises `ExperimentError` with the report of ``--experiment-validate`` when the file is not valid.
    """
    listener = _Listener()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = pytest.main(["--experiment-validate", "--experiments", str(path)], plugins=[listener])
    if code != pytest.ExitCode.OK:
        raise ExperimentError(f"{path} is not valid:\n{out.getvalue().rstrip()}")
    return listener.plans


def archive_here(archive: str | None) -> Path:
    """Return the archive root, absolute: `archive`, or that of an invocation of pytest in this folder."""
    finder = _ArchiveFinder()
    given = ["--archive", archive] if archive else []
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        pytest.main(["--noconftest", *given], plugins=[finder])
    if finder.root is None:
        raise ExperimentError(f"pytest cannot start here:\n{out.getvalue().rstrip()}")
    return finder.root


class _Listener:
    """Keeps the plans of a session."""

    def __init__(self) -> None:
        self.plans: list[SweepPlan] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        collection = session.config.pluginmanager.get_plugin("expedition-collection")
        if collection is not None:
            self.plans = list(collection.plans.values())


class _ArchiveFinder:
    """Ends an invocation when its options are known."""

    root: Path | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        self.root = archive_root(config).resolve()
        return 0
