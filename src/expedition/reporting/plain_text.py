"""Text of unknown origin as plain characters, and as many of them as there is room for.

What a run stored or printed may contain anything: sequences that move the cursor of a terminal, characters that turn
the direction of writing. None of it reaches the terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from expedition.reporting.fitting import text_width

__all__ = ["fold", "log_line", "pad", "plain", "plain_lines", "printable", "printable_json"]

_TERMINAL_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, movements of the cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links, pictures
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_TAB = 8


def plain(text: str) -> str:
    """Return a text in one line; characters that cannot be seen are written as ``\\n``, ``\\x1b``, ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def plain_lines(text: str) -> list[str]:
    """Return the lines of a text, each as `plain` has it, with blanks for tabs."""
    return [plain(line.rstrip("\r").expandtabs(_TAB)) for line in text.rstrip("\n").split("\n")]


def printable(text: str) -> str:
    """Return a text of several lines, each as `plain` has it; blanks stand for tabs."""
    if text.isprintable():
        return text
    return "\n".join(plain(line.removesuffix("\r").expandtabs(_TAB)) for line in text.split("\n"))


def log_line(text: str) -> str:
    """Return a line of an output as a terminal would leave it, without colours.

    Of a progress bar, which begins the line anew with a carriage return, the last state is left.
    """
    if text.isprintable():
        return text
    text = _TERMINAL_SEQUENCE.sub("", text).rstrip("\r").rpartition("\r")[2]
    return plain(text.expandtabs(_TAB))


def printable_json(text: str) -> str:
    """Return JSON text in which characters that cannot be seen are escapes, as all below U+0020 are anyway."""
    if text.isprintable() or (text.isascii() and "\x7f" not in text):
        return text
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return a plain text with blanks up to `width` columns, in front of it if it is to stand `right`."""
    blanks = " " * (width - text_width(text))
    return f"{blanks}{text}" if right else f"{text}{blanks}"


def fold(text: str, width: int | None) -> Iterator[str]:
    """Yield a plain text in lines of at most `width` columns, broken at blanks where there are some.

    Nothing but the blank at a break is lost. None: in one line.
    """
    if width is None:
        yield text
        return
    width = max(width, 2)
    while text_width(text) > width:
        head = _head(text, width)
        if text[len(head)] == " ":
            space = len(head)
        else:
            space = head.rfind(" ")
        if space > 0 and head[:space].strip():
            yield text[:space]
            text = text[space + 1 :]
        else:
            yield head
            text = text[len(head) :]
    yield text


def _head(text: str, width: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += text_width(character)
        if used > width:
            return text[: max(position, 1)]
    return text


def _escape(character: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    if known is not None:
        return known
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
