"""All runs of a sweep in one columnar HDF5 file: `compile_trajectory` writes it, `Trajectory` reads it.

`update_trajectory` gives what `compile_trajectory` gives, for the cost of what is new in the sweep. `merge` puts
several into one new file, `backup` and `compact` make copies of one.
Importing this package imports neither numpy nor h5py.
"""

from __future__ import annotations

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
