"""The UPPERCASE variables of an experiment's module hold the values of a run for its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class HeldVariables:
    """Sets variables in a module's globals and puts the old values back."""

    __slots__ = ("_before", "_namespace")

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._before: dict[str, Any] = {}

    def hold(self, values: Mapping[str, Any]) -> None:
        """Set every variable of `values`, which exist in the module."""
        self._before = {name: self._namespace[name] for name in values}
        self._namespace.update(values)

    def restore(self) -> None:
        """Put back what stood there before `hold`."""
        self._namespace.update(self._before)
        self._before = {}
