"""What an experiment computes with: the digest of its code, and the parts that make it up."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from expedition.authoring.code import Reached, reach
from expedition.authoring.hooks import hooks_of
from expedition.authoring.lineage import reference
from expedition.authoring.plan import SweepPlan
from expedition.authoring.source_digest import digest_of
from expedition.errors import UnstorableError

DIGITS = 12
"""Hexadecimal digits of the digest of an experiment's code."""

CODE, CONSTANT = "code of ", "constant "
"""How the names of parts begin: functions and classes, and other values."""

_LONGEST = 80


@dataclass(frozen=True)
class ExperimentCode:
    """The code of an experiment at one time.

    Attributes
    ----------
    parts : by name, such as ``code of exp_a.load`` or ``constant exp_a.names``, a hash of the source, or the canonical
        text of a short number; other values by their hash, since a text may be a secret.
    functions : by the name of its part each function and class, where the code is that of this process.
    """

    parts: Mapping[str, str]
    functions: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def digest(self) -> str:
        """The digest by which runs of different code are told apart."""
        return digest_of_parts(self.parts)

    def sources(self, names: Iterable[str]) -> dict[str, str]:
        """Return the source of those of the named parts that have one."""
        found: dict[str, str] = {}
        for name in names:
            try:
                item = self.functions[name]
                found[name] = textwrap.dedent(inspect.getsource(getattr(item, "__code__", item)))
            except (KeyError, OSError, TypeError):
                continue
        return found

    def places(self, names: Iterable[str], root: Path) -> dict[str, str]:
        """Return where those of the named parts are that are code, as ``<file below root>::<qualified name>``."""
        found: dict[str, str] = {}
        for name in names:
            item = self.functions.get(name)
            if item is None:
                continue
            code = getattr(item, "__code__", None)
            try:
                file = Path(code.co_filename if code is not None else inspect.getfile(item))
            except (OSError, TypeError):
                continue
            qualified = str(code.co_qualname) if code is not None else item.__qualname__
            found[name] = reference(file, qualified, root)
        return found


def digest_of_parts(parts: Mapping[str, str]) -> str:
    """Return the digest of code that is made up of `parts`."""
    text = json.dumps(sorted(parts.items()), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def code_of(
    plan: SweepPlan,
    fixtures: Mapping[str, Callable[..., Any]],
    versions: Mapping[str, str],
    *,
    root: Path,
) -> ExperimentCode:
    """Return the code of the experiment of `plan`; `fixtures` are the functions of those that join it, by name.

    `versions` are those that stages are given, by their names.

    It is the function that runs, what fills its hooks, the fixtures, and what these reach of the project at `root`.
    Parameters do not count, since they are in the run key, and neither do analyses and functions after the sweep.
    """
    sources = plan.lineage.sources
    hooks = [hook.function for source in sources for hook in hooks_of(source.module)]
    reached = reach(
        plan.lineage.body,
        *hooks,
        *fixtures.values(),
        root=root,
        held=[source.module for source in sources],
        variables={name for name, own in plan.parameters.items() if own.kind == "variable"},
    )
    own = _label_of(reached, plan.lineage.body)
    for name in plan.parameters:  # the default of an argument is a parameter too
        reached.constants.pop(f"{own}.{name}", None)
    digests = dict(reached.digests)
    if own:
        digests[own] = digest_of(reached.code[own], with_signature=False)
    parts = {f"{CODE}{label}": digest for label, digest in digests.items()}
    parts |= {f"version of {name}": version for name, version in versions.items()}
    for label, value in sorted({**reached.constants, **reached.closed_over}.items()):
        text = _text_of(value, root)
        if text is not None:
            parts[f"{CONSTANT}{label}"] = text
    return ExperimentCode(parts, {f"{CODE}{label}": item for label, item in reached.code.items()})


def _label_of(reached: Reached, function: Any) -> str:
    code = inspect.unwrap(function).__code__
    return next((n for n, item in reached.code.items() if getattr(item, "__code__", None) is code), "")


def _text_of(value: Any, root: Path) -> str | None:
    """What is recorded of a constant; None where it has no exact form, and what it is made of was reached."""
    from expedition.values import canonical

    if isinstance(value, PurePath) and value.is_relative_to(root):
        value = type(value)(os.path.relpath(value, root))  # the project may be moved
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        head = f"{value.dtype.descr} {value.shape} ".encode()
        return hashlib.sha256(head + numpy.ascontiguousarray(value).tobytes()).hexdigest()
    try:
        text = canonical(value)
    except UnstorableError:
        return None
    if (isinstance(value, int | float | complex) or value is None) and len(text) <= _LONGEST:
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
