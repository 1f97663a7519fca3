"""The controller of an invocation: it plans, makes the sweep folders, watches the runs and publishes trajectories."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from expedition.archive.liveness import is_held
from expedition.authoring.plan import check_overrides
from expedition.errors import ExperimentError
from expedition.plugin import launch
from expedition.plugin.after_sweep import AfterSweep
from expedition.plugin.analysis import AnalysisFailures
from expedition.plugin.collection import ExperimentCollection
from expedition.plugin.execution import RunExecution
from expedition.plugin.findings import Finding
from expedition.plugin.generations import Generations, LocalLoop
from expedition.plugin.live import Progress
from expedition.plugin.opening import SweepOpening
from expedition.plugin.publishing import ActiveSweep, Publisher
from expedition.plugin.refusing import usage_error
from expedition.plugin.restarts import Restarts
from expedition.plugin.retries import retry_line
from expedition.plugin.settings import Settings
from expedition.plugin.signals import Signals
from expedition.plugin.summary import preview_lines, show_failure, size_line
from expedition.plugin.sweeps import check_archive
from expedition.plugin.timeouts import why_impossible
from expedition.recording import layout, outcomes
from expedition.recording.cache import Cache


class SweepController:
    """Registered in the process that the user started."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        collection: ExperimentCollection,
        execution: RunExecution,
        signals: Signals,
    ) -> None:
        self._config = config
        self._settings = settings
        self._collection = collection
        self._execution = execution
        self._signals = signals
        self._reporter: pytest.TerminalReporter | None = None
        self._session: pytest.Session
        self._progress: Progress | None = None
        self._stale: dict[str, None] = {}
        self._analyses = AnalysisFailures()
        self._publisher = Publisher(settings.snapshot_interval)
        self._generations = Generations(
            config,
            collection,
            execution,
            self._publisher,
            AfterSweep(config, settings, signals, self._say),
            self._say,
            settings.max_generations,
        )
        self._opening = SweepOpening(config, settings, collection, execution)
        self._messages = self._publisher.messages
        self._collected = False
        self.sweeps = self._opening.sweeps
        self.restarts = Restarts(config, settings, self.sweeps, self._say, self._count)

    # -- start ---------------------------------------------------------------------------------------------

    def pytest_report_header(self) -> list[str]:
        """Name the archive."""
        return [f"archive: {self._settings.archive}"]

    def pytest_report_collectionfinish(self) -> list[str]:
        """Tell the sizes of the sweeps."""
        if self._config.option.collectonly:
            return []
        return [size_line(sweep.plan, sweep.selected) for sweep in self.sweeps.values()]

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find the parts of pytest that exist only now."""
        self._session = session
        self._reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if self._reporter is not None and self._config.get_verbosity() <= 0:
            self._reporter.showfspath = False
        if self._distributed and self._config.getoption("dist") == "each":
            raise pytest.UsageError(
                "--dist each runs every run once per worker, which a sweep never wants; use load, worksteal, "
                "loadscope, loadfile or loadgroup"
            )
        self._opening.select_past_runs()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self) -> None:
        """Collect here before any worker starts: what is wrong is then a usage error, and nothing is written."""
        if self._collected:
            return  # the workers of a later generation
        session = self._session
        session.perform_collect()
        if session.testsfailed and not self._config.option.continue_on_collection_errors:
            word = "error" if session.testsfailed == 1 else "errors"
            if self._reporter is not None:  # pytest shows no summary of a session that never started
                self._reporter.summary_errors()
            raise session.Interrupted(f"{session.testsfailed} {word} during collection")
        # The workers collect for themselves; a hundred thousand items need not wait here.
        session.items = []
        session.testscollected = 0

    @property
    def _distributed(self) -> bool:
        return self._config.pluginmanager.has_plugin("dsession")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """With ``--resume`` leave out the runs that are settled."""
        result = yield
        if self._settings.resume:
            self._opening.leave_out_settled(items)
        self._collected = True
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> Generator[None]:
        """Refuse what is wrong, then make the sweep folders; with ``--collect-only`` show the sweeps instead."""
        if not self._collected:  # pytest calls this hook also when an error ends the collection early
            return (yield)
        self._check()
        self._opening.select(session.items)
        if self._config.option.collectonly:
            # The table says more than the tree of items, except where the bare ids are asked for.
            items = session.items
            if self._config.get_verbosity() >= 0:
                session.items = []
            result = yield
            session.items = items
            return result
        if self.sweeps and (not session.testsfailed or self._config.option.continue_on_collection_errors):
            self._opening.open()
            for problem in self._opening.code_problems:
                self._publisher.say(problem)
            self._get_ready()
        return (yield)

    def _check(self) -> None:
        errors = self._collection.errors
        self._messages.extend([*self._collection.warnings, *self._opening.remarks()])
        plans = list(self._collection.plans.values())
        if plans:
            try:
                check_overrides(self._settings.overrides, plans)
            except ExperimentError as error:
                errors.append(Finding(str(error)))
        is_here = not (self._distributed or self._config.option.collectonly)
        refused = (why_impossible(plan, self._settings, is_here=is_here) for plan in plans)
        errors.extend(Finding(text) for text in refused if text is not None)
        try:
            warning = check_archive(self._settings.archive)
            if self._config.option.experiment_cache_clear:
                Cache(self._settings.archive).clear()
        except ExperimentError as error:
            errors.append(Finding(str(error)))
        else:
            if warning:
                self._messages.append(warning)
        if errors:
            raise usage_error("\n".join(map(str, errors)))

    def _get_ready(self) -> None:
        self._publisher.take(self.sweeps.values())
        total = sum(len(sweep.selected) for sweep in self.sweeps.values())
        workers = len(getattr(self._config.option, "tx", None) or ()) or 1
        self._progress = Progress(self._reporter, verbose=self._config.get_verbosity() > 0, workers=workers)
        self._progress.chatty = total == 1 and not self._distributed and self._config.get_verbosity() >= 0
        if not self._distributed:
            self._execution.listener = self._progress
            if any(sweep.plan.after_sweep is not None for sweep in self.sweeps.values()):
                self._config.pluginmanager.register(LocalLoop(self._generations), "expedition-loop")

    # -- xdist ---------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a starting worker the sweep folders, and which runs it is to leave out."""
        node.workerinput["expedition"] = self._opening.orders()
        launch.pass_on(self._config, node.workerinput)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Say that a worker died where xdist no longer does: it shows the workers of the first generation only."""
        if error and not self._config.pluginmanager.has_plugin("terminaldistreporter"):
            self._say(f"[{node.gateway.id}] node down: {error}")

    def pytest_keyboard_interrupt(self) -> None:
        """Pass the interruption on: a signal may have reached this process alone. A second one ends the workers."""
        if self._distributed:
            self._signals.on_second = partial(self._signal_workers, signal.SIGKILL)
            self._signal_workers(signal.SIGTERM)

    def _signal_workers(self, number: int) -> None:
        for sweep in self.sweeps.values():
            if sweep.folder is None:
                continue
            for lock in (sweep.path / layout.JOURNALS_FOLDER).glob("*.lock"):
                pid = lock.stem.split("-")[-2] if lock.stem.count("-") >= 2 else ""
                if pid.isdigit() and int(pid) != os.getpid() and is_held(lock):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), number)

    # -- while runs run ------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Say what is resumed, let the runs run, then what is called after them, and whatever that adds."""
        if self._progress is None or self._config.option.collectonly:
            return (yield)
        self._announce()
        result = yield
        self._generations.go_on(session, self.sweeps, self._progress, self._opening.line)
        if self._config.pluginmanager.has_plugin("expedition-loop"):
            self._generations.tear_down(session)
        return result

    def _announce(self) -> None:
        assert self._progress is not None
        for sweep in self.sweeps.values():
            resumption = sweep.resumption
            if resumption is None:
                if self._settings.resume:
                    self._say(f"{sweep.plan.name}: there is no earlier sweep to resume; this is a new one")
                continue
            self._say(f"resuming {sweep.path.name} of {sweep.plan.name}: {resumption.describe(sweep.plan)}")
            for line in self._opening.about_stale(sweep.node):
                self._say(line, is_asked=self._settings.why_stale)
            differences = resumption.differences(sweep.plan)
            if differences:
                self._say(f"  other parameters make other runs: {differences}")
        for message in self._messages:
            self._say(f"warning: {message}")
        total = sum(len(sweep.selected) for sweep in self.sweeps.values())
        self._progress.begin(total, [sweep.path for sweep in self.sweeps.values()])
        self._publisher.begin()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logstart(self) -> None:
        """Let pytest's own words out before the run takes the terminal: they must not end in its log."""
        if self._reporter is not None and not self._distributed:
            self._reporter.flush()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: object) -> tuple[str, str, object] | None:
        """Name outcomes as the archive does; below ``-v`` the live line stands for the dots."""
        if not isinstance(report, pytest.TestReport) or (report.when == "teardown" and report.passed):
            return None
        quiet = self._config.get_verbosity() <= 0
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            return "passed", "" if quiet else ".", "" if quiet else ("DONE", {"green": True})
        # Without a letter nothing is printed now, but the summary at the end still has its word.
        if quiet and hasattr(report, "wasxfail") and report.when == "call":
            return ("xfailed", "", "XFAIL") if report.skipped else ("xpassed", "", "XPASS")
        if quiet and report.failed:
            return ("failed", "", "FAILED") if report.when in ("call", "???") else ("error", "", "ERROR")
        if quiet and report.skipped:
            return "skipped", "", "SKIPPED"
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a run whose record has ended, or whose worker died."""
        facts = getattr(report, "expedition", None)
        retried = retry_line(report)
        if retried is not None:
            self._say(retried)
        elif facts is not None:
            sweep = self.sweeps.get(facts["node"])
            if sweep is not None:
                sweep.applied.update(facts.get("hooks", ()))
                self._stale.update(dict.fromkeys(facts.get("stale", ())))
                self._analyses.add(report.nodeid, facts.get("analysis", ()))
                self._count(
                    sweep, facts["index"], facts["status"], facts["duration"], facts["error"], report.nodeid
                )
        elif report.when not in ("setup", "call", "teardown"):
            found = self.restarts.run_of(report.nodeid)
            if found is not None:
                status = self.restarts.end_of(report.nodeid) or outcomes.CRASHED
                error = "its worker process died"
                if status == outcomes.TIMEOUT:
                    error = "it did not end when its time was over, so that its worker process was ended"
                # pytest-xdist says of every one that its worker crashed, below the name of the file alone.
                report.longrepr = error
                file, _, name = report.nodeid.partition("::")
                report.location = (file, None, name)
                self._count(found[0], found[1].index, status, 0.0, error, report.nodeid)
        self._publisher.heard()

    def _count(
        self, sweep: ActiveSweep, index: int, status: str, duration: float, error: str, node_id: str
    ) -> None:
        if sweep.statuses.get(index) is not None or self._progress is None:
            return
        sweep.statuses[index] = status
        self._progress.ended(status, duration)
        if status not in outcomes.SETTLED and self._config.get_verbosity() <= 0:
            self._progress.say(f"{status.upper()} {node_id}: {error.partition(chr(10))[0]}")

    # -- end -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """After the workers are gone: publish the trajectories, and look whether every run has ended."""
        result = yield
        if self._progress is not None:
            self._progress.end()
        self._execution.close()
        self._messages[:] = [m for m in self._messages if not m.startswith("only ")]
        try:
            self._publisher.end()
            for node, resumption in self._opening.resumptions.items():
                if node not in self.sweeps and not self._config.option.collectonly:
                    self._publisher.catch_up(resumption.sweep.path)
        except KeyboardInterrupt:  # the records are complete; what is made of them can wait
            session.exitstatus = pytest.ExitCode.INTERRUPTED
            self._messages.append("a trajectory is not up to date; --resume or --archive-repair makes it")
        self._opening.release()
        self._opening.show_debug_runs()
        self._opening.tell()
        missing = sum(sweep.unfinished for sweep in self.sweeps.values())
        if missing and self._progress is not None:
            is_kept = any(sweep.unfinished and not sweep.plan.special.debug for sweep in self.sweeps.values())
            remedy = "--resume goes on with them" if is_kept else "a debug run begins anew"
            self._messages.append(f"{missing} selected runs did not finish; {remedy}")
        self._messages.extend(self._unapplied_hooks())
        bad = (
            missing
            or self._generations.failures
            or any(
                s not in outcomes.SETTLED for sweep in self.sweeps.values() for s in sweep.statuses.values()
            )
        )
        if (
            bad
            and self._progress is not None
            and session.exitstatus
            in (
                pytest.ExitCode.OK,
                pytest.ExitCode.NO_TESTS_COLLECTED,
            )
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        nothing = not any(sweep.selected for sweep in self.sweeps.values())
        if self._opening.resumptions and nothing and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK  # everything is settled: nothing to do is no failure
        return result

    def _unapplied_hooks(self) -> list[str]:
        """Messages on hooks that no run applied; a run that failed may not have come to where it would."""
        whole = [
            (sweep.plan, sweep.applied)
            for sweep in self.sweeps.values()
            if set(sweep.statuses.values()) == {outcomes.DONE}
        ]
        return self._collection.hooks.unapplied(whole)

    def pytest_unconfigure(self) -> None:
        """Give back the sweeps that were held where the session never came to its end."""
        self._opening.close()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print one table per experiment, and where everything is."""
        if self._config.option.collectonly:
            is_quiet = self._config.get_verbosity() < 0
            for sweep in self.sweeps.values():
                about = self._opening.about_stale(sweep.node) if sweep.resumption is not None else []
                lines = preview_lines(sweep.plan, sweep.selected, sweep.resumption, about)
                for line in (about if self._settings.why_stale else ()) if is_quiet else lines:
                    terminalreporter.write_line(line)
            return
        plans = {sweep.plan.name: sweep.plan for sweep in self.sweeps.values()}
        for name, error in self._generations.failures.items():
            show_failure(terminalreporter, plans[name], error)
        for sweep in self.sweeps.values():
            if sweep.folder is not None:
                terminalreporter.section(sweep.plan.name, sep="-")
                for line in sweep.summary or self._opening.summary_of(sweep):
                    terminalreporter.write_line(line)
        if not (self._collection.plans or self._collection.errors or terminalreporter.stats.get("error")):
            terminalreporter.write_line(
                f"no function is marked with @experiment in the files named {' '.join(self._settings.file_patterns)}"
            )
        for node, resumption in self._opening.resumptions.items():
            if node not in self.sweeps:
                plan = self._collection.plans[node]
                terminalreporter.write_line(
                    f"{plan.name}: nothing to do in {resumption.sweep.path.name}: {resumption.describe(plan)}"
                )
                for line in self._opening.about_stale(node):
                    terminalreporter.write_line(line)
        for line in self._analyses.lines(self._config.invocation_params.dir):
            terminalreporter.write_line(line, red=True)
        for reason in self._stale:
            terminalreporter.write_line(f"stale: {reason}")
        for message in self._messages:
            terminalreporter.write_line(f"warning: {message}", yellow=True)

    def _say(self, text: str, *, is_asked: bool = False) -> None:
        if self._progress is not None and self._progress.is_open:
            if self._config.get_verbosity() >= 0:
                self._progress.say(text)
        elif self._reporter is not None and (is_asked or self._config.get_verbosity() >= 0):
            self._reporter.ensure_newline()
            self._reporter.write_line(text)
