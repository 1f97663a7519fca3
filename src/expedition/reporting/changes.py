"""What differs between two runs, thing by thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expedition.values import encode

__all__ = ["Change", "Section", "encoded", "names_of_both"]


@dataclass(frozen=True)
class Change:
    """Something that differs.

    Attributes
    ----------
    name : of what differs. kind : ``added`` or ``removed`` where one of the runs lacks it, ``value``, ``type`` where
    the values are equal but of different types, ``unread`` where it could not be compared.
    first, second : what stands there in a few words, "" for what is not there.
    text : how they differ, in a few words. content : the same for programs.
    """

    name: str
    kind: str
    first: str
    second: str
    text: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """The part of the runs that `title` names, and what differs in it."""

    title: str
    changes: Sequence[Change]


def names_of_both(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return all names, in the order of the first; those that only the second has stand last."""
    return list(dict.fromkeys([*first, *second]))


def encoded(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Return measures of a difference as tagged JSON by name."""
    return {name: encode(value) for name, value in measures.items()}
