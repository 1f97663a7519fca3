"""The schedulers of this plugin for pytest-xdist, and the modes that they are for.

``--dist load`` and ``worksteal`` give out runs one at a time (`dispatch`). For ``loadscope``, ``loadfile`` and
``loadgroup`` there are schedulers that survive the death of a worker: xdist's own (3.8) give the run that killed its
worker to the next worker, and that again, until ``--max-worker-restart``; the other runs of its scope never start.
They also queue scopes that are finished already: the next worker gets such an empty unit, or a single run, and waits
for ever for more, since a worker begins a run only when it knows the next one or that there is none. Where an xdist is
built otherwise than expected, its own schedulers are used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from expedition.authoring.plan import SweepPlan
from expedition.plugin.collection import PLAN
from expedition.plugin.dispatch import RunScheduling, can_dispatch
from expedition.plugin.restarts import Restarts
from expedition.plugin.run_queue import QueuedRun, RunQueue
from expedition.plugin.worker_loop import ORDER

_ONE_BY_ONE = ("load", "worksteal")
_CLASSES = {
    "loadscope": "LoadScopeScheduling",
    "loadfile": "LoadFileScheduling",
    "loadgroup": "LoadGroupScheduling",
}
_METHODS = ("_assign_work_unit", "_pending_of", "_reschedule", "add_node_collection", "remove_node")
_ATTRIBUTES = ("assigned_work", "collection", "nodes", "registered_collections", "workqueue")
_SHARED_SCOPES = ("class", "module", "package")


class Schedulers:
    """Registered on the controller when xdist distributes."""

    def __init__(self, config: pytest.Config, archive: Path, restarts: Restarts) -> None:
        self._config = config
        self._archive = archive
        self._restarts = restarts
        self._begun: set[str] = set()
        self._places: dict[int, str] = {}
        self._one_by_one = config.getoption("dist") in _ONE_BY_ONE and can_dispatch()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take note of the files whose runs share fixtures."""
        for item in items:
            plan = item.stash[PLAN]
            if id(plan) not in self._places:
                self._places[id(plan)] = item.nodeid.partition("::")[0] if _shares_fixtures(item) else ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a starting worker which loop it is to run."""
        node.workerinput[ORDER] = self._one_by_one

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Make the scheduler of a generation of runs; xdist makes its own where this returns None."""
        mode = config.getoption("dist")
        if self._one_by_one:
            return RunScheduling(config, self._queue_of, self._restarts, self._begun)
        scheduler = self._surviving(config, log, _CLASSES.get(mode, ""))
        if scheduler is None and config.get_verbosity() > 0:
            reporter = config.pluginmanager.get_plugin("terminalreporter")
            if reporter is not None:
                reporter.write_line(
                    f"this pytest-xdist is built otherwise than expected, so --dist {mode} is its own: runs may wait "
                    "behind a long one, and are not begun again when their worker dies"
                )
        return scheduler

    def _surviving(self, config: pytest.Config, log: Any, name: str) -> Any:
        import xdist.scheduler

        base = getattr(xdist.scheduler, name, None)
        if base is None or not all(callable(getattr(base, name, None)) for name in _METHODS):
            return None
        scheduler = _surviving(base, self._restarts)(config, log)
        return scheduler if all(hasattr(scheduler, name) for name in _ATTRIBUTES) else None

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A worker begins a run."""
        self._begun.add(nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: pytest.TestReport) -> None:
        """Have ``-x`` and ``--maxfail`` count a run whose worker died, which xdist leaves out."""
        count = getattr(self._config.pluginmanager.get_plugin("dsession"), "_handlefailures", None)
        if callable(count):
            count(report)

    def _queue_of(self, ids: Sequence[str]) -> RunQueue:
        """Make the queue of the collected items: longest first, unless the user asked for an order."""
        from expedition.plugin.past_durations import past_durations

        self._begun.clear()  # a generation has no item of another one
        found = [self._restarts.run_of(node_id) for node_id in ids]
        plans: dict[int, SweepPlan] = {id(one[0].plan): one[0].plan for one in found if one is not None}
        order = {plan: number for number, plan in enumerate(plans)}
        places = [(order[id(one[0].plan)], one[1].index) for one in found if one is not None]
        option = self._config.option
        asked = getattr(option, "failedfirst", False) or getattr(option, "newfirst", False)
        ordered = asked or places != sorted(places)
        known = {} if ordered else {key: past_durations(plan, self._archive) for key, plan in plans.items()}
        queued = [
            QueuedRun()
            if one is None
            else QueuedRun(
                known.get(id(one[0].plan), {}).get(one[1].key),
                self._places.get(id(one[0].plan), ""),
            )
            for one in found
        ]
        return RunQueue(queued, ordered=ordered)


def _shares_fixtures(item: pytest.Item) -> bool:
    """Whether an item uses fixtures that are set up once for all that follow each other."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = getattr(info, "name2fixturedefs", {}).values()
    return any(one.scope in _SHARED_SCOPES for several in definitions for one in several)


def _surviving(base: Any, restarts: Restarts) -> Any:
    """Derive from a scheduler of xdist one that never gives a run to a second worker."""

    class Surviving(base):  # type: ignore[misc]
        """Every unit of `workqueue` has a run that is not completed; none holds one that was begun."""

        def add_node_collection(self, node: Any, collection: Any) -> None:
            """Send a replacement home that collected other runs, for instance since a file was changed."""
            super().add_node_collection(node, collection)
            if node in self.registered_collections:
                return
            text = f"worker {node.gateway.id} replaces a crashed one, but collected other runs; was a file changed?"
            report = pytest.CollectReport(nodeid=node.gateway.id, outcome="failed", longrepr=text, result=[])
            self.config.hook.pytest_collectreport(report=report)
            node.shutdown()
            if all(other.shutting_down for other in self.nodes):
                self.workqueue.clear()  # nobody is left who could run these; the session ends

        def remove_node(self, node: Any) -> str | None:
            """Return the run that a dead worker was at, and queue what it had not begun."""
            workload = self.assigned_work.pop(node)
            if self.collection is None:
                self.registered_collections.pop(node, None)  # its replacement is to be waited for
            at_work = True
            crashed: str | None = None
            for scope, unit in workload.items():
                name = next((name for name, completed in unit.items() if not completed), None)
                if at_work and name is not None:
                    at_work = False
                    if restarts.has_settled(name):
                        unit[name] = True
                    elif not restarts.allows(name, node.gateway.id):
                        unit[name] = True
                        crashed = name
                if not all(unit.values()):
                    self.workqueue[scope] = unit
            if not at_work:
                for other in self.nodes:
                    self._reschedule(other)
            return crashed

        def _reschedule(self, node: Any) -> None:
            if node not in self.registered_collections:
                return  # a replacement that still collects
            super()._reschedule(node)
            # A worker that knows of one run only does not begin it, and so nobody would ask again.
            while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
                if self.workqueue:
                    self._assign_work_unit(node)
                else:
                    node.shutdown()

        def _assign_work_unit(self, node: Any) -> None:
            # To one that has just died nothing can be sent; what it has now comes back by `remove_node`.
            with contextlib.suppress(OSError):
                super()._assign_work_unit(node)

    Surviving.__name__ = Surviving.__qualname__ = f"Surviving{base.__name__}"
    return Surviving
