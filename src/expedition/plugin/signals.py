"""SIGINT and SIGTERM end runs in order: each becomes a KeyboardInterrupt, but never inside a record's end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Signals:
    """Handlers of one process. Used as a context manager it holds signals back until the block is over."""

    def __init__(self) -> None:
        self._depth = 0
        self._waiting = False
        self._before: dict[int, Any] = {}
        self.received: list[int] = []

    def install(self) -> None:
        """Take over SIGINT and SIGTERM, in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)

    def uninstall(self) -> None:
        """Put the earlier handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._waiting:
            self._waiting = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # The controller passes a signal on to its workers, who may have had it from the terminal already.
        repeated = bool(self.received) and number == signal.SIGTERM
        self.received.append(number)
        if repeated:
            return
        if self._depth:
            self._waiting = True
        else:
            raise KeyboardInterrupt
