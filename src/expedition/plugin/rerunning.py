"""Settled runs that run again: their record is announced as changing before it is touched."""

from __future__ import annotations

from expedition.archive.sweep import RunEntry
from expedition.plugin.binding import SweepBinding
from expedition.recording import outcomes
from expedition.recording.writer import SweepWriter


def announce_again(binding: SweepBinding, entry: RunEntry, writer: SweepWriter) -> None:
    """Say in the commit log that a settled run is about to run again, unless it is none or that was said.

    Readers take the line of a settled run for the last word on it; after this one they ask its folder, whatever
    becomes of the new attempt. Raises `OSError`.
    """
    edit = binding.again.get(entry.index)
    if edit is None:
        return
    writer.commit(
        {
            "index": entry.index,
            "attempt": max(binding.attempts.get(entry.index, 1) - 1, 0),
            "edit": edit,
            "changing": True,
            "key": entry.key,
            "status": outcomes.PENDING,
            "start": None,
            "stop": None,
            "worker": writer.worker,
            "seed": None,
            "error": None,
            "data": {},
        }
    )
    del binding.again[entry.index]
