"""Codecs: how values of one's own classes are taken apart when they are stored, and put together again.

The parts are any tree of values that Expedition keeps. In JSON they stand as
``{"$": "custom", "codec": name, "version": version, "v": parts}``. Only codecs that the reading program registered
itself put values together; without one a value is an `Undecoded`, and everything else is read as ever.
"""

from __future__ import annotations

import re
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from expedition.errors import CodecError, UndecodedError, UnstorableError, near_matches
from expedition.values import _standard
from expedition.values._text import loads
from expedition.values._walk import DecodeFunction, Decoder, Encoder, Json, Tag, expect, loaded

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}")
_REMEDY = (
    "register it with expedition.register_codec(…); pytest_experiment_deserialize hooks are known inside of pytest "
    "only, so a script needs a codec, too"
)


class Codec(Protocol):
    """How values of a class of one's own are kept. Subclass it, or write a class with these members.

    ::

        class VectorCodec(Codec):
            name = "vector"
            types = (Vector,)

            def encode(self, value):
                return {"x": value.x, "y": value.y}

            def decode(self, parts, version):
                return Vector(parts["x"], parts["y"])

    Attributes
    ----------
    name : stands in the files beside every value: letters, digits and ``_ . : -``.
    version : whole number from 1 on. Raise it when `encode` gives other parts than before; `decode` gets the
        version by which the parts were made.
    types : the classes whose instances the codec keeps, exactly these, not their subclasses.
    """

    name: str
    version: int = 1
    types: tuple[type, ...] = ()

    def matches(self, value: object) -> bool:
        """Tell whether this codec keeps `value`. Override it where a class does not say so."""
        return type(value) in self.types

    @abstractmethod
    def encode(self, value: Any) -> Any:
        """Return the parts of `value`: dicts, lists, numbers, text, arrays, frames, values of other codecs."""

    @abstractmethod
    def decode(self, parts: Any, version: int) -> Any:
        """Return the value that `encode` made `parts` of, equal and of the same type."""


class CodecSource(Protocol):
    """Keeps values without being registered by name; both methods return None for what is not theirs."""

    def serialize(self, value: Any) -> tuple[str, int, Any] | None:
        """Return name, version and parts."""

    def deserialize(self, codec: str, version: int, parts: Any) -> Any:
        """Return the value again."""


@dataclass(frozen=True)
class Undecoded:
    """Stands for a value whose codec is not registered, or could not put it together.

    Stored again, it becomes the same text as before. Any attribute but these raises `UndecodedError`.

    Attributes
    ----------
    codec, version : by which the value was taken apart.
    value : its parts.
    reason : why they stayed apart.
    """

    codec: str
    version: int
    value: Any
    reason: str = field(default="", compare=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UndecodedError(f"there is no {name!r}, for {self._what()}; its parts are in .value")

    def __hash__(self) -> int:
        return hash((self.codec, self.version))

    def __repr__(self) -> str:
        parts = repr(self.value)
        return f"<undecoded {self.codec}: {parts if len(parts) <= 200 else f'{parts[:199]}…'}, {self.reason}>"

    def _what(self) -> str:
        return f"this is what a codec {self.codec!r} stored, which cannot be put together: {self.reason}"


class _Registered(NamedTuple):
    codec: Codec
    matches: Callable[[object], bool]
    origin: str


_registered: dict[str, _Registered] = {}
_sources: list[CodecSource] = []


def register_codec(codec: Codec, *, replace: bool = False) -> None:
    """Let `codec` keep values of one's own classes from now on, in this process.

    In a project, call it in ``conftest.py``, which workers import too; in a script or notebook, before what needs it.
    Values that JSON or numpy keep by themselves (numbers, text, lists, dicts, arrays) are never given to a codec;
    of several that match a value the first registered keeps it. The same codec may be registered again, also
    after its module was loaded anew; `replace` puts another one in the place of that name.

    Raises `CodecError` when a member is missing or wrong, or when the name or a class has another codec already.
    """
    _check(codec)
    matches = getattr(codec, "matches", None) or (lambda value: type(value) in codec.types)
    entry = _Registered(codec, matches, _origin(codec))
    before = _registered.get(codec.name)
    if before is not None and not replace and before.origin != entry.origin:
        raise CodecError(
            f"the codec name {codec.name!r} is taken by {before.origin}: choose another one for {entry.origin}, or "
            "say register_codec(codec, replace=True)"
        )
    for cls in _types(codec):
        for other in _registered.values():
            if other.codec.name != codec.name and cls in _types(other.codec):
                raise CodecError(
                    f"{cls.__qualname__} has the codec {other.codec.name!r} ({other.origin}) already: one class "
                    "has one codec"
                )
    _registered[codec.name] = entry


def unregister_codec(name: str) -> None:
    """Forget the codec `name`; values that it kept are `Undecoded` from now on. Raises `CodecError`."""
    if name not in _registered:
        raise CodecError(f"no codec {name!r} is registered{near_matches(name, _registered)}")
    del _registered[name]


def add_source(source: CodecSource) -> None:
    """Ask `source`, before earlier ones, for what no registered codec keeps."""
    _sources.insert(0, source)


def remove_source(source: CodecSource) -> None:
    """Ask `source` no more."""
    _sources[:] = [each for each in _sources if each is not source]


def is_name(value: object) -> bool:
    """Tell whether a value may be the name of a codec."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_version(value: object) -> bool:
    """Tell whether a value may be the version of a codec."""
    return type(value) is int and value >= 1


def codecs_in(tree: Json) -> Iterator[tuple[str, int]]:
    """Yield name and version of the codec of every value in a tree."""
    if isinstance(tree, dict):
        if tree.get("$") == "custom":
            yield str(tree.get("codec")), int(tree.get("version", 1))
        tree = list(tree.values())
    if isinstance(tree, list):
        for each in tree:
            yield from codecs_in(each)


def _types(codec: Codec) -> tuple[type, ...]:
    return getattr(codec, "types", ())


def _check(codec: Any) -> None:
    if isinstance(codec, type):
        raise CodecError(f"register_codec takes a codec, not its class: register_codec({codec.__name__}())")
    kind = type(codec).__qualname__
    missing = [name for name in ("name", "version", "encode", "decode") if not hasattr(codec, name)]
    if not (callable(getattr(codec, "matches", None)) or hasattr(codec, "types")):
        missing.append("types or matches")
    if missing:
        raise CodecError(f"{kind} is no codec, it lacks {', '.join(missing)}: see expedition.Codec")
    if not is_name(codec.name):
        raise CodecError(
            f"{kind}: the name of a codec must be up to 100 letters, digits and _ . : -, but it is {codec.name!r}"
        )
    if not is_version(codec.version):
        raise CodecError(f"{kind}: the version must be a whole number from 1 on, but it is {codec.version!r}")
    types = getattr(codec, "types", ())
    if not isinstance(types, tuple) or not all(isinstance(cls, type) for cls in types):
        raise CodecError(f"{kind}: types must be a tuple of classes, but it is {types!r}")
    for cls in types:
        if cls in _standard.ENCODERS or _is_numpy(cls):
            raise CodecError(f"{kind}: values of {cls.__qualname__} are kept as they are and need no codec")


def _origin(codec: Codec) -> str:
    """Return which class a codec is of, the same after its module was loaded anew."""
    cls = type(codec)
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return f"{cls.__qualname__} of {file or cls.__module__}"


def _is_numpy(cls: type) -> bool:
    np = loaded("numpy")
    return np is not None and (cls is np.ndarray or issubclass(cls, np.generic))


def _apart(value: Any) -> tuple[str, int, Any] | None:
    """Return name, version and parts of a value, None when nothing keeps it. Raises what the codec raises."""
    for entry in _registered.values():
        if entry.matches(value):
            return entry.codec.name, entry.codec.version, entry.codec.encode(value)
    for source in _sources:
        found = source.serialize(value)
        if found is not None:
            if found[0] in _registered:
                raise CodecError(f"the codec name {found[0]!r} is taken by {_registered[found[0]].origin}")
            return found
    return None


def _together(name: str, version: int, parts: Any) -> Any:
    """Return the value of some parts. Raises `CodecError` when there is no codec, and what the codec raises."""
    entry = _registered.get(name)
    if entry is not None:
        if version > entry.codec.version:
            raise CodecError(
                f"it was stored by version {version} of the codec {name!r}, and version {entry.codec.version} is here"
            )
        return entry.codec.decode(parts, version)
    for source in _sources:
        value = source.deserialize(name, version, parts)
        if value is not None:
            return value
    raise CodecError(f"no codec {name!r} is registered{near_matches(name, _registered)}: {_REMEDY}")


def encode_custom(enc: Encoder, value: Any) -> Json | None:
    """Return the tag of a value that a codec keeps; None for anything else."""
    if type(value) is Undecoded:
        return _tag(value.codec, value.version, enc.tree(value.value))
    if not (_registered or _sources) or _is_numpy(type(value)):
        return None
    try:
        found = _apart(value)
        if found is None:
            return None
        name, version, parts = found
    except Exception as error:
        _refuse(enc, value, f"its codec failed: {_said(error)}", error)
    outermost, enc.verify = enc.verify, False
    try:
        tree = enc.tree(parts)
        if outermost:  # which puts together and takes apart what is inside, too
            _verify(enc, value, name, version, parts)
    finally:
        enc.verify = outermost
    return _tag(name, version, tree)


def _tag(name: str, version: int, tree: Json) -> Tag:
    return {"$": "custom", "codec": name, "version": version, "v": tree}


def _verify(enc: Encoder, value: Any, name: str, version: int, parts: Any) -> None:
    """Refuse a value that does not come back: it would be found out when it is too late."""
    text = enc.canonical(parts)

    def decoded() -> Any:
        return _together(name, version, enc.decoded(loads(text)))

    try:
        again = decoded()
        found = _apart(again)
    except Exception as error:
        _refuse(enc, value, f"its codec {name!r} cannot put it together again: {_said(error)}", error)
    if type(again) is not type(value):
        enc.refuse(value, f"its codec {name!r} gives a {type(again).__qualname__} back")
    if found is None or found[:2] != (name, version) or enc.canonical(found[2]) != text:
        enc.refuse(value, f"its codec {name!r} gives another value back, which has other parts")
    if _differs(value, again, decoded):
        enc.refuse(value, f"its codec {name!r} gives another value back, which is not equal to it")


def _differs(value: Any, again: Any, decoded: Callable[[], Any]) -> bool:
    """Tell whether a class that knows equality finds two values different, and not for a NaN within."""
    cls: Any = type(value)
    if cls.__eq__ is object.__eq__:
        return False
    try:
        return not bool(again == value) and bool(again == decoded())
    except Exception:  # an equality that gives arrays, for instance
        return False


def _refuse(enc: Encoder, value: Any, remedy: str, error: Exception) -> None:
    try:
        enc.refuse(value, remedy)
    except UnstorableError as refusal:
        raise refusal from error


def _said(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _decode_custom(dec: Decoder, tag: Tag) -> Any:
    name, version = expect(tag["codec"], str), expect(tag["version"], int)
    parts = dec.value(tag["v"])
    try:
        return _together(name, version, parts)
    except CodecError as error:
        reason = str(error)
    except Exception as error:
        reason = f"the codec {name!r} failed: {_said(error)}"
    # The codec may have taken the parts to pieces before it failed.
    return Undecoded(name, version, dec.value(tag["v"]), reason)


DECODERS: dict[str, DecodeFunction] = {"custom": _decode_custom}
