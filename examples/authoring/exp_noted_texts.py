"""A mixin joins in: its hooks run beside those of the file."""

from expedition import Run, experiment

experiment.include("mixins/noting.py")

NUM_WORDS = 20
REPEATS = 3

noted_texts = experiment.extend("exp_texts.py")


@experiment.hook("after_run", replace=False)
def tell(e: Run) -> None:
    e.log("own: all texts are there")
