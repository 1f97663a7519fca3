"""What collection finds wrong with experiment files and options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth a warning.

    Attributes
    ----------
    text : what it is, what was expected, and the remedy.
    path : the file that is collected; None where it is an option.
    file : `path` as messages show it; `line` of it, 0 where it is not known.
    """

    text: str
    path: Path | None = None
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.text}" if place else self.text
