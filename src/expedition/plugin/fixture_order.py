"""Fixtures that are registered by hand, and their place among the others: the one reach into pytest's own tables.

pytest 9.2 orders fixtures by the node that they belong to, nearest first; before, they stand in one list per name,
farthest first. Neither has a public way to put one below those of the conftest at the root.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HOOK_FIXTURE = "_expedition_hook_"
"""Beginning of the names under which modules have the fixtures of their hooks."""

_TAKES_NODES = hasattr(pytest, "register_fixture")  # pytest 9.1


def register_all(namespace: dict[str, Any], node: pytest.Module, *, hooks: bool) -> None:
    """Register the fixtures of a module's globals for the items of `node`, nearer than those of conftests.

    Those of hooks are left out unless `hooks` is given.
    """
    holder = ModuleType("fixtures")
    holder.__dict__.update({n: v for n, v in namespace.items() if hooks or not n.startswith(HOOK_FIXTURE)})
    manager = node.session._fixturemanager
    if _TAKES_NODES:
        manager.parsefactories(holder=holder, node=node)
    else:
        manager.parsefactories(holder, node.nodeid)


def register_below_conftests(
    name: str, session: pytest.Session, make: Callable[[pytest.FixtureRequest, Any], Any], *, outermost: Any
) -> None:
    """Register a fixture for all items that every conftest overrides, and that overrides those of plugins.

    `make` gets the request, and the value of the fixture of that name of a plugin, None when there is none. That
    of the farthest plugin finds `outermost` when it asks for what it overrides.
    """
    before = list(_definitions(session, name))
    below = [definition for definition in before if _is_of_plugin(definition, session)]

    def fixture(**given: Any) -> Any:
        return make(given["request"], given.get(name))

    names = ["request", *([name] if below else [])]
    fixture.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in names]
    )

    def nothing() -> Any:
        return outermost

    _register(session, name, fixture)
    if below:
        _register(session, name, nothing)
    definitions = _definitions(session, name)
    own = {definition.func: definition for definition in definitions if definition not in before}
    others = [definition for definition in before if definition not in below]
    farthest = [own[nothing]] if below else []
    if _orders_by_node(session):
        definitions[:] = [*others, own[fixture], *below, *farthest]
    else:
        definitions[:] = [*farthest, *below, own[fixture], *others]


def fixture_names(session: pytest.Session) -> list[str]:
    """Return the names of all fixtures that pytest knows."""
    manager: Any = session._fixturemanager
    return list(manager._arg2node2fixturedefs if _orders_by_node(session) else manager._arg2fixturedefs)


def _orders_by_node(session: pytest.Session) -> bool:
    return hasattr(session._fixturemanager, "_arg2node2fixturedefs")  # pytest 9.2


def _definitions(session: pytest.Session, name: str) -> list[pytest.FixtureDef[Any]]:
    """The table of a name that holds the fixtures of plugins."""
    manager: Any = session._fixturemanager
    if _orders_by_node(session):
        found: list[pytest.FixtureDef[Any]] = manager._arg2node2fixturedefs.get(name, {}).get(session, [])
    else:
        found = manager._arg2fixturedefs.get(name, [])
    return found


def _register(session: pytest.Session, name: str, function: Callable[..., Any]) -> None:
    manager: Any = session._fixturemanager
    if _TAKES_NODES:
        pytest.register_fixture(name=name, func=function, node=session)
    else:
        manager._register_fixture(name=name, func=function, nodeid=None)


def _is_of_plugin(definition: Any, session: pytest.Session) -> bool:
    """Tell whether a fixture belongs to no file of the project."""
    if _TAKES_NODES:
        located = definition.node not in (None, session)
    else:
        located = definition.has_location
    code = getattr(inspect.unwrap(definition.func), "__globals__", {})
    return not located and Path(str(code.get("__file__", ""))).name != "conftest.py"
