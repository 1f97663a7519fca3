"""Configs: experiments written in YAML, which extend others."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from expedition.authoring import design as designs
from expedition.authoring import distributions
from expedition.authoring.design import Design
from expedition.authoring.extending import make_extended, set_base
from expedition.authoring.inherit import from_formula
from expedition.authoring.interpolation import Interpolated, interpolate, read_inside
from expedition.authoring.limits import check_retries, check_timeout
from expedition.authoring.names import check_namespace
from expedition.authoring.specs import INCLUDE, INCLUDES, REMARKS, SPECIAL, Base, Include, Written, mark
from expedition.authoring.text import load_document
from expedition.errors import ExperimentError, near_matches

KEYS = (
    "extend",
    "name",
    "namespace",
    "description",
    "include",
    "tags",
    "timeout",
    "retries",
    "parameters",
    "sweep",
    "replicates",
    "paired",
)
_Number = TypeVar("_Number", int, float)
_DISTRIBUTIONS = ("uniform", "loguniform", "integers", "choice", "normal")
_SAMPLES = ("random", "latin_hypercube", "sobol")
_DESIGNS = ("grid", "zipped", "points", *_SAMPLES)
_NAME = re.compile(r"[^\W\d][\w-]*\Z")


def _refuse_call(function: FunctionType, *_: Any, **__: Any) -> Any:
    raise ExperimentError(
        f"{function.__name__}: a config has no function to call; call that of what it extends"
    )


def load_config(path: Path) -> ModuleType:
    """Return a module that holds the experiment which a config describes.

    The module has the experiment under its name, and the rest as `experiment.extend`, the decorators and
    ``experiment.include`` would leave it. Paths in the config are relative to its folder.

    Raises `ExperimentError` naming the file and the line.
    """
    source = path.name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExperimentError(
            f"{source}: not UTF-8 text (byte {error.start}); save the file as UTF-8"
        ) from None
    document, lines = load_document(text, source=source)

    def at(*keys: object) -> str:
        return f"{source}, line {lines[keys]}" if keys in lines else source

    if not isinstance(document, dict):
        raise ExperimentError(f"{source}: a config is a mapping; write lines such as 'extend: exp_base.py'")
    for key in document:
        if key not in KEYS:
            raise ExperimentError(
                f"{at(key)}: {key!r} is no key of a config{near_matches(str(key), KEYS)}; keys: {', '.join(KEYS)}"
            )
    remarks: list[tuple[int, str]] = []

    def defaulted(name: str, default: str, keys: tuple[object, ...]) -> None:
        remarks.append(
            (lines.get(keys, 0), f"the variable {name} is not set; its default {default!r} is used")
        )

    values = interpolate(document, os.environ, lambda keys: at(*keys), defaulted)
    module = _Config(path, values, at).module()
    module.__dict__[REMARKS] = remarks
    return module


class _Config:
    """One config, read and interpolated; `at` gives the place of a key for messages."""

    def __init__(self, path: Path, values: dict[str, Any], at: Callable[..., str]) -> None:
        self._path = path
        self._values = values
        self._at = at

    def module(self) -> ModuleType:
        """Return the module."""
        values = self._values
        name = self._text("name", default=self._path.stem)
        if not _NAME.match(name):
            raise ExperimentError(
                f"{self._at('name')}: name: {name!r} cannot be the name of an experiment; use letters, digits, - and _"
            )
        module = ModuleType(self._path.stem, self._text("description", default="") or None)
        module.__file__ = str(self._path)
        if not values.get("extend"):
            raise ExperimentError(
                f"{self._path.name}: extend is missing; name the experiment file that the config is for"
            )
        line = int(self._at("extend").rpartition(" ")[2])
        function = make_extended(name, module.__name__, call=_refuse_call)
        set_base(function, Base(self._text("extend"), self._path, line), self._parameters(module))
        spec = mark(function)
        spec.namespace = self._namespace()
        spec.tags = tuple(self._texts("tags"))
        spec.timeout = self._limit("timeout", check_timeout)
        spec.retries = self._limit("retries", check_retries)
        spec.replicates, spec.paired = self._replicates()
        spec.designs = tuple(self._designs())
        spec.is_written, spec.sweep_place = True, self._at("sweep")
        module.__dict__[INCLUDES] = [
            Include(text, self._path, int(self._at(*keys).rpartition(" ")[2]))
            for keys in (("include",), ("parameters", INCLUDE))
            for text in self._texts(*keys)
        ]
        module.__dict__[name] = function
        return module

    def _text(self, key: str, *, default: str | None = None) -> str:
        value = self._values.get(key, default)
        if not isinstance(value, str) or not (value.strip() or default is not None):
            raise self._wrong(key, "a text", value)
        return str(value)

    def _texts(self, *keys: str) -> list[str]:
        value: Any = self._values
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        items = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
            raise self._wrong(keys, "a text or a list of texts", value)
        return [str(item) for item in items]

    def _namespace(self) -> str | None:
        if "namespace" not in self._values:
            return None
        try:
            check_namespace(self._text("namespace"))
        except ExperimentError as error:
            raise ExperimentError(f"{self._at('namespace')}: {error}") from None
        return self._text("namespace")

    def _limit(self, key: str, check: Callable[[object, str], _Number]) -> _Number | None:
        value = self._values.get(key)
        if isinstance(value, Interpolated):
            value = read_inside(value, self._at(key))
        return None if value is None else check(value, f"{self._at(key)}: {key}")

    def _replicates(self) -> tuple[int | None, bool]:
        n, paired = self._values.get("replicates"), self._values.get("paired", False)
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
            raise self._wrong("replicates", "a number of at least 1", n)
        if not isinstance(paired, bool):
            raise self._wrong("paired", "true or false", paired)
        if paired and n is None:
            raise ExperimentError(
                f"{self._at('paired')}: paired says how replicates are seeded; give replicates too"
            )
        return n, paired

    def _parameters(self, module: ModuleType) -> dict[str, Any]:
        given = self._values.get("parameters")
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise self._wrong("parameters", "a mapping of names to values", given)
        found: dict[str, Any] = {}
        for name, value in given.items():
            place = self._at("parameters", name)
            if not isinstance(name, str):
                raise ExperimentError(f"{place}: parameters: {name!r} is no name")
            if name.startswith("__") and name.endswith("__"):
                if name not in SPECIAL:
                    raise ExperimentError(
                        f"{place}: {name} is no special parameter{near_matches(name, SPECIAL)}; there are "
                        f"{', '.join(SPECIAL)}"
                    )
                if name != INCLUDE:
                    is_text = not isinstance(value, Interpolated) or name in ("__PREFIX__", "__VERSION__")
                    read = value if is_text else read_inside(value, place)
                    module.__dict__[name] = str(read) if isinstance(read, str) else read
            elif isinstance(value, dict) and value.keys() == {"inherit"}:
                try:
                    found[name] = Written(from_formula(value["inherit"]), place)
                except ExperimentError as error:
                    raise ExperimentError(f"{place}: {name}: {error}") from None
            else:
                found[name] = Written(value, place)
        return found

    def _designs(self) -> list[Design]:
        """The parts of the sweep, which multiply in their order."""
        given = self._values.get("sweep")
        if given is None:
            return []
        if not isinstance(given, dict) or not given:
            raise self._wrong("sweep", f"a mapping with {', '.join(_DESIGNS)}", given)
        found = []
        for kind, part in given.items():
            place = self._at("sweep", kind)
            if kind not in _DESIGNS:
                raise ExperimentError(
                    f"{place}: sweep has no {kind!r}{near_matches(str(kind), _DESIGNS)}; parts: {', '.join(_DESIGNS)}"
                )
            try:
                found.append(self._design(str(kind), part))
            except ExperimentError as error:
                text = str(error)
                raise ExperimentError(
                    text if text.startswith(self._path.name) else f"{place}: {text}"
                ) from None
        return found

    def _design(self, kind: str, part: Any) -> Design:
        if kind == "points":
            if not isinstance(part, list) or not all(isinstance(point, dict) for point in part):
                raise self._wrong(("sweep", kind), "a list of mappings", part)
            return designs.points(part)
        if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
            raise self._wrong(("sweep", kind), "a mapping of parameters", part)
        if kind not in _SAMPLES:
            for name, values in part.items():
                if not isinstance(values, list):
                    raise self._wrong(("sweep", kind, name), "a list of values", values)
            make: Any = designs.grid if kind == "grid" else designs.zipped
            return make(**part)  # type: ignore[no-any-return]
        members = dict(part)
        n, seed = members.pop("n", None), members.pop("seed", 0)
        if n is None:
            raise ExperimentError(
                f"{self._at('sweep', kind)}: sweep: {kind} needs n, the number of its points"
            )
        sample: Any = getattr(designs, kind)
        axes = {name: self._distribution(kind, name, about) for name, about in members.items()}
        design: Design = sample(n, seed=seed, **axes)
        return design

    def _distribution(self, kind: str, name: str, about: Any) -> distributions.Distribution:
        place = self._at("sweep", kind, name)
        if not isinstance(about, dict) or len(about) != 1:
            raise ExperimentError(
                f"{place}: {name}: a distribution is a mapping of one key, such as {{uniform: [0, 1]}} or "
                f"{{choice: [a, b]}}, but got {about!r}"
            )
        ((which, arguments),) = about.items()
        if which not in _DISTRIBUTIONS:
            raise ExperimentError(
                f"{place}: {name}: there is no distribution {which!r}{near_matches(str(which), _DISTRIBUTIONS)}; "
                f"distributions: {', '.join(_DISTRIBUTIONS)}"
            )
        make: Any = getattr(distributions, which)
        if which == "choice":
            if not isinstance(arguments, list):
                raise ExperimentError(
                    f"{place}: {name}: choice takes a list of options, but got {arguments!r}"
                )
            return make(arguments)  # type: ignore[no-any-return]
        if not isinstance(arguments, list) or len(arguments) != 2:
            raise ExperimentError(
                f"{place}: {name}: {which} takes a list of two numbers, but got {arguments!r}"
            )
        return make(*arguments)  # type: ignore[no-any-return]

    def _wrong(self, key: str | tuple[str, ...], expected: str, value: Any) -> ExperimentError:
        keys = (key,) if isinstance(key, str) else key
        shown: Mapping[str, Any] | Any = repr(value)
        return ExperimentError(f"{self._at(*keys)}: {': '.join(keys)} must be {expected}, but got {shown}")
