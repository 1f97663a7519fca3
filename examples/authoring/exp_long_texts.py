"""A child of a child: its variables, hooks and analyses beside and over those of its bases."""

from expedition import INHERIT, Run, RunRecord, experiment

NUM_WORDS = INHERIT(lambda n: n // 2)

long_texts = experiment.extend("exp_analysed_texts.py")


@experiment.hook("filter_words")
def without_ten(e: Run, words: list[str]) -> list[str]:
    e.log("removing 10 random words")
    return list(e.rng.permutation(words)[10:])


@experiment.hook("after_run")
def summarise(e: Run) -> None:
    e["message"] = f"{e.REPEATS} texts of {e['words']} words"


@experiment.analysis
def greet(record: RunRecord) -> None:
    print("the child has", record.data["message"])
