"""The hooks that plugins and conftest files may implement while experiments run.

They are made known to pytest with ``--experiments``, and otherwise as soon as a plugin or conftest file implements one,
so that its name is no unknown hook. Where Expedition may not be installed, mark the implementation with
``@pytest.hookimpl(optionalhook=True)``.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest


@pytest.hookspec(firstresult=True)
def pytest_experiment_serialize(obj: object) -> tuple[Any, ...] | None:
    """Take `obj` apart that is to be stored: return ``(codec, parts)`` or ``(codec, version, parts)``.

    `codec` is a name that `pytest_experiment_deserialize` gets again with the parts, which are any values that
    Expedition keeps. None leaves the object to other hooks. Numbers, text, lists, dicts and numpy arrays are not
    offered, nor what a codec of `expedition.register_codec` keeps.
    """


@pytest.hookspec(firstresult=True)
def pytest_experiment_deserialize(codec: str, version: int, value: Any) -> Any:
    """Return the object of parts `value` that `pytest_experiment_serialize` gave under the name `codec`.

    None leaves them to other hooks. Called when something is read in a session with ``--experiments``, and once
    when it is stored, for what does not come back is refused.
    """


def add_to(manager: pytest.PytestPluginManager) -> None:
    """Make the hooks known, once."""
    hook = getattr(manager.hook, pytest_experiment_serialize.__name__, None)
    if hook is None or not hook.has_spec():
        manager.add_hookspecs(sys.modules[__name__])
