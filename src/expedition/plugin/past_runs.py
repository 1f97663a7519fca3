"""Past runs that are to run again: those of the archive that ``--archive-select`` names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from expedition.archive import Archive
from expedition.archive.rows import DAMAGED, RunRow
from expedition.archive.sweep import SweepFolder
from expedition.authoring.plan import SweepPlan
from expedition.authoring.repeats import PastRun
from expedition.errors import DamagedError, ExperimentError, RecordNotFoundError
from expedition.recording import outcomes


class PastRuns:
    """The runs of the archive `root` that match the expression `select`, read once.

    Raises `ExperimentError` when there is no archive, and for an expression that is wrong.
    """

    def __init__(self, root: Path, select: str) -> None:
        self._root = root
        self._select = select
        self._unreadable: list[str] = []
        self._busy: list[str] = []
        self._rows: dict[tuple[str, str, bool], dict[str, RunRow]] = {}
        self._names: dict[tuple[str, str], str] = {}
        try:
            archive = Archive(root)
            rows = list(archive.rows(select))
        except RecordNotFoundError as error:
            raise ExperimentError(f"--archive-select: {error}") from None
        except ExperimentError as error:
            raise ExperimentError(f"--archive-select: {error}") from None
        self._sort(rows)

    def of(self, plan: SweepPlan) -> list[PastRun]:
        """Return those of an experiment, in the mode in which it is to run; the last of each that ran repeatedly.

        Raises `ExperimentError` for a run that cannot be read any more.
        """
        rows = self._rows.get((plan.file, plan.function, plan.special.testing), {})
        return [self._past_run(row) for row in rows.values()]

    def remarks(self, plans: Iterable[SweepPlan]) -> list[str]:
        """What of the selection does not run again, and why."""
        taken = {(plan.file, plan.function): plan for plan in plans}
        found: list[str] = []
        if not self._rows and not self._unreadable and not self._busy:
            return [f"--archive-select: no run of {self._root} matches {self._select!r}"]
        for (file, function, testing), rows in self._rows.items():
            plan = taken.get((file, function))
            count = f"{len(rows)} selected runs" if len(rows) != 1 else "1 selected run"
            if plan is None:
                name = self._names[file, function]
                found.append(
                    f"{count} of {name} ({file}::{function}) left out: the experiment is not collected here"
                )
            elif plan.special.testing != testing:
                how = (
                    "made in testing mode; --testing repeats them" if testing else "not made in testing mode"
                )
                found.append(f"{count} of {plan.name} left out: {how}")
        if self._busy:
            found.append(f"left out, still running: {_listed(self._busy)}")
        if self._unreadable:
            found.append(f"left out, cannot be read: {_listed(self._unreadable)}")
        return found

    def _sort(self, rows: Sequence[RunRow]) -> None:
        experiments: dict[Path, Mapping[str, object] | None] = {}
        for row in rows:
            about = self._experiment_of(row, experiments)
            if about is None:
                self._unreadable.append(self._place(row))
                continue
            if row.status == outcomes.RUNNING:
                self._busy.append(self._place(row))
                continue
            file, function = str(about.get("file", "")), str(about.get("function", ""))
            self._names[file, function] = row.experiment
            group = self._rows.setdefault((file, function, row.testing), {})
            known = group.get(row.key)
            if known is None or known.start <= row.start:
                group[row.key] = row

    @staticmethod
    def _experiment_of(
        row: RunRow, known: dict[Path, Mapping[str, object] | None]
    ) -> Mapping[str, object] | None:
        """What is recorded of the experiment of a run; None where it cannot be read."""
        if row.status == DAMAGED:
            return None
        place = row.sweep_path or row.path
        if place not in known:
            try:
                manifest = row.record().meta if row.sweep_path is None else SweepFolder.open(place).manifest
                known[place] = manifest["experiment"]
            except (DamagedError, RecordNotFoundError):
                known[place] = None
        return known[place]

    def _past_run(self, row: RunRow) -> PastRun:
        values = row.parameters
        if any(name.startswith("params/") for name in row.left_out):
            try:
                parameters = row.record().meta["parameters"]
            except (DamagedError, RecordNotFoundError) as error:
                raise ExperimentError(f"--archive-select: {error}") from None
            values = {name: about["value"] for name, about in parameters.items()}
        repeats = {"key": row.key, "sweep": row.sweep, "folder": self._place(row)}
        return PastRun(row.id, row.key, row.replicate, values, repeats["folder"], repeats)

    def _place(self, row: RunRow) -> str:
        return row.path.relative_to(self._root).as_posix()


def planned_again(sweep: SweepFolder) -> list[PastRun]:
    """Return the past runs that the sweep folder `sweep` repeats, from its manifest, with what is to run now."""
    return [
        PastRun(
            entry.id,
            entry.key,
            entry.replicate,
            sweep.parameters_of(entry),
            entry.id,
            row.get("repeats", {}),
        )
        for entry, row in zip(sweep.entries, sweep.manifest["runs"], strict=False)
    ]


def _listed(places: Sequence[str], most: int = 3) -> str:
    return ", ".join(places[:most]) + (f" and {len(places) - most} more" if len(places) > most else "")
