"""What is written last into a trajectory file: flat names, the schema and the attributes of the root."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from expedition.archive.sweep import SweepFolder
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.notes import Notes
from expedition.trajectory.file.noting import apply_notes
from expedition.trajectory.writing.heading import Schema, flat_links, generator, relink
from expedition.trajectory.writing.writer import FileWriter
from expedition.values import dumps


def finish_file(
    writer: FileWriter,
    schema: dict[str, dict[str, Any]],
    members: Mapping[str, Any],
    attrs: Mapping[str, Any],
    lists: Mapping[str, Sequence[str]],
    *,
    links: Mapping[str, str] | None = None,
) -> None:
    """Link the flat names, write the schema and the attributes of the root, in the place of earlier ones.

    `members` are further ones of the schema's document; `lists` has the attributes that are lists of text. With
    `links`, the flat names are there already.
    """
    import h5py
    import numpy as np

    file = writer.file
    if links is None:
        links = flat_links(schema)
        relink(file, {}, links, frozenset())
    for order, entry in enumerate(schema.values()):
        entry["order"] = order
    if fmt.SCHEMA in file:
        del file[fmt.SCHEMA]
    document = {"version": fmt.FORMAT_VERSION, "columns": schema, **members}
    file.create_dataset(fmt.SCHEMA, data=dumps(document), dtype=h5py.string_dtype())
    coordinates = [
        name
        for name, path in links.items()
        if path.startswith((fmt.PARAMETERS + "/", fmt.RUNS + "/")) and not set(name) & set(" \t")
    ]
    everywhere = {
        "Conventions": fmt.CONVENTIONS,
        "format": fmt.FORMAT,
        "format_version": fmt.FORMAT_VERSION,
        "n_runs": np.int64(writer.n_runs),
        "generator": generator(),
        "coordinates": " ".join(coordinates),
    }
    for name, value in {**everywhere, **attrs}.items():
        file.attrs[name] = value
    for name, texts in lists.items():
        file.attrs.create(name, list(texts), shape=(len(texts),), dtype=h5py.string_dtype())


def write_heading(
    writer: FileWriter,
    schema: Schema,
    sweep: SweepFolder,
    *,
    complete: bool,
    moment: int | None,
    links: Mapping[str, str] | None = None,
) -> None:
    """Write schema, flat links and attributes of the file of a sweep.

    `complete` tells whether every run has ended, `moment` is the last start or end of a run (µs), if any. With
    `links`, the flat links are there already.
    """
    import numpy as np

    manifest, about = sweep.manifest, sweep.manifest["experiment"]
    modified = manifest["created"]
    if moment is not None:
        modified = datetime.fromtimestamp(moment / 1e6, UTC).isoformat()
    attrs: dict[str, Any] = {
        "complete": np.int8(complete),
        "created": manifest["created"],
        "modified": modified,
        "title": about.get("description") or about["name"],
        "experiment": about["name"],
        "sweep_id": str(manifest.get("sweep", "")),
    }
    lists = {"explored": sweep.swept}
    grid = manifest.get("grid")
    # No more so when later invocations added runs.
    if grid and math.prod(grid["shape"]) == writer.n_runs:
        lists["grid_dims"] = grid["dims"]
        attrs["grid_shape"] = np.array(grid["shape"], np.int64)
    for name in {"grid_dims", "grid_shape"} - {*lists, *attrs}:
        if name in writer.file.attrs:
            del writer.file.attrs[name]
    said = apply_notes(writer.file, schema, Notes.of_sweep(sweep.path))
    finish_file(writer, schema, said, attrs, lists, links=links)
