"""Lazy columns of values that are made of several arrays: sparse matrices, frames, masked and structured arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.errors import DamagedError
from expedition.trajectory.file.forms import put_together
from expedition.trajectory.file.store import Store
from expedition.trajectory.file.stored import Tag, is_plain
from expedition.trajectory.reading.stored_column import ObjectColumn, span
from expedition.values import Json, loads

if TYPE_CHECKING:
    import numpy as np

_STACKED = frozenset({"masked", "fields"})
_MALFORMED = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError),
    *(OverflowError, MemoryError, RecursionError),
)
"""What putting a value together raises when its parts are not what its form says."""


class CompositeColumn(ObjectColumn):
    """Values that are made of several arrays, each of them a dataset of the group.

    ``col[5]`` is the value of run 5, equal in value and type to what was stored; several are an object array.
    """

    def _at_slot(self, slot: int) -> Any:
        form = self._form(slot)
        parts = _Parts(self._store, self._at, slot, stacked=self.layout in _STACKED, indexed=self._is_indexed)
        try:
            return put_together(form, parts)
        except DamagedError as error:
            raise self._spoilt(error) from error
        except _MALFORMED as error:
            raise self._store.damaged(f"a value in /{self._at} cannot be put together", error) from error

    def _form(self, slot: int) -> Json:
        if "form" in self._entry:
            return self._entry["form"]  # type: ignore[no-any-return]
        number = int(self._store.read(f"{self._at}/form", slot))
        if number < 0:
            raise self._store.damaged(f"row {slot} of /{self._at} has no form")
        try:
            (text,) = self._store.read_text(f"{self._at}/forms", slice(number, number + 1))
            return loads(text)  # type: ignore[no-any-return]
        except (DamagedError, ValueError) as error:
            raise self._spoilt(error) from error


class _Parts:
    """The parts of one value, each read when its placeholder asks for it."""

    def __init__(self, store: Store, at: str, slot: int, *, stacked: bool, indexed: bool) -> None:
        self._store = store
        self._at = at
        self._slot = slot
        self._stacked = stacked
        self._indexed = indexed

    def __call__(self, place: Tag) -> np.ndarray[Any, Any] | list[Any]:
        """Return what a placeholder stands for: an array, or a list."""
        import numpy as np

        name = str(place["at"])
        path = f"{self._at}/{name}"
        if name == "shape":
            return self._shape()
        if self._stacked:
            return _exactly(np.asarray(self._store.read(path, self._slot)), place)
        if name == "rows":
            return [0, self._count(place), 1]
        if not self._store.has(path):  # a mask that no value needs
            self._store.check_size(path, self._count(place))
            return np.zeros(self._count(place), bool)
        rows = span(self._store, self._at, self._slot, place["axis"], name, indexed=self._indexed)
        if "as" in place:
            return self._texts(path, rows, place)
        array = _exactly(np.asarray(self._store.read(path, rows)), place)
        return array.reshape(*self._shape(), *array.shape[1:]) if place.get("shaped") else array

    def _shape(self) -> list[int]:
        shape: list[int] = self._store.read(f"{self._at}/shape", self._slot).tolist()
        return shape

    def _count(self, place: Tag) -> int:
        return int(self._store.read(f"{self._at}/{place['axis']}_count", self._slot))

    def _texts(self, path: str, rows: slice, place: Tag) -> list[Any]:
        texts: list[Any] = self._store.read_text(path, rows)
        if place["as"] == "json":
            return [loads(text) for text in texts]
        missing = self(place["missing"])
        return [None if gone else text for text, gone in zip(texts, missing, strict=True)]


def _exactly(raw: np.ndarray[Any, Any], place: Tag) -> np.ndarray[Any, Any]:
    """Return an array in the dtype that it was stored with."""
    import numpy as np

    if not is_plain(place["dtype"]):
        raise ValueError(f"a part of dtype {place['dtype']}")
    return raw.astype(np.dtype(place["dtype"]), copy=False)
