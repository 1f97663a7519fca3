"""What a run finds around it in its process, and what it must not leave behind there."""

from __future__ import annotations

from collections.abc import Mapping

from expedition.authoring.holding import HeldVariables
from expedition.authoring.lineage import Lineage
from expedition.authoring.parameters import Parameter
from expedition.recording import Run
from expedition.recording.figures import OpenFigures
from expedition.recording.seeds import GlobalRandomState


class Surroundings:
    """The variables of the files of an experiment, the global random state, and the open figures.

    `random` may be shared by runs of which none is inside of another.

    Attributes
    ----------
    held : the variables. The function may be wrapped by one from elsewhere: those of its files count.
    """

    __slots__ = ("_figures", "_is_set_up", "_random", "held")

    def __init__(self, lineage: Lineage, random: GlobalRandomState | None = None) -> None:
        self.held = HeldVariables(source.module for source in lineage.sources)
        self._random = random if random is not None else GlobalRandomState()
        self._figures = OpenFigures()
        self._is_set_up = False

    def set_up(self, run: Run, parameters: Mapping[str, Parameter]) -> None:
        """Seed the generators, and give the variables the values of the run."""
        variables = {
            name: run.params[name]
            for name, parameter in parameters.items()
            if parameter.kind == "variable" and name in run.params
        }
        self._random.seed(run.seed)
        self._figures.remember()
        self._is_set_up = True
        self.held.hold(variables)

    def put_back(self) -> None:
        """Put back what stood there before `set_up`, and close the figures that were opened since."""
        if self._is_set_up:
            self._is_set_up = False
            self.held.restore()
            self._random.restore()
            self._figures.close_new()
