"""Execution: one pytest item becomes one recorded run, from set-up to teardown."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

import pytest

from expedition.archive.sweep import RunEntry, SweepFolder
from expedition.authoring.parameters import RUN_FIXTURES
from expedition.authoring.plan import PlannedRun, SweepPlan
from expedition.errors import ExpeditionError
from expedition.plugin.collection import PLAN, PLANNED_RUN, ExperimentCollection
from expedition.plugin.settings import Settings
from expedition.plugin.signals import Signals
from expedition.recording import Run, layout, outcomes
from expedition.recording.attempts import set_aside
from expedition.recording.figures import OpenFigures
from expedition.recording.meta import RunIdentity
from expedition.recording.output import REPORT_LIMIT, Output, read_head
from expedition.recording.run import RunListener
from expedition.recording.seeds import GlobalRandomState, derive_seed
from expedition.recording.variables import HeldVariables
from expedition.recording.writer import SweepWriter
from expedition.values import encode

_NOT_RUN = "[NOTRUN] "
"""What pytest puts before the reason of ``xfail(run=False)``."""

_FIXTURES = "expedition.plugin.fixtures"
"""Where the fixtures `experiment` and `e` are made, unless the project has its own."""

_USER_TEXT = frozenset({"longrepr", "sections", "user_properties", "expedition"})
"""Members of a report that may hold any text."""

_IMMUTABLE = (str, int, float, bool, bytes, complex, type(None))


@dataclass
class SweepBinding:
    """A plan bound to the sweep folder in which this invocation records its runs.

    `attempts` holds the number of the coming attempt of runs that were tried before, by index in the sweep;
    `skip` the run keys that are settled already.
    """

    plan: SweepPlan
    sweep: SweepFolder
    attempts: Mapping[int, int] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.entries: dict[str, RunEntry] = {}
        self._known = 0
        self.update()
        self.fixed = {name: encode(value, name=name) for name, value in self.plan.fixed.items()}
        self.about = {
            name: {
                key: text
                for key, text in (
                    ("type", parameter.type_name),
                    ("description", parameter.description),
                    ("origin", self.plan.origins.get(name, "")),
                )
                if text
            }
            for name, parameter in self.plan.parameters.items()
        }
        self._names_of_run: tuple[str, ...] | None = None

    def update(self) -> None:
        """Take note of the rows that the sweep folder got since it was bound."""
        rows = self.sweep.entries
        for index in range(self._known, len(rows)):
            self.entries[rows[index].key] = rows[index]
        self._known = len(rows)

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


@dataclass
class LiveRun:
    """The run of one item while pytest works on it."""

    run: Run
    binding: SweepBinding
    output: Output
    held: HeldVariables
    entry: CodeType | None = None
    status: str = outcomes.DONE
    error: BaseException | None = None
    reason: str = ""
    expected_failure: bool = False
    pruned: bool = False


LIVE = pytest.StashKey[LiveRun]()


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
        self._capture = str(config.getoption("capture"))
        self._worker = getattr(config, "workerinput", {}).get("workerid", "main")
        self._random = GlobalRandomState()
        self._figures = OpenFigures()
        self._current: LiveRun | None = None
        self._writers: dict[Path, SweepWriter] = {}
        self.bindings: dict[int, SweepBinding] = {}
        self.listener: RunListener | None = None

    def bind(self, binding: SweepBinding) -> None:
        """Record the runs of a plan in a sweep folder."""
        self.bindings[id(binding.plan)] = binding

    def writer_of(self, sweep: Path) -> SweepWriter:
        """This process's writer in a sweep folder, made at its first run there."""
        if sweep not in self._writers:
            self._writers[sweep] = SweepWriter(sweep, self._worker)
        return self._writers[sweep]

    def close(self) -> None:
        """End a run that a signal caught between two phases, and give back the locks of this process."""
        if self._current is not None:
            self._current.status = outcomes.INTERRUPTED
            self._end(self._current)
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Begin the run, then let pytest set up its fixtures."""
        with self._signals:
            live = item.stash[LIVE] = self._current = self._start(item)
            # The values are known: a fixture for each of them would cost more than the rest of the set-up.
            item.funcargs.update(item.callspec.params)  # type: ignore[attr-defined]
            item.funcargs.update(dict.fromkeys(live.binding.names_of_run(item), live.run))  # type: ignore[attr-defined]
        return (yield from self._phase(live))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Let pytest call the function, its output going to the run's log."""
        return (yield from self._phase(item.stash[LIVE]))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Let pytest tear down, then end the record."""
        live = item.stash.get(LIVE, None)
        if live is None:
            return (yield)
        try:
            result = yield from self._phase(live)
        except BaseException as error:
            live.status, live.error = outcomes.FAILED, live.error or error
            live.expected_failure = False
            raise
        finally:
            self._end(live)
        if live.run.status == outcomes.FAILED and live.status == outcomes.DONE:
            problems = "\n".join(live.run.problems)
            pytest.fail(f"the record of the run could not be completed:\n{problems}", pytrace=False)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Call the experiment with its fixtures and its parameters."""
        live = pyfuncitem.stash[LIVE]
        # pytest gives nothing to an argument with a default, as in ``def exp_a(e=None)``.
        arguments = {name: pyfuncitem.funcargs.get(name, live.run) for name in live.binding.plan.fixtures}
        for name, parameter in live.binding.plan.parameters.items():
            if parameter.kind == "argument":
                arguments[name] = live.run.params[name]
        try:
            result = pyfuncitem.obj(**arguments)
        except ExpeditionError as error:
            end_in_user_code(error)
            raise
        if result is not None:
            pytest.fail(
                f"{pyfuncitem.originalname} returned a {type(result).__name__}, which nothing records; "
                f"store it with experiment['name'] = …",
                pytrace=False,
            )
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Let a fixture end its run alone.

        pytest takes note of the `Exception` of a fixture only; after `sys.exit` or an outcome of ours in one, every
        later run that asks for the fixture would fail.
        """
        try:
            return (yield)
        except (outcomes.RunOutcome, SystemExit) as error:
            key = fixturedef.cache_key(request)  # type: ignore[arg-type]
            fixturedef.cached_result = (None, key, (error, error.__traceback__))
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
        if call.when != "teardown":
            self._judge(live, report, call)
        else:
            end = live.run.summary()
            report.expedition = {  # type: ignore[attr-defined]
                "node": f"{item.parent.nodeid}::{item.originalname}",  # type: ignore[attr-defined, union-attr]
                "index": item.stash[PLANNED_RUN].index,
                **end,
            }
            del item.stash[LIVE]
            # The run's log has it all; kept here it would stay until the end of the session.
            getattr(item, "_report_sections", []).clear()
        report.sections = [(title, sendable(text)) for title, text in report.sections]
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, Any, Any]:
        """Make a worker's report one that can be sent: one odd text would end the whole session."""
        data = yield
        if data is None or not str(data.get("nodeid", "")).isascii():
            return sendable(data)
        for name in _USER_TEXT & data.keys():  # the rest is made of the id
            if data[name]:
                data[name] = sendable(data[name])
        return data

    def _judge(self, live: LiveRun, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        error = call.excinfo.value if call.excinfo is not None else None
        if report.failed:
            live.status = outcomes.FAILED
            # A strict xfail that passed has no exception, only its report.
            live.error = error if error is not None else AssertionError(str(report.longrepr))
            head = read_head(live.output.path)
            if head:
                report.sections.append((f"Output of the run ({live.output.path})", head))
        elif report.skipped and str(getattr(report, "wasxfail", "")).startswith(_NOT_RUN):
            live.status, live.reason = outcomes.SKIPPED, report.wasxfail.removeprefix(_NOT_RUN)
        elif report.skipped and hasattr(report, "wasxfail"):
            live.expected_failure, live.error = True, error
            live.reason = report.wasxfail
        elif report.skipped:
            live.status = outcomes.PRUNED if live.pruned else outcomes.SKIPPED
            live.reason = live.reason or str(getattr(error, "msg", error))

    def _phase(self, live: LiveRun) -> Generator[None, object, object]:
        ended: outcomes.RunOutcome | None = None
        try:
            with self._signals:
                live.output.redirect()
            result = yield
        except outcomes.RunOutcome as outcome:
            ended, result = outcome, None
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            # pytest ends the session before it tears this run down: its record has to be complete by then.
            live.status, live.error = outcomes.INTERRUPTED, error
            with self._signals:
                live.run.finish(outcomes.INTERRUPTED, error=error, entry=live.entry)
            raise
        finally:
            with self._signals:
                live.output.release()
        if ended is not None:
            _translate(ended, live)
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
        if not _make_folder(folder) and (attempt or (folder / layout.META_FILE).exists()):
            attempt = max(attempt, set_aside(folder) + 1)
        run, output = self._make_run(binding, planned, entry, folder, attempt)
        # The function may be wrapped by one from elsewhere: its globals are not those of the experiment.
        held = HeldVariables(item.module.__dict__)  # type: ignore[attr-defined]
        code = getattr(inspect.unwrap(item.function), "__code__", None)  # type: ignore[attr-defined]
        live = LiveRun(run, binding, output, held, code)
        variables = {name: run.params[name] for name, p in plan.parameters.items() if p.kind == "variable"}
        self._random.seed(run.seed)
        self._figures.remember()
        for name in item.callspec.params.keys() & run.params.keys():  # type: ignore[attr-defined]
            item.callspec.params[name] = run.params[name]  # type: ignore[attr-defined]
        try:
            held.hold(variables)
            run.start()
        except BaseException as error:
            live.status, live.error = outcomes.FAILED, error
            self._end(live)
            raise
        return live

    def _make_run(
        self, binding: SweepBinding, planned: PlannedRun, entry: RunEntry, folder: Path, attempt: int
    ) -> tuple[Run, Output]:
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
        identity = RunIdentity(
            index=entry.index,
            id=entry.id,
            key=entry.key,
            replicate=planned.replicate,
            attempt=attempt,
            seed=derive_seed(self._settings.seed, seed_identity(plan, planned)),
            experiment=binding.sweep.manifest["experiment"],
            parameters=values,
            tagged=tagged,
            about=binding.about_of(planned),
            tags=(*plan.tags, *self._settings.tags),
            notes=self._settings.notes,
            folder=folder,
            sweep=binding.sweep.path,
        )
        output = Output(
            str(folder / layout.LOG_FILE),
            descriptors=self._capture == "fd",
            echo=self._capture in ("no", "tee-sys"),
        )
        return Run(identity, self.writer_of(binding.sweep.path), self.listener, output), output

    def _end(self, live: LiveRun) -> None:
        """Put back what the run held, and end its record."""
        with self._signals:
            self._current = None
            live.held.restore()
            self._random.restore()
            self._figures.close_new()
            live.run.finish(
                live.status,
                error=live.error,
                entry=live.entry,
                reason=live.reason,
                expected_failure=live.expected_failure,
            )


def _translate(outcome: outcomes.RunOutcome, live: LiveRun) -> NoReturn:
    """Say in pytest's words how a run ended itself."""
    live.reason, live.pruned = outcome.reason, isinstance(outcome, outcomes.PruneRun)
    if isinstance(outcome, outcomes.FailRun):
        pytest.fail(outcome.reason, pytrace=False)
    pytest.skip(outcome.reason)


def sendable(content: Any, longest: int = REPORT_LIMIT) -> Any:
    """Return JSON-like content with texts that UTF-8 can hold, none of them longer than `longest`."""
    if isinstance(content, str):
        if len(content) > longest:
            content = f"{content[:longest]}… ({len(content) - longest} more characters in the run's record)"
        return content if content.isascii() else content.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(content, dict):
        return {sendable(key): sendable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [sendable(item) for item in content]
    return content


def _make_folder(folder: Path) -> bool:
    """Make a run folder; returns whether it is new, and so without an earlier attempt."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        return False
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
    return True


def end_in_user_code(error: ExpeditionError) -> None:
    """Cut the frames of this package from the end of a traceback: the mistake is in the line that called it."""
    last = trace = error.__traceback__
    while trace is not None:
        if not trace.tb_frame.f_globals.get("__name__", "").startswith("expedition."):
            last = trace
        trace = trace.tb_next
    if last is not None:
        last.tb_next = None


def seed_identity(plan: SweepPlan, run: PlannedRun) -> str:
    """What the seed of a run derives from: its key, or for paired replicates experiment and replicate alone."""
    if not plan.paired:
        return run.key
    from expedition.authoring.identity import run_key

    return run_key(plan.file, plan.function, {}, run.replicate)
