"""A pipeline: a coarse sweep finds where the minimum lies, finer ones follow, until it is known well enough."""

from expedition import Run, Trajectory, experiment
from expedition.sweeps import Design, points

TOLERANCE: float = 0.1  # width of the bracket at which the search ends


@experiment.parametrize("x", [-4.0, -2.0, 0.0, 2.0, 4.0])
def exp_pipeline(e: Run, x: float) -> None:
    e["y"] = (x - 1.234) ** 2 + 0.5


@experiment.after_sweep
def refine(traj: Trajectory, e: Run) -> "Design | None":
    x, y = traj.par.x.values, traj.res.y.values
    order = x.argsort()
    best = int(y[order].argmin())
    low, high = x[order][max(best - 1, 0)], x[order][min(best + 1, len(x) - 1)]
    e["minimum"], e["width"] = float(x[order][best]), float(high - low)
    if high - low < TOLERANCE:
        return None
    return points([{"x": float(low + (high - low) * part)} for part in (0.25, 0.75)])
