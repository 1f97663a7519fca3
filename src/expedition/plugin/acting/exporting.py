"""Writes the selected runs for programs that know nothing of Expedition: a table, or a folder of plain files."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from expedition.archive.rows import RunRow
from expedition.archive.selection import check_columns
from expedition.errors import (
    DamagedError,
    ExpeditionError,
    ExperimentError,
    RecordNotFoundError,
    near_matches,
    reason_of,
)
from expedition.plugin.acting.action import Action, counted, name_of
from expedition.plugin.acting.new_files import check_target, put_in_place, temporary_name
from expedition.reporting.durations import format_bytes

FORMATS = ("csv", "parquet", "folder")


def plan_export(
    root: Path, rows: Sequence[RunRow], format: str, target: Path, columns: Sequence[str] = ()
) -> Action:
    """Check that the runs `rows` of the archive `root` can be written to `target`, a new file or folder.

    ``csv`` and ``parquet`` have a row for each run with facts, parameters and stored values; ``folder`` has a folder
    for each run. With `columns` the table has these. Raises `ExperimentError` for another format and for columns of
    a folder, `RecordNotFoundError` for a column that no run has, `OutputExistsError` and `FolderNotFoundError` for the
    target, and `MissingLibraryError` for ``parquet`` without pyarrow.
    """
    if format not in FORMATS:
        raise ExperimentError(
            f"runs cannot be exported as {format!r}{near_matches(format, FORMATS)}; there are {', '.join(FORMATS)}"
        )
    if columns and format == "folder":
        raise ExperimentError(
            "a folder has all of each run: leave --archive-columns out, or export csv or parquet"
        )
    check_columns(columns, rows)
    check_target(target)
    parent = target.resolve().parent
    for sweep in {row.sweep_path for row in rows if row.sweep_path is not None}:
        if parent.is_relative_to(sweep.resolve()):
            raise ExperimentError(f"{target} would stand in the sweep {sweep}; choose another folder")
    if format == "parquet":
        from expedition.trajectory.reading.extras import library

        library("pyarrow", "export as parquet")
    return _Export(rows, format, target, columns)


class _Export:
    def __init__(self, rows: Sequence[RunRow], format: str, target: Path, columns: Sequence[str]) -> None:
        self._rows = rows
        self._columns = columns
        self._format = format
        self._target = target
        self.problems: list[str] = []
        self.question = f"export {counted(len(rows), 'run')} as {format} to {target}?" if rows else ""

    def preview(self) -> Iterator[str]:
        """Yield the runs that would be written."""
        for row in self._rows:
            yield f"export {name_of(row)}"

    def apply(self) -> Iterator[str]:
        """Write the file or folder, whole or not at all."""
        if not self._rows:
            return
        temporary = temporary_name(self._target)
        try:
            if self._format == "folder":
                temporary.mkdir()
                yield from self._write_folder(temporary)
            else:
                with open(temporary, "xb") as file:
                    if self._format == "csv":
                        file.write(_csv(self._rows, self._columns))
                    else:
                        from expedition.reporting.parquet import write_parquet

                        write_parquet(self._rows, file, self._columns)
                    file.flush()
                    os.fsync(file.fileno())
            put_in_place(temporary, self._target)
        except (OSError, ExpeditionError) as error:
            self.problems.append(f"{self._target} was not written: {reason_of(error)}")
            return
        finally:
            with contextlib.suppress(OSError):
                if temporary.is_dir():
                    shutil.rmtree(temporary, ignore_errors=True)
                else:
                    temporary.unlink(missing_ok=True)
        size = f", {format_bytes(self._target.stat().st_size)}" if self._format != "folder" else ""
        yield f"{self._target}: {counted(len(self._rows), 'run')}{size}"

    def _write_folder(self, folder: Path) -> Iterator[str]:
        from expedition.reporting.plain_folder import write_run

        taken: set[str] = set()
        for row in self._rows:
            name = _folder_name(row, taken)
            place = folder.joinpath(*name.split("/"))
            try:
                self.problems += [f"{name}: {problem}" for problem in write_run(row.record(), place)]
            except (DamagedError, RecordNotFoundError) as error:
                self.problems.append(f"{name_of(row)} was left out: {error}")
                continue
            yield f"exported {name_of(row)}"
        (folder / "runs.csv").write_bytes(_csv(self._rows))


def _csv(rows: Sequence[RunRow], columns: Sequence[str] = ()) -> bytes:
    from expedition.reporting.run_tables import all_as_csv

    return (all_as_csv(rows, columns) + "\n").encode("utf-8", "backslashreplace")


def _folder_name(row: RunRow, taken: set[str]) -> str:
    """Return the folder of a run in the export: experiment, sweep, run; what is no name of a folder is left out."""
    from expedition.values.files import file_stem

    parts: list[Any] = [
        *row.namespace.split("/"),
        row.sweep,
        row.path.name if row.path != row.sweep_path else row.id,
    ]
    name = "/".join(
        file_stem(part).replace(".", "_") if set(part) <= {"."} else part for part in parts if part
    )
    unique, number = name, 1
    while unique.casefold() in taken:
        number += 1
        unique = f"{name}+{number}"
    taken.add(unique.casefold())
    return unique
