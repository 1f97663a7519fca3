"""The code of collected experiments, with the fixtures, stages and hooks of the project that join them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from expedition.authoring.code import is_of_project
from expedition.authoring.experiment_code import ExperimentCode, code_of
from expedition.authoring.hooks import fixture_name
from expedition.authoring.named import names_in
from expedition.authoring.plan import SweepPlan
from expedition.authoring.stages import stage_of
from expedition.plugin.collection import node_of
from expedition.plugin.fixture_order import fixture_names


class ExperimentCodes:
    """Finds the code of the experiments of this invocation, of each once: all runs of a plan share it.

    `root` is the folder of the project.

    Attributes
    ----------
    problems : why the code of an experiment cannot be told, one text for each.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[str, ExperimentCode | None] = {}
        self.problems: list[str] = []

    def of(self, item: Any, plan: SweepPlan) -> ExperimentCode | None:
        """Return the code of the experiment that an item is a run of, None where it cannot be told."""
        node = node_of(item)
        if node not in self._found:
            versions: dict[str, str] = {}
            try:
                fixtures = self._fixtures(item, plan, versions)
                self._found[node] = code_of(plan, fixtures, versions, root=self._root)
            except Exception as error:  # of an object of the user's that does not let itself be looked at
                self._found[node] = None
                self.problems.append(
                    f"{plan.name}: its code cannot be told ({type(error).__name__}: {error}); it is not recorded, and "
                    f"counts as unchanged"
                )
        return self._found[node]

    def _fixtures(
        self, item: Any, plan: SweepPlan, versions: dict[str, str]
    ) -> dict[str, Callable[..., Any]]:
        """The functions of the project's fixtures that a run asks for or that fill its hooks, by name and place.

        `versions` is filled with those of stages.
        """
        manager = item.session._fixturemanager
        hooks = [name for name in fixture_names(item.session) if name.startswith(fixture_name(""))]
        waiting = [*item._fixtureinfo.names_closure, *hooks, *_named_in(plan.lineage.body)]
        seen: set[str] = set()
        found: dict[str, Callable[..., Any]] = {}
        while waiting:
            name = waiting.pop()
            if name in seen or name in plan.parameters:
                continue
            seen.add(name)
            definitions = manager.getfixturedefs(name, item) or ()
            for number, definition in enumerate(reversed(definitions)):
                function = definition.func
                stage = stage_of(function)
                if stage is not None:
                    function = stage.function
                elif name in hooks and not is_of_project(function, self._root, as_written=True):
                    function = getattr(
                        function, "__wrapped__", function
                    )  # the fixture that was made of a hook
                if not is_of_project(function, self._root):
                    continue
                found[f"{name}~{number}"] = function
                if stage is not None and stage.version:
                    versions[stage.name] = stage.version
                asked = _arguments(function)
                waiting += [*asked, *_named_in(function)]
                # A hook may add to what it overrides; any other fixture has to ask for it.
                if name not in asked and name not in hooks:
                    break
        return dict(sorted(found.items()))


def _arguments(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _named_in(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the words of a function that gets fixtures by their names."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    words = names_in(code).words if code is not None else frozenset()
    yield from sorted(words) if "getfixturevalue" in words else ()
