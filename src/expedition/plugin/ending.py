"""How a run ended, found out from the exception that left its function."""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType

import pytest

from expedition.errors import ExpeditionError
from expedition.plugin.tracebacks import end_in_user_code
from expedition.recording import Run, outcomes

STOPS = (KeyboardInterrupt, pytest.exit.Exception)
"""What ends the whole session."""


@dataclass
class Ending:
    """The end of a run as its record will say it."""

    status: str = outcomes.DONE
    error: BaseException | None = None
    reason: str = ""
    expected_failure: bool = False

    def take(self, error: BaseException) -> None:
        """Take the end from what a function raised that was called without pytest around it."""
        if isinstance(error, STOPS):
            self.status, self.error = outcomes.INTERRUPTED, error
        elif isinstance(error, outcomes.SkipRun | pytest.skip.Exception):
            self.status, self.reason = outcomes.SKIPPED, str(error)
        elif isinstance(error, outcomes.PruneRun):
            self.status, self.reason = outcomes.PRUNED, str(error)
        elif isinstance(error, outcomes.RunTimeout):
            self.status, self.error = outcomes.TIMEOUT, error
        else:
            if isinstance(error, ExpeditionError):
                end_in_user_code(error)
            self.status, self.error = outcomes.FAILED, error

    def expect(self, failure: BaseException) -> None:
        """Take a failure that was expected as the end."""
        self.expected_failure, self.error, self.reason = True, failure, str(failure)

    @property
    def is_by_choice(self) -> bool:
        """Whether the run skipped or pruned itself."""
        return self.status in (outcomes.SKIPPED, outcomes.PRUNED)

    def record(self, run: Run, entry: CodeType | None) -> None:
        """End the record of a run; its traceback begins in the function with the code `entry`."""
        run.finish(
            self.status,
            error=self.error,
            entry=entry,
            reason=self.reason,
            expected_failure=self.expected_failure,
        )
