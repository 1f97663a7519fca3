"""What a trajectory file knows of the sweep folder that it was compiled from, so that the next one can build on it."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from expedition.archive.commits import ChangedError, Mark, Reading, read_mark
from expedition.archive.sweep import DescribedSweep, RunEntry, SweepFolder, parse_invocation
from expedition.recording import layout
from expedition.recording.plain_files import open_plain, read_plain
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.stored import StoredArray, StoredValue
from expedition.trajectory.writing.annotations import Said
from expedition.trajectory.writing.gather import Cells

if TYPE_CHECKING:
    import h5py

    from expedition.trajectory.file.store import Store

VERSION = 1
_LARGE = frozenset({"runs", "provenance"})
"""Members of the manifest that are not kept: the runs are rows of the file."""


_LAID_OUT = frozenset({"array", "npy", "npz", "masked", "sparse", "frame", "pandas"})
"""Tags of cells for which columns may have layouts of their own."""


def is_mixed(cell: Any) -> bool:
    """Tell whether a cell of a JSON column is an array, frame or the like: what becomes of it depends on all cells."""
    return isinstance(cell, StoredArray | StoredValue) or (
        type(cell) is dict and str(cell.get("$")) in _LAID_OUT
    )


def count_distinct(cells: Iterable[Any]) -> int:
    """Return how many different arrays there are at least among some cells: their CRCs tell."""
    return len({(cell.crc, cell.dtype, cell.shape) for cell in cells if type(cell) is StoredArray})


class UnfitError(Exception):
    """The last file cannot be extended to what a whole compile would give; the message says why."""


@dataclass
class Growth:
    """The document ``/_meta/growth``.

    Attributes
    ----------
    files : per file of the sweep folder that was read, how far.
    reading : what was taken in of the commit logs and run folders.
    manifest : the members of ``sweep.json`` but for the runs and the provenance.
    declared, swept : parameters and names of swept ones, those of later invocations included.
    notes : per annotated name and ``comment`` or ``unit`` what was said.
    mixed : columns of JSON text with arrays or frames among their cells.
    distinct : of columns of arrays how many distinct ones there are at least. Where they repeat often enough, a
        whole compile stores each once.
    fit : whether the file may be extended at all.
    steps : how often it has been extended since it was last written as a whole.
    waste : bytes in the file that no dataset uses any more.
    schema : CRC-32 of the schema; that of a file which lost columns is another.
    """

    files: dict[str, Mark]
    reading: Reading
    manifest: dict[str, Any]
    declared: dict[str, dict[str, Any]]
    swept: list[str]
    notes: dict[str, dict[str, Said]] = field(default_factory=dict)
    mixed: list[str] = field(default_factory=list)
    distinct: dict[str, int] = field(default_factory=dict)
    fit: bool = True
    steps: int = 0
    waste: int = 0
    schema: int = 0

    @classmethod
    def begin(cls, sweep: SweepFolder, reading: Reading) -> Growth:
        """Note the files that a whole compile is about to read."""
        return cls(
            files=_read_files(sweep.path, {}),
            reading=reading,
            manifest={name: value for name, value in sweep.manifest.items() if name not in _LARGE},
            declared=sweep.parameters,
            swept=sweep.swept,
        )

    def note_cells(self, path: str, entry: Mapping[str, Any], column: Cells) -> None:
        """Note of a column that was just written what its cells tell and the file does not."""
        if entry["kind"] == "json" and any(map(is_mixed, column.values)):
            self.mixed.append(path)
        elif entry["kind"] == "array" and entry.get("encoding") in (None, "ragged"):
            self.distinct[path] = count_distinct(column.values)

    def knows(self, sweep: SweepFolder) -> bool:
        """Tell whether the files that were noted are those of `sweep`, which may have been opened earlier."""
        lines = _new_lines(sweep.path / layout.INVOCATIONS_FILE, Mark(), self.files)
        added = sum(len(line.get("runs", ())) for line in lines)
        return len(sweep.manifest["runs"]) + added == len(sweep.entries)

    def write(self, file: h5py.File) -> None:
        """Write the document into a file that has its schema, in the place of an earlier one."""
        import h5py

        self.schema = zlib.crc32(file[fmt.SCHEMA][()])
        if fmt.GROWTH in file:
            del file[fmt.GROWTH]
        file.create_dataset(fmt.GROWTH, data=self.to_json(), dtype=h5py.string_dtype())

    def to_json(self) -> str:
        """Return the document."""
        reading = {
            "logs": {name: [mark.size, mark.crc] for name, mark in self.reading.marks.items()},
            "recovered": {str(row): held for row, held in sorted(self.reading.recovered.items())},
        }
        notes = {
            name: {kind: dataclasses.asdict(said) for kind, said in kinds.items()}
            for name, kinds in self.notes.items()
        }
        document = {
            "version": VERSION,
            "fit": self.fit and not self.reading.strays,
            "steps": self.steps,
            "waste": self.waste,
            "schema": self.schema,
            "files": {name: [mark.size, mark.crc] for name, mark in self.files.items()},
            **reading,
            "manifest": self.manifest,
            "declared": self.declared,
            "swept": self.swept,
            "notes": notes,
            "mixed": self.mixed,
            "distinct": self.distinct,
        }
        return json.dumps(document, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Growth:
        """Read the document. Raises `UnfitError` when it is of another version, or says that it is of no use."""
        try:
            document = json.loads(text)
            if document["version"] != VERSION or not document["fit"]:
                raise UnfitError("its last compile left it unfit to be extended")
            return cls(
                files={name: Mark(*mark) for name, mark in document["files"].items()},
                reading=Reading(
                    {name: Mark(*mark) for name, mark in document["logs"].items()},
                    {int(row): (held[0], held[1]) for row, held in document["recovered"].items()},
                ),
                manifest=document["manifest"],
                declared=document["declared"],
                swept=document["swept"],
                notes={
                    name: {kind: Said(**said) for kind, said in kinds.items()}
                    for name, kinds in document["notes"].items()
                },
                mixed=document["mixed"],
                distinct=document["distinct"],
                steps=document["steps"],
                waste=document["waste"],
                schema=document["schema"],
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise UnfitError(f"/{fmt.GROWTH} is damaged: {error!r}") from error


def _read_files(path: Path, known: Mapping[str, Mark]) -> dict[str, Mark]:
    """Return how far the files beside the logs go. Raises `ChangedError` where they are not what they were."""
    manifest = read_plain(path / layout.SWEEP_FILE)
    digest = Mark(len(manifest), zlib.crc32(manifest))
    if known.get(layout.SWEEP_FILE, digest) != digest:
        raise ChangedError(f"{layout.SWEEP_FILE} is not what it was")
    marks = {layout.SWEEP_FILE: digest}
    for name in (layout.INVOCATIONS_FILE, layout.NOTES_FILE):
        marks[name] = read_mark(path / name, known.get(name))
    if layout.NOTES_FILE in known and marks[layout.NOTES_FILE].size != known[layout.NOTES_FILE].size:
        raise ChangedError(f"{layout.NOTES_FILE} says more of the columns")
    return marks


class GrownSweep(DescribedSweep):
    """A sweep of which only what was added is read; of the rest the last trajectory file tells.

    Attributes
    ----------
    added : the runs that were added to the design since that file was written.
    files : how far the files of the sweep folder have now been read.
    """

    added: list[RunEntry]
    files: dict[str, Mark]

    @classmethod
    def read(cls, path: Path, growth: Growth, store: Store) -> GrownSweep:
        """Read what the invocations added. Raises `UnfitError` when something else has changed."""
        sweep = cls(path, growth.manifest)
        try:
            files = _read_files(path, growth.files)
        except ChangedError as error:
            raise UnfitError(str(error)) from error
        rows: list[dict[str, Any]] = []
        declared = dict(growth.declared)
        for line in _new_lines(path / layout.INVOCATIONS_FILE, growth.files[layout.INVOCATIONS_FILE], files):
            rows.extend(line.get("runs", ()))
            for name, about in line.get("parameters", {}).items():
                if name not in declared and "value" in about:
                    raise UnfitError(f"the parameter {name} was added with a value for all runs")
                declared.setdefault(name, about)
        added = sweep.numbered(rows, store.n_runs)
        first = set(growth.manifest["swept"])
        later = {name for entry in added for name in entry.params} | set(growth.swept)
        swept = [*growth.manifest["swept"], *(n for n in declared if n in later and n not in first)]
        sweep.__dict__.update(
            added=added,
            files=files,
            entries=_Entries(store, added),
            _parameters={n: {**a, "swept": True} if n in swept else a for n, a in declared.items()},
            _swept=swept,
        )
        return sweep


def _new_lines(path: Path, start: Mark, files: Mapping[str, Mark]) -> list[dict[str, Any]]:
    size = files[path.name].size - start.size
    if not size:
        return []
    with open_plain(path) as stream:
        stream.seek(start.size)
        lines = stream.read(size).splitlines(keepends=True)
    return [parsed for line in lines if (parsed := parse_invocation(line)) is not None]


class _Entries(Sequence[RunEntry]):
    """The planned runs: those that have a row already as that row tells them, without their parameters."""

    def __init__(self, store: Store, added: list[RunEntry]) -> None:
        self._store = store
        self._added = added
        self._texts: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return self._store.n_runs + len(self._added)

    @overload
    def __getitem__(self, index: int) -> RunEntry: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RunEntry]: ...

    def __getitem__(self, index: int | slice) -> RunEntry | Sequence[RunEntry]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index >= self._store.n_runs:
            return self._added[index - self._store.n_runs]
        if not self._texts:
            self._texts = {name: self._store.read_text(f"{fmt.RUNS}/{name}") for name in ("key", "folder")}
        return RunEntry(index, "", self._texts["key"][index], self._texts["folder"][index], {}, 0)
