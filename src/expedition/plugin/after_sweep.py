"""Calls the function that an experiment file marks with ``@experiment.after_sweep``, and records what it does."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from expedition.archive.commits import latest_commits
from expedition.archive.expansions import append_expansion, read_expansions
from expedition.archive.record import summary_of
from expedition.archive.sweep import SweepFolder
from expedition.authoring.after_sweep import after_sweep_of
from expedition.authoring.design import as_points
from expedition.authoring.growth import PlanGrowth
from expedition.authoring.plan import PlannedRun
from expedition.authoring.project_files import ProjectFiles
from expedition.errors import DamagedError
from expedition.plugin.binding import SweepBinding
from expedition.plugin.calling import recorded
from expedition.plugin.ending import STOPS
from expedition.plugin.exposure import refuse_exposed
from expedition.plugin.past_results import Results, finder_of
from expedition.plugin.publishing import ActiveSweep
from expedition.plugin.run_making import run_log
from expedition.plugin.settings import Settings
from expedition.plugin.signals import Signals
from expedition.plugin.surroundings import Surroundings
from expedition.recording import Run, layout, outcomes
from expedition.recording.attempts import set_aside
from expedition.recording.meta import RunIdentity
from expedition.recording.output import Output
from expedition.recording.seeds import derive_seed

BY_AFTER_SWEEP = "after_sweep "
"""Begins the name of who added points to a sweep, when it was a function after the sweep."""

SUMMARY_ID = "summary"
SUMMARY_INDEX = -1
"""Where a run has its row: a summary has none."""


@dataclass(frozen=True)
class Called:
    """What a call led to: the runs it added to the plan, whether it gave any points, and the error that ended it."""

    runs: list[PlannedRun]
    gave_points: bool
    error: BaseException | None = None


class SummaryListener:
    """Shows what is said while a summary is made."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say

    def said(self, run: Run, message: str) -> None:
        """Show a message."""
        self._say(f"{self._name}: {message}")

    def progressed(self, run: Run, done: int, total: int | None) -> None:
        """Steps are not shown: the live line counts runs."""


class AfterSweep:
    """Calls the functions of an invocation, each with the trajectory and a run that records into ``summary/``."""

    def __init__(
        self, config: pytest.Config, settings: Settings, signals: Signals, say: Callable[[str], None]
    ) -> None:
        self._config = config
        self._settings = settings
        self._signals = signals
        self._say = say
        self._capture = str(config.getoption("capture", "no"))

    def call(self, sweep: ActiveSweep, binding: SweepBinding, growth: PlanGrowth) -> Called:
        """Call the function of a sweep whose trajectory is published.

        What it returns is checked, written to the expansions of the sweep folder, and added to what `growth`
        will add; so is what it (or anybody else) added by `Trajectory.expand`. An error is recorded in the
        summary and returned; an interruption is recorded and goes on. Raises `OSError` when there can be no
        summary.
        """
        function = sweep.plan.after_sweep
        assert function is not None
        run, output = self._make_run(sweep, binding)
        plan, called = sweep.plan, Called([], False)
        surroundings, entry = Surroundings(plan.lineage), function.__code__
        try:
            with recorded(
                run,
                output,
                surroundings,
                plan.parameters,
                entry=entry,
                signals=self._signals,
                is_of_project=ProjectFiles(self._settings.rootdir).has,
            ):
                called = self._call(function, run, sweep, growth)
        except STOPS:
            raise
        except BaseException as failure:
            return Called([], False, failure)
        if run.status == outcomes.FAILED:
            return Called([], False, OSError("\n".join(run.problems)))
        return called

    def _call(self, function: Callable[..., Any], run: Run, sweep: ActiveSweep, growth: PlanGrowth) -> Called:
        from expedition.trajectory import Trajectory

        about = after_sweep_of(function)
        assert about is not None
        with Trajectory.open(sweep.path) as trajectory:
            arguments: list[Any] = [trajectory]
            results = Results(finder_of(self._config), run, testing=sweep.plan.special.testing)
            others = [(about.run_at, run), (about.results_at, results)]
            for position, value in sorted((p, v) for p, v in others if p is not None):
                arguments.insert(position, value)
            returned = function(*arguments)
        by = f"{BY_AFTER_SWEEP}{function.__name__}"
        points = [] if returned is None else as_points(returned, by)
        new = growth.runs_of(points, origin=by)
        refuse_exposed(sweep.plan, new)
        if new:
            # Written before anything of it runs: a resume goes on with it.
            append_expansion(sweep.path, {id(r.point): r.point for r in new}.values(), by=by)
        expansions, end = read_expansions(sweep.path, start=sweep.expansions)
        runs: list[PlannedRun] = []
        if expansions:
            points = [point for expansion in expansions for point in expansion.values()]
            runs = growth.runs_of(points, origin=f"{sweep.path / layout.EXPANSIONS_FILE}")
            refuse_exposed(sweep.plan, runs)
        sweep.expansions = end
        return Called(runs, bool(points))

    def _make_run(self, sweep: ActiveSweep, binding: SweepBinding) -> tuple[Run, Output]:
        plan = sweep.plan
        folder = sweep.path / layout.SUMMARY_FOLDER
        folder.mkdir(exist_ok=True)
        attempt = set_aside(folder) + 1
        identity = RunIdentity(
            index=SUMMARY_INDEX,
            id=SUMMARY_ID,
            key=state_of(binding.sweep),
            replicate=0,
            attempt=attempt,
            seed=derive_seed(self._settings.seed, _seed_identity(binding.sweep)),
            experiment=binding.sweep.manifest["experiment"],
            parameters={name: copy.deepcopy(value) for name, value in plan.fixed.items()},
            tagged=binding.fixed,
            about=binding.about,
            tags=(*plan.tags, *self._settings.tags),
            notes=self._settings.notes,
            folder=folder,
            sweep=sweep.path,
            mask=binding.mask,
        )
        output = run_log(folder, self._capture, binding.mask)
        return Run(identity, None, SummaryListener(plan.name, self._say), output), output


def is_due(sweep: SweepFolder) -> bool:
    """Whether the runs of a sweep have changed since its summary was made, or that did not come to its end."""
    try:
        summary = summary_of(sweep.path)
    except DamagedError:
        return True
    return summary is None or summary.status not in outcomes.SETTLED or summary.key != state_of(sweep)


def state_of(sweep: SweepFolder) -> str:
    """A hash over what the runs of a sweep have come to; a summary has it as its key."""
    states = {}
    for line in latest_commits(sweep):
        states[line["index"]] = f"{line['status']} {line['attempt']}"
    digest = hashlib.sha256()
    for entry in sweep.entries:
        digest.update(f"{entry.key} {states.get(entry.index, outcomes.PENDING)}\n".encode())
    return digest.hexdigest()


def _seed_identity(sweep: SweepFolder) -> str:
    """What the seed of a summary derives from: which runs there are, in whatever order they were added."""
    about = sweep.manifest["experiment"]
    keys = sorted(entry.key for entry in sweep.entries)
    text = "\n".join([about["file"], about["function"], *keys])
    return hashlib.sha256(text.encode()).hexdigest()
