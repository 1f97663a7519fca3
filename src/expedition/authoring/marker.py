"""`experiment`: marks a function as an experiment and says over what it sweeps.

Every form returns the function itself, which stays callable, importable and testable; what was said is kept
on the function as an `ExperimentSpec`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar, overload

from expedition.authoring.design import Design, from_parametrize
from expedition.errors import ExperimentError

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__expedition__"
_FOLDER = re.compile(r"[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]*\Z")


@dataclass
class ExperimentSpec:
    """What the decorators of one experiment said.

    `designs` are in the order of the decorators on the page, the outermost loop first.
    """

    name: str | None = None
    namespace: str | None = None
    tags: tuple[str, ...] = ()
    designs: tuple[Design, ...] = ()
    replicates: int = 1
    paired: bool = False

    def design(self) -> Design | None:
        """The product of all designs, or None when nothing is swept."""
        if not self.designs:
            return None
        product = self.designs[0]
        for design in self.designs[1:]:
            product = product * design
        return product


def spec_of(function: object) -> ExperimentSpec | None:
    """Return the spec of a marked function, or None."""
    if not isinstance(function, FunctionType):
        return None
    spec = function.__dict__.get(_ATTRIBUTE)
    return spec if isinstance(spec, ExperimentSpec) else None


class ExperimentMarker:
    """The decorator ``@experiment`` and the decorators below it."""

    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(
        self, /, *, name: str | None = ..., namespace: str | None = ..., tags: Sequence[str] = ...
    ) -> Callable[[F], F]: ...
    def __call__(
        self,
        function: F | None = None,
        /,
        *,
        name: str | None = None,
        namespace: str | None = None,
        tags: Sequence[str] = (),
    ) -> F | Callable[[F], F]:
        """Mark a function as an experiment, optionally with a name, a namespace and tags.

        `name` stands in tables instead of the function's name. `namespace` is the folder below the archive
        root, ``/`` making sub-folders. `tags` are recorded with every run.

        Raises `ExperimentError` for a name or tags that are no texts, or a namespace that would leave the archive.
        """
        if function is not None:
            _mark(function)
            return function
        if name is not None and not (isinstance(name, str) and name.strip() and name.isprintable()):
            raise ExperimentError(
                f"the name of an experiment must be a text of one line, but got name={name!r}"
            )
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            raise ExperimentError(f"experiment tags must be a list of texts, but got tags={tags!r}")
        if namespace is not None:
            check_namespace(namespace)

        def decorate(decorated: F) -> F:
            spec = _mark(decorated)
            spec.name = name if name is not None else spec.name
            spec.namespace = namespace if namespace is not None else spec.namespace
            spec.tags = (*spec.tags, *tags)
            return decorated

        return decorate

    def parametrize(self, names: str | Sequence[str], values: Iterable[Any]) -> Callable[[F], F]:
        """Sweep one parameter over `values`, or several together over tuples.

        ``parametrize("alpha", [0.1, 1])`` is an axis of its own, ``parametrize("a,b", [(1, 2), (3, 4)])`` goes
        through both in step. Stacked decorators multiply, the top one being the outermost loop.
        """
        return self.sweep(from_parametrize(names, values))

    def sweep(self, design: Design) -> Callable[[F], F]:
        """Sweep over a design made with `expedition.sweeps`."""
        if not isinstance(design, Design):
            raise ExperimentError(
                f"experiment.sweep takes a design such as expedition.sweeps.grid(alpha=[0.1, 1]), "
                f"but got a {type(design).__name__}"
            )

        def decorate(decorated: F) -> F:
            spec = _mark(decorated)
            spec.designs = (design, *spec.designs)
            return decorated

        return decorate

    def replicate(self, n: int, *, paired: bool = False) -> Callable[[F], F]:
        """Repeat every point `n` times, each time with a seed of its own.

        With `paired` the seed depends on the replicate alone, so that points can be compared pair by pair.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ExperimentError(f"experiment.replicate takes a number of at least 1, but got n={n!r}")

        def decorate(decorated: F) -> F:
            spec = _mark(decorated)
            if spec.replicates != 1:
                raise ExperimentError(
                    f"{decorated.__name__}: experiment.replicate stands twice; keep one of them"
                )
            spec.replicates, spec.paired = n, paired
            return decorated

        return decorate

    def __repr__(self) -> str:
        return "<expedition.experiment>"


def check_namespace(namespace: str) -> None:
    """Raise `ExperimentError` unless `namespace` is a plain relative path of folders."""
    if not isinstance(namespace, str) or not all(_FOLDER.match(part) for part in namespace.split("/")):
        raise ExperimentError(
            f"a namespace must be folder names joined by '/', none of them beginning with a dot, but got {namespace!r}"
        )


def _mark(function: Callable[..., Any]) -> ExperimentSpec:
    if not isinstance(function, FunctionType):
        what = type(function).__name__
        raise ExperimentError(f"@experiment marks plain functions, but got a {what}: {function!r}")
    unlike = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(function) for is_kind in unlike):
        raise ExperimentError(
            f"{function.__name__}: an experiment must be a plain function, not async and without yield"
        )
    spec = spec_of(function)
    if spec is None:
        spec = ExperimentSpec()
        setattr(function, _ATTRIBUTE, spec)
    return spec


experiment = ExperimentMarker()
