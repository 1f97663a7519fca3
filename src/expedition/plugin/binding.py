"""A plan and the sweep folder in which this invocation records its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.authoring.analysis import analyses_of
from expedition.authoring.parameters import RUN_FIXTURES, describe_parameters
from expedition.authoring.plan import PlannedRun, SweepPlan
from expedition.errors import DamagedError
from expedition.recording.files import replace_file
from expedition.recording.masking import Mask
from expedition.recording.plain_files import read_plain
from expedition.recording.snapshot import code_file_of
from expedition.values import encode

_FIXTURES = "expedition.plugin.fixtures"
"""Where the fixtures `experiment` and `e` are made, unless the project has its own."""


@dataclass
class SweepBinding:
    """A plan bound to the sweep folder in which this invocation records its runs.

    `attempts` holds the number of the coming attempt of runs that were tried before, by index in the sweep;
    `skip` the run keys that are settled already. `code` is the digest of the code of the experiment. `again` has, by
    index, the settled runs that run again all the same, with the number of the change of their record that this is.
    `copy` is the content of the experiment's file without secrets, where the sweep folder is a run folder.
    """

    plan: SweepPlan
    sweep: SweepFolder
    attempts: Mapping[int, int] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()
    code: str = ""
    again: dict[int, int] = field(default_factory=dict)
    copy: bytes = b""

    def __post_init__(self) -> None:
        self.entries: dict[str, RunEntry] = {}
        self._known = 0
        self.update()
        self.fixed = {name: encode(value, name=name) for name, value in self.plan.shown.items()}
        self.mask = Mask(self.plan.concealed)
        self.about = describe_parameters(self.plan.parameters, self.plan.origins)
        self._names_of_run: tuple[str, ...] | None = None
        self.analyses = analyses_of(self.plan.lineage)

    def update(self) -> None:
        """Take note of the rows that the sweep folder got since it was bound."""
        rows = self.sweep.entries
        for index in range(self._known, len(rows)):
            self.entries[rows[index].key] = rows[index]
        self._known = len(rows)

    def renew_copy(self, entry: RunEntry) -> None:
        """Put the copy of the experiment's file beside a run that has the sweep folder as its own. Raises `OSError`."""
        if not self.copy or entry.folder != ".":
            return
        file = self.sweep.path / code_file_of(Path(self.plan.file))
        try:
            is_there = read_plain(file) == self.copy
        except (OSError, DamagedError):
            is_there = False
        if not is_there:
            replace_file(file, self.copy)

    def about_of(self, run: PlannedRun) -> Mapping[str, Mapping[str, str]]:
        """Type, description and origin of the parameters of a run."""
        if run.origin == "sweep":
            return self.about
        own = {name: {**self.about.get(name, {}), "origin": run.origin} for name in run.point}
        return {**self.about, **own}

    def names_of_run(self, item: Any) -> tuple[str, ...]:
        """Names under which the function gets the run itself: those that no fixture of the project overrides."""
        if self._names_of_run is None:
            known = item._fixtureinfo.name2fixturedefs
            own = [n for n in RUN_FIXTURES if n not in known or known[n][-1].func.__module__ == _FIXTURES]
            # `e` is what `experiment` gives.
            self._names_of_run = tuple(own) if RUN_FIXTURES[0] in own else ()
        return self._names_of_run
