"""Fixtures that failed, and are to be set up anew for the next run that asks for them."""

from __future__ import annotations

from typing import Any

import pytest

_FAILED = pytest.StashKey[dict[int, pytest.FixtureDef[Any]]]()
"""Where a session has the fixtures that failed, however a run asked for them, by their `id`."""


def note_failed(request: pytest.FixtureRequest, definition: pytest.FixtureDef[Any]) -> None:
    """Take note that a fixture could not be set up."""
    request.session.stash.setdefault(_FAILED, {})[id(definition)] = definition


def forget_failed(item: Any, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> None:
    """Let fixtures forget an error of these kinds: pytest would raise it in every later run.

    It has to happen before pytest takes the request of the item away.
    """
    failed = item.session.stash.get(_FAILED, {})
    for definition in list(failed.values()):
        result = definition.cached_result
        error = result[2][0] if result is not None and result[2] is not None else None
        if error is not None and not isinstance(error, kinds):
            continue
        if result is None or error is not None:
            # Without a result its set-up did not begin, and pytest has noted all the same how to tear it down.
            definition.finish(item._request)
        del failed[id(definition)]
