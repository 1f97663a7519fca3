"""Fixtures of the durability tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durability.laboratory import Laboratory


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")
