"""Compiles the trajectory of a sweep from its folder: a whole new file, put into place in one step."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.archive.commits import latest_commits
from expedition.archive.sweep import SweepFolder
from expedition.recording import layout, outcomes
from expedition.trajectory import format as fmt
from expedition.trajectory.arrays import ArraySource
from expedition.trajectory.gather import Cells, Gathered, RunFolders, compact, gather
from expedition.trajectory.leaves import LeafWriter
from expedition.trajectory.series import collect_series, write_series
from expedition.trajectory.writer import FileWriter
from expedition.values import dumps

if TYPE_CHECKING:
    import h5py


_OPEN = frozenset({outcomes.PENDING, outcomes.RUNNING, outcomes.UNKNOWN})


def compile_trajectory(folder: Path | str | SweepFolder) -> Path:
    """Write ``trajectory.h5`` of a sweep folder anew from its commit logs and run folders; return its path.

    The same folder gives the same file. The file that is there is replaced in one step, when the new one is
    whole and on the disk, so a reader never sees a part and a kill leaves the last one. Memory grows with the
    number of scalars, not with arrays and series.

    The attribute ``complete`` is 1 when every run of the design has ended.

    Raises `DamagedError` when `folder` is no sweep folder and `OSError` when the file cannot be written.
    Warns of arrays that cannot be read; their cells stay empty.
    """
    import h5py

    sweep = folder if isinstance(folder, SweepFolder) else SweepFolder.open(folder)
    target = sweep.path / layout.TRAJECTORY_FILE
    _remove_stale(target)
    temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}")
    table = gather(sweep, latest_commits(sweep))
    try:
        with h5py.File(temporary, "w", libver=("earliest", "v110")) as file:
            _write(file, sweep, table)
        _publish(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    finally:
        table.spill.close()
    return target


def _publish(temporary: Path, target: Path) -> None:
    with open(temporary, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(temporary, target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(target: Path) -> None:
    """Remove what compilers left that were killed."""
    for path in target.parent.glob(f"{target.name}.tmp-*"):
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and int(pid) != os.getpid() and _is_alive(int(pid)):
            continue
        with contextlib.suppress(OSError):
            path.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _write(file: h5py.File, sweep: SweepFolder, table: Gathered) -> None:
    folders = RunFolders(sweep)
    writer = FileWriter(file, table.n_runs)
    leaves = LeafWriter(writer, table.spill, ArraySource(table.spill, folders))
    for branch in (*fmt.BRANCHES, fmt.SERIES, fmt.RUNS):
        file.require_group(branch)
    _write_parameters(leaves, sweep)
    _write_branch(leaves, fmt.DERIVED, table.derived)
    _write_branch(leaves, fmt.RESULTS, table.results)
    for path, value in _flattened(sweep.manifest.get("options", {}), ()):
        leaves.constant(fmt.CONFIG, path, value)
    for name, series in collect_series(table, folders).items():
        entry, failed = write_series(writer, name, series, folders)
        leaves.schema[f"{fmt.SERIES}/{name}"] = entry
        leaves.failed.extend(failed)
    _write_runs(writer, sweep, table)
    _annotate(writer, leaves.schema, table)
    _finish(writer, leaves.schema, sweep, table)
    _warn(sweep, leaves.failed)


def _write_parameters(leaves: LeafWriter, sweep: SweepFolder) -> None:
    names = sweep.parameters
    mentioned = {name for entry in sweep.entries for name in (*entry.params, *entry.absent)}
    for name, about in names.items():
        segments = name.split(".")
        # A name that is also the beginning of another stays whole, like a name with odd dots.
        beginnings = {".".join(segments[:k]) for k in range(1, len(segments))}
        if not all(segments) or beginnings & names.keys() or any(n.startswith(f"{name}.") for n in names):
            segments = [name]
        if "value" in about and name not in mentioned:
            leaves.constant(fmt.PARAMETERS, segments, about["value"])
        else:
            leaves.leaf(fmt.PARAMETERS, segments, _swept_cells(leaves, sweep, name, about))
        entry = leaves.schema["/".join([fmt.PARAMETERS, *segments])]
        entry["name"] = name
        entry["declared"] = about.get("type")
        entry["swept"] = bool(about.get("swept"))
        for key, source in (("comment", "description"), ("unit", "unit")):
            if about.get(source):
                entry[key] = about[source]


def _swept_cells(leaves: LeafWriter, sweep: SweepFolder, name: str, about: dict[str, Any]) -> Cells:
    column = Cells(0)
    for entry in sweep.entries:
        if name in entry.params:
            cell = entry.params[name]
        elif "value" in about and name not in entry.absent:
            cell = about["value"]
        else:
            continue
        column.add(entry.index, compact(cell, leaves.spill) if type(cell) is dict else cell)
    return column


def _write_branch(leaves: LeafWriter, branch: str, columns: dict[str, Cells]) -> None:
    names = list(columns)
    for name in names[: fmt.LEAF_LIMIT]:
        leaves.leaf(branch, name.split("/"), columns.pop(name))
    if columns:
        warnings.warn(
            f"the runs have {len(names):,} different {branch.replace('_', ' ')}; those after the first "
            f"{fmt.LEAF_LIMIT:,} share one JSON column of the trajectory: store them as dicts or arrays",
            UserWarning,
            stacklevel=2,
        )
        leaves.tail(branch, columns)


def _flattened(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the leaves of the options; a dict with odd keys is one leaf."""
    for key, value in tree.items():
        if isinstance(value, dict) and value and all(k and "/" not in k and k != "$" for k in value):
            yield from _flattened(value, (*path, key))
        else:
            yield (*path, key), value


def _write_runs(writer: FileWriter, sweep: SweepFolder, table: Gathered) -> None:
    """Write what is known of every run; its text as characters, since it is most of a small file."""
    import numpy as np

    from expedition.values.columns import MISSING, build_column

    entries = sweep.entries
    for name, texts in (
        ("id", [entry.id for entry in entries]),
        ("key", [entry.key for entry in entries]),
        ("folder", [entry.folder for entry in entries]),
        ("status", table.status),
        ("worker", table.worker),
        ("error", table.error),
    ):
        writer.chars(f"{fmt.RUNS}/{name}", texts)
    started = np.array([fmt.INT64_MIN if t is None else t for t in table.start], np.int64)
    stopped = np.array([fmt.INT64_MIN if t is None else t for t in table.stop], np.int64)
    for name, times in (("start", started), ("stop", stopped)):
        fill = fmt.INT64_MIN if (times == fmt.INT64_MIN).any() else None
        attrs = {"units": fmt.TIME_UNITS, "calendar": fmt.CALENDAR, "timezone": "UTC"}
        writer.column(f"{fmt.RUNS}/{name}", times, attrs, fill)
    ended = (started != fmt.INT64_MIN) & (stopped != fmt.INT64_MIN)
    seconds = np.where(ended, stopped - np.where(ended, started, 0), 0) / 1e6
    seconds[~ended] = np.nan
    writer.column(f"{fmt.RUNS}/duration", seconds, {"unit": "s"}, None if ended.all() else np.nan)
    writer.column(f"{fmt.RUNS}/replicate", np.array([e.replicate for e in entries], np.int64), {})
    writer.column(f"{fmt.RUNS}/attempt", np.array(table.attempt, np.int64), {})
    seeds = build_column([MISSING if seed is None else seed for seed in table.seed])
    if isinstance(seeds.values, list):  # beyond 64 bits
        writer.text(f"{fmt.RUNS}/seed", seeds.values, seeds.attrs)
    else:
        attrs = {name: value for name, value in seeds.attrs.items() if name != "_FillValue"}
        writer.column(f"{fmt.RUNS}/seed", seeds.values, attrs, seeds.attrs.get("_FillValue"))


def _annotate(writer: FileWriter, schema: dict[str, dict[str, Any]], table: Gathered) -> None:
    """Put comments and units into the schema, on the columns and into ``/annotations``.

    Runs usually agree; where they do not, the last run has its way for the column, and ``/annotations``
    has the text of every run.
    """
    for key, notes in table.annotations.items():
        branches = (fmt.RESULTS, fmt.SERIES, fmt.DERIVED, fmt.PARAMETERS)
        found = [f"{branch}/{key}" for branch in branches if f"{branch}/{key}" in schema]
        if not found:
            continue
        path = found[0]
        for name in ("comment", "unit"):
            texts = {row: note[name] for row, note in notes.items() if note.get(name)}
            if not texts:
                continue
            schema[path][name] = texts[max(texts)]
            if len(set(texts.values())) > 1:
                at = f"{fmt.ANNOTATIONS}/{schema[path]['at']}/{name}"
                clean = {row: text.replace("\0", "�") for row, text in texts.items()}
                writer.text(at, [clean.get(row, "") for row in range(writer.n_runs)], {})
    for entry in schema.values():
        for name in ("comment", "unit"):
            if name in entry and entry.get("encoding") != "tail":
                node = writer.file[entry["at"]]
                node.attrs[name] = entry[name]
                writer.file.require_group(f"{fmt.ANNOTATIONS}/{entry['at']}").attrs[name] = entry[name]


def _flat_names(schema: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for branch in (fmt.PARAMETERS, fmt.DERIVED, fmt.RESULTS):
        for path, entry in schema.items():
            if path.startswith(branch + "/") and entry["kind"] != "array" and entry.get("encoding") is None:
                name = path[len(branch) + 1 :].replace("/", ".")
                yield name, f"{branch}.{name}", entry["at"]


def _finish(
    writer: FileWriter, schema: dict[str, dict[str, Any]], sweep: SweepFolder, table: Gathered
) -> None:
    import h5py
    import numpy as np

    from expedition import __version__

    file = writer.file
    flat = [(name, f"{fmt.RUNS}.{name}", f"{fmt.RUNS}/{name}") for name in ("id", "status", "replicate")]
    flat.extend(_flat_names(schema))
    names = writer.link_flat(flat[: fmt.FLAT_LIMIT])
    manifest, about = sweep.manifest, sweep.manifest["experiment"]
    for order, entry in enumerate(schema.values()):
        entry["order"] = order
    document = {"version": fmt.FORMAT_VERSION, "columns": schema}
    file.create_dataset(fmt.SCHEMA, data=dumps(document), dtype=h5py.string_dtype())
    moments = [t for t in (*table.start, *table.stop) if t is not None]
    modified = datetime.fromtimestamp(max(moments) / 1e6, UTC).isoformat() if moments else manifest["created"]
    coordinates = [
        name
        for name, path in names.items()
        if path.startswith((fmt.PARAMETERS + "/", fmt.RUNS + "/")) and not set(name) & set(" \t")
    ]
    attrs: dict[str, Any] = {
        "Conventions": fmt.CONVENTIONS,
        "format": fmt.FORMAT,
        "format_version": fmt.FORMAT_VERSION,
        "n_runs": np.int64(table.n_runs),
        "complete": np.int8(_OPEN.isdisjoint(table.status)),
        "created": manifest["created"],
        "modified": modified,
        "generator": f"pytest-expedition {__version__}",
        "title": about.get("description") or about["name"],
        "experiment": about["name"],
        "sweep_id": str(manifest.get("sweep", "")),
        "coordinates": " ".join(coordinates),
    }
    for name, value in attrs.items():
        file.attrs[name] = value
    _list_attribute(file, "explored", sweep.swept)
    grid = manifest.get("grid")
    if grid and math.prod(grid["shape"]) == len(
        sweep.entries
    ):  # no more so when later invocations added runs
        _list_attribute(file, "grid_dims", grid["dims"])
        file.attrs["grid_shape"] = np.array(grid["shape"], np.int64)


def _list_attribute(file: h5py.File, name: str, texts: list[str]) -> None:
    import h5py

    file.attrs.create(name, texts, shape=(len(texts),), dtype=h5py.string_dtype())


def _warn(sweep: SweepFolder, failed: list[tuple[int, str]]) -> None:
    if failed:
        row, reason = failed[0]
        more = f" (and {len(failed) - 1:,} more)" if len(failed) > 1 else ""
        warnings.warn(
            f"the array of run {row} cannot be read and stays empty in the trajectory: {reason}{more}",
            UserWarning,
            stacklevel=2,
        )
