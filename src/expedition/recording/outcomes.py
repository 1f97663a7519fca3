"""How a run can end, and the exceptions by which an experiment says so."""

from __future__ import annotations

PENDING = "pending"
RUNNING = "running"
DONE = "done"
FAILED = "failed"
INTERRUPTED = "interrupted"
CRASHED = "crashed"
TIMEOUT = "timeout"
PRUNED = "pruned"
SKIPPED = "skipped"
UNKNOWN = "unknown"

STATUSES = (PENDING, RUNNING, DONE, FAILED, INTERRUPTED, CRASHED, TIMEOUT, PRUNED, SKIPPED, UNKNOWN)
SETTLED = frozenset({DONE, SKIPPED, PRUNED})
"""Outcomes that a resume leaves alone."""


class RunOutcome(BaseException):
    """Base of the exceptions that end a run on its own word.

    They derive from `BaseException`, so that an ``except Exception`` in user code does not swallow them.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class SkipRun(RunOutcome):
    """The run does not apply: outcome ``skipped``."""


class FailRun(RunOutcome):
    """The run failed by its own judgement: outcome ``failed``."""


class PruneRun(RunOutcome):
    """The run is not worth going on with: outcome ``pruned``."""


class RunTimeout(BaseException):
    """The run took longer than its timeout: outcome ``timeout``.

    Raised once in the main thread, where the code of the run happens to be. It derives from `BaseException`, so
    that an ``except Exception`` does not swallow it. Whoever catches it has the grace period to save a state.

    Attributes
    ----------
    seconds : the timeout.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the run took longer than its timeout of {seconds:g} s")
        self.seconds = seconds
