"""Printing where the output may not have every character, as with ``LC_ALL=C``."""

from __future__ import annotations

import json
import sys


def can_show(text: str) -> bool:
    """Tell whether the standard output has all characters of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def print_text(text: str) -> None:
    """Print a text, with the escapes of JSON for characters that the output does not have."""
    if not can_show(text):
        text = "".join(c if can_show(c) else json.dumps(c)[1:-1] for c in text)
    print(text)
