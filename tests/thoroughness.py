"""How much the property tests try: little in each run of the suite, more where there is time for it.

``EXPEDITION_THOROUGH=10 pytest tests/trajectory`` tries ten times as many examples.
"""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("EXPEDITION_THOROUGH", "1"))


def examples(count: int) -> int:
    """Return how many examples to try where the suite tries `count`."""
    return max(1, round(count * FACTOR))
