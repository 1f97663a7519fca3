"""What the project around the current folder says of archives; pytest is asked only where it may say something."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_FILES = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)
_DEFAULT = "results"


@dataclass(frozen=True)
class Project:
    """The archive root, and the defaults of reports."""

    archive: Path
    format: str = "table"
    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()


def project_here(archive: str | None) -> Project:
    """Return the archive `archive`, or that of an invocation of pytest in this folder, with the ini keys of reports.

    Where there is no ini file pytest is not imported. Raises `ExperimentError` when pytest cannot start here.
    """
    options = os.environ.get("PYTEST_ADDOPTS", "")
    here = Path.cwd()
    files = [folder / name for folder in (here, *here.parents) for name in _FILES]
    if archive is not None:
        asks = "--archive" in options or any(_mentions(file, b"experiment_report") for file in files)
    else:
        asks = bool(options) or any(file.is_file() for file in files)
    if not asks:
        return Project(here / (archive or _DEFAULT))
    from expedition.plugin.inspection import reports_here

    found = reports_here(archive)
    return Project(found.archive, found.format, found.columns, found.sort)


def _mentions(file: Path, word: bytes) -> bool:
    try:
        return word in file.read_bytes()
    except OSError:
        return False
