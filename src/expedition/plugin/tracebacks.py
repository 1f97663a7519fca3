"""What of a traceback is the user's."""

from __future__ import annotations

_MACHINERY = ("expedition", "pytest", "_pytest", "pluggy")


def is_without_user_code(error: BaseException) -> bool:
    """Tell whether no line of the user is in a traceback: what it would show is how pytest calls this package."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] not in _MACHINERY:
            return False
        trace = trace.tb_next
    return True


def end_in_user_code(error: BaseException) -> None:
    """Cut the frames of this package from the end of a traceback: the mistake is in the line that called it."""
    last = trace = error.__traceback__
    while trace is not None:
        if not trace.tb_frame.f_globals.get("__name__", "").startswith("expedition."):
            last = trace
        trace = trace.tb_next
    if last is not None:
        last.tb_next = None
