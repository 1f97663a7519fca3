"""Masking: the values of secret parameters never reach a file or the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from expedition.errors import UnstorableError

MASKED = "***"
"""What stands in the place of a secret."""

_LONG_LINE = 8
"""Characters from which one line of a secret is looked for on its own."""

_SHORTEST = 4
"""Characters of the shortest secret that is looked for in other texts: a shorter one would stand everywhere."""


_BLOCK = 1 << 20


class Mask:
    """Finds the values of secrets in texts, also as JSON and Python escape them."""

    def __init__(self, secrets: Iterable[object] = ()) -> None:
        self._texts: list[str] = []
        self._bytes: list[bytes] = []
        self.add(secrets)

    def add(self, secrets: Iterable[object]) -> None:
        """Hide further secrets from now on, for all that have this mask."""
        texts = dict.fromkeys(self._texts)
        for text in (text for secret in secrets for text in _texts_of(secret)):
            if len(text) >= _SHORTEST:
                escaped = (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text), ascii(text))
                texts |= dict.fromkeys((text, *(form[1:-1] for form in escaped)))
        # A longer one may have a shorter one in it.
        self._texts = sorted(texts, key=len, reverse=True)
        self._bytes = [text.encode("utf-8", "backslashreplace") for text in self._texts]

    def joined(self, secrets: Iterable[object]) -> Mask:
        """Return a mask that hides further secrets as well."""
        return Mask([*self._texts, *secrets])

    def __bool__(self) -> bool:
        return bool(self._texts)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where secrets stand in a text: start and end of each, none over another."""
        pattern = "|".join(map(re.escape, self._texts))  # the longest first
        return [match.span() for match in re.finditer(pattern, text)] if pattern else []

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, MASKED)
        return text

    def bytes(self, content: bytes) -> bytes:
        """Return the content of a file without secrets."""
        for secret in self._bytes:
            if secret in content:
                content = content.replace(secret, MASKED.encode())
        return content

    def file(self, path: Path | str) -> None:
        """Rewrite a file without secrets, where it has any; of a large one a block at a time. Raises `OSError`."""
        target = os.fspath(path)
        with open(target, "rb") as source:
            if not self._is_in(source):
                return
            temporary = f"{target}.tmp-{os.getpid()}"
            source.seek(0)
            try:
                with open(temporary, "xb") as copy:
                    copy.writelines(_masked(self._bytes, source))
                os.replace(temporary, target)
            except OSError:  # a full disk is no reason to keep a secret
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                source.seek(0)
                self._overwrite(target, source)

    def _overwrite(self, target: str, source: BinaryIO) -> None:
        """Write a file over itself: what stands for a secret is shorter than any, so reading is never behind."""
        with open(target, "r+b") as file:
            for block in _masked(self._bytes, source):
                file.write(block)
                file.flush()
            file.truncate()

    def _is_in(self, source: BinaryIO) -> bool:
        """Whether a secret stands in a file from where it is read."""
        overlap = max(map(len, self._bytes), default=0) - 1
        tail = b""
        while self._bytes and (block := source.read(_BLOCK)):
            content = tail + block
            if any(secret in content for secret in self._bytes):
                return True
            tail = content[-overlap:] if overlap else b""
        return False

    def check(self, text: str) -> None:
        """Raise `UnstorableError` when a text that is about to be recorded has a secret in it."""
        if any(secret in text for secret in self._texts):
            raise UnstorableError(
                "the value holds the text of a secret parameter, and secrets are not recorded; record something else"
            )

    def check_file(self, path: Path) -> None:
        """Raise `UnstorableError` when a file that is to be an artifact has a secret in it."""
        if self._texts and path.is_file():
            with open(path, "rb") as source:
                is_in = self._is_in(source)
            if is_in:
                raise UnstorableError(
                    f"{path.name} holds the text of a secret parameter, and secrets are not recorded; the file was "
                    f"removed"
                )


def _masked(secrets: Sequence[bytes], source: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a file without secrets, a block at a time; the longest of them is the first."""
    pattern = re.compile(b"|".join(map(re.escape, secrets)))
    content = b""
    while block := source.read(_BLOCK):
        content += block
        # What begins after this may be the beginning of something longer.
        settled = len(content) - len(secrets[0]) + 1
        kept, begin = [], 0
        for match in pattern.finditer(content):
            if match.start() >= settled:
                break
            kept += [content[begin : match.start()], MASKED.encode()]
            begin = match.end()
        end = max(begin, settled)
        yield b"".join([*kept, content[begin:end]])
        content = content[end:]
    yield pattern.sub(MASKED.encode(), content)


def _texts_of(secret: object) -> Iterator[str]:
    """Yield the texts by which a secret shows: of what has parts each of them, of many lines each that is long."""
    if isinstance(secret, str):
        yield secret
        lines = [line.strip() for line in secret.splitlines()]
        if len(lines) > 1:  # tracebacks indent each of them
            yield from (line for line in lines if len(line) >= _LONG_LINE)
    elif isinstance(secret, bytes | bytearray):
        yield str(bytes(secret))[2:-1]
        yield bytes(secret).decode("utf-8", "replace")
    elif isinstance(secret, Mapping):
        for value in secret.values():
            yield from _texts_of(value)
    elif isinstance(secret, list | tuple | set | frozenset):
        for value in secret:
            yield from _texts_of(value)
    elif secret is not None and not isinstance(secret, bool):
        yield str(secret)


NO_MASK = Mask()
