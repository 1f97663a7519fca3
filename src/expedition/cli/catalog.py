"""Experiments as a catalog: what each is about, what may be set, and where it may be filled in."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from expedition.authoring.parameters import MISSING, Parameter
from expedition.authoring.plan import MASKED, SweepPlan
from expedition.cli.scaffolding.hook_stubs import hook_names
from expedition.reporting.formats import dump_json, render_table
from expedition.reporting.value_text import value_text

_SHOWN = 60
_VALUES = 5


def catalog_text(plans: Sequence[SweepPlan], *, format: str = "table", width: int | None = None) -> str:
    """Return the experiments of `plans` for people, or as a JSON array of one object each.

    In JSON a parameter has ``default`` (text, as Python writes it) unless it has none, and ``swept`` with the values
    of the sweep in that form. Values of secrets are masked. `width` is that of the terminal, None for none.
    """
    if format == "json":
        return dump_json([_described(plan) for plan in plans])
    return "\n\n".join("\n".join(_lines(plan, width)) for plan in plans)


def _described(plan: SweepPlan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "file": plan.file,
        "function": plan.function,
        "description": plan.description,
        "tags": list(plan.tags),
        "runs": len(plan.runs),
        "replicates": plan.replicates,
        "parameters": {
            name: {
                "type": parameter.type_name,
                "kind": parameter.kind,
                "description": parameter.description,
                **({"default": text} if (text := _default(plan, parameter)) else {}),
                **({"swept": _swept(plan, name)} if name in plan.swept else {}),
            }
            for name, parameter in plan.parameters.items()
        },
        "hooks": hook_names(plan),
    }


def _lines(plan: SweepPlan, width: int | None) -> Iterator[str]:
    first = plan.description.strip().partition("\n")[0]
    runs = f"{len(plan.runs):,} run{'' if len(plan.runs) == 1 else 's'}"
    yield f"{plan.name}  ({plan.file}, {runs})"
    if first:
        yield from _wrapped(first, width)
    if plan.parameters:
        yield from _table(plan, width)
    hooks = hook_names(plan)
    if hooks:
        yield from _wrapped(f"hooks: {', '.join(hooks)}", width)


def _table(plan: SweepPlan, width: int | None) -> Iterator[str]:
    rows = []
    for name, parameter in plan.parameters.items():
        values = _swept(plan, name) if name in plan.swept else []
        more = f", … ({len(values):,} values)" if len(values) > _VALUES else ""
        row: dict[str, object] = {
            "parameter": name,
            "type": parameter.type_name,
            "default": _default(plan, parameter),
            "swept over": f"{', '.join(values[:_VALUES])}{more}",
            "description": parameter.description,
        }
        rows.append({key: value for key, value in row.items() if value})
    columns = ["parameter", "type", "default", "swept over", "description"]
    columns = [column for column in columns if any(column in row for row in rows)]
    room = None if width is None else width - 2
    text = render_table(rows, columns, max_width=_SHOWN, width=room, drop=["description", "type"])
    yield textwrap.indent(text, "  ")


def _default(plan: SweepPlan, parameter: Parameter) -> str:
    """The value without options, as a text; empty when there is none."""
    value = plan.fixed.get(parameter.name, parameter.default)
    if value is MISSING:
        return ""
    return MASKED if parameter.is_secret else value_text(value) if not isinstance(value, str) else repr(value)


def _swept(plan: SweepPlan, name: str) -> list[str]:
    """The values of a swept parameter, in order and once each."""
    if plan.parameters[name].is_secret:
        return [MASKED]
    values = (run.point[name] for run in plan.runs if name in run.point)
    return list(dict.fromkeys(repr(v) if isinstance(v, str) else value_text(v) for v in values))


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None:
        return [f"  {text}"]
    return textwrap.wrap(text, max(width, 20), initial_indent="  ", subsequent_indent="    ")
