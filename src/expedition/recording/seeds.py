"""Seeds of runs, and the global random state held for the time of a run."""

from __future__ import annotations

import random
import sys
from typing import Any


def derive_seed(experiment_seed: int, identity: str) -> int:
    """Return the seed of a run: 63 bits, the same wherever and in whatever order it runs.

    `numpy.random.SeedSequence` (O'Neill's seed_seq_fe, see the NumPy reference "Parallel random number
    generation") mixes the project's seed with the 256 bits of `identity`, 64 hexadecimal digits: the run key,
    or for paired replicates a hash of experiment and replicate.
    """
    import numpy as np

    words = np.frombuffer(bytes.fromhex(identity), ">u4").tolist()
    state = np.random.SeedSequence([experiment_seed, *words]).generate_state(1, np.uint64)
    return int(state[0]) >> 1


class GlobalRandomState:
    """Seeds the generators of `random`, `numpy.random` and an imported torch; restores them afterwards.

    For the time of a run `numpy.random` draws from a bit generator of this object: exchanging it is cheaper
    than copying its state, and leaves alone one that the project has set.
    """

    __slots__ = ("_numpy", "_own", "_python", "_state", "_torch")

    def __init__(self) -> None:
        self._own: Any = None

    def seed(self, seed: int) -> None:
        """Remember the present states, then seed every generator from `seed`."""
        import numpy as np

        numpy_random: Any = np.random  # its stubs do not know of bit generators
        if self._own is None:
            self._own = np.random.MT19937(0)
        self._python = random.getstate()
        self._numpy: Any = numpy_random.get_bit_generator()
        self._state: Any = np.random.get_state(legacy=False)
        random.seed(seed)
        numpy_random.set_bit_generator(self._own)
        np.random.seed(seed & 0xFFFFFFFF)
        torch = sys.modules.get("torch")
        self._torch: Any = torch.random.get_rng_state() if torch is not None else None
        if torch is not None:
            torch.manual_seed(seed)

    def restore(self) -> None:
        """Put the remembered states back."""
        import numpy as np

        numpy_random: Any = np.random
        random.setstate(self._python)
        numpy_random.set_bit_generator(self._numpy)
        if self._state["has_gauss"]:  # the second normal number of a pair, which stands beside the generator
            np.random.set_state(self._state)
        if self._torch is not None:
            sys.modules["torch"].random.set_rng_state(self._torch)
