"""The controller of an invocation: it plans, makes the sweep folders, watches the runs and publishes trajectories."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from expedition.archive.liveness import is_held
from expedition.archive.sweep import SweepFolder
from expedition.authoring.plan import SweepPlan, check_overrides
from expedition.errors import ExperimentError
from expedition.plugin.collection import PLAN, PLANNED_RUN, RUN_ARGUMENT, ExperimentCollection
from expedition.plugin.execution import RunExecution, SweepBinding
from expedition.plugin.live import Progress
from expedition.plugin.settings import Settings
from expedition.plugin.summary import preview_lines, size_line, summary_lines
from expedition.plugin.sweeps import (
    Invocation,
    Resumption,
    check_archive,
    create_sweep,
    find_last,
    hold_sweep,
    new_entries,
    new_parameters,
)
from expedition.recording import layout, outcomes

SNAPSHOT_INTERVAL = 30.0
"""Seconds between two trajectories of a running sweep, at least; and at least 20 times the cost of the last."""


LARGE_LOGS = 32 << 20
"""Bytes of commit logs above which a process of its own compiles, so that the controller's memory stays small."""


@dataclass
class ActiveSweep:
    """One sweep of this invocation: what is to run, and what has ended how."""

    node: str
    plan: SweepPlan
    selected: set[int]
    folder: SweepFolder | None = None
    resumption: Resumption | None = None
    statuses: dict[int, str] = field(default_factory=dict)
    published: float = 0.0
    wait: float = SNAPSHOT_INTERVAL

    @property
    def path(self) -> Path:
        """The sweep folder; there is one as soon as runs start."""
        assert self.folder is not None
        return self.folder.path


class SweepController:
    """Registered in the process that the user started."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        collection: ExperimentCollection,
        execution: RunExecution,
    ) -> None:
        self._config = config
        self._settings = settings
        self._collection = collection
        self._execution = execution
        self._reporter: pytest.TerminalReporter | None = None
        self._session: pytest.Session
        self._progress: Progress | None = None
        self._messages: list[str] = []
        self._resumptions: dict[str, Resumption] = {}
        self._collected = False
        self._locks: list[Any] = []
        self.sweeps: dict[str, ActiveSweep] = {}

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

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self) -> None:
        """Collect here before any worker starts: what is wrong is then a usage error, and nothing is written."""
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
            self._leave_out_settled(items)
        self._collected = True
        return result

    def _leave_out_settled(self, items: list[pytest.Item]) -> None:
        kept: list[pytest.Item] = []
        settled: list[pytest.Item] = []
        for node, plan in self._collection.plans.items():
            try:
                found = find_last(plan, self._settings.archive, hold=not self._config.option.collectonly)
            except ExperimentError as error:
                raise pytest.UsageError(str(error)) from None
            if found is not None:
                self._resumptions[node] = found
                self._locks.append(found.lock)
        for item in items:
            resumption = self._resumptions.get(self._node(item))
            done = resumption is not None and item.stash[PLANNED_RUN].key in resumption.settled
            (settled if done else kept).append(item)
        if settled:
            self._config.hook.pytest_deselected(items=settled)
            items[:] = kept

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> Generator[None]:
        """Refuse what is wrong, then make the sweep folders; with ``--collect-only`` show the sweeps instead."""
        if not self._collected:  # pytest calls this hook also when an error ends the collection early
            return (yield)
        self._check()
        self._note_selected(session.items)
        if self._config.option.collectonly:
            # The table says more than the tree of items, except where the bare ids are asked for.
            items = session.items
            if self._config.get_verbosity() >= 0:
                session.items = []
            result = yield
            session.items = items
            return result
        if not session.testsfailed or self._config.option.continue_on_collection_errors:
            self._open_sweeps()
        return (yield)

    def _check(self) -> None:
        errors = list(self._collection.errors)
        plans = list(self._collection.plans.values())
        if plans:
            try:
                check_overrides(self._settings.overrides, plans)
            except ExperimentError as error:
                errors.append(str(error))
        try:
            warning = check_archive(self._settings.archive)
        except ExperimentError as error:
            errors.append(str(error))
        else:
            if warning:
                self._messages.append(warning)
        if errors:
            raise pytest.UsageError("\n".join(errors))

    def _note_selected(self, items: list[pytest.Item]) -> None:
        for item in items:
            node = self._node(item)
            if node not in self.sweeps:
                plan = item.stash[PLAN]
                self.sweeps[node] = ActiveSweep(node, plan, set(), resumption=self._resumptions.get(node))
            self.sweeps[node].selected.add(item.callspec.params[RUN_ARGUMENT])  # type: ignore[attr-defined]

    def _open_sweeps(self) -> None:
        if not self.sweeps:
            return
        invocation = Invocation(self._settings, self._argv(), self._options())
        invocation.collect()
        conftests = [
            Path(plugin.__file__)
            for plugin in self._config.pluginmanager.get_plugins()
            if getattr(plugin, "__file__", None) and Path(plugin.__file__).name == "conftest.py"
        ]
        try:
            for sweep in self.sweeps.values():
                self._open_sweep(sweep, invocation, conftests)
        except ExperimentError as error:
            raise pytest.UsageError(str(error)) from None
        total = sum(len(sweep.selected) for sweep in self.sweeps.values())
        workers = len(getattr(self._config.option, "tx", None) or ()) or 1
        self._progress = Progress(self._reporter, verbose=self._config.get_verbosity() > 0, workers=workers)
        self._progress.chatty = total == 1 and not self._distributed and self._config.get_verbosity() >= 0
        if not self._distributed:
            self._execution.listener = self._progress
        self._begin_at = time.monotonic()
        for sweep in self.sweeps.values():
            sweep.published = self._begin_at

    def _open_sweep(self, sweep: ActiveSweep, invocation: Invocation, conftests: list[Path]) -> None:
        resumption = sweep.resumption
        line: dict[str, Any] = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "argv": invocation.argv,
            "options": invocation.options,
            "selected": len(sweep.selected),
            "host": invocation.provenance.get("hostname"),
            "pid": os.getpid(),
        }
        attempts: dict[int, int] = {}
        skip: frozenset[str] = frozenset()
        if resumption is None:
            sweep.folder = create_sweep(sweep.plan, invocation, conftests=conftests)
            self._locks.append(hold_sweep(sweep.folder.path))
        else:
            rows = new_entries(sweep.plan, resumption)
            if rows:
                line["runs"] = rows
                line["parameters"] = new_parameters(sweep.plan, resumption.sweep)
            sweep.folder = resumption.sweep
            attempts = {
                entry.index: resumption.attempts[entry.key]
                for entry in sweep.folder.entries
                if entry.key in resumption.attempts
            }
            skip = resumption.settled
        sweep.folder.add_invocation(line)
        self._execution.bind(SweepBinding(sweep.plan, sweep.folder, attempts, skip))

    def _argv(self) -> list[str]:
        return [Path(sys.argv[0]).name, *(str(a) for a in self._config.invocation_params.args)]

    def _options(self) -> dict[str, Any]:
        option = self._config.option
        options: dict[str, Any] = {"experiment_seed": self._settings.seed}
        if option.where is not None:
            options["where"] = option.where
        if option.keyword:
            options["keyword"] = option.keyword
        if self._settings.overrides:
            options["overrides"] = [
                f"{o.experiment + ':' if o.experiment else ''}{o.name}" for o in self._settings.overrides
            ]
        return options

    # -- xdist ---------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a starting worker the sweep folders, and which runs are settled."""
        orders = {}
        for name, sweep in self.sweeps.items():
            binding = self._execution.bindings[id(sweep.plan)]
            orders[name] = {
                "folder": str(sweep.path),
                "attempts": {str(index): attempt for index, attempt in binding.attempts.items()},
                "skip": sorted(binding.skip),
            }
        for name, resumption in self._resumptions.items():
            if name not in self.sweeps:  # nothing of it is left to run, and the worker has to know
                path = str(resumption.sweep.path)
                orders[name] = {"folder": path, "attempts": {}, "skip": sorted(resumption.settled)}
        node.workerinput["expedition"] = orders

    def pytest_keyboard_interrupt(self) -> None:
        """Pass the interruption on: a signal may have reached this process alone."""
        if not self._distributed:
            return
        for sweep in self.sweeps.values():
            if sweep.folder is None:
                continue
            for lock in (sweep.path / layout.JOURNALS_FOLDER).glob("*.lock"):
                pid = lock.stem.split("-")[-2] if lock.stem.count("-") >= 2 else ""
                if pid.isdigit() and int(pid) != os.getpid() and is_held(lock):
                    os.kill(int(pid), signal.SIGTERM)

    # -- while runs run ------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Say what is resumed, and begin the live line."""
        if self._progress is None or self._config.option.collectonly:
            return
        for sweep in self.sweeps.values():
            resumption = sweep.resumption
            if resumption is None:
                if self._settings.resume:
                    self._say(f"{sweep.plan.name}: there is no earlier sweep to resume; this is a new one")
                continue
            self._say(f"resuming {sweep.path.name} of {sweep.plan.name}: {resumption.describe(sweep.plan)}")
            differences = resumption.differences(sweep.plan)
            if differences:
                self._say(f"  other parameters make other runs: {differences}")
        for message in self._messages:
            self._say(f"warning: {message}")
        total = sum(len(sweep.selected) for sweep in self.sweeps.values())
        self._progress.begin(total, [sweep.path for sweep in self.sweeps.values()])

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
        if facts is not None:
            sweep = self.sweeps.get(facts["node"])
            if sweep is not None:
                self._count(
                    sweep, facts["index"], facts["status"], facts["duration"], facts["error"], report.nodeid
                )
        elif report.when not in ("setup", "call", "teardown"):
            found = self._by_node_id(report.nodeid)
            if found is not None:
                self._count(*found, outcomes.CRASHED, 0.0, "its worker process died", report.nodeid)
        self._publish_when_due()

    def _count(
        self, sweep: ActiveSweep, index: int, status: str, duration: float, error: str, node_id: str
    ) -> None:
        if sweep.statuses.get(index) is not None or self._progress is None:
            return
        sweep.statuses[index] = status
        self._progress.ended(status, duration)
        if status not in outcomes.SETTLED and self._config.get_verbosity() <= 0:
            self._progress.say(f"{status.upper()} {node_id}: {error.partition(chr(10))[0]}")

    def _by_node_id(self, node_id: str) -> tuple[ActiveSweep, int] | None:
        base, bracket, rest = node_id.partition("[")
        sweep = self.sweeps.get(base.partition("@")[0] if not bracket else base)
        if sweep is None:
            return None
        identifier = rest.rpartition("]")[0] if bracket else ""
        for run in sweep.plan.runs:
            if run.id == identifier:
                return sweep, run.index
        return None

    def _publish_when_due(self) -> None:
        now = time.monotonic()
        for sweep in self.sweeps.values():
            if sweep.folder is None or len(sweep.statuses) >= len(sweep.selected):
                continue
            if now - sweep.published > sweep.wait:
                self._publish(sweep)

    def _publish(self, sweep: ActiveSweep) -> None:
        """Compile the trajectory. What goes wrong here costs no run: it is said, and can be rebuilt."""
        begin = time.monotonic()
        try:
            from expedition.trajectory import compile_trajectory
            from expedition.trajectory.__main__ import compile_elsewhere

            # A project that makes errors of warnings must not lose its trajectory to one.
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                if _log_size(sweep.path) > LARGE_LOGS:
                    compile_elsewhere(sweep.path)
                else:
                    compile_trajectory(sweep.path)
            self._messages.extend(str(w.message) for w in caught if str(w.message) not in self._messages)
        except Exception as error:
            self._messages.append(
                f"the trajectory of {sweep.path} could not be written ({type(error).__name__}: {error}); "
                f"its runs are complete"
            )
        sweep.published = time.monotonic()
        sweep.wait = max(SNAPSHOT_INTERVAL, 20 * (sweep.published - begin))

    # -- end -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """After the workers are gone: publish the trajectories, and look whether every run has ended."""
        result = yield
        if self._progress is not None:
            self._progress.end()
        self._execution.close()
        self._messages = [m for m in self._messages if not m.startswith("only ")]
        for sweep in self.sweeps.values():
            if sweep.folder is not None:
                self._publish(sweep)
        for lock in self._locks:
            if lock is not None:
                lock.release()
                Path(lock.lock_file).unlink(missing_ok=True)
        missing = sum(len(sweep.selected) - len(sweep.statuses) for sweep in self.sweeps.values())
        if missing and self._progress is not None:
            self._messages.append(f"{missing} selected runs did not finish; --resume goes on with them")
        bad = missing or any(
            s not in outcomes.SETTLED for sweep in self.sweeps.values() for s in sweep.statuses.values()
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
        if self._resumptions and not self.sweeps and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK  # everything is settled: nothing to do is no failure
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print one table per experiment, and where everything is."""
        if self._config.option.collectonly:
            if self._config.get_verbosity() >= 0:
                for sweep in self.sweeps.values():
                    for line in preview_lines(sweep.plan, sweep.selected, sweep.resumption):
                        terminalreporter.write_line(line)
            return
        for sweep in self.sweeps.values():
            if sweep.folder is not None:
                terminalreporter.section(sweep.plan.name, sep="-")
                keys = {run.key for run in sweep.plan.runs}
                base = self._config.invocation_params.dir
                for line in summary_lines(sweep.path, keys=keys, base=base):
                    terminalreporter.write_line(line)
        if not self._collection.plans:
            terminalreporter.write_line(
                f"no function is marked with @experiment in the files named {' '.join(self._settings.file_patterns)}"
            )
        for node, resumption in self._resumptions.items():
            if node not in self.sweeps:
                plan = self._collection.plans[node]
                terminalreporter.write_line(
                    f"{plan.name}: nothing to do in {resumption.sweep.path.name}: {resumption.describe(plan)}"
                )
        for message in self._messages:
            terminalreporter.write_line(f"warning: {message}", yellow=True)

    def _say(self, text: str) -> None:
        if self._reporter is not None and self._config.get_verbosity() >= 0:
            self._reporter.ensure_newline()
            self._reporter.write_line(text)

    @staticmethod
    def _node(item: pytest.Item) -> str:
        return f"{item.parent.nodeid}::{item.originalname}"  # type: ignore[attr-defined, union-attr]


def _log_size(sweep: Path) -> int:
    return sum(path.stat().st_size for path in (sweep / layout.JOURNALS_FOLDER).glob("*.jsonl"))
