"""What is only read: nobody assigns to a trajectory, its groups and its runs by mistake."""

from __future__ import annotations

from typing import Any

from expedition.errors import ReadOnlyError


class ReadOnly:
    """Refuses attributes from outside, which would stay in memory and be taken for values of the experiment."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise ReadOnlyError(_refusal(name))
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise ReadOnlyError(_refusal(name))


def _refusal(name: str) -> str:
    return (
        f"{name!r} cannot be set: a trajectory is only read. Runs store results (e[{name!r}] = …); points are added "
        "with expand(), comments and units with annotate(), second names with link()"
    )
