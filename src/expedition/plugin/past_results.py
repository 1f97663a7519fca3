"""What the fixture ``results`` gives: finished runs, noted as inputs of the run that asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from expedition.archive.past_query import PastQuery
from expedition.archive.results import PastResults, ResultFinder
from expedition.errors import RecordNotFoundError
from expedition.plugin.archive_options import archive_root
from expedition.plugin.live_run import LIVE
from expedition.recording import Run, outcomes
from expedition.recording.inputs import RUN

_FINDER = pytest.StashKey[ResultFinder]()


class Results:
    """Finds finished runs for one run, or for a test, which then is no part of any record."""

    def __init__(self, finder: ResultFinder, run: Run | None = None, *, testing: bool = False) -> None:
        self._finder = finder
        self._run = run
        self._testing = testing

    def __call__(
        self,
        experiment: str,
        where: str | None = None,
        *,
        sweep: str = "latest",
        status: str | Sequence[str] | None = outcomes.DONE,
    ) -> PastResults:
        """Return finished runs of an experiment: a sequence of `RunRecord` with `table`, `to_pandas` and `one`.

        `experiment` is a name, namespace, or ``file.py::function``; `where` an expression such as ``"alpha < 1"``;
        `sweep` is ``"latest"`` (the last one that is whole: all its runs have ended, and it repeats no past runs),
        ``"all"`` (each run once, as it was made last) or the name of one; `status` that of the runs, several in a
        list, or None for any. The sweep of the run that asks is left out, and so are runs of testing mode unless it
        is in that mode. The record of that run names them as its inputs, and what was asked, for ``--resume``.

        Raises `RecordNotFoundError` when there is none, `AmbiguousRunError` when several experiments go by that
        name, `ExperimentError` for a wrong status or expression.
        """
        if self._run is None:
            return self._finder.find(experiment, where, sweep=sweep, status=status, testing=self._testing)
        query = PastQuery.asked(experiment, where, sweep, status, self._testing)
        try:
            found = query.ask(self._finder, besides=self._run.sweep_path)
        except RecordNotFoundError:
            self._run.note_inputs(
                [query.described(())]
            )  # where the run goes on without, it has to be asked again
            raise
        rows = {row.path.relative_to(self._finder.root).as_posix(): row for row in found.rows()}
        runs = [
            {
                "kind": RUN,
                "key": row.key,
                "sweep": row.sweep,
                "folder": folder,
                "status": row.status,
                "attempt": row.attempt,
                "start": row.start,
            }
            for folder, row in rows.items()
        ]
        self._run.note_inputs([*runs, query.described(rows)])
        return found


def results_for(request: pytest.FixtureRequest) -> Results:
    """Return what finds runs for the run or test of a request."""
    live = request.node.stash.get(LIVE, None)
    if live is None:
        return Results(finder_of(request.config))
    return Results(finder_of(request.config), live.run, testing=live.binding.plan.special.testing)


def finder_of(config: pytest.Config) -> ResultFinder:
    """The one that all runs of this process share."""
    if _FINDER not in config.stash:
        config.stash[_FINDER] = ResultFinder(archive_root(config))
    return config.stash[_FINDER]
