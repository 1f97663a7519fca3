"""Finished runs for other work to build on: found by experiment and sweep, read as records or as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from expedition.archive.archive import Archive
from expedition.archive.liveness import is_held
from expedition.archive.record import RunRecord
from expedition.archive.row_names import ArchiveNames
from expedition.archive.rows import CHOICES, RunRow
from expedition.archive.selection import RunSelection
from expedition.archive.sweep import SweepFolder
from expedition.authoring.repeats import DESIGN as REPEATS
from expedition.errors import (
    AmbiguousRunError,
    DamagedError,
    ExperimentError,
    RecordNotFoundError,
    near_matches,
)
from expedition.recording import layout, outcomes

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 6
_ENDED = frozenset({outcomes.DONE, outcomes.FAILED, outcomes.TIMEOUT, outcomes.SKIPPED, outcomes.PRUNED})
"""Outcomes with which a run is over. Those that were interrupted or died are not: ``--resume`` does them again."""


class PastResults(Sequence[RunRecord]):
    """Runs that were found, in the order of their sweeps: a sequence of `RunRecord`, each read when it is asked for."""

    def __init__(self, rows: Sequence[RunRow], asked: str) -> None:
        """`asked` is what they were found by, for messages."""
        self._rows = list(rows)
        self._asked = asked
        self._records: dict[int, RunRecord] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> RunRecord: ...
    @overload
    def __getitem__(self, index: slice) -> PastResults: ...
    def __getitem__(self, index: int | slice) -> RunRecord | PastResults:
        """Return one record, or some of the runs. Raises `IndexError`, `DamagedError`."""
        if isinstance(index, slice):
            return PastResults(self._rows[index], self._asked)
        position = range(len(self._rows))[index]
        if position not in self._records:
            self._records[position] = self._rows[position].record()
        return self._records[position]

    def __repr__(self) -> str:
        return f"<PastResults {self._asked}: {len(self)} runs>"

    def one(self) -> RunRecord:
        """Return the record of the only run. Raises `AmbiguousRunError` unless there is exactly one."""
        if len(self._rows) != 1:
            shown = ", ".join(f"{row.sweep}/{row.id}" for row in self._rows[:_SHOWN])
            more = f" and {len(self._rows) - _SHOWN} more" if len(self._rows) > _SHOWN else ""
            raise AmbiguousRunError(
                f"{self._asked}: one run is wanted, there are {len(self._rows)}{': ' if shown else ''}{shown}{more}; "
                f"say which with where="
            )
        return self[0]

    def rows(self) -> list[RunRow]:
        """Return the row of each run: facts, parameters and short stored values, without reading its folder."""
        return list(self._rows)

    def table(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one dict per run, as `RunSelection.table` does. Raises `RecordNotFoundError` for an unknown column."""
        return self._selection().table(columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return `table` as a frame. Raises `RecordNotFoundError` for an unknown column."""
        return self._selection().to_pandas(columns)

    def _selection(self) -> RunSelection:
        among = self._rows[0].among if self._rows else None
        return RunSelection(lambda: iter(self._rows), lambda: among.all if among is not None else frozenset())


@dataclass(frozen=True)
class _Sweep:
    path: Path
    name: str
    created: str
    experiment: str
    namespace: str
    file: str
    function: str
    testing: bool
    debug: bool
    repeats: bool

    @property
    def names(self) -> tuple[str, ...]:
        """What the experiment may be called."""
        return self.experiment, self.function, self.namespace, f"{self.file}::{self.function}"


class ResultFinder:
    """Finds runs of one archive for others to build on.

    Manifests are read once; sweeps that are new are found at every search. With `is_still` the archive counts as
    unchanged since the first search, so that many of them cost little.
    """

    def __init__(self, root: Path, *, is_still: bool = False) -> None:
        self.root = root
        self._known: dict[Path, _Sweep | None] = {}
        self._folders: Callable[[], list[Path]] = self._sweep_folders
        self._is_still = is_still
        self._last: tuple[tuple[_Sweep, ...], list[RunRow]] = (), []
        self._rows, self._planned = _rows, _planned
        if is_still:
            self._folders = lru_cache(self._folders)
            self._rows, self._planned = lru_cache(maxsize=64)(_rows), lru_cache(maxsize=None)(_planned)

    def find(
        self,
        experiment: str,
        where: str | None = None,
        *,
        sweep: str = "latest",
        status: str | Sequence[str] | None = outcomes.DONE,
        testing: bool = False,
        besides: Path | None = None,
    ) -> PastResults:
        """Return the runs of an experiment, at least one.

        Parameters
        ----------
        experiment : its name, function, namespace, or ``file.py::function``.
        where : expression of the select language that runs must match.
        sweep : ``"latest"``, ``"all"``, or the name of a sweep. ``"latest"`` is the last one that is whole: all runs
            of its design have ended, with whatever outcome but a crash or an interruption. One of which only some runs
            were selected, were deleted, or cannot be read is not whole, and one that repeats past runs never is: half
            of a sweep is not what anybody means. ``"all"`` has these, too; of a run that was made in several sweeps
            the one that began last. Sweeps that an invocation has not finished yet, and debug runs (``"debug"``), are
            found by name alone.
        status : that of the runs, or several; None for any.
        testing : whether runs of testing mode count, too.
        besides : a sweep folder that does not.

        Raises `RecordNotFoundError` when there is none, with what there is; `AmbiguousRunError` when several
        experiments go by that name; `ExperimentError` for a status or an expression that is wrong.
        """
        asked = f"results({experiment!r})"
        statuses = _statuses(status, asked)
        found = self._of_experiment(experiment, asked, besides)
        allowed = [one for one in found if one.path != besides and (testing or not one.testing)]
        chosen, rows = self._chosen(allowed, sweep)
        if not chosen:
            raise RecordNotFoundError(f"{asked}: {self._no_sweep(found, allowed, sweep, besides)}")
        kept = _matching(self._joined(tuple(chosen), rows), where, asked)
        kept = [row for row in kept if statuses is None or row.status in statuses]
        if sweep == "all":
            latest: dict[str, RunRow] = {}
            for row in kept:
                if row.key not in latest or latest[row.key].start <= row.start:
                    latest[row.key] = row
            kept = [row for row in kept if latest[row.key] is row]
        if not kept:
            wanted = [f"status {' or '.join(sorted(statuses))}"] if statuses is not None else []
            wanted += [f"where {where}"] if where is not None else []
            raise RecordNotFoundError(
                f"{asked}: none of the runs has {' and '.join(wanted) or 'been started'}; "
                f"{_there_is(rows, chosen, allowed)}"
            )
        return PastResults(kept, asked)

    def _joined(self, chosen: tuple[_Sweep, ...], rows: Sequence[RunRow]) -> list[RunRow]:
        """The runs of the sweeps that were chosen, each knowing the names that any of them has."""
        if self._is_still and self._last[0] == chosen:
            return self._last[1]
        among = ArchiveNames(lambda: (row.names for row in rows))
        joined = [row.join(among) for row in rows]
        if self._is_still:
            self._last = chosen, joined
        return joined

    def _of_experiment(self, experiment: str, asked: str, besides: Path | None) -> list[_Sweep]:
        if not self.root.is_dir():
            raise RecordNotFoundError(
                f"{asked}: there is no archive at {self.root} yet; run the experiment first"
            )
        sweeps = self._sweeps()
        found = [one for one in sweeps if experiment in one.names]
        if not found:
            others = [one for one in sweeps if one.path != besides]
            names = list(dict.fromkeys(one.experiment for one in others))
            known = [name for one in others for name in one.names]
            there = f"there are runs of {', '.join(names)}" if names else "nothing else was run yet"
            raise RecordNotFoundError(
                f"{asked}: {self.root} has no such experiment{near_matches(experiment, dict.fromkeys(known))}; {there}"
            )
        several = dict.fromkeys(f"{one.file}::{one.function}" for one in found)
        if len(several) > 1:
            raise AmbiguousRunError(f"{asked} means several experiments; say which: {', '.join(several)}")
        return found

    def _sweeps(self) -> list[_Sweep]:
        found = []
        for path in self._folders():
            # The folder of debug runs is one name for many sweeps.
            if path not in self._known or path.name == layout.DEBUG_FOLDER:
                self._known[path] = _read(path)
            one = self._known[path]
            if one is not None:
                found.append(one)
        return sorted(found, key=lambda one: (one.created, one.name))

    def _sweep_folders(self) -> list[Path]:
        return list(Archive(self.root).sweep_folders())

    def _chosen(self, allowed: Sequence[_Sweep], sweep: str) -> tuple[list[_Sweep], list[RunRow]]:
        """The sweeps that are meant, and their runs."""
        if sweep == "latest":
            for one in reversed(allowed):
                if not one.debug and not one.repeats:
                    rows = self._rows(one)
                    if not self._open_runs(one, rows):
                        return [one], rows
            return [], []
        if sweep == "all":
            chosen = [one for one in allowed if not one.debug and not self._is_at_work(one)]
        else:
            chosen = [one for one in allowed if one.name == sweep]
        return chosen, [row for one in chosen for row in self._rows(one)]

    def _open_runs(self, sweep: _Sweep, rows: Sequence[RunRow]) -> int:
        """How many runs of the design have not ended: begun or not, or nobody can tell."""
        return self._planned(sweep) - sum(row.status in _ENDED for row in rows)

    def _is_at_work(self, sweep: _Sweep) -> bool:
        """Whether an invocation has runs of it to do."""
        if not is_held(sweep.path / layout.JOURNALS_FOLDER / "invocation.lock"):
            return False
        open_ones = (outcomes.PENDING, outcomes.RUNNING, outcomes.UNKNOWN)
        begun = sum(row.status not in open_ones for row in self._rows(sweep))
        return begun != self._planned(sweep)

    def _no_sweep(
        self, found: Sequence[_Sweep], allowed: Sequence[_Sweep], sweep: str, besides: Path | None
    ) -> str:
        names = [one.name for one in allowed]
        if names and sweep not in ("latest", "all"):
            return f"it has no sweep {sweep!r}{near_matches(sweep, names)}; sweeps: {_listed(names)}"
        left_out = [
            *(["that of this run itself"] if any(one.path == besides for one in found) else []),
            *(["some in testing mode"] if any(one.testing for one in found) else []),
            *(["debug runs, which sweep='debug' finds"] if any(one.debug for one in allowed) else []),
        ]
        partial = [one for one in allowed if not one.debug]
        left_out += [f"{one.name}, {self._why_partial(one)}" for one in partial[-_SHOWN:]]
        if len(partial) > _SHOWN:
            left_out.append(f"{len(partial) - _SHOWN} earlier ones that are not whole, either")
        remedy = ""
        if partial:
            can_go_on = any(not one.repeats and not self._is_at_work(one) for one in partial[-_SHOWN:])
            complete = "complete one with --resume, or " if can_go_on else ""
            remedy = f"; {complete}name the one that is meant: sweep={partial[-1].name!r}"
            remedy += ", or sweep='all' for the runs of all of them" if sweep == "latest" else ""
        return f"it has no sweep but {' and '.join(left_out)}{remedy}" if left_out else "it has no sweep"

    def _why_partial(self, sweep: _Sweep) -> str:
        """Why a sweep is not taken unless it is named."""
        if sweep.repeats:
            return "which repeats past runs"
        if self._is_at_work(sweep):
            return "which an invocation has not finished"
        number = self._open_runs(sweep, self._rows(sweep))
        return f"of which {number} of {self._planned(sweep)} runs have not ended"


def _read(path: Path) -> _Sweep | None:
    try:
        manifest = SweepFolder.open(path).manifest
    except DamagedError:
        return None
    about = manifest["experiment"]
    return _Sweep(
        path,
        path.name,
        str(manifest.get("created", "")),
        experiment=str(about.get("name", "")),
        namespace=str(about.get("namespace", "")),
        file=str(about.get("file", "")),
        function=str(about.get("function", "")),
        testing=bool(about.get("testing")),
        debug=bool(about.get("debug")),
        repeats=(manifest.get("design") or {}).get("kind") == REPEATS,
    )


def _statuses(status: str | Sequence[str] | None, asked: str) -> frozenset[str] | None:
    if status is None:
        return None
    found = frozenset([status] if isinstance(status, str) else status)
    for one in found:
        if one not in outcomes.STATUSES:
            raise ExperimentError(
                f"{asked}: there is no status {one!r}{near_matches(str(one), outcomes.STATUSES)}; "
                f"it is one of {', '.join(outcomes.STATUSES)}, or None for any"
            )
    return found


def _rows(sweep: _Sweep) -> list[RunRow]:
    return list(Archive(sweep.path).rows())


def _planned(sweep: _Sweep) -> int:
    """How many runs its design has, with those that were added."""
    return len(SweepFolder.open(sweep.path).entries)


def _matching(rows: Sequence[RunRow], where: str | None, asked: str) -> list[RunRow]:
    if where is None:
        return list(rows)
    from expedition.authoring.expressions import check_names, compile_expression

    try:
        expression = compile_expression(where, choices=CHOICES)
        kept = [row for row in rows if expression.matches(row.value)]
        known = frozenset().union(*(row.names for row in rows)) if rows else frozenset[str]()
        if known and not set(expression.names) <= known:
            check_names(expression, known)
    except ExperimentError as error:
        raise ExperimentError(f"{asked}: where={error}") from None
    return kept


def _there_is(rows: Iterable[RunRow], chosen: Sequence[_Sweep], allowed: Sequence[_Sweep]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    there = ", ".join(f"{count} {status}" for status, count in counts.items()) or "no run that was started"
    place = f"the sweep {chosen[0].name} has" if len(chosen) == 1 else f"its {len(chosen)} sweeps have"
    others = [one.name for one in allowed if one not in chosen and not one.debug]
    return f"{place} {there}" + (f"; other sweeps: {_listed(others)}" if others else "")


def _listed(names: Sequence[str]) -> str:
    last = list(names[-_SHOWN:])
    return ", ".join(last) + (f" and {len(names) - _SHOWN} earlier ones" if len(names) > _SHOWN else "")
