"""How thorough the suite is: as much as fits into every change, or more where EXPEDITION_THOROUGH says so.

``EXPEDITION_THOROUGH=10 pytest tests/trajectory`` tries ten times as many examples. Any value above 1 adds what is
marked as `thorough`: further variants of what other tests prove.
"""

from __future__ import annotations

import os

import pytest

FACTOR = float(os.environ.get("EXPEDITION_THOROUGH", "1"))

thorough = pytest.mark.thorough
"""Marks a test, or by `further` a parameter, that is left out of the everyday suite."""


def examples(count: int) -> int:
    """How many examples of a property to try where the everyday number is `count`."""
    return max(1, round(count * FACTOR))


def further(*values: object) -> list[object]:
    """Parameters that are tried in a thorough suite only."""
    return [pytest.param(value, marks=thorough) for value in values]


def further_sets(*sets: tuple[object, ...]) -> list[object]:
    """Sets of several parameters that are tried in a thorough suite only."""
    return [pytest.param(*one, marks=thorough) for one in sets]
