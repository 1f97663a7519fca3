"""Items from all runs: one result of every run, in the order of the runs, with the missing ones in place."""

from expedition import Run, Trajectory, experiment


@experiment.parametrize("x", [0, 1, 2, 3, 4, 5])
def exp_all(e: Run, x: int) -> None:
    if x == 3:
        e.skip("three is left out")
    e["squares/value"] = x * x
    if x % 2 == 0:
        e["even"] = True


@experiment.after_sweep
def collect(traj: Trajectory, e: Run) -> None:
    squares = traj.collect("squares/value")
    e["squares"] = squares.tolist()
    e["known"] = int(sum(traj.res.even.tolist(False)))
    e["sum over runs"] = sum(run.res.squares.value for run in traj if run.status == "done")
