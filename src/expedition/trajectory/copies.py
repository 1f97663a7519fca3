"""Copies of a trajectory file: as it is, to keep it, or rewritten without the space that changes left in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from expedition.errors import ExperimentError, OutputExistsError
from expedition.trajectory.file.noting import take_sweep_notes
from expedition.trajectory.file.publish import TRIES, OvertakenError, check_free, replacing, stamp_of
from expedition.trajectory.file.store import Store
from expedition.trajectory.rewriting import dropped_columns, rewrite


class Compacted(NamedTuple):
    """What `compact` did: bytes of the file `before` and `after`."""

    before: int
    after: int


def backup(path: Path | str, to: Path | str | None = None) -> Path:
    """Copy a trajectory file, or that of a sweep folder; return the path of the copy.

    Without `to` the copy stands beside the file, with ``backup`` and the time in its name; where `to` is a
    folder, it stands there under that name. It appears when it is whole and on the disk.

    Raises `OutputExistsError` when there is a file already, and `RecordNotFoundError` or
    `TrajectoryFormatError` when there is no trajectory that can be read.
    """
    store = Store(path)
    store.close()
    source = store.path
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S-%fZ")
    name = f"{source.stem}.backup-{stamp}{source.suffix}"
    target = source.with_name(name) if to is None else Path(to)
    if to is not None and target.is_dir():
        target = target / name
    check_free(target)
    with replacing(target, overwrite=False) as temporary:
        shutil.copyfile(source, temporary)  # a published file never changes, so what was opened is whole
        shutil.copystat(source, temporary)
        take_sweep_notes(store, temporary)
    return target


def compact(path: Path | str, to: Path | str | None = None, *, drop: str | Iterable[str] = ()) -> Compacted:
    """Rewrite a trajectory file, or that of a sweep folder, without lost space; return its sizes in bytes.

    Content, chunks and compression stay as they are. The file is replaced in one step, and only when that
    makes it smaller; with `to` it stays and the other one is written. `drop` names columns or groups to leave
    out (``"results/V"``): results, derived parameters, series and configuration, not what tells the runs apart.

    Raises `OutputExistsError` when there is a file `to` already, or when a sweep replaces the file all the
    time; `NameNotFoundError` with near matches for what cannot be dropped; `ExperimentError` when columns
    would be dropped from the trajectory of a sweep in place, where they would be back when it is compiled;
    `RecordNotFoundError` or `TrajectoryFormatError` when there is no trajectory that can be read.
    """
    names = [drop] if isinstance(drop, str) else list(drop)
    for _ in range(TRIES):
        stamp = stamp_of(Store.path_of(path))
        store = Store(path)
        target = store.path if to is None else Path(to)
        sizes = Compacted(store.file.id.get_filesize(), store.file.id.get_filesize())
        try:
            if to is not None:
                check_free(target)
            elif names and store.is_of_sweep:
                raise ExperimentError(
                    f"{store.path} is compiled from the runs of its sweep, which have {', '.join(names)} still: "
                    f"give another file, compact(path, to, drop=…)"
                )
            dropped = dropped_columns(store, names)
            # By the sweep that is running: its newer file counts.
            with replacing(target, overwrite=to is None, only=stamp if to is None else None) as temporary:
                rewrite(store, temporary, dropped)
                if to is not None:
                    take_sweep_notes(store, temporary)
                sizes = Compacted(sizes.before, temporary.stat().st_size)
                if to is None and not dropped and sizes.after >= sizes.before:
                    raise _NoGainError
                shutil.copymode(store.path, temporary)
            return sizes
        except OvertakenError:
            continue
        except _NoGainError:
            return Compacted(sizes.before, sizes.before)
        finally:
            store.close()
    raise OutputExistsError(
        f"{path} is replaced all the time by the sweep that writes it: compact it when the sweep has ended"
    )


class _NoGainError(Exception):
    """What was rewritten is not smaller."""
