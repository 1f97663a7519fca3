"""Secret parameters: values that experiments get, and that nothing records."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, get_args, get_origin

T = TypeVar("T")


class SecretMark:
    """Says of an annotation that its values are secret."""

    def __repr__(self) -> str:
        return "Secret"


Secret = Annotated[T, SecretMark()]
"""Annotation of a secret parameter: ``API_KEY: Secret[str] = os.environ["API_KEY"]``.

The experiment gets the value as it is. It is no part of the run key, and stands as ``***`` in every file and on
the terminal.
"""


def is_secret(annotation: Any) -> bool:
    """Tell whether an annotation is that of a secret."""
    return get_origin(annotation) is Annotated and any(
        isinstance(m, SecretMark) for m in get_args(annotation)[1:]
    )
