"""pytest keeps the records of `logging` in memory for its reports; a run has them in its log."""

from __future__ import annotations

import logging


def drop_captured_logs() -> None:
    """Take away, until the end of the present phase, the handlers by which pytest keeps every record of it.

    Of a run that logs millions of lines they would fill the memory. The fixture ``caplog`` needs them.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        # Those for the terminal and for log files (`log_cli`, `log_file`) keep nothing.
        if type(handler).__module__ == "_pytest.logging" and hasattr(handler, "records"):
            root.removeHandler(handler)
