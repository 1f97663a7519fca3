"""Printing of reports where the output may not have every character (``LC_ALL=C``), or may be closed at any time."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from typing import TextIO

from expedition.reporting.plain_text import printable


def can_show(text: str, stream: TextIO | None = None) -> bool:
    """Tell whether the standard output, or `stream`, has all characters of a text."""
    try:
        text.encode((stream or sys.stdout).encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def print_text(text: str, stream: TextIO | None = None, *, end: str = "\n", exact: bool = False) -> None:
    """Print a text at once, with the escapes of JSON for characters that the output does not have.

    All that is said passes here, and whatever it quotes: what cannot be seen is written as `printable` does. A text
    for programs, such as CSV, is `exact` unless the output is a terminal.

    When the reader has gone, as `head` has when it has seen enough, this and all that is printed later is dropped:
    what is printed as it is done must not end what is being done.
    """
    stream = stream or sys.stdout
    if not exact or stream.isatty():
        text = printable(text)
    if not can_show(text, stream):
        absent = {character for character in set(text) if not can_show(character, stream)}
        text = text.translate({ord(character): json.dumps(character)[1:-1] for character in absent})
    try:
        stream.write(f"{text}{end}")
        stream.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def terminal_width() -> int | None:
    """Return the columns of the terminal that the standard output is, None where it is none."""
    try:
        is_terminal = sys.stdout.isatty()
    except ValueError:  # closed
        return None
    return shutil.get_terminal_size().columns if is_terminal else None
