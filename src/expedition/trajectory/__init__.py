"""All runs of a sweep in one columnar HDF5 file: `compile_trajectory` writes it, `Trajectory` reads it.

`update_trajectory` gives what `compile_trajectory` gives, for the cost of what is new in the sweep. `merge` puts
several into one new file, `backup` and `compact` make copies of one.
Importing this package imports neither numpy nor h5py, and its modules on first use: reports need one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expedition.lazily import lazily

if TYPE_CHECKING:
    from expedition.trajectory.compile import compile_trajectory
    from expedition.trajectory.copies import Compacted, backup, compact
    from expedition.trajectory.extend import update_trajectory
    from expedition.trajectory.reader import Trajectory, merge, merge_folder

__all__ = [
    "Compacted",
    "Trajectory",
    "backup",
    "compact",
    "compile_trajectory",
    "merge",
    "merge_folder",
    "update_trajectory",
]

_HOMES = {
    "Compacted": "expedition.trajectory.copies",
    "Trajectory": "expedition.trajectory.reader",
    "backup": "expedition.trajectory.copies",
    "compact": "expedition.trajectory.copies",
    "compile_trajectory": "expedition.trajectory.compile",
    "merge": "expedition.trajectory.reader",
    "merge_folder": "expedition.trajectory.reader",
    "update_trajectory": "expedition.trajectory.extend",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
