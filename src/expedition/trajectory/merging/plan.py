"""Which runs of which trajectories are put together: inputs that fit, rows by identity, where each came from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from expedition.errors import MergeError, near_matches
from expedition.recording import outcomes
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.store import Store
from expedition.trajectory.reading.array_column import make_column
from expedition.trajectory.reading.run_set import RunSet
from expedition.values import canonical, encode
from expedition.values.columns import MISSING

if TYPE_CHECKING:
    import numpy as np

REPLICATE = f"{fmt.RUNS}/replicate"
_PLAIN_TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
_FEW = 5  # examples in a message


@dataclass(frozen=True, eq=False)
class Part:
    """What one input gives: `rows` of its file become `targets` of the merged one, both int64 (k,).

    `shift` is added to the trial parameter.
    """

    store: Store
    rows: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    shift: int = 0

    def parameters(self) -> dict[str, str]:
        """Names of the parameters with their logical paths, as declared."""
        return _parameters(self.store)


@dataclass(frozen=True, eq=False)
class MergePlan:
    """The rows of a merged trajectory.

    Attributes
    ----------
    parts : what each input gives, in their order; an input may give nothing.
    n_runs : number of rows.
    sources : what is told of every sweep that rows come from, with paths relative to the merged file.
    origin, origin_index : int64 (n_runs,), the source of each row and its row there.
    trial : logical path of the column that is shifted, None when none is.
    identity : logical paths of the columns that identify a run together with its key.
    fill : tagged values of parameters that some inputs lack.
    """

    parts: list[Part]
    n_runs: int
    sources: list[dict[str, Any]]
    origin: np.ndarray[Any, Any]
    origin_index: np.ndarray[Any, Any]
    trial: str | None = None
    identity: list[str] = field(default_factory=list)
    fill: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Input:
    """A trajectory that is merged, or some runs of one; `owned` when it was opened for the merge."""

    store: Store
    rows: np.ndarray[Any, Any]
    owned: bool

    @property
    def label(self) -> str:
        """How messages call it."""
        return str(self.store.path)


def open_input(trajectory: Path | str | RunSet) -> Input:
    """Return a trajectory as an input; a file or sweep folder is opened.

    Raises `RecordNotFoundError` when there is none and `TrajectoryFormatError` when it cannot be read.
    """
    import numpy as np

    if isinstance(trajectory, RunSet):
        _ = trajectory._store.file  # raises when it is closed
        return Input(trajectory._store, np.asarray(trajectory.rows, np.int64), owned=False)
    given: object = trajectory
    if not isinstance(given, str | Path) and hasattr(given, "close"):
        file = getattr(given, "filename", None) or getattr(given, "name", None)
        raise MergeError(
            f"merge() opens files itself: give the path {str(file)!r} instead of the open file {given!r}"
        )
    if not isinstance(trajectory, str | Path):
        raise MergeError(
            f"merge() takes trajectories, files and sweep folders, not {trajectory!r} "
            f"({type(trajectory).__name__})"
        )
    store = Store(trajectory)
    return Input(store, np.arange(store.n_runs), owned=True)


def plan_merge(
    inputs: Sequence[Input],
    folder: Path,
    *,
    remove_duplicates: bool,
    trial: str | None,
    fill: Mapping[str, Any],
) -> MergePlan:
    """Return the rows that the inputs make in a file of `folder`.

    A run that several inputs have stands where the first of them has it. Raises `MergeError` when the inputs
    have other parameter spaces or trials that cannot be shifted.
    """
    import numpy as np

    filled = _check_space(inputs, fill)
    sources, origins = _sources(inputs, folder)
    path = None if trial is None else _trial_path(inputs, trial)
    shifts = [0] * len(inputs) if path is None else _shifts(inputs, path)
    if path is not None:
        sources, origins = _shifted_sources(sources, origins, shifts, path)
    identity = list(dict.fromkeys(name for each in inputs for name in _identity(each.store)))
    if remove_duplicates and path is None:
        chosen = _without_duplicates(inputs, identity)
    else:
        chosen = [
            (number, position) for number, each in enumerate(inputs) for position in range(len(each.rows))
        ]
    if path is not None and path not in identity:
        identity.append(path)
    which = np.array([number for number, _ in chosen], np.int64)
    position = np.array([place for _, place in chosen], np.int64)
    origin, origin_index = np.zeros(len(chosen), np.int64), np.zeros(len(chosen), np.int64)
    parts = []
    for number, each in enumerate(inputs):
        targets = np.flatnonzero(which == number).astype(np.int64)
        rows = each.rows[position[targets]]
        parts.append(Part(each.store, rows, targets, shifts[number]))
        names, indices = _origins(each.store)
        origin[targets] = np.array(origins[number], np.int64)[names[rows]]
        origin_index[targets] = indices[rows]
    return MergePlan(parts, len(chosen), sources, origin, origin_index, path, identity, filled)


# parameter spaces --------------------------------------------------------------------------------------------


def _parameters(store: Store) -> dict[str, str]:
    start = len(fmt.PARAMETERS) + 1
    return {
        str(entry.get("name", path[start:])): path
        for path, entry in store.schema.items()
        if path.startswith(f"{fmt.PARAMETERS}/")
    }


def _check_space(inputs: Sequence[Input], fill: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse inputs that are not of one parameter space; return the tagged values of `fill`."""
    if not inputs:
        raise MergeError("merge() needs at least one trajectory: merge(a, b, to='all.h5')")
    first = inputs[0]
    differences = [
        f"{each.label} is of the experiment {each.store.attrs.get('experiment')!r}, {first.label} of "
        f"{first.store.attrs.get('experiment')!r}"
        for each in inputs
        if each.store.attrs.get("experiment") != first.store.attrs.get("experiment")
    ][:_FEW]
    known = [_parameters(each.store) for each in inputs]
    declared: dict[str, tuple[Any, Input]] = {}
    lacking = []
    for name in dict.fromkeys(name for names in known for name in names):
        without = [each.label for each, names in zip(inputs, known, strict=True) if name not in names]
        if without and name not in fill:
            lacking.append(name)
            differences.append(
                f"{_some(without)} {'has' if len(without) == 1 else 'have'} no parameter {name!r}"
            )
        for each, names in zip(inputs, known, strict=True):
            if name in names:
                said = each.store.schema[names[name]].get("declared")
                before, where = declared.setdefault(name, (said, each))
                if said != before:
                    differences.append(
                        f"{name!r} is declared {before} in {where.label} and {said} in {each.label}"
                    )
                    break
    if differences:
        remedy = ""
        if lacking:
            values = ", ".join(f"{name!r}: …" for name in lacking)
            remedy = f"; for a parameter that was added later say what it was before: fill={{{values}}}"
        raise MergeError(f"these trajectories have other parameter spaces: {'; '.join(differences)}{remedy}")
    return {name: _fill_value(name, value, declared, known) for name, value in fill.items()}


def _fill_value(
    name: str, value: Any, declared: Mapping[str, tuple[Any, Input]], known: Sequence[Mapping[str, str]]
) -> Any:
    if name not in declared:
        raise MergeError(f"fill names {name!r}, which no trajectory has{near_matches(name, declared)}")
    if all(name in names for names in known):
        raise MergeError(f"fill names {name!r}, which no trajectory lacks: leave it out")
    said = declared[name][0]
    wanted = _PLAIN_TYPES.get(str(said))
    if wanted is float and type(value) is int and float(value) == value:
        value = float(value)
    if wanted is not None and value is not None and type(value) is not wanted:
        raise MergeError(f"fill gives {name!r} the value {value!r}, but it is declared {said}")
    return encode(value, name=name)


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _FEW:,} more" if len(labels) > _FEW else ""
    return ", ".join(labels[:_FEW]) + more


# trials ------------------------------------------------------------------------------------------------------


def _trial_path(inputs: Sequence[Input], trial: str) -> str:
    names = _parameters(inputs[0].store)
    if trial in names:
        return names[trial]
    if trial in ("replicate", "rep"):
        return REPLICATE
    raise MergeError(
        f"trial names {trial!r}, which is no parameter{near_matches(trial, [*names, 'replicate'])}"
    )


def values_of(store: Store, path: str, rows: np.ndarray[Any, Any]) -> list[Any]:
    """Return the exact values of a column in some rows, `MISSING` where there is none."""
    if path == REPLICATE:
        return store.read(path, ...)[rows].tolist()  # type: ignore[no-any-return]
    return make_column(store, path, store.schema[path], rows).tolist(MISSING)


def _shifts(inputs: Sequence[Input], path: str) -> list[int]:
    """Return what is added to the trials of each input, so that those of all are 0, 1, 2 … without a gap."""
    import numpy as np

    shifts, total = [], 0
    name = path.partition("/")[2]
    for each in inputs:
        values = (
            values_of(each.store, path, each.rows) if path in (REPLICATE, *each.store.schema) else [MISSING]
        )
        for row, value in zip(each.rows.tolist(), values, strict=False):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                shown = "no value" if value is MISSING else f"{value!r} ({type(value).__name__})"
                raise MergeError(
                    f"trial={name!r} must be an integer in every run, but run {row} of {each.label} has {shown}"
                )
            if isinstance(value, np.integer) and int(value) + total > np.iinfo(value.dtype).max:
                raise MergeError(
                    f"trial={name!r}: {value!r} of run {row} of {each.label} cannot be shifted by {total}, "
                    f"which {value.dtype} does not hold"
                )
        found = sorted({int(value) for value in values if value is not MISSING})
        if found != list(range(len(found))):
            shown = ", ".join(map(str, found[:_FEW])) + (", …" if len(found) > _FEW else "")
            raise MergeError(
                f"trial={name!r} must count from 0 without a gap in every trajectory, but {each.label} has {shown}"
            )
        shifts.append(total)
        total += len(found)
    return shifts


def _shifted_sources(
    sources: Sequence[Mapping[str, Any]], origins: Sequence[Sequence[int]], shifts: Sequence[int], path: str
) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """Tell by how much the trials of each source were shifted; one in two inputs may have two shifts."""
    name = path.partition("/")[2].replace("/", ".")
    found = _Sources()
    numbers: list[list[int]] = []
    for own, shift in zip(origins, shifts, strict=True):
        numbers.append([])
        for number in own:
            before = dict(sources[number].get("shift", {}))
            total = before.get(name, 0) + shift
            shifted = {**before, name: total} if total else before
            numbers[-1].append(found.add({**sources[number], **({"shift": shifted} if shifted else {})}))
    return found.listed, numbers


# identity ----------------------------------------------------------------------------------------------------


def _identity(store: Store) -> list[str]:
    return list(store.attrs.get("identity", []))


def _without_duplicates(inputs: Sequence[Input], identity: Sequence[str]) -> list[tuple[int, int]]:
    """Return (input, position among its rows) of every run once: settled before others, then the last to stop."""
    best: dict[Any, tuple[tuple[bool, int, int], int, int]] = {}
    for number, each in enumerate(inputs):
        store, rows = each.store, each.rows
        keys = _picked(store.read_text(f"{fmt.RUNS}/key"), rows)
        settled = [s in outcomes.SETTLED for s in _picked(store.read_text(f"{fmt.RUNS}/status"), rows)]
        stops = store.read(f"{fmt.RUNS}/stop", ...)[rows].tolist()
        starts = store.read(f"{fmt.RUNS}/start", ...)[rows].tolist()
        extra = [
            [_canonical(value) for value in values_of(store, path, rows)]
            for path in identity
            if path == REPLICATE or path in store.schema
        ]
        identities = zip(keys, *extra, strict=True) if extra else keys
        for position, name in enumerate(identities):
            rank = (settled[position], stops[position], starts[position])
            known = best.get(name)
            if known is None or rank > known[0]:
                best[name] = (rank, number, position)  # a dict keeps the place of the first
    return [(number, position) for _, number, position in best.values()]


def _canonical(value: Any) -> str:
    return "" if value is MISSING else canonical(value)


def _picked(values: list[str], rows: np.ndarray[Any, Any]) -> list[str]:
    return [values[row] for row in rows.tolist()]


# origins -----------------------------------------------------------------------------------------------------


class _Sources:
    """Sources in the order in which they were first told, each once."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def add(self, source: dict[str, Any]) -> int:
        """Return the number of a source."""
        number = self._numbers.setdefault(canonical(source), len(self.listed))
        if number == len(self.listed):
            self.listed.append(source)
        return number


def _sources(inputs: Iterable[Input], folder: Path) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """Return what the merged file tells of the sweeps it is made of, and per input the numbers of its own."""
    found = _Sources()
    numbers: list[list[int]] = []
    for each in inputs:
        store = each.store
        own = store.sources or [
            {
                "sweep_id": str(store.attrs.get("sweep_id", "")),
                "path": store.path.name,
                "experiment": str(store.attrs.get("experiment", "")),
                "n_runs": store.n_runs,
                "created": str(store.attrs.get("created", "")),
            }
        ]
        base = os.path.realpath(store.root)
        numbers.append(
            [
                found.add({**source, "path": _relative(os.path.join(base, source["path"]), folder)})
                for source in own
            ]
        )
    return found.listed, numbers


def _relative(path: str, folder: Path) -> str:
    # Both without links, so that every ".." means what it says.
    relative = os.path.relpath(os.path.normpath(path), os.path.realpath(folder))
    return PurePosixPath(*Path(relative).parts).as_posix()


def _origins(store: Store) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return per row of an input the number of its source there, and its row in that."""
    import numpy as np

    if not store.sources:
        return np.zeros(store.n_runs, np.int64), np.arange(store.n_runs)
    return store.read(f"{fmt.RUNS}/origin", ...), store.read(f"{fmt.RUNS}/origin_index", ...)
