"""``expansions.jsonl``: points that were added to a sweep after its design, each line by one call."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from expedition.archive.sweep import SweepFolder
from expedition.authoring.design import as_points
from expedition.authoring.parameters import MISSING, Parameter
from expedition.errors import DamagedError, ExperimentError, UnstorableError, near_matches
from expedition.recording import layout
from expedition.recording.journal import append_line, parse_line
from expedition.recording.plain_files import open_plain, plain_lines
from expedition.values import decode, encode

_BUILTINS = {"bool": bool, "int": int, "float": float, "str": str, "None": type(None)}


@dataclass(frozen=True)
class Expansion:
    """Points that one call added.

    `by` says who it was, `points` holds tagged JSON by name, only what each point gives; `place` names file and
    line, for messages.
    """

    by: str
    points: tuple[dict[str, Any], ...]
    place: str

    def values(self) -> list[dict[str, Any]]:
        """The points with live values; those of classes need their module to be loaded."""
        return [{name: decode(value) for name, value in point.items()} for point in self.points]


def append_expansion(sweep: Path, points: Iterable[Mapping[str, Any]], *, by: str) -> None:
    """Write one line with `points` (live values by name) to the sweep folder `sweep`."""
    tagged = [{name: encode(value, name=name) for name, value in point.items()} for point in points]
    line = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "by": by, "points": tagged}
    append_line(sweep / layout.EXPANSIONS_FILE, json.dumps(line, separators=(",", ":"), allow_nan=False))


def read_expansions(sweep: Path, *, start: int = 0, end: int | None = None) -> tuple[list[Expansion], int]:
    """Read what was added to the sweep folder `sweep`; return it, and where the reading ended.

    `start` and `end` are positions in bytes, at line ends, so that a later reading goes on where an earlier one
    ended, and two readings see the same. A line that is torn or altered is left out.
    """
    path = sweep / layout.EXPANSIONS_FILE
    found: list[Expansion] = []
    try:
        stream = open_plain(path)  # closed below, and absence is no error
    except FileNotFoundError:
        return found, start
    with stream:
        stream.seek(start)
        position = start
        for line in plain_lines(stream):
            if not line.endswith(b"\n") or (end is not None and position + len(line) > end):
                break  # somebody is writing it at the moment
            place = f"{path} at byte {position}"
            position += len(line)
            parsed = parse_line(line)
            if parsed is not None:
                found.append(_expansion(parsed, place))
    return found, position


def _expansion(line: Mapping[str, Any], place: str) -> Expansion:
    points = line.get("points")
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise DamagedError(f"{place}: a line without a list of points")
    return Expansion(str(line.get("by", "")), tuple(points), place)


def expand(sweep: SweepFolder, design: object, *, by: str) -> int:
    """Add the points of `design` to a sweep; return how many runs that makes, replicates counted.

    `design` is one of `expedition.sweeps`, or a list of dicts. Points that the sweep has already are left out.
    A point may name any parameter of the experiment; what it does not name takes its default. The runs get
    their rows when the sweep is resumed.

    Raises `ExperimentError` for a name that is no parameter, a value that is not of the declared type, as far
    as the manifest tells it, and one that cannot be recorded.
    """
    about = sweep.parameters
    parameters = {n: Parameter(n, str(a.get("kind", "argument")), _annotation(a)) for n, a in about.items()}
    defaults = {n: a[m] for n, a in about.items() for m in ("default", "value") if m in a} | sweep.constants
    needed = [name for name in sweep.swept if name not in defaults]
    known = {_identity(sweep.parameters_of(entry)) for entry in sweep.entries}
    earlier, _ = read_expansions(sweep.path)
    known.update(_identity(defaults | point) for expansion in earlier for point in expansion.points)
    new: list[dict[str, Any]] = []
    for raw in as_points(design, by):
        point = _checked(sweep.name, raw, parameters, by)
        for name in needed:
            if name not in point:
                raise ExperimentError(
                    f"{by}: a point gives no {name}, which has no default; give it a value in every point"
                )
        identity = _identity(defaults | _tagged(sweep.name, point))
        if identity not in known:
            known.add(identity)
            new.append(point)
    if new:
        append_expansion(sweep.path, new, by=by)
    return len(new) * int(sweep.manifest.get("replicates", 1))


def _annotation(about: Mapping[str, Any]) -> Any:
    """The type that values must have, where its text says all: what else there is needs the experiment."""
    parts = str(about.get("type", "")).split(" | ")
    if not about.get("annotated") or not all(part in _BUILTINS for part in parts):
        return MISSING
    return reduce(or_, [_BUILTINS[part] for part in parts])


def _checked(
    experiment: str, raw: Mapping[str, Any], parameters: Mapping[str, Parameter], by: str
) -> dict[str, Any]:
    point = {}
    for name, value in raw.items():
        if name not in parameters:
            raise ExperimentError(
                f"{by}: {experiment} has no parameter {name!r}{near_matches(name, parameters)}; "
                f"parameters: {', '.join(parameters) or 'none'}"
            )
        point[name] = parameters[name].check(value, origin=by, experiment=experiment)
    return point


def _tagged(experiment: str, point: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: encode(value, name=name) for name, value in point.items()}
    except UnstorableError as error:
        raise ExperimentError(f"{experiment}: parameter {error}") from None


def _identity(tagged: Mapping[str, Any]) -> str:
    """A text that is the same for equal values of one type, whatever the order of the names."""
    return json.dumps(tagged, sort_keys=True)
