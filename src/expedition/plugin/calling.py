"""Calls the functions of runs: those of experiments between their hooks, and those that pytest does not call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from expedition.authoring.parameters import Parameter
from expedition.plugin.ending import Ending
from expedition.plugin.forks import ForksEnd
from expedition.plugin.hooks import AppliedHooks
from expedition.plugin.signals import Signals
from expedition.plugin.surroundings import Surroundings
from expedition.recording import Run, outcomes
from expedition.recording.output import Output
from expedition.recording.process_state import ProcessState


def call_between_hooks(
    body: Callable[..., Any],
    arguments: dict[str, Any],
    run: Run,
    parameters: Mapping[str, Parameter],
    hooks: AppliedHooks,
    *,
    name: str,
    testing: bool,
) -> None:
    """Call the function of an experiment between its standard hooks; `arguments` are those that are no parameters.

    Fails the run when the function, which is called `name`, returns anything.
    """
    for argument, parameter in parameters.items():
        if parameter.kind == "argument":
            arguments[argument] = run.params[argument]
    after = hooks.find("after_run")
    before = hooks.find("before_run")
    on_timeout = hooks.find("on_timeout")
    before_testing = hooks.find("before_testing") if testing else None
    try:
        for hook in (before_testing, before):
            if hook is not None:
                hook(run)
        result = body(**arguments)
    except outcomes.RunTimeout:
        if on_timeout is not None:
            on_timeout(run)
        raise
    finally:
        if after is not None:
            after(run)
    if result is not None:
        pytest.fail(
            f"{name} returned a {type(result).__name__}, which nothing records; store it with "
            f"experiment['name'] = …",
            pytrace=False,
        )


@contextlib.contextmanager
def recorded(
    run: Run,
    output: Output,
    surroundings: Surroundings,
    parameters: Mapping[str, Parameter],
    *,
    entry: CodeType,
    signals: Signals,
    is_of_project: Callable[[Path | None], bool],
) -> Iterator[Ending]:
    """Record a block that is not run by pytest: start the run, and end its record however the block ends.

    `is_of_project` tells files of the project from those of libraries.

    The block may skip or prune the run, or fail as it was expected to; everything else that it raises goes on
    when the record is complete.
    """
    ending, state = Ending(), ProcessState(is_of_project)
    try:
        with signals:
            state.remember()
            surroundings.set_up(run, parameters)
            run.start()
            output.redirect()
        with ForksEnd():
            yield ending
    except BaseException as error:
        ending.take(error)
        if not ending.is_by_choice:
            raise
    finally:
        with signals:
            output.release()
            state.put_back()
            surroundings.put_back()
            ending.record(run, entry)
