"""Execution: one pytest item becomes one recorded run, from set-up to teardown."""

from __future__ import annotations

import copy
import inspect
import os
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from expedition.archive.sweep import RunEntry
from expedition.authoring.plan import PlannedRun
from expedition.authoring.project_files import ProjectFiles
from expedition.authoring.stages import Stage
from expedition.errors import ExpeditionError
from expedition.plugin.analysis import RunAnalyses
from expedition.plugin.binding import SweepBinding
from expedition.plugin.calling import call_between_hooks
from expedition.plugin.captured_logs import drop_captured_logs
from expedition.plugin.collection import PLAN, PLANNED_RUN, ExperimentCollection
from expedition.plugin.concealing import conceal_report, conceal_warning
from expedition.plugin.failed_fixtures import forget_failed, note_failed
from expedition.plugin.forks import ForksEnd
from expedition.plugin.hooks import RunHooks
from expedition.plugin.live_run import ENDLESS, LIVE, LiveRun
from expedition.plugin.nested import Level, NestedRuns
from expedition.plugin.rerunning import announce_again
from expedition.plugin.run_making import RunMaker
from expedition.plugin.sending import sendable
from expedition.plugin.settings import Settings
from expedition.plugin.signals import Signals
from expedition.plugin.stages import StageRunner
from expedition.plugin.surroundings import Surroundings
from expedition.plugin.timeouts import Timeouts
from expedition.plugin.tracebacks import end_in_user_code, is_without_user_code
from expedition.recording import outcomes
from expedition.recording.attempts import set_aside
from expedition.recording.meta import RunIdentity
from expedition.recording.process_state import ProcessState
from expedition.recording.run import RunListener
from expedition.recording.seeds import GlobalRandomState, derive_seed
from expedition.recording.writer import SweepWriter

_IMMUTABLE = (str, int, float, bool, bytes, complex, type(None))


class RunExecution:
    """Runs items and records them; used by the controller itself without ``-n``, else by each worker.

    Attributes
    ----------
    bindings : by the `id` of the plan, set before the first run.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, collection: ExperimentCollection, signals: Signals
    ) -> None:
        self._settings = settings
        self._signals = signals
        self._collection = collection
        self._maker = RunMaker(config, settings)
        self._random = GlobalRandomState()
        self._state = ProcessState(ProjectFiles(settings.rootdir).has)
        self._current: LiveRun | None = None
        self._analyses = RunAnalyses(self._maker.capture, signals)
        self._nested = NestedRuns(config, settings, signals, self._analyses, self._maker)
        self._stages = StageRunner(settings.rootdir)
        collection.hooks.use_stages(self._stage)
        self._absent: dict[int, set[str]] = {}
        self._timeouts = Timeouts(config, settings, signals)
        config.pluginmanager.register(self._timeouts, "expedition-timeouts")
        self.bindings: dict[int, SweepBinding] = {}
        self.listener: RunListener | None = None

    def _stage(self, stage: Stage, request: pytest.FixtureRequest) -> Any:
        """The result of a stage for the run of a request."""
        live = request.node.stash[LIVE]
        plan, run = live.binding.plan, live.run
        cache = self._maker.cache(live.binding.mask, enabled=plan.special.caching)
        return self._stages.result(stage, request, plan, run.params, cache, run.note_in_log, run.stale.append)

    def bind(self, binding: SweepBinding) -> None:
        """Record the runs of a plan in a sweep folder."""
        self.bindings[id(binding.plan)] = binding

    def writer_of(self, sweep: Path) -> SweepWriter:
        """This process's writer in a sweep folder, made at its first run there."""
        return self._maker.writer_of(sweep)

    def close(self) -> None:
        """End a run that a signal caught between two phases, and give back the locks of this process."""
        if self._current is not None:
            self._current.ending.status = outcomes.INTERRUPTED
            self._end(self._current)
        self._timeouts.close()
        self._maker.close()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Begin the run, then let pytest set up its fixtures."""
        with self._signals:
            live = item.stash[LIVE] = self._current = self._start(item)
            # The values are known: a fixture for each of them would cost more than the rest of the set-up.
            item.funcargs.update(item.callspec.params)  # type: ignore[attr-defined]
            item.funcargs.update(dict.fromkeys(live.binding.names_of_run(item), live.run))  # type: ignore[attr-defined]
        try:
            return (yield from self._phase(live))
        except BaseException:
            live.stop_the_clock()
            raise

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Let pytest call the function, its output going to the run's log; put back what it changed in the process.

        What fixtures set up before stays: those of a wider scope are for the next run as well.
        """
        live = item.stash[LIVE]
        self._state.remember()
        try:
            return (yield from self._phase(live))
        finally:
            live.stop_the_clock()
            with self._signals:
                self._state.put_back()
                self._signals.listen_again()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Let pytest tear down, then end the record."""
        live = item.stash.get(LIVE, None)
        if live is None:
            return (yield)
        try:
            result = yield from self._phase(live)
        except BaseException as error:
            if live.ending.status != outcomes.TIMEOUT:
                live.ending.status = outcomes.FAILED
            live.ending.error, live.ending.expected_failure = live.ending.error or error, False
            raise
        finally:
            self._end(live)
            if live.is_timed_out:
                forget_failed(item, outcomes.RunTimeout)
        if self._signals.raised:  # the run has caught the interruption, and ended itself in other words
            item.session.shouldstop = "interrupted by a signal"
        if live.run.status == outcomes.FAILED and live.ending.status == outcomes.DONE:
            problems = "\n".join(live.run.problems)
            pytest.fail(f"the record of the run could not be completed:\n{problems}", pytrace=False)
        live.failed_analyses, self._nested.failed_analyses = self._nested.failed_analyses, []
        if live.binding.analyses and live.run.status == outcomes.DONE and not live.ending.expected_failure:
            plan, analyses, mask = live.binding.plan, live.binding.analyses, live.binding.mask
            live.failed_analyses += self._analyses.call(live.run, plan.lineage, analyses, mask, plan.secrets)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Call the experiment with its fixtures and its parameters."""
        live = pyfuncitem.stash[LIVE]
        plan = live.binding.plan
        try:
            with ForksEnd(), live.interruptible:
                call_between_hooks(
                    pyfuncitem.obj,
                    # pytest gives nothing to an argument with a default, as in ``def exp_a(e=None)``.
                    {name: pyfuncitem.funcargs.get(name, live.run) for name in plan.fixtures},
                    live.run,
                    plan.parameters,
                    live.hooks,
                    name=pyfuncitem.originalname,
                    testing=plan.special.testing,
                )
        except BaseException as error:
            if isinstance(error, ExpeditionError | outcomes.RunTimeout):
                end_in_user_code(error)
            raise
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Let a fixture end its run alone.

        pytest takes note of the `Exception` of a fixture only; after `sys.exit` or an outcome of ours in one, every
        later run that asks for the fixture would fail.
        """
        live = self._current
        if live is not None and fixturedef.argname == "caplog":  # by `request.getfixturevalue`, perhaps
            live.hear_logs()
        try:
            with ForksEnd(), ENDLESS if live is None else live.interruptible:
                try:
                    return (yield)
                except (outcomes.RunOutcome, outcomes.RunTimeout, SystemExit) as error:
                    if isinstance(error, outcomes.RunTimeout):
                        end_in_user_code(error)
                    key = fixturedef.cache_key(request)  # type: ignore[arg-type]
                    fixturedef.cached_result = (None, key, (error, error.__traceback__))
                    raise
        except BaseException:
            note_failed(request, fixturedef)
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take the outcome from pytest's report, and put a few facts of the record into the last one."""
        report = yield
        live = item.stash.get(LIVE, None)
        if live is None:
            return report
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, ExpeditionError) and is_without_user_code(error):
            report.longrepr = f"{type(error).__name__}: {error}"
        if call.when != "teardown":
            live.judge(report, call)
        else:
            end = live.run.summary()
            report.expedition = {  # type: ignore[attr-defined]
                "node": f"{item.parent.nodeid}::{item.originalname}",  # type: ignore[attr-defined, union-attr]
                "index": item.stash[PLANNED_RUN].index,
                **end,
            }
            if live.run.stale and self._settings.why_stale:
                report.expedition["stale"] = live.run.stale
            if live.failed_analyses:
                report.expedition["analysis"] = live.failed_analyses
            if live.hooks.applied:
                report.expedition["hooks"] = sorted(live.hooks.applied)
            del item.stash[LIVE]
            # The run's log has it all; kept here it would stay until the end of the session.
            getattr(item, "_report_sections", []).clear()
        report.sections = [(title, sendable(text)) for title, text in report.sections]
        conceal_report(report, live.binding.mask)
        return report

    def pytest_leave_pdb(self) -> None:
        """After a breakpoint pytest captures output as before; the rest of the run is to be in its log all the same."""
        if self._current is not None:
            self._current.output.redirect_again()

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Show no secret in the summary of warnings."""
        for binding in self.bindings.values():
            conceal_warning(warning_message, binding.mask)

    def _phase(self, live: LiveRun) -> Generator[None, object, object]:
        ended: outcomes.RunOutcome | None = None
        interruptions = self._signals.raised
        try:
            with self._signals:
                live.output.redirect()
                if not live.hears_logs:
                    live.unheard = drop_captured_logs()
            try:
                with ForksEnd():
                    result = yield
            except Exception as error:
                if self._signals.raised > interruptions and not isinstance(error, outcomes.RunOutcome):
                    raise KeyboardInterrupt from error  # which the run made of one
                raise
            if self._signals.raised > interruptions:
                raise KeyboardInterrupt  # the run has caught one, and so may have left out what it liked
        except outcomes.RunOutcome as outcome:
            ended, result = outcome, None
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            # pytest ends the session before it tears this run down: its record has to be complete by then.
            live.ending.status, live.ending.error = outcomes.INTERRUPTED, error
            live.stop_the_clock()
            with self._signals:
                live.run.finish(outcomes.INTERRUPTED, error=error, entry=live.entry)
            raise
        finally:
            with self._signals:
                live.output.release()
        if ended is not None:
            live.end_in_words_of_pytest(ended)
        return result

    def _start(self, item: pytest.Item) -> LiveRun:
        plan, planned = item.stash[PLAN], item.stash[PLANNED_RUN]
        binding = self.bindings[id(plan)]
        entry = binding.entries.get(planned.key)
        if entry is None:
            raise RuntimeError(
                f"{item.nodeid} is not in the manifest of {binding.sweep.path}: its parameters differ between "
                f"the processes of this invocation; make the sweep deterministic"
            )
        folder = binding.sweep.path / entry.folder
        attempt = binding.attempts.get(entry.index, 0)
        if entry.index in binding.again:
            announce_again(binding, entry, self.writer_of(binding.sweep.path))
        if not _make_folder(folder):
            code = None if self._settings.ignore_code else binding.code or None
            attempt = max(attempt, set_aside(folder, code=code) + 1)
        binding.renew_copy(entry)
        hooks = RunHooks(item, self._absent.setdefault(id(plan), set()))
        identity = self._identity(binding, planned, entry, folder, attempt)
        caching = plan.special.caching
        run, output = self._maker.make(
            identity, listener=self.listener, hooks=hooks, caching=caching, children=self._nested
        )
        surroundings = Surroundings(plan.lineage, self._random)
        code = getattr(inspect.unwrap(item.function), "__code__", None)  # type: ignore[attr-defined]
        live = LiveRun(run, binding, output, surroundings, hooks, code)
        asks = "caplog" in item.fixturenames  # type: ignore[attr-defined]
        live.hears_logs = asks or self._collection.hooks.ask_for("caplog", plan)
        level = Level(
            run,
            plan.lineage,
            plan.special,
            surroundings.held,
            output,
            binding.mask,
            hooks.applied,
            plan.namespace,
            self.listener,
        )
        self._nested.levels[:] = [level]
        for name in item.callspec.params.keys() & run.params.keys():  # type: ignore[attr-defined]
            item.callspec.params[name] = run.params[name]  # type: ignore[attr-defined]
        try:
            surroundings.set_up(run, plan.parameters)
            run.start()
            if binding.analyses:
                self._analyses.write_script(run)
            live.deadline = self._timeouts.begin(plan, folder, item.nodeid, attempt)
        except BaseException as error:
            live.ending.status, live.ending.error = outcomes.FAILED, error
            self._end(live)
            raise
        return live

    def _identity(
        self, binding: SweepBinding, planned: PlannedRun, entry: RunEntry, folder: Path, attempt: int
    ) -> RunIdentity:
        plan = binding.plan
        values = {
            name: value if isinstance(value, _IMMUTABLE) else copy.deepcopy(value)
            for name, value in plan.values_of(planned).items()
        }
        tagged = {
            # Taken from the manifest where it stands there: the plan's own objects are the experiment's to change.
            name: entry.params[name] if name in entry.params else binding.fixed[name]
            for name in values
        }
        return RunIdentity(
            index=entry.index,
            id=entry.id,
            key=entry.key,
            replicate=planned.replicate,
            attempt=attempt,
            seed=derive_seed(self._settings.seed, plan.seed_identity(planned)),
            experiment=binding.sweep.manifest["experiment"],
            parameters=values,
            tagged=tagged,
            about=binding.about_of(planned),
            tags=(*plan.tags, *self._settings.tags),
            notes=self._settings.notes,
            folder=folder,
            sweep=binding.sweep.path,
            mask=binding.mask,
            repeats=planned.repeats,
            code=binding.code,
        )

    def _end(self, live: LiveRun) -> None:
        """Put back what the run held, and end its record."""
        live.stop_the_clock()
        with self._signals:
            self._current = None
            self._nested.levels.clear()
            live.surroundings.put_back()
            live.ending.record(live.run, live.entry)


def _make_folder(folder: Path) -> bool:
    """Make a run folder; returns whether it is new, and so without an earlier attempt."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        return False
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
    return True
