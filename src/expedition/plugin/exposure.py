"""Refuses parameters that are not secret and hold the text of one that is: they would be recorded and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from expedition.authoring.parameters import MISSING
from expedition.authoring.plan import PlannedRun, SweepPlan
from expedition.errors import ExperimentError, UnstorableError
from expedition.recording.masking import Mask
from expedition.values import dumps, encode


def refuse_exposed(plan: SweepPlan, runs: Iterable[PlannedRun] | None = None) -> None:
    """Raise `ExperimentError` when a value of a plan, or of some of its runs, holds the text of a secret of it."""
    mask = Mask(plan.concealed)
    if not mask:
        return
    if runs is not None:
        refuse_exposed_values(plan.name, (run.point for run in runs), mask)
        return
    defaults = {
        name: parameter.default
        for name, parameter in plan.parameters.items()
        if parameter.default is not MISSING and not parameter.is_secret
    }
    refuse_exposed_values(plan.name, (plan.known, defaults, *(run.point for run in plan.runs)), mask)
    refuse_exposed_values(plan.name, [{"the sweep": plan.design}], mask)


def refuse_exposed_values(label: str, values: Iterable[Mapping[str, Any]], mask: Mask) -> None:
    """Raise `ExperimentError`, naming the parameter, for a value that holds the text of a secret that `mask` hides."""
    seen: dict[int, Any] = {}  # products have the same objects again and again
    for named in values if mask else ():
        for name, value in named.items():
            if id(value) in seen:
                continue
            seen[id(value)] = value
            text = dumps(encode(value, name=name))
            try:
                mask.check_json(text)
            except UnstorableError:
                raise ExperimentError(
                    f"{label}: {name} holds the text of a secret parameter, and would be recorded with it; annotate it "
                    f"Secret as well, or put it together in the function"
                ) from None
