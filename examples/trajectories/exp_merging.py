"""Merging: two sweeps of the same experiment become one trajectory.

``pytest --experiments exp_merging.py -P x='[1, 2]'`` makes a part; run it with other values and merge the sweeps.
"""

from expedition import Run, experiment


@experiment.parametrize("x", [1, 2, 3])
@experiment.parametrize("y", [10, 20])
def exp_merging(e: Run, x: int, y: int) -> None:
    e["z"] = x + y
    e.track("steps", float(x))
    e.track("steps", float(y))
