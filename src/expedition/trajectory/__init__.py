"""All runs of a sweep in one columnar HDF5 file: `compile_trajectory` writes it, `Trajectory` reads it.

Importing this package imports neither numpy nor h5py.
"""

from __future__ import annotations

from expedition.trajectory.compile import compile_trajectory
from expedition.trajectory.reader import Trajectory

__all__ = ["Trajectory", "compile_trajectory"]
