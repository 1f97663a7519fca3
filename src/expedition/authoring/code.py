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
from functools import cached_property
from pathlib import Path
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from expedition.authoring.constants import has_exact_form
from expedition.authoring.module_text import Import, ModuleText, absolute_name, text_of
from expedition.authoring.named import names_in
from expedition.authoring.project_files import ProjectFiles, file_of, is_own
from expedition.authoring.source_digest import digest_of, hash_of
from expedition.authoring.specs import spec_of
from expedition.authoring.written import Written, WrittenWalk
from expedition.errors import UnstorableError

_PLAIN = (str, bytes, int, float, complex, type(None))
_DESCRIPTORS = (staticmethod, classmethod, property, functools.cached_property)
_TOLD_BY_PARTS = (dict, list, tuple, functools.partial, MethodType, MappingProxyType, *_DESCRIPTORS)
_GENERATED = ("<", dataclasses.__file__, reprlib.__file__)
"""Files of methods that dataclasses make: they follow from the source of the class."""
_OF_IMPORT = frozenset(
    {"__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__path__"}
    | {"__spec__"}
)
"""Names that importing gives to every module: they say where it lies."""


@dataclass
class Reached:
    """What a function reaches.

    Files go by their path below the root folder, without suffix.

    Attributes
    ----------
    code : by ``file.function`` each function and class of the project.
    constants : by ``file.NAME`` each constant that is not a parameter, also in defaults and attributes of classes.
    closed_over : by its name what the function closes over, and by ``file.function.name`` those that it names;
        functions and classes excepted, which are code.
    written : by ``file.function`` functions and classes of modules that are imported when the function is called, as
        their files have them.
    forms : by ``file.NAME`` what counts of the statements that make a value which has no exact form, or which stands
        in such a module.
    origins : by ``file.name`` where from things of libraries are imported, and the names of those that are closed over.
    files : those of the project that it stands in, those of constants among them.
    variables : names of parameters that the code names as variables of an experiment file.
    words : all words of the code by which it may mean a parameter.
    """

    code: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    closed_over: dict[str, Any] = field(default_factory=dict)
    written: dict[str, Written] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    files: set[Path] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)

    @cached_property
    def digests(self) -> dict[str, str]:
        """By ``file.function`` the hash of each function and class of the project."""
        found = {label: hash_of(item.form) for label, item in self.written.items()}
        return dict(sorted((found | {label: digest_of(item) for label, item in self.code.items()}).items()))

    @cached_property
    def fixed_parts(self) -> dict[str, str]:
        """Parts of a key: hashes of the code, and canonical texts of the constants.

        Of a constant that has no exact form the statement stands there that makes it.
        """
        from expedition.values import canonical

        parts = {f"code of {label}": text for label, text in self.digests.items()}
        parts |= {f"constant {label}": hash_of(form) for label, form in sorted(self.forms.items())}
        parts |= {f"constant {label}": origin for label, origin in sorted(self.origins.items())}
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
    classes, and functions in lists and dicts. What is looked up by a text (``getattr``) is not found. Nothing is
    imported: what a function imports when it is called is what stands in the file, imported already or not.

    The parameters `variables` change from run to run in the globals `held`, those of the files of an experiment.
    Without `is_exact` no constants are looked for, which takes a fraction of the time.
    """
    walk = _Walk(ProjectFiles(root), list(held), frozenset(variables), is_exact)
    walk.take(function, "", walk.found.constants, is_wanted=True)
    walk.finish()
    for other in others:
        walk.take(other, "", walk.found.closed_over)
        walk.finish()
    return walk.end()


def is_of_project(function: Callable[..., Any], root: Path, *, as_written: bool = False) -> bool:
    """Tell whether a function, or what it wraps, is written in a file of the project at `root`.

    With `as_written` what it wraps does not count.
    """
    return ProjectFiles(root).has_item(function if as_written else inspect.unwrap(function))


class _Walk:
    """One walk through the code: what was found, and what is still to be looked at."""

    def __init__(
        self,
        files: ProjectFiles,
        held: Collection[Mapping[str, Any]],
        variables: frozenset[str],
        is_exact: bool,
    ) -> None:
        self.found = Reached()
        self._is_exact = is_exact
        self._files = files
        self._held, self._variables = {id(space) for space in held}, variables
        own = {Path(str(space["__file__"])) for space in held if space.get("__file__")}
        self._written = WrittenWalk(files, own, variables)
        self._waiting: list[FunctionType | type] = []
        self._first: FunctionType | None = None
        self._statements: set[tuple[Path, str]] = set()
        # What is seen is kept: its identity is that of nothing else meanwhile
        self._seen: dict[int, tuple[Any, bool]] = {}

    def finish(self) -> None:
        """Look at everything that was taken."""
        while self._waiting:
            item = self._waiting.pop()
            label = self._label(item)
            self.found.code[label] = item
            file = file_of(item)
            if file is not None and self._files.has(file):
                self.found.files.add(file)
            if isinstance(item, type):
                self._look_at_class(item, label)
            else:
                self._look_at_function(item, label)

    def end(self) -> Reached:
        """Return what was found, also in files of modules that are imported later."""
        self._written.finish()
        self.found.written = self._written.code
        self.found.forms = {**self._written.forms, **self.found.forms}
        self.found.origins = {**self._written.imports, **self.found.origins}
        self.found.words |= self._written.words
        self.found.files |= self._written.files
        return self.found

    def take(self, value: Any, label: str, into: dict[str, Any], *, is_wanted: bool = False) -> bool:
        """Take what a name stands for: functions and classes to be looked at, other values `into` what was found.

        Return whether what was found tells all of it.
        """
        if isinstance(value, _PLAIN):
            if self._is_exact or into is not self.found.constants:
                into[label] = value
            return True
        if value is os.environ:
            return True
        if isinstance(value, ModuleType):
            return self._files.has_item(value)
        if id(value) not in self._seen:
            self._seen[id(value)] = value, True  # while it is looked at: it may have itself in it
            self._seen[id(value)] = value, self._take_new(value, label, into, is_wanted)
        return self._seen[id(value)][1]

    def _take_new(self, value: Any, label: str, into: dict[str, Any], is_wanted: bool) -> bool:
        is_constant = into is self.found.constants
        if isinstance(value, type):
            if self._files.has_item(value):
                self._waiting.append(value)
                return True
            return False
        if isinstance(value, FunctionType):
            is_told = self._take_function(value, label, into, is_wanted)
        elif parts := list(_parts_of(value)):
            is_told = self._take_all(parts, label, into) and type(value) in _TOLD_BY_PARTS
        else:
            is_told = self._is_exact and has_exact_form(value)
            if not is_constant or (is_told and not callable(value)):
                into[label] = value
            if self._files.has_item(type(value)):
                self.take(type(value), label, self.found.constants)
                members = vars(value) if hasattr(value, "__dict__") else {}
                self._take_all(members.items(), label, self.found.constants)
        inner = inspect.getattr_static(value, "__wrapped__", None)
        if inner is not None:
            self.take(inner, label, into)
        return is_told

    def _take_function(self, value: FunctionType, label: str, into: dict[str, Any], is_wanted: bool) -> bool:
        spec = spec_of(value)
        if (
            spec is not None and spec.base is not None and not is_wanted
        ):  # an experiment that is run as a child
            self._take_all([("base", spec.base.text), *spec.values.items()], label, into)
        if is_wanted or self._files.has_item(value):
            self._waiting.append(value)
            # Of one that a function made, the names stand there that it was made with
            return "<locals>" not in value.__qualname__
        file = value.__code__.co_filename
        if file.startswith(_GENERATED):
            return True
        # What a decorator of a library made may have a function of the project inside.
        inside = _closed_over(value)
        if is_own(Path(file)):
            inside = ((n, member) for n, member in inside if isinstance(member, FunctionType | type))
        self._take_all(inside, label, into)
        return False

    def _take_all(self, members: Iterable[tuple[object, Any]], label: str, into: dict[str, Any]) -> bool:
        taken = [
            self.take(value, ".".join(part for part in (label, str(name)) if part), into)
            for name, value in members
        ]
        return all(taken)

    def _look_at_function(self, function: FunctionType, label: str) -> None:
        names = names_in(function.__code__)
        self.found.words |= names.words
        space, file = function.__globals__, Path(function.__code__.co_filename)
        for name in sorted(names.variables):
            self._take_global(name, space, file, names.words)
        self._written.take_imports(names.imports, str(space.get("__package__") or ""), names.words)
        if self._first is None:
            self._first = function
        inside = "" if function is self._first else label
        self._take_inner(_closed_over(function), inside, self.found.closed_over)
        is_told = self._take_inner(_defaults(function), label, self.found.constants)
        if not is_told and function is not self._first:  # the defaults of that are parameters
            self._take_statement(file, function.__qualname__, space)

    def _take_inner(self, members: Iterable[tuple[str, Any]], label: str, into: dict[str, Any]) -> bool:
        """Take values that no statement of a module makes; of those without an exact form there is the name."""
        is_told = True
        for name, value in members:
            place = f"{label}.{name}" if label else name
            if not self.take(value, place, into) and self._is_exact:
                is_told = False
                if not isinstance(value, FunctionType | type) or not self._files.has_item(value):
                    self.found.origins[place] = _name_of(value)
        return is_told

    def _take_global(self, name: str, space: Mapping[str, Any], file: Path, words: frozenset[str]) -> None:
        if id(space) in self._held and name in self._variables:
            self.found.variables.add(name)
        elif name in space and name not in _OF_IMPORT:
            self._take_named(name, space, file, words)

    def _take_named(self, name: str, space: Mapping[str, Any], file: Path, words: frozenset[str]) -> None:
        value = space[name]
        if not isinstance(value, ModuleType) or not self._files.has_item(value):
            label = f"{self._files.label(file)}.{name}"
            if not self.take(value, label, self.found.constants) and self._is_exact:
                self._take_statement(file, name, space)
            return
        # Which of its attributes the code means, or those of modules in it, is not known: all that it has words for.
        modules, seen = [value], {id(value)}
        while modules:
            module = modules.pop()
            place = file_of(module)
            if place is None or not self._files.has(place):
                continue
            self.found.files.add(place)
            inner = self._inner_modules(module, words, (file, place))
            for word in sorted((words & vars(module).keys()) - _OF_IMPORT - inner):
                member = vars(module)[word]
                if not isinstance(member, ModuleType) or not self._files.has_item(member):
                    self._take_named(word, vars(module), place, words)
                elif id(member) not in seen:
                    seen.add(id(member))
                    modules.append(member)

    def _inner_modules(self, module: ModuleType, words: frozenset[str], files: Iterable[Path]) -> set[str]:
        """Take those modules of a package from their files that nobody may have imported yet, and return their names.

        Those that one of the `files` imports when it is imported itself are there in any case.
        """
        if not hasattr(module, "__path__"):
            return set()
        place = self._written.places.of(module.__name__)
        later = words & place.submodules() if place is not None else frozenset[str]()
        found: set[str] = set()
        for word in sorted(later):
            full = f"{module.__name__}.{word}"
            if isinstance(vars(module).get(word, module), ModuleType) and not any(
                _imports(file, full) for file in files
            ):
                self._written.take_module(full, words)
                found.add(word)
        return found

    def _take_statement(self, file: Path, name: str, space: Mapping[str, Any]) -> None:
        """Take the statement that makes the value of a global, and what it names."""
        if (file, name) in self._statements or not self._files.has(file):
            return
        self._statements.add((file, name))
        self.found.files.add(file)
        label, text = f"{self._files.label(file)}.{name}", text_of(file)
        package = str(space.get("__package__") or "")
        statement = text.statement(name) if text is not None else None
        if statement is None:
            if text is None or not self._take_star(text, name, label, package):
                self.found.origins[label] = _name_of(space.get(name))
            return
        are_of_project = [self._take_imported(one, package) for one in statement.imports]
        if statement.is_import:
            if not all(are_of_project):
                self.found.origins[label] = statement.form
            return
        if not statement.source:
            self.found.forms[label] = statement.form
        for other in sorted(statement.names.variables):
            self._take_global(other, space, file, statement.names.words)
        self._written.take_imports(statement.names.imports, package, statement.names.words)

    def _take_imported(self, imported: Import, package: str) -> bool:
        """Take what makes the value that a module imported; return whether it is of the project."""
        full = absolute_name(imported.level, imported.module, package)
        place = self._written.place(full)
        if place is None:
            return False
        module = sys.modules.get(full)
        if module is None or place.file is None:
            self._written.take_import(imported, package, frozenset())
        elif imported.member:
            self._take_statement(place.file, imported.member, vars(module))
        return True

    def _take_star(self, text: ModuleText, name: str, label: str, package: str) -> bool:
        """Take a global that was imported together with all others of a module; return whether it was."""
        for level, source in text.stars:
            full = absolute_name(level, source, package)
            module = sys.modules.get(full)
            if module is None or name not in vars(module):
                continue
            if not self._take_imported(Import(0, full, name), ""):
                self.found.origins[label] = str(Import(0, full, name))
            return True
        return False

    def _look_at_class(self, item: type, label: str) -> None:
        is_told = True
        for name, member in list(vars(item).items()):
            is_code = callable(member) or isinstance(member, _DESCRIPTORS)
            # Python's own entries differ from version to version; the members of an Enum stand in its source.
            if is_code or not (name.startswith("_") or issubclass(item, enum.Enum)):
                is_told = self.take(member, f"{label}.{name}", self.found.constants) and is_told
        for base in (*item.__bases__, type(item)):
            is_told = (base in (object, type) or self.take(base, label, self.found.constants)) and is_told
        file, module = file_of(item), sys.modules.get(item.__module__)
        if not is_told and self._is_exact and file is not None and module is not None:
            self._take_statement(file, item.__qualname__, vars(module))

    def _label(self, item: Any) -> str:
        """``file.function``; another one of the same name has a number behind it."""
        name = item.__qualname__ if isinstance(item, type) else item.__code__.co_qualname
        label = wanted = f"{self._files.label(file_of(item), str(getattr(item, '__module__', '')))}.{name}"
        number = 1
        while label in self.found.code:
            number += 1
            label = f"{wanted}~{number}"
        return label


def _imports(file: Path, full: str) -> bool:
    """Tell whether a file imports a module when it is imported itself."""
    text = text_of(file)
    if text is None:
        return False
    return any(module == full or (level and full.endswith(f".{module}")) for level, module in text.imported)


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
    elif isinstance(value, Mapping) and not has_exact_form(value):
        for number, (key, member) in enumerate(list(value.items())):
            if isinstance(key, int) or (isinstance(key, str) and key.isidentifier()):
                yield key, member
            else:
                yield from ((f"{number}.key", key), (number, member))
    elif isinstance(value, list | tuple) and not has_exact_form(value):
        yield from enumerate(value)
    elif isinstance(value, set | frozenset) and not has_exact_form(value):
        yield from enumerate(_sorted(value))


def _sorted(members: Collection[Any]) -> list[Any]:
    """The members of a set in an order that is the same each time; of what has none, the types."""
    found: dict[tuple[str, str], Any] = {}
    counts: dict[tuple[str, str], int] = {}
    for member in members:
        key = _name_of(member), _order_of(member)
        found[key] = member
        counts[key] = counts.get(key, 0) + 1
    return [found[key] if key[1] and counts[key] == 1 else type(found[key]) for key in sorted(found)]


def _order_of(member: Any) -> str:
    """A text by which members of a set that are of one type are told apart, empty where there is none."""
    from expedition.values import canonical

    if isinstance(member, FunctionType | type) or hasattr(member, "__qualname__"):
        return "named"
    with contextlib.suppress(UnstorableError):
        if has_exact_form(member):
            return canonical(member)
        return canonical(dict(vars(member))) if hasattr(member, "__dict__") else ""
    return ""


def _name_of(value: Any) -> str:
    """The qualified name of what has one, else that of its type."""
    if isinstance(value, ModuleType):
        return value.__name__
    named = value if isinstance(getattr(value, "__qualname__", None), str) else type(value)
    return f"{getattr(named, '__module__', None) or ''}.{named.__qualname__}"


def _closed_over(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not assigned yet
            yield name, cell.cell_contents


def _defaults(function: FunctionType) -> Iterator[tuple[str, Any]]:
    values = function.__defaults__ or ()
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    yield from zip(names[len(names) - len(values) :], values, strict=False)
    yield from (function.__kwdefaults__ or {}).items()


def describe(reached: Reached, values: Mapping[str, Any]) -> dict[str, str]:
    """Return what was reached as parts of a key: hashes of code, and canonical texts of constants and parameters.

    `values` has the parameters of the run.
    """
    from expedition.values import canonical

    named = sorted(reached.variables & values.keys())
    return {**reached.fixed_parts, **{f"parameter {name}": canonical(values[name]) for name in named}}
