"""pytest keeps the records of `logging` in memory for its reports; a run has them in its log."""

from __future__ import annotations

import logging


def drop_captured_logs() -> list[logging.Handler]:
    """Take away, until the end of the present phase, the handlers by which pytest keeps every record of it.

    Of a run that logs millions of lines they would fill the memory. The fixture ``caplog`` needs them: they are
    returned, to be put back where a run asks for it.
    """
    root = logging.getLogger()
    # Those for the terminal and for log files (`log_cli`, `log_file`) keep nothing.
    dropped = [
        handler
        for handler in root.handlers
        if type(handler).__module__ == "_pytest.logging" and hasattr(handler, "records")
    ]
    for handler in dropped:
        root.removeHandler(handler)
    return dropped
