"""Texts of randomly sampled words, and how long they are. What extends it may choose other words."""

import textwrap
from pathlib import Path

from expedition import Run, experiment

NUM_WORDS: int = 50  # words of a text
REPEATS: int = 10  # texts to make


@experiment
def exp_texts(e: Run) -> None:
    e.log_params()
    words = Path(__file__).with_name("vocabulary.txt").read_text(encoding="utf-8").split()
    words = e.apply_hook("filter_words", words=words, default=words)
    e["words"] = len(words)
    for i in e.progress(range(REPEATS)):
        text = textwrap.fill(" ".join(e.rng.choice(words, NUM_WORDS)), 80)
        e.commit(f"{i:02d}_random.txt", text)
        e.track("length", len(text))
        e.log(f"text {i} has {len(text)} characters")
    e.apply_hook("after_texts")
