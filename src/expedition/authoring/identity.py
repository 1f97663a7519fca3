"""Names of runs that depend on their parameters alone: the key, the id and the folder."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from expedition.values import parts_text

_LONGEST_VALUE = 40
_LONGEST_ID = 180
_LONGEST_FOLDER = 100
_PLAIN_TEXT = re.compile(r"[^\s=\[\]'\"`]([^=\[\]\n\r\t\0]*[^\s=\[\]])?\Z")
_READS_AS_OTHER = re.compile(
    r"(null|~|true|false|none|nan|\.nan|[-+]?\.?inf"
    r"|[-+]?(0[ox][0-9a-f_]+|(?=\.?[0-9])[0-9_]*\.?[0-9_]*(e[-+]?[0-9]+)?j?))\Z",
    re.IGNORECASE,
)
_CUSTOM = re.compile(r'\{"\$":"custom","codec":"([^"]+)","v":(.*),"version":\d+\}\Z')
_HAS_CUSTOM = '{"$":"custom",'
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_SET = re.compile(r'\{"\$":"(?:frozen)?set","v":(.*)\}\Z')


def run_key(file: str, function: str, parameters: Mapping[str, str], replicate: int) -> str:
    """Return the key of a run: 64 hexadecimal digits that identify it across invocations.

    It is the SHA-256 of the experiment file relative to the root folder, the function, the canonical JSON of
    every parameter (`parameters` holds these texts) and the replicate.
    """
    import json

    members = ",".join(f"{json.dumps(name)}:{parameters[name]}" for name in sorted(parameters))
    text = f"[{json.dumps(file)},{json.dumps(function)},{{{members}}},{replicate}]"
    return hashlib.sha256(text.encode()).hexdigest()


def value_text(value: Any, canonical: str) -> str:
    """Return how `value` stands in an id: short, and derived from the value alone.

    `canonical` is its canonical JSON. Numbers are written as Python does, texts as they are when nobody could
    take them for something else; whatever is long or odd is cut and given eight digits of its hash.
    """
    if value is None or type(value) in (bool, int, float):
        text = repr(value)
    elif type(value) is str:
        text = value if _PLAIN_TEXT.match(value) and not _READS_AS_OTHER.match(value) else repr(value)
        if not text.isprintable() or "=" in text or "[" in text or "]" in text or "@" in text:
            return shorten(text, canonical, longest=24)
    elif type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        text = str(value)
    else:
        name = getattr(value, "name", None)
        text = name if isinstance(name, str) and hasattr(type(value), "__members__") else ""
        if not text:
            plain = re.sub(r"[^\w.,+ /-]+", "", _shown(value, canonical)).strip()
            return shorten(plain, canonical, longest=24)
    return text if len(text) <= _LONGEST_VALUE else shorten(text, canonical, longest=28)


def _shown(value: Any, canonical: str) -> str:
    # The str() of an object may hold its address, and that of a set its order: both differ between processes.
    if found := _CUSTOM.match(canonical):
        return f"{found[1]} {found[2]}"
    if _HAS_CUSTOM in canonical and _ADDRESS.search(str(value)):
        return parts_text(canonical)
    if found := _SET.match(canonical):
        return found[1]
    cls: Any = type(value)
    if cls.__str__ is object.__str__ and cls.__repr__ is object.__repr__:
        return str(cls.__name__)
    return repr(value) if isinstance(value, bytes) else str(value)


def shorten(text: str, identity: str, *, longest: int) -> str:
    """Return at most `longest` characters of `text` with a hash of `identity` behind."""
    clean = "".join(c if c.isprintable() and c not in "=[]@" else "_" for c in text[:longest])
    return f"{clean}~{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def run_id(pairs: Sequence[tuple[str, str]], replicate: int | None) -> str:
    """Join ``name=value`` pairs, and the replicate where there are several, to the id of a run."""
    parts = [f"{name}={text}" for name, text in pairs]
    if replicate is not None:
        parts.append(f"rep={replicate}")
    joined = "-".join(parts)
    if len(joined) > _LONGEST_ID:
        tail = f"-rep={replicate}" if replicate is not None else ""
        joined = shorten("-".join(parts[: len(pairs)]), joined, longest=_LONGEST_ID - 30) + tail
    return joined


def folder_name(index: int, identifier: str, *, sharded: bool) -> str:
    """Return the run folder of the run `index`, relative to the sweep folder.

    Above 10,000 runs (`sharded`) a thousand share one parent folder. The name is safe on every file system.
    """
    text = unicodedata.normalize("NFC", identifier)
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", text).rstrip(". ")
    if len(safe.encode()) > _LONGEST_FOLDER:
        digest = hashlib.sha256(identifier.encode()).hexdigest()[:8]
        safe = safe.encode()[: _LONGEST_FOLDER - 9].decode(errors="ignore").rstrip(". ") + "~" + digest
    name = f"{index:04d}-{safe}" if safe else f"{index:04d}"
    return f"{index // 1000:03d}/{name}" if sharded else name
