"""The plan of a sweep: every run that an experiment stands for, resolved, checked and in order."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expedition.authoring.after_sweep import find_after_sweep
from expedition.authoring.distributions import jsonable
from expedition.authoring.expressions import Expression
from expedition.authoring.identity import run_id, run_key, value_text
from expedition.authoring.lineage import Lineage
from expedition.authoring.overrides import Override
from expedition.authoring.parameters import MISSING, Parameter, secret_names, secret_values
from expedition.authoring.resolution import Resolution, resolve, typed
from expedition.authoring.special import Special, special_of
from expedition.errors import ExperimentError, near_matches

MOST_RUNS = 10_000_000
"""Runs of the largest sweep: all of them are planned before the first one runs."""

MASKED = "***"
"""What is recorded and shown of a secret."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of the plan.

    `point` holds the values of the swept parameters, and of others that are this run's own; `origin` says
    whether they are from the design or from an expansion. `repeats` is, of a run that repeats a past one, what its
    record says of that: `key`, `sweep` and `folder`.
    """

    index: int
    id: str
    key: str
    point: Mapping[str, Any]
    replicate: int
    origin: str = "sweep"
    repeats: Mapping[str, str] | None = None


@dataclass
class SweepPlan:
    """An experiment resolved for one invocation.

    Attributes
    ----------
    file : experiment file relative to the root folder, with ``/``.
    fixed : values of the parameters that are not swept; `origins` says for every parameter where its value
        is from.
    runs : all runs of the design, then those that expansions of the sweep added; `selected` the indices that
        ``--where`` leaves.
    lineage : the files that the experiment is made of.
    special : how it is to be run: debug runs, testing mode, prefix, version, caching.
    pinned : parameters that an option gave a value, which no point of a sweep changes.
    after_sweep : the function of the file that is called when all runs have ended.
    """

    name: str
    file: str
    function: str
    namespace: str
    description: str
    tags: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    fixtures: tuple[str, ...]
    opaque: Mapping[str, str]
    fixed: dict[str, Any]
    origins: dict[str, str]
    swept: tuple[str, ...]
    replicates: int
    paired: bool
    runs: list[PlannedRun]
    design: object
    grid: tuple[tuple[str, int], ...] | None
    lineage: Lineage
    special: Special
    selected: set[int] = field(default_factory=set)
    pinned: frozenset[str] = frozenset()
    namespace_given: bool = False
    after_sweep: Callable[..., Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which options mean this experiment, or one that it extends."""
        return (self.file, *self.lineage.own_names, *self.lineage.base_names)

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the parameters whose values must not be recorded."""
        return secret_names(self.parameters)

    @property
    def known(self) -> dict[str, Any]:
        """The values of the parameters that are not swept, without secrets: what identifies runs."""
        secrets = self.secrets
        return {name: value for name, value in self.fixed.items() if name not in secrets}

    @property
    def shown(self) -> dict[str, Any]:
        """The values of the parameters that are not swept as they are recorded and shown."""
        secrets = self.secrets
        return {name: MASKED if name in secrets else value for name, value in self.fixed.items()}

    @property
    def concealed(self) -> list[Any]:
        """The values of secrets, those that others override among them."""
        return secret_values(self.parameters, self.fixed)

    def values_of(self, run: PlannedRun) -> dict[str, Any]:
        """All parameter values of one run, in declared order."""
        point = run.point
        return {
            name: point[name] if name in point else self.fixed[name]
            for name in self.parameters
            if name in point or name in self.fixed
        }

    def seed_identity(self, run: PlannedRun) -> str:
        """What the seed of a run derives from: its key, or for paired replicates experiment and replicate alone."""
        return run_key(self.file, self.function, {}, run.replicate) if self.paired else run.key

    def select(self, expression: Expression | None, *, first: int = 0) -> None:
        """Keep the runs that match `expression`; the others stay in the design as pending.

        With `first` only the runs from that index on are looked at, and the others stay as they were.
        """
        runs = self.runs[first:] if first else self.runs
        kept = {
            run.index
            for run in runs
            if expression is None or expression.matches(_lookup({**self.fixed, **run.point}, run.replicate))
        }
        if first:
            self.selected |= kept
        else:
            self.selected = kept

    def digest(self) -> str:
        """A hash over the ids and keys of all runs, equal wherever the sweep was expanded alike."""
        digest = hashlib.sha256()
        for run in self.runs:
            digest.update(f"{run.id}\0{run.key}\n".encode())
        return digest.hexdigest()


def _lookup(values: Mapping[str, Any], replicate: int) -> Callable[[str], Any]:
    """Names of an expression over the parameters of a run, bare or behind ``params.``."""

    def look_up(name: str) -> Any:
        if name in ("replicate", "rep"):
            return replicate
        branch, _, rest = name.partition(".")
        return values[rest if branch in ("params", "parameters", "par") and rest else name]

    return look_up


def plan_sweep(
    lineage: Lineage,
    *,
    file: str,
    namespace: str,
    overrides: Sequence[Override] = (),
    special: Special | None = None,
) -> SweepPlan:
    """Resolve an experiment into its runs. Raises `ExperimentError` before anything runs.

    `overrides` rank from low to high. A value that overrides a swept parameter collapses that axis. `special` says
    how the experiment is to be run; without it, its files do.
    """
    own = lineage.own
    special = special_of(lineage) if special is None else special
    found = resolve(lineage, file=file, overrides=overrides, testing=special.testing)
    swept = found.swept
    points = _points(found) if found.design is not None else [{}]
    secrets = secret_names(found.parameters)
    for name in swept:
        if name in secrets:
            raise ExperimentError(
                f"{found.label}: {name} is secret and cannot be swept: its values name the runs"
            )
    check_storable(found.label, {n: v for n, v in found.fixed.items() if n not in secrets}, points)
    replicates, paired = lineage.replicates
    if len(points) * replicates > MOST_RUNS:
        raise ExperimentError(
            f"{found.label}: {replicates:,} replicates of {len(points):,} points are more than {MOST_RUNS:,} runs, "
            f"which is the most that a sweep has; repeat it less often"
        )
    plan = SweepPlan(
        name=found.label,
        file=file,
        function=own.function.__name__,
        namespace=own.spec.namespace or namespace,
        description=lineage.description,
        tags=lineage.tags,
        parameters=found.parameters,
        fixtures=found.fixtures,
        opaque=found.opaque,
        fixed=found.fixed,
        origins=found.origins,
        swept=swept,
        replicates=replicates,
        paired=paired,
        runs=[],
        design=found.design.describe() if found.design is not None else None,
        grid=None,
        lineage=lineage,
        special=special,
        pinned=frozenset(found.pinned),
        namespace_given=own.spec.namespace is not None,
        after_sweep=_after_sweep(lineage),
    )
    _expand(plan, points, collapsed=bool(found.collapsed))
    if found.inherited.keys() & set(swept):  # the values of the design are not those of the runs
        plan.design = {"kind": "points", "points": [jsonable(run.point) for run in plan.runs[::replicates]]}
    return plan


def _after_sweep(lineage: Lineage) -> Callable[..., Any] | None:
    """Return the function of the nearest file that is called after the sweep."""
    for level in reversed(lineage.levels):
        found = find_after_sweep(level.source.module, level.label, level.function.__name__)
        if found is not None:
            return found
    return None


def check_overrides(overrides: Iterable[Override], plans: Sequence[SweepPlan]) -> None:
    """Raise `ExperimentError` for an override that names no parameter, or no experiment, of `plans`."""
    for override in overrides:
        concerned = [plan for plan in plans if override.concerns(*plan.names)]
        given = f"{override.origin} {override.experiment + ':' if override.experiment else ''}{override.name}"
        if not concerned:
            names = sorted({plan.function for plan in plans})
            known_names = {name for plan in plans for name in plan.names}
            raise ExperimentError(
                f"{given}: no collected experiment is called {override.experiment!r}"
                f"{near_matches(str(override.experiment), known_names)}; collected: {', '.join(names)}"
            )
        known = {name for plan in concerned for name in plan.parameters}
        if override.name not in known:
            raise ExperimentError(
                f"{given}: {', '.join(p.name for p in concerned)} has no parameter {override.name!r}"
                f"{near_matches(override.name, known)}; parameters: {', '.join(sorted(known)) or 'none'}"
            )


def _points(found: Resolution) -> list[dict[str, Any]]:
    """The points of the design, typed and complete, without the axes that got one value after all."""
    points: list[dict[str, Any]] = []
    label = found.label
    checked: dict[tuple[str, int], tuple[Any, Any]] = {}
    for raw in found.points():
        point: dict[str, Any] = {}
        for name in found.swept:
            parameter = found.parameters[name]
            if name not in raw:
                if parameter.default is MISSING:
                    raise ExperimentError(
                        f"{label}: a point of the sweep gives no {name}, which has no default; "
                        f"give it a default or a value in every point"
                    )
                point[name] = parameter.default
                continue
            value = raw[name]
            # The same object comes again and again in a product; the entry keeps it alive, so its id is its own.
            known = checked.get((name, id(value)))
            if known is None:
                if found.written:
                    origin = f"the sweep of {found.written}"
                    try:
                        checked_value = typed(value, parameter, origin=origin, experiment=label)
                    except ExperimentError as error:
                        raise ExperimentError(f"{found.place}: {error}") from None
                else:
                    checked_value = parameter.check(value, origin="the sweep", experiment=label)
                known = checked[name, id(value)] = (value, checked_value)
            point[name] = known[1]
        points.append(point)
    if not points:
        raise ExperimentError(f"{label}: its sweep is empty; .where() or the lists leave no point")
    return points


def check_storable(label: str, fixed: Mapping[str, Any], points: Iterable[Mapping[str, Any]]) -> None:
    """Raise `ExperimentError` for a value that the record of a run could not keep exactly."""
    from expedition.errors import UnstorableError
    from expedition.values import encode

    seen: set[int] = set()
    for values in (fixed, *points):
        for name, value in values.items():
            if id(value) in seen or type(value) in (int, float, str, bool, type(None)):
                continue
            seen.add(id(value))
            try:
                encode(value, name=name)
            except UnstorableError as error:
                raise ExperimentError(f"{label}: parameter {error}") from None


def _expand(plan: SweepPlan, points: Sequence[dict[str, Any]], *, collapsed: bool) -> None:
    from expedition.values import canonical

    texts: dict[int, tuple[Any, str, str]] = {}

    def text_of(value: Any) -> tuple[Any, str, str]:
        known = texts.get(id(value))
        if known is None or known[0] is not value:
            identity = canonical(value)
            known = texts[id(value)] = (value, identity, value_text(value, identity))
        return known

    base = {name: canonical(value) for name, value in plan.known.items()}
    repeated = plan.replicates > 1
    ids: dict[str, Mapping[str, Any]] = {}
    rows: dict[tuple[str, ...], None] = {}
    axes: dict[str, dict[str, None]] = {name: {} for name in plan.swept}
    for point in points:
        described = [(name, *text_of(point[name])[1:]) for name in plan.swept]
        identity = tuple(canon for _, canon, _ in described)
        if identity in rows:
            if collapsed:
                continue  # they differed in the axis that an override replaced
            raise ExperimentError(
                f"{plan.name}: two points of the sweep are one, {point}, as soon as values are typed and defaults "
                f"filled in; keep one of them, or repeat it with @experiment.replicate(n)"
            )
        rows[identity] = None
        for name, canon, _ in described:
            axes[name][canon] = None
        parameters = base | {name: canon for name, canon, _ in described}
        pairs = [(name, text) for name, _, text in described]
        for replicate in range(plan.replicates):
            identifier = run_id(pairs, replicate if repeated else None)
            if identifier in ids:
                raise ExperimentError(
                    f"{plan.name}: two points of the sweep would both be called [{identifier}]: "
                    f"{dict(ids[identifier])} and {point}; give them one type"
                )
            ids[identifier] = point
            key = run_key(plan.file, plan.function, parameters, replicate)
            plan.runs.append(PlannedRun(len(plan.runs), identifier, key, point, replicate))
    plan.grid = _grid(plan, axes, list(rows))
    plan.selected = set(range(len(plan.runs)))


def _grid(
    plan: SweepPlan, axes: Mapping[str, Mapping[str, None]], rows: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, int], ...] | None:
    """Names and lengths of the axes when the sweep is a full product in row-major order, else None."""
    sizes = [(name, len(values)) for name, values in axes.items()]
    product = itertools.product(*axes.values())
    if not sizes or math.prod(size for _, size in sizes) != len(rows) or list(product) != list(rows):
        return None
    if plan.replicates > 1:
        sizes.append(("replicate", plan.replicates))
    return tuple(sizes)
