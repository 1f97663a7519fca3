"""Parses the operations of ``--archive-modify``; nothing of them is evaluated.

::

    set params.x=1      set data.a.b=text     rename params.x=y     rename data.a=data.b
    drop params.x       drop data.tmp         tag paper             untag paper            note "seed was wrong"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from expedition.archive.operations import Operation, plain_value, refusal
from expedition.archive.rows import DATA_BRANCHES, PARAMETER_BRANCHES, stored_name
from expedition.authoring.quoting import split_name
from expedition.errors import near_matches
from expedition.values import is_utf8

VERBS = ("set", "rename", "drop", "tag", "untag", "note")

_HELP = 'an operation is one of: set NAME=VALUE, rename NAME=NAME, drop NAME, tag TAG, untag TAG, note "TEXT"'
_NO_UTF8 = "half of a surrogate pair is no character and cannot be written as UTF-8; leave it out"
_RESERVED = frozenset({"replicate", "rep", "run", "runs", "results", "series", "config", "parameters"})
_LEFT = re.compile(r"(?:\[(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\]|[^=])*")
_WORD = re.compile(r"\s*(\S+)\s*")


def parse_operation(text: str) -> Operation:
    """Return the operation that a text says. Raises `ExperimentError` with the position of what is wrong."""
    found = _WORD.match(text)
    if not found:
        raise refusal(text, 1, f"it is empty; {_HELP}")
    verb, begin = found[1], found.end()
    if verb not in VERBS:
        raise refusal(text, found.start(1) + 1, f"there is no {verb!r}{near_matches(verb, VERBS)}; {_HELP}")
    rest = text[begin:].rstrip()
    if not rest:
        raise refusal(text, len(text) + 1, f"{verb} needs {_NEEDED[verb]}")
    # What an earlier version recorded may be taken away; nothing such is written any more.
    if verb in ("set", "tag", "note"):
        _check_text(text, 0, text)
    return _PARSERS[verb](text, verb, begin, rest)


def _parse_assignment(text: str, verb: str, begin: int, rest: str) -> Operation:
    left, equals, right = _at_equals(rest)
    if not equals:
        raise refusal(text, len(text.rstrip()) + 1, f"there is no '='; {verb} needs {_NEEDED[verb]}")
    branch, name, is_dotted = _parse_name(text, begin, left)
    after = begin + len(left) + 1
    if verb == "set":
        operation = Operation(text, verb, branch, name, right.strip(), begin + 1, is_dotted)
        if branch == "data":
            _check_new_data(text, begin, name)
            plain_value(operation)
        return operation
    if not right.strip():
        raise refusal(text, after + 1, "the new name is missing")
    start = after + len(right) - len(right.lstrip())
    new = right.strip()
    _check_text(text, start, new)
    branches = PARAMETER_BRANCHES if branch == "params" else DATA_BRANCHES
    others = DATA_BRANCHES if branch == "params" else PARAMETER_BRANCHES
    head, below = _split_branch(new)
    if below and head in others:
        raise refusal(text, start + 1, f"what is in {branch} cannot be moved to {head}")
    if below and head in branches:
        new = below
    if branch == "params":
        if not all(part.isidentifier() for part in new.split(".")) or new in _RESERVED:
            raise refusal(text, start + 1, f"{new!r} cannot be the name of a parameter")
    else:
        path = _path_of(new)
        if path is None:
            raise refusal(text, start + 1, f"{new!r} cannot be the name of a stored value")
        new = path
        _check_new_data(text, start, new)
        if new.startswith(f"{name}/"):
            raise refusal(text, start + 1, f"{_shown_name(new)} lies inside of {_shown_name(name)}")
    return Operation(text, verb, branch, name, new, begin + 1, is_dotted)


def _parse_drop(text: str, verb: str, begin: int, rest: str) -> Operation:
    branch, name, is_dotted = _parse_name(text, begin, rest)
    return Operation(text, verb, branch, name, "", begin + 1, is_dotted)


def _parse_words(text: str, verb: str, begin: int, rest: str) -> Operation:
    from expedition.authoring.text import is_quoted, load_yaml

    words: Any = rest
    if rest[0] in "'\"":
        if not is_quoted(rest):
            raise refusal(text, begin + 1, f"the quote {rest[0]} has no end, or something stands behind it")
        words = load_yaml(rest, source=repr(text))
    elif verb != "note" and len(rest.split()) > 1:
        blank = begin + len(rest.split()[0])
        raise refusal(text, blank + 1, f"a {verb} takes one tag; put quotes around a tag with blanks in it")
    if not words.strip():
        raise refusal(text, begin + 1, f"{verb} needs {_NEEDED[verb]}")
    return Operation(text, verb, "notes" if verb == "note" else "tags", "", words, begin + 1)


_NEEDED = {
    "set": "NAME=VALUE, such as params.x=1 or data.a.b=text",
    "rename": "OLD=NEW, such as params.x=y",
    "drop": "a name, such as data.tmp or params.x",
    "tag": "a tag",
    "untag": "a tag",
    "note": "a text",
}
_PARSERS: dict[str, Callable[[str, str, int, str], Operation]] = {
    **dict.fromkeys(("set", "rename"), _parse_assignment),
    "drop": _parse_drop,
    **dict.fromkeys(("tag", "untag", "note"), _parse_words),
}


def _check_text(text: str, begin: int, new: str) -> None:
    """Raise `ExperimentError` where UTF-8 cannot write what stands at `begin` of a text."""
    if not is_utf8(new):
        position = next(number for number, letter in enumerate(new, 1) if not is_utf8(letter))
        raise refusal(text, begin + position, _NO_UTF8)


def _at_equals(text: str) -> tuple[str, str, str]:
    """Part a text at its first ``=`` that stands in no brackets with quotes."""
    found = _LEFT.match(text)
    end = found.end() if found else 0
    return (text[:end], "=", text[end + 1 :]) if text[end : end + 1] == "=" else text.partition("=")


def _split_branch(name: str) -> tuple[str, str]:
    """Return the first part of a name, and the rest as a name of its own."""
    head, _, _ = name.partition("[") if "[" in name.partition(".")[0] else name.partition(".")
    return head, name[len(head) :].removeprefix(".")


def _path_of(name: str) -> str | None:
    """Return the slash path of a stored value's name; None for a text that is none."""
    if "['" not in name and '["' not in name:
        return name.replace(".", "/")
    parts = split_name(name)
    return None if parts is None or any("/" in part for part in parts) else "/".join(parts)


def _parse_name(text: str, begin: int, left: str) -> tuple[str, str, bool]:
    """Return branch and name of ``params.x`` or ``data.a.b``, and whether dots alone part the name.

    The name stands at `begin` of the text. That of a stored value is returned as its slash path.
    """
    name = left.strip()
    head, tail = _split_branch(name)
    known = (*PARAMETER_BRANCHES, *DATA_BRANCHES)
    if head not in known:
        near = near_matches(head, known)
        hint = (
            f"write params.{name} or data.{name}"
            if not tail and "." not in name
            else "names begin with params. or data."
        )
        raise refusal(text, begin + 1, f"{head!r} is neither params nor data{near}; {hint}")
    path = _path_of(tail)
    if not tail or path is None or not all(path.split("/")) or any(c.isspace() for c in path):
        raise refusal(
            text, begin + len(head) + 1, f"a name is missing behind {head}., or it has blanks in it"
        )
    if head in PARAMETER_BRANCHES:
        return "params", path.replace("/", "."), False
    return "data", path, "." in tail and "/" not in tail and "[" not in tail


def _shown_name(path: str) -> str:
    return stored_name(path).removeprefix("data.")


def _check_new_data(text: str, begin: int, name: str) -> None:
    parts = name.split("/")
    if (
        not all(parts)
        or not {"$", ".", ".."}.isdisjoint(parts)
        or name.startswith("_")
        or "\0" in name
        or not is_utf8(name)  # of an escape in brackets
        or any(c.isspace() for c in name)
    ):
        raise refusal(text, begin + 1, f"{name!r} cannot be the name of a stored value")
