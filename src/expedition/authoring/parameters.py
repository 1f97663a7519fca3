"""Parameters: their discovery in a function and its module, and the typing of the values given to them."""

from __future__ import annotations

import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from expedition.authoring.inherit import Inherit
from expedition.authoring.secrets import is_secret
from expedition.authoring.text import is_quoted, load_yaml
from expedition.authoring.variables import assigned_variables
from expedition.errors import ExperimentError

RUN_FIXTURES = ("experiment", "e")


class _Missing:
    def __repr__(self) -> str:
        return "(no default)"


MISSING: Any = _Missing()
_EXACT: dict[object, tuple[type, ...]] = {
    int: (int,),
    float: (float,),
    str: (str,),
    bool: (bool,),
}


@dataclass(frozen=True)
class Parameter:
    """One named, typed input of an experiment.

    Attributes
    ----------
    kind : ``"argument"`` of the function or ``"variable"`` of its module.
    annotation : the type that values must have, `MISSING` when none is given.
    default : the value when nothing else is said, `MISSING` for an argument that the sweep must give.
    """

    name: str
    kind: str
    annotation: Any = MISSING
    default: Any = MISSING
    description: str = ""
    _adapters: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be recorded."""
        return is_secret(self.annotation)

    @cached_property
    def type_name(self) -> str:
        """The annotation as people write it, or the type of the default."""
        if self.annotation is MISSING:
            return "" if self.default is MISSING else type(self.default).__name__
        return name_of_type(self.annotation)

    def check(self, value: Any, *, origin: str, experiment: str) -> Any:
        """Return `value` as a value of this parameter, an int as float where a float is wanted.

        Numpy scalars become the builtin of the annotation when that loses nothing. Raises `ExperimentError`
        naming experiment, parameter, value and expected type.
        """
        if self._untyped:
            return value
        exact = _EXACT.get(self.annotation)
        if exact is not None and type(value) in exact:
            return value
        if self.annotation is float and type(value) is int and _is_exact_float(value):
            return float(value)
        item = _numpy_item(value)
        if item is not None and exact is not None and type(item) in exact:
            return item
        if exact is not None:
            raise self._refusal(value, origin, experiment)
        from pydantic import ValidationError

        try:
            return self._adapter.validate_python(value, strict=True)
        except ValidationError as error:
            if item is not None:
                try:
                    return self._adapter.validate_python(item, strict=True)
                except ValidationError:
                    pass
            raise self._refusal(value, origin, experiment, error) from None

    def read(self, text: str, *, origin: str, experiment: str) -> Any:
        """Return the value that the option text `text` means for this parameter; nothing is evaluated.

        The text is YAML 1.2. Where the annotation accepts a `str` and the text is not quoted, it stays as it
        is unless another member of the union fits. Raises `ExperimentError`.
        """
        if self.annotation is str and not is_quoted(text):
            return text
        try:
            parsed = load_yaml(text, source=origin)
        except ExperimentError:
            if self._untyped or (value := self._validate_text(text)) is MISSING:
                raise
            return value
        return self.convert(
            parsed, text=None if is_quoted(text) else text, origin=origin, experiment=experiment
        )

    def convert(self, parsed: Any, *, text: str | None = None, origin: str, experiment: str) -> Any:
        """Type a value that came from YAML or JSON text; `text` is the unquoted original, if one is known."""
        if self._untyped:
            return parsed
        if (
            text is not None
            and isinstance(parsed, str)
            and (value := self._validate_text(text)) is not MISSING
        ):
            return value
        from pydantic import ValidationError

        try:
            document = json.dumps(parsed)
        except (TypeError, ValueError):
            return self.check(parsed, origin=origin, experiment=experiment)
        try:
            value = self._adapter.validate_json(document, strict=True)
            if type(value) is float and math.isinf(value) and type(parsed) is int:
                raise self._refusal(parsed, origin, experiment)  # too large for a float
            return value
        except ValidationError as error:
            if text is not None and (value := self._validate_text(text)) is not MISSING:
                return value
            raise self._refusal(parsed, origin, experiment, error) from None

    def take(self, value: Any, *, origin: str, experiment: str) -> Any:
        """Return a value that a program gives: as it is where its type fits, else typed like that of a file."""
        try:
            return self.check(value, origin=origin, experiment=experiment)
        except ExperimentError as refusal:
            try:
                return self.convert(value, origin=origin, experiment=experiment)
            except ExperimentError:
                raise refusal from None

    @property
    def _adapter(self) -> Any:
        if 0 not in self._adapters:
            from pydantic import ConfigDict, PydanticUserError, TypeAdapter

            try:
                self._adapters[0] = TypeAdapter(
                    self.annotation,
                    config=ConfigDict(arbitrary_types_allowed=True, ser_json_inf_nan="constants"),
                )
            except PydanticUserError:  # models and dataclasses bring their own config
                self._adapters[0] = TypeAdapter(self.annotation)
        return self._adapters[0]

    @property
    def _untyped(self) -> bool:
        return self.annotation is MISSING or self.annotation is Any

    def _validate_text(self, text: str) -> Any:
        """`text` as this type has it, `MISSING` where the type takes no text."""
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(json.dumps(text), strict=True)
        except ValidationError:
            return MISSING

    def _refusal(
        self, value: Any, origin: str, experiment: str, error: Exception | None = None
    ) -> ExperimentError:
        detail = ""
        errors = getattr(error, "errors", None)
        if callable(errors):
            first = errors(include_url=False)[0]
            place = "".join(f"[{part!r}]" for part in first.get("loc", ()) if not isinstance(part, str))
            detail = f" ({first['msg']}{f' at {place}' if place else ''})"
        shown = "a secret" if self.is_secret else repr(value)
        return ExperimentError(
            f"{experiment}: parameter {self.name} must be {self.type_name}, "
            f"but got {shown} ({type(value).__name__}) from {origin}{'' if self.is_secret else detail}"
        )


def arguments_of(
    function: Callable[..., Any], given: Collection[str], *, experiment: str
) -> tuple[dict[str, Parameter], tuple[str, ...]]:
    """Return the parameters among the arguments of `function`, and the names of those that pytest has to provide.

    Arguments with a default are parameters, and so are those in `given`, whose values come from elsewhere.
    Raises `ExperimentError` for ``*args``, and for a default that cannot be recorded.
    """
    from expedition.values import is_storable

    hints = _hints(function)
    found: dict[str, Parameter] = {}
    fixtures: list[str] = []
    for name, argument in inspect.signature(function).parameters.items():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            raise ExperimentError(
                f"{experiment}: an experiment names its parameters, *{name} cannot be recorded; "
                f"write them out as arguments with defaults"
            )
        if argument.kind is argument.POSITIONAL_ONLY:
            raise ExperimentError(
                f"{experiment}: {name} must not be positional-only, for arguments are given by name; remove the /"
            )
        default = MISSING if argument.default is argument.empty else argument.default
        if name in RUN_FIXTURES or (default is MISSING and name not in given):
            fixtures.append(name)
            continue
        if default is not MISSING and not isinstance(default, Inherit) and not is_storable(default):
            raise ExperimentError(
                f"{experiment}: the default of parameter {name} is a {type(default).__name__}, which cannot be "
                f"recorded exactly; use a plain value, or make it a fixture"
            )
        found[name] = Parameter(name, "argument", hints.get(name, MISSING), default)
    return found, tuple(fixtures)


def variables_of(
    namespace: Mapping[str, Any], source: str, swept: Collection[str]
) -> tuple[dict[str, Parameter], dict[str, str]]:
    """Return the UPPERCASE variables that `source` assigns as parameters, and the types of those that are none.

    `namespace` has the globals of the module. A variable whose value cannot be recorded is a parameter only
    when it is `swept`.
    """
    from expedition.values import is_storable

    found: dict[str, Parameter] = {}
    opaque: dict[str, str] = {}
    hints = _hints_of_module(namespace)
    for name, variable in assigned_variables(source).items():
        if name not in namespace:
            continue
        value = namespace[name]
        annotation = hints.get(name, MISSING)
        if annotation is typing.Final or typing.get_origin(annotation) is typing.Final:
            annotation = (typing.get_args(annotation) or (MISSING,))[0]
        if isinstance(value, Inherit) or is_storable(value):
            found[name] = Parameter(name, "variable", annotation, value, variable.description)
        elif name in swept:
            found[name] = Parameter(name, "variable", annotation, MISSING, variable.description)
        elif _holds_inherit(value):
            raise ExperimentError(
                f"{name}: INHERIT stands for a whole value, and cannot stand inside of a {type(value).__name__}; "
                f"write {name} = INHERIT(lambda value: …), which makes the {type(value).__name__} of the inherited one"
            )
        else:
            opaque[name] = type(value).__name__
    return found, opaque


def _holds_inherit(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, Inherit) or (
        isinstance(value, list | tuple) and any(_holds_inherit(member) for member in value)
    )


def secret_names(parameters: Mapping[str, Parameter]) -> frozenset[str]:
    """Return the names of the parameters whose values must not be recorded."""
    return frozenset(name for name, parameter in parameters.items() if parameter.is_secret)


def secret_values(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> list[Any]:
    """Return the values of secrets, those that others override among them; `values` has those of the parameters."""
    return [
        value
        for name in secret_names(parameters)
        for value in (values.get(name), parameters[name].default)
        if value is not None and value is not MISSING
    ]


def name_of_type(annotation: Any) -> str:
    """Return an annotation as people write it: ``int | None``, ``list[float]``."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return " | ".join(name_of_type(member) for member in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        inner = typing.get_args(annotation)[0]
        if is_secret(annotation):
            return "Secret" if isinstance(inner, typing.TypeVar) else f"Secret[{name_of_type(inner)}]"
        return name_of_type(inner)
    if annotation is types.NoneType:
        return "None"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def describe_parameters(
    parameters: Mapping[str, Parameter], origins: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return by name what a record says of a parameter beside its value: type, description, origin."""
    texts = {
        name: {"type": p.type_name, "description": p.description, "origin": origins.get(name, "")}
        for name, p in parameters.items()
    }
    return {name: {key: text for key, text in about.items() if text} for name, about in texts.items()}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        # One name that only a type checker knows must not cost the others their types.
        return {n: a for n, a in getattr(function, "__annotations__", {}).items() if not isinstance(a, str)}


def _hints_of_module(namespace: Mapping[str, Any]) -> dict[str, Any]:
    holder = type("_Module", (), {"__annotations__": dict(namespace.get("__annotations__", {}))})
    try:
        return typing.get_type_hints(holder, globalns=dict(namespace), include_extras=True)
    except Exception:
        return {n: a for n, a in namespace.get("__annotations__", {}).items() if not isinstance(a, str)}


def _is_exact_float(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _numpy_item(value: Any) -> Any:
    """The builtin equal to a numpy scalar, or None for any other value."""
    if type(value).__module__ != "numpy" or not hasattr(value, "dtype") or getattr(value, "ndim", 1) != 0:
        return None
    item = value.item()
    return item if item == value or item != item else None
