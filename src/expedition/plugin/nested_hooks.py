"""Hooks of nested runs, which have no fixtures: who fills them is found in the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from expedition.authoring.hooks import Hook, fixture_name, hooks_of
from expedition.authoring.lineage import Lineage
from expedition.errors import ExperimentError, near_matches
from expedition.plugin.hooks import AppliedHooks, BoundHook, Filled


class NestedHooks(AppliedHooks):
    """The hooks of a nested run: functions of its files, of conftests and of `plugins`, without fixtures."""

    def __init__(self, lineage: Lineage, plugins: Iterable[object]) -> None:
        super().__init__()
        self._hooks: dict[str, list[Hook]] = {}
        for namespace in _sources(lineage, plugins):
            for hook in hooks_of(namespace):
                self._hooks.setdefault(hook.name, []).append(hook)

    def find(self, name: str) -> Filled | None:
        """Return what fills the hook, None when nothing does."""
        filled: Filled | None = None
        for hook in self._hooks.get(name, ()):
            filled = _HookWithoutFixtures(hook, None, filled)
        return filled

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The functions that fill hooks."""
        return [hook.function for hooks in self._hooks.values() for hook in hooks]

    def check(self, name: str) -> None:
        """Raise `ExperimentError` when what fills a standard hook, which gets no keywords, asks for a fixture."""
        for hook in self._hooks.get(name, ()):
            for argument in hook.arguments.values():
                is_given = argument.kind is argument.VAR_KEYWORD or argument.default is not argument.empty
                if not is_given and argument.name != fixture_name(name):
                    _refuse_fixture(hook, argument.name, {})


class _HookWithoutFixtures(BoundHook):
    def _fixture(self, name: str, keywords: Mapping[str, Any]) -> Any:
        _refuse_fixture(self.hook, name, keywords)


def _refuse_fixture(hook: Hook, name: str, keywords: Mapping[str, Any]) -> NoReturn:
    raise ExperimentError(
        f"the hook {hook.name} at {hook.place} asks for {name!r}, which is no keyword of this call"
        f"{near_matches(name, keywords)}, and a nested run has no fixtures of pytest; give the argument a default"
    )


def _sources(lineage: Lineage, plugins: Iterable[object]) -> Iterator[Mapping[str, Any]]:
    """Yield the globals of all that may fill hooks, the farthest first."""
    own = lineage.own.source.path
    modules = [plugin for plugin in plugins if isinstance(plugin, ModuleType)]
    files = {m: Path(getattr(m, "__file__", None) or "") for m in modules}
    conftests = [m for m in modules if files[m].name == "conftest.py"]
    yield from (vars(m) for m in modules if m not in conftests)
    for level in lineage.levels[:-1]:
        yield from (source.module for source in (*level.mixins, level.source))
    above = [m for m in conftests if own.is_relative_to(files[m].parent)]
    yield from (vars(m) for m in sorted(above, key=lambda m: len(files[m].parts)))
    yield from (source.module for source in (*lineage.own.mixins, lineage.own.source))
