"""Series: values tracked over steps, each one flushed to the journal as it comes."""

from __future__ import annotations

import json
import operator
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expedition.errors import ExperimentError, UnstorableError
from expedition.recording import layout
from expedition.recording.files import write_all
from expedition.recording.steps import STEPS
from expedition.recording.syncer import Syncer
from expedition.values import dumps, encode, is_utf8

INLINE_BYTES = 1024
"""Arrays up to this size stand in the journal itself, larger ones in ``data/series.bin``."""


class _Series:
    __slots__ = ("count", "dtype", "kind", "next_step", "prefix", "shape")

    def __init__(self, name: str) -> None:
        self.prefix = f'{{"e":"track","n":{json.dumps(name)},"s":'
        self.next_step = 0
        self.count = 0
        self.kind = ""
        self.shape: tuple[int, ...] = ()
        self.dtype = ""

    def take(self, name: str, form: str, value: object) -> None:
        """Raise `UnstorableError` when a value of the kind `form` does not fit the values before it."""
        if self.kind and self.kind != form:
            raise UnstorableError(
                f"series {name} holds values of kind {self.kind}, so it cannot take a "
                f"{type(value).__name__} ({form}); track it under another name"
            )


class SeriesRecorder:
    """Appends to the series of the run in `folder`; `write` takes the JSON text of an event."""

    def __init__(self, write: Callable[[str], None], folder: Path, syncer: Syncer | None = None) -> None:
        self._syncer = syncer
        self._is_known = False
        self._write = write
        self._folder = folder
        self._series: dict[str, _Series] = {}
        self._groups: set[str] = set()
        self._binary = -1
        self._offset = 0

    @STEPS.step
    def track(self, name: str, value: Any, step: int | None = None) -> None:
        """Append `value` to the series `name`; see `Run.track`."""
        series = self._series.get(name)
        if series is None:
            series = self._new(name)
        number = series.next_step if step is None else _step(name, step)
        kind = type(value)
        if kind is float and value - value == 0.0:
            form, text = "scalar", repr(value)
            if series.kind != form:
                series.take(name, form, value)
        elif kind is bool or kind is int or kind is float or kind is complex:
            form, text = "scalar", dumps(encode(value, name=name))
            series.take(name, form, value)
        else:
            form, text = self._other(series, name, value)
        self._write(f'{series.prefix}{number},"t":{time.time_ns() // 1000},"v":{text}}}')
        if not series.count:  # a series is known from its first value on: a refused one leaves no trace
            series.kind = form
            self._series[name] = series
            self._groups.update(name[:i] for i, letter in enumerate(name) if letter == "/")
        series.next_step = number + 1
        series.count += 1
        if STEPS.waiting is not None:
            STEPS.let_in()

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per series the number of entries, their kind and, for arrays, shape and dtype."""
        return {
            name: {"n": s.count, "kind": s.kind}
            | ({"shape": list(s.shape), "dtype": s.dtype} if s.kind == "array" else {})
            for name, s in self._series.items()
            if s.count
        }

    def take_descriptor(self) -> int:
        """Return the descriptor of the binary file, -1 when there is none, for a `Syncer` to force it to the disk."""
        self._is_known = False
        return self._binary

    def close(self, *, durable: bool = False) -> None:
        """Close the binary file of large arrays, with `durable` when it is on the disk."""
        if self._binary >= 0:
            if self._syncer is not None:
                self._syncer.discard(self)
                self._is_known = False
            try:
                if durable:
                    os.fsync(self._binary)
            finally:
                os.close(self._binary)
                self._binary = -1

    def _new(self, name: str) -> _Series:
        if not isinstance(name, str) or not all(name.split("/")) or "\0" in name:
            raise ExperimentError(
                f"the name of a series must be names joined by single slashes, such as 'fold/rmse', "
                f"but got {name!r}"
            )
        if not is_utf8(name):
            raise ExperimentError(
                f"the name of a series must be text that UTF-8 can write, but {name!r} has a lone surrogate; leave it "
                f"out"
            )
        groups = {name[:i] for i, letter in enumerate(name) if letter == "/"}
        for other in groups & self._series.keys():
            raise UnstorableError(
                f"series {name}: {other} is a series already, and one name cannot be a group and a series"
            )
        if name in self._groups:
            raise UnstorableError(
                f"series {name}: there are series below it already, and one name cannot be a group and a series"
            )
        return _Series(name)

    def _other(self, series: _Series, name: str, value: Any) -> tuple[str, str]:
        """Kind and JSON text of a value that is no builtin number."""
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic):
            if value.dtype.kind not in "biufc":
                raise _refusal(name, value)
            series.take(name, "scalar", value)
            return "scalar", dumps(encode(value, name=name))
        if numpy is not None and isinstance(value, numpy.ndarray):
            return self._array(series, name, value, numpy)
        pyplot_figure = sys.modules.get("matplotlib.figure")
        if pyplot_figure is not None and isinstance(value, pyplot_figure.Figure):
            series.take(name, "picture", value)
            return "picture", self._picture(series, name, lambda path: value.savefig(path, format="png"))
        image = sys.modules.get("PIL.Image")
        if image is not None and isinstance(value, image.Image):
            series.take(name, "picture", value)
            return "picture", self._picture(series, name, lambda path: value.save(path, format="PNG"))
        raise _refusal(name, value)

    def _array(self, series: _Series, name: str, value: Any, numpy: Any) -> tuple[str, str]:
        if type(value) is not numpy.ndarray or value.dtype.kind not in "biufcmM":
            raise _refusal(name, value)
        if value.ndim == 0:
            return self._other(series, name, value[()])
        series.take(name, "array", value)
        if series.kind == "array" and (value.shape != series.shape or value.dtype.str != series.dtype):
            raise UnstorableError(
                f"series {name} holds arrays of shape {series.shape} and dtype {series.dtype}, but got "
                f"{value.shape} {value.dtype.str}; arrays of one series must be alike"
            )
        series.shape, series.dtype = value.shape, value.dtype.str
        if value.nbytes <= INLINE_BYTES:
            return "array", dumps(encode(value, name=name))
        content = numpy.ascontiguousarray(value).tobytes()
        if self._binary < 0:
            path = self._folder / layout.SERIES_FILE
            path.parent.mkdir(exist_ok=True)
            self._binary = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._offset = os.fstat(self._binary).st_size
        offset = self._offset
        try:
            write_all(self._binary, content)
        finally:  # what a full disk took of it counts too
            self._offset = os.fstat(self._binary).st_size
        if self._syncer is not None and not self._is_known:
            self._is_known = True
            self._syncer.add(self)
        shape = json.dumps(list(value.shape))
        return "array", (
            f'{{"$":"bin","o":{offset},"d":{json.dumps(value.dtype.str)},"sh":{shape},'
            f'"crc":"{zlib.crc32(content):08x}"}}'
        )

    def _picture(self, series: _Series, name: str, save: Callable[[Path], Any]) -> str:
        from expedition.values.files import file_stem

        relative = f"{layout.DATA_FOLDER}/series/{file_stem(name)}_{series.count:06d}.png"
        path = self._folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path)
        return json.dumps({"$": "file", "file": relative})


def _step(name: str, step: object) -> int:
    if isinstance(step, bool):
        raise ExperimentError(f"series {name}: a step must be a whole number, but got {step!r}")
    try:
        number = operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        raise ExperimentError(
            f"series {name}: a step must be a whole number, but got {step!r} ({type(step).__name__})"
        ) from None
    if not -(2**63) <= number < 2**63 - 1:  # one less, since the next step has to fit too
        raise ExperimentError(f"series {name}: a step must fit 64 bits, but got {number}")
    return number


def _refusal(name: str, value: object) -> UnstorableError:
    return UnstorableError(
        f"series {name}: a value of type {type(value).__name__} cannot be tracked; track numbers, arrays of "
        f"one shape, figures or images, and store anything else with experiment[{name!r}] = …"
    )
