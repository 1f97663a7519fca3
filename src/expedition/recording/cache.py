"""The cache of an archive: values that are computed once, however many processes ask for them.

An entry is a folder below ``<archive root>/.expedition/cache``, named by the hash of its key. It is made under a
temporary name and renamed, so that it is whole or not there; while it is computed, its lock is held.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import shutil
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from expedition.errors import CacheEntryNotFoundError, DamagedError, UnstorableError, near_matches
from expedition.recording.inputs import InputNotes
from expedition.recording.masking import NO_MASK, Mask
from expedition.recording.plain_files import read_plain
from expedition.values import FileSink, decode, dumps, encode, loads

CACHE_FOLDER = Path(".expedition") / "cache"
_VERSION = 1
_VALUE = "value.json"
_PICKLE = "value.pkl"
_LARGEST_VALUE = 2 << 30
_ABOUT = "about.json"
_SHORTEST = 0.02
"""Seconds after which a process that waits for another looks again."""

_COMPARED = 50
"""Entries of a name that are looked at to say why there is none."""

_UNREADABLE = (DamagedError, OSError, ValueError)
"""What reading an entry raises that is damaged, or not there."""

Codec = Literal["pickle"]


class _OutdatedError(DamagedError):
    """What an entry was made of is another by now."""


@dataclass(frozen=True)
class CacheKey:
    """What a value depends on: it is computed again when any of it is another.

    Attributes
    ----------
    name, scope : where the entry stands: ``<scope>/<name>``.
    parts : by what it is (``argument n``, ``code of exp_a.load``, ``version``), a text that stands for it.
    """

    name: str
    scope: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The hash of all parts, 64 hexadecimal digits."""
        text = json.dumps([self.name, list(self.scope), sorted(self.parts.items())], ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """The cache below an archive root. With `enabled=False` everything is computed, and nothing kept.

    The secrets of `mask` are no part of keys, and no value that has one in it is kept.
    """

    def __init__(self, archive: Path, *, enabled: bool = True, mask: Mask = NO_MASK) -> None:
        self.root = archive / CACHE_FOLDER
        self.enabled = enabled
        self._mask = mask
        self._warned: set[str] = set()

    def for_secrets(self, mask: Mask) -> Cache:
        """Return this cache for runs with other secrets."""
        cache = copy.copy(self)
        cache._mask = mask
        return cache

    def get(
        self,
        key: CacheKey,
        compute: Callable[[], Any],
        *,
        codec: Codec | None = None,
        told: Callable[[str], None] = lambda message: None,
        stale: Callable[[str], None] = lambda reason: None,
        inputs: InputNotes | None = None,
    ) -> Any:
        """Return the value of `key`, computed at most once by all processes of this machine.

        `compute` makes it when it is not there. A damaged entry counts as missing, with a warning. `told` gets a
        line on what happened, `stale` the reason why the value is computed. What the run of `inputs` reads meanwhile
        is kept with the value, and noted for the run that takes it; a value of which it is another by then counts as
        missing. Values are kept exactly, by their type; with ``codec="pickle"`` as a pickle. Where nothing can be
        written the value is computed and not kept, with one warning.

        Raises `UnstorableError` (a `TypeError`) for a value that cannot be kept exactly, and what `compute` raises.
        """
        if not self.enabled:
            return compute()
        key = self._without_secrets(key)
        folder = self._folder(key)
        # Whether an entry is damaged, or was replaced while it was read, is found out with its lock.
        with contextlib.suppress(*_UNREADABLE):
            return self._load(folder, key, codec, told, inputs)
        with self._lock(folder) as is_held:
            why = ""
            try:
                return self._load(folder, key, codec, told, inputs)  # another process was faster
            except _OutdatedError as error:
                why = str(error)
            except _UNREADABLE as error:
                self._warn_damaged(folder, key, error)
            why = why or self.why_missing(key)
            stale(f"{key.name}: {why}")
            start = time.perf_counter()
            read: list[dict[str, Any]] = []
            with inputs.collected() if inputs is not None else contextlib.nullcontext(read) as read:
                value = compute()
            seconds = time.perf_counter() - start
            is_kept = is_held and self._is_saved(folder, key, value, codec, seconds, read)
            told(
                f"{key.name}: computed in {seconds:.2f} s{' and put into the cache' if is_kept else ''} ({why})"
            )
            return value

    def put(self, key: CacheKey, value: Any, *, codec: Codec | None = None) -> None:
        """Keep a value under `key`, in place of the one that is there. Does nothing where the cache is off.

        Raises `UnstorableError` (a `TypeError`) for a value that cannot be kept exactly, `OSError`.
        """
        if not self.enabled:
            return
        from filelock import FileLock

        key = self._without_secrets(key)
        folder = self._folder(key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", poll_interval=_SHORTEST):
            self._save(folder, key, value, codec, 0.0)

    def find(self, key: CacheKey, *, codec: Codec | None = None) -> Any:
        """Return the value of `key`. A damaged one counts as missing, with a warning.

        Raises `CacheEntryNotFoundError` (a `FileNotFoundError`) where there is none, and where the cache is off.
        """
        key = self._without_secrets(key)
        if not self.enabled:
            raise CacheEntryNotFoundError(
                f"the cache is off, so that it has no {key.name!r}; compute it, or run without --no-experiment-cache, "
                f"__CACHING__ = False and testing mode"
            )
        folder = self._folder(key)
        with contextlib.suppress(*_UNREADABLE):
            return self._load(folder, key, codec, lambda message: None)
        if folder.parent.is_dir():  # somebody may be replacing it
            with self._lock(folder):
                try:
                    return self._load(folder, key, codec, lambda message: None)
                except _UNREADABLE as error:
                    self._warn_damaged(folder, key, error)
        where = "/".join((*key.scope, key.name))
        raise CacheEntryNotFoundError(
            f"the cache has no value {where!r}{near_matches(key.name, self._names(key))}; save one first, or "
            f"compute it"
        )

    def _names(self, key: CacheKey) -> list[str]:
        """Names of what the cache has in the scope of a key."""
        folder = self._folder(key).parent.parent
        return [path.name.partition("~")[0] for path in folder.iterdir()] if folder.is_dir() else []

    def why_missing(self, key: CacheKey) -> str:
        """Say in what a key differs from the entry of its name that is most like it: why it has to be computed."""
        known = self._known(key)
        if not known:
            return "there was none"
        changes = min((_changes(before, dict(key.parts)) for before in known), key=len)
        return "; ".join(changes) or "its entry is gone"

    def clear(self) -> int:
        """Remove all entries; return how many there were. Raises `OSError`.

        Other processes may be at work: the files of their locks stay.
        """
        found = []
        for place, inner, files in os.walk(self.root):  # passes over what others remove meanwhile
            inner[:] = [name for name in inner if not name.startswith(".")]
            if _ABOUT in files:
                found.append(Path(place))
        for folder in found:
            _discard(folder)
        return len(found)

    # ------------------------------------------------------------------------------------------------------

    def _without_secrets(self, key: CacheKey) -> CacheKey:
        if not self._mask:
            return key
        text = self._mask.text
        parts = {text(name): text(part) for name, part in key.parts.items()}
        return replace(key, name=text(key.name), scope=tuple(map(text, key.scope)), parts=parts)

    def _folder(self, key: CacheKey) -> Path:
        names = [_folder_name(part) for part in (*key.scope, key.name)]
        return self.root.joinpath(*names, key.digest[:40])

    def _load(
        self,
        folder: Path,
        key: CacheKey,
        codec: Codec | None,
        told: Callable[[str], None],
        inputs: InputNotes | None = None,
    ) -> Any:
        value, about = _read(folder, key, codec)
        read = about.get("inputs", ())
        if read and inputs is not None:
            if changes := inputs.changes(read):
                raise _OutdatedError("; ".join(changes))
            inputs.note(read)
        told(f"{key.name}: taken from the cache")
        return value

    @contextlib.contextmanager
    def _lock(self, folder: Path) -> Iterator[bool]:
        """Hold the lock of an entry for a block, and say whether there could be one."""
        from filelock import FileLock

        lock = FileLock(f"{folder}.lock", poll_interval=_SHORTEST)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError) as error:  # the latter where a file system knows no locks
            self._warn_unwritable(error)
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def _is_saved(
        self,
        folder: Path,
        key: CacheKey,
        value: Any,
        codec: Codec | None,
        seconds: float,
        read: Sequence[Mapping[str, Any]],
    ) -> bool:
        try:
            self._save(folder, key, value, codec, seconds, read)
        except OSError as error:
            self._warn_unwritable(error)
            return False
        return True

    def _warn_unwritable(self, error: BaseException) -> None:
        if "unwritable" not in self._warned:
            self._warned.add("unwritable")
            self._warn(f"at {self.root} cannot be written, and values are computed without it: {error}")

    def _warn_damaged(self, folder: Path, key: CacheKey, error: BaseException) -> None:
        if folder.is_dir():
            self._warn(f"entry of {key.name} at {folder} is damaged and counts as missing: {error}")

    def _warn(self, message: str) -> None:
        warnings.warn(f"the cache {message}", UserWarning, stacklevel=5)

    def _save(
        self,
        folder: Path,
        key: CacheKey,
        value: Any,
        codec: Codec | None,
        seconds: float,
        read: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        # What is there was left by processes that were killed: the lock is ours.
        for left in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(left, ignore_errors=True)
        temporary = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
        temporary.mkdir(parents=True)
        try:
            if codec == "pickle":
                content = _pickled(value, key)
                self._mask.check_bytes(content, f"what {key.name} returns")
                (temporary / _PICKLE).write_bytes(content)
            else:
                try:
                    content = dumps(
                        encode(value, name=key.name, sink=FileSink(temporary, guard=self._mask))
                    ).encode()
                except UnstorableError as error:
                    raise UnstorableError(
                        f"what {key.name} returns cannot be kept in the cache exactly: {error}; return plain values, "
                        f'register a codec, or say codec="pickle"'
                    ) from None
                self._mask.check_json(content.decode())
                (temporary / _VALUE).write_bytes(content)
            about = {
                "version": _VERSION,
                "name": key.name,
                "scope": list(key.scope),
                "parts": dict(key.parts),
                "seconds": seconds,
                "codec": codec,
                "crc": f"{zlib.crc32(content):08x}",  # that of files is part of their tag
                **({"inputs": read} if read else {}),
            }
            (temporary / _ABOUT).write_text(json.dumps(about, ensure_ascii=True, indent=1), encoding="utf-8")
            _discard(folder)
            os.rename(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _known(self, key: CacheKey) -> list[dict[str, str]]:
        """The parts of the latest entries of a name."""
        found: list[tuple[int, Path]] = []
        folder = self._folder(key).parent
        for about in folder.glob(f"*/{_ABOUT}") if folder.is_dir() else ():
            with contextlib.suppress(OSError):
                found.append((about.stat().st_mtime_ns, about))
        known = []
        for _, path in sorted(found, reverse=True)[:_COMPARED]:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                known.append(dict(json.loads(read_plain(path))["parts"]))
        return known


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    changes = [f"{name} is new" for name in now if name not in before]
    changes += [f"{name} is gone" for name in before if name not in now]
    for name in now:
        if name in before and before[name] != now[name]:
            is_hash = name.startswith(("code of ", "stage ")) or max(len(before[name]), len(now[name])) > 40
            changes.append(f"{name} has changed" if is_hash else f"{name} was {before[name]}, is {now[name]}")
    return changes


def _read(folder: Path, key: CacheKey, codec: Codec | None) -> tuple[Any, dict[str, Any]]:
    """Return a value, and what is told of it."""
    about = json.loads(read_plain(folder / _ABOUT))
    if not isinstance(about, dict) or about.get("version") != _VERSION:
        raise DamagedError(f"{folder / _ABOUT} is of another version")
    read = about.get("inputs", [])
    if not isinstance(read, list) or not all(isinstance(one, dict) for one in read):
        raise DamagedError(f"{folder / _ABOUT} does not tell what was read")
    if about.get("parts") != dict(key.parts):
        raise DamagedError(f"{folder / _ABOUT} is that of another key")
    pickled = about.get("codec") == "pickle"
    if pickled and codec != "pickle":  # a pickle runs code; only who asks for one gets one
        raise DamagedError(f"{folder} holds a pickle, which was not asked for")
    content = read_plain(folder / (_PICKLE if pickled else _VALUE), most=_LARGEST_VALUE)
    if f"{zlib.crc32(content):08x}" != about.get("crc"):
        raise DamagedError(f"{folder} does not have the value that was written")
    if pickled:
        import pickle

        try:
            return pickle.loads(content), about  # noqa: S301 - asked for by the author, and written by this archive
        except Exception as error:  # a class that changed raises anything
            raise DamagedError(f"the pickle cannot be read: {type(error).__name__}: {error}") from error
    return decode(loads(content.decode()), folder=folder), about


def _pickled(value: Any, key: CacheKey) -> bytes:
    import pickle

    try:
        return pickle.dumps(value)
    except Exception as error:  # what its class says of itself may raise anything
        raise UnstorableError(
            f"what {key.name} returns cannot be pickled: {type(error).__name__}: {error}; return something else"
        ) from None


def _discard(folder: Path) -> None:
    """Remove an entry in one step, as others see it."""
    gone = folder.with_name(f".{folder.name}.gone-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _folder_name(text: str) -> str:
    """A folder for a name: what it is made of where that is safe, and a hash where it is not."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in text)[:60].strip(".") or "_"
    return safe if safe == text else f"{safe}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def check_scope(scope: Sequence[str]) -> tuple[str, ...]:
    """Return the scope of a cached value. Raises `TypeError` for what is no tuple of texts."""
    if isinstance(scope, str) or not all(isinstance(part, str) and part for part in scope):
        raise TypeError(
            f"the scope of a cached value is a tuple of texts, such as ('model', 'v1'), but got {scope!r}"
        )
    return tuple(scope)
