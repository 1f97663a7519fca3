"""What the codecs of one kind of values see of the walk over a whole value: two small protocols."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn, Protocol, TypeAlias

Json: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
"""A tree that the standard library's ``json`` writes as strict JSON."""

Tag: TypeAlias = dict[str, Any]
"""A JSON object whose member ``"$"`` names the kind of value that it stands for."""

SinkKind: TypeAlias = Literal["npy", "masked", "sparse", "frame"]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
INLINE_BYTES = 1024
"""Arrays up to this size stay in the JSON, also when a sink is given."""


class Attribute(str):
    """A step of a location that is an attribute, not an item."""

    __slots__ = ()


class ArraySink(Protocol):
    """Takes the large values out of a tree, for instance into files."""

    def put_array(self, name: str, array: Any, kind: SinkKind) -> Tag | None:
        """Keep `array` under the slashed key `name`; return the reference, or None to have it inlined."""


class Encoder(Protocol):
    """A walk that encodes; codecs call it for the values inside theirs."""

    sink: ArraySink | None
    verify: bool
    """Whether a value that a codec took apart must be put together again before it counts as stored."""

    def tree(self, value: Any) -> Json:
        """Return the tree of a value that stands at the same place."""

    def at(self, step: Any, value: Any) -> Json:
        """Return the tree of the value at `step` (an index, a key or an `Attribute`) of the current one."""

    def canonical(self, value: Any) -> str:
        """Return the canonical text of a value by itself; raises UnstorableError when it has none."""

    def decoded(self, tree: Json) -> Any:
        """Return the value of a whole tree without files; raises DamagedError when it is malformed."""

    def slashed(self) -> str:
        """Return the current location as a slashed key."""

    def refuse(self, value: Any, remedy: str) -> NoReturn:
        """Raise the `UnstorableError` that names the location, the type and the remedy."""


class Decoder(Protocol):
    """A walk that decodes; codecs call it for the trees inside theirs."""

    folder: Path | None

    def value(self, tree: Json) -> Any:
        """Return the value of a tree."""

    def canonical(self, value: Any) -> str:
        """Return the canonical text of a value by itself; raises UnstorableError when it has none."""


EncodeFunction: TypeAlias = Callable[[Encoder, Any], Json]
DecodeFunction: TypeAlias = Callable[[Decoder, Tag], Any]


def loaded(module: str) -> ModuleType | None:
    """Return a module when something imported it: no value of its types can exist before."""
    return sys.modules.get(module)


def untyped(module: str) -> Any:
    """Import a module whose type stubs differ too much between versions to be checked against."""
    return import_module(module)


def to_base64(data: bytes) -> str:
    """Return `data` as base64 text."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Return the bytes of base64 text; ValueError when it is not."""
    return base64.b64decode(text.encode("ascii"), validate=True)


def expect(value: Any, *types: type) -> Any:
    """Return `value` when its type is exactly one of `types`; raise ValueError otherwise."""
    if type(value) not in types:
        raise ValueError(f"{type(value).__name__} where {' or '.join(t.__name__ for t in types)} is expected")
    return value
