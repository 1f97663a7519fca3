"""How `logging` was set up before a run, so that no handler of one run hears the next."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NEW: tuple[Any, ...] = (logging.NOTSET, [], [], False, True)
"""A logger that nobody has set up."""

_State = tuple[logging.Logger, tuple[Any, ...]]
"""A logger with its level, handlers, filters, `disabled` and `propagate`."""


class LoggingState:
    """Remembers levels, handlers and filters of all loggers, and `logging.disable`; puts them back."""

    __slots__ = ("_before", "_disabled", "_is_of_project")

    def __init__(self, is_of_project: Callable[[Path | None], bool]) -> None:
        self._is_of_project = is_of_project
        self._disabled = 0
        self._before: list[_State] = []

    def remember(self) -> None:
        """Note how every logger is set up now."""
        self._disabled = logging.root.manager.disable
        self._before = _states()

    def put_back(self) -> None:
        """Put back what has changed since `remember`.

        A logger that is new loses what it was given, unless it is named after a module of a library: that sets its
        loggers up once, for as long as the process lives.
        """
        if logging.root.manager.disable != self._disabled:
            logging.disable(self._disabled)
        now = _states()
        if now != self._before:
            known = dict(self._before)
            for logger, _ in now:
                if logger in known:
                    _put(logger, known[logger])
                elif not self._is_of_library(logger.name):
                    _put(logger, _NEW)
        self._before = []

    def _is_of_library(self, name: str) -> bool:
        while name and name not in sys.modules:
            name = name.rpartition(".")[0]
        if not name:
            return False
        file = getattr(sys.modules[name], "__file__", None)
        return not self._is_of_project(Path(file) if file else None)


def _states() -> list[_State]:
    # A project may well have hundreds, of which next to none has changed: this is what a run pays for them.
    loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    loggers.append(logging.root)
    return [
        (one, (one.level, one.handlers[:], one.filters[:], one.disabled, one.propagate)) for one in loggers
    ]


def _put(logger: logging.Logger, before: tuple[Any, ...]) -> None:
    level, handlers, filters, disabled, propagate = before
    if logger.level != level:
        logger.setLevel(level)
    for handler in logger.handlers:
        if handler not in handlers:
            with contextlib.suppress(Exception):
                handler.flush()  # what it kept back is not lost; to close it is up to whoever made it
    logger.handlers[:], logger.filters[:] = handlers, filters
    logger.disabled, logger.propagate = disabled, propagate
