"""Values given from outside: by options and parameter files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from expedition.authoring.parameters import MISSING, Parameter
from expedition.authoring.text import split_assignment
from expedition.errors import ExperimentError


@dataclass(frozen=True)
class Override:
    """A value given from outside: ``-P [EXPERIMENT:]NAME=TEXT`` or a member of a parameters file.

    `text` is the raw text of an option; `value` the parsed one of a file (`MISSING` for an option). Where `form` is
    not ``"parsed"`` it is a value of a program, which stays as it is where its type fits: ``"exact"`` itself, or
    its ``"tagged"`` JSON, read when the experiment file and its classes are there.
    """

    experiment: str | None
    name: str
    origin: str
    text: str = ""
    value: Any = MISSING
    form: str = "parsed"

    @classmethod
    def from_option(cls, argument: str) -> Override:
        """Parse the argument of ``-P``. Raises `ExperimentError`."""
        experiment, name, text = split_assignment(argument)
        return cls(experiment, name, "-P", text=text)

    def concerns(self, *names: str) -> bool:
        """Whether this override is meant for an experiment known under `names`."""
        return self.experiment is None or self.experiment in names

    def resolve(self, parameter: Parameter, experiment: str) -> Any:
        """The typed value for `parameter`. Raises `ExperimentError`."""
        if self.value is MISSING:
            return parameter.read(self.text, origin=self.origin, experiment=experiment)
        if self.form != "parsed":
            value = self._decoded(experiment) if self.form == "tagged" else self.value
            return parameter.take(value, origin=self.origin, experiment=experiment)
        return parameter.convert(self.value, origin=self.origin, experiment=experiment)

    def _decoded(self, experiment: str) -> Any:
        from expedition.errors import DamagedError
        from expedition.values import Opaque, Undecoded, decode

        try:
            value = decode(self.value)
        except DamagedError as error:
            raise ExperimentError(
                f"{experiment}: parameter {self.name} from {self.origin}: {error}"
            ) from None
        if isinstance(value, Opaque | Undecoded):
            raise ExperimentError(
                f"{experiment}: parameter {self.name} from {self.origin} is of a class that nothing there has "
                f"imported: {value!r}; let the experiment file import it"
            )
        return value
