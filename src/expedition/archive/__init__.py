"""Runs at rest: sweep folders, records, selection."""

from expedition.archive.archive import Archive
from expedition.archive.record import RunRecord

__all__ = ["Archive", "RunRecord"]
