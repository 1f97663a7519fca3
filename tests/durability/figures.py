"""The figures that comparisons of an archive come to, and what they found in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

FIGURES = "figures of durability"
"""Under this name a report carries what a test found."""


@dataclass
class Figures:
    """What comparisons found: `lost`, `torn` and `false` are counts, `findings` says each of them in words.

    `slowest` are the most seconds from a signal to the end of the processes.
    """

    faults: int = 0
    records: int = 0
    lost: int = 0
    torn: int = 0
    false: int = 0
    slowest: float = 0.0
    findings: list[str] = field(default_factory=list)

    def numbers(self) -> dict[str, float]:
        """The counts by name, for a report."""
        return {name: value for name, value in vars(self).items() if name != "findings"}

    @classmethod
    def sum(cls, several: Iterable[Mapping[str, Any]]) -> Figures:
        """Add up the numbers of several tests."""
        total = cls()
        for numbers in several:
            for name, value in numbers.items():
                before = getattr(total, name)
                setattr(total, name, max(before, value) if name == "slowest" else before + value)
        return total

    def line(self) -> str:
        return (
            f"faults tried {self.faults}, records acknowledged {self.records}, lost {self.lost}, "
            f"torn {self.torn}, false statuses {self.false}"
        )

    def is_clean(self) -> bool:
        return not (self.lost or self.torn or self.false)

    def note(self, kind: str, text: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        self.findings.append(f"{kind}: {text}")
