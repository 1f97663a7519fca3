"""What a run leaves behind: a value, a file, a line in the log, and what an analysis makes of them.

`python exp_quickstart.py --WORLD moon` runs it, too, and `--help` tells its parameters.
"""

from expedition import Run, RunRecord, experiment

HELLO: str = "hello "
WORLD: str = "world!"

__DEBUG__ = True  # records into the folder `debug`, in place of the last run


@experiment
def exp_quickstart(e: Run) -> None:
    e["strings/hello_world"] = HELLO + WORLD
    e.log("some message")
    e.commit("hello_world.txt", HELLO + WORLD)


@experiment.analysis
def show(record: RunRecord) -> None:
    print(record.data["strings"]["hello_world"], record.params["WORLD"])


experiment.main()
