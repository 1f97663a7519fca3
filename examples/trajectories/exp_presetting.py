"""Presetting: one parameter chooses the model, and each model has parameters of its own.

``-P model=roessler -P a=0.1`` presets them from the command line; a name that no run has is refused.
"""

from typing import Literal

import numpy as np

from expedition import Run, experiment
from expedition.sweeps import points

STEPS: int = 2000  # steps of Euler's method
DT: float = 0.005  # length of a step


def lorenz(state: np.ndarray, sigma: float, rho: float, beta: float) -> np.ndarray:
    x, y, z = state
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def roessler(state: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    x, y, z = state
    return np.array([-y - z, x + a * y, b + z * (x - c)])


@experiment.sweep(points([{"model": "lorenz"}, {"model": "roessler"}]))
def exp_presetting(
    e: Run,
    model: Literal["lorenz", "roessler"],
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
    a: float = 0.2,
    b: float = 0.2,
    c: float = 5.7,
) -> None:
    state = np.array([0.1, 0.1, 0.1])
    path = np.empty((STEPS + 1, 3))
    path[0] = state
    for step in range(STEPS):
        if model == "lorenz":
            state = state + DT * lorenz(state, sigma, rho, beta)
        else:
            state = state + DT * roessler(state, a, b, c)
        path[step + 1] = state
    e["path"] = path
    e["end"] = path[-1]
