"""``e.cache``: functions of a run whose results are kept from run to run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any, Protocol, TypeVar

from expedition.errors import UnstorableError
from expedition.recording.cache import Cache, CacheKey, Codec, check_scope
from expedition.recording.inputs import InputNotes
from expedition.recording.masking import MASKED
from expedition.values import canonical

F = TypeVar("F", bound=Callable[..., Any])


class ReadCode(Protocol):
    """What is known of a function and of those that it calls.

    Attributes
    ----------
    words : by which it may mean a parameter. closed_over : values, by a name for each. digests : by a name for each,
        the hashes of all functions.
    """

    @property
    def words(self) -> Collection[str]: ...
    @property
    def closed_over(self) -> Mapping[str, Any]: ...
    @property
    def digests(self) -> Mapping[str, str]: ...


CodeReader = Callable[[Callable[..., Any]], ReadCode]


class RunCache:
    """The cache as a run uses it.

    `params` are the parameters of the run, those in `secrets` no part of keys. `read` tells of the code of functions.
    `told` gets a line on each use, `stale` the reason for what is computed. `inputs` has what the run reads.
    """

    def __init__(
        self,
        cache: Cache,
        run: object,
        params: Mapping[str, Any],
        secrets: Collection[str],
        read: CodeReader | None,
        told: Callable[[str], None],
        stale: Callable[[str], None],
        inputs: InputNotes,
    ) -> None:
        self._cache = cache
        self._run = run
        self._params = params
        self._secrets = secrets
        self._read = read
        self._told = told
        self._stale = stale
        self._inputs = inputs

    @property
    def enabled(self) -> bool:
        """Whether anything is taken from the cache and put there."""
        return self._cache.enabled

    def cached(
        self,
        name: str,
        scope: Sequence[str] = (),
        *,
        version: str | int | None = None,
        codec: Codec | None = None,
    ) -> Callable[[F], F]:
        """Keep what a function returns, by name, scope and its arguments, on the disk of this archive.

        ::

            @e.cache.cached("embeddings", scope=("words", e.MODEL))
            def embed(words): ...

        It is computed once, however many runs and processes call it. Parameters that the function reads, itself or in
        functions that it calls, and what these close over, count as arguments. So do the inputs that it declares and
        the past runs that it reads, which are inputs of every run that takes its result. Its code does not: give it
        another `version` when it computes something else; that of functions among the arguments does. Results are kept
        exactly, by their type; with ``codec="pickle"`` as a pickle.

        The function raises `UnstorableError` (a `TypeError`) for arguments without an exact form.
        """
        _check_name(name)
        within = check_scope(scope)

        def decorate(function: F) -> F:
            signature = inspect.signature(function)

            @functools.wraps(function)
            def cached(*arguments: Any, **keywords: Any) -> Any:
                if not self._cache.enabled:
                    return function(*arguments, **keywords)
                bound = signature.bind(*arguments, **keywords)
                bound.apply_defaults()
                parts = self._parts(name, function, bound.arguments)
                if version is not None:
                    parts["version"] = str(version)
                return self._cache.get(
                    CacheKey(name, within, parts),
                    lambda: function(*arguments, **keywords),
                    codec=codec,
                    told=self._told,
                    stale=self._stale,
                    inputs=self._inputs,
                )

            return cached  # type: ignore[return-value]

        return decorate

    def save(self, name: str, value: Any, scope: Sequence[str] = (), *, codec: Codec | None = None) -> None:
        """Keep a value for later runs to `load`, in place of the one before; nothing where the cache is off.

        It is kept exactly, by its type; with ``codec="pickle"`` as a pickle. Raises `UnstorableError` (a
        `TypeError`) for a value that cannot be kept so.
        """
        self._cache.put(_saved(name, scope), value, codec=codec)

    def load(self, name: str, scope: Sequence[str] = (), *, codec: Codec | None = None) -> Any:
        """Return the value that a run has saved; one that was saved as a pickle needs ``codec="pickle"``.

        Raises `CacheEntryNotFoundError` (a `FileNotFoundError`) where there is none, or the cache is off.
        """
        return self._cache.find(_saved(name, scope), codec=codec)

    def _parts(self, name: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, str]:
        parts: dict[str, str] = {}
        values: dict[str, Any] = {}
        words: set[str] = set()
        if self._read is not None:
            code = self._read(function)
            words |= set(code.words)
            values |= {f"variable {place}": value for place, value in code.closed_over.items()}
            for argument, value in arguments.items():
                if isinstance(value, FunctionType | type):
                    code = self._read(value)
                    words |= set(code.words)
                    parts |= {f"argument {argument}: code of {of}": text for of, text in code.digests.items()}
                    values |= {f"argument {argument}: {of}": v for of, v in code.closed_over.items()}
        values |= {f"argument {argument}": value for argument, value in arguments.items()}
        for variable in sorted(words & self._params.keys()):
            values[f"parameter {variable}"] = self._params[variable]
            if variable in self._secrets:
                values[f"parameter {variable}"] = MASKED
        for place, value in values.items():
            if value is self._run or isinstance(value, ModuleType):
                continue
            if isinstance(value, FunctionType | type):
                parts[place] = value.__qualname__
                continue
            try:
                parts[place] = canonical(value)
            except UnstorableError as error:
                raise UnstorableError(
                    f"the cached function {name} depends on its {place}, a {type(value).__name__}, which has no exact "
                    f"form: {error}; give it plain values"
                ) from None
        return parts


def _saved(name: str, scope: Sequence[str]) -> CacheKey:
    """The key of a value that is saved as such, and not made by a function."""
    _check_name(name)
    return CacheKey(name, check_scope(scope), {"saved": ""})


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a cached value is a text, but got {name!r}")
