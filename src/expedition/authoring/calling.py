"""Calling an extended experiment as a function: with the values of its files, and without a record."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FunctionType
from typing import Any

from expedition.authoring.holding import HeldVariables
from expedition.authoring.lineage import Lineage, lineage_of, read_text
from expedition.authoring.resolution import resolve


def call_extended(function: FunctionType, *arguments: Any, **keywords: Any) -> Any:
    """Call the function that `function` extends, with the variables and arguments of its own file.

    Returns what it returns. Raises `ExperimentError` as collecting the experiment would.
    """
    lineage = lineage_from_module(function)
    found = resolve(lineage, file=lineage.own.source.path.name)
    values = {name: found.parameters[name].default for name in found.parameters if name not in found.opaque}
    given = lineage.body.__code__.co_varnames[: len(arguments)]
    for name, parameter in found.parameters.items():
        if parameter.kind == "argument" and name not in given and name in found.fixed:
            keywords.setdefault(name, values[name])
    held = HeldVariables(source.module for source in lineage.sources)
    held.hold(
        {n: values[n] for n, p in found.parameters.items() if p.kind == "variable" and n in found.fixed}
    )
    try:
        return lineage.body(*arguments, **keywords)
    finally:
        held.restore()


def lineage_from_module(function: FunctionType) -> Lineage:
    """Return the lineage of an experiment of a module that has been imported. Raises `ExperimentError`."""
    module = vars(sys.modules[function.__module__])
    path = Path(module["__file__"]).resolve()
    return lineage_of(function, module, path=path, text=read_text(path))
