"""`plan`: the plan of an experiment written in a line or a page."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from expedition.authoring.lineage import lineage_of
from expedition.authoring.overrides import Override
from expedition.authoring.plan import SweepPlan, plan_sweep
from expedition.authoring.specs import spec_of

Plan = Callable[..., SweepPlan]
_MODULE = "exp_of_a_test"


@pytest.fixture
def plan() -> Iterator[Plan]:
    """Plan the last marked function of `text` with the texts of ``-P`` or with `Override` objects."""

    def make(text: str, *overrides: str | Override, file: str = "exps/exp_a.py") -> SweepPlan:
        text = textwrap.dedent(text)
        future, found, rest = text.partition("from __future__ import annotations\n")
        text = f"{future}{found}from expedition import experiment\n{rest}" if found else f"{_IMPORT}{text}"
        module = ModuleType(_MODULE)
        sys.modules[_MODULE] = module  # dataclasses and pickles look their module up
        exec(compile(text, "exp_a.py", "exec", dont_inherit=True), module.__dict__)
        function = [value for value in vars(module).values() if spec_of(value) is not None][-1]
        given = [o if isinstance(o, Override) else Override.from_option(o) for o in overrides]
        lineage = lineage_of(function, vars(module), path=Path("exp_a.py").resolve(), text=text)
        return plan_sweep(lineage, file=file, namespace="exp_a", overrides=given)

    yield make
    sys.modules.pop(_MODULE, None)


_IMPORT = "from expedition import experiment\n"
