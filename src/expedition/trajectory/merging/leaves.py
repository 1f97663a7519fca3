"""Writes the branches of a merged file: every leaf once, in the order in which the inputs have them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.array_source import ArraySource
from expedition.trajectory.file.stored import Spill, compact
from expedition.trajectory.merging.cells import Tails, first_cell, gather_cells, in_order, shifted
from expedition.trajectory.merging.columns import Piece, are_json, join_typed, json_texts, pieces_of
from expedition.trajectory.merging.plan import MergePlan
from expedition.trajectory.writing.gather import Cells, Columns, merged
from expedition.trajectory.writing.leaves import LeafWriter
from expedition.trajectory.writing.parameters import parameter_segments
from expedition.trajectory.writing.writer import FileWriter
from expedition.values.columns import MISSING
from expedition.values.tagged import canonical_text


class MergedLeaves(LeafWriter):
    """Writes the leaves of a merged file."""

    def __init__(self, writer: FileWriter, plan: MergePlan, spill: Spill) -> None:
        super().__init__(writer, spill, ArraySource(spill, {}))  # all arrays wait in the spill file
        self.plan = plan
        self._tails = Tails()

    def parameters(self) -> None:
        """Write the parameters as the first input declares them; one whose value differs counts as swept."""
        found: dict[str, list[Piece]] = {}
        for path, pieces in pieces_of(self.plan.parts, fmt.PARAMETERS, empty=True).items():
            name = str(pieces[0].entry.get("name", path.partition("/")[2]))
            found.setdefault(name, []).extend(pieces)
        names = list(found)
        for name in names:
            pieces = found.pop(name)
            segments = parameter_segments(name, names)
            fill = self.plan.fill.get(name, MISSING)
            if fill is not MISSING or any(piece.path == self.plan.trial for piece in pieces):
                cells = gather_cells(pieces, 0, self._tails, self.spill)
                self.leaf(
                    fmt.PARAMETERS, segments, self._filled(shifted(cells, pieces, self.plan), name, fill)
                )
            else:
                self._leaf(fmt.PARAMETERS, segments, pieces)
            entry = self.schema["/".join([fmt.PARAMETERS, *segments])]
            entry["name"] = name
            entry["declared"] = pieces[0].entry.get("declared")
            entry["swept"] = any(piece.entry.get("swept") for piece in pieces) or self._differ(pieces, fill)

    def branch(self, branch: str) -> None:
        """Write the leaves of a branch; those after the first 1,000 share one JSON column."""
        found = pieces_of(self.plan.parts, branch)
        tops = _tops(found)
        names = [path for path in found if path not in tops]
        below: dict[str, list[str]] = {}
        for path, top in tops.items():
            below.setdefault(top, []).append(path)
        written = 0
        tail: dict[str, Cells] = {}
        for path in names:
            parts = {p: found.pop(p) for p in [path, *below.get(path, ())]}
            if len(parts) > 1 or written >= fmt.LEAF_LIMIT:
                columns = self._cells(parts)
                if written >= fmt.LEAF_LIMIT:
                    tail.update(columns)
                    continue
                for name, cells in columns.items():
                    self.leaf(branch, name.split("/"), cells)
                written += len(columns)
            else:
                written += self._leaf(branch, path.split("/")[1:], parts[path])
        if tail:
            warnings.warn(
                f"the runs have {written + len(tail):,} different {branch.replace('_', ' ')}; those after the first "
                f"{fmt.LEAF_LIMIT:,} share one JSON column of the merged trajectory: store them as dicts or arrays",
                UserWarning,
                stacklevel=2,
            )
            self.tail(branch, tail)

    def _leaf(self, branch: str, segments: Sequence[str], pieces: Sequence[Piece]) -> bool:
        """Write one leaf; tell whether there was anything to be written."""
        path, always = "/".join([branch, *segments]), branch == fmt.PARAMETERS
        column = join_typed(pieces, self.writer.n_runs)
        if column is not None:
            if not always and column.state is not None and not column.state.any():
                return False
            at = self.writer.place([branch, *segments])
            self.schema[path] = {**self._typed(at, column, []), "at": at}
        elif are_json(pieces):
            at = self.writer.place([branch, *segments])
            self.schema[path] = {**self._joined_json(at, pieces), "at": at}
        else:
            cells = gather_cells(pieces, 0, self._tails, self.spill)
            if not cells.rows and not always:
                return False
            self.leaf(branch, segments, cells)
        return True

    def _joined_json(self, at: str, pieces: Sequence[Piece]) -> dict[str, Any]:
        """Write a JSON column from file to file, a part at a time."""
        import numpy as np

        states = np.full(self.writer.n_runs, fmt.MISSING, np.uint8)
        sources = np.zeros(self.writer.n_runs, np.bool_)  # whether a cell is of a column of references
        for piece in pieces:
            sources[piece.part.targets] = piece.encoding == "reference"
        refers = True

        def texts() -> Iterator[tuple[int, str]]:
            nonlocal refers
            for row, text in json_texts(pieces, self.writer.n_runs):
                states[row] = fmt.NONE if text == "null" else fmt.VALUE
                refers = refers and (text == "null" or bool(sources[row]))
                yield row, text

        dataset = self.writer.texts(at, texts(), {})
        dataset.attrs["encoding"] = encoding = "reference" if refers else "json"
        self.writer.state(at, states)
        entry: dict[str, Any] = {"kind": "json", "python_type": "json", "encoding": encoding}
        codecs: dict[str, int] = {}
        for piece in pieces:
            for name, version in piece.entry.get("codecs", {}).items():
                codecs[name] = max(version, codecs.get(name, 1))
        return {**entry, "codecs": dict(sorted(codecs.items()))} if codecs else entry

    def _cells(self, parts: dict[str, list[Piece]]) -> Columns:
        """Return the cells of some leaves by their names; a name that is leaf and group is one leaf."""
        columns = Columns()
        for order, (path, pieces) in enumerate(parts.items()):
            cells = gather_cells(pieces, order, self._tails, self.spill)
            if cells.rows:
                columns[path.partition("/")[2]] = cells
        return merged(columns, self.spill)

    def _filled(self, cells: Cells, name: str, fill: Any) -> Cells:
        """Give the runs of inputs that lack a parameter the value that was asked for."""
        if fill is MISSING:
            return cells
        if type(fill) is dict:
            fill = compact(fill, self.spill)
        for part in self.plan.parts:
            if name not in part.parameters():
                for target in part.targets.tolist():
                    cells.add(target, fill)
        return in_order(cells)

    def _differ(self, pieces: Sequence[Piece], fill: Any) -> bool:
        """Tell whether a fixed parameter has another value in another input."""
        cells = [first_cell(piece, self._tails, self.spill) for piece in pieces if len(piece.part.rows)]
        if fill is not MISSING:
            cells.append(fill)
        return len({"" if cell is MISSING else canonical_text(cell) for cell in cells}) > 1


def _tops(paths: Iterable[str]) -> dict[str, str]:
    """Return the paths that have a leaf above them, each with the topmost one."""
    known = dict.fromkeys(paths)
    tops = {}
    for path in known:
        parts = path.split("/")
        for depth in range(2, len(parts)):
            prefix = "/".join(parts[:depth])
            if prefix in known:
                tops[path] = prefix
                break
    return tops
