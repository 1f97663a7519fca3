"""`experiment`: marks a function as an experiment and says over what it sweeps.

Every form returns the function itself, which stays callable, importable and testable; what was said is kept
on the function as an `ExperimentSpec`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar, overload

from expedition.authoring.design import Design, from_parametrize
from expedition.authoring.parameters import RUN_FIXTURES
from expedition.errors import ExperimentError, near_matches

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__expedition__"
_AFTER_SWEEP = "__expedition_after_sweep__"
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


@dataclass(frozen=True)
class AfterSweep:
    """What ``@experiment.after_sweep`` said of a function.

    `experiments` are the names of those that it belongs to, none stands for all of its file. `run_at` is the
    position of the argument that gets the run which records for the sweep, None when it takes none.
    """

    experiments: tuple[str, ...]
    run_at: int | None


def after_sweep_of(function: object) -> AfterSweep | None:
    """Return what ``@experiment.after_sweep`` said of a function, or None."""
    if not isinstance(function, FunctionType):
        return None
    found = function.__dict__.get(_AFTER_SWEEP)
    return found if isinstance(found, AfterSweep) else None


def find_after_sweep(module: Mapping[str, Any], *names: str) -> Callable[..., Any] | None:
    """Return the function of a module that is called after the sweep of an experiment known under `names`.

    `module` holds its globals. One that names the experiment goes before one that belongs to the whole file.
    Raises `ExperimentError` when two are equally near.
    """
    own: list[Callable[..., Any]] = []
    common: list[Callable[..., Any]] = []
    for function, about in _after_sweeps(module):
        if set(about.experiments) & set(names):
            own.append(function)
        elif not about.experiments:
            common.append(function)
    found = own or common
    if len(found) > 1:
        raise ExperimentError(
            f"{names[0]}: {found[0].__name__} and {found[1].__name__} both are to be called after the sweep; keep "
            f"one, or say which experiment each belongs to: @experiment.after_sweep({names[0]!r})"
        )
    return found[0] if found else None


def check_after_sweeps(module: Mapping[str, Any]) -> None:
    """Raise `ExperimentError` for a function of a module that names an experiment which is not there."""
    known = {
        name
        for value in module.values()
        if (spec := spec_of(value)) is not None and value.__module__ == module.get("__name__")
        for name in (value.__name__, spec.name)
        if name
    }
    for function, about in _after_sweeps(module):
        for name in about.experiments:
            if name not in known:
                raise ExperimentError(
                    f"{function.__name__}: experiment.after_sweep names {name!r}, which is no experiment of this "
                    f"file{near_matches(name, known)}; experiments: {', '.join(sorted(known)) or 'none'}"
                )


def _after_sweeps(module: Mapping[str, Any]) -> Iterator[tuple[FunctionType, AfterSweep]]:
    """Functions that a module defines itself; what it imports belongs to another file."""
    for name, value in module.items():
        about = after_sweep_of(value)
        if about is not None and value.__module__ == module.get("__name__") and value.__name__ == name:
            yield value, about


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

    @overload
    def after_sweep(self, function: F, /) -> F: ...
    @overload
    def after_sweep(self, experiment: str, /) -> Callable[[F], F]: ...
    def after_sweep(self, function: F | str, /) -> F | Callable[[F], F]:
        """Mark a function of an experiment file that is called when all runs of a sweep have ended.

        ``def finish(traj)`` gets the open `Trajectory`. An argument named ``experiment`` or ``e``, wherever it
        stands, gets a `Run` that records for the sweep as a whole. A design, or a list of points, that the
        function returns expands the sweep: the new runs run, and the function is called again, until it returns
        None. It belongs to every experiment of its file; ``@experiment.after_sweep("exp_name")`` belongs to
        that one.

        Raises `ExperimentError` for what is no plain function of a trajectory, and perhaps of a run.
        """
        if isinstance(function, str):
            if not function:
                raise ExperimentError("experiment.after_sweep needs the name of an experiment, but got ''")
            return lambda decorated: _mark_after_sweep(decorated, function)
        return _mark_after_sweep(function)

    def __repr__(self) -> str:
        return "<expedition.experiment>"


def check_namespace(namespace: str) -> None:
    """Raise `ExperimentError` unless `namespace` is a plain relative path of folders."""
    if not isinstance(namespace, str) or not all(_FOLDER.match(part) for part in namespace.split("/")):
        raise ExperimentError(
            f"a namespace must be folder names joined by '/', none of them beginning with a dot, but got {namespace!r}"
        )


def _check_plain(function: object, mark: str, what: str) -> None:
    if not isinstance(function, FunctionType):
        kind = type(function).__name__
        raise ExperimentError(f"{mark} marks plain functions, but got a {kind}: {function!r}")
    unlike = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(function) for is_kind in unlike):
        raise ExperimentError(
            f"{function.__name__}: {what} must be a plain function, not async and without yield"
        )


def _mark_after_sweep(function: F, *names: str) -> F:
    _check_plain(function, "@experiment.after_sweep", "a function for after_sweep")
    label = getattr(function, "__name__", repr(function))
    if spec_of(function) is not None:
        raise ExperimentError(
            f"{label} is an experiment, and cannot be what is called after its sweep; write another function"
        )
    required = [
        argument
        for argument in inspect.signature(function).parameters.values()
        if argument.default is argument.empty and argument.kind is not argument.VAR_KEYWORD
    ]
    runs = [position for position, argument in enumerate(required) if argument.name in RUN_FIXTURES]
    by_position = all(a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD) for a in required)
    if not by_position or len(runs) > 1 or len(required) - len(runs) != 1:
        raise ExperimentError(
            f"{label}: a function for after_sweep takes the trajectory, and perhaps the run of the summary, by the "
            f"name experiment or e: def {label}(traj) or def {label}(traj, e)"
        )
    earlier = after_sweep_of(function)
    known = earlier.experiments if earlier is not None else ()
    setattr(function, _AFTER_SWEEP, AfterSweep((*names, *known), runs[0] if runs else None))
    return function


def _mark(function: Callable[..., Any]) -> ExperimentSpec:
    _check_plain(function, "@experiment", "an experiment")
    if after_sweep_of(function) is not None:
        raise ExperimentError(
            f"{function.__name__} is called after a sweep, and cannot be an experiment; write another function"
        )
    spec = spec_of(function)
    if spec is None:
        spec = ExperimentSpec()
        setattr(function, _ATTRIBUTE, spec)
    return spec


experiment = ExperimentMarker()
