"""One sweep in which runs raise, exit, die and record nonsense: each has its own record."""

from __future__ import annotations

import numpy as np
import pytest

from tests.durability.laboratory import Laboratory

EXPERIMENT = """
import ctypes, os, signal, sys, time
import numpy as np
from expedition import experiment

FATES = ["good-1", "raises", "exits", "good-2", "vanishes", "killed", "segfault", "good-3", "unstorable",
         "unstorable-later", "swallows", "skips", "prunes", "fails", "good-4", "surrogate", "long-message"]

class Odd:
    pass

@experiment.parametrize("fate", FATES)
def exp_fates(e, fate: str = ""):
    e["before"] = {"number": 1, "array": np.arange(300.0)}
    for i in range(5):
        e.track("loss", i / 10)
    e.track("field", np.full(300, 0.5))
    e.commit("note.txt", f"I am {fate}")
    e.tag(f"tag-{fate}")
    print("speaking:", fate)
    if fate == "raises":
        raise ValueError("wanted to")
    if fate == "exits":
        sys.exit(3)
    if fate == "vanishes":
        os._exit(0)
    if fate == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "segfault":
        ctypes.string_at(0)
    if fate == "unstorable":
        e["bad/thing"] = Odd()
    if fate == "unstorable-later":
        e["list"] = changing = [1]
        changing.append(Odd())
        e["after"] = 2
        return
    if fate == "swallows":
        try:
            e.skip("but not here")
        except Exception:
            e["swallowed"] = True
    if fate == "skips":
        e.skip("not for me")
    if fate == "prunes":
        try:
            e.prune("hopeless")
        except Exception:
            e["swallowed"] = True
    if fate == "fails":
        try:
            e.fail("I say so")
        except Exception:
            e["swallowed"] = True
    if fate == "surrogate":
        e["file"] = "name \\udcff"
        raise OSError("no file \\udcff")
    if fate == "long-message":
        raise ValueError("x" * 3_000_000)
    e["after"] = 2
"""

WANTED = {
    "raises": ("failed", "ValueError", "wanted to"),
    "exits": ("failed", "SystemExit", "3"),
    "vanishes": ("crashed", None, None),
    "killed": ("crashed", None, None),
    "segfault": ("crashed", None, None),
    "unstorable": ("failed", "UnstorableError", "bad/thing"),
    "unstorable-later": ("failed", "UnstorableError", "list"),
    "swallows": ("skipped", None, None),
    "skips": ("skipped", None, None),
    "prunes": ("pruned", None, None),
    "fails": ("failed", "Failed", "I say so"),
    "surrogate": ("failed", "OSError", "no file"),
    "long-message": ("failed", "ValueError", "xxx"),
}
GOOD = ("good-1", "good-2", "good-3", "good-4")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    lab = Laboratory(tmp_path_factory.mktemp("fates") / "lab")
    lab.write("exp_fates.py", EXPERIMENT)
    result = lab.run("-n", 2)
    result.exits(1)
    assert len(result.text) < 1_000_000  # a message of 3 MB is in the record, not in every report
    return lab


def test_the_good_runs_are_whole(lab: Laboratory) -> None:
    records = lab.records()
    for fate in GOOD:
        record = records[f"fate={fate}"]
        assert record.status == "done"
        assert record.error is None
        assert record.data["after"] == 2
        assert record.data["before"]["number"] == 1
        assert np.array_equal(record.data["before"]["array"], np.arange(300.0))
        assert record.series["loss"].value.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4]
        assert f"speaking: {fate}" in record.log


@pytest.mark.parametrize("fate", WANTED)
def test_an_ill_fated_run_has_its_own_outcome_and_all_that_it_had_recorded(
    lab: Laboratory, fate: str
) -> None:
    status, kind, message = WANTED[fate]
    record = lab.records()[f"fate={fate}"]
    assert record.status == status
    if kind is None:
        assert record.error is None
    else:
        assert record.error is not None
        assert record.error.type == kind
        assert message in record.error.message
    assert record.params["fate"] == fate
    assert record.data["before"]["number"] == 1
    assert np.array_equal(record.data["before"]["array"], np.arange(300.0))
    assert record.series["loss"].value.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert record.series["field"].value.shape == (1, 300)
    assert record.artifacts["note.txt"].read_text(encoding="utf-8") == f"I am {fate}"
    assert record.tags == [f"tag-{fate}"]
    assert f"speaking: {fate}" in record.log
    assert "swallowed" not in record.data
    assert ("after" in record.data) == (fate == "unstorable-later")


def test_a_traceback_begins_in_the_experiment_and_ends_in_its_line(lab: Laboratory) -> None:
    for fate, line in (("raises", 'raise ValueError("wanted to")'), ("unstorable", 'e["bad/thing"] = Odd()')):
        error = lab.records()[f"fate={fate}"].error
        assert error is not None
        frames = [part for part in error.traceback.splitlines() if part.startswith("  File ")]
        assert len(frames) == 1
        assert "exp_fates.py" in frames[0]
        assert line in error.traceback


def test_the_value_that_became_unstorable_is_kept_as_it_was_when_it_was_stored(lab: Laboratory) -> None:
    record = lab.records()["fate=unstorable-later"]
    assert record.data["list"] == [1]
    assert record.error is not None
    assert "Odd" in record.error.message


def test_commit_logs_and_folders_tell_the_same(lab: Laboratory) -> None:
    records, commits = lab.records(), lab.commits()
    assert set(commits) == set(records)
    for name, line in commits.items():
        assert line["status"] == records[name].status
        assert line["series"]["loss"]["n"] == 5
        assert set(line["data"]) == set(records[name].flat_data)
        assert (line["stop"] is None) == (records[name].stopped is None)
    assert "wanted to" in commits["fate=raises"]["error"]
    assert len(commits["fate=long-message"]["error"]) <= 1000


def test_a_resume_runs_what_is_not_settled_and_nothing_else(lab: Laboratory) -> None:
    preview = lab.run("--resume", "--collect-only", "-q").exits(0).text
    for fate in (*GOOD, "skips", "prunes", "swallows"):
        assert f"fate={fate}]" not in preview
    for fate in ("raises", "killed", "unstorable-later"):
        assert f"fate={fate}]" in preview
