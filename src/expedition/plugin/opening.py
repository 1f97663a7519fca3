"""From collected plans to the sweep folders of an invocation: found again or made, and held while it lasts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from expedition.archive.expansions import Expansion, read_expansions
from expedition.archive.sweep import SweepFolder
from expedition.authoring.plan import SweepPlan
from expedition.errors import ExperimentError
from expedition.plugin import launch
from expedition.plugin.after_sweep import is_due
from expedition.plugin.binding import SweepBinding
from expedition.plugin.collection import PLANNED_RUN, ExperimentCollection, node_of, run_index
from expedition.plugin.debug_runs import DebugRuns
from expedition.plugin.execution import RunExecution
from expedition.plugin.locks import hold_sweep, release
from expedition.plugin.past_runs import PastRuns
from expedition.plugin.publishing import ActiveSweep
from expedition.plugin.refusing import usage_error
from expedition.plugin.settings import Settings
from expedition.plugin.summary import summary_lines
from expedition.plugin.sweeps import (
    Invocation,
    NewRows,
    Resumption,
    create_sweep,
    find_last,
)
from expedition.recording.masking import MASKED, Mask


class SweepOpening:
    """The sweeps of one invocation, on the controller.

    Attributes
    ----------
    sweeps : those in which something is to be done, by the node id of the function.
    resumptions : with ``--resume``, the last sweep of every experiment that has one.
    line : what every line says that this invocation adds to the invocations of a sweep.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        collection: ExperimentCollection,
        execution: RunExecution,
    ) -> None:
        self._config = config
        self._settings = settings
        self._collection = collection
        self._execution = execution
        self._locks: list[Any] = []
        self._debug = DebugRuns()
        self._settled: set[str] = set()
        self.sweeps: dict[str, ActiveSweep] = {}
        self.resumptions: dict[str, Resumption] = {}
        self.line: dict[str, Any] = {}
        collection.expansions = self._expansions
        self._past: PastRuns | None = None

    def _expansions(self, node: str, plan: SweepPlan) -> list[Expansion]:
        """With ``--resume`` find the last sweep of a plan, and what was added to it after its design."""
        if not self._settings.resume or plan.special.debug:
            return []
        try:
            found = find_last(plan, self._settings.archive, hold=not self._config.option.collectonly)
        except ExperimentError as error:
            raise usage_error(error) from None
        if found is None:
            return []
        self.resumptions[node] = found
        self._locks.append(found.lock)
        expansions, found.expansions = read_expansions(found.sweep.path)
        return expansions

    def select_past_runs(self) -> None:
        """With ``--archive-select`` find the past runs that are to run again. Raises `pytest.UsageError`."""
        if self._settings.select is None:
            return
        try:
            past = PastRuns(self._settings.archive, self._settings.select)
        except ExperimentError as error:
            raise usage_error(error) from None
        self._past = past
        self._collection.past_runs = lambda node, plan: past.of(plan)

    def remarks(self) -> list[str]:
        """What the user should know of the past runs that were selected."""
        return [] if self._past is None else self._past.remarks(self._collection.plans.values())

    def leave_out_settled(self, items: list[pytest.Item]) -> None:
        """With ``--resume``, remove the items of runs that need not run again."""
        kept: list[pytest.Item] = []
        settled: list[pytest.Item] = []
        for item in items:
            resumption = self.resumptions.get(node_of(item))
            done = resumption is not None and item.stash[PLANNED_RUN].key in resumption.settled
            (settled if done else kept).append(item)
        if settled:
            self._settled.update(node_of(item) for item in settled)
            self._config.hook.pytest_deselected(items=settled)
            items[:] = kept

    def select(self, items: Iterable[pytest.Item]) -> None:
        """Take note of the runs that are to run, and of the sweeps in which something else is to be done."""
        for item in items:
            self._sweep_of(node_of(item)).selected.add(run_index(item))
        for node in sorted(self._settled - self.sweeps.keys()):
            # Every run is settled; what is called after them may not have been, or not to its end.
            if self._collection.plans[node].after_sweep is not None and is_due(self.resumptions[node].sweep):
                self._sweep_of(node)

    def _sweep_of(self, node: str) -> ActiveSweep:
        if node not in self.sweeps:
            plan = self._collection.plans[node]
            self.sweeps[node] = ActiveSweep(node, plan, set(), resumption=self.resumptions.get(node))
        return self.sweeps[node]

    def open(self) -> None:
        """Make the sweep folders, or go on in those that are resumed. Raises `pytest.UsageError`."""
        mask = Mask(value for plan in self._collection.plans.values() for value in plan.concealed)
        invocation = Invocation(self._settings, self._argv(mask), self._options(), mask=mask)
        invocation.collect()
        self.line = {
            # Runs are told apart by it: which invocation made them. Two may begin in one second.
            "started": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "argv": invocation.argv,
            "options": invocation.options,
            "selected": 0,
            "host": invocation.provenance.get("hostname"),
            "pid": os.getpid(),
        }
        conftests = [
            Path(plugin.__file__)
            for plugin in self._config.pluginmanager.get_plugins()
            if getattr(plugin, "__file__", None) and Path(plugin.__file__).name == "conftest.py"
        ]
        try:
            for sweep in self.sweeps.values():
                self._open_sweep(sweep, invocation, conftests)
        except ExperimentError as error:
            raise usage_error(error) from None
        self.tell()

    def tell(self) -> None:
        """Tell the program that started this pytest, if one did, where the runs are."""
        for node, plan in self._collection.plans.items():
            folder = self.sweeps[node].folder if node in self.sweeps else None
            if node in self.resumptions:
                folder = self.resumptions[node].sweep
            if folder is not None:
                launch.tell_sweep(self._config, node, folder.path, {run.key for run in plan.runs})

    def _open_sweep(self, sweep: ActiveSweep, invocation: Invocation, conftests: list[Path]) -> None:
        resumption = sweep.resumption
        line: dict[str, Any] = {**self.line, "selected": len(sweep.selected)}
        attempts: dict[int, int] = {}
        skip: frozenset[str] = frozenset()
        if resumption is None:
            sweep.folder = create_sweep(sweep.plan, invocation, conftests=conftests, debug=self._debug)
            self._locks.append(hold_sweep(sweep.folder.path))
            sweep.rows = NewRows(sweep.plan, sweep.folder)
        else:
            sweep.folder = resumption.sweep
            sweep.rows = NewRows(sweep.plan, sweep.folder)
            sweep.expansions = resumption.expansions
            rows = sweep.rows.of(sweep.plan.runs, resumption.statuses)
            if rows:
                line["runs"] = rows
                line["parameters"] = sweep.rows.parameters
            if sweep.rows.constants:
                line["constants"] = sweep.rows.constants
            line["provenance"] = invocation.changes_to(sweep.folder)
            attempts = {
                entry.index: resumption.attempts[entry.key]
                for entry in sweep.folder.entries
                if entry.key in resumption.attempts
            }
            skip = resumption.settled
        sweep.folder.add_invocation(line)
        self._execution.bind(SweepBinding(sweep.plan, sweep.folder, attempts, skip))

    def _argv(self, mask: Mask) -> list[str]:
        """The command, without the secrets of all experiments."""
        given = [Path(sys.argv[0]).name, *(str(a) for a in self._config.invocation_params.args)]
        secrets = {name for plan in self._collection.plans.values() for name in plan.secrets}
        if secrets:  # as they are written they may not be what is meant: quotes, escapes, numbers
            assigned = re.compile(rf"((?:-P|--param=)?(?:[\w./-]+:)?(?:{'|'.join(secrets)})=).*", re.DOTALL)
            given = [assigned.sub(rf"\1{MASKED}", a) if assigned.match(a) else a for a in given]
        return [mask.text(argument) for argument in given]

    def _options(self) -> dict[str, Any]:
        option = self._config.option
        options: dict[str, Any] = {"experiment_seed": self._settings.seed}
        if option.where is not None:
            options["where"] = option.where
        if self._settings.select is not None:
            options["archive_select"] = self._settings.select
        if option.keyword:
            options["keyword"] = option.keyword
        if self._settings.overrides:
            options["overrides"] = [
                f"{o.experiment + ':' if o.experiment else ''}{o.name}" for o in self._settings.overrides
            ]
        return options

    def orders(self) -> dict[str, dict[str, Any]]:
        """What a starting worker has to know, by node id: the sweep folders, and which runs it is to leave out."""
        orders: dict[str, dict[str, Any]] = {}
        later = any(sweep.generation for sweep in self.sweeps.values())
        for node, sweep in self.sweeps.items():
            binding = self._execution.bindings[id(sweep.plan)]
            # Of the runs before those of its generation a worker makes no items.
            keys = {run.key for run in sweep.plan.runs[sweep.first :]} if sweep.first else None
            rows = {binding.entries[key].index for key in keys} if keys is not None else None
            orders[node] = {
                "folder": str(sweep.path),
                "expansions": sweep.expansions,
                "first": sweep.first,
                "idle": later and sweep.first >= len(sweep.plan.runs),
                "attempts": {str(i): n for i, n in binding.attempts.items() if rows is None or i in rows},
                "skip": sorted(binding.skip if keys is None else binding.skip & keys),
            }
        for node, resumption in self.resumptions.items():
            if node not in self.sweeps:  # nothing of it is left to run, and the worker has to know
                orders[node] = {
                    "folder": str(resumption.sweep.path),
                    "expansions": resumption.expansions,
                    "first": len(self._collection.plans[node].runs) if later else 0,
                    "idle": later,
                    "attempts": {},
                    "skip": [] if later else sorted(resumption.settled),
                }
        return orders

    def show_debug_runs(self) -> None:
        """Put the folders of debug runs into their place, now that nothing is written any more."""
        for sweep in self.sweeps.values():
            if sweep.plan.special.debug and sweep.folder is not None:
                hidden, place = sweep.path, self._debug.place_of(sweep.path)
                # What stands there may be another one at any moment: it is not read again.
                sweep.summary = self.summary_of(sweep, place=place)
                self._debug.swap_in(hidden)
                sweep.folder = SweepFolder(place, sweep.folder.manifest)

    def summary_of(self, sweep: ActiveSweep, *, place: Path | None = None) -> list[str]:
        """The lines that sum up a sweep at the end; `place` is where its folder will be, if it is to be moved."""
        keys = {run.key for run in sweep.plan.runs}
        base = self._config.invocation_params.dir
        return list(summary_lines(sweep.path, keys=keys, base=base, place=place))

    def release(self) -> None:
        """Give back the sweeps that were held."""
        for lock in self._locks:
            if lock is not None:
                release(lock)
        self._locks.clear()

    def close(self) -> None:
        """Give back all that is held, also where the session did not come to its end."""
        self.release()
        self._debug.release()
