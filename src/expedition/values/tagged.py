"""Tagged strict JSON: Python values as text and back, exact in value and in type.

Plain JSON stands for itself. Everything else is an object with the member ``"$"``, the kind of the value,
such as ``{"$": "tuple", "v": [1, 2]}``. Text that UTF-8 cannot hold (lone surrogates) is tagged too, so every
tree may be written as UTF-8 without escapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from expedition.errors import DamagedError, UnstorableError
from expedition.values import _arrays, _frames, _objects, _standard, codecs
from expedition.values._objects import Opaque
from expedition.values._text import canonical_text, dumps, loads
from expedition.values._walk import INT64_MAX, INT64_MIN, ArraySink, Attribute, Json, SinkKind, Tag

__all__ = [
    "ArraySink",
    "Json",
    "Opaque",
    "canonical",
    "canonical_text",
    "decode",
    "dumps",
    "encode",
    "is_storable",
    "loads",
]

MAX_DEPTH = 100
_ENCODERS = _standard.ENCODERS
_CONTAINERS = _standard.CONTAINERS
_DECODERS = {
    **_standard.DECODERS,
    **_objects.DECODERS,
    **_arrays.DECODERS,
    **_frames.DECODERS,
    **codecs.DECODERS,
}
_INF = float("inf")
_KINDS = (codecs.encode_custom, _arrays.encode_numpy, _objects.encode_object, _frames.encode_frame)


class _Encoder:
    """The walk behind `encode`: where it is, and what it is inside of."""

    def __init__(self, name: str, sink: ArraySink | None, verify: bool) -> None:
        self.name = name
        self.sink = sink
        self.verify = verify
        self.steps: list[Any] = []
        self.inside: set[int] = set()

    def tree(self, value: Any) -> Json:
        kind = type(value)
        if kind is float and -_INF < value < _INF:
            return value  # type: ignore[no-any-return]
        function = _ENCODERS.get(kind)
        if function is not None and kind not in _CONTAINERS:
            return function(self, value)
        marker = id(value)
        if marker in self.inside:
            self.refuse(value, "it contains itself")
        if len(self.inside) >= MAX_DEPTH:
            self.refuse(value, f"it is nested deeper than {MAX_DEPTH} levels: flatten it")
        self.inside.add(marker)
        try:
            return self.other(value) if function is None else function(self, value)
        finally:
            self.inside.discard(marker)

    def other(self, value: Any) -> Json:
        for codec in _KINDS:
            tree = codec(self, value)
            if tree is not None:
                return tree
        return self.refuse(value, _remedy(value))

    def at(self, step: Any, value: Any) -> Json:
        self.steps.append(step)
        try:
            return self.tree(value)
        finally:
            self.steps.pop()

    def canonical(self, value: Any) -> str:
        return canonical_text(_walk(value, self.name, None, self.verify))

    def decoded(self, tree: Json) -> Any:
        return decode(tree)

    def slashed(self) -> str:
        return "/".join([self.name, *map(str, self.steps)])

    def refuse(self, value: Any, remedy: str) -> NoReturn:
        place = "".join(f".{step}" if type(step) is Attribute else f"[{_short(step)}]" for step in self.steps)
        cls = type(value)
        kind = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
        raise UnstorableError(
            f"{self.name}{place}: a value of type {kind} cannot be stored exactly; {remedy}"
        )


def _short(step: Any) -> str:
    try:
        text = repr(step)
    except Exception:  # a key of the user's, or an int of thousands of digits
        text = f"<{type(step).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."


def _remedy(value: Any) -> str:
    if type(value).__module__.partition(".")[0] == "torch":
        return "use value.item() or value.numpy(force=True)"
    for base in (bool, int, float, complex, str, bytes, dict, list, tuple, set, frozenset):
        if isinstance(value, base):
            return f"use {base.__name__}(value)"
    if hasattr(value, "model_dump"):
        return "use value.model_dump()"
    if hasattr(value, "__array__"):
        return "use numpy.asarray(value)"
    if callable(value):
        return "store its name"
    if hasattr(value, "__next__"):
        return "use list(value)"
    return (
        "use plain values, arrays, frames, enums or dataclasses, register a codec for it "
        "(expedition.register_codec), or commit it as a file"
    )


def encode(value: object, *, name: str = "value", sink: ArraySink | None = None) -> Json:
    """Return the JSON tree of a value, from which `decode` makes an equal value of the same type.

    `name` begins the location in messages, and the keys under which `sink` gets arrays above 1 KiB, frames
    and sparse matrices; without a sink they are part of the tree.

    Raises:
        UnstorableError: a value, or one inside it, has no exact form; the message names place and type.
    """
    kind = type(value)
    if kind is float and -_INF < value < _INF:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    if kind is int and INT64_MIN <= value <= INT64_MAX:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    return _walk(value, name, sink)


def _walk(value: object, name: str, sink: ArraySink | None, verify: bool = True) -> Json:
    try:
        return _Encoder(name, sink, verify).tree(value)
    except RecursionError as error:
        text = f"{name}: the {type(value).__name__} is nested too deeply to be stored here; flatten it"
        raise UnstorableError(text) from error


class _Decoder:
    """The walk behind `decode`."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def value(self, tree: Json) -> Any:
        if isinstance(tree, dict):
            return self.tagged(tree) if "$" in tree else {key: self.value(item) for key, item in tree.items()}
        return [self.value(item) for item in tree] if isinstance(tree, list) else tree

    def canonical(self, value: Any) -> str:
        return canonical(value)

    def tagged(self, tag: Tag) -> Any:
        kind = tag["$"]
        function = _DECODERS.get(kind) if isinstance(kind, str) else None
        if function is None:
            raise DamagedError(
                f"there is no stored value of kind {_short(kind)}: it was written by a newer version?"
            )
        try:
            return function(self, tag)
        except (DamagedError, RecursionError):
            raise
        except Exception as error:
            text = f"a stored value of kind {kind!r} is malformed: {type(error).__name__}: {error}"
            raise DamagedError(text[:500]) from error


def decode(tree: Json, *, folder: Path | None = None) -> Any:
    """Return the value of a tree that `encode` made; nothing that the tree names is imported or run.

    Files that the tree refers to are read relative to `folder`. An enum member, dataclass or named tuple
    whose class is not loaded, or has changed, becomes an `Opaque`; a value whose codec is not registered
    becomes an `Undecoded`.

    Raises:
        DamagedError: a tag is malformed or unknown, or a file is missing, damaged or outside `folder`.
    """
    try:
        return _Decoder(folder).value(tree)
    except RecursionError as error:
        raise DamagedError("a stored value is nested too deeply to be read") from error


def canonical(value: object, *, name: str = "value") -> str:
    """Return canonical JSON of a value, the same in every process: equal text means same value and type.

    Raises:
        UnstorableError: as `encode`.
    """
    return canonical_text(_walk(value, name, None))


class _Nowhere:
    """A sink that spares the encoding of large arrays."""

    def put_array(self, name: str, array: Any, kind: SinkKind) -> Tag | None:
        return None if kind == "frame" else {"$": "npy"}


def is_storable(value: object) -> bool:
    """Tell whether `encode` would take a value."""
    try:
        encode(value, sink=_Nowhere())
    except UnstorableError:
        return False
    return True
