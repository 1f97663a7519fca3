"""What an experiment computes with: the digest of its code, and the parts that make it up."""

from __future__ import annotations

import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from expedition.authoring.code import Reached, reach
from expedition.authoring.constants import text_of_constant
from expedition.authoring.hooks import hooks_of
from expedition.authoring.lineage import reference
from expedition.authoring.plan import SweepPlan
from expedition.authoring.project_files import file_of
from expedition.authoring.source_digest import digest_of, hash_of
from expedition.authoring.written import Written

DIGITS = 12
"""Hexadecimal digits of the digest of an experiment's code."""

CODE, CONSTANT = "code of ", "constant "
"""How the names of parts begin: functions and classes, and other values."""


@dataclass(frozen=True)
class ExperimentCode:
    """The code of an experiment at one time.

    Attributes
    ----------
    parts : by name, such as ``code of exp_a.load`` or ``constant exp_a.names``, a hash of the source, the canonical
        text of a short number, or what is imported from a library; other values by their hash, since a text may be a
        secret.
    functions : by the name of its part each function and class, where the code is that of this process.
    files : those that it stands in.
    """

    parts: Mapping[str, str]
    functions: Mapping[str, Any] = field(default_factory=dict, repr=False)
    files: frozenset[Path] = frozenset()

    @cached_property
    def digest(self) -> str:
        """The digest by which runs of different code are told apart."""
        return digest_of_parts(self.parts)

    def sources(self, names: Iterable[str]) -> dict[str, str]:
        """Return the source of those of the named parts that have one."""
        found: dict[str, str] = {}
        for name in names:
            item: Any = self.functions.get(name)
            if isinstance(item, Written):
                found[name] = item.source
                continue
            try:
                found[name] = textwrap.dedent(inspect.getsource(getattr(item, "__code__", item)))
            except (OSError, TypeError):
                continue
        return found

    def places(self, names: Iterable[str], root: Path) -> dict[str, str]:
        """Return where those of the named parts are that are code, as ``<file below root>::<qualified name>``."""
        found: dict[str, str] = {}
        for name in names:
            item = self.functions.get(name)
            if isinstance(item, Written):
                found[name] = reference(item.file, item.name, root)
                continue
            file = file_of(item)
            if item is None or file is None:
                continue
            code = getattr(item, "__code__", None)
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
    marks: Iterable[str] = (),
    hide: Callable[[str], str] = str,
) -> ExperimentCode:
    """Return the code of the experiment of `plan`; `fixtures` are the functions of those that join it, by name.

    `versions` are those that stages are given, by their names; `marks` the names of marks that decide how runs end.
    `hide` takes the secrets of the experiment out of a text: they are no part of what is told.

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
        for found in (reached.constants, reached.origins):
            found.pop(f"{own}.{name}", None)
    digests = {label: hash_of(hide(item.form)) for label, item in reached.written.items()}
    for label, item in reached.code.items():
        digests[label] = digest_of(item, with_signature=label != own, hide=hide)
    parts = {f"{CODE}{label}": digest for label, digest in digests.items()}
    parts |= {f"version of {name}": version for name, version in versions.items()}
    parts |= {f"mark {name}": "set" for name in marks}
    parts |= {f"{CONSTANT}{hide(label)}": hash_of(hide(form)) for label, form in reached.forms.items()}
    parts |= {f"{CONSTANT}{hide(label)}": hide(origin) for label, origin in reached.origins.items()}
    for label, value in {**reached.constants, **reached.closed_over}.items():
        text = text_of_constant(value, root, hide)
        if text is not None:
            parts[f"{CONSTANT}{hide(label)}"] = text
    items = {**reached.written, **reached.code}
    return ExperimentCode(
        dict(sorted(parts.items())),
        {f"{CODE}{label}": item for label, item in items.items()},
        frozenset(reached.files | {source.path for source in sources}),
    )


def _label_of(reached: Reached, function: Any) -> str:
    code = inspect.unwrap(function).__code__
    return next((n for n, item in reached.code.items() if getattr(item, "__code__", None) is code), "")
