"""The hooks that may be filled in an experiment, as functions to begin with."""

from __future__ import annotations

import ast
import inspect
import keyword
from collections.abc import Iterator

from expedition.authoring.hooks import Hook, hooks_of
from expedition.authoring.plan import SweepPlan
from expedition.cli.scaffolding.literals import docstring, python_literal


def hook_stubs(plan: SweepPlan, *, taken: str) -> Iterator[str]:
    """Yield the source of a stub for each hook that the files of an experiment fill or apply.

    The signature and docstring are those of the function that fills it, or else of the call that applies it. No
    function is called `taken`.
    """
    filled, applied = _filled(plan), _applied(plan)
    for name in {**applied, **filled}:
        if name in filled:
            arguments, doc = _arguments(filled[name]), inspect.getdoc(filled[name].function) or ""
        else:
            arguments, doc = applied[name], ""
        function = f"{name}_hook" if name == taken or keyword.iskeyword(name) else name
        lines = [f'@experiment.hook("{name}")', f"def {function}({', '.join(['e', *arguments])}):"]
        lines += [f"    {line}".rstrip() for line in docstring(doc).split("\n")] if doc else []
        yield "\n".join([*lines, "    ..."])


def hook_names(plan: SweepPlan) -> list[str]:
    """Return the names of the hooks that the files of an experiment apply or fill."""
    return list({**_applied(plan), **_filled(plan)})


def _filled(plan: SweepPlan) -> dict[str, Hook]:
    return {hook.name: hook for source in plan.lineage.sources for hook in hooks_of(source.module)}


def _applied(plan: SweepPlan) -> dict[str, list[str]]:
    return {name: call for source in plan.lineage.sources for name, call in _calls(source.text)}


def _arguments(hook: Hook) -> list[str]:
    """What a hook asks for besides the run, as in its source, without annotations."""
    found: list[str] = []
    starred = False
    for argument in hook.arguments.values():
        if argument.kind is argument.VAR_KEYWORD:
            found.append(f"**{argument.name}")
            continue
        if argument.kind is argument.KEYWORD_ONLY and not starred:
            starred = True
            found.append("*")
        default = ""
        if argument.default is not argument.empty:
            default = f"={python_literal(argument.default) or '...'}"
        found.append(f"{argument.name}{default}")
    return found


def _calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield name and keywords of each ``apply_hook`` in the text of a file."""
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr != "apply_hook" or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        name = node.args[0].value
        if isinstance(name, str) and name.isidentifier():
            yield name, [word.arg for word in node.keywords if word.arg and word.arg != "default"]
