"""How a command ends: exit statuses as those of pytest, and messages with the names of the console script."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import IO, Any

import click

from expedition.errors import ExpeditionError

USAGE = 4
"""Exit status of a usage error."""
INTERRUPTED = 2

_VERB = re.compile(
    r"(?:pytest )?--archive-(list|tail|overview|show|diff|scan"
    r"|delete|restore|purge|compress|import|modify|export|repair)(?![\w-])"
)
_OPTION = re.compile(r"--archive-(select|sort|columns|limit|format|output|all|dry-run|yes)(?![\w-])")


class Refusal(click.ClickException):
    """A message for whoever called, and the exit status of a usage error."""

    exit_code = USAGE

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on the standard error."""
        from expedition.reporting.printing import print_text

        print_text(f"ERROR: {self.message}", sys.stderr)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn errors of the package into a `Refusal`."""
    try:
        yield
    except ExpeditionError as error:
        raise Refusal(spelled(str(error))) from None


def spelled(text: str) -> str:
    """Return a message with the options of the console script in the place of those of pytest."""
    return _OPTION.sub(r"--\1", _VERB.sub(r"expedition archive \1", text))
