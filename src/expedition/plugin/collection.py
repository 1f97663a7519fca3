"""Collection: which files and functions are experiments, and one pytest item per planned run."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import FunctionType
from typing import Any

import pytest

from expedition.archive.expansions import Expansion
from expedition.authoring.after_sweep import check_after_sweeps
from expedition.authoring.growth import PlanGrowth
from expedition.authoring.lineage import CONFIG_SUFFIXES, Lineage, experiments_in, lineage_of, read_text
from expedition.authoring.parameters import MISSING, RUN_FIXTURES
from expedition.authoring.plan import PlannedRun, SweepPlan, plan_sweep
from expedition.authoring.repeats import PastRun, repeat
from expedition.authoring.special import special_of
from expedition.authoring.specs import spec_of
from expedition.errors import ExperimentError, near_matches
from expedition.plugin.exposure import refuse_exposed
from expedition.plugin.findings import Finding
from expedition.plugin.hooks import ExperimentHooks
from expedition.plugin.modules import ExperimentConfig, ExperimentModule, ForeignFile
from expedition.plugin.settings import Settings, relative_file
from expedition.plugin.stages import check_stages
from expedition.recording import layout

RUN_ARGUMENT = "expedition_run"
PLAN = pytest.StashKey[SweepPlan]()
PLANNED_RUN = pytest.StashKey[PlannedRun]()


class ExperimentCollection:
    """Collects marked functions from experiment files; the same in every process of an invocation.

    Attributes
    ----------
    plans : the plan of every collected experiment by the node id of its function, in order of collection.
    errors : what is wrong, for one usage error before anything runs; `warnings` what the user should know.
    expansions : set by the controller or worker: what was added to the sweep of a plan (by node id) after its
        design.
    past_runs : set by the controller or worker with ``--archive-select``: the past runs that take the place of the
        design of a plan (by node id).
    first : by node id the index of the first run of which there are items; a worker of a later generation has
        none of the runs before.
    idle : files that such a worker need not import, since they have no run in its generation.
    """

    def __init__(self, config: pytest.Config, settings: Settings, hooks: ExperimentHooks) -> None:
        self.hooks = hooks
        hooks.use_plans(lambda item: item.stash.get(PLAN, None))
        self._config = config
        self._settings = settings
        self._archive = settings.archive.resolve()
        self.plans: dict[str, SweepPlan] = {}
        self.errors: list[Finding] = []
        self.warnings: list[str] = []
        self.expansions: Callable[[str, SweepPlan], Iterable[Expansion]] | None = None
        self.past_runs: Callable[[str, SweepPlan], Sequence[PastRun]] | None = None
        self.first: Mapping[str, int] = {}
        self.idle: frozenset[Path] = frozenset()
        self._lineages: dict[Path, dict[str, Lineage | ExperimentError]] = {}
        self._places: dict[str, tuple[pytest.Module, str, Any]] = {}
        self._growths: dict[str, PlanGrowth] = {}
        self._start = 0
        self._complete = False

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out archives, and files that are no experiment files.

        Anything else gets None: False would switch off ``--ignore`` and the like.
        """
        if collection_path.is_dir():
            inside = (collection_path / layout.SWEEP_FILE).is_file() or collection_path == self._archive
            return True if inside else None
        if collection_path in self.idle:
            return True
        if collection_path.resolve() in self._settings.files:
            return None
        matches = any(fnmatch.fnmatch(collection_path.name, p) for p in self._settings.file_patterns)
        return None if matches else True

    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> ExperimentModule:
        """Collect an experiment file."""
        return ExperimentModule.prepared_by(self.prepare, parent, path=module_path)

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect a config; `pytest_ignore_collect` has left out what is no experiment file."""
        if file_path.suffix in CONFIG_SUFFIXES:
            return ExperimentConfig.prepared_by(self.prepare, parent, path=file_path)
        return ForeignFile.from_parent(parent, path=file_path) if file_path.suffix != ".py" else None

    def prepare(self, module: pytest.Module) -> None:
        """Load what the experiments of a module extend and include, with its fixtures and hooks."""
        namespace = vars(module.obj)
        text = read_text(module.path)
        lineages: dict[str, Lineage | ExperimentError] = {}
        for name, function in experiments_in(namespace).items():
            try:
                lineages[name] = lineage_of(
                    function, namespace, path=module.path, text=text, includes=self._settings.includes
                )
            except ExperimentError as error:
                lineages[name] = error
        self._lineages[module.path] = lineages
        check_after_sweeps(namespace)
        self.hooks.prepare(module, [found for found in lineages.values() if isinstance(found, Lineage)])

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Module | pytest.Class, name: str, obj: object
    ) -> list[pytest.Item] | None:
        """Make the items of a marked function; nothing else in an experiment file is collected."""
        if not isinstance(collector, pytest.Module):
            return []
        spec = spec_of(obj)
        if spec is None or name not in self._lineages.get(collector.path, ()):
            return []
        function: Any = obj
        try:
            plan = self._plan(collector, function)
        except ExperimentError as error:
            made_here = function.__code__.co_filename == str(collector.path)  # and not by extend
            base = spec.base if collector.path.suffix not in CONFIG_SUFFIXES else None
            line = base.line if base is not None and not made_here else 0
            self._refuse(collector.path, error, function.__code__ if made_here else None, line)
            return []
        called = _function_of(plan.lineage)
        for mark in getattr(called, "pytestmark", ()):
            if mark.name == "parametrize":
                names = mark.args[0] if mark.args else ""
                self._refuse(collector.path, _foreign_axis(name, str(names)), function.__code__)
                return []
        node = f"{collector.nodeid}::{name}"
        self.plans[node] = plan
        self._places[node] = collector, name, called
        items = self._items(node, 0)
        if items:
            self._check_arguments(collector.path, plan, items[0])
        return [item for item in items if not self._refuse_foreign_axes(collector.path, plan, item)]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give a marked function one call per run of its plan."""
        plan = self.plans.get(f"{metafunc.definition.parent.nodeid}::{metafunc.definition.originalname}")  # type: ignore[union-attr]
        if plan is None:
            return
        required = [
            name
            for name, argument in inspect.signature(metafunc.function).parameters.items()
            if name in plan.parameters and argument.default is argument.empty
        ]
        names = [RUN_ARGUMENT, *required]
        metafunc.fixturenames.append(RUN_ARGUMENT)
        calls = []
        runs = plan.runs[self._start :] if self._start else plan.runs
        for run in runs:
            values = plan.values_of(run)
            calls.append((run.index, *(values[name] for name in required)))
        metafunc.parametrize(names, calls, ids=[run.id or pytest.HIDDEN_PARAM for run in runs])

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Turn an `ExperimentError` raised while a file was imported into a usage error without traceback."""
        report = yield
        call = getattr(report, "call", None)
        if report.failed and call is not None and call.excinfo is not None:
            error = call.excinfo.value
            if isinstance(error, ExperimentError):
                line = next(
                    (
                        e.lineno + 1
                        for e in reversed(call.excinfo.traceback)
                        if Path(e.path) == collector.path
                    ),
                    0,
                )
                self._refuse(collector.path, error, None, line)
                report.outcome, report.longrepr, report.result = "passed", None, []
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Add the runs of expansions, note the planned run of every item, then leave out what ``--where`` excludes."""
        if not self._complete:
            self._complete = True
            self._check_where()
            self._check_names()
            self._part_namespaces()
            self._expand(items)
            for plan in self.plans.values():
                plan.select(self._settings.where)
        for item in items:
            if isinstance(item, pytest.Function):
                plan = self.plans[node_of(item)]
                item.stash[PLAN], item.stash[PLANNED_RUN] = plan, plan.runs[run_index(item)]
        result = yield
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            run = item.stash.get(PLANNED_RUN, None)
            selected = run is not None and run.index in item.stash[PLAN].selected
            (kept if selected else left_out).append(item)
        if left_out:
            self._config.hook.pytest_deselected(items=left_out)
            items[:] = kept
        return result

    def growth_of(self, node: str) -> PlanGrowth:
        """What types, checks and names points that are added to the plan of `node`."""
        if node not in self._growths:
            self._growths[node] = PlanGrowth(self.plans[node])
        return self._growths[node]

    def add(self, node: str, runs: Sequence[PlannedRun]) -> list[pytest.Item]:
        """Append runs to a plan; return their items, which pytest has not seen yet."""
        plan = self.plans[node]
        start = len(plan.runs)
        self.growth_of(node).add(runs)
        plan.select(self._settings.where, first=start)
        return self._items(node, start)

    def _items(self, node: str, start: int) -> list[pytest.Item]:
        """Make the items of the runs of a plan from index `start` on."""
        self._start = max(start, self.first.get(node, 0))
        if self._start >= len(self.plans[node].runs):
            return []
        collector, name, function = self._places[node]
        items: list[pytest.Item] = []
        for item in collector._genfunctions(name, function):
            item.obj = function  # pytest would take what stands in the module under the name
            items.append(item)
        return items

    def _expand(self, items: list[pytest.Item]) -> None:
        """Add what expansions added to the sweeps, behind the items of their experiment."""
        if self.expansions is None:
            return
        for node, plan in self.plans.items():
            added: list[pytest.Item] = []
            for expansion in self.expansions(node, plan):
                points = [p for p in expansion.values() if p.keys() <= plan.parameters.keys()]
                if len(points) < len(expansion.points):
                    count = len(expansion.points) - len(points)
                    self.warnings.append(
                        f"{count} points of {expansion.place} name what is no parameter any more"
                    )
                try:
                    runs = self.growth_of(node).runs_of(points, origin=expansion.place)
                    refuse_exposed(plan, runs)
                except ExperimentError as error:
                    self._refuse_plan(plan, f"{error}; take the line out of the file to go without it")
                    continue
                added += self.add(node, runs)
            if added:
                own = [number for number, item in enumerate(items) if node_of(item) == node]
                place = own[-1] + 1 if own else len(items)
                items[place:place] = added
                # So that they count among those that the terminal says were collected.
                report = pytest.CollectReport(node, "passed", None, [*added])
                self._config.hook.pytest_collectreport(report=report)

    def _plan(self, collector: pytest.Module, function: Any) -> SweepPlan:
        path = collector.path
        known = self._lineages[path]
        lineage = known[function.__name__]
        if isinstance(lineage, ExperimentError):
            raise lineage
        plan = plan_sweep(
            lineage,
            file=self._relative(path),
            namespace=self._namespace(path, function.__name__ if len(known) > 1 else None),
            overrides=self._settings.overrides,
            special=special_of(lineage, **self._settings.special),
        )
        if self.past_runs is not None:
            node = f"{collector.nodeid}::{function.__name__}"
            self.warnings += repeat(plan, self.past_runs(node, plan))
        refuse_exposed(plan)
        return plan

    def _relative(self, path: Path) -> str:
        return relative_file(path, self._settings.rootdir)

    def _namespace(self, path: Path, function: str | None) -> str:
        """The file's path below the collected folder without suffix, and the function if there are several."""
        for root in self._settings.roots:
            if path.is_relative_to(root):
                base = path.relative_to(root).with_suffix("").as_posix()
                break
        else:
            base = path.stem
        return f"{base}/{function}" if function else base

    def _check_arguments(self, path: Path, plan: SweepPlan, item: Any) -> None:
        known = item._fixtureinfo.name2fixturedefs
        for name in plan.fixtures:
            if name not in known and name not in ("request", *RUN_FIXTURES):
                near = near_matches(name, [*known, *plan.parameters])
                self._refuse(
                    path,
                    f"{plan.name}: the argument {name!r} is neither a parameter nor a fixture{near}; give it a "
                    f"default, or sweep over it, to make it a parameter",
                    item.function.__code__,
                )
        try:
            check_stages(item, plan.parameters)
        except ExperimentError as error:
            self._refuse(path, f"{plan.name}: {error}", item.function.__code__)
        for name, parameter in plan.parameters.items():
            if parameter.default is MISSING and name not in plan.fixed and name not in plan.swept:
                self._refuse(path, f"{plan.name}: parameter {name} has no value", item.function.__code__)

    def _refuse_foreign_axes(self, path: Path, plan: SweepPlan, item: Any) -> bool:
        """Axes that the record would not know of are refused; returns whether there were any."""
        own = {RUN_ARGUMENT, *plan.parameters}
        for name in item.callspec.params:
            if name not in own:
                message = _foreign_axis(plan.name, name)
                if not any(message == known.text for known in self.errors):
                    self._refuse(path, message, item.function.__code__)
                return True
        return False

    def _check_names(self) -> None:
        """Refuse two experiments of one file under one name: tables and ``-P`` could not tell them apart."""
        seen: dict[tuple[str, str], SweepPlan] = {}
        for plan in self.plans.values():
            other = seen.setdefault((plan.file, plan.name), plan)
            if other is not plan:
                self._refuse_plan(
                    plan,
                    f"{other.function} and {plan.function} are both called {plan.name!r}; give one of them "
                    f"another name",
                )

    def _part_namespaces(self) -> None:
        """Give files of one name in several collected folders namespaces of their own."""
        by_namespace: dict[str, list[SweepPlan]] = {}
        for plan in self.plans.values():
            by_namespace.setdefault(plan.namespace, []).append(plan)
        for namespace, plans in by_namespace.items():
            if len({plan.file for plan in plans}) > 1:
                for plan in plans:
                    folder = PurePosixPath(plan.file).parent
                    if not plan.namespace_given and not folder.is_absolute():
                        plan.namespace = str(folder / namespace)

    def _check_where(self) -> None:
        where = self._settings.where
        if where is None or not self.plans:
            return
        from expedition.authoring.expressions import check_names

        known = {"replicate", "rep"}
        for plan in self.plans.values():
            known |= {
                prefix + n for n in plan.parameters for prefix in ("", "params.", "parameters.", "par.")
            }
        try:
            check_names(where, known)
        except ExperimentError as error:
            self.errors.append(Finding(f"--where: {error}"))

    def _refuse(self, path: Path, error: object, code: Any = None, line: int = 0) -> None:
        line = line or (code.co_firstlineno if code is not None else 0)
        text = str(error)
        if said := re.match(
            rf"{re.escape(path.name)}(?:(?::|, line )(\d+))?: ", text
        ):  # knows its place better
            line, text = int(said[1] or line), text[said.end() :]
        self.errors.append(Finding(text, path, self._relative(path), line))

    def _refuse_plan(self, plan: SweepPlan, text: str) -> None:
        self.errors.append(Finding(text, plan.lineage.own.source.path, plan.file))


def _foreign_axis(experiment: str, name: str) -> str:
    return (
        f"{experiment}: {name!r} is parametrized by pytest, which the record of a run would not show; sweep over "
        f"a parameter with @experiment.parametrize({name!r}, …)"
    )


def _function_of(lineage: Lineage) -> Any:
    """What pytest is to call: the function of the base goes by the name and has the marks of what extends it."""
    body, own = lineage.body, lineage.own.function
    if body is own:
        return own
    function = FunctionType(
        body.__code__, body.__globals__, own.__name__, body.__defaults__, body.__closure__
    )
    functools.update_wrapper(function, body, assigned=("__doc__", "__annotations__"))
    del function.__wrapped__  # type: ignore[attr-defined]
    function.__kwdefaults__ = body.__kwdefaults__
    if hasattr(body, "__wrapped__"):
        function.__wrapped__ = body.__wrapped__  # type: ignore[attr-defined]
    marks = [*getattr(body, "pytestmark", ()), *getattr(own, "pytestmark", ())]
    if marks:
        function.pytestmark = marks  # type: ignore[attr-defined]
    return function


def node_of(item: pytest.Item) -> str:
    """The node id of the function of an item."""
    return f"{item.parent.nodeid}::{getattr(item, 'originalname', item.name)}"  # type: ignore[union-attr]


def run_index(item: pytest.Item) -> int:
    """Which run of its plan an item is."""
    index: int = item.callspec.params[RUN_ARGUMENT]  # type: ignore[attr-defined]
    return index
