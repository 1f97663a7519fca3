"""Generations of runs: what after_sweep functions add to a sweep is run too, until they add no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from expedition.plugin.after_sweep import AfterSweep, Called
from expedition.plugin.collection import ExperimentCollection, run_index
from expedition.plugin.execution import RunExecution
from expedition.plugin.forks import tear_down
from expedition.plugin.publishing import ActiveSweep, Publisher
from expedition.plugin.respawn import can_respawn, run_again

if TYPE_CHECKING:
    from expedition.plugin.live import Progress


class Continuation(pytest.Item):
    """Stands for the item after the last one: fixtures of the session stay as they are between generations."""

    def runtest(self) -> None:
        """It is never run."""


class LocalLoop:
    """Registered where a sweep may grow and its runs run in this process: takes the place of pytest's own loop."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all items, but keep the fixtures of the session for those to come."""
        self._generations.run_local(session)
        return True


class Generations:
    """Runs the loop of an invocation: all runs, the after_sweep functions, the runs they added, and so on.

    Attributes
    ----------
    failures : by the name of an experiment the error that ended its after_sweep function.
    """

    def __init__(
        self,
        config: pytest.Config,
        collection: ExperimentCollection,
        execution: RunExecution,
        publisher: Publisher,
        caller: AfterSweep,
        say: Callable[[str], None],
        limit: int,
    ) -> None:
        self._config = config
        self._collection = collection
        self._execution = execution
        self._publisher = publisher
        self._caller = caller
        self._say = say
        self._limit = limit
        self.failures: dict[str, BaseException] = {}

    def run_local(self, session: pytest.Session) -> None:
        """Run the items of the session in this process, as pytest does, but keep its fixtures for later ones."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            word = "error" if session.testsfailed == 1 else "errors"
            raise session.Interrupted(f"{session.testsfailed} {word} during collection")
        self._run_items(session, session.items)

    def go_on(
        self,
        session: pytest.Session,
        sweeps: Mapping[str, ActiveSweep],
        progress: Progress,
        line: dict[str, Any],
    ) -> None:
        """Call the after_sweep functions of `sweeps`, whose runs have ended, and run what they add.

        `line` is what every invocation line says. An interruption ends it all.
        """
        waiting = [sweep for sweep in sweeps.values() if sweep.plan.after_sweep is not None]
        while waiting:
            items: list[pytest.Item] = []
            grown: list[ActiveSweep] = []
            for sweep in sweeps.values():
                sweep.first = len(sweep.plan.runs)
            for sweep in waiting:
                added = self._grow(session, sweep, line)
                if added:
                    grown.append(sweep)
                    items += added
            if items:
                progress.grow(len(items))
                self._run(session, items)
            waiting = grown

    def _grow(
        self, session: pytest.Session, sweep: ActiveSweep, line: Mapping[str, Any]
    ) -> list[pytest.Item]:
        """Call the function of one sweep; return the items that it leads to."""
        name = sweep.plan.name
        if sweep.unfinished:
            self._publisher.say(
                f"{name}: its after_sweep function was not called, since {sweep.unfinished} selected runs did not "
                f"finish"
            )
            return []
        binding = self._execution.bindings[id(sweep.plan)]
        try:
            if not self._publisher.publish(sweep):  # the last file does not know what has ended since
                raise OSError(f"it was not called, since the trajectory of {sweep.path} could not be written")
            called = self._caller.call(sweep, binding, self._collection.growth_of(sweep.node))
            if called.error is None:
                return self._items(session, sweep, called, line)
            error = called.error
        except OSError as refused:  # by the disk: that ends this sweep, and not the others
            error = refused
        self.failures[name] = error
        text = binding.mask.text(str(error)).partition("\n")[0]
        self._say(f"FAILED after_sweep of {name}: {type(error).__name__}: {text}")
        return []

    def _items(
        self, session: pytest.Session, sweep: ActiveSweep, called: Called, line: Mapping[str, Any]
    ) -> list[pytest.Item]:
        name = sweep.plan.name
        if not called.runs:
            if called.gave_points:
                self._say(f"{name}: its after_sweep function returned points that are all there already")
            return []
        if sweep.generation + 1 >= self._limit:
            self._publisher.say(
                f"{name}: {len(called.runs)} runs that its after_sweep function added were not begun, since an "
                f"invocation runs {self._limit} generations at most (ini experiment_max_generations); --resume "
                f"goes on with them"
            )
            return []
        if not self._can_run():
            self._publisher.say(
                f"{name}: this pytest-xdist cannot start workers again for the {len(called.runs)} runs that its "
                f"after_sweep function added; --resume goes on with them"
            )
            return []
        items = self._collection.add(sweep.node, called.runs)
        self._config.hook.pytest_collection_modifyitems(session=session, config=self._config, items=items)
        sweep.generation += 1
        sweep.selected.update(run_index(item) for item in items)
        self._add_rows(sweep, called, len(items), line)
        left_out = len(called.runs) - len(items)
        self._say(
            f"{name}: generation {sweep.generation}, {len(items)} new {'run' if len(items) == 1 else 'runs'}"
            f"{f' ({left_out} not selected)' if left_out else ''}"
        )
        return items

    def _add_rows(self, sweep: ActiveSweep, called: Called, selected: int, line: Mapping[str, Any]) -> None:
        binding = self._execution.bindings[id(sweep.plan)]
        assert sweep.folder is not None
        assert sweep.rows is not None
        added: dict[str, Any] = {
            **line,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "selected": selected,
            "generation": sweep.generation,
            "runs": sweep.rows.of(called.runs, binding.entries),
        }
        if sweep.rows.constants:
            added["constants"] = sweep.rows.constants
        sweep.folder.add_invocation(added)
        binding.update()

    @property
    def _distributed(self) -> bool:
        return self._config.pluginmanager.has_plugin("dsession")

    def _can_run(self) -> bool:
        return not self._distributed or can_respawn(self._config)

    def _run(self, session: pytest.Session, items: Sequence[pytest.Item]) -> None:
        if self._distributed:
            run_again(self._config, session)  # workers collect for themselves
            return
        session.items = list(items)
        session.testscollected += len(items)
        self._run_items(session, items)

    def _run_items(self, session: pytest.Session, items: Sequence[pytest.Item]) -> None:
        last = Continuation.from_parent(session, name="after_sweep")
        for number, item in enumerate(items, 1):
            following = items[number] if number < len(items) else last
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    def tear_down(self, session: pytest.Session) -> None:
        """Tear down the fixtures that were kept; what goes wrong there is reported like any other error."""
        items = session.items
        if not items or not hasattr(session, "_setupstate") or self._distributed:
            return
        call = pytest.CallInfo.from_call(lambda: tear_down(session, None), when="teardown")
        if call.excinfo is not None:
            report = pytest.TestReport.from_item_and_call(items[-1], call)
            self._config.hook.pytest_runtest_logreport(report=report)
