"""`ArchiveNames`: what the runs of an archive call things, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property


class ArchiveNames:
    """The names of all runs of an archive, which are read once, and only when somebody asks.

    Whether ``size`` means the fact or what runs themselves call so must not change from run to run: one run that has
    its own decides for all of them.
    """

    def __init__(self, read: Callable[[], Iterable[frozenset[str]]]) -> None:
        """`read` begins a reading of the names of each run."""
        self._read = read

    @cached_property
    def all(self) -> frozenset[str]:
        """All names that the select language knows for any run."""
        found: set[str] = set()
        last: frozenset[str] | None = None
        for names in self._read():
            if names is not last:  # rows of the same names share the set
                last = names
                found |= names
        return frozenset(found)

    def has_own(self, name: str) -> bool:
        """Whether a run has a parameter or a stored value of the name."""
        return f"params.{name}" in self.all or f"data.{name}" in self.all
