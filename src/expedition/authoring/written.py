"""What is reached in modules that a function imports when it is called: read from their files, and never imported.

A module is another one before it is imported and after, and in one process and in another. Its file is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from expedition.authoring.module_text import Import, Place, Places, absolute_name
from expedition.authoring.named import Names
from expedition.authoring.project_files import ProjectFiles


@dataclass(frozen=True)
class Written:
    """A function or class as it stands in a file: its source, and what of this counts."""

    file: Path
    name: str
    source: str
    form: str


class WrittenWalk:
    """Walks through the files of a project from name to name.

    `held` are files whose names `variables` are parameters.

    Attributes
    ----------
    code : by ``file.function`` each function and class. forms : by ``file.NAME`` what counts of the statements that
        make any other value. imports : by ``file.name`` what is imported from libraries.
    files : those that all this stands in. words : all words of the code by which it may mean a parameter.
    """

    def __init__(self, files: ProjectFiles, held: Collection[Path], variables: Collection[str]) -> None:
        self.code: dict[str, Written] = {}
        self.forms: dict[str, str] = {}
        self.imports: dict[str, str] = {}
        self.files: set[Path] = set()
        self.words: set[str] = set()
        self.places = Places()
        self._files = files
        self._held, self._variables = held, variables
        self._waiting: list[tuple[Place, str, frozenset[str]]] = []
        self._seen: set[object] = set()

    def take_imports(
        self, imports: Iterable[tuple[int, str, tuple[str, ...]]], package: str, words: frozenset[str]
    ) -> None:
        """Take what code in `package` imports when it is called, as far as it means it by one of its `words`."""
        for level, module, members in imports:
            full = absolute_name(level, module, package)
            parts = full.split(".") if full else []
            if not members:
                for length in range(1, len(parts) + 1):
                    self.take_module(".".join(parts[:length]), words)
            for member in members:
                self.take_import(Import(0, full, member), "", words)

    def take_import(self, imported: Import, package: str, words: frozenset[str]) -> bool:
        """Take what is imported; return whether it is of the project."""
        full = absolute_name(imported.level, imported.module, package)
        place = self.place(full)
        if place is None:
            return False
        if not imported.member:
            self.take_module(full, words)
        elif place.text is not None and self._has(place, imported.member):
            self._waiting.append((place, imported.member, words))
        else:
            self.take_module(f"{full}.{imported.member}", words)
        return True

    def take_module(self, name: str, words: frozenset[str]) -> None:
        """Take all of a module that the `words` may mean."""
        place = self.place(name)
        if place is None or (name, words) in self._seen:
            return
        self._seen.add((name, words))
        text = place.text
        meant = words & set(text.names) if text is not None else frozenset()
        self._waiting += [(place, word, words) for word in sorted(meant)]
        for word in sorted(words & place.submodules() - meant):
            self.take_module(f"{name}.{word}", words)

    def place(self, name: str) -> Place | None:
        """Return where a module of the project is, None where it is none."""
        place = self.places.of(name) if name else None
        if place is None:
            return None
        if place.file is None:
            return place if any(self._files.has(Path(folder)) for folder in place.folders) else None
        return place if self._files.has(place.file) else None

    def finish(self) -> None:
        """Look at everything that was taken."""
        while self._waiting:
            self._look_at(*self._waiting.pop())

    def _has(self, place: Place, name: str) -> bool:
        text = place.text
        return text is not None and (name in text.names or self._star(place, name) is not None)

    def _star(self, place: Place, name: str) -> Place | None:
        """The module of the project from which one imports a name together with all others."""
        text = place.text
        for level, module in text.stars if text is not None else ():
            found = self.place(absolute_name(level, module, place.package))
            if found is not None and found != place and found.text is not None and name in found.text.names:
                return found
        return None

    def _look_at(self, place: Place, name: str, words: frozenset[str]) -> None:
        text = place.text
        if text is None or place.file is None:
            return
        statement = text.statement(name)
        key = (place.name, name, words if statement is None or statement.is_import else None)
        if key in self._seen or (place.file in self._held and name in self._variables):
            return
        self._seen.add(key)
        self.files.add(place.file)
        if statement is None:
            source = self._star(place, name)
            if source is not None:
                self._waiting.append((source, name, words))
            return
        label = f"{self._files.label(place.file)}.{name}"
        for imported in statement.imports:
            is_of_project = self.take_import(imported, place.package, words)
            if not is_of_project and statement.is_import:
                self.imports[label] = statement.form
        if statement.is_import:
            return
        if statement.source:
            self.code[label] = Written(place.file, name, statement.source, statement.form)
        else:
            self.forms[label] = statement.form
        self._look_at_names(place, statement.names)

    def _look_at_names(self, place: Place, names: Names) -> None:
        self.words |= names.words
        self._waiting += [(place, name, names.words) for name in sorted(names.variables)]
        self.take_imports(names.imports, place.package, names.words)
