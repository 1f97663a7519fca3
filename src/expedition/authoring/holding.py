"""The UPPERCASE variables of the files of an experiment hold the values of a run for its time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ABSENT: Any = object()


class HeldVariables:
    """Sets variables in the globals of modules, and puts back what stood there.

    All of them get all variables: a function of the base finds what a mixin or the own file brought, and the
    other way round.
    """

    __slots__ = ("_before", "_namespaces")

    def __init__(self, namespaces: Iterable[dict[str, Any]]) -> None:
        self._namespaces = tuple(namespaces)
        self._before: list[dict[str, Any]] = []

    def hold(self, values: Mapping[str, Any]) -> None:
        """Set every variable of `values`."""
        for namespace in self._namespaces:
            self._before.append({name: namespace.get(name, _ABSENT) for name in values})
            namespace.update(values)

    def restore(self) -> None:
        """Put back what stood there before `hold`."""
        self._put(self._before)
        self._before = []

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """For the time of a block, put back what stood there before `hold`."""
        spaces = zip(self._namespaces, self._before, strict=False)
        now = [{name: space.get(name, _ABSENT) for name in before} for space, before in spaces]
        self._put(self._before)
        try:
            yield
        finally:
            self._put(now)

    def _put(self, contents: Iterable[Mapping[str, Any]]) -> None:
        for namespace, content in zip(self._namespaces, contents, strict=False):
            for name, value in content.items():
                if value is _ABSENT:
                    namespace.pop(name, None)
                else:
                    namespace[name] = value
