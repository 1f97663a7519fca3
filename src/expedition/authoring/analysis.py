"""Functions of experiment files that look at a run which has ended."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from expedition.authoring.lineage import Lineage, reference
from expedition.authoring.specs import check_plain, claim, defines
from expedition.errors import ExperimentError

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__expedition_analysis__"


@dataclass(frozen=True)
class Analysis:
    """A function that is called with the record of a run, and the file that it stands in."""

    function: Any  # mypy takes a FunctionType for a method
    path: Path

    def reference(self, root: Path) -> str:
        """Return ``file::function``; the file is relative to the folder `root`, one outside goes by its name."""
        return reference(self.path, self.function.__name__, root)


def mark_analysis(function: F) -> F:
    """Note that a function looks at runs that have ended. Raises `ExperimentError`."""
    check_plain(function, "@experiment.analysis", "an analysis")
    claim(function, "analysis")
    arguments = list(inspect.signature(function).parameters.values())
    positional = [a for a in arguments if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)]
    required = [
        a for a in arguments if a.default is a.empty and a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)
    ]
    if not positional or any(argument is not positional[0] for argument in required):
        raise ExperimentError(
            f"{function.__name__}: an analysis gets the record of the run and nothing else: "
            f"def {function.__name__}(record)"
        )
    function.__dict__[_ATTRIBUTE] = True
    return function


def analyses_of(lineage: Lineage) -> tuple[Analysis, ...]:
    """Return the analyses of an experiment: those of bases first, then of mixins, then its own, as on the page."""
    return tuple(
        Analysis(function, source.path)
        for source in lineage.sources
        for name, function in list(source.module.items())
        if isinstance(function, FunctionType)
        and _ATTRIBUTE in function.__dict__
        and defines(source.module, name, function)
    )
