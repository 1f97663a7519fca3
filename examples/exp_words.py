"""Zipf's law in the Python reference: how steeply do word frequencies fall with their rank?

The text is the language reference behind ``help()``, which comes with every Python, so nothing is downloaded.
A frequency that falls as rank**-s is a straight line of slope -s in a double logarithmic plot (Zipf 1949).
"""

import re
from collections import Counter
from pydoc_data.topics import topics

import numpy as np

from expedition import experiment

LOWERCASE: bool = True  # count "The" and "the" as one word


def load_text() -> str:
    return "\n".join(topics[name] for name in sorted(topics))


def find_words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text.lower() if LOWERCASE else text)


@experiment.parametrize("min_length", [1, 4, 7])
def exp_words(e, min_length: int = 1, ranks: int = 200):
    counts = Counter(word for word in find_words(load_text()) if len(word) >= min_length)
    frequencies = np.array([count for _, count in counts.most_common(ranks)], dtype=float)
    slope, _ = np.polyfit(np.log(np.arange(1, len(frequencies) + 1)), np.log(frequencies), 1)
    e["words"], e["distinct"] = counts.total(), len(counts)
    e["zipf_exponent"] = -float(slope)
    e["commonest"] = counts.most_common(1)[0][0]
    e["frequencies"] = frequencies
    e.commit_json("top.json", dict(counts.most_common(20)))
    e.log(f"{counts.total()} words, most often {e['commonest']!r}")
