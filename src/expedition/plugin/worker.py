"""The part of a worker process under pytest-xdist: it runs what the controller planned, and checks that it is so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from expedition.archive.expansions import Expansion, read_expansions
from expedition.archive.recorded_code import RecordedCodes
from expedition.archive.sweep import SweepFolder
from expedition.authoring.plan import SweepPlan
from expedition.authoring.repeats import PastRun
from expedition.plugin.binding import SweepBinding
from expedition.plugin.collection import PLAN, PLANNED_RUN, ExperimentCollection, node_of
from expedition.plugin.execution import RunExecution
from expedition.plugin.experiment_codes import ExperimentCodes, changed_code, contents_of
from expedition.plugin.live import AnnouncingListener
from expedition.plugin.past_runs import planned_again
from expedition.recording.masking import Mask


class SweepWorker:
    """Binds the plans of this process to the sweep folders that the controller made.

    `orders` is what the controller sent: by function node id the sweep folder, how far its expansions are to be
    read, the index of the first run of this generation, whether it has none, the attempts, the settled runs, those of
    them that run again, the digest of the code with hashes of the files that it stands in, and the copy of the
    experiment's file.
    """

    def __init__(
        self,
        config: pytest.Config,
        collection: ExperimentCollection,
        execution: RunExecution,
        orders: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._config = config
        self._collection = collection
        self._execution = execution
        self._orders = orders
        self._codes = ExperimentCodes(config.rootpath)
        self._worker = str(getattr(config, "workerinput", {}).get("workerid", ""))
        execution.listener = AnnouncingListener(execution)
        collection.expansions = self._expansions
        if config.option.archive_select is not None:
            collection.past_runs = self._past_runs
        collection.first = {node: order["first"] for node, order in orders.items()}
        files = {node: config.rootpath / node.partition("::")[0] for node in orders}
        busy = {files[node] for node, order in orders.items() if not order["idle"]}
        collection.idle = frozenset(files.values()) - busy

    def _expansions(self, node: str, plan: SweepPlan) -> list[Expansion]:
        order = self._orders.get(node)
        if order is None:
            return []
        return read_expansions(Path(order["folder"]), end=order["expansions"])[0]

    def _past_runs(self, node: str, plan: SweepPlan) -> list[PastRun]:
        order = self._orders.get(node)
        return [] if order is None else planned_again(SweepFolder.open(Path(order["folder"])))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Bind every plan, then leave out the runs that are settled."""
        first = {node_of(item): item for item in reversed(items)}
        for node, plan in self._collection.plans.items():
            order = self._orders.get(node)
            if order is None:
                continue
            sweep = SweepFolder.open(Path(order["folder"]))
            binding = SweepBinding(
                plan,
                sweep,
                {int(index): attempt for index, attempt in order["attempts"].items()},
                frozenset(order["skip"]),
                self._digest(plan, sweep, order, first.get(node)),
                {int(index): edit for index, edit in order["again"].items()},
                order["copy"],
            )
            self._execution.bind(binding)
        items[:] = [item for item in items if not self._settled(item)]

    def _digest(
        self, plan: SweepPlan, sweep: SweepFolder, order: Mapping[str, Any], item: pytest.Item | None
    ) -> str:
        """The digest of the code that this process has imported, of which the sweep is told where it is another.

        Where the files are those that the controller saw it is its digest: a constant may be another in every process.
        """
        files = order["files"]
        if item is None or contents_of(map(Path, files)) == files:
            return str(order["code"])
        code = self._codes.of(item, plan)
        if code is None:
            return ""
        if code.digest != order["code"] and RecordedCodes.of(sweep).parts(code.digest) is None:
            mask = Mask(value for each in self._collection.plans.values() for value in each.concealed)
            sweep.add_code(self._worker, changed_code(sweep, code, mask))
        return code.digest

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Give back the locks."""
        self._execution.close()

    def _settled(self, item: pytest.Item) -> bool:
        binding = self._execution.bindings.get(id(item.stash[PLAN]))
        return binding is not None and item.stash[PLANNED_RUN].key in binding.skip
