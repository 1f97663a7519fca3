"""`experiment`: marks a function as an experiment and says over what it sweeps.

Every form returns the function itself, which stays callable, importable and testable; what was said is kept
on the function as an `ExperimentSpec`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, overload

from expedition.authoring.after_sweep import mark_after_sweep
from expedition.authoring.analysis import mark_analysis
from expedition.authoring.design import Design, from_parametrize
from expedition.authoring.extending import make_extended, set_base
from expedition.authoring.hooks import check_hook_name, mark_hook
from expedition.authoring.limits import check_retries, check_timeout
from expedition.authoring.names import check_namespace
from expedition.authoring.specs import INCLUDES, UNNAMED, Base, Include, mark
from expedition.authoring.stages import mark_stage
from expedition.authoring.testing import mark_testing
from expedition.errors import ExperimentError, near_matches

F = TypeVar("F", bound=Callable[..., Any])

_ARGUMENTS = ("name", "namespace", "tags", "timeout", "retries")


class ExperimentMarker:
    """The decorator ``@experiment`` and the decorators below it."""

    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = ...,
        namespace: str | None = ...,
        tags: Sequence[str] = ...,
        timeout: float | None = ...,
        retries: int | None = ...,
    ) -> Callable[[F], F]: ...
    def __call__(
        self,
        function: F | None = None,
        /,
        *,
        name: str | None = None,
        namespace: str | None = None,
        tags: Sequence[str] = (),
        timeout: float | None = None,
        retries: int | None = None,
        **unknown: object,
    ) -> F | Callable[[F], F]:
        """Mark a function as an experiment, optionally with a name, a namespace, tags and limits.

        `name` stands in tables instead of the function's name. `namespace` is the folder below the archive
        root, ``/`` making sub-folders. `tags` are recorded with every run. `timeout` is how many seconds one
        attempt of a run may take, set-up included; 0 for any. `retries` is how often a run that failed, or took
        too long, is tried again. What an experiment extends gives the limits that it does not give itself;
        ``--run-timeout`` and ``--run-retries`` go before both.

        Raises `ExperimentError` for a name or tags that are no texts, a namespace that would leave the archive,
        limits that are no numbers of at least 0, or an argument that is none of these.
        """
        for wrong in unknown:
            raise ExperimentError(
                f"@experiment takes no argument {wrong}{near_matches(wrong, _ARGUMENTS)}; it takes "
                f"{', '.join(_ARGUMENTS)}"
            )
        if function is not None:
            mark(function)
            return function
        if name is not None and not (isinstance(name, str) and name.strip() and name.isprintable()):
            raise ExperimentError(
                f"the name of an experiment must be a text of one line, but got name={name!r}"
            )
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            raise ExperimentError(f"experiment tags must be a list of texts, but got tags={tags!r}")
        if namespace is not None:
            check_namespace(namespace)
        seconds = None if timeout is None else check_timeout(timeout, "@experiment(timeout=…)")
        times = None if retries is None else check_retries(retries, "@experiment(retries=…)")

        def decorate(decorated: F) -> F:
            spec = mark(decorated)
            spec.name = name if name is not None else spec.name
            spec.namespace = namespace if namespace is not None else spec.namespace
            spec.tags = (*spec.tags, *tags)
            spec.timeout = seconds if seconds is not None else spec.timeout
            spec.retries = times if times is not None else spec.retries
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
            spec = mark(decorated)
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
            spec = mark(decorated)
            if spec.replicates is not None:
                raise ExperimentError(
                    f"{decorated.__name__}: experiment.replicate stands twice; keep one of them"
                )
            spec.replicates, spec.paired = n, paired
            return decorated

        return decorate

    def extend(
        self,
        base: str,
        *,
        name: str | None = None,
        namespace: str | None = None,
        tags: Sequence[str] = (),
        timeout: float | None = None,
        retries: int | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return an experiment that is another one with the variables, sweeps and hooks of this file over its own.

        ``train = experiment.extend("exp_base.py")`` in ``exp_child.py`` is collected as ``exp_child.py::train``.
        `base` is the path of an experiment file or config, relative to this file, with ``::exp_name`` behind it
        when the file has several. `params` gives values to parameters, arguments of the function among them;
        the other keywords are those of ``@experiment``. Sweeps and replicates are given by decorators::

            train = experiment.parametrize("lr", [0.1, 0.01])(experiment.extend("exp_base.py"))

        As a decorator it takes everything of the base but its function::

            @experiment.extend("exp_base.py")
            def train(e, lr: float = INHERIT): ...

        The base is looked up and loaded when the experiment is collected.
        """
        if not isinstance(base, str) or not base.partition("::")[0].strip():
            raise ExperimentError(f"experiment.extend takes the path of an experiment file, but got {base!r}")
        caller = sys._getframe(1)
        reference = Base(base, Path(caller.f_globals["__file__"]).resolve(), caller.f_lineno)
        settings = self(name=name, namespace=namespace, tags=tags, timeout=timeout, retries=retries)

        def extended(function: Any) -> Any:
            set_base(settings(function), reference, params or {})
            return function

        def call(function: FunctionType, *arguments: Any, **keywords: Any) -> Any:
            from expedition.authoring.calling import call_extended

            return call_extended(function, *arguments, **keywords)

        module = str(caller.f_globals["__name__"])
        return extended(settings(make_extended(UNNAMED, module, call=call, decorate=extended)))

    def include(self, *mixins: str) -> None:
        """Let the hooks, fixtures and variables of other files join the experiments of this one.

        Each of `mixins` is the path of a Python file, relative to this file. Its UPPERCASE variables are values
        for those that no file of an experiment assigns. Including a file twice is including it once.
        """
        caller = sys._getframe(1)
        if not mixins:
            raise ExperimentError("experiment.include takes the paths of mixins, such as 'mixins/timing.py'")
        for text in mixins:
            if not isinstance(text, str) or not text.strip():
                raise ExperimentError(f"experiment.include takes paths of Python files, but got {text!r}")
            include = Include(text, Path(caller.f_globals["__file__"]).resolve(), caller.f_lineno)
            caller.f_globals.setdefault(INCLUDES, []).append(include)

    def hook(self, name: str, *, replace: bool = True) -> Callable[[F], F]:
        """Fill the hook `name` of the experiments of this file, or of all below this conftest.

        The function gets the run first, then the keywords of ``e.apply_hook`` that it names, and fixtures. The
        nearest definition wins; with ``replace=False`` it is called after the others, and what it returns counts
        unless it is None.

        Raises `ExperimentError` for a name that is no identifier, and for what cannot be called so.
        """
        check_hook_name(name)
        return lambda decorated: mark_hook(decorated, name, replace=replace)

    @overload
    def stage(self, function: F, /) -> F: ...
    @overload
    def stage(
        self, /, *, scope: str = ..., version: str | int = ..., codec: str | None = ...
    ) -> Callable[[F], F]: ...
    def stage(
        self,
        function: F | None = None,
        /,
        *,
        scope: str = "session",
        version: str | int = "",
        codec: str | None = None,
    ) -> F | Callable[[F], F]:
        """Mark a function whose result several runs share: a fixture that is computed once and kept on the disk.

        It asks by name for parameters, and for other stages. It is computed again when its code or that of the
        functions and constants of the project that it names has changed, a parameter or stage that it asks for, or
        `version`. All processes and sessions with this archive share it. With ``scope="session"`` it is read once
        per process; arrays are then read-only. Results are kept exactly, by their type; with ``codec="pickle"`` as
        a pickle.
        """
        if function is not None:
            return mark_stage(function, scope=scope, version=version, codec=codec)
        return lambda decorated: mark_stage(decorated, scope=scope, version=version, codec=codec)

    @overload
    def testing(self, function: F, /) -> F: ...
    @overload
    def testing(self, /, **values: Any) -> Callable[[F], F]: ...
    def testing(self, function: F | None = None, /, **values: Any) -> F | Callable[[F], F]:
        """Say with which values experiments run in testing mode (``--testing``).

        On a function of an experiment file, mixin or base it means all experiments there: the function returns a
        dict, or assigns parameters of its one argument (``def small(e): e.EPOCHS = 1``). On an experiment, with
        keywords, it means that one. What extends an experiment goes before it; ``-P`` goes before both.
        """
        if function is not None:
            return mark_testing(function)
        if not values:
            raise ExperimentError("experiment.testing() needs values, such as @experiment.testing(EPOCHS=1)")

        def decorate(decorated: F) -> F:
            spec = mark(decorated)
            spec.testing = {**spec.testing, **values}
            return decorated

        return decorate

    def analysis(self, function: F, /) -> F:
        """Mark a function that looks at a run of this file's experiments when it has ended well.

        ``def plot(record)`` gets the `RunRecord` of the run, which is complete; it may write files into
        ``record.path``, and what it prints goes to the run's log. Those of what an experiment extends are called
        first, then those of mixins, then its own, in the order of the page. An error is reported and changes
        nothing about the run. ``analysis.py`` in the run folder calls them again.

        Raises `ExperimentError` for what is no plain function of a record.
        """
        return mark_analysis(function)

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
            return lambda decorated: mark_after_sweep(decorated, function)
        return mark_after_sweep(function)

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run the experiments of this file when it is run as a script; otherwise do nothing.

        ``python exp_ridge.py --alpha 0.1 -n 4`` is ``pytest --experiments exp_ridge.py -P alpha=0.1 -n 4``, and
        ends with the same exit status; ``--help`` lists the parameters. It belongs at the end of the file, for it
        does not return there: it raises `SystemExit`. `arguments` are those of the command line.
        """
        caller = sys._getframe(1).f_globals
        if caller.get("__name__") != "__main__" or "__file__" not in caller:
            return
        # The way back up to pytest, by name: an experiment file that pytest collects does not go it.
        run_script = importlib.import_module("expedition.cli.direct").run_script
        raise SystemExit(run_script(caller, sys.argv[1:] if arguments is None else arguments))

    def __repr__(self) -> str:
        return "<expedition.experiment>"


experiment = ExperimentMarker()
