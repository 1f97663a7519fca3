"""A cloud of points that wanders. `--testing` tries it in a moment, down to the plot in its last line."""

from matplotlib.figure import Figure

from expedition import Run, experiment

NUM_STEPS: int = 100
NUM_POINTS: int = 1000


@experiment.testing
def small(e: Run) -> None:
    e.NUM_STEPS = e.NUM_POINTS = 3


@experiment
def exp_cloud(e: Run) -> None:
    axes = Figure().subplots()
    for step in e.progress(range(NUM_STEPS)):
        points = e.rng.normal(step, (1, 2), size=(NUM_POINTS, 2))
        e.track_many({"points": points, "centre": points.mean(axis=0)})
        axes.scatter(*points.T, s=2, c=[step] * NUM_POINTS, vmin=0, vmax=NUM_STEPS)
    e["spread"] = points.std(axis=0).tolist()
    e.log("plotting the results")
    axes.set(xlabel="x", ylabel="y", title=f"{NUM_STEPS} steps, from dark to light")
    e.commit("cloud.png", axes)
