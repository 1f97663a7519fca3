"""Factors of a matrix, which all ranks share: computed once, however many runs and workers ask for them."""

import numpy as np

from expedition import Run, experiment

SIZE: int = 100


@experiment.stage
def factors():
    return np.linalg.svd(np.random.default_rng(42).standard_normal((SIZE, SIZE)))


@experiment.parametrize("rank", [1, 10, 50, 100])
def exp_factorisation(e: Run, factors, rank: int) -> None:
    u, s, vh = factors

    @e.cache.cached("matrix", scope=("factorisation",))
    def matrix(size: int) -> np.ndarray:
        return np.random.default_rng(42).standard_normal((size, size))

    e["error"] = float(np.linalg.norm(matrix(SIZE) - u[:, :rank] * s[:rank] @ vh[:rank]))
