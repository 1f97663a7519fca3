"""The loop of a worker whose controller gives out runs one at a time.

The workers of xdist begin an item only when they know the next one, so that a run waits behind a long one while
another worker is idle. Here a worker begins what it is given. When that ends, it keeps all fixtures but those of the
function until it is told more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import pytest

from expedition.plugin.collection import PLAN
from expedition.plugin.concealing import conceal_report
from expedition.plugin.execution import RunExecution
from expedition.plugin.forks import tear_down

ORDER = "expedition_one_by_one"
"""In the input of a worker: whether this loop is to take the place of that of xdist."""


class Inbox:
    """The indices of the items that a worker is to run; filled by the thread that hears the controller."""

    def __init__(self) -> None:
        self._items: deque[int] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, indices: Sequence[int]) -> None:
        """Append indices."""
        with self._changed:
            self._items.extend(indices)
            self._changed.notify()

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def next(self) -> int | None:
        """Wait for the next index and take it; None when nothing more comes."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            return self._items.popleft() if self._items else None

    @property
    def is_closed(self) -> bool:
        """Whether nothing more comes."""
        return self._closed


class NextItem(pytest.Item):
    """Stands for the item after the present one; what it needs is asked when fixtures are torn down, and not before."""

    chain: Callable[[], list[Any]]

    def runtest(self) -> None:
        """It is never run."""

    def listchain(self) -> list[Any]:
        """The nodes whose fixtures stay."""
        return self.chain()


class WorkerLoop:
    """Registered in a worker whose controller gives out runs one at a time: takes the place of xdist's loop."""

    def __init__(self, execution: RunExecution) -> None:
        self._execution = execution
        self._inbox = Inbox()
        self._interactor: Any = None
        self._items: list[pytest.Item] = []
        self._current: pytest.Item | None = None
        self._next: NextItem

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run what the controller sends, until it says that there is no more."""
        self._items = session.items
        self._next = NextItem.from_parent(session, name="next")
        self._next.chain = self._chain
        self._interactor = _interactor_of(session.config)
        self._interactor.channel.setcallback(self._hear, endmarker=None)
        try:
            while not (session.shouldfail or session.shouldstop):
                index = self._inbox.next()
                if index is None:
                    break
                self._run(session, index)
        finally:
            self._inbox.close()
        self._tear_down(session, None)
        return True

    def _run(self, session: pytest.Session, index: int) -> None:
        item = self._items[index]
        self._tear_down(session, item)
        self._current = item
        self._interactor.item_index = index
        begin = perf_counter()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=self._next)
        self._interactor.sendevent(
            "runtest_protocol_complete", item_index=index, duration=perf_counter() - begin
        )

    def _hear(self, command: tuple[str, dict[str, Any]] | None) -> None:
        """Take a command of the controller, in the thread that hears it; None when the controller is gone."""
        name, arguments = command or ("shutdown", {})
        if name == "runtests":
            self._inbox.put(arguments["indices"])
        elif name == "shutdown":
            self._inbox.close()

    def _chain(self) -> list[Any]:
        """The nodes that the next item needs: while more may come, those around the present one."""
        if self._inbox.is_closed or self._current is None:
            return []
        return [*self._current.listchain()[:-1], self._next]

    def _tear_down(self, session: pytest.Session, following: pytest.Item | None) -> None:
        """Tear down what the next item does not need; what goes wrong is an error of the item before it."""
        last = self._current
        if last is None:
            return
        call = pytest.CallInfo.from_call(
            lambda: tear_down(session, following),
            when="teardown",
            reraise=(KeyboardInterrupt, pytest.exit.Exception),
        )
        if call.excinfo is not None:
            report = pytest.TestReport.from_item_and_call(last, call)
            conceal_report(report, self._execution.bindings[id(last.stash[PLAN])].mask)
            session.config.hook.pytest_runtest_logreport(report=report)


def _interactor_of(config: pytest.Config) -> Any:
    """The part of xdist that speaks to the controller."""
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "WorkerInteractor":
            return plugin
    raise RuntimeError("this worker is not built as its pytest-xdist says; use --dist loadfile")
