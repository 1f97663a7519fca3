"""A run while it happens: its journal, store, series, artifacts, seeds, output and provenance."""

from expedition.recording.run import Run

__all__ = ["Run"]
