"""SIGINT, SIGTERM and SIGHUP end runs in order: each becomes a KeyboardInterrupt, but never inside a record's end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

from expedition.recording.steps import STEPS

ECHO = 1.0
"""Seconds in which a further signal is the first one again, come another way.

A terminal tells all processes of a job, and so does the controller its workers; a shell passes on what the kernel
has sent already. Only a second SIGINT, which somebody typed, counts at once.
"""

_NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Signals:
    """Handlers of one process. Used as a context manager it holds signals back until the block is over.

    So does a step of a record, see `expedition.recording.steps`.

    The first signal raises `KeyboardInterrupt`, the second does so again, for what the first one has called may take
    long; the third ends the process at once. A process that `is_alone`, with nobody who could kill it, is ended by
    the second SIGINT where it does not come to hear the first, in a call of C code. SIGTERM does not do so: many send
    it twice at once, such as ``timeout``, and of two the process may hear the first only when the call is over.

    Attributes
    ----------
    received : numbers of the signals that came, echoes included.
    raised : how often a signal became a `KeyboardInterrupt`; what catches one does not make it unsaid.
    on_second : called in place of the second `KeyboardInterrupt`, where set.
    """

    def __init__(self, *, is_alone: bool = True) -> None:
        self._depth = 0
        self._waiting = False
        self._before: dict[int, Any] = {}
        self._is_alone = is_alone
        self._first = 0.0
        self._requests = 0
        self.received: list[int] = []
        self.raised = 0
        self.on_second: Callable[[], object] | None = None

    def install(self) -> None:
        """Take over the signals, in the main thread only; one that is ignored stays ignored, as ``nohup`` wants it."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _NUMBERS:
            before = signal.getsignal(number)
            if before != signal.SIG_IGN:
                self._before[number] = before
                self._listen(number, armed=number == signal.SIGINT)

    def listen_again(self) -> None:
        """Have the next SIGINT but one end the process again, where somebody has set the handler anew."""
        if signal.SIGINT in self._before and signal.getsignal(signal.SIGINT) == self._handle:
            self._listen(signal.SIGINT, armed=True)

    def uninstall(self) -> None:
        """Put the earlier handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()

    @property
    def are_held_back(self) -> bool:
        """Whether a block is being executed that no signal may interrupt."""
        return self._depth > 0

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        __tracebackhide__ = True
        self._depth -= 1
        if self._waiting:
            self._interrupt()

    def _listen(self, number: int, *, armed: bool) -> None:
        signal.signal(number, self._handle)
        if self._is_alone and armed:
            _let_the_next_kill(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True  # pytest names the line where the run was
        if number in self._before:
            self._listen(number, armed=number in (signal.SIGINT, signal.SIGTERM))
        now = time.monotonic()
        is_typed_again = number == signal.SIGINT and signal.SIGINT in self.received
        self.received.append(number)
        if self._requests and now - self._first < ECHO and not is_typed_again:
            return
        self._requests += 1
        if self._requests == 1:
            self._first = now
        elif self._requests > 2:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.on_second is not None:
            self.on_second()
            return
        self._waiting = True
        if not STEPS.put_off(frame, self._interrupt):
            self._interrupt()

    def _interrupt(self) -> None:
        __tracebackhide__ = True
        if self._waiting and not self._depth:
            self._waiting = False
            self.raised += 1
            raise KeyboardInterrupt


def _let_the_next_kill(number: int) -> None:
    """Keep the handler of Python for one signal, and let the system end the process at one that follows.

    Python runs handlers between two steps of its own code. In a C call that does not return nobody hears a signal:
    then only the system can end the process. Where there is no System V ``signal`` in the C library, it does not.
    """
    functions = _system_v()
    if functions is not None:
        install, present = functions
        install(number, present(number))


@cache
def _system_v() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """The functions of C that set a handler for one signal, and that return it."""
    try:
        import ctypes

        install = ctypes.CDLL(None).sysv_signal
        present = ctypes.pythonapi.PyOS_getsig
    except (ImportError, OSError, AttributeError, TypeError):
        return None
    install.argtypes, install.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    present.argtypes, present.restype = (ctypes.c_int,), ctypes.c_void_p
    return install, present
