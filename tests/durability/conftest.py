"""Fixtures of the durability tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.laboratory import Laboratory, small_file_system


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    with small_file_system(tmp_path / "small") as folder:
        if folder is None:
            pytest.skip("no small file system can be mounted here: that takes root")
        yield folder
