"""Keeps tracked scalars as 9 bytes each, exactly, until the type of their whole series is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt
from expedition.trajectory.file.dtypes import storage
from expedition.trajectory.file.stored import is_numeric
from expedition.values import decode

if TYPE_CHECKING:
    import numpy as np

_NONE, _BOOL, _INT, _FLOAT, _NUMPY = range(5)
"""Codes of the type of a value; from `_NUMPY` on they count the numpy dtypes of the series."""
_NATURAL = {"<f8": _FLOAT, "<i8": _INT, "|b1": _BOOL}
"""numpy's own form of the builtin numbers, which may share a column with them."""
_MOST_DTYPES = 200
_EXACT_INT = 2**53


class Packer:
    """Packs the scalars of one series; `codes` collects the types that occurred."""

    def __init__(self) -> None:
        self.codes: set[int] = set()
        self._dtypes: list[str] = []

    def pack(self, cells: list[Any]) -> tuple[bytes, bytes] | None:
        """Return codes (1 byte each) and values (8 bytes each) of tagged cells; None if one is no number."""
        import numpy as np

        kinds = np.empty(len(cells), np.uint8)
        bits = np.empty(len(cells), np.int64)
        if set(map(type, cells)) == {float}:
            kinds[:], bits[:] = _FLOAT, np.array(cells, np.float64).view(np.int64)
            self.codes.add(_FLOAT)
            return kinds.tobytes(), bits.tobytes()
        for position, cell in enumerate(cells):
            found = self._kind(cell)
            if found is None:
                return None
            kinds[position], value = found
            bits[position] = np.float64(value).view(np.int64) if type(value) is float else int(value)
        self.codes.update(set(kinds.tolist()))
        return kinds.tobytes(), bits.tobytes()

    def _kind(self, cell: Any) -> tuple[int, bool | int | float] | None:
        kind = type(cell)
        if kind is float:
            return _FLOAT, cell
        if kind is bool:
            return _BOOL, cell
        if kind is int:
            return _INT, cell
        if cell is None:
            return _NONE, 0
        if kind is not dict:
            return None
        if cell.get("$") == "float":
            return _FLOAT, decode(cell)
        if cell.get("$") != "np" or not is_numeric(cell["dtype"]) or "b64" in cell:
            return None
        value = cell["v"]
        if type(value) is str and cell["dtype"][1] == "f":  # infinities, and NaN with its bits
            value = float(decode(cell))
        return self._numpy(cell["dtype"], value)

    def _numpy(self, dtype: str, value: Any) -> tuple[int, bool | int | float] | None:
        kind = dtype[1]
        if kind == "c" or (kind in "iu" and type(value) is str):
            return None
        if dtype not in self._dtypes:
            if len(self._dtypes) == _MOST_DTYPES:
                return None
            self._dtypes.append(dtype)
        return _NUMPY + self._dtypes.index(dtype), float(value) if kind == "f" else value

    def column(self) -> tuple[str, np.dtype[Any], dict[str, Any]] | None:
        """Return kind, dtype and attributes of a column that keeps all values exactly; None if there is none.

        Ints among floats count as exact up to 2**53, which `fits` checks.
        """
        import numpy as np

        kinds = self.codes - {_NONE}
        if self._mixes_numpy():
            kinds = {kind for kind in kinds if kind < _NUMPY}
        if kinds <= {_INT, _FLOAT} and kinds:
            whole = kinds == {_INT}
            return ("int", np.dtype("<i8"), {}) if whole else ("float", np.dtype("<f8"), {})
        if kinds == {_BOOL}:
            attrs = storage("|b1", _NONE in self.codes)[2]
            return "bool", np.dtype(np.int8), {name: attrs[name] for name in attrs if name != "dtype_orig"}
        if len(kinds) == 1:
            dtype = self._dtypes[kinds.pop() - _NUMPY]
            return {"b": "bool", "f": "float"}.get(dtype[1], "int"), *_kept(dtype, _NONE in self.codes)
        return None

    def _mixes_numpy(self) -> bool:
        """Tell whether builtin numbers of one type stand together with numpy's form of it."""
        kinds = self.codes - {_NONE}
        builtin = {kind for kind in kinds if kind < _NUMPY}
        others = {_NATURAL.get(self._dtypes[kind - _NUMPY]) for kind in kinds - builtin}
        return len(builtin) == 1 and others == builtin

    def fits(self, kinds: np.ndarray[Any, Any], bits: np.ndarray[Any, Any]) -> bool:
        """Tell whether every int of a series with floats is exact as a float."""
        if not self.codes >= {_INT, _FLOAT}:
            return True
        ints = bits[kinds == _INT]
        return not len(ints) or bool((ints.min() >= -_EXACT_INT) and (ints.max() <= _EXACT_INT))

    def unpack(
        self, kinds: np.ndarray[Any, Any], bits: np.ndarray[Any, Any], dtype: np.dtype[Any]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return values of the column's dtype and their states."""
        import numpy as np

        real = kinds == _FLOAT
        for number, name in enumerate(self._dtypes):
            if name[1] == "f":
                real |= kinds == _NUMPY + number
        values = np.where(real, bits.view(np.float64), 0).astype(dtype)
        values[~real] = bits[~real].astype(dtype)
        states = np.full(len(kinds), fmt.VALUE, np.uint8)
        if dtype.kind == "f":
            states[kinds == _INT] = fmt.INT_IN_FLOAT
        if self._mixes_numpy():
            states[kinds >= _NUMPY] = fmt.NUMPY
        none = kinds == _NONE
        if none.any():
            states[none] = fmt.NONE
            values[none] = none_fill(dtype)
        return values, states

    def tags(self, kinds: np.ndarray[Any, Any], bits: np.ndarray[Any, Any]) -> list[Any]:
        """Return the tagged cells again."""
        return [self._tag(k, b) for k, b in zip(kinds.tolist(), bits, strict=True)]

    def _tag(self, kind: int, bits: np.int64) -> Any:
        import numpy as np

        from expedition.values import encode

        if kind == _NONE:
            return None
        if kind == _BOOL:
            return bool(bits)
        if kind == _INT:
            return int(bits)
        if kind == _FLOAT:
            return encode(float(bits.view(np.float64)))
        dtype = np.dtype(self._dtypes[kind - _NUMPY])
        value = bits.view(np.float64) if dtype.kind == "f" else bits
        return encode(dtype.type(value))


def _kept(dtype: str, holes: bool) -> tuple[np.dtype[Any], dict[str, Any]]:
    kept, _, attrs = storage(dtype, holes)
    return kept, attrs


def none_fill(dtype: np.dtype[Any]) -> Any:
    """Return what a cell without a value holds in a numeric column of ragged data."""
    if dtype.kind in "fc":
        return dtype.type("nan")
    if dtype == "int8":
        return dtype.type(-1)
    import numpy as np

    limits = np.iinfo(dtype)
    return limits.min if dtype.kind == "i" else limits.max
