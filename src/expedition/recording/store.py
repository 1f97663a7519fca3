"""The nested store of a run: every change is encoded and journalled at once, so nothing waits for the end."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from expedition.errors import ExpeditionError, ExperimentError, UnstorableError
from expedition.recording.steps import STEPS
from expedition.values import dumps, encode, is_utf8
from expedition.values.files import FileSink

LARGEST_STORE = 128 << 20
"""Bytes that the values of a run may have as JSON, all together: a reader takes twice as many at most."""

_IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes, complex})


class Store:
    """Values under slash-separated keys; what stands under a prefix is a group.

    `write` gets the JSON text of every event. Leaves are kept as given and as tagged JSON; large arrays go to
    files through `sink` when they are stored.
    """

    def __init__(self, write: Callable[[str], None], sink: FileSink) -> None:
        self._write = write
        self._sink = sink
        self._live: dict[str, Any] = {}
        self._tagged: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._size = 0
        self._scratch: dict[str, Any] = {}
        # How many leaves stand below each prefix, so that a key is placed without a look at all others.
        self._below: dict[str, int] = {}
        self._groups: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    @property
    def tagged(self) -> dict[str, Any]:
        """Flat mapping of slash path to tagged JSON, in the order of first storing."""
        return self._tagged

    def set(self, key: str, value: Any) -> None:
        """Store `value` under `key`, a dict as a group of its members.

        Raises `UnstorableError` naming key and type when the value cannot be kept exactly, or when `key`
        would make a group of a leaf or a leaf of a group.
        """
        _check_key(key)
        if key[0] == "_":
            self._scratch[key] = value
            return
        if type(value) in _IMMUTABLE and key in self._tagged:
            self._put(key, value)
            return
        for prefix in _prefixes(key):
            if prefix in self._live:
                raise UnstorableError(
                    f"{key}: {prefix} holds a value ({type(self._live[prefix]).__name__}), so it cannot be a "
                    f"group; delete it first or choose another key"
                )
        members = self._members(key)
        if type(value) in _GROUPS and value and _is_group(value):
            try:
                leaves = dict(_leaves(value, key))
            except RecursionError:
                raise UnstorableError(
                    f"{key}: a value of type dict cannot be stored exactly; it contains itself or is nested "
                    f"too deeply: flatten it"
                ) from None
            for name, leaf in leaves.items():  # refuse before anything is changed
                if type(leaf) not in _IMMUTABLE and not _is_plain_array(leaf):
                    encode(leaf, name=name)
            for name in [*members, key]:
                if name not in leaves and name in self._live:
                    self._drop(name)
            for name, leaf in leaves.items():
                self._put(name, leaf)
            if members:
                self._forget(key)
            self._groups[key] = value, leaves
            return
        if members:
            raise UnstorableError(
                f"{key}: it is a group ({', '.join(members[:3])}…), so it cannot hold a "
                f"{type(value).__name__}; delete it first or choose another key"
            )
        self._put(key, value)

    def get(self, key: str) -> Any:
        """Return the value of a leaf, or a group as a nested dict. Raises `KeyError`."""
        _check_key(key)
        if key[0] == "_":
            return self._scratch[key]
        if key in self._live:
            return self._live[key]
        group = f"{key}/"
        found = {name[len(group) :]: v for name, v in self._live.items() if name.startswith(group)}
        if not found:
            from expedition.errors import near_matches

            raise KeyError(f"nothing is stored under {key!r}{near_matches(key, self._live)}")
        return nest(found, Group)

    def delete(self, key: str) -> None:
        """Remove a leaf or a whole group. Raises `KeyError`."""
        _check_key(key)
        if key[0] == "_":
            del self._scratch[key]
            return
        names = [key] if key in self._live else self._members(key)
        if not names:
            raise KeyError(f"nothing is stored under {key!r}")
        for name in names:
            self._drop(name)
        self._forget(key)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        return key in self._live or key in self._scratch or key in self._below

    def nested(self) -> dict[str, Any]:
        """All values as a nested dict, scratch left out."""
        return nest(self._live, Group)

    def settle(self) -> list[str]:
        """Encode again what can be changed in place, so that the record shows the values as they are now.

        Returns messages, each with the type of an exception before it, for values that have become
        unstorable; these keep the form they had when stored.
        """
        problems = []
        for key, (source, leaves) in list(self._groups.items()):
            problems += self._follow(key, source, leaves)
        for key, value in list(self._live.items()):
            if type(value) in _IMMUTABLE or _same_array(value, self._tagged[key]):
                continue
            try:
                tagged = self._encode(key, value)
                if _without_files(tagged) == _without_files(self._tagged[key]):
                    self._remove(self._sink.written)
                else:
                    self._journal(key, tagged)
            except (UnstorableError, OSError) as error:
                problems.append(f"{type(error).__name__}: {error} (it was storable when it was stored)")
        return problems

    def _follow(self, key: str, source: dict[str, Any], leaves: dict[str, Any]) -> list[str]:
        """Do to the group `key` what was done to the dict that it came from since it was stored.

        What the run itself stored there since then stays.
        """
        problems = []
        if not _is_group(source):
            return [f"UnstorableError: {key}: the dict stored here got keys that are no names of the store"]
        now = dict(_leaves(source, key))
        for name in leaves:
            if name not in now and name in self._live and self._live[name] is leaves[name]:
                self._drop(name)
        for name, value in now.items():
            if name in leaves and leaves[name] is value:
                continue
            if name in self._live and not (name in leaves and self._live[name] is leaves[name]):
                continue
            try:
                self.set(name, value)
            except (ExpeditionError, OSError) as error:
                kind = type(error).__name__
                problems.append(f"{kind}: {error} (it was put into the dict {key} after that was stored)")
        return problems

    def _members(self, key: str) -> list[str]:
        """Keys of the leaves below the group `key`."""
        if key not in self._below:
            return []
        group = f"{key}/"
        return [name for name in self._live if name.startswith(group)]

    def _forget(self, key: str) -> None:
        for group in [group for group in self._groups if group == key or group.startswith(f"{key}/")]:
            del self._groups[group]

    def _put(self, key: str, value: Any) -> None:
        self._keep(key, value, self._encode(key, value))

    @STEPS.step
    def _keep(self, key: str, value: Any, tagged: Any) -> None:
        self._journal(key, tagged)
        if key not in self._live:
            for prefix in _prefixes(key):
                self._below[prefix] = self._below.get(prefix, 0) + 1
        self._live[key] = value
        if STEPS.waiting is not None:
            STEPS.let_in()

    def _encode(self, key: str, value: Any) -> Any:
        self._sink.written.clear()
        try:
            tagged = encode(value, name=key, sink=self._sink)
        except BaseException:
            self._remove(self._sink.written)
            raise
        if isinstance(tagged, dict) and tagged and "$" not in tagged:
            # As plain JSON a dict with such keys would read as a group.
            return {"$": "dict", "v": [[name, member] for name, member in tagged.items()]}
        return tagged

    def _journal(self, key: str, tagged: Any) -> None:
        line = f'{{"e":"store","k":{json.dumps(key)},"v":{dumps(tagged)}}}'
        size = self._size - self._sizes.get(key, 0) + len(line)
        if size > LARGEST_STORE:
            raise UnstorableError(
                f"{key}: the values of a run may have {LARGEST_STORE:,} bytes as JSON, and with this one they have "
                f"{size:,}: store many numbers as a numpy array, and a large text as an artifact (commit)"
            )
        self._write(line)
        self._size, self._sizes[key] = size, len(line)
        before = self._tagged.get(key)
        self._tagged[key] = tagged
        if isinstance(before, dict | list):
            self._remove(set(_files(before)) - set(_files(tagged)))

    def _remove(self, files: Iterable[str]) -> None:
        """Remove files that the journal no longer refers to; one that stays does no harm."""
        for file in files:
            with contextlib.suppress(OSError):
                (self._sink.folder / file).unlink(missing_ok=True)

    @STEPS.step
    def _drop(self, key: str) -> None:
        self._write(f'{{"e":"drop","k":{json.dumps(key)}}}')
        self._remove(set(_files(self._tagged[key])))
        self._size -= self._sizes.pop(key)
        del self._live[key], self._tagged[key]
        for prefix in _prefixes(key):
            self._below[prefix] -= 1
            if not self._below[prefix]:
                del self._below[prefix]
        if STEPS.waiting is not None:
            STEPS.let_in()


class Group(dict[str, Any]):
    """A group of the store as it was when asked for; a change of it would be lost, and so it is refused."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            "a group read from the store is a copy, and a change of it would not be recorded; "
            "write experiment['group/name'] = … or take dict(…) of it"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


_GROUPS = (dict, Group)


def nest(flat: dict[str, Any], kind: type[dict[str, Any]] = dict) -> dict[str, Any]:
    """Turn a mapping of slash paths into nested dicts, of the class `kind`."""
    root = kind()
    for path, value in flat.items():
        *groups, leaf = path.split("/")
        node = root
        for group in groups:
            if group not in node:
                dict.__setitem__(node, group, kind())
            node = node[group]
        dict.__setitem__(node, leaf, value)
    return root


def flatten(nested: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested tagged JSON with their slash paths; tagged objects are leaves."""
    for name, value in nested.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and "$" not in value:
            yield from flatten(value, f"{path}/")
        else:
            yield path, value


def _same_array(value: Any, tagged: Any) -> bool:
    """Whether an array is still what its file holds, so that it need not be written again."""
    if not isinstance(tagged, dict) or tagged.get("$") != "npy" or not hasattr(value, "dtype"):
        return False
    if list(value.shape) != tagged["shape"] or value.dtype.names or not value.size:
        return False
    import numpy as np

    raw: Any = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    return bool(f"{zlib.crc32(raw):08x}" == tagged["crc"])


def _files(tagged: Any) -> Iterator[str]:
    """The files that tagged JSON refers to."""
    if isinstance(tagged, dict):
        if "$" in tagged and isinstance(tagged.get("file"), str):
            yield tagged["file"]
        tagged = list(tagged.values())
    if isinstance(tagged, list):
        for member in tagged:
            yield from _files(member)


def _without_files(tagged: Any) -> Any:
    """Tagged JSON without the names of its files, whose content the CRC beside them tells."""
    if isinstance(tagged, dict):
        return {name: _without_files(v) for name, v in tagged.items() if name != "file" or "$" not in tagged}
    return [_without_files(member) for member in tagged] if isinstance(tagged, list) else tagged


def _is_plain_array(value: Any) -> bool:
    """Whether a value is an array that files keep: it need not be encoded to see that it can be."""
    return type(value).__module__ == "numpy" and hasattr(value, "dtype") and not value.dtype.hasobject


def _prefixes(key: str) -> list[str]:
    """The groups that a key stands in: ``a`` and ``a/b`` for ``a/b/c``."""
    return [key[:i] for i, letter in enumerate(key) if letter == "/"]


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise ExperimentError(f"a key of the store must be a text, but got {key!r} ({type(key).__name__})")
    parts = key.split("/")
    if not all(parts) or "\0" in key or "$" in parts or "." in parts or ".." in parts:
        raise ExperimentError(
            f"a key of the store must be names joined by single slashes, such as 'rmse/mean', but got {key!r}"
        )
    if not is_utf8(key):  # no file of the archive could have it as the name of a column
        raise ExperimentError(
            f"a key of the store must be text that UTF-8 can write, but {key!r} has a lone surrogate; leave it out, or "
            f"store the text as a value"
        )


def _is_group(value: dict[Any, Any]) -> bool:
    return all(
        type(k) is str and k and "/" not in k and k not in {"$", ".", ".."} and "\0" not in k and is_utf8(k)
        for k in value
    )


def _leaves(value: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    for name, member in value.items():
        path = f"{key}/{name}"
        if type(member) in _GROUPS and member and _is_group(member):
            yield from _leaves(member, path)
        else:
            yield path, member
