"""Masking: the values of secret parameters never reach a file or the terminal."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from numbers import Number
from pathlib import Path
from typing import Any, BinaryIO

from expedition.errors import UnstorableError

MASKED = "***"
"""What stands in the place of a secret."""

_LONG = 8
"""Characters from which one line of a secret is looked for on its own, and a number where it may stand by chance."""

_SHORTEST = 4
"""Characters of the shortest secret that is looked for in other texts: a shorter one would stand everywhere."""

_CUT = "..."
"""What stands where pytest and `reprlib` leave out the middle of a long text."""

_BLOCK = 1 << 20

_PACKED = ('"b64":', '"$":"bytes', '"$":"bytearray"', '"$":"str"', '"dtype":"S"')
"""How tagged JSON says that there is something in base64."""

_DIGESTS = frozenset({"crc", "sha256", "key"})
_DIGEST = re.compile("[0-9a-f]{8}|[0-9a-f]{64}")


class Mask:
    """Finds the values of secrets in texts, also as JSON and Python escape them.

    A number that is secret is looked for as a whole number only: its digits stand in others by chance.
    """

    def __init__(self, secrets: Iterable[object] = ()) -> None:
        self._plain: dict[str, None] = {}
        self._texts: list[str] = []
        self._numbers: list[str] = []
        self.add(secrets)

    def add(self, secrets: Iterable[object]) -> None:
        """Hide further secrets from now on, for all that have this mask."""
        numbers = dict.fromkeys(self._numbers)
        for part in (part for secret in secrets for part in _parts_of(secret)):
            known = self._plain if isinstance(part, str) else numbers
            if len(text := str(part)) >= _SHORTEST:
                known[text] = None
        self._know(self._plain, numbers)

    def joined(self, secrets: Iterable[object]) -> Mask:
        """Return a mask that hides further secrets as well."""
        mask = Mask()
        mask._know(self._plain, self._numbers)
        mask.add(secrets)
        return mask

    def _know(self, plain: Iterable[str], numbers: Iterable[str]) -> None:
        self._plain = dict.fromkeys(plain)
        forms = dict.fromkeys(form for text in self._plain for form in _forms_of(text))
        # A longer one may have a shorter one in it.
        self._texts = sorted(forms, key=len, reverse=True)
        self._numbers = sorted(numbers, key=len, reverse=True)
        self._long_numbers = frozenset(number for number in self._numbers if len(number) >= _LONG)
        self._bytes = [_utf8(text) for text in (*self._texts, *self._numbers)]
        whole = [rf"(?<!\w)(?<!\d\.){re.escape(number)}(?!\w|\.\d)" for number in self._numbers]
        self._pattern = re.compile("|".join([*map(re.escape, self._texts), *whole]))
        escaped = [re.escape(_utf8(text)) for text in self._texts]
        self._bytes_pattern = re.compile(b"|".join([*escaped, *map(str.encode, whole)]))
        # What stands in files by chance is none. Arrays have texts in characters of four bytes, some libraries of two.
        wide = (_wide(text, size) for text in self._plain for size in (2, 4))
        self._in_files = [_utf8(text) for text in (*self._texts, *self._long_numbers)] + [*wide]

    def __bool__(self) -> bool:
        return bool(self._texts or self._numbers)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where secrets stand in a text: start and end of each, none over another."""
        return [match.span() for match in self._pattern.finditer(text)] if self else []

    def text(self, text: str) -> str:
        """Return a text without secrets, and without the pieces of one that is cut, which stand beside ``...``."""
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, MASKED)
        if any(number in text for number in self._numbers):
            text = self._pattern.sub(MASKED, text)
        return self._without_pieces(text) if self._texts and _CUT in text else text

    def _without_pieces(self, text: str) -> str:
        parts = text.split(_CUT)
        for at, part in enumerate(parts):
            if at > 0 and (length := max(_ends_at(secret, part) for secret in self._texts)):
                part = MASKED + part[length:]
            if at < len(parts) - 1 and (length := max(_begins_at(secret, part) for secret in self._texts)):
                part = part[: len(part) - length] + MASKED
            parts[at] = part
        return _CUT.join(parts)

    def content(self, content: bytes) -> bytes:
        """Return the content of a file without secrets."""
        return self._bytes_pattern.sub(MASKED.encode(), content) if self else content

    def file(self, path: Path | str) -> None:
        """Rewrite a file without secrets, where it has any; of a large one a block at a time. Raises `OSError`."""
        target = os.fspath(path)
        with open(target, "rb") as source:
            if not _is_any_in(self._bytes, source):
                return
            temporary = f"{target}.tmp-{os.getpid()}"
            source.seek(0)
            try:
                with open(temporary, "xb") as copy:
                    copy.writelines(self._masked(source))
                os.replace(temporary, target)
            except OSError:  # a full disk is no reason to keep a secret
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                source.seek(0)
                self._overwrite(target, source)

    def _overwrite(self, target: str, source: BinaryIO) -> None:
        """Write a file over itself: what stands for a secret is shorter than any, so reading is never behind."""
        with open(target, "r+b") as file:
            for block in self._masked(source):
                file.write(block)
                file.flush()
            file.truncate()

    def _masked(self, source: BinaryIO) -> Iterator[bytes]:
        """Yield the content of a file without secrets, a block at a time."""
        # Beside a number two characters say whether it is a whole one.
        longest = max(map(len, self._bytes)) + 2
        content, begin, is_last = b"", 0, False
        while not is_last:
            block = source.read(_BLOCK)
            is_last = not block
            content += block
            # What begins after this may be the beginning of something longer.
            settled = len(content) if is_last else max(begin, len(content) - longest + 1)
            kept = []
            for match in self._bytes_pattern.finditer(content, begin):
                if match.start() >= settled:
                    break
                kept += [content[begin : match.start()], MASKED.encode()]
                begin = match.end()
            end = max(begin, settled)
            yield b"".join([*kept, content[begin:end]])
            start = max(end - 2, 0)
            content, begin = content[start:], end - start

    def check_event(self, line: str) -> None:
        """Raise `UnstorableError` when a line of a journal, which is about to be written, has a secret in it.

        What the journal itself says beside it (names of members, times, steps) is none, whatever digits it has.
        """
        if self._may_be_in(line):
            event = json.loads(line)
            kind = event.pop("e")
            if self._is_in({"$": kind, **event}):
                name = event.get("k", event.get("n"))
                raise UnstorableError(_refusal(f"the {kind}" if name is None else self.text(repr(name))))

    def check_json(self, text: str) -> None:
        """Raise `UnstorableError` when tagged JSON has a secret in it: as a name, text or long number, or packed."""
        if self._may_be_in(text) and self._is_in(json.loads(text)):
            raise UnstorableError(_refusal("the value"))

    def check(self, text: str) -> None:
        """Raise `UnstorableError` when a text that is about to be recorded has a secret in it."""
        if self._is_in_text(text):
            raise UnstorableError(_refusal("the value"))

    def check_bytes(self, content: bytes, name: str) -> None:
        """Raise `UnstorableError` when the content of a file, to be called `name`, has a secret in it."""
        if self and self._is_in_bytes(content):
            raise UnstorableError(_refusal(self.text(name)))

    def check_file(self, path: Path, name: str = "") -> None:
        """Raise `UnstorableError` when a file, or the `name` that it is to have, has a secret in it."""
        name = name or path.name
        if self and path.is_file():
            with open(path, "rb") as source:
                is_in = _is_any_in(self._in_files, source)
            if is_in or self._is_in_text(name):
                raise UnstorableError(_refusal(self.text(name)))

    def _may_be_in(self, text: str) -> bool:
        """Whether there is a reason to look closer: secrets are rare, and JSON takes long to read."""
        return bool(self) and (
            any(secret in text for secret in self._texts)
            or any(number in text for number in self._numbers)
            or any(packed in text for packed in _PACKED)
        )

    def _is_in(self, item: Any) -> bool:
        """Whether a secret stands in what JSON was read as."""
        waiting: list[Any] = [item]
        while waiting:
            part = waiting.pop()
            if isinstance(part, str):
                if self._is_in_text(part):
                    return True
            elif isinstance(part, dict):
                if any(self._is_packed_in(part, name, value) for name, value in part.items()):
                    return True
                names = () if "$" in part else part
                waiting += [*names, *(v for n, v in part.items() if n != "$" and not _is_digest(n, v))]
            elif isinstance(part, list):
                waiting += part
            elif not isinstance(part, bool) and str(part) in self._long_numbers:
                return True
        return False

    def _is_in_text(self, text: str) -> bool:
        if any(secret in text for secret in self._texts):
            return True
        return any(number in text for number in self._numbers) and bool(self._pattern.search(text))

    def _is_packed_in(self, owner: Mapping[str, Any], name: str, value: Any) -> bool:
        """Whether a member that is not looked at as text is a secret, or has one in base64 in it."""
        if _is_digest(name, value):  # a part of it is there by chance
            return value in self._plain
        if "$" in owner and name in ("v", "b64") and isinstance(value, str):
            with contextlib.suppress(ValueError):  # a text after all
                return self._is_in_bytes(base64.b64decode(value, validate=True))
        return False

    def _is_in_bytes(self, content: bytes) -> bool:
        return any(secret in content for secret in self._in_files)


def _refusal(what: str) -> str:
    return f"{what} holds the text of a secret parameter, and secrets are not recorded; record something else"


def _is_digest(name: str, value: object) -> bool:
    return name in _DIGESTS and isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def _forms_of(text: str) -> Iterator[str]:
    """Yield a text, and the ways in which JSON and Python write it."""
    yield text
    escaped = (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text), ascii(text))
    yield from (form[1:-1] for form in escaped)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _wide(text: str, size: int) -> bytes:
    """A text in characters of `size` bytes; without the zeros at the end it is the same in both byte orders."""
    return text.encode(f"utf-{8 * size}-le", "surrogatepass").rstrip(b"\0")


def _begins_at(secret: str, text: str) -> int:
    """How many characters at the end of a text are the beginning of a secret; 0 for too few to tell."""
    end = text[-len(secret) :]
    at = end.find(secret[:_SHORTEST])
    while at >= 0:
        if secret.startswith(end[at:]):
            return len(end) - at
        at = end.find(secret[:_SHORTEST], at + 1)
    return 0


def _ends_at(secret: str, text: str) -> int:
    """How many characters at the beginning of a text are the end of a secret; 0 for too few to tell."""
    return _begins_at(secret[::-1], text[: len(secret)][::-1])


def _is_any_in(secrets: Iterable[bytes], source: BinaryIO) -> bool:
    """Whether one of `secrets` stands in a file from where it is read."""
    secrets = list(secrets)
    overlap = max(map(len, secrets), default=0) - 1
    tail = b""
    while secrets and (block := source.read(_BLOCK)):
        content = tail + block
        if any(secret in content for secret in secrets):
            return True
        tail = content[-overlap:] if overlap else b""
    return False


def _parts_of(secret: object) -> Iterator[str | Number]:
    """Yield the texts and numbers by which a secret shows: of what has parts each of them, of lines each long one."""
    if isinstance(secret, str):
        yield secret
        yield secret.strip()  # pytest strips messages, and tracebacks indent each line
        lines = [line.strip() for line in secret.splitlines()]
        yield from (line for line in lines if len(line) >= _LONG)
    elif isinstance(secret, bytes | bytearray):
        yield from _parts_of(str(bytes(secret))[2:-1])
        yield from _parts_of(bytes(secret).decode("utf-8", "replace"))
    elif isinstance(secret, Mapping):
        for value in secret.values():
            yield from _parts_of(value)
    elif isinstance(secret, list | tuple | set | frozenset):
        for value in secret:
            yield from _parts_of(value)
    elif isinstance(secret, bool) or secret is None:
        return
    elif isinstance(secret, Number):
        yield secret
    else:
        yield str(secret)


NO_MASK = Mask()
