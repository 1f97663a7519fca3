"""Growth of a plan: points that were not in the design of the file, typed and named like those that were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from expedition.authoring.identity import run_id, run_key, value_text
from expedition.authoring.parameters import MISSING
from expedition.authoring.plan import PlannedRun, SweepPlan, check_storable
from expedition.errors import ExperimentError, near_matches


class PlanGrowth:
    """Adds points to one plan, at the cost of what is added.

    The ids of the new runs name the swept parameters, then those that the point gives a value of its own; the
    runs of the design keep their index, id and key.
    """

    def __init__(self, plan: SweepPlan) -> None:
        from expedition.values import canonical

        self.plan = plan
        self._base = {name: canonical(value) for name, value in plan.known.items()}
        self._ids: dict[str, Mapping[str, Any]] = {run.id: run.point for run in plan.runs}
        self._keys = {run.key for run in plan.runs}

    def runs_of(self, points: Iterable[Mapping[str, Any]], *, origin: str) -> list[PlannedRun]:
        """Return the runs of `points` that the plan does not have; the plan stays as it is.

        Values are checked and converted as those of a design; `origin` is where they are from, for messages.
        What a point does not give takes its default, and what an option has overridden keeps that value.
        Raises `ExperimentError`.
        """
        found: dict[str, PlannedRun] = {}
        keys: set[str] = set()
        for raw in points:
            point = self._typed(raw, origin)
            check_storable(self.plan.name, {}, [point])
            own, described = self._described(point)
            for replicate in range(self.plan.replicates):
                key = run_key(self.plan.file, self.plan.function, self._base | described, replicate)
                if key in self._keys or key in keys:
                    continue
                pairs = [(name, value_text(value, described[name])) for name, value in own.items()]
                identifier = run_id(pairs, replicate if self.plan.replicates > 1 else None)
                other = found[identifier].point if identifier in found else self._ids.get(identifier)
                if other is not None:
                    raise ExperimentError(
                        f"{self.plan.name}: two points of the sweep would both be called [{identifier}]: "
                        f"{dict(other)} and {point} from {origin}; give them one type"
                    )
                keys.add(key)
                index = len(self.plan.runs) + len(found)
                found[identifier] = PlannedRun(index, identifier, key, own, replicate, "expansion")
        return list(found.values())

    def add(self, runs: Sequence[PlannedRun]) -> None:
        """Append runs that `runs_of` returned; none of them is selected yet."""
        for run in runs:
            self._keys.add(run.key)
            self._ids[run.id] = run.point
        self.plan.runs.extend(runs)

    def _typed(self, raw: Mapping[str, Any], origin: str) -> dict[str, Any]:
        plan = self.plan
        for name in raw:
            if name not in plan.parameters:
                raise ExperimentError(
                    f"{plan.name}: {origin} names {name!r}, which is no parameter"
                    f"{near_matches(name, plan.parameters)}; parameters: {', '.join(plan.parameters) or 'none'}"
                )
        point: dict[str, Any] = {}
        for name in (*plan.swept, *(n for n in plan.parameters if n not in plan.swept)):
            if name in raw and name not in plan.pinned:
                point[name] = plan.parameters[name].check(raw[name], origin=origin, experiment=plan.name)
            elif name in plan.swept:
                default = plan.parameters[name].default
                if default is MISSING:
                    raise ExperimentError(
                        f"{plan.name}: a point from {origin} gives no {name}, which has no default; give it a "
                        f"value in every point"
                    )
                point[name] = default
        return point

    def _described(self, point: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """What of a point makes its runs, and the canonical text of each value.

        A value that all runs share anyway does not.
        """
        from expedition.values import canonical

        texts = {name: canonical(value) for name, value in point.items()}
        own = {n: v for n, v in point.items() if n in self.plan.swept or self._base.get(n) != texts[n]}
        return own, {name: texts[name] for name in own}
