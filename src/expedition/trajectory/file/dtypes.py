"""How arrays of a dtype are kept in the file: the dtype there, the fill of missing runs, and the attributes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from expedition.trajectory.file import format as fmt

if TYPE_CHECKING:
    import numpy as np

_CF_UNITS = {"ns": "nanoseconds since 1970-01-01", "us": "microseconds since 1970-01-01"}


def storage(dtype: str, holes: bool) -> tuple[np.dtype[Any], Any, dict[str, Any]]:
    """Return the dtype in the file, the fill of missing runs and the attributes for arrays of a dtype."""
    import numpy as np

    original = np.dtype(dtype)
    attrs: dict[str, Any] = {"dtype_orig": original.str}
    if original.kind == "b":
        if holes:
            flags = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "false true"}
            return np.dtype(np.int8), np.int8(-1), {**attrs, **flags}
        return np.dtype(np.int8), np.int8(0), {**attrs, "dtype": "bool"}
    if original.kind in "mM":
        unit, step = np.datetime_data(original)
        if original.kind == "M" and step == 1 and unit in _CF_UNITS:
            attrs |= {"units": _CF_UNITS[unit], "calendar": fmt.CALENDAR}
        else:
            attrs["unit"] = unit if step == 1 else f"{step} {unit}"
        return np.dtype("<i8"), np.int64(fmt.INT64_MIN), attrs
    kept = original.newbyteorder("<")
    if kept.kind == "f" and kept.itemsize == 2:
        kept = np.dtype("<f4")  # netCDF-C crashes on half precision
    if kept.kind in "fc":
        return kept, kept.type(math.nan), attrs
    limits = np.iinfo(kept)
    return kept, kept.type(limits.min if kept.kind == "i" else limits.max), attrs
