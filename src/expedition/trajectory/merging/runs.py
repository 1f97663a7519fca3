"""What is known of every run of a merged trajectory: the columns of ``/runs``, with where each run came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.raw import pick_rows
from expedition.trajectory.file.store import Store
from expedition.trajectory.merging.plan import REPLICATE, MergePlan
from expedition.trajectory.writing.runs import write_seeds
from expedition.trajectory.writing.writer import FileWriter
from expedition.values import decode, loads

if TYPE_CHECKING:
    import numpy as np

_OWN = ("origin", "origin_index", "seed")
_TIMES = {"units": fmt.TIME_UNITS, "calendar": fmt.CALENDAR, "timezone": "UTC"}


def write_runs(writer: FileWriter, plan: MergePlan) -> None:
    """Write ``/runs`` of the merged file; fields that only some inputs have are empty for the others."""
    import numpy as np

    for name in dict.fromkeys(name for part in plan.parts for name in _fields(part.store)):
        path = f"{fmt.RUNS}/{name}"
        if name in _OWN:
            continue
        if any(_is_text(part.store, path) for part in plan.parts if part.store.has(path)):
            writer.chars(path, texts_of(plan, name))
            continue
        values = _numbers(plan, path)
        if name in ("start", "stop"):
            writer.column(path, values, _TIMES, fmt.INT64_MIN if (values == fmt.INT64_MIN).any() else None)
        elif values.dtype.kind == "f":
            attrs = {"unit": "s"} if name == "duration" else {}
            writer.column(path, values, attrs, np.nan if np.isnan(values).any() else None)
        else:
            writer.column(path, values, {})
    _write_seeds(writer, plan)
    writer.column(f"{fmt.RUNS}/origin", plan.origin, {})
    writer.column(f"{fmt.RUNS}/origin_index", plan.origin_index, {})


def texts_of(plan: MergePlan, name: str) -> list[str]:
    """Return a text of every run, ``""`` where its input has none."""
    path = f"{fmt.RUNS}/{name}"
    texts = [""] * plan.n_runs
    for part in plan.parts:
        if part.store.has(path):
            found = pick_rows(_reader(part.store, path), part.rows)
            for target, text in zip(part.targets.tolist(), found, strict=True):
                texts[target] = text
    return texts


def _fields(store: Store) -> Iterator[str]:
    return iter(store.file[fmt.RUNS])


def _is_text(store: Store, path: str) -> bool:
    return store.dataset(path).dtype.kind in "OSU"


def _reader(store: Store, path: str) -> Callable[[slice], Any]:
    store.column(path)
    return lambda rows: (store.read_text if _is_text(store, path) else store.read)(path, rows)


def _numbers(plan: MergePlan, path: str) -> np.ndarray[Any, Any]:
    import numpy as np

    having = [part for part in plan.parts if part.store.has(path)]
    dtype = np.result_type(*(part.store.dataset(path).dtype for part in having))
    unknown: Any = np.nan if dtype.kind == "f" else fmt.INT64_MIN if dtype == np.int64 else 0
    values = np.full(plan.n_runs, unknown, dtype)
    for part in having:
        shift = part.shift if path == plan.trial == REPLICATE else 0
        values[part.targets] = pick_rows(_reader(part.store, path), part.rows) + dtype.type(shift)
    return values


def _write_seeds(writer: FileWriter, plan: MergePlan) -> None:
    path = f"{fmt.RUNS}/seed"
    seeds: list[int | None] = [None] * plan.n_runs
    for part in plan.parts:
        found = pick_rows(_reader(part.store, path), part.rows)
        if _is_text(part.store, path):  # beyond 64 bits
            own = [decode(loads(text)) if text else None for text in found]
        else:
            own = [None if seed == fmt.INT64_MIN else seed for seed in found.tolist()]
        for target, seed in zip(part.targets.tolist(), own, strict=True):
            seeds[target] = seed
    write_seeds(writer, seeds)
