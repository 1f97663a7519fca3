"""An SIR epidemic: how high and when is its peak, over infection and recovery rates?

Kermack and McKendrick (1927): s' = -βsi, i' = βsi - γi, r' = γi, in fractions of the population.
"""

import numpy as np
from scipy.integrate import solve_ivp

from expedition import experiment
from expedition.sweeps import grid

DAYS: int = 160  # length of the simulation
I0: float = 1e-3  # infected at the start, as a fraction of the population


def simulate(beta: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Days, and the fractions (susceptible, infected, recovered) on each of them."""
    days = np.arange(DAYS + 1.0)

    def slope(_: float, state: np.ndarray) -> list[float]:
        s, i, _r = state
        return [-beta * s * i, beta * s * i - gamma * i, gamma * i]

    solution = solve_ivp(slope, (0, DAYS), [1 - I0, I0, 0.0], t_eval=days, rtol=1e-8, atol=1e-10)
    return days, solution.y


@experiment.sweep(grid(beta=[0.2, 0.3, 0.4, 0.5], gamma=[0.05, 0.1, 0.15]))
def exp_sir(e, beta: float = 0.3, gamma: float = 0.1):
    e.derived("r0", beta / gamma)
    days, (s, i, r) = simulate(beta, gamma)
    e["trajectory/s"], e["trajectory/i"], e["trajectory/r"] = s, i, r
    e["peak"] = float(i.max())
    e["peak_day"] = float(days[i.argmax()])
    e["attack_rate"] = float(r[-1])
    e.annotate("peak", "largest fraction infected at one time")
    e.annotate("peak_day", "day of the peak", unit="d")
    for day in range(0, DAYS + 1, 10):
        e.track("infected", float(i[day]), step=day)
    assert abs(s + i + r - 1).max() < 1e-9  # nobody gets lost
