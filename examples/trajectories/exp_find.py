"""Find runs by their parameters and their results."""

from expedition import Run, Trajectory, experiment


@experiment.parametrize("x", [1, 2, 3, 4])
@experiment.parametrize("y", [6, 7, 8])
def exp_find(e: Run, x: int, y: int) -> None:
    e["z"] = x * y


@experiment.after_sweep
def find(traj: Trajectory, e: Run) -> None:
    e["by function"] = traj.find(lambda x, y: x == 2 or y == 8).tolist()
    e["by expression"] = traj.find("x == 2 or y == 8").tolist()
    e["by value"] = traj.find(x=2, y=8).tolist()
    e["by result"] = traj.find("z > 20").tolist()
    e["points"] = len(traj.unique_points())
