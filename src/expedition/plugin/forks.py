"""What becomes of a process that code of a run forked, and that comes to the end of what was called for the run."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from types import TracebackType
from typing import Any, NoReturn


class ForksEnd:
    """A block that only the process leaves which has entered it: what that forked inside ends at the end of the block.

    The record, and everything that pytest does after the block, is the business of the one process alone.
    """

    __slots__ = ("_process",)

    def __enter__(self) -> None:
        self._process = os.getpid()

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if os.getpid() != self._process:
            _end(error)


def tear_down(session: Any, following: Any) -> None:
    """Tear down the fixtures that the item `following` does not need, with None all of them."""
    with ForksEnd():
        session._setupstate.teardown_exact(following)


def _end(error: BaseException | None) -> NoReturn:
    """End this process, as Python would end one that `error` left; the run and the session are those of its parent."""
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code & 0xFF)
