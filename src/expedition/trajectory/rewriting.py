"""Rewrites a trajectory file object by object, so that the new one has no lost space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.errors import NameNotFoundError, TrajectoryFormatError
from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.output import open_output
from expedition.trajectory.file.publish import reserve_checksum, seal
from expedition.trajectory.file.store import Store
from expedition.trajectory.reading.tree import build_tree, resolve
from expedition.trajectory.writing.writer import list_dimensions
from expedition.values import dumps, loads

if TYPE_CHECKING:
    import h5py

_OF_DIMENSIONS = frozenset({"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"})
"""Attributes that refer to places in the file, which are others in the copy."""
_DROPPABLE = (fmt.RESULTS, fmt.DERIVED, fmt.SERIES, fmt.CONFIG)


def dropped_columns(store: Store, names: Iterable[str]) -> list[str]:
    """Return the logical paths of the columns that names of columns or groups mean.

    Raises `NameNotFoundError` with near matches, or for a parameter or a field of the runs.
    """
    found: dict[str, None] = {}
    tree = build_tree(store.schema, str(store.path), store.notes)
    for name in names:
        node = resolve(tree, name)
        if node.path.partition("/")[0] not in _DROPPABLE:
            raise NameNotFoundError(
                f"{node.path} tells the runs apart and cannot be dropped from {store.path}"
            )
        found.update(dict.fromkeys(leaf.path for leaf in node.leaves()))
    return list(found)


def rewrite(store: Store, target: Path, dropped: Iterable[str] = ()) -> None:
    """Write the content of an open trajectory to a new file, object by object, without the columns `dropped`.

    Raises `TrajectoryFormatError` for what cannot be copied, or not be read again.
    """
    try:
        with open_output(target, "w") as file:
            _Copy(store, file).all(list(dropped))
            checksum = reserve_checksum(file) if fmt.CHECKSUM in file else None
    except TrajectoryFormatError:
        raise
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise store.damaged("a part of it cannot be copied", error) from error
    if checksum is not None:
        seal(target, checksum)
    Store(target).close()  # refuses what could not be read again


class _Copy:
    """Copies a file object by object. HDF5 itself would leave the references of the dimension scales dangling."""

    def __init__(self, store: Store, target: h5py.File) -> None:
        self._store = store
        self._target = target
        self._names: dict[int, str] = {}  # by the address in the source
        self._datasets: list[h5py.Dataset] = []
        self._skipped: set[int] = set()

    def all(self, dropped: Sequence[str]) -> None:
        """Copy everything but some columns."""
        if dropped:
            self._skip(dropped)
        self._group(self._store.file, self._target)
        if dropped:
            self._describe(dropped)
        for dataset in self._datasets:
            if dataset.is_scale:
                scale_name = dataset.attrs["NAME"]
                text = scale_name.decode() if isinstance(scale_name, bytes) else str(scale_name)
                self._copied(dataset).make_scale(text)
        attached: dict[str, int] = {}
        for dataset in self._datasets:
            for axis, references in enumerate(dataset.attrs.get("DIMENSION_LIST", ())):
                for reference in references:
                    scale = self._copied(self._store.file[reference])
                    attached[scale.name] = attached.get(scale.name, 0) + 1
                    if attached[scale.name] <= fmt.SCALE_LIMIT:
                        self._copied(dataset).dims[axis].attach_scale(scale)
                    else:
                        list_dimensions(self._copied(dataset), axis, scale)

    def _group(self, source: h5py.Group, target: h5py.Group) -> None:
        import h5py

        self._names[_address(source)] = target.name
        _copy_attributes(source, target)
        for name in source:
            if not isinstance(source.get(name, getlink=True), h5py.HardLink):
                raise self._store.damaged(
                    f"{source.name}/{name} leads out of the file or elsewhere, which is refused"
                )
            node = source[name]
            if _address(node) in self._skipped:
                continue
            known = self._names.get(_address(node))
            if known is not None:
                target[name] = self._target[known]
            elif isinstance(node, h5py.Group):
                self._group(node, target.create_group(name))
            elif isinstance(node, h5py.Dataset) and not node.external and not node.is_virtual:
                if h5py.check_string_dtype(node.dtype) is not None and node.dtype.kind == "O":
                    _copy_text(node, target, name)
                else:
                    source.copy(node, target, name=name, without_attrs=True)
                self._names[_address(node)] = target[name].name
                self._datasets.append(node)
                _copy_attributes(node, target[name])
            else:
                raise self._store.damaged(f"{node.name} has its data elsewhere, which is refused")

    def _skip(self, dropped: Sequence[str]) -> None:
        """Note what goes with some columns: their states, what runs said of them, and axes that nobody else has."""
        import h5py

        file = self._store.file
        for path in dropped:
            at = self._store.schema[path]["at"]
            kept_too = [p for p, e in self._store.schema.items() if e["at"] == at and p not in dropped]
            for place in (at, f"{fmt.STATE}/{at}", f"{fmt.ANNOTATIONS}/{at}"):
                if place in file and not kept_too:
                    self._skipped.add(_address(file[place]))
        self._skipped.add(_address(file[fmt.SCHEMA]))
        if fmt.GROWTH in file:  # knows the columns of the sweep
            self._skipped.add(_address(file[fmt.GROWTH]))
        owners: dict[int, bool] = {}

        def visit(node: Any, below_skipped: bool) -> None:
            skipped = below_skipped or _address(node) in self._skipped
            if isinstance(node, h5py.Group):
                for child in node.values():
                    visit(child, skipped)
                return
            for references in node.attrs.get("DIMENSION_LIST", ()):
                for reference in references:
                    scale = _address(file[reference])
                    owners[scale] = owners.get(scale, False) or not skipped

        visit(file, False)
        self._skipped |= {scale for scale, is_kept in owners.items() if not is_kept}

    def _describe(self, dropped: Sequence[str]) -> None:
        """Write the schema without the columns, and the flat names of those that are left."""
        import h5py

        document = loads(self._store.read(fmt.SCHEMA, ()))
        columns = {path: entry for path, entry in document["columns"].items() if path not in dropped}
        kept = {path for column in columns for path in _beginnings(column)}
        groups, links = document.get("groups", {}), document.get("links", {})
        left = {
            "groups": {path: said for path, said in groups.items() if path in kept},
            "links": {name: target for name, target in links.items() if target in kept},
        }
        document.update({name: member for name, member in left.items() if name in document})
        document["columns"] = columns
        self._target.create_dataset(fmt.SCHEMA, data=dumps(document), dtype=h5py.string_dtype())

    def _copied(self, node: h5py.Dataset) -> h5py.Dataset:
        return self._target[self._names[_address(node)]]


def _beginnings(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _address(node: Any) -> int:
    import h5py

    return int(h5py.h5o.get_info(node.id).addr)


def _copy_text(source: h5py.Dataset, target: h5py.Group, name: str) -> None:
    """Copy text of variable length by its values: HDF5 copies its fill value as an address in the source."""
    if source.chunks is None:
        target.create_dataset(name, data=source[()], dtype=source.dtype)
        return
    fill = source.fillvalue
    copied = target.create_dataset(
        name,
        shape=source.shape,
        maxshape=source.maxshape,
        dtype=source.dtype,
        chunks=source.chunks,
        compression=source.compression,
        compression_opts=source.compression_opts,
        shuffle=source.shuffle,
        fillvalue=fill or None,
    )
    step = source.chunks[0]
    for start in range(0, len(source), step):
        block = source[start : start + step]
        if any(text != fill for text in block.reshape(-1).tolist()):
            copied[start : start + len(block)] = block


def _copy_attributes(source: Any, target: Any) -> None:
    for name in source.attrs:
        if name not in _OF_DIMENSIONS:
            kept = source.attrs.get_id(name)
            target.attrs.create(name, source.attrs[name], shape=kept.shape, dtype=kept.dtype)
