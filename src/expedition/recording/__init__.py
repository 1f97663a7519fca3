"""A run while it happens: its journal, store, series, artifacts, seeds, output and provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expedition.lazily import lazily

if TYPE_CHECKING:
    from expedition.recording.run import Run

__all__ = ["Run"]

_HOMES = {
    "Run": "expedition.recording.run",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
