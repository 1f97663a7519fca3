"""Settings of the whole suite, and folders that take long to make."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.pytester import SysModulesSnapshot
from filelock import FileLock
from hypothesis import settings

# A busy machine must not fail a property: time is measured in benchmarks/, not here.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def _libraries_stay_imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Python forgets the modules of the projects, as pytester wants it, but not the libraries they import.

    numpy, pydantic and the like do not bear to be imported twice in a process.
    """
    projects = str(tmp_path_factory.getbasetemp())

    def is_library(name: str) -> bool:
        module = sys.modules[name]
        # A folder of modules without an __init__.py has no file
        places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
        return not any(str(place).startswith(projects) for place in places if place)

    with pytest.MonkeyPatch.context() as patch:
        take = lambda _: SysModulesSnapshot(preserve=is_library)  # noqa: E731
        patch.setattr(pytest.Pytester, "_Pytester__take_sys_modules_snapshot", take)
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """A shell lets what it begins in the background ignore SIGINT, and that would pass it on to what tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _quick_processes() -> None:
    """The summary of hypothesis' plugin imports all of it: a second for each of the many processes that tests start.

    Set in the processes that run tests, and not before the workers of xdist start, which need the plugin.
    """
    os.environ["PYTEST_ADDOPTS"] = "-p no:hypothesispytest"


@pytest.fixture(scope="session")
def made_once(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Callable[[str, Callable[[Path], object]], Path]:
    """Give a folder that `make` fills: once for all workers of a session, who leave alone what is there."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared / f"made-{name}"
        whole = shared / f"made-{name}.whole"
        with FileLock(f"{folder}.lock"):
            if not whole.exists():
                folder.mkdir()
                make(folder)
                whole.touch()
        return folder

    return folder_of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for a thorough suite alone."""
    from tests.thoroughness import FACTOR, thorough

    left_out = [item for item in items if FACTOR <= 1 and item.get_closest_marker(thorough.name)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(thorough.name)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the faults of tests/durability/test_faults.py came to, also where workers tried them."""
    from tests.durability.figures import FIGURES, Figures

    reports = [*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())]
    properties = [dict(getattr(report, "user_properties", ())) for report in reports]
    found = [each[FIGURES] for each in properties if FIGURES in each]
    if found:
        total = Figures.sum(found)
        terminalreporter.section("durability", sep="-")
        terminalreporter.write_line(total.line())
        terminalreporter.write_line(f"slowest end after a signal {total.slowest:.1f} s")
