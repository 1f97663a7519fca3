"""A search that is killed in the middle goes on where it stopped, and finds what an undisturbed one finds."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from expedition import Archive
from tests.durability.laboratory import Laboratory
from tests.thoroughness import further_sets

SEARCH = """
import os, time
from pathlib import Path
from expedition import experiment

side = Path(os.environ["SIDE"])

def stop_at(name):
    if (side / f"stop-{name}").exists():
        (side / f"reached-{name}").touch()
        time.sleep(600)

@experiment.parametrize("x", [0.0, 1.0])
@experiment.replicate(2)
def exp_a(e, x: float):
    e["y"] = (x - 0.3) ** 2 + 0.001 * float(e.rng.random())
    if e.replicate == 1:
        stop_at(f"run-{x}")

@experiment.after_sweep
def narrow(traj, e):
    e["n"] = len(traj)
    stop_at(f"summary-{len(traj)}")
    if len(traj) >= 12:
        return None
    x = sorted(set(traj.par.x.values.tolist()), key=lambda v: abs(v - 0.3))[:2]
    return [{"x": x[0] + (x[1] - x[0]) * float(e.rng.random())}]
"""


def found(lab: Laboratory, archive: str = "results") -> dict[str, Any]:
    """What a search came to, but for times and processes."""
    root = Archive(lab.path / archive)
    runs = {r.id: (r.index, r.status, r.key, r.seed, r.params, r.data, r.path.name) for r in root.runs()}
    (summary,) = root.summaries()
    return {**runs, "summary": (summary.status, summary.key, summary.seed, summary.data)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    lab = Laboratory(tmp_path_factory.mktemp("undisturbed") / "lab")
    lab.write("exp_a.py", SEARCH)
    lab.run().exits(0)
    return found(lab)


@pytest.mark.parametrize(
    ("place", "workers"),
    [
        *((place, ()) for place in ("run-4", "summary-4", "summary-12")),
        ("summary-6", ("-n", "2")),
        *further_sets(("run-2", ()), ("summary-8", ()), ("run-4", ("-n", "2"))),
    ],
)
def test_a_resume_goes_on(
    tmp_path: Path, undisturbed: dict[str, Any], place: str, workers: tuple[str, ...]
) -> None:
    kind, number = place.split("-")
    xs = [params["x"] for _, _, _, _, params, *_ in list(undisturbed.values())[:-1]][::2]
    name = f"run-{xs[int(number)]}" if kind == "run" else place
    lab = Laboratory(tmp_path / "lab")
    lab.write("exp_a.py", SEARCH)
    (lab.side / f"stop-{name}").touch()
    started = lab.start(*workers)
    started.wait_for((lab.side / f"reached-{name}").exists)
    started.kill_all()
    if kind == "summary":
        (summary,) = lab.archive.summaries()
        assert summary.status == "crashed"
        assert summary.data == {"n": int(number)}
    (lab.side / f"stop-{name}").unlink()
    lab.run("--resume", *workers).exits(0)
    after = found(lab)
    if kind == "run":  # the summary of the last call has seen one attempt more
        assert after.pop("summary")[2:] == undisturbed["summary"][2:]
        assert after == {k: v for k, v in undisturbed.items() if k != "summary"}
    else:
        assert after == undisturbed
    lab.run("--resume").exits(0)
    assert found(lab)["summary"][0] == "done"
    lines = (lab.sweep() / "expansions.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["points"]) for line in lines] == [1, 1, 1, 1]


def test_an_interruption_ends_the_loop(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "lab")
    lab.write("exp_a.py", SEARCH)
    (lab.side / "stop-summary-6").touch()
    started = lab.start()
    started.wait_for((lab.side / "reached-summary-6").exists)
    started.signal(signal.SIGINT)
    started.end().exits(2)
    (summary,) = lab.archive.summaries()
    assert (summary.status, summary.data) == ("interrupted", {"n": 6})
    assert {r.status for r in lab.archive.runs()} == {"done"}
    assert len((lab.sweep() / "expansions.jsonl").read_text().splitlines()) == 1
