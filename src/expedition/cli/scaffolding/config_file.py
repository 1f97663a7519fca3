"""The text of a config that extends an experiment."""

from __future__ import annotations

from collections.abc import Iterator

from expedition.authoring.parameters import MISSING, Parameter
from expedition.authoring.plan import SweepPlan
from expedition.cli.scaffolding.literals import yaml_key, yaml_text, yaml_value


def config_text(name: str, base: str, plan: SweepPlan, description: str) -> str:
    """Return the text of a config called `name` that extends `base`, of which this is the plan.

    The parameters have the values of the base; those that YAML cannot write are inherited. What the base sweeps
    stands there as comments.
    """
    lines = [
        f"extend: {yaml_text(base)}",
        f"name: {yaml_text(name)}",
        f"description: {yaml_text(description or plan.description)}",
    ]
    fixed = [p for p in plan.parameters.values() if p.name not in plan.swept]
    swept = [p for p in plan.parameters.values() if p.name in plan.swept]
    if fixed:
        lines.append("parameters:")
        lines += [line for parameter in fixed for line in _parameter(plan, parameter)]
    if swept:
        lines.append("# The base sweeps these; a sweep of this file takes the place of its sweep:")
        lines.append("# sweep:")
        lines.append("#   grid:")
        lines += [f"#     {yaml_key(p.name)}: [{_values(plan, p)}]" for p in swept]
    lines.append(f"# replicates: {plan.replicates}")
    return "\n".join(lines) + "\n"


def _parameter(plan: SweepPlan, parameter: Parameter) -> Iterator[str]:
    value = plan.fixed[parameter.name]
    text = None if parameter.is_secret else yaml_value(value, parameter)
    about = ": ".join(part for part in (parameter.type_name, parameter.description) if part)
    if about:
        yield f"  # {about}"
    yield f"  {yaml_key(parameter.name)}: {'{inherit: null}' if text is None else text}"


def _values(plan: SweepPlan, parameter: Parameter) -> str:
    """Some values of an axis."""
    found: dict[str, None] = {}
    for run in plan.runs:
        value = run.point.get(parameter.name, MISSING)
        text = None if value is MISSING else yaml_value(value, parameter)
        if text is not None:
            found[text] = None
        if len(found) == 3:
            break
    return ", ".join(found)
