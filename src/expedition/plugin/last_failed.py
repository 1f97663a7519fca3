"""``--lf``, ``--ff`` and ``--nf`` for experiments: how runs ended is known from the archive, not from pytest's cache.

The cache of pytest is one of a checkout, is cleared, switched off, and hears nothing of runs whose process died. The
options, and what pytest says of them, stay as they are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from expedition.archive import Archive
from expedition.archive.commits import latest_commits
from expedition.authoring.plan import SweepPlan
from expedition.errors import DamagedError
from expedition.plugin.collection import PLANNED_RUN, ExperimentCollection
from expedition.recording import outcomes

_INPUT = "expedition_last_failed"
_OF_PYTEST = ("lfplugin", "lfplugin-collwrapper", "nfplugin")
"""Names of pytest's own plugins for these options."""

FAILED = (
    frozenset(outcomes.STATUSES) - outcomes.SETTLED - {outcomes.PENDING, outcomes.RUNNING, outcomes.UNKNOWN}
)


@dataclass(frozen=True)
class LastOutcomes:
    """Run keys of the runs of which the archive has a record, and of those whose last one did not end well."""

    recorded: frozenset[str]
    failed: frozenset[str]


def last_outcomes(plans: Iterable[SweepPlan], archive: Path) -> LastOutcomes:
    """Find out how the runs of `plans` ended when they were last run, whichever sweep that was.

    Debug runs do not count, and runs in testing mode only for plans that are in it.
    """
    last: dict[str, tuple[int, str]] = {}
    wanted: dict[tuple[str, str, bool], set[str]] = {}
    for plan in plans:
        keys = {run.key for run in plan.runs}
        wanted.setdefault((plan.file, plan.function, plan.special.testing), set()).update(keys)
    for sweep in Archive(archive).sweeps() if archive.is_dir() else ():
        about = sweep.manifest["experiment"]
        keys = wanted.get((about.get("file"), about.get("function"), bool(about.get("testing"))), set())
        if not keys or about.get("debug"):
            continue
        try:
            for line in latest_commits(sweep):
                key = sweep.entries[line["index"]].key
                if key in keys and (key not in last or last[key][0] <= line["start"]):
                    last[key] = line["start"], line["status"]
        except DamagedError:
            continue
    return LastOutcomes(
        frozenset(last), frozenset(key for key, (_, status) in last.items() if status in FAILED)
    )


class LastFailed:
    """Registered in the place of pytest's own plugins for these options, in every process of an invocation."""

    def __init__(self, config: pytest.Config, archive: Path, collection: ExperimentCollection) -> None:
        option = config.option
        self._config = config
        self._archive = archive
        self._collection = collection
        # Without the cache plugin there are no such options.
        self._only = bool(getattr(option, "lf", False))
        self._first = bool(getattr(option, "failedfirst", False))
        self._new_first = bool(getattr(option, "newfirst", False))
        self._status = ""
        self._outcomes: LastOutcomes | None = None
        told = getattr(config, "workerinput", {}).get(_INPUT)
        if told is not None:
            self._outcomes = LastOutcomes(frozenset(told["recorded"]), frozenset(told["failed"]))

    def replace_those_of_pytest(self) -> None:
        """Take the place of pytest's own plugins, whether or not they are there already."""
        for name in _OF_PYTEST:
            self._config.pluginmanager.set_blocked(name)
        self._config.pluginmanager.register(self, "expedition-last-failed")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Leave out, or put behind, the runs that ended well; put new ones before all others."""
        result = yield
        if not (self._only or self._first or self._new_first):
            return result
        if self._outcomes is None:
            self._outcomes = last_outcomes(self._collection.plans.values(), self._archive)
        if self._new_first:
            recorded = self._outcomes.recorded
            items.sort(key=lambda item: _key(item) in recorded)
        if self._only or self._first:
            self._choose(items, self._outcomes.failed)
        return result

    def _choose(self, items: list[pytest.Item], failed: frozenset[str]) -> None:
        again = [item for item in items if _key(item) in failed]
        others = [item for item in items if _key(item) not in failed]
        if again:
            items[:] = again if self._only else again + others
            if self._only and others:
                self._config.hook.pytest_deselected(items=others)
            noun = "failure" if len(again) == 1 else "failures"
            self._status = f"rerun previous {len(again)} {noun}{' first' if self._first else ''}"
        elif failed:
            self._status = f"{len(failed)} known failures not in selected runs"
        elif self._config.option.last_failed_no_failures == "none":
            self._status = "no previously failed runs, deselecting all items."
            self._config.hook.pytest_deselected(items=items[:])
            items.clear()
        else:
            self._status = "no previously failed runs, not deselecting items."

    def pytest_report_collectionfinish(self) -> str | None:
        """Say what was chosen, in pytest's words."""
        if (self._only or self._first) and self._config.get_verbosity() >= 0:
            return f"run-last-failure: {self._status}"
        return None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a starting worker what was found, so that all choose alike."""
        found = self._outcomes
        if found is not None:
            node.workerinput[_INPUT] = {"recorded": sorted(found.recorded), "failed": sorted(found.failed)}


def _key(item: pytest.Item) -> str:
    return item.stash[PLANNED_RUN].key
