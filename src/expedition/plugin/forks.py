"""What becomes of a process that an experiment forked, and that comes to the end of the experiment's function."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import NoReturn


def end_fork(error: BaseException | None) -> NoReturn:
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
