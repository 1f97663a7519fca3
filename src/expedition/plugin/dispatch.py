"""The scheduler for ``--dist load`` and ``worksteal``: it gives a worker one run at a time.

Its workers run the loop of `worker_loop`. What both expect of the inside of xdist (3.7, 3.8) is checked here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from expedition.plugin.restarts import Restarts
from expedition.plugin.run_queue import RunQueue

_EXPECTED = {
    "xdist.remote:WorkerInteractor": ("sendevent", "pytest_runtest_logreport", "handle_command"),
    "xdist.workermanage:WorkerController": ("send_runtest_some", "shutdown", "shutting_down"),
    "xdist.workermanage": ("parse_tx_spec_config",),
    "xdist.report": ("report_collection_diff",),
}
_USED_BY_INTERACTOR = ("channel", "item_index", "session")


def can_dispatch() -> bool:
    """Whether xdist is built as this module expects."""
    from importlib import import_module

    try:
        for place, names in _EXPECTED.items():
            module, _, name = place.partition(":")
            found = import_module(module)
            found = getattr(found, name) if name else found
            if not all(hasattr(found, one) for one in names):
                return False
        interactor = import_module("xdist.remote").WorkerInteractor
        functions = [vars(interactor).get(n) for n in ("__init__", "run_one_test", "pytest_sessionstart")]
        used = {name for f in functions for name in f.__code__.co_names}
    except (ImportError, AttributeError):
        return False
    return used.issuperset(_USED_BY_INTERACTOR)


class RunScheduling:
    """Gives every worker one run whenever it is free; what xdist calls a scheduler.

    `queue_of` makes the queue when all workers have collected the same `ids`; `begun` are node ids of which a worker
    has told that it begins them.
    """

    def __init__(
        self,
        config: pytest.Config,
        queue_of: Callable[[Sequence[str]], RunQueue],
        restarts: Restarts,
        begun: set[str],
    ) -> None:
        from xdist.workermanage import parse_tx_spec_config

        self._config = config
        self._queue_of = queue_of
        self._restarts = restarts
        self._begun = begun
        self._expected = len(parse_tx_spec_config(config))
        self._collected: dict[Any, list[str]] = {}
        self._held: dict[Any, int | None] = {}
        self._never_begun: set[int] = set()
        self._ids: list[str] | None = None
        self._queue = RunQueue([])

    # -- what xdist asks -----------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Any]:
        """The workers that are ready."""
        return list(self._held)

    @property
    def collection_is_completed(self) -> bool:
        """Whether as many workers have collected as there are to be."""
        return len(self._collected) >= self._expected

    @property
    def tests_finished(self) -> bool:
        """Whether no run waits and none is under way."""
        return self.collection_is_completed and not self.has_pending

    @property
    def has_pending(self) -> bool:
        """Whether a run waits or is under way."""
        return len(self._queue) > 0 or any(index is not None for index in self._held.values())

    # -- what xdist tells ----------------------------------------------------------------------------------

    def add_node(self, node: Any) -> None:
        """A worker is ready, and begins to collect."""
        self._held[node] = None

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """A worker has collected; a replacement that has collected other runs is sent home."""
        if self._ids is not None and list(collection) != self._ids:
            text = f"worker {node.gateway.id} replaces a crashed one, but collected other runs; was a file changed?"
            self._refuse(node, text)
            node.shutdown()
            if all(other.shutting_down for other in self._held):
                self._queue.clear()  # nobody is left who could run these; the session ends
            return
        self._collected[node] = list(collection)

    def schedule(self) -> None:
        """All workers have collected, or one that replaces another."""
        if self._ids is None:
            if not self._agree():
                return
            self._ids = next(iter(self._collected.values()))
            self._queue = self._queue_of(self._ids)
        self._feed_all()

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """A worker has ended a run."""
        self._held[node] = None
        if self._queue:
            self._feed(node)
        else:
            self._feed_all()

    def mark_test_pending(self, item: str) -> None:
        """A plugin wants a run to run again."""
        assert self._ids is not None
        self._queue.put(self._ids.index(item))
        self._feed_all()

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:
        """A worker gives runs back: none has one that it has not begun."""

    def remove_node(self, node: Any) -> str | None:
        """A worker is gone; return the run that it was at, unless that is begun again."""
        held = self._held.pop(node)
        self._queue.forget(node)
        if self._ids is None:
            self._collected.pop(node, None)  # its replacement is to be waited for
            return None
        crashed = self._lost(held, node) if held is not None else None
        self._feed_all()
        return crashed

    # -- decisions -----------------------------------------------------------------------------------------

    def _lost(self, index: int, node: Any) -> str | None:
        """Have the run that a dead worker had wait again; return it when its death is its end."""
        assert self._ids is not None
        name = self._ids[index]
        if name not in self._begun and index not in self._never_begun:
            self._never_begun.add(index)  # the worker died between two runs; for once, that costs none
            self._queue.put(index)
            return None
        if self._restarts.has_settled(name):
            return None
        if not self._restarts.allows(name, node.gateway.id):
            return name
        self._begun.discard(name)
        # At first it may have been bad luck; a run that kills its workers lets the others go before.
        self._queue.put(index, last=self._restarts.crashes_of(name) > 1)
        return None

    def _feed_all(self) -> None:
        for node in list(self._held):
            self._feed(node)
        if self._queue:
            return
        for node in self._held:
            if self._is_at_work(node):
                node.shutdown()  # told now, a worker tears its fixtures down within its last run

    def _feed(self, node: Any) -> None:
        if not self._queue or self._held[node] is not None or not self._is_at_work(node):
            return
        index = self._held[node] = self._queue.take(node, workers=len(self._held))
        with contextlib.suppress(OSError):  # it has just died; what it has now comes back by `remove_node`
            node.send_runtest_some([index])

    def _is_at_work(self, node: Any) -> bool:
        """Whether a worker has collected, and has not been told that nothing more comes."""
        return node in self._collected and not node.shutting_down

    def _agree(self) -> bool:
        """Whether all workers have collected the same; else it is reported, and nothing runs."""
        from xdist.report import report_collection_diff

        (first, ids), *others = self._collected.items()
        agree = True
        for node, collected in others:
            text = report_collection_diff(ids, collected, first.gateway.id, node.gateway.id)
            if text:
                agree = False
                self._refuse(node, text)
        return agree

    def _refuse(self, node: Any, text: str) -> None:
        report = pytest.CollectReport(nodeid=node.gateway.id, outcome="failed", longrepr=text, result=[])
        self._config.hook.pytest_collectreport(report=report)
