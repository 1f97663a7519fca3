"""The plan of a sweep: every run that an experiment stands for, resolved, checked and in order."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expedition.authoring.expressions import Expression
from expedition.authoring.identity import run_id, run_key, value_text
from expedition.authoring.marker import ExperimentSpec, find_after_sweep
from expedition.authoring.parameters import MISSING, Parameter, ParameterSet, discover
from expedition.authoring.text import split_assignment
from expedition.errors import ExperimentError, near_matches


@dataclass(frozen=True)
class Override:
    """A value given from outside: ``-P [EXPERIMENT:]NAME=TEXT`` or a member of a parameters file.

    `text` is the raw text of an option; `value` the parsed one of a file (`MISSING` for an option).
    """

    experiment: str | None
    name: str
    origin: str
    text: str = ""
    value: Any = MISSING

    @classmethod
    def from_option(cls, argument: str) -> Override:
        """Parse the argument of ``-P``. Raises `ExperimentError`."""
        experiment, name, text = split_assignment(argument)
        return cls(experiment, name, "-P", text=text)

    def concerns(self, *names: str) -> bool:
        """Whether this override is meant for an experiment known under `names`."""
        return self.experiment is None or self.experiment in names

    def resolve(self, parameter: Parameter, experiment: str) -> Any:
        """The typed value for `parameter`. Raises `ExperimentError`."""
        if self.value is MISSING:
            return parameter.read(self.text, origin=self.origin, experiment=experiment)
        return parameter.convert(self.value, origin=self.origin, experiment=experiment)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of the plan.

    `point` holds the values of the swept parameters, and of others that are this run's own; `origin` says
    whether they are from the design or from an expansion.
    """

    index: int
    id: str
    key: str
    point: Mapping[str, Any]
    replicate: int
    origin: str = "sweep"


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
    selected: set[int] = field(default_factory=set)
    namespace_given: bool = False
    after_sweep: Callable[..., Any] | None = None

    def values_of(self, run: PlannedRun) -> dict[str, Any]:
        """All parameter values of one run, in declared order."""
        point = run.point
        return {
            name: point[name] if name in point else self.fixed[name]
            for name in self.parameters
            if name in point or name in self.fixed
        }

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
    function: Callable[..., Any],
    spec: ExperimentSpec,
    *,
    module: Mapping[str, Any],
    source: str,
    file: str,
    namespace: str,
    overrides: Sequence[Override] = (),
) -> SweepPlan:
    """Resolve an experiment into its runs. Raises `ExperimentError` before anything runs.

    `module` holds the globals of its module and `source` the text of its file; `overrides` rank from low to
    high. A value that overrides a swept parameter collapses that axis.
    """
    label = spec.name or function.__name__
    design = spec.design()
    swept_names = design.names if design is not None else ()
    found = discover(
        function, namespace=module, source=source, swept=frozenset(swept_names), experiment=label
    )
    _check_names(label, swept_names, found)
    fixed, origins = _defaults(found)
    collapsed: dict[str, Any] = {}
    for override in overrides:
        parameter = found.parameters.get(override.name)
        if parameter is None or not override.concerns(label, function.__name__, file):
            continue
        fixed[override.name] = override.resolve(parameter, label)
        origins[override.name] = override.origin
        collapsed[override.name] = fixed[override.name]
    swept = tuple(name for name in swept_names if name not in collapsed)
    points = _points(design, swept, found, fixed, label) if design is not None else [{}]
    for name in swept:
        fixed.pop(name, None)
        origins[name] = "sweep"
    check_storable(label, fixed, points)
    plan = SweepPlan(
        name=label,
        file=file,
        function=function.__name__,
        namespace=spec.namespace or namespace,
        description=(function.__doc__ or module.get("__doc__") or "").strip(),
        tags=spec.tags,
        parameters=found.parameters,
        fixtures=found.fixtures,
        opaque=found.opaque,
        fixed=fixed,
        origins=origins,
        swept=swept,
        replicates=spec.replicates,
        paired=spec.paired,
        runs=[],
        design=design.describe() if design is not None else None,
        grid=None,
        namespace_given=spec.namespace is not None,
        after_sweep=find_after_sweep(module, label, function.__name__),
    )
    _expand(plan, points, collapsed=bool(collapsed))
    return plan


def check_overrides(overrides: Iterable[Override], plans: Sequence[SweepPlan]) -> None:
    """Raise `ExperimentError` for an override that names no parameter, or no experiment, of `plans`."""
    for override in overrides:
        concerned = [p for p in plans if override.concerns(p.name, p.function, p.file)]
        given = f"{override.origin} {override.experiment + ':' if override.experiment else ''}{override.name}"
        if not concerned:
            names = sorted({plan.function for plan in plans})
            raise ExperimentError(
                f"{given}: no collected experiment is called {override.experiment!r}"
                f"{near_matches(str(override.experiment), names)}; collected: {', '.join(names)}"
            )
        known = {name for plan in concerned for name in plan.parameters}
        if override.name not in known:
            raise ExperimentError(
                f"{given}: {', '.join(p.name for p in concerned)} has no parameter {override.name!r}"
                f"{near_matches(override.name, known)}; parameters: {', '.join(sorted(known)) or 'none'}"
            )


def _check_names(label: str, swept: Sequence[str], found: ParameterSet) -> None:
    for name in swept:
        if name not in found.parameters:
            known = [*found.parameters]
            raise ExperimentError(
                f"{label}: the sweep names {name!r}, which is neither an argument of the function nor an "
                f"UPPERCASE variable assigned in its file{near_matches(name, known)}; "
                f"parameters: {', '.join(known) or 'none'}"
            )


def _defaults(found: ParameterSet) -> tuple[dict[str, Any], dict[str, str]]:
    fixed = {n: p.default for n, p in found.parameters.items() if p.default is not MISSING}
    return fixed, dict.fromkeys(fixed, "default")


def _points(
    design: Any, swept: Sequence[str], found: ParameterSet, fixed: Mapping[str, Any], label: str
) -> list[dict[str, Any]]:
    """The points of the design, typed and complete, without the axes that an override collapsed."""
    points: list[dict[str, Any]] = []
    checked: dict[tuple[str, int], tuple[Any, Any]] = {}
    for raw in design:
        point: dict[str, Any] = {}
        for name in swept:
            if name not in raw:
                if name not in fixed:
                    raise ExperimentError(
                        f"{label}: a point of the sweep gives no {name}, which has no default; "
                        f"give it a default or a value in every point"
                    )
                point[name] = fixed[name]
                continue
            value = raw[name]
            # The same object comes again and again in a product; the entry keeps it alive, so its id is its own.
            known = checked.get((name, id(value)))
            if known is None:
                typed = found.parameters[name].check(value, origin="the sweep", experiment=label)
                known = checked[name, id(value)] = (value, typed)
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

    base = {name: canonical(value) for name, value in plan.fixed.items()}
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
