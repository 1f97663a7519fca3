"""The public names of the package."""

from __future__ import annotations

import importlib
import inspect

import pytest

import expedition

PUBLIC = {
    "INHERIT",
    "Archive",
    "Codec",
    "ExpeditionError",
    "Run",
    "RunRecord",
    "RunTimeout",
    "Secret",
    "Trajectory",
    "Undecoded",
    "__version__",
    "experiment",
    "register_codec",
    "run",
}


def test_all_is_the_interface():
    assert set(expedition.__all__) == PUBLIC
    by_name = sorted(expedition.__all__, key=lambda name: (not name.isupper(), name))  # constants first
    assert by_name == expedition.__all__
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


def test_errors_are_ours_and_standard_ones():
    errors = importlib.import_module("expedition.errors")
    kinds = [
        kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    ]
    assert len(kinds) > 10
    for kind in kinds:
        assert issubclass(kind, expedition.ExpeditionError)
        standard = {base for base in kind.__mro__ if base.__module__ == "builtins"}
        if kind is not expedition.ExpeditionError:
            assert standard - {Exception, BaseException, object}, kind


def test_designs_are_public():
    sweeps = importlib.import_module("expedition.sweeps")
    for name in ("grid", "zipped", "points", "random", "latin_hypercube", "sobol"):
        assert callable(getattr(sweeps, name))
    for name in ("uniform", "loguniform", "integers", "choice", "normal"):
        assert callable(getattr(sweeps, name))
