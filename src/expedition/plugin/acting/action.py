"""`Action`: a change of an archive that was planned and checked, and is not made before it is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from expedition.archive.rows import RunRow
from expedition.errors import ExperimentError
from expedition.recording import outcomes

_SHOWN = 5


class Action(Protocol):
    """What a ``plan_…`` function returns: nothing was written yet.

    Attributes
    ----------
    question : what a person is asked before it is done, such as ``delete 12 runs (3.4 MB) of 2 experiments?``;
        empty when there is nothing to do.
    problems : what could not be done, one text each. Some are known from the beginning, others come with `apply`;
        the exit status is 1 when there are any at the end.
    """

    problems: list[str]

    @property
    def question(self) -> str:
        """What is asked."""
        ...

    def preview(self) -> Iterator[str]:
        """Yield exactly what `apply` would change, at least one line per run. Nothing is written."""
        ...

    def apply(self) -> Iterator[str]:
        """Do it, and yield a line for each thing when it is done.

        What goes wrong with one run is added to `problems`, and the others go on.
        """
        ...


def refuse_running(rows: Sequence[RunRow], verb: str) -> None:
    """Raise `ExperimentError`, naming them, when runs among `rows` are running, or may be; `verb` is what was asked."""
    at_it = [row for row in rows if row.status in (outcomes.RUNNING, outcomes.UNKNOWN)]
    if not at_it:
        return
    names = ", ".join(name_of(row) for row in at_it[:_SHOWN])
    more = f" and {len(at_it) - _SHOWN:,} more" if len(at_it) > _SHOWN else ""
    is_or_are = "is" if len(at_it) == 1 else "are"
    unknown = any(row.status == outcomes.UNKNOWN for row in at_it)
    elsewhere = " (unknown: of another host, which may still be at it for 24 hours)" if unknown else ""
    raise ExperimentError(
        f"runs that have no end cannot be {verb}: {names}{more} {is_or_are} {' or '.join(_statuses(at_it))}"
        f"{elsewhere}; wait for the end, or leave them out with --archive-select \"status != '{at_it[0].status}'\""
    )


def name_of(row: RunRow) -> str:
    """Return how a message names a run: its experiment's namespace, sweep and folder."""
    if row.sweep_path is None:
        return row.path.name
    inside = row.path.relative_to(row.sweep_path).as_posix()
    parts = [row.namespace, row.sweep_path.name, *([] if inside == "." else [inside])]
    return "/".join(part for part in parts if part and part != ".")


def counted(number: int, thing: str) -> str:
    """Return ``1 run``, ``12 runs``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _statuses(rows: Sequence[RunRow]) -> list[str]:
    return list(dict.fromkeys(row.status for row in rows))
