"""Hooks of experiments as fixtures: which there are, in which order they override, and how a run applies them."""

from __future__ import annotations

import abc
import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from expedition.authoring.hooks import STANDARD, Hook, fixture_name, hooks_of
from expedition.authoring.lineage import Lineage
from expedition.authoring.plan import SweepPlan
from expedition.authoring.stages import Stage, stages_of
from expedition.errors import ExperimentError, near_matches
from expedition.plugin import fixture_order

_MADE = "__expedition_fixtures__"
"""Variable of a module in which it says which session made fixtures of its hooks."""

_PREFIX = fixture_name("")


class Filled(Protocol):
    """What the fixture of a hook gives: a function of the run and of the keywords of the call."""

    def __call__(self, run: Any, /, **keywords: Any) -> Any: ...


class BoundHook:
    """A hook function with the fixtures of one run, and with what it overrides."""

    def __init__(self, hook: Hook, request: pytest.FixtureRequest | None, outer: Filled | None) -> None:
        self.hook = hook
        self._request = request
        self._outer = outer

    def __call__(self, run: Any, /, **keywords: Any) -> Any:
        """Call the function, after what it adds to; return its result, or theirs when it returns None."""
        hook = self.hook
        result = None
        if not hook.replace and self._outer is not None and not hook.applies_outer(fixture_name(hook.name)):
            result = self._outer(run, **keywords)
        own = hook.function(run, **self._arguments(keywords))
        return result if own is None and not hook.replace else own

    def _arguments(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """What the function asks for: keywords of the call first, then fixtures, then its own defaults."""
        given: dict[str, Any] = {}
        for name, argument in self.hook.arguments.items():
            if argument.kind is argument.VAR_KEYWORD:
                given.update({key: value for key, value in keywords.items() if key not in given})
            elif name == fixture_name(self.hook.name):
                given[name] = self._outer or _nothing
            elif name in keywords:
                given[name] = keywords[name]
            elif argument.default is argument.empty:
                given[name] = self._fixture(name, keywords)
        return given

    def _fixture(self, name: str, keywords: Mapping[str, Any]) -> Any:
        assert self._request is not None
        try:
            return self._request.getfixturevalue(name)
        except pytest.FixtureLookupError as error:
            if error.argname != name:
                raise
            known = ", ".join(keywords) or "none"
            raise ExperimentError(
                f"the hook {self.hook.name} at {self.hook.place} asks for {name!r}, which is neither a keyword "
                f"of this call{near_matches(name, keywords)} nor a fixture; keywords: {known}"
            ) from None


def _nothing(run: Any, /, **keywords: Any) -> None:
    """What a hook overrides when there is nothing."""


class ExperimentHooks:
    """Turns the functions that ``@experiment.hook`` marks into fixtures, wherever they are."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session: pytest.Session | None = None
        self._rooted: set[str] = set()
        self._hooks: dict[str, dict[str, Hook]] = {}
        self._hidden: dict[str, tuple[Hook, Hook]] = {}
        self._asked: dict[tuple[str, int], bool] = {}
        self._result: Callable[[Stage, pytest.FixtureRequest], Any]
        self._plans: Callable[[pytest.Item], SweepPlan | None] = lambda item: None

    def use_plans(self, plan_of: Callable[[pytest.Item], SweepPlan | None]) -> None:
        """Say how the plan of an item is found."""
        self._plans = plan_of

    @pytest.hookimpl(tryfirst=True)
    def pytest_plugin_registered(self, plugin: object) -> None:
        """Make fixtures of the hooks of a conftest or plugin, before pytest looks for its fixtures."""
        if isinstance(plugin, ModuleType):
            self.make_fixtures(vars(plugin))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Give the hooks of conftests a place below them."""
        self._session = session
        self._root()

    def make_fixtures(self, module: dict[str, Any]) -> None:
        """Add to a module a fixture for each hook that it defines; later ones override earlier ones."""
        # A module may outlive its session: the fixtures of that one are none of this one's.
        if module.get(_MADE) is self:
            return
        found, stages = list(hooks_of(module)), list(stages_of(module))
        if not found and not stages:
            return
        module[_MADE] = self
        for number, stage in enumerate(stages):
            module[f"_expedition_stage_{number:04d}"] = pytest.fixture(name=stage.name)(self._stage(stage))
        for number, hook in enumerate(found):
            for earlier in found[:number] if hook.hides_others else ():
                if earlier.name == hook.name:
                    self._hidden[earlier.place] = earlier, hook
            self._hooks.setdefault(hook.name, {})[hook.place] = hook
            # pytest reads the names of a module in alphabetical order.
            module[f"{fixture_order.HOOK_FIXTURE}{number:04d}"] = pytest.fixture(
                name=fixture_name(hook.name)
            )(_fixture_of(hook))

    def use_stages(self, result: Callable[[Stage, pytest.FixtureRequest], Any]) -> None:
        """Say how the result of a stage is got for the run of a request."""
        self._result = result

    def _stage(self, stage: Stage) -> Callable[..., Any]:
        """Return the function of the fixture that a stage is: what it asks for is got only where it is computed."""

        def make(request: pytest.FixtureRequest) -> Any:
            return self._result(stage, request)

        make.__dict__.update(vars(stage.function))
        make.__name__, make.__doc__ = stage.name, stage.function.__doc__
        return make

    def prepare(self, module: pytest.Module, lineages: Iterable[Lineage]) -> None:
        """Register the fixtures and hooks of what the experiments of a module extend and include."""
        mixins: dict[str, dict[str, Any]] = {}
        bases: dict[str, dict[str, Any]] = {}
        for lineage in lineages:
            for level in lineage.levels:
                own = level is lineage.own
                (mixins if own else bases).update({str(m.path): m.module for m in level.mixins})
                if not own:
                    bases[str(level.source.path)] = level.source.module
        for namespace in bases.values():
            self.make_fixtures(namespace)
            fixture_order.register_all(namespace, module, hooks=False)
        for namespace in mixins.values():
            self.make_fixtures(namespace)
            fixture_order.register_all(namespace, module, hooks=True)
        self.make_fixtures(vars(module.obj))
        self._root()

    def _root(self) -> None:
        """Register, for each hook, what those of conftests and experiment files override: the hooks of bases."""
        if self._session is None:
            return
        for name in self._hooks.keys() - self._rooted:
            self._rooted.add(name)
            fixture_order.register_below_conftests(
                fixture_name(name), self._session, functools.partial(self._of_bases, name), outermost=_nothing
            )

    def _of_bases(self, name: str, request: pytest.FixtureRequest, outer: Filled | None) -> Filled:
        plan = self._plans(request.node)
        filled = outer or _nothing
        for level in plan.lineage.levels[:-1] if plan is not None else ():
            for source in (*level.mixins, level.source):
                for hook in hooks_of(source.module):
                    if hook.name == name:
                        filled = BoundHook(hook, request, filled)
        return filled

    def ask_for(self, fixture: str, plan: SweepPlan) -> bool:
        """Whether a hook that a run of `plan` may apply asks for `fixture` itself."""
        known = self._asked.get((fixture, id(plan)))
        if known is None:
            asking = [h for places in self._hooks.values() for h in places.values() if fixture in h.arguments]
            known = any(_concerns(Path(hook.function.__code__.co_filename), plan) for hook in asking)
            self._asked[fixture, id(plan)] = known
        return known

    def unapplied(self, applied: Sequence[tuple[SweepPlan, Collection[str]]]) -> list[str]:
        """Return a message for each hook that no run applied, of those that some experiment might have.

        `applied` has the hooks that the runs of each experiment applied. There is a message as well for a hook that
        another one of its file leaves no chance.
        """
        messages = [
            f"the hook {hook.name} at {hook.place} is never called: that at {other.place} takes its place; keep one "
            f"of them, or say replace=False"
            for hook, other in self._hidden.values()
            if any(_concerns(Path(hook.function.__code__.co_filename), plan) for plan, _ in applied)
        ]
        for hook in (hook for places in self._hooks.values() for hook in places.values()):
            file = Path(hook.function.__code__.co_filename)
            concerned = [names for plan, names in applied if _concerns(file, plan)]
            known = {*STANDARD}.union(*concerned)
            if concerned and hook.name not in known:
                messages.append(
                    f"the hook {hook.name} at {hook.place} was applied by no run{near_matches(hook.name, known)}"
                )
        return messages


class AppliedHooks(abc.ABC):
    """Applies hooks for one run.

    Attributes
    ----------
    applied : names of the hooks that were applied, whether or not anything fills them.
    """

    def __init__(self) -> None:
        self.applied: set[str] = set()

    @abc.abstractmethod
    def find(self, name: str) -> Filled | None:
        """Return what fills the hook, None when nothing does. Raises `ExperimentError` for what cannot be called."""

    def apply(self, run: Any, name: str, default: Any, keywords: Mapping[str, Any]) -> Any:
        """Call what fills the hook `name` nearest to the experiment; return `default` when nothing does."""
        self.applied.add(name)
        filled = self.find(name)
        return default if filled is None else filled(run, **keywords)


class RunHooks(AppliedHooks):
    """The hooks of a run of pytest, known by the fixtures that its item sees.

    `absent` holds the fixtures that are known not to be there.
    """

    def __init__(self, item: pytest.Item, absent: set[str]) -> None:
        super().__init__()
        self._item = item
        self._absent = absent

    def find(self, name: str) -> Filled | None:
        """Return what fills the hook, None when nothing does. Raises `ExperimentError` for what cannot be called."""
        fixture = fixture_name(name)
        if fixture in self._absent:
            return None
        try:
            value = self._item._request.getfixturevalue(fixture)  # type: ignore[attr-defined]
        except pytest.FixtureLookupError as error:
            if error.argname != fixture:
                raise
            # The same for all runs of the experiment.
            self._absent.add(fixture)
            return None
        if value is _nothing:
            return None
        if not callable(value):
            raise ExperimentError(
                f"the fixture {fixture} gives a {type(value).__name__}; that of a hook gives a function of the run"
            )
        filled: Filled = value
        return filled


def _concerns(file: Path, plan: SweepPlan) -> bool:
    """Tell whether a hook of `file` is one of an experiment: of its files, or of a conftest above it."""
    sources = [source.path for source in plan.lineage.sources]
    return file in sources or (file.name == "conftest.py" and sources[-1].is_relative_to(file.parent))


def _fixture_of(hook: Hook) -> Callable[..., Filled]:
    """Return the function of the fixture that a hook is; it asks for what it overrides only where it needs it."""
    fixture = fixture_name(hook.name)
    needs_outer = not hook.replace or hook.applies_outer(fixture)

    def make(**given: Any) -> Filled:
        return BoundHook(hook, given["request"], given.get(fixture))

    names = ["request", *([fixture] if needs_outer else [])]
    make.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    )
    make.__wrapped__ = hook.function  # type: ignore[attr-defined]
    make.__name__ = fixture
    make.__doc__ = hook.function.__doc__
    return make
