"""Starts pytest-xdist's workers again for a further generation of runs.

A worker collects once, and a session has one set of workers. This is done with the session object that runs the
first generation, by the calls that pytest itself makes: so ``--maxfail``, the limit of restarts and ``--dist`` go
on to hold. Where an xdist is built otherwise, `can_respawn` says no.
"""

from __future__ import annotations

from typing import Any

import pytest

_CALLS = ("pytest_sessionstart", "pytest_sessionfinish", "pytest_runtestloop")
_STATE = ("shuttingdown", "terminal", "session_finished")


def can_respawn(config: pytest.Config) -> bool:
    """Whether the xdist of this session is built as `run_again` expects."""
    session = config.pluginmanager.get_plugin("dsession")
    return all(callable(getattr(session, name, None)) for name in _CALLS) and all(
        hasattr(session, name) for name in _STATE
    )


def run_again(config: pytest.Config, session: pytest.Session) -> None:
    """End the workers that are there, start as many new ones, and let them collect and run.

    Raises what the loop of xdist raises: `Interrupted` by ``-x``, `KeyboardInterrupt`.
    """
    distributed: Any = config.pluginmanager.get_plugin("dsession")
    distributed.pytest_sessionfinish()
    # That workers come up and have collected was shown once; from now on there is the live line.
    reporter = config.pluginmanager.get_plugin("terminaldistreporter")
    if reporter is not None:
        config.pluginmanager.unregister(reporter)
    distributed.terminal = None
    distributed.shuttingdown = False
    distributed.pytest_sessionstart(session)
    distributed.pytest_runtestloop()
