"""Stages as fixtures: their results come from the cache of the archive, or are computed and put there."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from expedition.authoring.code import Reached, describe, reach
from expedition.authoring.plan import SweepPlan
from expedition.authoring.stages import Stage, stage_of
from expedition.errors import ExperimentError, near_matches
from expedition.recording.cache import Cache, CacheKey
from expedition.recording.masking import MASKED

Told = Callable[[str], None]


class StageRunner:
    """Gives the results of stages to the runs of this process.

    `root` is the folder of the project, whose code counts. What a stage of the session gives is kept in memory;
    every run gets a copy, and arrays that cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept: dict[str, Any] = {}
        self._reached: dict[tuple[int, int], Reached] = {}

    def result(
        self,
        stage: Stage,
        request: pytest.FixtureRequest,
        plan: SweepPlan,
        params: Mapping[str, Any],
        cache: Cache,
        told: Told,
        stale: Told,
    ) -> Any:
        """Return the result of a stage for a run of `plan` with the parameters `params`."""
        definitions = _definitions(request, stage.name)
        own = next(n for n, found in enumerate(reversed(definitions)) if stage_of(found.func) is stage)
        key = self.key(stage, request, plan, params, (stage.name,) * own)
        if stage.scope == "session" and key.digest in self._kept:
            return _shared(self._kept[key.digest])
        compute = functools.partial(self._compute, stage, request, params)
        value = cache.get(key, compute, codec="pickle" if stage.codec else None, told=told, stale=stale)
        if stage.scope == "session":
            self._kept[key.digest] = value
            return _shared(value)
        return value

    def key(
        self,
        stage: Stage,
        request: pytest.FixtureRequest,
        plan: SweepPlan,
        params: Mapping[str, Any],
        asking: tuple[str, ...],
    ) -> CacheKey:
        """Return what the result of a stage depends on; the stages that it asks for stand there by their keys.

        `asking` are the stages that ask for it. Secrets are no part of it.
        """
        parts = describe(self._reach(stage, plan), {**params, **dict.fromkeys(plan.secrets, MASKED)})
        if stage.version:
            parts["version"] = stage.version
        asking = (*asking, stage.name)
        for name in stage.arguments:
            upstream = None if name in params else _asked_for(_definitions(request, name), asking, name)
            if name in params:
                from expedition.values import canonical

                parts[f"parameter {name}"] = MASKED if name in plan.secrets else canonical(params[name])
            elif upstream is not None:
                parts[f"stage {name}"] = self.key(upstream, request, plan, params, asking).digest
        return CacheKey(stage.name, (Path(stage.function.__code__.co_filename).stem,), parts)

    def _reach(self, stage: Stage, plan: SweepPlan) -> Reached:
        """The code of a stage, as far as it is the same for all runs of a plan."""
        at = id(stage.function), id(plan)
        if at not in self._reached:
            self._reached[at] = reach(
                stage.function,
                root=self._root,
                held=[source.module for source in plan.lineage.sources],
                variables={name for name, own in plan.parameters.items() if own.kind == "variable"},
            )
        return self._reached[at]

    def _compute(self, stage: Stage, request: pytest.FixtureRequest, params: Mapping[str, Any]) -> Any:
        given = {n: params[n] if n in params else request.getfixturevalue(n) for n in stage.arguments}
        return stage.function(**given)


def _definitions(request: pytest.FixtureRequest, name: str) -> Sequence[Any]:
    """The fixtures of a name that the run of a request sees, the nearest last."""
    return request._fixturemanager.getfixturedefs(name, request.node) or ()


def _asked_for(definitions: Sequence[Any], asking: tuple[str, ...], name: str) -> Stage | None:
    """Return the stage that is meant by its name where the stages `asking` are on the way to it.

    One that asks for its own name means the one that it overrides. Raises `ExperimentError` when there is none.
    """
    place = 1 + asking.count(name)
    if place > len(definitions):
        if name in asking:
            raise ExperimentError(f"the stages ask for each other in a circle: {' → '.join((*asking, name))}")
        return None
    return stage_of(definitions[-place].func)


def check_stages(item: Any, parameters: Mapping[str, Any]) -> None:
    """Raise `ExperimentError` when a stage that an item needs asks for what is no parameter and no stage."""
    manager = item.session._fixturemanager
    seen: set[int] = set()

    def check(stage: Stage, asking: tuple[str, ...]) -> None:
        if id(stage) in seen:
            return
        asking = (*asking, stage.name)
        for argument in stage.arguments:
            if argument in parameters:
                continue
            known = manager.getfixturedefs(argument, item)
            if not known:
                raise ExperimentError(
                    f"the stage {stage.name} asks for {argument!r}, which is neither a parameter nor a stage"
                    f"{near_matches(argument, parameters)}"
                )
            upstream = _asked_for(known, asking, argument)
            if upstream is None:
                raise ExperimentError(
                    f"the stage {stage.name} asks for {argument!r}, a fixture, of which nobody knows when it is "
                    f"another; make it a stage, or ask for the parameters that it depends on"
                )
            check(upstream, asking)
        seen.add(id(stage))

    for name in item._fixtureinfo.name2fixturedefs:
        definitions = manager.getfixturedefs(name, item)
        stage = stage_of(definitions[-1].func) if definitions else None
        if stage is not None:
            check(stage, ())


def _shared(value: Any) -> Any:
    """What several runs may have: a copy, or an array that nobody can write."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        view = value.view()
        view.flags.writeable = False
        return view
    return value if isinstance(value, str | int | float | bool | bytes | type(None)) else copy.deepcopy(value)
