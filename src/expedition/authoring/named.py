"""The names in the bytecode of a function, and what they stand for."""

from __future__ import annotations

import dis
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_OF_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL"})


@dataclass(frozen=True)
class Names:
    """What a piece of code names, with the code inside of it.

    Attributes
    ----------
    variables : globals. imports : level, module and names of each ``import`` in it.
    words : globals, attributes and texts that are one word: all by which it may mean something.
    """

    variables: frozenset[str]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]
    words: frozenset[str]


@lru_cache(maxsize=4096)
def names_in(code: CodeType) -> Names:
    """Return what a piece of code names."""
    variables: set[str] = set()
    words = set(code.co_names)
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for number, step in enumerate(steps):
        if step.opname in _OF_GLOBALS:
            variables.add(step.argval)
        elif step.opname == "IMPORT_NAME":
            level, names = (before.argval for before in steps[number - 2 : number])
            imports.append((level, step.argval, tuple(names or ())))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = names_in(constant)
            variables |= inner.variables
            words |= inner.words
            imports += inner.imports
        elif isinstance(constant, str) and constant.isidentifier():
            words.add(constant)
    return Names(frozenset(variables), tuple(imports), frozenset(words))


def imported_in(function: FunctionType, is_of_project: Callable[[Path], bool]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of what a function imports when it is called, as far as it belongs to the project.

    Modules that were not imported yet are: the function needs them in any case.
    """
    for level, name, names in names_in(function.__code__).imports:
        package = function.__globals__.get("__package__") or ""
        try:
            full = importlib.util.resolve_name("." * level + name, package) if level else name
            module = _module(full, is_of_project)
        except Exception:  # what importing it raises, the call of the function will
            continue
        if module is None:
            continue
        if not names:
            yield full.partition(".")[0], sys.modules.get(full.partition(".")[0], module)
            yield full, module
        for member in names:
            try:
                value = getattr(module, member, None) or _module(f"{full}.{member}", is_of_project)
            except Exception:
                continue
            yield member, value


def _module(name: str, is_of_project: Callable[[Path], bool]) -> ModuleType | None:
    """Import a module of the project, None when it is none."""
    top = name.partition(".")[0]
    found = sys.modules.get(top)
    spec = found.__spec__ if found is not None else importlib.util.find_spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec is not None else []
    if found is not None:
        places.append(getattr(found, "__file__", None))
    if not any(place is not None and is_of_project(Path(place)) for place in places):
        return None
    return importlib.import_module(name)
