"""Seeds: the same run gets the same random numbers in whatever order and process, and leaves no trace."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from expedition import Run, RunRecord
from expedition.recording.seeds import GlobalRandomState, derive_seed
from tests.durability.laboratory import Laboratory

KEY = "0123456789abcdef" * 4


def test_derived_seeds_are_fixed_for_ever() -> None:
    # Written down once: another number here means that old runs cannot be repeated.
    words = [int(KEY[i : i + 8], 16) for i in range(0, 64, 8)]
    (state,) = np.random.SeedSequence([5, *words]).generate_state(1, np.uint64).tolist()
    assert derive_seed(5, KEY) == state >> 1
    assert (
        derive_seed(0, "0" * 64) == int(np.random.SeedSequence([0] * 9).generate_state(1, np.uint64)[0]) >> 1
    )
    assert derive_seed(5, KEY) != derive_seed(6, KEY) != derive_seed(5, KEY[::-1])
    assert 0 <= derive_seed(5, KEY) < 2**63


def test_the_generator_of_a_run(tmp_path: Path) -> None:
    with Run.detached(tmp_path / "run", seed=11) as run:
        assert run.seed == 11
        assert run.rng is run.rng
        assert run.rng.random(3).tolist() == np.random.default_rng(11).random(3).tolist()
        wanted = run.rng.bit_generator.state
    record = RunRecord(run.path)
    assert record.seed == 11
    rng = record.meta["rng"]
    assert rng["seed"] == 11
    assert rng["final_state"]["bit_generator"] == wanted["bit_generator"]
    assert int(rng["final_state"]["state"]["state"]["v"]) == wanted["state"]["state"]


def test_global_state_is_seeded_and_restored() -> None:
    before = random.getstate(), np.random.get_state(legacy=False)
    state = GlobalRandomState()
    draws = []
    for _ in range(2):
        state.seed(3)
        draws.append((random.random(), np.random.rand()))
        state.restore()
    assert draws[0] == draws[1]
    assert random.getstate() == before[0]
    after = np.random.get_state(legacy=False)
    assert str(after) == str(before[1])


EXPERIMENT = """
import random
import numpy as np
from expedition import experiment

@experiment.parametrize("a", [1, 2])
@experiment.replicate(2{paired})
def {name}(e, a: int = 0):
    e["seed"] = e.seed
    e["draws"] = [float(e.rng.random()), random.random(), float(np.random.rand())]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    lab = Laboratory(tmp_path_factory.mktemp("seeds") / "lab")
    lab.write("exp_own.py", EXPERIMENT.format(name="exp_own", paired=""))
    lab.write("exp_pair.py", EXPERIMENT.format(name="exp_pair", paired=", paired=True"))
    lab.run("--archive", "one").exits(0)
    lab.run("--archive", "two", "-n", 2).exits(0)
    lab.run("--archive", "three", "-o", "experiment_seed=1", "-k", "exp_own and 2").exits(0)
    return lab


def found(lab: Laboratory, root: str) -> dict[str, object]:
    from expedition import Archive

    runs = Archive(lab.path / root).runs()
    return {f"{record.experiment}[{record.id}]": record.data for record in runs}


def test_the_same_runs_whatever_the_order_and_the_process(lab: Laboratory) -> None:
    one = found(lab, "one")
    assert len(one) == 8
    assert found(lab, "two") == one
    for name, data in found(lab, "three").items():
        assert data != one[name]


def test_every_run_has_numbers_of_its_own(lab: Laboratory) -> None:
    own = [json.dumps(data) for name, data in found(lab, "one").items() if "exp_own" in name]
    assert len(set(own)) == 4


def test_paired_replicates_share_theirs_over_the_points(lab: Laboratory) -> None:
    one = found(lab, "one")
    for replicate in (0, 1):
        assert one[f"exp_pair[a=1-rep={replicate}]"] == one[f"exp_pair[a=2-rep={replicate}]"]
    assert one["exp_pair[a=1-rep=0]"] != one["exp_pair[a=1-rep=1]"]


def test_the_environment_does_not_matter(lab: Laboratory) -> None:
    lab.run("--archive", "four", PYTHONHASHSEED="77", TZ="Asia/Tokyo").exits(0)
    assert found(lab, "four") == found(lab, "one")
    assert os.environ.get("PYTHONHASHSEED") != "77"
