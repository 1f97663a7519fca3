"""Nested runs: an experiment that a run calls is recorded as a run of its own, in a folder of that run."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from expedition.archive.record import RunRecord
from expedition.authoring.analysis import Analysis, analyses_of
from expedition.authoring.holding import HeldVariables
from expedition.authoring.identity import folder_name, run_key
from expedition.authoring.lineage import Lineage
from expedition.authoring.parameters import RUN_FIXTURES, describe_parameters, secret_values
from expedition.authoring.project_files import ProjectFiles
from expedition.authoring.single import SinglePlan, plan_single
from expedition.authoring.special import Special, special_of
from expedition.errors import ExperimentError, RunFailedError, near_matches
from expedition.plugin.analysis import RunAnalyses
from expedition.plugin.calling import call_between_hooks, recorded
from expedition.plugin.child_code import ChildCodes
from expedition.plugin.exposure import refuse_exposed_values
from expedition.plugin.nested_hooks import NestedHooks
from expedition.plugin.nested_lookup import lineage_of_child
from expedition.plugin.run_making import RunMaker
from expedition.plugin.settings import Settings, relative_file
from expedition.plugin.signals import Signals
from expedition.plugin.surroundings import Surroundings
from expedition.recording import Run, layout, outcomes
from expedition.recording.masking import MASKED, Mask
from expedition.recording.meta import RunIdentity
from expedition.recording.output import Output
from expedition.recording.run import RunListener
from expedition.recording.seeds import derive_seed
from expedition.values import encode

ORIGIN = "run_child"
"""Where a parameter that a parent gave has its value from."""


@dataclass
class Level:
    """A run in progress, and what of it has to make room for a child.

    `mask` hides the secrets of this run, of those that it is nested in and of its children; `applied` are the names
    of the hooks that it or a child applied; `namespace` is that of the sweep.
    """

    run: Run
    lineage: Lineage
    special: Special
    held: HeldVariables
    output: Output
    mask: Mask
    applied: set[str]
    namespace: str
    listener: RunListener | None


class _NestedListener:
    """What a child says is said by its parent."""

    def __init__(self, parent: Run, name: str, listener: RunListener) -> None:
        self._parent, self._name, self._listener = parent, name, listener

    def said(self, run: Run, message: str) -> None:
        self._listener.said(self._parent, f"{self._name}: {message}")

    def progressed(self, run: Run, done: int, total: int | None) -> None:
        """The steps that are shown are those of the parent."""


@dataclass
class NestedRuns:
    """Runs the children of the runs of this process.

    Attributes
    ----------
    levels : the run in progress, then those that are nested in it.
    failed_analyses : what failed of the analyses of children since the run in progress began.
    """

    config: pytest.Config
    settings: Settings
    signals: Signals
    analyses: RunAnalyses
    maker: RunMaker
    levels: list[Level] = field(default_factory=list)
    failed_analyses: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._codes = ChildCodes(self.settings.rootdir)

    def run_child(
        self, parent: Run, experiment: Any, params: Mapping[str, Any], *, beside: Path
    ) -> RunRecord:
        """Run an experiment inside of `parent`; a path is relative to the file `beside`. See `Run.run_child`."""
        if not self.levels or self.levels[-1].run is not parent:
            raise ExperimentError(
                f"run_child: {parent!r} is not the run in progress, and cannot run children now"
            )
        level = self.levels[-1]
        # What the child sees of the variables of its files is what it would see on its own.
        with level.held.suspended():
            lineage = lineage_of_child(
                level.lineage, experiment, beside=beside, includes=self.settings.includes
            )
            special = special_of(lineage, testing=level.special.testing, caching=level.special.caching)
            file = relative_file(lineage.own.source.path, self.settings.rootdir)
            plan = plan_single(lineage, file=file, given=params, origin=ORIGIN, special=special)
            plugins = self.config.pluginmanager.get_plugins()
            hooks = NestedHooks(lineage, plugins)
            self._refuse_fixtures(plan, hooks)
            outer = self.levels[0].lineage
            codes = self._codes.inputs(outer, lambda: NestedHooks(outer, plugins), lineage, hooks)
            parent.note_inputs(codes)
            return self._run(level, plan, hooks)

    # -- what is run ---------------------------------------------------------------------------------------

    def _refuse_fixtures(self, plan: SinglePlan, hooks: NestedHooks) -> None:
        marks = [
            mark
            for function in (plan.lineage.body, plan.lineage.own.function)
            for mark in getattr(function, "pytestmark", ())
        ]
        used = [name for mark in marks if mark.name == "usefixtures" for name in mark.args]
        for name in (*used, *plan.fixtures):
            if name not in RUN_FIXTURES:
                raise ExperimentError(
                    f"{plan.name} ({plan.file}) asks for the fixture {name!r}{near_matches(name, plan.parameters)}, "
                    f"and a nested run has no fixtures of pytest; make it a parameter, or call what it does"
                )
        for name in (
            "before_run",
            "after_run",
            "on_timeout",
            *(["before_testing"] if plan.special.testing else []),
        ):
            hooks.check(name)

    # -- the run -------------------------------------------------------------------------------------------

    def _run(self, level: Level, plan: SinglePlan, hooks: NestedHooks) -> RunRecord:
        lineage = plan.lineage
        secrets = secret_values(plan.parameters, plan.values)
        mask = level.mask.joined(secrets)
        refuse_exposed_values(
            plan.name, [{name: v for name, v in plan.values.items() if name not in plan.secrets}], mask
        )
        for outer in self.levels:  # what a child raises, logs or returns comes to those that it is nested in
            outer.mask.add(secrets)
        analyses = analyses_of(lineage)
        identity = self._identity(level, plan, mask, analyses)
        listener = (
            _NestedListener(level.run, plan.name, level.listener) if level.listener is not None else None
        )
        run, output = self.maker.make(
            identity, listener=listener, hooks=hooks, caching=plan.special.caching, children=self
        )
        surroundings = Surroundings(lineage)
        own = Level(
            run,
            lineage,
            plan.special,
            surroundings.held,
            output,
            mask,
            hooks.applied,
            level.namespace,
            listener,
        )
        with self.signals:
            level.output.release()
        try:
            self.levels.append(own)
            try:
                if analyses:
                    self.analyses.write_script(run)
                is_good = self._execute(own, surroundings, plan, hooks)
            finally:
                self.levels.pop()
            if analyses and is_good:
                self.failed_analyses += self.analyses.call(run, lineage, analyses, mask, plan.secrets)
        finally:
            level.run.note_inputs_of(run)
            level.applied |= hooks.applied
            level.run.stale.extend(run.stale)
            with self.signals:
                level.output.redirect()
        return RunRecord(run.path, sweep=run.sweep_path)

    def _identity(
        self, level: Level, plan: SinglePlan, mask: Mask, analyses: Sequence[Analysis]
    ) -> RunIdentity:
        folder = level.run.path / layout.CHILDREN_FOLDER
        folder.mkdir(exist_ok=True)
        index = len(os.listdir(folder))
        folder = folder / folder_name(index, plan.function, sharded=False)
        folder.mkdir()
        lineage = plan.lineage
        experiment: dict[str, Any] = {
            "name": plan.name,
            "file": plan.file,
            "function": plan.function,
            "namespace": level.namespace,
            "description": mask.text(lineage.description),
            "tags": list(lineage.tags),
        }
        if references := [one.reference(self.settings.rootdir) for one in analyses]:
            experiment["analysis"] = references
        for name in ("testing", "version"):
            if getattr(plan.special, name):
                experiment[name] = getattr(plan.special, name)
        paired = lineage.replicates[1]
        source = run_key(plan.file, plan.function, {}, 0) if paired else plan.key
        return RunIdentity(
            index=index,
            id=plan.id,
            key=plan.key,
            replicate=0,
            attempt=0,
            seed=derive_seed(self.settings.seed, source),
            experiment=experiment,
            parameters={name: copy.deepcopy(value) for name, value in plan.values.items()},
            tagged={
                name: MASKED if name in plan.secrets else encode(value, name=name)
                for name, value in plan.values.items()
            },
            about=describe_parameters(plan.parameters, plan.origins),
            tags=(*lineage.tags, *self.settings.tags),
            notes=self.settings.notes,
            folder=folder,
            sweep=level.run.sweep_path,
            mask=mask,
            is_nested=True,
        )

    def _execute(self, own: Level, surroundings: Surroundings, plan: SinglePlan, hooks: NestedHooks) -> bool:
        """Run the function and end the record; return whether the run was good. Raises what the function raised."""
        run, entry = own.run, inspect.unwrap(plan.lineage.body).__code__
        try:
            with recorded(
                run,
                own.output,
                surroundings,
                plan.parameters,
                entry=entry,
                signals=self.signals,
                is_of_project=ProjectFiles(self.settings.rootdir).has,
            ) as ending:
                try:
                    call_between_hooks(
                        plan.lineage.body,
                        dict.fromkeys(plan.fixtures, run),
                        run,
                        plan.parameters,
                        hooks,
                        name=plan.function,
                        testing=plan.special.testing,
                    )
                except pytest.xfail.Exception as failure:
                    ending.expect(failure)
        except (outcomes.FailRun, pytest.fail.Exception) as failure:
            raise RunFailedError(f"{plan.name} failed: {failure}") from failure
        if run.status == outcomes.FAILED:
            raise RunFailedError(
                f"the record of {plan.name} could not be completed:\n" + "\n".join(run.problems)
            )
        return run.status == outcomes.DONE and not ending.expected_failure
