"""Tables of runs: as a DataFrame, and as CSV and Parquet files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from expedition.errors import ExperimentError, FolderNotFoundError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.publish import replacing
from expedition.trajectory.reading.columnar import ColumnLike
from expedition.trajectory.reading.extras import library
from expedition.trajectory.reading.frames import cells, json_cells, refers, table, text_cells

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from expedition.trajectory.file.store import Store

SCALARS = frozenset({"bool", "int", "float", "text", "datetime", "timedelta", "complex", "json"})
INDEX = "run"
"""Name of the index of tables and of the dimension over runs, which no column may have."""
_PACKING = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}
_TABLE_BRANCHES = (fmt.PARAMETERS, fmt.DERIVED, fmt.RESULTS)


class Runs(Protocol):
    """What a table needs to know of the runs that it is of."""

    _store: Store

    @property
    def rows(self) -> np.ndarray[Any, Any]:
        """The rows of the runs in the file."""

    def leaves(self, branch: str | None = None) -> Iterator[ColumnLike]:
        """Yield the columns of a branch."""

    def _lookup(self, name: str) -> ColumnLike:
        """Return the column that a name means in an expression."""


def table_columns(
    runs: Runs, names: Sequence[str] | None = None, *, arrays: bool = False
) -> dict[str, ColumnLike]:
    """Return the columns of a table by their flat names.

    These are the parameters, the replicate, the status, derived parameters and results; with `names` only
    those derived parameters and results. The flat name is the path below the branch with dots, and with the
    branch in front where it is taken, or is ``run``, the name of the index. Arrays and other values that are no
    cells are left out unless `arrays` or `names` asks for them.
    """
    found: dict[str, ColumnLike] = {}

    def add(name: str, branch: str, column: ColumnLike) -> None:
        found[f"{branch}.{name}" if name in found or name == INDEX else name] = column

    chosen = None if names is None else [_chosen(runs, name) for name in names]
    for branch in _TABLE_BRANCHES:
        columns: Iterable[ColumnLike] = runs.leaves(branch)
        if chosen is not None and branch != fmt.PARAMETERS:
            columns = [column for column in chosen if column.path.startswith(f"{branch}/")]
        for column in columns:
            if arrays or (chosen is not None and branch != fmt.PARAMETERS) or _is_cell(column):
                add(column.path.partition("/")[2].replace("/", "."), branch, column)
        if branch == fmt.PARAMETERS:
            for name in ("replicate", "status"):
                add(name, fmt.RUNS, runs._lookup(f"{fmt.RUNS}.{name}"))
    for column in chosen or ():
        if column.path.startswith(f"{fmt.RUNS}/") and column.name not in ("replicate", "status"):
            add(column.name, fmt.RUNS, column)
    return found


def _chosen(runs: Runs, name: str) -> ColumnLike:
    column = runs._lookup(name)
    if column.path.startswith(f"{fmt.SERIES}/"):
        raise ExperimentError(f"{name!r} is a series, no column of a table: to_pandas(series={name!r})")
    return column


def _is_chosen(column: ColumnLike) -> bool:
    """Tell whether a column is of those that are in a table only when its names say so."""
    return not column.path.startswith(f"{fmt.PARAMETERS}/")


def _is_cell(column: ColumnLike) -> bool:
    return column.kind in SCALARS and column.encoding != "reference"


def frame(runs: Runs, names: Sequence[str] | None = None, *, arrays: bool = False) -> pd.DataFrame:
    """Return the table as a DataFrame, one row per run, index ``run``: see `table_columns` and `cells`."""
    return _frame(runs, names, arrays, cells)


def text_frame(runs: Runs, names: Sequence[str] | None = None, *, arrays: bool = False) -> pd.DataFrame:
    """Return the table with tagged JSON for every cell that a file of rows has no type for.

    Columns of values that stand in files of the run folders are left out like those of arrays.
    """

    def is_wanted(column: ColumnLike) -> bool:
        if arrays or column.encoding != "json" or (names is not None and _is_chosen(column)):
            return True
        return not any(map(refers, column._raw_rows()))

    def cell(column: ColumnLike) -> Any:
        plain = column.kind in SCALARS - {"complex", "json"}
        return cells(column) if plain else text_cells(json_cells(column))

    return _frame(runs, names, arrays, cell, is_wanted)


def _frame(
    runs: Runs,
    names: Sequence[str] | None,
    arrays: bool,
    cell: Callable[[ColumnLike], Any],
    is_wanted: Callable[[ColumnLike], bool] = lambda column: True,
) -> pd.DataFrame:
    library("pandas", "the table of a trajectory")
    columns = table_columns(runs, names, arrays=arrays)
    with runs._store.keeping_tails():
        data = {name: cell(column) for name, column in columns.items() if is_wanted(column)}
    return table(data, runs.rows)


def write_csv(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write a table as CSV (UTF-8, lines end in ``\\n``, floats in the digits that make them exact).

    As with pandas a name that ends in ``.gz``, ``.bz2``, ``.xz``, ``.zst`` or ``.zip`` says that it is packed.
    """
    target = _target(path)
    packing: Any = _PACKING.get(target.suffix.lower())
    if packing == "zip":  # has a name for what is in it
        packing = {"method": packing, "archive_name": target.stem}
    with replacing(target) as temporary:
        frame.to_csv(temporary, encoding="utf-8", lineterminator="\n", compression=packing)
    return target


def write_parquet(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write a table as Parquet. Raises `MissingLibraryError` without pyarrow."""
    library("pyarrow", "to_parquet()")
    target = _target(path)
    with replacing(target) as temporary:
        frame.to_parquet(temporary, engine="pyarrow")
    return target


def _target(path: Path | str) -> Path:
    target = Path(path)
    if not target.parent.is_dir():
        raise FolderNotFoundError(
            f"there is no folder {target.parent} to write {target.name} to: make it first, or give another path"
        )
    return target
