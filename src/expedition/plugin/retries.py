"""Retries: a run that failed is run again at once, as a new attempt of the same run.

pytest sees one item with one outcome, that of the last attempt. An earlier one is told in a report of its own with the
outcome ``rerun``, which counts neither as a failure nor as a success; other plugins know it from pytest-rerunfailures.
"""

from __future__ import annotations

from typing import Any

import pytest

from expedition.authoring.plan import SweepPlan
from expedition.plugin.collection import PLAN
from expedition.plugin.failed_fixtures import forget_failed
from expedition.plugin.settings import Settings
from expedition.recording import outcomes

RETRIED = "retried"
"""What pytest counts attempts as that were not the last ones."""

_RETRY = "expedition_retry"
"""Attribute of the report on an attempt that was not the last one."""

_TRIED_AGAIN = frozenset({outcomes.FAILED, outcomes.TIMEOUT})
_UNEXPECTED_PASS = "[XPASS(strict)]"


def retries_of(plan: SweepPlan, settings: Settings) -> int:
    """How often a run of a plan that failed is tried again; ``--run-retries`` goes before what its files say."""
    return plan.lineage.retries if settings.run_retries is None else settings.run_retries


class Retries:
    """Runs items whose experiment has retries; registered in every process that runs some."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._settings = settings
        # Who debugs a failure wants to see the first one, and the state that it left.
        self._is_debugging = bool(config.getoption("usepdb", False) or config.getoption("trace", False))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run an item until an attempt does not fail, or was the last one."""
        plan = item.stash.get(PLAN, None)
        retries = 0 if plan is None or self._is_debugging else retries_of(plan, self._settings)
        if not retries:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        properties = len(item.user_properties)
        for attempt in range(2, retries + 2):
            reports = _attempt(item, nextitem, retried=True)
            if not _is_to_be_retried(item, reports):
                break
            failed = next((report for report in reports if report.failed), reports[-1])
            item.ihook.pytest_runtest_logreport(report=_told(failed, reports[-1], attempt, retries + 1))
            del item.user_properties[properties:]
        else:
            reports = _attempt(item, nextitem, retried=False)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: object) -> tuple[str, str, str] | None:
        """Count an attempt that was not the last one; the controller has a line for it."""
        if not hasattr(report, _RETRY):
            return None
        return RETRIED, "", ""


def retry_line(report: pytest.TestReport) -> str | None:
    """What the terminal says of an attempt that was not the last one; None for every other report."""
    told = getattr(report, _RETRY, None)
    if told is None:
        return None
    return f"RETRY {report.nodeid}: {told['error']} (attempt {told['attempt']} of {told['of']})"


def _attempt(item: Any, nextitem: pytest.Item | None, *, retried: bool) -> list[pytest.TestReport]:
    """Set up, call and tear down as pytest does; return the reports, which are not logged yet.

    Where a failure is `retried`, only what the item itself set up is torn down: with its parent as the next node,
    fixtures of a wider scope stay for the next attempt.
    """
    # Only what asks for retries depends on this part of pytest, which has no public name.
    from _pytest.runner import call_and_report

    session = item.session
    if not item._request:  # pytest took it away at the end of the last attempt
        item._initrequest()
    try:
        reports = [call_and_report(item, "setup", log=False)]
        if reports[0].passed:
            reports.append(call_and_report(item, "call", log=False))
        following: Any = nextitem
        if session.shouldfail or session.shouldstop:
            following = None
        elif retried and reports[-1].failed and not _is_unexpected_pass(reports[-1]):
            following = item.parent
        reports.append(call_and_report(item, "teardown", log=False, nextitem=following))
        if any(report.failed for report in reports):  # the next run has its own attempts
            forget_failed(item, BaseException)
    finally:
        item._request = False
        item.funcargs = None
    return reports


def _is_to_be_retried(item: pytest.Item, reports: list[pytest.TestReport]) -> bool:
    if item.session.shouldfail or item.session.shouldstop or any(map(_is_unexpected_pass, reports)):
        return False
    facts = getattr(reports[-1], "expedition", None)
    return facts is not None and facts["status"] in _TRIED_AGAIN


def _is_unexpected_pass(report: pytest.TestReport) -> bool:
    """Whether a strict xfail passed: it would again."""
    return report.failed and str(report.longrepr).startswith(_UNEXPECTED_PASS)


def _told(report: pytest.TestReport, last: Any, attempt: int, of: int) -> pytest.TestReport:
    """Turn the report of a failure into one that the next attempt follows."""
    error = str(last.expedition["error"] or last.expedition["status"]).partition("\n")[0]
    report.outcome = "rerun"  # type: ignore[assignment]
    report.when = "call"  # that on a teardown would say that the item is over
    report.longrepr, report.sections = error, []
    report.__dict__.pop("expedition", None)  # the run has not ended
    setattr(report, _RETRY, {"error": error, "attempt": attempt, "of": of})
    return report
