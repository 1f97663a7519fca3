"""Fixtures that failed, and are to be set up anew for the next run that asks for them."""

from __future__ import annotations

from typing import Any


def forget_failed(item: Any, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> None:
    """Let the fixtures of an item forget an error of these kinds: pytest would raise it in every later run.

    It has to happen before pytest takes the item's request away.
    """
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        for definition in definitions:
            result = definition.cached_result
            if result is not None and result[2] is not None and isinstance(result[2][0], kinds):
                definition.finish(item._request)
