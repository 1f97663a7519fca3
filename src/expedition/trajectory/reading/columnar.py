"""What a lazy column offers to those that describe and export it, which know no column themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from expedition.trajectory.file.store import Store


class ColumnLike(Protocol):
    """A column over runs; see `Column` for what the members mean."""

    path: str
    _store: Store
    _rows: np.ndarray[Any, Any] | None

    def __len__(self) -> int: ...

    @property
    def _at(self) -> str: ...

    @property
    def _entry(self) -> dict[str, Any]: ...

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def encoding(self) -> str | None: ...

    @property
    def unit(self) -> str | None: ...

    @property
    def comment(self) -> str | None: ...

    @property
    def swept(self) -> bool: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def values(self) -> np.ndarray[Any, Any]: ...

    @property
    def _filled(self) -> np.ndarray[Any, Any]: ...

    @property
    def _gaps(self) -> np.ndarray[Any, Any] | None: ...

    @property
    def states(self) -> np.ndarray[Any, Any]: ...

    @property
    def _has_state(self) -> bool: ...

    @property
    def _attrs(self) -> dict[str, Any]: ...

    def _raw_rows(self, positions: slice = ...) -> Any: ...

    def has(self, run: int) -> bool: ...

    def get(self, run: int, default: Any = None) -> Any: ...

    def tolist(self, missing: Any = None) -> list[Any]: ...


def positions_of(column: ColumnLike) -> np.ndarray[Any, Any]:
    """Return the rows of the file that a column is over, int64."""
    import numpy as np

    return np.arange(len(column)) if column._rows is None else column._rows
