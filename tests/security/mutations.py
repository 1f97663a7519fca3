"""Changes of one file of an archive, made of a number: by chance, as a disk does it, or on purpose."""

from __future__ import annotations

import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

KINDS = ("bytes", "text", "member", "line", "node")
NODES = ("pipe", "link out", "link to zeros", "link to itself", "folder", "link within", "socket")
_OWN = (".json", ".jsonl")


class Mutation(NamedTuple):
    """The new content of the file `place`; `kind` and `what` say what was done to it.

    Of the kind ``node`` something else takes the place of the file, and `what` says which of `NODES`.
    """

    place: str
    content: bytes
    kind: str
    what: str


def odd_values(outside: str) -> list[Any]:
    """Values that no writer puts where they come to stand; some name files in the folder `outside`."""
    deep: Any = []
    for _ in range(90):
        deep = [deep]
    canary = f"{outside}/canary"
    away = "../../../../outside/canary"
    return [
        *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, 0.5, -0.0),
        *(
            "",
            " ",
            "x",
            "x" * 5000,
            "ä",
            "\x00",
            "\x1b]0;owned\x07\x1b[31m",
            "\u202eevil",
            "a\r\nb",
            "\x9b31m",
        ),
        *(
            '=cmd|"/c calc"!A1',
            "<script>alert(1)</script>",
            "[x](javascript:1)",
            "\\input{/etc/passwd}",
            "{x}",
            "%s",
        ),
        *(
            "\ud800",
            "\udcff",
            "..",
            "/",
            ".",
            "a/../../b",
            canary,
            away,
            f"{canary}.npy",
            "CON",
            "nul.json",
            "C:\\x",
        ),
        *(
            "running",
            "done",
            "pending",
            "crashed",
            "9999-12-31T23:59:59.999999+00:00",
            "0001-01-01T00:00:00+23:59",
        ),
        *(
            "2026-01-01T00:00:00",
            "nan",
            "inf",
            "1e999",
            "9.9",
            "1.99",
            "2026-11-22T14-30-05Z-k3f9",
            "0" * 64,
            "deadbeef",
        ),
        *(
            [],
            {},
            [[]],
            [None],
            {"": ""},
            {"$": 1},
            {"$": "nothing"},
            {"a": {"b": {"c": 1}}},
            [1, "a", None],
            deep,
        ),
        {"$": "npy", "file": away + ".npy", "dtype": "<f8", "shape": [3], "crc": "00000000"},
        {"$": "npy", "file": canary + ".npy", "dtype": "<f8", "shape": [3], "crc": "00000000"},
        {"$": "npy", "file": "data/array.npy", "dtype": "|O", "shape": [10**12], "crc": "00000000"},
        {"$": "array", "dtype": "|O", "shape": [1], "b64": "gAR9lC4="},
        {"$": "array", "dtype": "<f8", "shape": [10**6, 10**6], "b64": ""},
        {"$": "array", "dtype": "<f8", "shape": [-1], "v": [1, 2]},
        {"$": "array", "dtype": [["a", "<f8"]] * 3, "shape": [0], "v": []},
        {"$": "np", "dtype": "<M8[99999999999ns]", "v": 1},
        {"$": "enum", "type": "antigravity:Fly", "fields": {"name": "A", "value": 1}},
        {"$": "dataclass", "type": "os:system", "fields": {"command": "touch owned"}},
        {"$": "namedtuple", "type": "subprocess:Popen", "fields": {"args": "ls"}},
        {"$": "path", "type": "os:system", "v": "x"},
        {"$": "custom", "codec": "x", "version": 10**30, "v": {"$": "tuple"}},
        {"$": "int", "v": "9" * 10_000},
        {"$": "int", "v": "0x" + "f" * 200_000},
        {"$": "float", "v": "nan:zz"},
        {"$": "complex", "v": [1]},
        {"$": "range", "v": [0, 10**30, 1]},
        {"$": "set", "v": [[1]]},
        {"$": "dict", "v": [[{}, 1], [[], 2]]},
        {"$": "decimal", "v": "1e999999999"},
        {"$": "fraction", "v": [1, 0]},
        {"$": "fraction", "v": ["1", 10**4000]},
        {"$": "datetime", "v": "2026-01-01T00:00:00", "zone": "../../../../etc/passwd"},
        {"$": "datetime", "v": "9999-12-31T23:59:59", "zone": "Pacific/Kiritimati", "fold": 7},
        {"$": "timedelta", "v": [10**12, 0, 0]},
        {"$": "timestamp", "v": 2**63 - 1, "unit": "s", "zone": "UTC"},
        {"$": "frame", "format": "parquet", "file": away, "shape": [1, 1], "crc": "0"},
        {"$": "frame", "format": "pickle", "file": "data/frame.parquet", "shape": [2, 2], "crc": "0"},
        {
            "$": "pandas",
            "type": "DataFrame",
            "index": {"type": "RangeIndex", "v": [0, 10**12, 1]},
            "columns": [],
            "data": [],
        },
        {"$": "sparse", "type": "csr_matrix", "shape": [10**9, 10**9], "parts": {}},
        {"$": "masked", "fill": None, "hard": False, "data": 5, "mask": "x"},
        {"$": "bin", "o": 2**62, "d": "<f8", "sh": [2**40], "crc": "00000000"},
        {"$": "bin", "o": -1, "d": "|O", "sh": [3], "crc": "00000000"},
        *(
            {"$": "file", "file": name}
            for name in (away, "data/series/\0.png", "data/series/\ud800.png", "data/series/a/../../../b.png")
        ),
        {"$": "bin", "o": 0, "d": "<f8", "sh": [4 << 30], "crc": "00000000"},
        {"value": {"$": "str", "v": "!!"}, "type": 5},
        {"name": 1, "namespace": 2},
        {"type": 1, "message": 2, "traceback": None},
        {"writer": away, "host": None, "pid": "x", "boot_id": 3},
        {"writer": "\x00", "pid": -1},
        {"pid": 2**70},
    ]


def mutate(files: dict[str, bytes], seed: int, kinds: Sequence[str] | None, work: Path) -> Mutation:
    """Return the mutation that a number stands for; `files` has the content of each file of the archive."""
    generator = random.Random(seed)
    kind = generator.choice(kinds or KINDS)
    values = odd_values(str(work / "outside"))
    fitting = sorted(name for name in files if kind in ("bytes", "node") or name.endswith(_OWN))
    if kind == "line":
        fitting = sorted(name for name in files if name.endswith(".jsonl"))
    # The file system's order, and each kind of file as likely as any other.
    endings = sorted({_ending(name) for name in fitting})
    ending = generator.choice(endings)
    place = generator.choice([name for name in fitting if _ending(name) == ending])
    if kind == "node":
        # A trajectory may be a link to another disk.
        nodes = [node for node in NODES if node != "link out" or not place.endswith(".h5")]
        return Mutation(place, b"", kind, generator.choice(nodes))
    content, what = _MAKERS[kind](files[place], generator, values)
    return Mutation(place, content, kind, what)


def mutate_zip(content: bytes, seed: int, work: Path) -> Mutation:
    """Return the mutation of a zip that a number stands for.

    Its bytes are changed, or one of its members, or its bytes when it was packed by another method.
    """
    if seed % 3 == 0:
        return mutate({"": content}, seed, ("bytes",), work)
    generator = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {info.filename: source.read(info) for info in source.infolist() if not info.is_dir()}
    if seed % 3 == 1:
        kind = generator.choice(("text", "member", "line"))
        change = mutate(members, seed, (kind,), work)
        members[change.place] = change.content
        return Mutation("", _packed(members, zipfile.ZIP_DEFLATED), kind, f"{change.place}: {change.what}")
    method = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[seed // 3 % 2]
    data = bytearray(_packed(members, method))
    for _ in range(20):  # in what is packed; the directory stands at the end
        data[generator.randrange(len(data) // 2)] ^= 1 << generator.randrange(8)
    return Mutation("", bytes(data), "bytes", f"packed by method {method}, and 20 bits changed")


def _packed(members: dict[str, bytes], method: int) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as target:
        for name, content in members.items():
            target.writestr(zipfile.ZipInfo(name), content, method)
    return sink.getvalue()


def _ending(name: str) -> str:
    return "log of commits" if "/journal/" in name else name.rpartition("/")[2]


def _bytes(content: bytes, generator: random.Random, values: list[Any]) -> tuple[bytes, str]:
    """What happens on a disk: bits, blocks and ends."""
    data = bytearray(content)
    way = generator.choice(("flip", "flip", "flips", "cut", "zeros", "repeat", "empty", "insert", "random"))
    at = generator.randrange(len(data) + 1)
    if way in ("flip", "flips"):
        for _ in range(1 if way == "flip" else 20):
            if data:
                data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    elif way == "cut":
        del data[at:]
    elif way == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif way == "repeat":
        data[at:at] = data[at : at + 100]
    elif way == "empty":
        data.clear()
    elif way == "insert":
        data[at:at] = generator.choice(
            (b"\xff\xfe", b"\0" * 10, b"\n", b"\x1b[31m", b"{" * 50, b"\xed\xa0\x80")
        )
    else:
        data[at:] = generator.randbytes(min(len(data) - at, 4096))
    return bytes(data), f"{way} at {at} of {len(content)}"


def _text(content: bytes, generator: random.Random, values: list[Any]) -> tuple[bytes, str]:
    """What a JSON text may say that no value does."""
    words = [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"NaN",
        b"-Infinity",
        b"1" * 100_000,
        b"1e999",
        b"-0",
        b"\\ud800",
        b"'",
    ]
    words += [
        b"0" * 5000 + b"1",
        b'"\\ud800"',
        b'{"a":1,"a":2}',
        b'"\xff"',
        b"//",
        b"\xef\xbb\xbf",
        b"1e-99999999999",
        b"[]]",
    ]
    word = generator.choice(words)
    places = [i for i, byte in enumerate(content) if byte in b":,["] or [0]
    at = generator.choice(places) + 1
    if generator.random() < 0.5:  # in the place of what stands there, so that the text may stay whole
        end = at
        while end < len(content) and content[end] not in b",}]\n":
            end += 1
        new = content[:at] + word + content[end:]
    else:
        new = content[:at] + word + content[at:]
    return _resealed(new), f"{word[:20]!r} at {at}"


def _member(content: bytes, generator: random.Random, values: list[Any]) -> tuple[bytes, str]:
    """A member of a JSON file, or of one line of it, gets another value, with a right checksum."""
    lines = content.split(b"\n") if content.count(b'"crc":"') and content.startswith(b'{"') else [content]
    filled = [i for i, line in enumerate(lines) if line.strip()]
    number = generator.choice(filled)
    try:
        tree = json.loads(lines[number])
    except ValueError:
        return _bytes(content, generator, values)
    if isinstance(tree, dict):
        tree.pop("crc", None)
    places = list(_places(tree))
    if not places:
        return _bytes(content, generator, values)
    # Members near the top decide what is made of the rest.
    depth = generator.choice(sorted({len(place) for place in places}))
    steps = generator.choice([place for place in places if len(place) == depth])
    holder = tree
    for step in steps[:-1]:
        holder = holder[step]
    way = generator.random()
    if way < 0.15:
        del holder[steps[-1]]
        what = f"{steps} gone"
    elif way < 0.25 and isinstance(holder, dict):
        name = generator.choice(
            ["\x1b[31m", "__class__", "a/../../b", "", "é" * 100, "$", "\ud800", "a.b", "size"]
        )
        holder[name] = holder.pop(steps[-1])
        what = f"{steps} called {name!r}"
    else:
        holder[steps[-1]] = generator.choice(values)
        what = f"{steps} = {holder[steps[-1]]!r:.100}"
    if len(lines) == 1 and not content.count(b'"crc":"'):
        return json.dumps(tree, indent=2).encode(), what
    lines[number] = json.dumps(tree, separators=(",", ":")).encode()
    return _resealed(b"\n".join(lines), {number}), what


def _line(content: bytes, generator: random.Random, values: list[Any]) -> tuple[bytes, str]:
    """Whole lines of a journal are swapped, repeated, left out or run into one another."""
    lines = content.splitlines(keepends=True)
    way = generator.choice(("swap", "repeat", "drop", "join", "reverse", "many"))
    if not lines:
        return content, "nothing"
    at, other = generator.randrange(len(lines)), generator.randrange(len(lines))
    if way == "swap":
        lines[at], lines[other] = lines[other], lines[at]
    elif way == "repeat":
        lines.insert(at, lines[other])
    elif way == "drop":
        del lines[at]
    elif way == "join":
        lines[at] = lines[at].rstrip(b"\n")
    elif way == "reverse":
        lines.reverse()
    else:
        lines[at:at] = [lines[other]] * 500
    return b"".join(lines), f"{way} {at} {other}"


def _places(tree: Any, above: tuple[Any, ...] = ()) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, item in items:
        yield (*above, step)
        yield from _places(item, (*above, step))


def _resealed(content: bytes, numbers: set[int] | None = None) -> bytes:
    """Give lines of a journal the checksum that they should have; all of them where it was one."""
    lines = content.split(b"\n")
    for number, line in enumerate(lines):
        mark = line.rfind(b',"crc":"')
        if numbers is not None and number in numbers:
            body = line[:-1]
        elif numbers is None and mark > 0:
            body = line[:mark]
        else:
            continue
        lines[number] = b'%b,"crc":"%08x"}' % (body, zlib.crc32(body))
    return b"\n".join(lines)


_MAKERS: dict[str, Callable[[bytes, random.Random, list[Any]], tuple[bytes, str]]] = {
    "bytes": _bytes,
    "text": _text,
    "member": _member,
    "line": _line,
}
