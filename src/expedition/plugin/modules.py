"""The collector of an experiment file: it brings in what the experiments extend and include."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest

from expedition.authoring.config import load_config
from expedition.errors import ExperimentError


class ExperimentModule(pytest.Module):
    """A file with experiments; their fixtures are known before those of the file itself, which override them."""

    prepare: Callable[[pytest.Module], None]

    @classmethod
    def prepared_by(
        cls, prepare: Callable[[pytest.Module], None], parent: pytest.Collector, **place: Any
    ) -> ExperimentModule:
        """Return the collector of a file; `prepare` is called with it when it has been imported."""
        module: ExperimentModule = cls.from_parent(parent, **place)
        module.prepare = prepare
        return module

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Collect the experiments of the file."""
        self.prepare(self)
        return super().collect()


class ExperimentConfig(ExperimentModule):
    """A config: collected as the module that it stands for."""

    def _getobj(self) -> ModuleType:
        return load_config(self.path)


class ForeignFile(pytest.File):
    """A file that was named as an experiment file and cannot be one."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Raise `ExperimentError`."""
        raise ExperimentError(
            f"{self.path.name}: experiments are Python files (.py) and configs (.yml, .yaml); give the file that "
            f"has the experiment"
        )
