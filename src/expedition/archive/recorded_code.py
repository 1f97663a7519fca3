"""The code that runs of a sweep were made with, as its folder tells it: by digest its parts, and their sources."""

from __future__ import annotations

import ast
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeGuard

from expedition.archive.sweep import SweepFolder
from expedition.errors import DamagedError
from expedition.recording import layout
from expedition.recording.journal import read_journal
from expedition.recording.plain_files import read_plain


class RecordedCodes:
    """What the manifest and the invocations of a sweep say of the code of its runs.

    Attributes
    ----------
    first : digest of the code of the first invocation, empty in a sweep of before format 1.2.
    """

    def __init__(
        self,
        manifest: Mapping[str, Any],
        lines: Iterable[Mapping[str, Any]],
        read_source: Callable[[str], bytes],
    ) -> None:
        """`lines` are all of ``invocations.jsonl``, first to last; `read_source` reads a copy of the sources."""
        self._read_source = read_source
        self._parts: dict[str, dict[str, str]] = {}
        self._sources: dict[str, dict[str, str]] = {}
        self._places: dict[str, str] = {}
        about = manifest.get("code")
        self.first = ""
        base: dict[str, str] = {}
        if _is_code(about):
            self.first, base = about["digest"], _texts(about["parts"])
            self._parts[self.first] = base
            self._places = _texts(about.get("places"))
        for line in lines:
            later = line.get("code")
            if _is_code(later) and later["digest"] not in self._parts:
                gone = {name for name, text in later["parts"].items() if text is None}
                parts = {**base, **_texts(later["parts"])}
                self._parts[later["digest"]] = {n: text for n, text in parts.items() if n not in gone}
                self._sources[later["digest"]] = _texts(later.get("sources"))

    @classmethod
    def of(cls, sweep: SweepFolder) -> Self:
        """Return what a sweep folder on the disk says."""
        folder = Path(os.path.realpath(sweep.path / layout.SOURCE_FOLDER))

        def read(file: str) -> bytes:
            path = Path(os.path.realpath(folder / file))
            if not path.is_relative_to(folder):
                raise DamagedError(f"{file} lies outside of {folder}")
            return read_plain(path)

        return cls(sweep.manifest, read_journal(sweep.path / layout.INVOCATIONS_FILE), read)

    def parts(self, digest: str) -> Mapping[str, str] | None:
        """Return the parts of the code with a digest, None where the sweep does not tell them."""
        return self._parts.get(digest)

    def changed(self, parts: Mapping[str, str]) -> dict[str, str | None]:
        """Return what of `parts` is not as in the manifest; what is no longer there is None."""
        base = self._parts.get(self.first, {})
        found: dict[str, str | None] = {n: text for n, text in parts.items() if base.get(n) != text}
        return found | {name: None for name in base if name not in parts}

    def source(self, digest: str, part: str) -> str | None:
        """Return the source of the function or class `part` in the code with a digest, None where it was not kept."""
        for known in (digest, *self._alike(digest, part)):
            if part in self._sources.get(known, {}):
                return self._sources[known][part]
        if self._parts.get(digest, {}).get(part) != self._parts.get(self.first, {}).get(part):
            return None
        # What is as in the first invocation stands in the copies of sources, which were made then.
        file, _, name = self._places.get(part, "").partition("::")
        try:
            return _defined_in(self._read_source(file).decode("utf-8", "replace"), name) if name else None
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    def _alike(self, digest: str, part: str) -> list[str]:
        """Digests of code that has the part as the one with `digest` has it."""
        wanted = self._parts.get(digest, {}).get(part)
        return [other for other, parts in self._parts.items() if parts.get(part) == wanted]


def _is_code(about: Any) -> TypeGuard[dict[str, Any]]:
    if not isinstance(about, dict):
        return False
    return isinstance(about.get("digest"), str) and isinstance(about.get("parts"), dict)


def _texts(about: Any) -> dict[str, str]:
    return {n: text for n, text in about.items() if isinstance(text, str)} if isinstance(about, dict) else {}


def _defined_in(text: str, name: str) -> str | None:
    """Return the source of what is defined under a qualified name in a Python file."""
    body: list[ast.stmt] = ast.parse(text).body
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None = None
    for part in name.replace(".<locals>", "").split("."):
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        found = [one for one in body if isinstance(one, kinds) and one.name == part]
        if not found:
            return None
        node = found[-1]
        body = node.body
    assert node is not None  # a text has one part at least
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return textwrap.dedent("".join(text.splitlines(keepends=True)[first - 1 : node.end_lineno]))
