"""The algebra of sweeps, for `@experiment.sweep(design)`.

::

    from expedition.sweeps import grid, loguniform, random

    design = grid(model=["ridge", "lasso"]) * random(20, seed=1, alpha=loguniform(1e-4, 1e2))
    small = design.where(lambda p: p["alpha"] < 1)
"""

from __future__ import annotations

from expedition.authoring.design import Design, grid, latin_hypercube, points, random, sobol, zipped
from expedition.authoring.distributions import Distribution, choice, integers, loguniform, normal, uniform

__all__ = [
    "Design",
    "Distribution",
    "choice",
    "grid",
    "integers",
    "latin_hypercube",
    "loguniform",
    "normal",
    "points",
    "random",
    "sobol",
    "uniform",
    "zipped",
]
