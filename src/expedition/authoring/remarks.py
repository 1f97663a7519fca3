"""Remarks on an experiment: what is no error, but perhaps not meant."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from expedition.authoring.plan import SweepPlan
from expedition.authoring.specs import REMARKS
from expedition.authoring.variables import assigned_variables


@dataclass(frozen=True)
class Remark:
    """Something about line `line` (0 where that is not known) of the file `path`."""

    path: Path
    line: int
    text: str


def remarks_on(plan: SweepPlan) -> Iterator[Remark]:
    """Yield the remarks on the files of an experiment, those on the files that it extends first."""
    sources = plan.lineage.sources
    variables = {source.path: assigned_variables(source.text) if source.text else {} for source in sources}
    mixins = {mixin.path for level in plan.lineage.levels for mixin in level.mixins}
    used = {name for source in sources for name in _used_names(source.text)}
    for source in sources:
        for line, text in source.module.get(REMARKS, ()):
            yield Remark(source.path, line, text)
        for name, variable in variables[source.path].items():
            if name in plan.opaque and name not in plan.parameters:
                yield Remark(
                    source.path,
                    variable.line,
                    f"{name} is no parameter: a {plan.opaque[name]} cannot be recorded exactly; write it in "
                    f"lowercase if it is to be none",
                )
            elif source.path in mixins and name not in used:
                yield Remark(
                    source.path,
                    variable.line,
                    f"{name} of the mixin is used by no file of {plan.name}; remove it, or use it",
                )


def _used_names(text: str) -> Iterator[str]:
    """Yield what the text of a file may use by its name, or by a text that is the name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
