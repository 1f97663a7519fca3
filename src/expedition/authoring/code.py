"""The code that a function reaches: itself, and the functions and constants of the project that it names."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import hashlib
import inspect
import os
import reprlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from expedition.authoring.named import imported_in, names_in
from expedition.authoring.source_digest import digest_of
from expedition.errors import UnstorableError

_PLAIN = (str, bytes, int, float, complex, type(None))
_DESCRIPTORS = (staticmethod, classmethod, property, functools.cached_property)
_GENERATED = ("<", dataclasses.__file__, reprlib.__file__)
"""Files of methods that dataclasses make: they follow from the source of the class."""
_OWN_PACKAGE = Path(os.path.realpath(__file__)).parents[1]
_LIBRARIES = frozenset({"site-packages", "dist-packages", "node_modules", ".venv", ".tox", ".nox"})


@dataclass
class Reached:
    """What a function reaches.

    Attributes
    ----------
    code : by ``file.function`` each function and class of the project.
    constants : by ``file.NAME`` each constant that is not a parameter, also in defaults and attributes of classes.
    closed_over : by its name what the function closes over, and by ``file.function.name`` those that it names;
        functions and classes excepted, which are code.
    variables : names of parameters that the code names as variables of an experiment file.
    words : all words of the code by which it may mean a parameter.
    """

    code: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    closed_over: dict[str, Any] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)

    @cached_property
    def digests(self) -> dict[str, str]:
        """By ``file.function`` the hash of each function and class of the project."""
        return {label: digest_of(item) for label, item in sorted(self.code.items())}

    @cached_property
    def fixed_parts(self) -> dict[str, str]:
        """Parts of a key: hashes of the code, and canonical texts of the constants.

        A constant that has no exact form is left out: what it is made of was reached, or belongs to a library.
        """
        from expedition.values import canonical

        parts = {f"code of {label}": text for label, text in self.digests.items()}
        for label, value in sorted({**self.constants, **self.closed_over}.items()):
            try:
                text = canonical(value)
            except UnstorableError:
                continue
            is_long = len(text) > 200
            parts[f"constant {label}"] = hashlib.sha256(text.encode()).hexdigest() if is_long else text
        return parts


def reach(
    function: Callable[..., Any],
    *others: Callable[..., Any],
    root: Path,
    held: Iterable[Mapping[str, Any]] = (),
    variables: Collection[str] = (),
    is_exact: bool = True,
) -> Reached:
    """Return the code of a function and of everything of the project at `root` that it names, directly or not.

    `others` are functions that count with it, as far as they are of the project.

    Names are those in its bytecode: globals, what it closes over, what it imports when it is called, and attributes
    of modules of the project. Decorated functions count with their decorators, and so do methods, defaults, base
    classes, and functions in lists and dicts. What is looked up by a text (``getattr``) is not found.

    The parameters `variables` change from run to run in the globals `held`, those of the files of an experiment.
    Without `is_exact` no constants are looked for, which takes a fraction of the time.
    """
    spaces = {id(space) for space in held}
    walk = _Walk(Path(os.path.realpath(root)), spaces, frozenset(variables), is_exact)
    walk.take(function, "", walk.found.constants, is_wanted=True)
    walk.finish()
    for other in others:
        walk.take(other, "", walk.found.closed_over)
        walk.finish()
    return walk.found


def is_of_project(function: Callable[..., Any], root: Path, *, as_written: bool = False) -> bool:
    """Tell whether a function, or what it wraps, is written in a file of the project at `root`.

    With `as_written` what it wraps does not count.
    """
    file = _file_of(function if as_written else inspect.unwrap(function))
    return file is not None and _is_below(file, Path(os.path.realpath(root)))


class _Walk:
    """One walk through the code: what was found, and what is still to be looked at."""

    def __init__(self, root: Path, held: set[int], variables: frozenset[str], is_exact: bool) -> None:
        self.found = Reached()
        self._is_exact = is_exact
        self._root, self._held, self._variables = root, held, variables
        self._waiting: list[FunctionType | type] = []
        self._first: FunctionType | None = None
        self._seen: dict[
            int, Any
        ] = {}  # what is seen is kept: its identity is that of nothing else meanwhile

    def finish(self) -> None:
        """Look at everything that was taken."""
        while self._waiting:
            item = self._waiting.pop()
            label = self._label(item)
            self.found.code[label] = item
            if isinstance(item, type):
                self._look_at_class(item, label)
            else:
                self._look_at_function(item, label)

    def take(self, value: Any, label: str, into: dict[str, Any], *, is_wanted: bool = False) -> None:
        """Take what a name stands for: functions and classes to be looked at, other values `into` what was found."""
        is_constant = into is self.found.constants
        if isinstance(value, _PLAIN):
            if self._is_exact or not is_constant:
                into[label] = value
            return
        if isinstance(value, ModuleType) or id(value) in self._seen or value is os.environ:
            return
        self._seen[id(value)] = value
        if isinstance(value, FunctionType):
            if is_wanted or self._is_of_project(value):
                self._waiting.append(value)
            elif not value.__code__.co_filename.startswith(_GENERATED):
                # What a decorator of a library made may have a function of the project inside.
                self._take_all(_closed_over(value), label, into)
        elif isinstance(value, type):
            if self._is_of_project(value):
                self._waiting.append(value)
            return
        elif parts := list(_parts_of(value)):
            self._take_all(parts, label, into)
        else:
            if not is_constant or (self._is_exact and not callable(value) and _is_storable(value)):
                into[label] = value
            if self._is_of_project(type(value)):
                self.take(type(value), label, self.found.constants)
                members = vars(value) if hasattr(value, "__dict__") else {}
                self._take_all(members.items(), label, self.found.constants)
        inner = inspect.getattr_static(value, "__wrapped__", None)
        if inner is not None:
            self.take(inner, label, into)

    def _take_all(self, members: Iterable[tuple[object, Any]], label: str, into: dict[str, Any]) -> None:
        for name, value in members:
            self.take(value, ".".join(part for part in (label, str(name)) if part), into)

    def _look_at_function(self, function: FunctionType, label: str) -> None:
        names = names_in(function.__code__)
        self.found.words |= names.words
        space, home = function.__globals__, _stem(function)
        is_held = id(space) in self._held
        for name in sorted(names.variables):
            if is_held and name in self._variables:
                self.found.variables.add(name)
            elif name in space:
                self._take_named(name, space[name], home, names.words)
        for name, value in imported_in(function, lambda file: _is_below(file, self._root)):
            self._take_named(name, value, home, names.words)
        if self._first is None:
            self._first = function
        inside = "" if function is self._first else label
        self._take_all(_closed_over(function), inside, self.found.closed_over)
        self._take_all(_defaults(function), label, self.found.constants)

    def _take_named(self, name: str, value: Any, home: str, words: frozenset[str]) -> None:
        if not isinstance(value, ModuleType):
            self.take(value, f"{home}.{name}", self.found.constants)
            return
        # Which of its attributes the code means, or those of modules in it, is not known: all that it has words for.
        modules, seen = [value], {id(value)}
        while modules:
            module = modules.pop()
            if not self._is_of_project(module):
                continue
            for word in sorted(words & vars(module).keys()):
                member = vars(module)[word]
                if not isinstance(member, ModuleType):
                    self.take(member, f"{_stem(module)}.{word}", self.found.constants)
                elif id(member) not in seen:
                    seen.add(id(member))
                    modules.append(member)

    def _look_at_class(self, item: type, label: str) -> None:
        for name, member in list(vars(item).items()):
            is_code = callable(member) or isinstance(member, _DESCRIPTORS)
            # Python's own entries differ from version to version; the members of an Enum stand in its source.
            if is_code or not (name.startswith("_") or issubclass(item, enum.Enum)):
                self.take(member, f"{label}.{name}", self.found.constants)
        for base in (*item.__bases__, type(item)):
            self.take(base, label, self.found.constants)

    def _is_of_project(self, item: Any) -> bool:
        file = _file_of(item)
        return file is not None and _is_below(file, self._root)

    def _label(self, item: Any) -> str:
        """``file.function``; another one of the same name has a number behind it."""
        name = item.__qualname__ if isinstance(item, type) else item.__code__.co_qualname
        label = wanted = f"{_stem(item)}.{name}"
        number = 1
        while label in self.found.code:
            number += 1
            label = f"{wanted}~{number}"
        return label


def _parts_of(value: Any) -> Iterator[tuple[object, Any]]:
    """Yield the members of what is made of other things, none where it can be kept exactly."""
    if isinstance(value, functools.partial):
        yield from enumerate((value.func, *value.args))
        yield from value.keywords.items()
    elif isinstance(value, MethodType):
        yield from (("", value.__func__), ("self", value.__self__))
    elif isinstance(value, staticmethod | classmethod):
        yield "", value.__func__
    elif isinstance(value, property):
        yield from enumerate(made for made in (value.fget, value.fset, value.fdel) if made is not None)
    elif isinstance(value, functools.cached_property):
        yield "", value.func
    elif isinstance(value, Mapping) and not _is_storable(value):
        yield from list(value.items())
    elif isinstance(value, list | tuple) and not _is_storable(value):
        yield from enumerate(value)
    elif isinstance(value, set | frozenset) and not _is_storable(value):
        yield from enumerate(sorted(value, key=lambda member: str(getattr(member, "__qualname__", member))))


def _closed_over(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not assigned yet
            yield name, cell.cell_contents


def _defaults(function: FunctionType) -> Iterator[tuple[str, Any]]:
    values = function.__defaults__ or ()
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    yield from zip(names[len(names) - len(values) :], values, strict=False)
    yield from (function.__kwdefaults__ or {}).items()


def _is_storable(value: Any) -> bool:
    from expedition.values import is_storable

    return is_storable(value)


def _stem(item: Any) -> str:
    file = _file_of(item)
    if file is None:
        return str(getattr(item, "__module__", ""))
    return file.parent.name if file.stem == "__init__" else file.stem


def _file_of(item: Any) -> Path | None:
    code = getattr(item, "__code__", None)
    if code is not None:
        return Path(code.co_filename)
    try:
        return Path(inspect.getfile(item))
    except (TypeError, OSError):
        return None


@lru_cache(maxsize=4096)
def _is_below(file: Path, root: Path) -> bool:
    """Tell whether a file belongs to the project at `root`, and not to a library that is installed there."""
    if not file.is_absolute():
        return False
    real = Path(os.path.realpath(file))
    environment = Path(os.path.realpath(sys.prefix))
    if not real.is_relative_to(root) or real.is_relative_to(_OWN_PACKAGE):
        return False
    if environment != root and environment.is_relative_to(root) and real.is_relative_to(environment):
        return False
    return not _LIBRARIES.intersection(real.relative_to(root).parts)


def describe(reached: Reached, values: Mapping[str, Any]) -> dict[str, str]:
    """Return what was reached as parts of a key: hashes of code, and canonical texts of constants and parameters.

    `values` has the parameters of the run.
    """
    from expedition.values import canonical

    named = sorted(reached.variables & values.keys())
    return {**reached.fixed_parts, **{f"parameter {name}": canonical(values[name]) for name in named}}
