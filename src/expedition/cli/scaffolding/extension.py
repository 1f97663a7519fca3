"""The text of an experiment file that extends another experiment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from expedition.authoring.parameters import MISSING, Parameter
from expedition.authoring.plan import SweepPlan
from expedition.cli.scaffolding.hook_stubs import hook_stubs
from expedition.cli.scaffolding.literals import builtin_annotation, docstring, python_literal


def extension_text(function: str, base: str, plan: SweepPlan, description: str) -> str:
    """Return the text of a file with the experiment `function`, which extends `base`, of which this is the plan.

    Its variables have the values of the base, and `INHERIT` where there is no literal for one. What the base
    sweeps, and the hooks that it applies, stand there as comments.
    """
    variables = [p for p in plan.parameters.values() if p.kind == "variable"]
    arguments = [p for p in plan.parameters.values() if p.kind == "argument"]
    body = "\n".join(line for parameter in variables for line in _variable(plan, parameter))
    given = [line for parameter in arguments for line in _argument(plan, parameter)]
    call = f"{function} = experiment.extend({python_literal(base)})"
    if given:
        opening, path = f"{function} = experiment.extend(", f"    {python_literal(base)},"
        call = "\n".join([opening, path, "    params={", *given, "    },", ")"])
    names = "INHERIT, experiment" if "INHERIT" in body or "INHERIT" in "\n".join(given) else "experiment"
    parts = [
        docstring(description or plan.description or f"Extends {base}."),
        f"from expedition import {names}",
        body,
        call,
    ]
    stubs = list(hook_stubs(plan, taken=function))
    if stubs:
        parts.append(f"# Hooks of {base}: take the comment signs away to fill one.")
        parts += [textwrap.indent(stub, "# ", lambda line: True).replace("# \n", "#\n") for stub in stubs]
    parts.append("experiment.main()")
    return "\n\n".join(part for part in parts if part) + "\n"


def _variable(plan: SweepPlan, parameter: Parameter) -> Iterator[str]:
    name, kind = parameter.name, builtin_annotation(parameter)
    value = _value(plan, parameter)
    assigned = f"{name}{f': {kind}' if kind and 'INHERIT' not in value else ''} = {value}"
    if name in plan.swept:
        yield f"# {name} is swept by the base; a value takes the place of the axis:"
        yield textwrap.indent(assigned, "# ")
        yield ""
        return
    if parameter.type_name and not kind:
        yield f"# {parameter.type_name}"
    if parameter.description:
        described = f":param {name}: {parameter.description}"
        yield textwrap.fill(described, 100, initial_indent="# ", subsequent_indent="#     ")
    yield assigned


def _argument(plan: SweepPlan, parameter: Parameter) -> Iterator[str]:
    kind = f"  # {parameter.type_name}" if parameter.type_name else ""
    if parameter.name in plan.swept:
        value = _value(plan, parameter)
        line = f'"{parameter.name}": {value},'
        yield f"        # {parameter.name} is swept by the base; a value takes the place of the axis:"
        yield textwrap.indent(line, "        # ")
    else:
        lines = f'"{parameter.name}": {_value(plan, parameter)},'.split("\n")
        if len(lines) == 1:
            yield f"        {lines[0]}{kind}"
        else:
            yield from (f"        {line}" for line in lines)


def _value(plan: SweepPlan, parameter: Parameter) -> str:
    value = plan.fixed.get(parameter.name, parameter.default)
    if value is MISSING:
        value = plan.runs[0].point[parameter.name]
    literal = None if parameter.is_secret else python_literal(value)
    return "INHERIT" if literal is None else literal
