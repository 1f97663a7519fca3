"""Codecs of enum members, dataclass instances and named tuples; decoding imports and runs no user code."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import sys
from collections.abc import Mapping
from types import MemberDescriptorType
from typing import Any

from expedition.errors import UnstorableError
from expedition.values._text import canonical_text
from expedition.values._walk import Attribute, DecodeFunction, Decoder, Encoder, Json, Tag, expect

_HEAP_TYPE = 1 << 9


@dataclasses.dataclass(frozen=True)
class Opaque:
    """Stands for a value whose class is not loaded, or no longer fits: its kind, class and fields.

    `kind` is ``"enum"``, ``"dataclass"`` or ``"namedtuple"``, `type` is ``"module:qualname"``. The fields are
    also attributes. Stored again, it becomes the same text as before.
    """

    kind: str
    type: str
    fields: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(f"{self.__dict__.get('type', 'Opaque')} has no field {name!r}") from None

    def __hash__(self) -> int:
        return hash((self.kind, self.type, tuple(self.fields)))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"<{self.kind} {self.type}({fields})>"


def _tag(kind: str, cls: type, fields: dict[str, Json]) -> Json:
    return {"$": kind, "type": f"{cls.__module__}:{cls.__qualname__}", "fields": fields}


def is_named_tuple(cls: type) -> bool:
    """Tell whether a class was made by ``namedtuple`` or ``typing.NamedTuple``, or derives from one."""
    names = getattr(cls, "_fields", None)
    return issubclass(cls, tuple) and type(names) is tuple and all(type(name) is str for name in names)


def encode_object(enc: Encoder, value: Any) -> Json | None:
    """Return the tag of an enum member, dataclass instance, named tuple or Opaque; None for anything else."""
    cls = type(value)
    if isinstance(value, enum.Enum):
        fields: dict[str, Json] = {"name": enc.tree(value.name)}
        try:
            fields["value"] = enc.at(Attribute("value"), value.value)
        except UnstorableError:
            if value.name is None or type(value).__members__.get(value.name) is not value:
                raise
        return _tag("enum", cls, fields)
    if cls is Opaque and value.kind in DECODERS:
        inner = {name: enc.at(Attribute(name), item) for name, item in value.fields.items()}
        return {"$": value.kind, "type": value.type, "fields": inner}
    if dataclasses.is_dataclass(value) and cls is not Opaque:
        return _tag("dataclass", cls, _dataclass_fields(enc, value))
    if is_named_tuple(cls):
        if len(value) != len(cls._fields) or getattr(value, "__dict__", None):
            enc.refuse(value, "it holds more than the fields of its class")
        parts = zip(cls._fields, tuple(value), strict=True)
        return _tag("namedtuple", cls, {name: enc.at(Attribute(name), item) for name, item in parts})
    return None


def _dataclass_fields(enc: Encoder, value: Any) -> dict[str, Json]:
    cls = type(value)
    if not all(base is object or base.__flags__ & _HEAP_TYPE for base in cls.__mro__):
        enc.refuse(value, "a dataclass that is also a built-in type: store its parts")
    own = getattr(value, "__dict__", {})
    fields: dict[str, Json] = {}
    for field in dataclasses.fields(value):
        if field.name in own:
            item = own[field.name]
        elif isinstance(inspect.getattr_static(cls, field.name, None), MemberDescriptorType):
            item = getattr(value, field.name, dataclasses.MISSING)
        else:
            item = dataclasses.MISSING
        if item is dataclasses.MISSING:
            enc.refuse(value, f"its field {field.name!r} is not set")
        fields[field.name] = enc.at(Attribute(field.name), item)
    for name in own:
        if name not in fields and not isinstance(
            inspect.getattr_static(cls, name, None), functools.cached_property
        ):
            enc.refuse(value, f"its attribute {name!r} is no field: declare it as one")
    return fields


def _resolve(name: str) -> type | None:
    """Return the class of ``module:qualname`` from the modules that are loaded, without running its code."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        if found is None:
            return None
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, qualname):
        return None
    return found


def _parts(dec: Decoder, tag: Tag) -> tuple[Opaque, type | None]:
    fields = {expect(name, str): dec.value(item) for name, item in expect(tag["fields"], dict).items()}
    opaque = Opaque(tag["$"], expect(tag["type"], str), fields)
    return opaque, _resolve(opaque.type)


def _decode_enum(dec: Decoder, tag: Tag) -> Any:
    opaque, cls = _parts(dec, tag)
    name = expect(opaque.fields["name"], str, type(None))
    if cls is None or not issubclass(cls, enum.Enum):
        return opaque
    member = cls.__members__.get(name) if name is not None else None
    if member is None and issubclass(cls, enum.Flag) and type(opaque.fields.get("value")) is int:
        member = _combination(cls, opaque.fields["value"])
    if member is None or type(member) is not cls:
        return opaque
    if "value" not in opaque.fields:
        return member
    try:
        same = dec.canonical(member.value) == canonical_text(tag["fields"]["value"])
    except UnstorableError:
        same = False
    return member if same else opaque


def _combination(cls: type[enum.Flag], value: int) -> enum.Flag | None:
    """Return a combination of flags, made by enum itself; None when the class has its own code for that."""
    if any("_missing_" in vars(base) and base.__module__ != "enum" for base in cls.__mro__):
        return None
    try:
        return cls(value)
    except ValueError:
        return None


def _decode_dataclass(dec: Decoder, tag: Tag) -> Any:
    opaque, cls = _parts(dec, tag)
    if cls is None or not dataclasses.is_dataclass(cls):
        return opaque
    if {field.name for field in dataclasses.fields(cls)} != set(opaque.fields):
        return opaque
    if not all(base is object or base.__flags__ & _HEAP_TYPE for base in cls.__mro__):
        return opaque
    value = object.__new__(cls)
    for name, item in opaque.fields.items():
        if isinstance(inspect.getattr_static(cls, name, None), MemberDescriptorType):
            object.__setattr__(value, name, item)
        else:
            vars(value)[name] = item
    return value


def _decode_named_tuple(dec: Decoder, tag: Tag) -> Any:
    opaque, cls = _parts(dec, tag)
    if cls is None or not is_named_tuple(cls):
        return opaque
    names: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    if set(names) != set(opaque.fields):
        return opaque
    return tuple.__new__(cls, [opaque.fields[name] for name in names])


DECODERS: dict[str, DecodeFunction] = {
    "enum": _decode_enum,
    "dataclass": _decode_dataclass,
    "namedtuple": _decode_named_tuple,
}
