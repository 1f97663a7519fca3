"""Which experiment `Run.run_child` means: a marked function, or one that a path names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from expedition.authoring.lineage import (
    Lineage,
    SourceFile,
    experiments_in,
    lineage_of,
    load_source,
    name_after_base,
    pick_experiment,
    read_text,
)
from expedition.authoring.modules import find_file
from expedition.authoring.specs import Include, spec_of
from expedition.errors import ExperimentError


def lineage_of_child(
    parent: Lineage, experiment: Any, *, beside: Path, includes: tuple[Include, ...]
) -> Lineage:
    """Return the files of the experiment that a run of `parent` calls; a path is relative to the file `beside`.

    `includes` are the mixins of the project. Raises `ExperimentError`.
    """
    sources = {source.path: source for source in parent.sources}
    if isinstance(experiment, str | Path):
        file, _, name = str(experiment).partition("::")
        start = beside if beside.is_file() else parent.own.source.path
        path = find_file(file, beside=start, what="run_child: the experiment")
        source = sources.get(path) or load_source(path, what="the experiment")
        function = pick_experiment(source.module, file, name, what="run_child: the experiment", to="run")
    elif (spec := spec_of(experiment)) is not None:
        function = experiment
        source = _source_of(function, sources)
        experiments_in(source.module)  # what extend made gets its name there
        if not spec.has_body:
            name_after_base(function)
    else:
        raise ExperimentError(
            f"run_child takes a function marked with @experiment, or a path such as 'exp_b.py::exp_b', but got "
            f"{experiment!r}"
        )
    return lineage_of(function, source.module, path=source.path, text=source.text, includes=includes)


def _source_of(function: FunctionType, sources: Mapping[Path, SourceFile]) -> SourceFile:
    """Return the file of a marked function, which has been imported. Raises `ExperimentError`."""
    for source in sources.values():
        if source.module.get("__name__") == function.__module__:
            return source
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise ExperimentError(
            f"run_child: the file of {function.__name__} cannot be found; name it as 'exp_b.py::{function.__name__}'"
        )
    path = Path(file).resolve()
    return SourceFile(path, vars(module), read_text(path))
