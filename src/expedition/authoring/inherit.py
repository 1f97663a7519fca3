"""`INHERIT`: a value that is what an experiment extends says it is, or made from that."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final

from expedition.errors import ExperimentError

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_FORMULA = re.compile(r"\s*(\*\*|//|[-+*/%])\s*(\S+)\s*\Z")
_LARGEST_EXPONENT = 1000
"""Of a config: ``** 1000000`` would keep a machine busy, and is no parameter."""


class Inherit:
    """Stands for the value that the extended experiment has, in a variable or as default of an argument.

    Bare it is that value; called with a function it is what the function makes of it::

        EPOCHS = INHERIT
        LR = INHERIT(lambda lr: lr / 10)
    """

    __slots__ = ("_function", "_text")

    def __init__(self, function: Callable[[Any], Any] | None = None, text: str = "") -> None:
        self._function = function
        self._text = text

    def __call__(self, function: Callable[[Any], Any], /) -> Any:
        """Return what stands for `function` of the inherited value. Raises `ExperimentError`."""
        if self._function is not None or not callable(function) or isinstance(function, Inherit):
            raise ExperimentError(
                f"INHERIT takes one function of the inherited value, but got {function!r}; "
                f"write INHERIT(lambda value: value / 10), or INHERIT alone for the value as it is"
            )
        return Inherit(function)

    def __repr__(self) -> str:
        return "INHERIT" if self._function is None else f"INHERIT({self._text or '…'})"

    def __reduce__(self) -> str:
        if self is not INHERIT:
            raise TypeError("INHERIT with a function cannot be pickled")
        return "INHERIT"

    def of(self, value: Any, *, name: str, experiment: str, is_secret: bool = False) -> Any:
        """Return what this makes of the inherited `value`. Raises `ExperimentError` when the function fails."""
        if self._function is None:
            return value
        try:
            return self._function(value)
        except Exception as error:
            failed = f"{experiment}: {self!r} of {name} failed on the inherited value"
            if is_secret:
                raise ExperimentError(f"{failed}, a secret: {type(error).__name__}") from None
            raise ExperimentError(f"{failed} {value!r}: {type(error).__name__}: {error}") from error


INHERIT: Final[Any] = Inherit()
"""The value that the extended experiment has; ``INHERIT(function)`` is what `function` makes of it."""


def from_formula(text: Any) -> Inherit:
    """Return what ``{inherit: TEXT}`` of a config means: nothing, or one operator and a number, as ``"* 0.1"``.

    Nothing is evaluated. Raises `ExperimentError` for anything else.
    """
    if text is None or text == "":
        return INHERIT  # type: ignore[no-any-return]
    match = _FORMULA.match(text) if isinstance(text, str) else None
    operand = _number(match[2]) if match else None
    if match is None or operand is None:
        raise ExperimentError(
            f"inherit takes one of {' '.join(_OPERATORS)} and a number, such as '* 0.1', or nothing, but got {text!r}"
        )
    if match[1] == "**" and abs(operand) > _LARGEST_EXPONENT:
        raise ExperimentError(f"inherit: the exponent of {text!r} is beyond {_LARGEST_EXPONENT}")
    function = _OPERATORS[match[1]]
    return Inherit(lambda value: function(_countable(value), operand), text.strip())


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text) if "_" not in text else None
        except ValueError:
            continue
    return None


def _countable(value: Any) -> Any:
    """A text times a number would be a text, and a list would be repeated: that is not what was meant."""
    if isinstance(value, bool) or not isinstance(value, int | float | complex):
        raise TypeError(f"a {type(value).__name__} is no number")
    return value
