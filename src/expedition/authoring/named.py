"""The names in the bytecode of a function."""

from __future__ import annotations

import dis
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

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
