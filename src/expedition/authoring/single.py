"""One run of an experiment, whatever it sweeps over: with the values that it has on its own, or is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expedition.authoring.identity import run_id, run_key, value_text
from expedition.authoring.lineage import Lineage
from expedition.authoring.overrides import Override
from expedition.authoring.parameters import MISSING, Parameter, secret_names
from expedition.authoring.resolution import Resolution, resolve
from expedition.authoring.special import Special
from expedition.errors import ExperimentError, UnstorableError, near_matches


@dataclass(frozen=True)
class SinglePlan:
    """An experiment resolved for one run.

    Attributes
    ----------
    file : experiment file relative to the root folder, with ``/``.
    id : ``name=value`` pairs of what was given; the name of the function where nothing was.
    key : that of the run which a sweep would have at these values, as its first replicate.
    values : of all parameters; `origins` says where each is from.
    fixtures : the arguments that are no parameters.
    secrets : names of the parameters whose values must not be recorded.
    """

    lineage: Lineage
    file: str
    id: str
    key: str
    values: Mapping[str, Any]
    parameters: Mapping[str, Parameter]
    origins: Mapping[str, str]
    fixtures: tuple[str, ...]
    special: Special
    secrets: frozenset[str]

    @property
    def name(self) -> str:
        """The name of the experiment in tables."""
        return self.lineage.own.label

    @property
    def function(self) -> str:
        """The name of its function."""
        return str(self.lineage.own.function.__name__)


def plan_single(
    lineage: Lineage, *, file: str, given: Mapping[str, Any], origin: str, special: Special
) -> SinglePlan:
    """Resolve an experiment for one run with the values `given`; `origin` says who gave them.

    A swept parameter that is not given has its default. Raises `ExperimentError` before anything runs.
    """
    overrides = [Override(None, name, origin, value=value, form="exact") for name, value in given.items()]
    found = resolve(lineage, file=file, overrides=overrides, testing=special.testing)
    for name in given:
        if name not in found.parameters:
            raise ExperimentError(
                f"{origin}: {found.label} has no parameter {name!r}{near_matches(name, found.parameters)}; "
                f"parameters: {', '.join(found.parameters) or 'none'}"
            )
    values = {name: _value(found, name, origin) for name in found.parameters}
    secrets = secret_names(found.parameters)
    texts = _canonical(found.label, {n: v for n, v in values.items() if n not in secrets})
    function = lineage.own.function.__name__
    pairs = [(name, value_text(values[name], texts[name])) for name in given if name in texts]
    return SinglePlan(
        lineage,
        file,
        run_id(pairs, None) or function,
        run_key(file, function, texts, 0),
        values,
        found.parameters,
        found.origins,
        found.fixtures,
        special,
        secrets,
    )


def _value(found: Resolution, name: str, origin: str) -> Any:
    if name in found.fixed:
        return found.fixed[name]
    parameter = found.parameters[name]
    if parameter.default is MISSING:
        raise ExperimentError(f"{origin}: {found.label} has no value for {name}; give it one: {name}=…")
    found.origins[name] = "default"
    return parameter.default


def _canonical(label: str, values: Mapping[str, Any]) -> dict[str, str]:
    from expedition.values import canonical

    try:
        return {name: canonical(value, name=name) for name, value in values.items()}
    except UnstorableError as error:
        raise ExperimentError(f"{label}: parameter {error}") from None
