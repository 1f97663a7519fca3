"""Steps of a record that nothing interrupts: a line of the journal is written, and what the process knows follows it.

What wants to interrupt the main thread, a timeout or a signal, is put off while a step is done there; the step lets it
in when it is over. That costs a step no more than a look: which code is that of a step is known beforehand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Steps:
    """The steps of this process, and what waits for the end of the one that is being done.

    Attributes
    ----------
    waiting : what is called at the end of the step, None without anything.
    """

    __slots__ = ("_codes", "waiting")

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()
        self.waiting: Callable[[], object] | None = None

    def step(self, function: F) -> F:
        """Take a function for a step; it ends with ``if STEPS.waiting is not None: STEPS.let_in()``."""
        self._codes.add(function.__code__)
        return function

    def put_off(self, frame: FrameType | None, action: Callable[[], object]) -> bool:
        """Have `action` called at the end of the step that `frame` is in; False where it is in none."""
        while frame is not None:
            if frame.f_code in self._codes:
                self.waiting = action
                return True
            frame = frame.f_back
        return False

    def let_in(self) -> None:
        """Call what waits. Raises what that raises; does nothing in another than the main thread."""
        __tracebackhide__ = True  # pytest names the line that was interrupted
        action = self.waiting
        if action is not None and threading.current_thread() is threading.main_thread():
            self.waiting = None
            action()


STEPS = Steps()
