"""The run of one item while pytest works on it, and its end in pytest's words and in ours."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, NoReturn

import pytest

from expedition.plugin.binding import SweepBinding
from expedition.plugin.ending import Ending
from expedition.plugin.hooks import RunHooks
from expedition.plugin.surroundings import Surroundings
from expedition.plugin.timeouts import Deadline
from expedition.recording import Run, outcomes
from expedition.recording.output import Output, read_excerpt

ENDLESS: AbstractContextManager[None] = nullcontext()
"""A block of a run that may take any time."""

_NOT_RUN = "[NOTRUN] "
"""What pytest puts before the reason of ``xfail(run=False)``."""


@dataclass
class LiveRun:
    """The run of one item while pytest works on it.

    `entry` is the code of its function; `pruned` says that pytest was told of a skip that is none; `hears_logs` that
    the run asks for what it logs, by the fixture ``caplog``, and `unheard` are the handlers of pytest that have
    to do without until it does. `deadline` is None where the run may take any time.
    """

    run: Run
    binding: SweepBinding
    output: Output
    surroundings: Surroundings
    hooks: RunHooks
    entry: CodeType | None = None
    ending: Ending = field(default_factory=Ending)
    pruned: bool = False
    hears_logs: bool = False
    unheard: list[logging.Handler] = field(default_factory=list)
    deadline: Deadline | None = None
    failed_analyses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def interruptible(self) -> AbstractContextManager[None]:
        """A block in which the timeout of the run may interrupt it."""
        return ENDLESS if self.deadline is None else self.deadline

    @property
    def is_timed_out(self) -> bool:
        """Whether the run has heard that its time was over."""
        return self.deadline is not None and self.deadline.error is not None

    def hear_logs(self) -> None:
        """Let pytest keep what the run logs from now on."""
        self.hears_logs = True
        for handler in self.unheard:
            logging.getLogger().addHandler(handler)
        self.unheard.clear()

    def stop_the_clock(self) -> None:
        """Let time no longer count."""
        if self.deadline is not None:
            self.deadline.end()

    def end_in_words_of_pytest(self, outcome: outcomes.RunOutcome) -> NoReturn:
        """Tell pytest how the run ended itself, with the traceback that leads to the line of the experiment."""
        self.ending.reason, self.pruned = outcome.reason, isinstance(outcome, outcomes.PruneRun)
        if isinstance(outcome, outcomes.FailRun):
            pytest.fail(outcome.reason, pytrace=False)
        raise pytest.skip.Exception(outcome.reason).with_traceback(outcome.__traceback__) from None

    def judge(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Take the end from pytest's report on a phase; that of a failure gets the output of the run."""
        ending = self.ending
        error = call.excinfo.value if call.excinfo is not None else None
        if report.failed:
            ending.status = outcomes.TIMEOUT if self.is_timed_out else outcomes.FAILED
            # A strict xfail that passed has no exception, only its report.
            ending.error = error if error is not None else AssertionError(str(report.longrepr))
            excerpt = read_excerpt(self.output.path)
            if excerpt:
                report.sections.append((f"Output of the run ({self.output.path})", excerpt))
        elif report.skipped and str(getattr(report, "wasxfail", "")).startswith(_NOT_RUN):
            ending.status, ending.reason = outcomes.SKIPPED, report.wasxfail.removeprefix(_NOT_RUN)
        elif report.skipped and hasattr(report, "wasxfail"):
            ending.expected_failure, ending.error = True, error
            ending.reason = report.wasxfail
        elif report.skipped:
            ending.status = outcomes.PRUNED if self.pruned else outcomes.SKIPPED
            ending.reason = ending.reason or str(getattr(error, "msg", error))


LIVE = pytest.StashKey[LiveRun]()
"""Where an item has its run."""
