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
from expedition.authoring.experiment_code import ExperimentCode
from expedition.authoring.plan import SweepPlan
from expedition.errors import ExpeditionError, ExperimentError
from expedition.plugin import launch
from expedition.plugin.after_sweep import BY_AFTER_SWEEP, is_due
from expedition.plugin.binding import SweepBinding
from expedition.plugin.collection import PLANNED_RUN, ExperimentCollection, node_of, run_index
from expedition.plugin.debug_runs import DebugRuns
from expedition.plugin.execution import RunExecution
from expedition.plugin.experiment_codes import ExperimentCodes, changed_code, contents_of
from expedition.plugin.locks import hold_sweep, release
from expedition.plugin.past_runs import PastRuns
from expedition.plugin.publishing import ActiveSweep
from expedition.plugin.refusing import usage_error
from expedition.plugin.resumption import Resumption, find_given, find_last, place_of_sweep
from expedition.plugin.settings import Settings
from expedition.plugin.staleness import StalenessCheck, explain
from expedition.plugin.summary import summary_lines
from expedition.plugin.sweeps import Invocation, NewRows, create_sweep
from expedition.recording import outcomes
from expedition.recording.masking import MASKED, Mask
from expedition.recording.seeds import derive_seed


class SweepOpening:
    """The sweeps of one invocation, on the controller.

    Attributes
    ----------
    sweeps : those in which something is to be done, by the node id of the function.
    resumptions : with ``--resume``, the last sweep of every experiment that has one, or the sweep that was named.
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
        self._codes = ExperimentCodes(settings.rootdir)
        self._first: dict[str, pytest.Item] = {}
        self._contents: dict[str, dict[str, str]] = {}
        self._given: Path | None = None
        self._others: dict[str, str] = {}
        self._check = StalenessCheck(settings.archive, settings.rootdir)

    def _expansions(self, node: str, plan: SweepPlan) -> list[Expansion]:
        """With ``--resume`` find the last sweep of a plan, and what was added to it after its design."""
        if not self._settings.resume or (plan.special.debug and self._settings.resume_from is None):
            return []
        try:
            found = self._find(plan, hold=not self._config.option.collectonly)
        except ExpeditionError as error:
            raise usage_error(error) from None
        if not isinstance(found, Resumption):
            self._others[node] = found or "there is none"
            return []
        found.force = self._settings.force
        self.resumptions[node] = found
        self._locks.append(found.lock)
        expansions, found.expansions = read_expansions(found.sweep.path)
        for one in expansions:
            if one.by.startswith(BY_AFTER_SWEEP):
                found.chosen[one.by] = found.chosen.get(one.by, 0) + len(one.points)
        return expansions

    def _find(self, plan: SweepPlan, *, hold: bool) -> Resumption | str | None:
        """The sweep to go on with; None where there is none, and why the one that was named is not one of the plan."""
        name, archive = self._settings.resume_from, self._settings.archive
        if name is None:
            return find_last(plan, archive, hold=hold)
        if self._given is None:
            self._given = place_of_sweep(name, archive, self._config.invocation_params.dir)
        return find_given(plan, self._given, hold=hold)

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

    @property
    def code_problems(self) -> list[str]:
        """Why the code of experiments cannot be told."""
        return self._codes.problems

    def leave_out_settled(self, items: list[pytest.Item]) -> None:
        """With ``--resume``, remove the items of runs that need not run again.

        With ``--resume-from`` all items of experiments of which the sweep is not one. Raises `pytest.UsageError` when
        it is none of any.
        """
        self._refuse_others()
        for item in items:
            self._first.setdefault(node_of(item), item)
        for node, resumption in self.resumptions.items():
            self._judge(node, resumption)
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        is_given = self._settings.resume_from is not None
        for item in items:
            node = node_of(item)
            found = self.resumptions.get(node)
            if found is None:
                (left_out if is_given else kept).append(item)
            elif item.stash[PLANNED_RUN].key in found.settled:
                left_out.append(item)
                self._settled.add(node)
            else:
                kept.append(item)
        if left_out:
            self._config.hook.pytest_deselected(items=left_out)
            items[:] = kept
        if not self._config.pluginmanager.has_plugin("dsession"):
            # What has ended this process before may do it again: the others have their turn first.
            items.sort(key=self._may_end_the_process)

    def _may_end_the_process(self, item: pytest.Item) -> bool:
        resumption = self.resumptions.get(node_of(item))
        if resumption is None:
            return False
        return resumption.statuses.get(item.stash[PLANNED_RUN].key) in (outcomes.TIMEOUT, outcomes.CRASHED)

    def _refuse_others(self) -> None:
        if self._settings.resume_from is None or self.resumptions or not self._others:
            return
        plans = self._collection.plans
        why = "; ".join(f"{plans[n].file}::{plans[n].function}: {text}" for n, text in self._others.items())
        raise usage_error(
            ExperimentError(
                f"--resume-from {self._settings.resume_from}: {self._given} is no sweep of what was collected: {why}; "
                f"name the file of its experiment, or another sweep (the run column of pytest --archive-list has their "
                f"references)"
            )
        )

    def _judge(self, node: str, resumption: Resumption) -> None:
        """Find out which settled runs of a sweep are stale."""
        if node not in self._first:
            return
        code = self._code_of(node)
        plan = self._collection.plans[node]
        planned = {run.key: run for run in plan.runs}
        recorded = {key: resumption.recorded[key] for key in planned if key in resumption.recorded}
        paired = ", and replicates share their seeds" if plan.paired else ""
        resumption.staleness = self._check.of(
            resumption.sweep,
            recorded,
            code,
            seed_of=lambda key: derive_seed(self._settings.seed, plan.seed_identity(planned[key])),
            about_seed=f"the seed was another: experiment_seed is {self._settings.seed}{paired}",
            ignore_code=self._settings.ignore_code,
        )

    def _code_of(self, node: str) -> ExperimentCode | None:
        """The code of an experiment of which there are items, None where it cannot be told."""
        item = self._first.get(node)
        return self._codes.of(item, self._collection.plans[node]) if item is not None else None

    def about_stale(self, node: str) -> list[str]:
        """What is to be said of the stale runs of a sweep that is resumed, with ``--why-stale`` what has changed."""
        resumption, plan = self.resumptions[node], self._collection.plans[node]
        found, code = resumption.staleness, self._code_of(node)
        lines: list[str] = []
        if found.unknown and not self._settings.ignore_code:
            runs = "1 settled run was" if found.unknown == 1 else f"{found.unknown} settled runs were"
            lines.append(f"{plan.name}: {runs} recorded without the code; it counts as unchanged")
        for place, number in found.missing.items():
            runs = "1 settled run" if number == 1 else f"{number} settled runs"
            lines.append(
                f"{plan.name}: the input {place} of {runs} is not there any more; "
                f"{'it is left as it is' if number == 1 else 'they are left as they are'}"
            )
        if found.reasons:
            lines += [
                f"{plan.name}: {'1 point' if number == 1 else f'{number} points'}, chosen by {by} from results so far, "
                f"{'stays' if number == 1 else 'stay'}; only a sweep without --resume chooses anew"
                for by, number in resumption.chosen.items()
            ]
            kept = len(found.reasons.keys() - self._selected_keys(node))
            if kept:
                runs = "1 stale run is" if kept == 1 else f"{kept} stale runs are"
                lines.append(
                    f"{plan.name}: {runs} not selected, and {'keeps its' if kept == 1 else 'keep their'} old record"
                )
            if not self._settings.why_stale:
                runs = "1 run is" if len(found.reasons) == 1 else f"{len(found.reasons)} runs are"
                lines.append(
                    f"{plan.name}: {runs} stale, since code, inputs or seeds have changed; --why-stale tells what, "
                    f"--ignore-code takes the code for unchanged"
                )
                return lines
            names = {run.key: run.id or plan.function for run in plan.runs}
            mask = Mask(value for each in self._collection.plans.values() for value in each.concealed)
            lines += explain(
                plan.name,
                resumption.sweep,
                found,
                code,
                root=self._settings.rootdir,
                label_of=names.__getitem__,
                mask=mask,
            )
        return lines

    def _selected_keys(self, node: str) -> set[str]:
        runs = self._collection.plans[node].runs
        return {runs[index].key for index in self.sweeps[node].selected} if node in self.sweeps else set()

    def select(self, items: Iterable[pytest.Item]) -> None:
        """Take note of the runs that are to run, and of the sweeps in which something else is to be done."""
        for item in items:
            node = node_of(item)
            self._first.setdefault(node, item)
            self._sweep_of(node).selected.add(run_index(item))
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
        invocation = Invocation(self._settings, self._argv(mask), self._options(mask), mask=mask)
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
        again: dict[int, int] = {}
        code = self._code_of(sweep.node)
        if resumption is None:
            sweep.folder = create_sweep(
                sweep.plan, invocation, code, conftests=conftests, debug=self._debug, hold=self._hold
            )
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
            skip, again = resumption.settled, resumption.again
            if code is not None:
                changed = changed_code(sweep.folder, code, invocation.mask)
                line.update({"code": changed} if changed else {})
        sweep.folder.add_invocation(line)
        digest = code.digest if code is not None else ""
        if code is not None and self._config.pluginmanager.has_plugin("dsession"):
            self._contents[sweep.node] = contents_of(code.files)
        is_run = any(entry.folder == "." for entry in sweep.folder.entries[:1])
        copy = invocation.copy_of(sweep.plan.file) if is_run and sweep.selected else b""
        self._execution.bind(SweepBinding(sweep.plan, sweep.folder, attempts, skip, digest, again, copy))

    def _hold(self, path: Path) -> None:
        self._locks.append(hold_sweep(path))

    def _argv(self, mask: Mask) -> list[str]:
        """The command, without the secrets of all experiments."""
        given = [Path(sys.argv[0]).name, *(str(a) for a in self._config.invocation_params.args)]
        secrets = {name for plan in self._collection.plans.values() for name in plan.secrets}
        if secrets:  # as they are written they may not be what is meant: quotes, escapes, numbers
            assigned = re.compile(rf"((?:-P|--param=)?(?:[\w./-]+:)?(?:{'|'.join(secrets)})=).*", re.DOTALL)
            given = [assigned.sub(rf"\1{MASKED}", a) if assigned.match(a) else a for a in given]
        return [mask.text(argument) for argument in given]

    def _options(self, mask: Mask) -> dict[str, Any]:
        option = self._config.option
        options: dict[str, Any] = {"experiment_seed": self._settings.seed}
        if option.where is not None:
            options["where"] = mask.text(option.where)
        if self._settings.select is not None:
            options["archive_select"] = self._settings.select
        if option.keyword:
            options["keyword"] = mask.text(option.keyword)
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
                "again": {str(i): n for i, n in binding.again.items() if rows is None or i in rows},
                "code": binding.code,
                "files": self._contents.get(node, {}),
                "copy": binding.copy,
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
                    "again": {},
                    "code": "",
                    "files": {},
                    "copy": b"",
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
