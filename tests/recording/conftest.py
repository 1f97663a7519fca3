"""Runs outside of any sweep, and the folders in which helpers of other tests stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from expedition import Run, RunRecord
from tests.durability.laboratory import Laboratory


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run with two parameters, ended after the test when the test has not."""
    with Run.detached(tmp_path / "run", seed=7, alpha=0.5, MODE="fast") as run:
        yield run


@pytest.fixture
def read(run: Run) -> Callable[[], RunRecord]:
    """End the run and read its record."""

    def end() -> RunRecord:
        run.close()
        return RunRecord(run.path)

    return end


@pytest.fixture
def journalled(run: Run) -> Callable[[], RunRecord]:
    """Read the run as one that died at this moment: from its journal alone."""

    def replay() -> RunRecord:
        record = RunRecord(run.path)
        assert record.meta["status"] == "running"
        assert not (run.path / "experiment_data.json").exists()
        return record

    return replay
