"""Runs whose worker died: which of them are begun again, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from expedition.archive.recovery import look_at
from expedition.authoring.plan import PlannedRun
from expedition.plugin.publishing import ActiveSweep
from expedition.plugin.retries import RETRIED, retries_of
from expedition.plugin.settings import Settings
from expedition.recording import outcomes

_OPEN = frozenset({outcomes.PENDING, outcomes.RUNNING, outcomes.UNKNOWN})


class Restarts:
    """Says of a run whose worker died whether it is begun again, as often as ``retries`` allows.

    Of the workers that xdist starts anew (``--max-worker-restart``) the restarts of runs use half at the most: a run
    that kills every worker does not take the sweep down.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        sweeps: Mapping[str, ActiveSweep],
        say: Callable[[str], None],
        count: Callable[[ActiveSweep, int, str, float, str, str], None],
    ) -> None:
        self._config = config
        self._settings = settings
        self._sweeps = sweeps
        self._say = say
        self._count = count
        self._size = -1
        self._runs: dict[str, tuple[ActiveSweep, PlannedRun]] = {}
        self._crashes: Counter[str] = Counter()
        self._restarted = 0

    def run_of(self, node_id: str) -> tuple[ActiveSweep, PlannedRun] | None:
        """The sweep and the run of an item, None when it is no item of this invocation."""
        size = sum(len(sweep.plan.runs) for sweep in self._sweeps.values())
        if self._size != size:  # an after_sweep function adds runs
            self._size = size
            self._runs = {
                f"{node}[{run.id}]" if run.id else node: (sweep, run)
                for node, sweep in self._sweeps.items()
                for run in sweep.plan.runs
            }
        found = self._runs.get(node_id)
        # With --dist loadgroup the name of the group stands behind.
        return found if found is not None else self._runs.get(node_id.rpartition("@")[0])

    def end_of(self, node_id: str) -> str | None:
        """The status in the record of the run of an item whose worker is gone; None where it has no end.

        Only an attempt of this invocation counts: the worker may have died before it began one, and then the record
        is that of an earlier attempt.
        """
        found = self.run_of(node_id)
        if found is None or found[0].folder is None:
            return None
        sweep, run = found
        folder = sweep.folder
        assert folder is not None
        entry = next((entry for entry in folder.entries if entry.key == run.key), None)
        looked = look_at(folder, entry) if entry is not None else None
        if looked is None or looked.status in _OPEN:
            return None
        first = sweep.resumption.attempts.get(run.key, 0) if sweep.resumption is not None else 0
        return looked.status if looked.meta["attempt"] >= first else None

    def has_settled(self, node_id: str) -> bool:
        """Whether the run of an item settled before its worker died; it is counted then, though nobody reported it."""
        found, status = self.run_of(node_id), self.end_of(node_id)
        if found is None or status not in outcomes.SETTLED:
            return False
        self._count(found[0], found[1].index, status, 0.0, "", node_id)
        return True

    def allows(self, node_id: str, worker: str) -> bool:
        """Whether the run of an item that killed its worker is begun again; says so, and counts it."""
        found = self.run_of(node_id)
        if found is None or self._is_stopping():
            return False
        retries = retries_of(found[0].plan, self._settings)
        self._crashes[node_id] += 1
        crashes = self._crashes[node_id]
        if crashes > retries:
            return False
        limit = self._worker_limit()
        if limit is not None and self._restarted >= limit // 2:
            self._say(
                f"{node_id} is not begun again: restarts use at most half of the {limit} workers that "
                f"--max-worker-restart allows to replace"
            )
            return False
        self._restarted += 1
        died = f"its worker {worker} died"
        if self.end_of(node_id) == outcomes.TIMEOUT:
            died = f"it did not end when its time was over, so that its worker {worker} was ended"
        self._say(f"RETRY {node_id}: {died} (attempt {crashes + 1} of {retries + 1})")
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter._add_stats(RETRIED, [node_id])
        return True

    def crashes_of(self, node_id: str) -> int:
        """How many workers the run of an item has killed."""
        return self._crashes[node_id]

    def _is_stopping(self) -> bool:
        """Whether the session comes to its end before all runs have ended: by ``-x``, or by a signal."""
        return bool(getattr(self._config.pluginmanager.get_plugin("dsession"), "shouldstop", False))

    def _worker_limit(self) -> int | None:
        given: Any = getattr(self._config.option, "maxworkerrestart", None)
        if given is not None:
            return int(given)
        workers = getattr(self._config.option, "numprocesses", None)
        return 4 * workers if workers else None
