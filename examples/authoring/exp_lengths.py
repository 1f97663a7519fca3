"""An experiment that runs another, with ever more words: each run has its record, in the folder of this one."""

from expedition import Run, experiment

REPEATS: int = 3
NUM_WORDS_SWEEP: list[int] = [10, 100, 1000]


@experiment
def exp_lengths(e: Run) -> None:
    for number in NUM_WORDS_SWEEP:
        record = e.run_child("exp_texts.py", NUM_WORDS=number, REPEATS=REPEATS)
        e[f"metrics/length/{number}"] = int(record.series["length"].value.sum())
