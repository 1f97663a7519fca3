"""What a run at rest may have changed: operations, applied to the parts of a record.

They know no files: `expedition.archive.edits` reads and writes these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from expedition.archive.rows import stored_name
from expedition.errors import ExperimentError, near_matches
from expedition.values import dumps, encode

ORIGIN = "edit"
"""The origin of a parameter whose value was set."""


class LackingError(Exception):
    """A run does not have what an operation names, or cannot take it; the message says what."""


@dataclass
class Editable:
    """The parts of a record that operations change.

    Attributes
    ----------
    parameters : as in the meta file. data : tagged JSON by slash path. annotations : as in the meta file.
    annotated : names of parameters whose type is that of an annotation, which all values must have.
    """

    experiment: str
    parameters: dict[str, dict[str, Any]]
    data: dict[str, Any]
    tags: list[str]
    notes: list[str]
    annotations: dict[str, dict[str, str]] = field(default_factory=dict)
    annotated: Collection[str] = ()


@dataclass(frozen=True)
class Change:
    """What an operation did to a run: tagged values by path (``params/x``, ``data/a/b``, ``tags``, …).

    A path that is on one side only was made, or taken away.
    """

    operation: str
    before: dict[str, Any]
    after: dict[str, Any]

    def __str__(self) -> str:
        if self.operation.split(None, 1)[0] == "rename":
            names = zip(self.before, self.after, strict=True)  # a rename takes no value away
            # Annotations go with what they are about.
            named = (n for n in names if not n[0].startswith("annotations/"))
            return ", ".join(f"{_shown_path(old)} → {_shown_path(new)}" for old, new in named)
        paths = list(dict.fromkeys([*self.before, *self.after]))
        return ", ".join(f"{_shown_path(path)}: {self._side(path)}" for path in paths)

    @property
    def retyped(self) -> str:
        """What to say where a stored value becomes one of another type, such as ``was float, becomes str``."""
        if self.operation.split(None, 1)[0] != "set":
            return ""
        for path in self.before:
            was, becomes = _kind(self.before[path]), _kind(self.after.get(path))
            if path.startswith("data/") and was != becomes:
                return f"was {was}, becomes {becomes}"
        return ""

    def _side(self, path: str) -> str:
        if path in ("tags", "notes"):
            lost = [text for text in self.before[path] if text not in self.after[path]]
            new = self.after[path][len(self.before[path]) :] if path == "notes" else self.after[path]
            new = [text for text in new if path == "notes" or text not in self.before[path]]
            return " ".join([*(f"-{text!r}" for text in lost), *(f"+{text!r}" for text in new)])
        before = _shown(path, self.before[path]) if path in self.before else "(nothing)"
        return f"{before} → {_shown(path, self.after[path]) if path in self.after else '(nothing)'}"


@dataclass(frozen=True)
class Operation:
    """One operation, as `parse_operation` made it of a text.

    Attributes
    ----------
    branch, name : what it concerns: ``params`` and a parameter, ``data`` and a slash path, else ``tags`` or ``notes``
        and "".
    argument : the text behind the ``=``, for ``rename`` of a stored value a slash path; or the tag or note.
    position : of the name in the text, from 1.
    is_dotted : whether dots alone part the name, so that a value with a dot in its own name may be meant.
    """

    text: str
    verb: str
    branch: str
    name: str = ""
    argument: str = ""
    position: int = 1
    is_dotted: bool = False

    @property
    def full_name(self) -> str:
        """The name with its branch, as the select language has it."""
        return stored_name(self.name) if self.branch == "data" else f"{self.branch}.{self.name}"

    @property
    def needs_name(self) -> bool:
        """Whether at least one run must have the name already, or it is a slip."""
        return bool(self.name) and not (self.verb == "set" and self.branch == "data")

    def has_name(self, run: Editable) -> bool:
        """Tell whether a run has what the operation names."""
        return self.name in run.parameters if self.branch == "params" else bool(self._leaves(run))

    def apply(self, run: Editable) -> Change | None:
        """Change a run; return what changed, None when nothing did.

        Raises `LackingError` for a run that it cannot be done to, `ExperimentError` for a value that no run of
        its experiment may have. Nothing is changed then.
        """
        if self.branch == "tags":
            return self._change_list(run.tags, self.argument in run.tags)
        if self.branch == "notes":
            return self._change_list(run.notes, False)
        if self.branch == "params":
            return self._change_parameter(run)
        return self._change_data(run)

    def refuse_unknown(self, known: Iterable[str]) -> NoReturn:
        """Raise the error for a name that no run has; `known` are those that runs have."""
        near = near_matches(self.full_name, sorted(known))
        raise self._error(f"no run has {self.full_name}{near}")

    def _error(self, problem: str) -> ExperimentError:
        return refusal(self.text, self.position, problem)

    def _change_list(self, texts: list[str], is_there: bool) -> Change | None:
        if is_there != (self.verb == "untag"):
            return None
        before = list(texts)
        if self.verb == "untag":
            texts.remove(self.argument)
        else:
            texts.append(self.argument)
        return Change(self.text, {self.branch: before}, {self.branch: list(texts)})

    def _change_parameter(self, run: Editable) -> Change | None:
        if self.name not in run.parameters:
            raise LackingError(f"it has no parameter {self.name}{near_matches(self.name, run.parameters)}")
        about = run.parameters[self.name]
        path = f"params/{self.name}"
        if self.verb == "drop":
            del run.parameters[self.name]
            return Change(self.text, {path: about}, {})
        if self.verb == "rename":
            if self.argument == self.name:
                return None
            if self.argument in run.parameters:
                raise LackingError(f"it has a parameter {self.argument} already")
            renamed = {self.argument if name == self.name else name: v for name, v in run.parameters.items()}
            run.parameters.clear()
            run.parameters.update(renamed)
            noted = _rename_notes(run, {self.name: self.argument})
            after = {f"params/{self.argument}": about}
            return Change(self.text, {path: about} | noted[0], after | noted[1])
        tagged = encode(self._parameter_value(run, about), name=self.name)
        if dumps(tagged) == dumps(about["value"]):
            return None
        changed = {**about, "value": tagged, "origin": ORIGIN}
        run.parameters[self.name] = changed
        return Change(self.text, {path: about}, {path: changed})

    def _parameter_value(self, run: Editable, about: dict[str, Any]) -> Any:
        from expedition.archive.recorded_types import type_from_text
        from expedition.authoring.parameters import Parameter

        kind = str(about.get("type", ""))
        if kind.startswith("Secret"):
            raise self._error(f"{self.name} of {run.experiment} is a secret, of which nothing is recorded")
        try:
            annotation = type_from_text(kind) if kind else Any
        except LookupError:
            raise self._error(
                f"{self.name} of {run.experiment} is a {kind}, which no text can say; only types that come with "
                f"Python can be set"
            ) from None
        typed = Parameter(self.name, "argument", annotation)
        try:
            return typed.read(self.argument, origin=repr(self.text), experiment=run.experiment)
        except ExperimentError:
            if self.name in run.annotated:
                raise
            # The type is that of the default, and other values are as good.
            free = Parameter(self.name, "argument", Any)
            return free.read(self.argument, origin=repr(self.text), experiment=run.experiment)

    def _leaves(self, run: Editable) -> list[str]:
        """Slash paths of the stored values that the name means: one, or all of a group."""
        exact = [path for path in run.data if path == self.name]
        return exact or [path for path in run.data if path.startswith(f"{self.name}/")]

    def _refuse_other_readings(self, run: Editable) -> None:
        """Raise `ExperimentError` where a name that is said with dots may mean a value with a dot in its own name."""
        if not self.is_dotted:
            return
        dotted = self.name.replace("/", ".")
        for path in run.data:
            parts = path.split("/")
            for end in range(1, len(parts) + 1):
                if ".".join(parts[:end]) == dotted and "/".join(parts[:end]) != self.name:
                    other = stored_name("/".join(parts[:end]))
                    raise self._error(
                        f"data.{dotted} is ambiguous, for a run of {run.experiment} has stored {other}; write {other} "
                        f"for that, and data.{self.name} for the other"
                    )

    def _change_data(self, run: Editable) -> Change | None:
        self._refuse_other_readings(run)
        if self.verb == "set":
            return self._set_data(run)
        leaves = self._leaves(run)
        if not leaves:
            name, names = _shown_name(self.name), map(_shown_name, run.data)
            raise LackingError(f"it has stored nothing under {name}{near_matches(name, names)}")
        before = {f"data/{path}": run.data[path] for path in leaves}
        if self.verb == "drop":
            for path in leaves:
                del run.data[path]
            return Change(self.text, before, {})
        target = self.argument
        if target == self.name:
            return None
        renamed = {path: target + path[len(self.name) :] for path in leaves}
        kept = [path for path in run.data if path not in renamed]
        for path in renamed.values():
            _check_place(path, kept)
        changed = {renamed.get(path, path): value for path, value in run.data.items()}
        run.data.clear()
        run.data.update(changed)
        noted = _rename_notes(run, renamed)
        after = {f"data/{renamed[path]}": before[f"data/{path}"] for path in leaves}
        return Change(self.text, before | noted[0], after | noted[1])

    def _set_data(self, run: Editable) -> Change | None:
        leaves = self._leaves(run)
        path = self.name
        if leaves and leaves[0] != path:
            raise LackingError(
                f"{_shown_name(self.name)} is a group ({', '.join(leaves[:3])}…), which holds no value itself"
            )
        value = self._plain_value
        before = run.data.get(path)
        if type(before) is float and type(value) is int and float(value) == value:
            value = float(value)  # a column of floats stays one
        tagged = encode(value, name=path)
        if path in run.data and dumps(before) == dumps(tagged):
            return None
        _check_place(path, [other for other in run.data if other != path])
        was = {f"data/{path}": before} if path in run.data else {}
        run.data[path] = tagged
        return Change(self.text, was, {f"data/{path}": tagged})

    @cached_property
    def _plain_value(self) -> Any:
        return plain_value(self)


def plain_value(operation: Operation) -> Any:
    """Return the value of a ``set`` of a stored value: plain YAML, a text where it is no YAML at all.

    Raises `ExperimentError` for a mapping, which would be a group.
    """
    from expedition.authoring.text import load_yaml

    try:
        value = load_yaml(operation.argument, source=repr(operation.text))
    except ExperimentError:
        value = operation.argument
    if isinstance(value, dict):
        raise refusal(operation.text, operation.position, "a mapping is a group; set its members one by one")
    return value


def _check_place(path: str, others: Iterable[str]) -> None:
    """Raise `LackingError` when a value cannot stand at a slash path beside `others`."""
    for other in others:
        if path == other:
            raise LackingError(f"it has stored something under {path} already")
        if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
            raise LackingError(
                f"{min(path, other, key=len)} would be a value and a group, for there is {other}"
            )


def _rename_notes(run: Editable, names: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let what was said of names go with them; return what changed."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for old, new in names.items():
        if old in run.annotations and new not in run.annotations:
            note = run.annotations[new] = run.annotations.pop(old)
            before[f"annotations/{old}"] = after[f"annotations/{new}"] = note
    return before, after


def refusal(text: str, position: int, problem: str) -> ExperimentError:
    """Return the error for an operation, with the position from 1 of what is wrong in its text."""
    return ExperimentError(f"{text!r}, character {position}: {problem}")


def _kind(tagged: Any) -> str:
    """The type of a value in tagged JSON, as Python calls it; of one with a tag, that."""
    if tagged is None:
        return "None"
    return str(tagged.get("$", "dict")) if isinstance(tagged, dict) else type(tagged).__name__


def _shown_path(path: str) -> str:
    branch, _, rest = path.partition("/")
    return stored_name(rest) if branch == "data" else path.replace("/", ".")


def _shown_name(path: str) -> str:
    return stored_name(path).removeprefix("data.")


def _shown(path: str, tagged: Any, longest: int = 60) -> str:
    value = tagged["value"] if path.startswith("params/") else tagged
    text = dumps(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
