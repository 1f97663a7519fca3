"""Post-processing: a neuron that leaks, integrates and fires, and the table of its rates over all runs."""

import numpy as np

from expedition import Run, Trajectory, experiment
from expedition.sweeps import grid

TAU: float = 10.0  # membrane time constant in ms
DURATION: float = 1000.0  # simulated time in ms
DT: float = 0.1  # step in ms


def spikes(current: float, refractory: float) -> np.ndarray:
    """Times in ms at which the neuron fires: V' = -V / τ + I, reset to 0 at 1."""
    voltage, rest, found = 0.0, 0.0, []
    for step in range(round(DURATION / DT)):
        if rest > 0:
            rest -= DT
            continue
        voltage += DT * (current - voltage / TAU)
        if voltage >= 1.0:
            found.append(step * DT)
            voltage, rest = 0.0, refractory
    return np.array(found)


@experiment.sweep(grid(current=[0.05, 0.12, 0.2, 0.4], refractory=[0.0, 4.0, 8.0]))
def exp_neuron(e: Run, current: float, refractory: float) -> None:
    times = spikes(current, refractory)
    e["spikes"] = times
    e["rate"] = 1000.0 * len(times) / DURATION
    e.annotate("rate", "spikes per second", unit="Hz")


@experiment.after_sweep
def table_of_rates(traj: Trajectory, e: Run) -> None:
    rates = traj.to_pandas().pivot(index="current", columns="refractory", values="rate")
    e["rates"] = rates
    e.commit_frame("rates.csv", rates)
