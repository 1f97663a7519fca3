"""Attractors: a parameter of a class of one's own, which a codec keeps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from expedition import Codec, Run, experiment, register_codec

STEPS: int = 2000  # steps of Euler's method
DT: float = 0.005  # length of a step


def lorenz(state: np.ndarray, sigma: float, rho: float, beta: float) -> np.ndarray:
    x, y, z = state
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def roessler(state: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    x, y, z = state
    return np.array([-y - z, x + a * y, b + z * (x - c)])


equations = {"lorenz": lorenz, "roessler": roessler}


class System:
    """A differential equation with its coefficients."""

    def __init__(self, name: str, coefficients: Sequence[float]) -> None:
        self.name, self.coefficients = name, tuple(coefficients)

    def __call__(self, state: np.ndarray) -> np.ndarray:
        return equations[self.name](state, *self.coefficients)

    def __repr__(self) -> str:
        return f"{self.name}{self.coefficients}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, System) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class SystemCodec(Codec):
    """Keeps a system as its name and coefficients; the equation itself is code, and stays in the code."""

    name = "system"
    types = (System,)

    def encode(self, value: Any) -> Any:
        return {"name": value.name, "coefficients": list(value.coefficients)}

    def decode(self, parts: Any, version: int) -> System:
        return System(parts["name"], parts["coefficients"])


register_codec(SystemCodec())


@experiment.parametrize(
    "system", [System("lorenz", (10.0, 28.0, 8 / 3)), System("roessler", (0.2, 0.2, 5.7))]
)
def exp_lorenz(e: Run, system: System) -> None:
    path = np.empty((STEPS + 1, 3))
    path[0] = 0.1
    for step in range(STEPS):
        path[step + 1] = path[step] + DT * system(path[step])
    e["path"] = path
