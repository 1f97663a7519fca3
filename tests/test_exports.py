"""The public names of the package."""

from __future__ import annotations

import importlib
import inspect

import pytest

import expedition

PUBLIC = {"Archive", "ExpeditionError", "Run", "RunRecord", "Trajectory", "__version__", "experiment"}


def test_all_is_the_interface():
    assert set(expedition.__all__) == PUBLIC
    assert sorted(expedition.__all__) == expedition.__all__
    assert set(dir(expedition)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_each_name_is_there_and_documented(name):
    value = getattr(expedition, name)
    namespace: dict[str, object] = {}
    exec(f"from expedition import {name}", namespace)
    assert namespace[name] is value
    assert inspect.getdoc(value)


def test_unknown_names():
    with pytest.raises(AttributeError, match="nothing"):
        _ = expedition.nothing  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        exec("from expedition import nothing", {})


def test_designs_are_public():
    sweeps = importlib.import_module("expedition.sweeps")
    for name in ("grid", "zipped", "points", "random", "latin_hypercube", "sobol"):
        assert callable(getattr(sweeps, name))
    for name in ("uniform", "loguniform", "integers", "choice", "normal"):
        assert callable(getattr(sweeps, name))
