"""Figures that pyplot keeps open: a run's are closed at its end, or thousands of runs fill the memory."""

from __future__ import annotations

import sys


class OpenFigures:
    """Remembers which figures are open, and closes the later ones; pyplot is never imported for it."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before: frozenset[int] = frozenset()

    def remember(self) -> None:
        """Note which figures are open now."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        self._before = frozenset(pyplot.get_fignums()) if pyplot is not None else frozenset()

    def close_new(self) -> None:
        """Close the figures that were opened since `remember`."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            for number in set(pyplot.get_fignums()) - self._before:
                pyplot.close(number)
