"""Notes when a run begins and ends, for whoever includes it."""

from expedition import Run, experiment


@experiment.hook("before_run", replace=False)
def begin(e: Run) -> None:
    e.log("mixin: the run begins")


@experiment.hook("after_run", replace=False)
def end(e: Run) -> None:
    e.log("mixin: the run ends")
