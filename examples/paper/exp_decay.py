"""How well is a half-life known after so many decays have been counted?"""

import math

from expedition import experiment

HALF_LIFE: float = 5730.0  # of carbon-14, in years


@experiment.parametrize("decays", [10, 100, 1_000, 10_000])
@experiment.replicate(20)
def exp_decay(e, decays: int):
    times = e.rng.exponential(HALF_LIFE / math.log(2), size=decays)
    e["half_life"] = float(times.mean() * math.log(2))
    e["deviation"] = e["half_life"] / HALF_LIFE - 1
    e.annotate("half_life", "estimated by the mean lifetime", unit="a")
