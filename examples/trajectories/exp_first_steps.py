"""First steps: multiply two numbers over a grid, and find the products in the trajectory."""

from expedition import Run, Trajectory, experiment


@experiment.parametrize("x", [1.0, 2.0, 3.0, 4.0])
@experiment.parametrize("y", [6.0, 7.0, 8.0])
def exp_multiply(e: Run, x: float, y: float) -> None:
    e["z"] = x * y
    e.annotate("z", "product of x and y")


@experiment.after_sweep
def look_up(traj: Trajectory, e: Run) -> None:
    third = traj[3]  # a run: by number, by key or by id
    e.log(f"{third.par.x} times {third.par.y} is {third.res.z}")
    e["largest"] = float(traj.res.z.values.max())  # a column: all runs at once
    e["of seven"] = traj.select(y=7.0).collect("z").tolist()
