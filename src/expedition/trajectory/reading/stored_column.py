"""Lazy columns of values with arrays in the file: where the value of a run stands, and what stands elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.errors import DamagedError
from expedition.trajectory.file.store import Store
from expedition.trajectory.reading.column import Column
from expedition.values import decode, loads
from expedition.values.columns import MISSING, NUMBER_STATES, State

if TYPE_CHECKING:
    import numpy as np


class StoredColumn(Column):
    """Values with arrays, a row of the file for each run.

    With ``encoding="indexed"`` the file has each distinct value once; reading is the same, and `tolist` gives
    one array, which is read-only, for all runs that share it. What is too large for the file is in the run
    folders, and is read from there.
    """

    @property
    def layout(self) -> str | None:
        """How the values stand in the file, be they of runs or each distinct one once."""
        return self._entry.get("values") if self._is_indexed else self.encoding

    def reference(self, run: int) -> dict[str, Any] | None:
        """Return the tag of a value that stays in the run folder, None when it is in this file or missing."""
        row = self._row(run)
        if self._state(row) != State.JSON:
            return None
        tag = loads(self._text_of(row))
        return tag if isinstance(tag, dict) else None

    def distinct(self, run: int) -> int | None:
        """Return the number of a run's value among the distinct ones, None when values are not kept like this."""
        row = self._row(run)
        return self._slot(row) if self._is_indexed and self._state(row) == State.VALUE else None

    @property
    def _needs_state(self) -> bool:
        if not self._is_indexed:
            return False
        return self._store.has_negative(f"{self._at}/index")

    @property
    def _is_indexed(self) -> bool:
        return self.encoding == "indexed"

    def _slot(self, row: int) -> int:
        """Return where the value of a row stands among those in the file."""
        if not self._is_indexed:
            return row
        path = f"{self._at}/index"
        self._store.numbers(path)
        number = int(self._store.read(path, row))
        if number < 0:
            raise self._store.damaged(f"run {row} has no value in /{path}")
        return number

    def _text_of(self, row: int) -> str:
        path = f"{self._at}/json"
        self._store.column(path)
        return self._store.read_text(path, slice(row, row + 1))[0]

    def _exact(self, row: int) -> Any:
        state = self._state(row)
        if state == State.VALUE:
            return self._at_slot(self._slot(row))
        if state == State.JSON:
            try:
                return decode(loads(self._text_of(row)), folder=self._store.folder(row))
            except (DamagedError, TypeError, AttributeError) as error:
                raise self._spoilt(error) from error
        return None if state == State.NONE else MISSING

    def _cells(self) -> list[Any]:
        rows = range(self._store.n_runs) if self._rows is None else self._rows.tolist()
        if not self._is_indexed:
            return [self._exact(row) for row in rows]
        shared: dict[int, Any] = {}
        out = []
        for row in rows:
            if self._state(row) != State.VALUE:
                out.append(self._exact(row))
                continue
            slot = self._slot(row)
            if slot not in shared:
                shared[slot] = _read_only(self._at_slot(slot))
            out.append(shared[slot])
        return out

    def _at_slot(self, slot: int) -> Any:
        """Return the value that stands at a place in the file."""
        raise NotImplementedError


class ObjectColumn(StoredColumn):
    """Values of which several are an array of objects."""

    _valued = (*NUMBER_STATES, State.JSON)

    @property
    def dtype(self) -> np.dtype[Any]:
        import numpy as np

        return np.dtype(object)

    def _typed(self, rows: slice) -> np.ndarray[Any, Any]:
        import numpy as np

        chosen = range(*rows.indices(self._store.n_runs))
        out = np.empty(len(chosen), dtype=object)
        for position, row in enumerate(chosen):
            value = self._exact(row)
            out[position] = None if value is MISSING else value
        return out


def span(
    store: Store, at: str, slot: int, what: str = "obs", data: str = "value", *, indexed: bool = False
) -> slice:
    """Return which elements of the dataset `data` of a group belong to a row; `what` names their axis.

    The rows are those of the runs, unless the group is `indexed`.
    """
    places = [f"{at}/{what}_start", f"{at}/{what}_count"]
    for path in places:
        dataset = store.dataset(path) if indexed else store.numbers(path)
        if dataset.ndim != 1 or dataset.dtype.kind not in "iu":
            raise store.damaged(f"/{path} is of dtype {dataset.dtype}, not whole numbers")
    start, count = (int(store.read(path, slot)) for path in places)
    values = store.dataset(f"{at}/{data}")
    total = len(values) if values.ndim else -1
    if start < 0 or count < 0 or start + count > total:
        whose = "array" if indexed else "run"
        raise store.damaged(f"the observations of {whose} {slot} lie outside of /{at}")
    return slice(start, start + count)


def _read_only(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    return value
