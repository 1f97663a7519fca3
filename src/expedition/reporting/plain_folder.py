"""One run as a folder of plain files, which everybody can read: JSON, CSV, ``.npy``, and the artifacts."""

from __future__ import annotations

import base64
import csv
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from expedition.archive.record import RunRecord
from expedition.errors import DamagedError
from expedition.recording.plain_files import open_plain
from expedition.values import encode
from expedition.values.files import file_stem

README = """This folder holds one run of an experiment.

run.json         what it was and how it ended
parameters.json  its parameters
data.json        what it stored; values in files of their own are {"file": "arrays/…"}
arrays/          arrays (.npy: numpy.load), matrices (.npz: scipy.sparse.load_npz) and frames (.csv)
series/          values that were tracked: step, time (UTC) and value; arrays in a .npy of the same name
artifacts/       files that it committed
log.txt          what it printed
Numbers that JSON does not have are the texts "NaN", "Infinity" and "-Infinity", and very large ones
are hexadecimal ("0x…").
"""

_LARGE = 12_000
"""Bits of a whole number from which on it is hexadecimal, as in the archive: Python refuses to write it in tens."""


def write_run(record: RunRecord, folder: Path) -> Iterator[str]:
    """Write a run to the new folder `folder`; yield what could not be written, one text each.

    Raises `OSError` as the system does.
    """
    folder.mkdir(parents=True)
    arrays = _Arrays(folder)
    (folder / "README.txt").write_text(README, encoding="utf-8")
    _write_json(folder / "run.json", _facts(record))
    wrong: list[str] = []
    for name in ("parameters", "data"):
        try:
            content = record.params if name == "parameters" else record.data
        except DamagedError:
            content = dict(_readable(record, name, wrong))
        _write_json(folder / f"{name}.json", arrays.plain(content, name))
    yield from wrong
    yield from _series(record, folder / "series")
    yield from _artifacts(record, folder / "artifacts")
    try:
        log = record.log_file
    except DamagedError as error:
        yield f"its log was left out: {error}"
        return
    if log is not None:
        shutil.copyfile(log, folder / "log.txt")


def _facts(record: RunRecord) -> dict[str, Any]:
    return {
        "experiment": record.experiment,
        "namespace": record.namespace,
        "sweep": record.sweep,
        "id": record.id,
        "key": record.key,
        "index": record.index,
        "replicate": record.replicate,
        "attempt": record.attempt,
        "status": record.status,
        "started": record.started.isoformat(),
        "stopped": record.stopped.isoformat() if record.stopped else None,
        "duration": record.duration,
        "seed": record.seed,
        "tags": record.tags,
        "notes": record.notes,
        "reason": record.reason,
        "error": record.error._asdict() if record.error else None,
        "annotations": record.annotations,
    }


def _readable(record: RunRecord, what: str, wrong: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield those parameters or stored values of a run that can be read, by their slash paths."""
    if what == "parameters":
        tagged: Mapping[str, Any] = {
            name: about["value"] for name, about in record.meta["parameters"].items()
        }
    else:
        try:
            tagged = record.tagged_data
        except DamagedError as error:
            wrong.append(f"its data were left out: {error}")
            return
        if record.data_problem:
            wrong.append(f"its data are those of the journal: {record.data_problem}")
    for name, value in tagged.items():
        try:
            yield name, record.decoded(value)
        except DamagedError as error:
            wrong.append(f"{name} was left out: {error}")


class _Arrays:
    """Turns values into plain JSON; what is none goes to files in ``arrays/``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()

    def plain(self, value: Any, name: str) -> Any:
        """Return the JSON of a value; `name` is the path that its file gets its name from."""
        if value is None or isinstance(value, bool) or type(value) is str:
            return value
        if type(value) is int:
            return value if value.bit_length() < _LARGE else hex(value)
        if isinstance(value, float):
            return _plain_float(float(value))
        if isinstance(value, Mapping):
            return {str(key): self.plain(item, f"{name}/{key}") for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_fields"):
            items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            return [self.plain(item, f"{name}/{number}") for number, item in enumerate(items)]
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, bytes | bytearray):
            return base64.b64encode(value).decode()
        if type(value).__module__.partition(".")[0] == "numpy" and getattr(value, "shape", None) == ():
            return self.plain(value.item(), name) if value.dtype.kind in "biufUS" else str(value)
        return self._in_file(value, name)

    def _in_file(self, value: Any, name: str) -> Any:
        import numpy as np

        if isinstance(value, np.ma.MaskedArray):
            return {
                "data": self._in_file(np.asarray(value.data), f"{name}/data"),
                "mask": self._in_file(np.ma.getmaskarray(value), f"{name}/mask"),
            }
        if isinstance(value, np.ndarray):
            if not value.dtype.hasobject and value.dtype.kind != "T":
                return self._write(name, ".npy", lambda path: np.save(path, value, allow_pickle=False))
            return [self.plain(item, name) for item in value.tolist()]
        if type(value).__module__.startswith("scipy.sparse"):
            from scipy import sparse

            return self._write(name, ".npz", lambda path: sparse.save_npz(path, value))
        if hasattr(value, "to_csv"):
            return self._write(name, ".csv", lambda path: value.to_csv(path))
        if hasattr(value, "_fields"):
            return {field: self.plain(getattr(value, field), f"{name}/{field}") for field in value._fields}
        tagged = encode(value, name=name)
        if isinstance(tagged, dict) and isinstance(tagged.get("fields"), dict):  # of a dataclass or an enum
            return tagged["fields"]
        return str(value)

    def _write(self, name: str, suffix: str, write: Callable[[Path], object]) -> dict[str, str]:
        stem = file_stem(name.partition("/")[2] or name)
        unique, number = stem, 1
        while f"{unique}{suffix}".casefold() in self._taken:
            number += 1
            unique = f"{stem}+{number}"
        self._taken.add(f"{unique}{suffix}".casefold())
        path = self._folder / "arrays" / f"{unique}{suffix}"
        path.parent.mkdir(exist_ok=True)
        write(path)
        return {"file": f"arrays/{path.name}"}


def _series(record: RunRecord, folder: Path) -> Iterator[str]:
    import numpy as np

    for name in record.series:
        try:
            step, time, value = record.series[name]
        except DamagedError as error:
            yield f"its series {name} was left out: {error}"
            continue
        folder.mkdir(exist_ok=True)
        stem = file_stem(name)
        is_array = value.ndim > 1
        pictures = record.series_list.get(name, {}).get("kind") == "picture"
        if is_array:
            np.save(folder / f"{stem}.npy", value, allow_pickle=False)
        with open(folder / f"{stem}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "time"] if is_array else ["step", "time", "value"])
            for position in range(len(step)):
                cells = [int(step[position]), f"{np.datetime_as_string(time[position])}Z"]
                if pictures:
                    source = Path(value[position])
                    picture = folder / f"{stem}-{position:06}{source.suffix}"
                    try:
                        with open_plain(source) as content, open(picture, "xb") as target:
                            shutil.copyfileobj(content, target)
                    except OSError as error:
                        yield f"a picture of {name} was left out: {error}"
                    cells.append(picture.name)
                elif not is_array:
                    cells.append(
                        value[position].item() if hasattr(value[position], "item") else value[position]
                    )
                writer.writerow(cells)


def _artifacts(record: RunRecord, folder: Path) -> Iterator[str]:
    artifacts = record.artifacts
    for name in artifacts:
        target = folder.joinpath(*name.split("/"))
        try:
            source = artifacts[name]
        except DamagedError as error:
            yield f"its artifact {name} was left out: {error}"
            continue
        if not source.is_file():
            yield f"its artifact {name} was left out: it is missing"
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _plain_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
