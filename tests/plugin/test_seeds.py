"""Seeds: one stream per run, whatever runs beside it, before it or where."""

from __future__ import annotations

import numpy as np

DRAWS = """
import random
import numpy as np

@experiment.parametrize("a", [1, 2])
@experiment.replicate(3{paired})
def exp_a(e, a: int):
    e["seed"] = e.seed
    e["rng"] = float(e.rng.random())
    e["python"] = random.random()
    e["numpy"] = float(np.random.random())
"""


def draws(lab):
    found = {}
    for record in lab.records():
        values = tuple(record.data[k] for k in ("seed", "rng", "python", "numpy"))
        assert record.seed == values[0]
        found.setdefault(record.id, values)
        assert found[record.id] == values, "the same run drew something else"
    return found


def test_the_same_run_draws_the_same(lab):
    lab.experiment(DRAWS.format(paired=""))
    lab.run().exits(0)
    base = draws(lab)
    assert len(base) == 6
    for position in range(4):
        assert len({values[position] for values in base.values()}) == 6
    # Alone, in another order, in other company, in other processes.
    lab.run("-k", "rep and 2").exits(0)
    lab.experiment(DRAWS.format(paired="").replace("[1, 2]", "[7, 2, 1]"))
    lab.run().exits(0)
    lab.run("-n2", "--dist=worksteal").exits(0)
    assert draws(lab).items() >= base.items()
    # The streams are what DESIGN §3 says: SeedSequence of the number of the project and the run key.
    for record in lab.records()[:6]:
        words = [int(record.key[i : i + 8], 16) for i in range(0, 64, 8)]
        state = np.random.SeedSequence([0, *words]).generate_state(1, np.uint64)[0]
        assert record.seed == int(state) >> 1


def test_the_number_of_the_project_changes_all(lab):
    lab.experiment(DRAWS.format(paired=""))
    lab.run().exits(0)
    first = draws(lab)
    lab.run("-o", "experiment_seed=1", "--archive", "other").exits(0)
    from expedition import Archive

    other = {r.id: r.seed for r in Archive(lab.path / "other").runs()}
    assert other.keys() == first.keys()
    assert not set(other.values()) & {v[0] for v in first.values()}


def test_paired_replicates_share_their_streams(lab):
    lab.experiment(DRAWS.format(paired=", paired=True"))
    lab.run().exits(0)
    found = draws(lab)
    for replicate in range(3):
        assert found[f"a=1-rep={replicate}"] == found[f"a=2-rep={replicate}"]
    assert len(set(found.values())) == 3


def test_the_global_state_is_put_back(lab):
    """Tests, plugins and conftests beside a run never notice that it drew something, also when it fails."""
    lab.file(
        "conftest.py",
        """
        import random
        import numpy as np
        import pytest

        random.seed(5)
        np.random.seed(5)
        WANTED = (random.getstate(), np.random.get_state()[1].tolist())

        def state():
            return (random.getstate(), np.random.get_state()[1].tolist())

        def pytest_runtest_logstart(nodeid):
            assert state() == WANTED

        def pytest_sessionfinish():
            assert state() == WANTED
        """,
    )
    lab.experiment(
        """
        import random
        import numpy as np
        import pytest

        @pytest.fixture
        def drawing():
            yield np.random.random()
            random.random()

        @experiment.replicate(3)
        def exp_a(e, drawing):
            e["drawn"] = drawing
            np.random.seed(1)
            random.seed(1)
            if e.replicate == 1:
                raise ValueError
            if e.replicate == 2:
                e.skip("enough")
        """
    )
    lab.run().exits(1).says("1 passed", "1 failed", "1 skipped").omits("INTERNALERROR")
    # A fixture of the run draws from the stream of the run.
    assert len({r.data["drawn"] for r in lab.records()}) == 3
