"""Questions that runs asked the archive: recorded with what was found, so that they can be asked again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from expedition.archive.results import PastResults, ResultFinder
from expedition.recording.inputs import QUERY


@dataclass(frozen=True)
class PastQuery:
    """What `ResultFinder.find` is asked; see there."""

    experiment: str
    where: str | None
    sweep: str
    status: tuple[str, ...] | None
    testing: bool

    @classmethod
    def asked(
        cls, experiment: str, where: str | None, sweep: str, status: str | Sequence[str] | None, testing: bool
    ) -> Self:
        """Return the question that these arguments of `ResultFinder.find` mean."""
        statuses = (status,) if isinstance(status, str) else None if status is None else tuple(status)
        return cls(experiment, where, sweep, statuses, testing)

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Self | None:
        """Return the question that a run has recorded, None where it is not a whole one."""
        status = recorded.get("status")
        found = cls(
            experiment=recorded.get("experiment", ""),
            where=recorded.get("where"),
            sweep=recorded.get("sweep", ""),
            status=tuple(status) if isinstance(status, list) else None,
            testing=recorded.get("testing") is True,
        )
        where = "" if found.where is None else found.where
        texts = (found.experiment, found.sweep, where, *(found.status or ()))
        return found if all(isinstance(text, str) for text in texts) and found.experiment else None

    def ask(self, finder: ResultFinder, *, besides: Path | None) -> PastResults:
        """Return what is found now; the sweep folder `besides` is left out. Raises as `ResultFinder.find` does."""
        return finder.find(
            self.experiment,
            self.where,
            sweep=self.sweep,
            status=self.status,
            testing=self.testing,
            besides=besides,
        )

    def described(self, folders: Iterable[str]) -> dict[str, Any]:
        """Return what a run records of the question when the runs in `folders` were found."""
        found = sorted(folders)
        return {
            "kind": QUERY,
            "experiment": self.experiment,
            "where": self.where,
            "sweep": self.sweep,
            "status": self.status,
            "testing": self.testing,
            "runs": len(found),
            "sha256": hash_of(found),
        }


def hash_of(folders: Iterable[str]) -> str:
    """Return the hash by which the runs in these folders, below the archive root, are known together."""
    return hashlib.sha256("\n".join(sorted(folders)).encode("utf-8", "surrogateescape")).hexdigest()
