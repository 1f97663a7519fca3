"""``kill -9`` of everything in mid-sweep: what was acknowledged is there, and a resume completes the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.durability.laboratory import Laboratory

KILLED = (2, 3)
"""The runs that the two workers are at when they are killed: each gets one at a time."""

EXPERIMENT = """
import json, os, time
from pathlib import Path
import numpy as np
from expedition import experiment

@experiment.parametrize("x", [0, 1, 2, 3, 4, 5])
def exp_slow(e, x: int = 0):
    resumed = Path(os.environ["SIDE"], "resumed").exists()
    acknowledge = open(os.path.join(os.environ["SIDE"], f"{x}-{resumed}"), "ab", buffering=0)
    i = 0
    while True:
        value = x + i / 7
        e.track("value", value)
        if i % 10 == 0:
            e.track("field", np.full(200, value))
        if i % 5 == 0:
            e[f"at/{i}"] = [value, i]
        acknowledge.write(json.dumps(["value", i, value]).encode() + b"\\n")
        i += 1
        if i == 50:
            print("half of", x)
        if (x < 2 or resumed) and i >= 100:
            e["sum"] = float(x)
            break
        if i >= 100:
            time.sleep(0.0005)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    lab = Laboratory(tmp_path_factory.mktemp("kill") / "lab")
    lab.write("exp_slow.py", EXPERIMENT)
    started = lab.start("-n", 2)
    started.wait_for(lambda: all(len(lab.acknowledged(f"{x}-False")) > 300 for x in KILLED))
    started.kill_all()
    return lab


def test_every_acknowledged_value_is_in_the_record(lab: Laboratory) -> None:
    records = lab.records()
    assert {name: record.status for name, record in records.items()} == {
        "x=0": "done",
        "x=1": "done",
        "x=2": "crashed",
        "x=3": "crashed",
    }
    for x in KILLED:
        acknowledged = lab.acknowledged(f"{x}-False")
        record = records[f"x={x}"]
        series = record.series["value"]
        assert len(series.value) >= len(acknowledged) > 300
        assert series.step.tolist() == list(range(len(series.step)))
        for _, step, value in acknowledged:
            assert series.value[step] == value
        fields = record.series["field"]
        assert len(fields.value) > (len(acknowledged) - 1) // 10
        for i, field in enumerate(fields.value):
            assert np.array_equal(field, np.full(200, series.value[10 * i]))
        for _, step, value in acknowledged[::5]:
            assert record.flat_data[f"at/{step}"] == [value, step]
        assert f"half of {x}" in record.log
        assert record.error is None
        assert record.stopped is None
        assert record.duration is None


def test_the_list_says_so_right_afterwards_and_runs_that_never_began_are_not_made_up(lab: Laboratory) -> None:
    listed = json.loads(lab.pytest("--archive-list", "--archive-format", "json").exits(0).text)
    statuses = {row["id"]: row["status"] for row in listed}
    assert statuses == {"x=0": "done", "x=1": "done", "x=2": "crashed", "x=3": "crashed"}


def test_the_commit_log_knows_of_the_crashed_runs(lab: Laboratory) -> None:
    commits = lab.commits()
    assert commits["x=2"]["status"] == "crashed"
    assert commits["x=2"]["series"]["value"]["n"] >= len(lab.acknowledged("2-False"))
    assert commits["x=0"]["status"] == "done"


def test_a_resume_completes_the_sweep_and_keeps_the_earlier_attempt(lab: Laboratory) -> None:
    before = {x: lab.records()[f"x={x}"].series["value"].value for x in KILLED}
    settled = (lab.records()["x=0"].path / "experiment_meta.json").read_bytes()
    (lab.side / "resumed").touch()
    lab.run("--resume", "-n", 2).exits(0)
    records = lab.records()
    assert lab.statuses() == {f"x={x}": "done" for x in range(6)}
    assert (records["x=0"].path / "experiment_meta.json").read_bytes() == settled
    for x in KILLED:
        record = records[f"x={x}"]
        assert record.attempt == 1
        assert record.data["sum"] == x
        assert record.series["value"].value.tolist() == [x + i / 7 for i in range(100)]
        earlier = type(record)(record.path / "attempts" / "0")
        assert earlier.status == "crashed"
        assert earlier.attempt == 0
        assert np.array_equal(earlier.series["value"].value, before[x])
        assert earlier.data["at"]["5"][1] == 5
    assert {name: line["attempt"] for name, line in lab.commits().items()} == {
        f"x={x}": int(x in KILLED) for x in range(6)
    }
    assert len((lab.sweep() / "invocations.jsonl").read_bytes().splitlines()) == 2


def test_a_crash_of_a_second_attempt_is_not_hidden_by_the_first(lab: Laboratory) -> None:
    other = Laboratory(lab.path.parent / "second")
    other.write(
        "exp_twice.py",
        """
        import os
        from expedition import experiment

        @experiment.parametrize("x", [0, 1])
        def exp_twice(e, x: int = 0):
            e["attempt"] = e.path.joinpath("attempts").exists()
            if e["attempt"]:
                os._exit(9)
            assert x == 0
        """,
    )
    other.run().exits(1)
    other.run("--resume").exits(9)
    assert other.statuses() == {"x=0": "done", "x=1": "crashed"}
    line = other.commits()["x=1"]
    assert (line["status"], line["attempt"], line["data"]) == ("crashed", 1, {"attempt": True})
    other.run("--resume").exits(9)
    record = other.records()["x=1"]
    assert record.attempt == 2
    assert sorted(folder.name for folder in (record.path / "attempts").iterdir()) == ["0", "1"]
    assert type(record)(record.path / "attempts" / "0").status == "failed"
