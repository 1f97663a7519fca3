"""Links: a name of one's own for a node that stands elsewhere in the trajectory."""

from expedition import Run, Trajectory, experiment


@experiment.parametrize("x", [1, 2, 3])
def exp_links(e: Run, x: int) -> None:
    e["deep/down/in/the/tree"] = 10 * x
    e["near"] = x


@experiment.after_sweep
def link(traj: Trajectory, e: Run) -> None:
    traj.link("treasure", "results/deep/down/in/the/tree")
    traj.annotate("results/near", comment="a copy of x")
    e["through the link"] = traj.treasure.tolist()
