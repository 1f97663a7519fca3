"""Schedulers for ``--dist loadscope``, ``loadfile`` and ``loadgroup`` that survive the death of a worker.

xdist's own (3.8) give the run that killed its worker to the next worker, and that again, until
``--max-worker-restart``; the other runs of its scope never start. They also queue scopes that are finished already:
the next worker gets such an empty unit, or a single run, and waits for ever for more, since a worker begins a run
only when it knows the next one or that there is none. This is the only module that knows the inside of xdist; where
an xdist is built otherwise, its own schedulers are used.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

_CLASSES = {
    "loadscope": "LoadScopeScheduling",
    "loadfile": "LoadFileScheduling",
    "loadgroup": "LoadGroupScheduling",
}
_METHODS = ("_assign_work_unit", "_pending_of", "_reschedule", "add_node_collection", "remove_node")
_ATTRIBUTES = ("assigned_work", "collection", "nodes", "registered_collections", "workqueue")


class SurvivingSchedulers:
    """Registered on the controller when xdist distributes."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Make the scheduler of a mode with scopes; xdist makes its own where this returns None."""
        import xdist.scheduler

        base = getattr(xdist.scheduler, _CLASSES.get(config.getoption("dist"), ""), None)
        if base is None or not all(callable(getattr(base, name, None)) for name in _METHODS):
            return None
        scheduler = _surviving(base)(config, log)
        return scheduler if all(hasattr(scheduler, name) for name in _ATTRIBUTES) else None


def _surviving(base: Any) -> Any:
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
            crashed: str | None = None
            for scope, unit in workload.items():
                if crashed is None:
                    crashed = next((name for name, completed in unit.items() if not completed), None)
                    if crashed is not None:
                        unit[crashed] = True
                if not all(unit.values()):
                    self.workqueue[scope] = unit
            if crashed is not None:
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
