"""Lineages: the files that an experiment is made of, from the one at the root of what it extends to its own."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from expedition.authoring.modules import find_file, load_file
from expedition.authoring.specs import (
    INCLUDE,
    INCLUDES,
    UNNAMED,
    Base,
    ExperimentSpec,
    Include,
    defines,
    spec_of,
)
from expedition.errors import ExperimentError, near_matches

CONFIG_SUFFIXES = (".yml", ".yaml")
"""Suffixes of files that are configs."""

_DEEPEST = 100


@dataclass(frozen=True)
class SourceFile:
    """One file of a lineage: its globals, its text (empty for a config) and its path."""

    path: Path
    module: dict[str, Any]
    text: str


def reference(path: Path, function: str, root: Path) -> str:
    """Return ``file::function``; the file is relative to the folder `root`, one outside goes by its name."""
    file = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return f"{file}::{function}"


@dataclass(frozen=True)
class Level:
    """One experiment of a lineage: its file, what its decorators said, and the mixins that it includes.

    `label` is its name in tables, `function` what it was written as.
    """

    label: str
    function: Any  # mypy takes a FunctionType for a method
    source: SourceFile
    spec: ExperimentSpec
    mixins: tuple[SourceFile, ...]

    @property
    def names(self) -> tuple[str, str, str]:
        """The names by which options mean the experiment, besides its path."""
        return self.label, self.function.__name__, self.source.path.name


@dataclass(frozen=True)
class Lineage:
    """An experiment with all that it extends; `levels` from the root to the experiment itself."""

    levels: tuple[Level, ...]

    @property
    def own(self) -> Level:
        """The experiment itself."""
        return self.levels[-1]

    @property
    def body(self) -> Any:
        """The function that is run: of the experiment itself or of the nearest one that it extends."""
        return next(level.function for level in reversed(self.levels) if level.spec.has_body)

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """All files, each once: bases with their mixins from the root on, then the own mixins, then the own file."""
        found: dict[Path, SourceFile] = {}
        for level in self.levels:
            for source in (*level.mixins, level.source):
                found.setdefault(source.path, source)
        return tuple(found.values())

    @property
    def own_names(self) -> tuple[str, ...]:
        """The names by which options mean this experiment: that of its file only where no base has it."""
        names = self.own.names
        return names if names[-1] not in self.base_names else names[:-1]

    @property
    def base_names(self) -> tuple[str, ...]:
        """The names by which options mean the experiments that this one extends."""
        return tuple(name for level in self.levels[:-1] for name in level.names)

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of all levels, each once."""
        return tuple(dict.fromkeys(tag for level in self.levels for tag in level.spec.tags))

    @property
    def description(self) -> str:
        """The docstring of the nearest function or file that has one."""
        for level in reversed(self.levels):
            doc = (level.function.__doc__ if level.spec.has_body else None) or level.source.module.get(
                "__doc__"
            )
            if doc:
                return str(doc).strip()
        return ""

    @property
    def replicates(self) -> tuple[int, bool]:
        """How often each point is repeated, and whether the seeds are paired: as the nearest level says."""
        for level in reversed(self.levels):
            if level.spec.replicates is not None:
                return level.spec.replicates, level.spec.paired
        return 1, False

    @property
    def timeout(self) -> float | None:
        """Seconds that one attempt of a run may take, as the nearest level says; None for any."""
        for level in reversed(self.levels):
            if level.spec.timeout is not None:
                return level.spec.timeout or None
        return None

    @property
    def retries(self) -> int:
        """How often a run that failed is tried again, as the nearest level says."""
        return next((lv.spec.retries for lv in reversed(self.levels) if lv.spec.retries is not None), 0)

    def special(self, name: str) -> Any:
        """The value of a special variable (``__DEBUG__``) of the nearest file that assigns it, None when none does."""
        for level in reversed(self.levels):
            for source in (level.source, *reversed(level.mixins)):
                if name in source.module:
                    return source.module[name]
        return None


def lineage_of(
    function: FunctionType,
    module: dict[str, Any],
    *,
    path: Path,
    text: str,
    includes: tuple[Include, ...] = (),
) -> Lineage:
    """Return the lineage of an experiment of the file `path`, whose globals are `module` and whose text is `text`.

    What it extends and includes is loaded; `includes` are mixins that options add. Raises `ExperimentError`
    naming file and line for what is missing, broken or goes in a circle.
    """
    levels: list[Level] = []
    chain: list[tuple[Path, str]] = []
    source, options = SourceFile(path, module, text), includes
    while True:
        spec = spec_of(function)
        assert spec is not None
        mixins = _mixins(source, options)
        levels.append(Level(spec.name or function.__name__, function, source, spec, mixins))
        if spec.base is None:
            return Lineage(tuple(reversed(levels)))
        chain.append((source.path, function.__name__))
        source, function = _base(spec.base)
        options = ()
        if (source.path, function.__name__) in chain or len(chain) > _DEEPEST:
            names = [f"{p.name}::{n}" for p, n in [*chain, (source.path, function.__name__)]]
            raise ExperimentError(f"{_at(spec.base)}: an experiment extends itself: {' → '.join(names)}")


def experiments_in(module: Mapping[str, Any]) -> dict[str, FunctionType]:
    """Return the experiments that a module defines, by name in it; those made by ``extend`` get their name here."""
    found: dict[str, FunctionType] = {}
    for name, value in list(module.items()):
        spec = spec_of(value)
        if spec is None:
            continue
        if not spec.has_body and value.__name__ == UNNAMED and value.__module__ == module.get("__name__"):
            value.__name__ = value.__qualname__ = name
        if defines(module, name, value):
            found[name] = value
    return found


def _base(base: Base) -> tuple[SourceFile, FunctionType]:
    """Return the file and function that a level extends."""
    file, _, name = base.text.partition("::")
    try:
        path = find_file(file, beside=base.file, what="the base")
        source = load_source(path, what="the base")
    except ExperimentError as error:
        raise ExperimentError(f"{_at(base)}: {error}") from error.__cause__
    return source, pick_experiment(source.module, file, name, what=f"{_at(base)}: the base", to="extend")


def pick_experiment(module: Mapping[str, Any], file: str, name: str, *, what: str, to: str) -> FunctionType:
    """Return the experiment `name` of a module, the only one when `name` is empty.

    Raises `ExperimentError` when there is none or several, with near matches; `file` is how the user calls the
    module, `what` and `to` say what it is and what is to be done with the experiment.
    """
    known = experiments_in(module)
    if not known:
        raise ExperimentError(f"{what} {file!r} has no experiment to {to}")
    if not name and len(known) > 1:
        raise ExperimentError(
            f"{what} {file!r} has several experiments; say which, as in "
            f"{f'{file}::{next(iter(known))}'!r} (there are {', '.join(known)})"
        )
    if name and name not in known:
        raise ExperimentError(
            f"{what} {file!r} has no experiment {name!r}{near_matches(name, known)}; "
            f"experiments: {', '.join(known)}"
        )
    return known[name or next(iter(known))]


def name_after_base(function: FunctionType) -> None:
    """Call what ``extend`` made like what it extends, when no variable of a module names it."""
    spec = spec_of(function)
    if spec is not None and spec.base is not None and function.__name__ == UNNAMED:
        file, _, name = spec.base.text.partition("::")
        function.__name__ = function.__qualname__ = name or Path(file).stem


def load_source(path: Path, *, what: str) -> SourceFile:
    """Load a Python file or a config. Raises `ExperimentError`."""
    module: ModuleType
    if path.suffix in CONFIG_SUFFIXES:
        from expedition.authoring.config import load_config

        return SourceFile(path, vars(load_config(path)), "")
    if path.suffix != ".py":
        raise ExperimentError(
            f"{what} {path.name!r} is neither a Python file (.py) nor a config (.yml, .yaml)"
        )
    module = load_file(path, what=what)
    return SourceFile(path, vars(module), read_text(path))


def read_text(path: Path) -> str:
    """Return the text of a Python file, in the encoding that it declares; that of a config says nothing here."""
    if path.suffix in CONFIG_SUFFIXES:
        return ""
    with tokenize.open(path) as stream:
        return stream.read()


def _mixins(source: SourceFile, options: tuple[Include, ...]) -> tuple[SourceFile, ...]:
    found: dict[Path, SourceFile] = {}

    def visit(include: Include, chain: tuple[Path, ...]) -> None:
        try:
            path = find_file(include.text, beside=include.file, what="the mixin")
            if path in chain:
                names = " → ".join(p.name for p in (*chain, path))
                raise ExperimentError(f"mixins include each other in a circle: {names}")
            if path in found or path == source.path:
                return
            mixin = load_source(path, what="the mixin")
        except ExperimentError as error:
            raise ExperimentError(f"{_at(include)}: {error}") from error.__cause__
        for inner in _includes(mixin):
            visit(inner, (*chain, path))
        found[path] = mixin

    for one in (*_includes(source), *options):
        visit(one, (source.path,))
    return tuple(found.values())


def _includes(source: SourceFile) -> Iterator[Include]:
    """Yield what a file includes: by ``experiment.include``, then by ``__INCLUDE__``. Raises `ExperimentError`."""
    yield from source.module.get(INCLUDES, ())
    value = source.module.get(INCLUDE)
    if value is None:
        return
    assigned = re.search(rf"^[ \t]*{INCLUDE}\b", source.text, re.MULTILINE)
    line = source.text.count("\n", 0, assigned.start()) + 1 if assigned else 1
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise ExperimentError(
            f"{source.path.name}:{line}: {INCLUDE} must be the path of a mixin or a list of paths, but got {value!r}"
        )
    for text in texts:
        yield Include(text, source.path, line)


def _at(where: Base | Include) -> str:
    return f"{where.file.name}:{where.line}" if where.line else "--include"
