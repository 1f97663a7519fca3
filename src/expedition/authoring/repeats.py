"""Past runs in the place of a design: a plan that runs again what was recorded, with the recorded values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expedition.authoring.identity import run_id, run_key, value_text
from expedition.authoring.overrides import Override
from expedition.authoring.parameters import MISSING
from expedition.authoring.plan import PlannedRun, SweepPlan, check_storable
from expedition.errors import ExperimentError, near_matches

ORIGIN = "--archive-select"
"""Where the values of a repeated run are from."""

DESIGN = "repeats"
"""Kind of the design of a sweep that repeats past runs."""

_SHOWN = 5


@dataclass(frozen=True)
class PastRun:
    """A recorded run that is to run again.

    Attributes
    ----------
    key : that of the parameters with which it was run. values : all its parameters as tagged JSON by name, as they
    are recorded now. place : what messages call it.
    repeats : what the record of the new run says of it: `key`, `sweep` and `folder`.
    """

    id: str
    key: str
    replicate: int
    values: Mapping[str, Any]
    place: str
    repeats: Mapping[str, str]


@dataclass
class _Again:
    """A run to be: the live values of its parameters and their canonical texts, and its replicate and key.

    `identifier` is the id that it had; empty where it had none, or where it is no longer the same run.
    """

    past: PastRun
    values: dict[str, Any]
    texts: dict[str, str]
    key: str
    identifier: str
    point: dict[str, Any] = field(default_factory=dict)


def repeat(plan: SweepPlan, past: Sequence[PastRun]) -> list[str]:
    """Put the runs of `past` in the place of those of the design; return what the user should know of it.

    They have the parameters that were recorded, exactly, also those that the design does not sweep; only options
    go before them. Their ids are those that they had, unless two of them would then share one, or an option or an
    edit of the record changed them. A parameter that a run did not have gets the value that it has now. Runs that
    come to the same are one. Nothing is called after such a sweep, since it is not the one that the file designs.

    Raises `ExperimentError` naming the runs that cannot be made again: a parameter of theirs is gone, a value is
    not of its type, or of a class that nothing imports.
    """
    runs, added = _runs_again(plan, past)
    if not runs:
        plan.runs, plan.selected, plan.grid = [], set(), None
        return []
    shared = _shared_texts(runs)
    secrets = plan.secrets
    own = [n for n in plan.parameters if n not in secrets and n not in plan.swept and n not in shared]
    swept = (*plan.swept, *own)
    _take_fixed(plan, runs, {name for name in shared if name not in swept})
    for again in runs:
        again.point = {name: again.values[name] for name in swept}
    check_storable(plan.name, {}, (again.point for again in runs))
    plan.swept = swept
    plan.origins.update(dict.fromkeys(swept, ORIGIN))
    plan.replicates = max([plan.replicates, *(again.past.replicate + 1 for again in runs)])
    plan.design, plan.grid, plan.after_sweep = {"kind": DESIGN}, None, None
    names = _names(plan, runs)
    plan.runs = [
        PlannedRun(i, name, again.key, again.point, again.past.replicate, repeats=again.past.repeats)
        for i, (name, again) in enumerate(zip(names, runs, strict=True))
    ]
    plan.selected = set(range(len(runs)))
    return [f"{plan.name}: {name} is new since, the runs have its present value" for name in sorted(added)]


def _runs_again(plan: SweepPlan, past: Sequence[PastRun]) -> tuple[list[_Again], set[str]]:
    """The runs to be, and the names of parameters that some of them did not have."""
    runs: dict[str, _Again] = {}
    added: set[str] = set()
    problems: list[str] = []
    reader = _Reader(plan)
    for one in past:
        try:
            again, new = reader.read(one)
        except ExperimentError as error:
            problems.append(f"{one.place}: {error}")
            continue
        added |= new
        runs[again.key] = again
    if problems:
        shown = "".join(f"\n    {problem}" for problem in problems[:_SHOWN])
        more = f"\n    … and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ExperimentError(
            f"{plan.name}: {len(problems)} of {len(past)} selected runs cannot be made again{shown}{more}\n"
            f"    select others, or run the experiment that the archive keeps in source/ of their sweep"
        )
    return list(runs.values()), added


class _Reader:
    """Reads the values of past runs of one plan; equal values are read once."""

    def __init__(self, plan: SweepPlan) -> None:
        from expedition.values import canonical

        self._plan = plan
        self._secrets = plan.secrets
        # What testing mode says now is not what it said then.
        pinned = {name for name in plan.pinned if plan.origins.get(name) != "testing"}
        self._given = {name: plan.fixed[name] for name in pinned - self._secrets}
        self._present = {name: (value, canonical(value)) for name, value in plan.known.items()}
        self._known: dict[tuple[str, str], tuple[Any, str, bool]] = {}

    def read(self, past: PastRun) -> tuple[_Again, set[str]]:
        """Return a run to be, and the names of the parameters that it did not have. Raises `ExperimentError`."""
        plan = self._plan
        gone = [name for name in past.values if name not in plan.parameters]
        if gone:
            raise ExperimentError(
                f"{gone[0]!r} is no parameter any more{near_matches(gone[0], plan.parameters)}; "
                f"parameters: {', '.join(plan.parameters) or 'none'}"
            )
        values: dict[str, Any] = {}
        texts: dict[str, str] = {}
        new: set[str] = set()
        is_same = True
        for name in plan.parameters:
            if name in self._secrets:
                continue
            if name in past.values and name not in self._given:
                values[name], texts[name], exact = self._recorded(name, past.values[name])
                is_same = is_same and exact
                continue
            values[name], texts[name] = self._now(name)
            if name not in past.values:
                new.add(name)
            elif texts[name] != self._recorded(name, past.values[name])[1]:
                is_same = False
        key = run_key(plan.file, plan.function, texts, past.replicate)
        had = {name: text for name, text in texts.items() if name not in new}
        # A record that was edited has other values than its id says.
        is_same = is_same and run_key(plan.file, plan.function, had, past.replicate) == past.key
        has_id = is_same and past.id != plan.function  # what a run is called that is the only one
        return _Again(past, values, texts, key, past.id if has_id else ""), new

    def _recorded(self, name: str, tagged: Any) -> tuple[Any, str, bool]:
        from expedition.values import canonical, dumps, encode

        text = dumps(tagged)
        if (name, text) not in self._known:
            override = Override(None, name, "its record", value=tagged, form="tagged")
            value = override.resolve(self._plan.parameters[name], self._plan.name)
            self._known[name, text] = value, canonical(value), encode(value, name=name) == tagged
        return self._known[name, text]

    def _now(self, name: str) -> tuple[Any, str]:
        """The present value of a parameter, the default of a swept one."""
        from expedition.values import canonical

        if name not in self._present:
            default = self._plan.parameters[name].default
            if default is MISSING:
                raise ExperimentError(f"it did not have the parameter {name}, which has no default now")
            self._present[name] = default, canonical(default)
        return self._present[name]


def _shared_texts(runs: Iterable[_Again]) -> set[str]:
    """Names of the parameters that have one value in all runs."""
    shared: dict[str, str] | None = None
    for again in runs:
        if shared is None:
            shared = dict(again.texts)
        else:
            shared = {name: text for name, text in shared.items() if again.texts[name] == text}
    return set(shared or ())


def _take_fixed(plan: SweepPlan, runs: Sequence[_Again], names: set[str]) -> None:
    """Fix the parameters that are not swept at the values of the runs; secrets stay as they are."""
    from expedition.values import canonical

    first = runs[0]
    fixed: dict[str, Any] = {}
    for name in plan.parameters:
        if name not in names:
            if name in plan.secrets:
                fixed[name] = plan.fixed[name]
            continue
        fixed[name] = first.values[name]
        if name not in plan.fixed or canonical(plan.fixed[name]) != first.texts[name]:
            plan.origins[name] = ORIGIN
    plan.fixed = fixed


def _names(plan: SweepPlan, runs: Sequence[_Again]) -> list[str]:
    """The ids of the runs, each its own; the only run of an experiment without a sweep has none."""
    counts: dict[str, int] = {}
    for again in runs:
        counts[again.identifier] = counts.get(again.identifier, 0) + 1
    if len(runs) == 1 and not runs[0].identifier and runs[0].past.id == plan.function and not plan.swept:
        return [""]
    names: dict[str, _Again] = {}
    for again in runs:
        name = again.identifier
        if not name or counts[name] > 1:
            pairs = [(n, value_text(value, again.texts[n])) for n, value in again.point.items()]
            name = run_id(pairs, again.past.replicate if plan.replicates > 1 else None)
        if name in names:
            raise ExperimentError(
                f"{plan.name}: {names[name].past.place} and {again.past.place} would both be called [{name}]; "
                f"select one of them"
            )
        names[name] = again
    return list(names)
