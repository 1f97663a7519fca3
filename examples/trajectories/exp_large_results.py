"""Large results: stored while the run goes on, and read in parts afterwards."""

import numpy as np

from expedition import Run, Trajectory, experiment

SIDE: int = 64  # cells along each edge of the cube
FRAMES: int = 40  # pictures of the series


@experiment.replicate(3)
def exp_large(e: Run) -> None:
    e["cube"] = e.rng.random((SIDE, SIDE, SIDE))  # 2 MB
    field = np.zeros((SIDE, SIDE))
    for _ in e.progress(range(FRAMES)):
        field += e.rng.normal(size=(SIDE, SIDE))
        e.track("field", field)  # written at once, not kept in memory
    e["mean"] = float(field.mean())


@experiment.after_sweep
def read_parts(traj: Trajectory, e: Run) -> None:
    e["corner"] = traj.res.cube[1, :2, :2, 0]  # reads these four numbers, not the cube
    e["last mean"] = float(traj.series["field"][2].value[-1].mean())
