"""The code of collected experiments, with the fixtures, stages and hooks of the project that join them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from expedition.archive.recorded_code import RecordedCodes
from expedition.archive.sweep import SweepFolder
from expedition.authoring.code import is_of_project
from expedition.authoring.experiment_code import ExperimentCode, code_of
from expedition.authoring.hooks import fixture_name
from expedition.authoring.named import names_in
from expedition.authoring.plan import SweepPlan
from expedition.authoring.source_digest import MARKS_OF_OUTCOMES
from expedition.authoring.stages import stage_of
from expedition.plugin.collection import node_of
from expedition.plugin.fixture_order import fixture_names
from expedition.recording.masking import Mask

_HASH = 64


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
                hide = Mask(plan.concealed).text
                self._found[node] = code_of(
                    plan, fixtures, versions, root=self._root, marks=_marks(item), hide=hide
                )
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


def _marks(item: Any) -> set[str]:
    """Names of the marks that decide how the runs of a function end: those of the function and of what it stands in."""
    marks = list(getattr(item.function, "pytestmark", ()))
    for node in item.listchain()[:-1]:
        marks += node.own_markers
    return {mark.name for mark in marks if mark.name in MARKS_OF_OUTCOMES}


def changed_code(sweep: SweepFolder, code: ExperimentCode, mask: Mask) -> dict[str, Any]:
    """What a sweep is told of code that is not that of its manifest; else nothing.

    The copies of sources are those of the first invocation, so sources of what has changed stand there too.
    """
    codes = RecordedCodes.of(sweep)
    if code.digest == codes.first:
        return {}
    parts = codes.changed(masked_parts(code.parts, mask))
    sources = {name: mask.text(text) for name, text in code.sources(parts).items()}
    return {"digest": code.digest, "parts": parts, "sources": sources}


def masked_parts(parts: Mapping[str, str], mask: Mask) -> dict[str, str]:
    """Return parts of code without secrets of other experiments, which may read the same constants."""
    return {mask.text(n): t if len(t) == _HASH else mask.text(t) for n, t in parts.items()}


def contents_of(files: Iterable[Path]) -> dict[str, str]:
    """Return a hash of the content of each file; of one that cannot be read it is empty."""
    found: dict[str, str] = {}
    for file in sorted(files):
        try:
            found[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError:
            found[str(file)] = ""
    return found


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
