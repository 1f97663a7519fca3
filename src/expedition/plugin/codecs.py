"""Values that the hooks `pytest_experiment_serialize` and `pytest_experiment_deserialize` keep."""

from __future__ import annotations

from typing import Any

import pytest

from expedition.errors import CodecError
from expedition.values.codecs import add_source, is_name, is_version, remove_source


class HookCodecs:
    """Asks the hooks of a session for what no registered codec keeps; they rank behind those."""

    def __init__(self, config: pytest.Config) -> None:
        self._hook = config.hook

    def install(self) -> None:
        """Begin to ask."""
        add_source(self)

    def uninstall(self) -> None:
        """Ask no more."""
        remove_source(self)

    def serialize(self, value: Any) -> tuple[str, int, Any] | None:
        """Return codec, version and parts of `value` when a hook takes it apart.

        Raises `CodecError` when the hook returns anything else.
        """
        found = self._hook.pytest_experiment_serialize(obj=value)
        if found is None:
            return None
        match found:
            case (str(codec), parts) if is_name(codec):
                return codec, 1, parts
            case (str(codec), version, parts) if is_name(codec) and is_version(version):
                return codec, version, parts
        raise CodecError(
            "pytest_experiment_serialize must return (codec, parts) or (codec, version, parts) or None, with a name of "
            f"letters, digits and _ . : - and a whole number from 1 on, but it returned {_short(found)}"
        )

    def deserialize(self, codec: str, version: int, parts: Any) -> Any:
        """Return the value that a hook puts together, None when none does."""
        return self._hook.pytest_experiment_deserialize(codec=codec, version=version, value=parts)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"
