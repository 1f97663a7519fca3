"""Exact typed values: tagged JSON, files of arrays, and typed columns over runs.

`encode` turns a value into JSON from which `decode` makes an equal value of the same type; what has no exact
form is refused with an `UnstorableError`. `FileSink` keeps large arrays and frames in files that their own
libraries read. `build_column` finds the type of a column of such values, `restore` and `cell` give them back.
`register_codec` adds a form for a class of one's own.
Importing this package imports neither numpy nor pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expedition.lazily import lazily

if TYPE_CHECKING:
    from expedition.values._standard import is_utf8
    from expedition.values.codecs import Codec, Undecoded, register_codec
    from expedition.values.columns import (
        MISSING,
        ColumnData,
        ColumnKind,
        MissingType,
        State,
        build_column,
        cell,
        restore,
    )
    from expedition.values.files import FileSink
    from expedition.values.short import has_axes, parts_text, short_hash, short_text
    from expedition.values.tagged import (
        ArraySink,
        Json,
        Opaque,
        canonical,
        decode,
        dumps,
        encode,
        is_storable,
        loads,
    )

__all__ = [
    "MISSING",
    "ArraySink",
    "Codec",
    "ColumnData",
    "ColumnKind",
    "FileSink",
    "Json",
    "MissingType",
    "Opaque",
    "State",
    "Undecoded",
    "build_column",
    "canonical",
    "cell",
    "decode",
    "dumps",
    "encode",
    "has_axes",
    "is_storable",
    "is_utf8",
    "loads",
    "parts_text",
    "register_codec",
    "restore",
    "short_hash",
    "short_text",
]

_HOMES = {
    "ArraySink": "expedition.values.tagged",
    "Codec": "expedition.values.codecs",
    "ColumnData": "expedition.values.columns",
    "ColumnKind": "expedition.values.columns",
    "FileSink": "expedition.values.files",
    "Json": "expedition.values.tagged",
    "MISSING": "expedition.values.columns",
    "MissingType": "expedition.values.columns",
    "Opaque": "expedition.values.tagged",
    "State": "expedition.values.columns",
    "Undecoded": "expedition.values.codecs",
    "build_column": "expedition.values.columns",
    "canonical": "expedition.values.tagged",
    "cell": "expedition.values.columns",
    "decode": "expedition.values.tagged",
    "dumps": "expedition.values.tagged",
    "encode": "expedition.values.tagged",
    "has_axes": "expedition.values.short",
    "is_storable": "expedition.values.tagged",
    "is_utf8": "expedition.values._standard",
    "loads": "expedition.values.tagged",
    "parts_text": "expedition.values.short",
    "register_codec": "expedition.values.codecs",
    "restore": "expedition.values.columns",
    "short_hash": "expedition.values.short",
    "short_text": "expedition.values.short",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
