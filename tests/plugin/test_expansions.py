"""`Trajectory.expand` and ``--resume``: points that are added to a sweep run as if they had stood in its design."""

from __future__ import annotations

import json

import pytest

from expedition import Archive, Trajectory
from expedition.errors import ExperimentError
from expedition.sweeps import grid, points

SWEEP = """
import enum
from typing import Literal

class Kind(enum.Enum):
    ONE = 1
    TWO = 2

SCALE: float = 2.0

@experiment.parametrize("a", [0, 1])
@experiment.replicate(2)
def exp_a(e, a: int, b: float = 0.5, kind: Kind = Kind.ONE, mode: Literal["x", "y"] = "x", free=None):
    e["y"] = a * SCALE + b
    e["draw"] = float(e.rng.random())
    e.track("t", a)
"""


def expand(lab, *designs):
    """How many runs each design adds to the only sweep."""
    with Trajectory.open(lab.sweeps()[0]) as traj:
        return [traj.expand(design) for design in designs]


def rows(lab):
    """(id, status) by row of the only sweep."""
    with Trajectory.open(lab.sweeps()[0]) as traj:
        return list(zip(traj.runs.id.values.tolist(), traj.runs.status.values.tolist(), strict=True))


def content(lab, archive="results"):
    found = Archive(lab.path / archive).runs()
    return {r.id: (r.key, r.seed, r.params, r.data, r.series["t"].value.tolist()) for r in found}


def frozen(lab):
    """Bytes of what must never change: manifest, commit logs and the folders of the first four runs."""
    (sweep,) = lab.sweeps()
    files = [
        p for p in sweep.rglob("*") if p.is_file() and p.relative_to(sweep).parts[0][:4] in ("0000", "0001")
    ]
    return {p: p.read_bytes() for p in [*files, sweep / "sweep.json", *(sweep / "journal").glob("*.jsonl")]}


@pytest.mark.parametrize("options", [(), ("-n2",)])
def test_only_what_is_new_runs(lab, options):
    lab.experiment(SWEEP)
    lab.run(*options).exits(0)
    before = frozen(lab)
    # As rows they count only when they run; the design that is there already is left out.
    assert expand(lab, grid(a=[1, 2, 3]), [{"a": 3}, {"a": 4}]) == [4, 2]
    with Trajectory.open(lab.sweeps()[0]) as traj:
        assert len(traj) == 4
    out = lab.run("--resume", *options).exits(0)
    out.says("4 done, 6 new", "6 passed, 4 deselected", "10 items")
    ids = [f"a={a}-rep={r}" for a in range(5) for r in (0, 1)]
    assert rows(lab) == [(i, "done") for i in ids]
    assert before.items() <= frozen(lab).items()
    lab.run("--resume", *options).exits(0).says("nothing to do", "10 done")
    # The same runs as those of a design that has them from the start.
    lab.experiment(SWEEP.replace("[0, 1]", "[0, 1, 2, 3, 4]"))
    lab.run("--archive", "whole").exits(0)
    assert content(lab) == content(lab, "whole")
    lab.run("--resume").exits(0).says("nothing to do")


def test_a_preview_shows_them(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    expand(lab, [{"a": 7}])
    before = lab.files()
    out = lab.run("--resume", "--collect-only").exits(0)
    out.says("6 runs", "4 done, 2 new", "7", "2/6 tests collected")
    assert lab.run("--resume", "--collect-only", "-q").ids() == [
        f"exp_a.py::exp_a[a=7-rep={r}]" for r in (0, 1)
    ]
    assert lab.files() == before


def test_without_a_resume_a_new_sweep_is_that_of_the_file(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    expand(lab, [{"a": 7}])
    lab.run().exits(0).says("4 passed")


def test_points_may_name_any_parameter(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    # Values that all runs have anyway make no other run: b=0.5 is the default, SCALE=2 is the variable.
    assert expand(
        lab, [{"a": 1, "b": 0.5}, {"a": 0, "SCALE": 2}, {"a": 1, "b": 1}, {"a": 1, "SCALE": 8.0}]
    ) == [4]
    lab.run("--resume").exits(0).says("4 passed")
    assert [i for i, _ in rows(lab)][4:] == [
        *("a=1-b=1.0-rep=0", "a=1-b=1.0-rep=1", "a=1-SCALE=8.0-rep=0", "a=1-SCALE=8.0-rep=1")
    ]
    with Trajectory.open(lab.sweeps()[0]) as traj:
        # What an int was given for is a float, and so is that of the earlier runs.
        assert traj.par.b.values.tolist() == [0.5] * 4 + [1.0, 1.0, 0.5, 0.5]
        assert traj.par.SCALE.values.tolist() == [2.0] * 6 + [8.0] * 2
        assert traj.res.y.values.tolist() == [0.5, 0.5, 2.5, 2.5, 3.0, 3.0, 8.5, 8.5]
        assert traj.attrs["explored"] == ["a", "b", "SCALE"]
        assert [(p["a"], p["b"], p["SCALE"]) for p in traj.unique_points()] == [
            *((0, 0.5, 2.0), (1, 0.5, 2.0), (1, 1.0, 2.0), (1, 0.5, 8.0))
        ]
    record = lab.archive.run("a=1-SCALE=8.0-rep=0")
    origins = {name: about["origin"] for name, about in record.meta["parameters"].items()}
    assert (origins["a"], origins["SCALE"], origins["b"]) == ("expansion", "expansion", "default")


def test_values_are_typed_like_those_of_the_design(lab):
    import numpy as np

    lab.experiment(SWEEP)
    lab.run().exits(0)
    expand(lab, [{"a": np.int64(5), "b": 3}, {"a": 6, "mode": "y"}, {"a": 6, "free": (1, None)}])
    lab.run("--resume").exits(0).says("6 passed")
    found = {i: r.params for r in lab.records() for i in [r.id] if r.replicate == 0}
    assert found["a=5-b=3.0-rep=0"]["a"] == 5
    assert type(found["a=5-b=3.0-rep=0"]["a"]) is int
    assert type(found["a=5-b=3.0-rep=0"]["b"]) is float
    assert found["a=6-mode=y-rep=0"]["mode"] == "y"
    assert [p["free"] for i, p in found.items() if "free" in i] == [(1, None)]


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ([{"aa": 1}], "exp_a has no parameter 'aa' (did you mean 'a'?); parameters: a, b,"),
        ([{"SCALES": 1.0}], "did you mean 'SCALE'?"),
        ([{"run": 1}], "'run' is a reserved name"),
        ([{"rep": 1}], "use @experiment.replicate(n)"),
        ([{"a": "x"}], "parameter a must be int, but got 'x' (str) from Trajectory.expand"),
        ([{"a": 1.5}], "parameter a must be int"),
        ([{"b": 0.5}], "a point gives no a, which has no default"),
        ([{"a": object()}], "cannot be the value of a parameter"),
        ({"a": [1, 2]}, "give a design of expedition.sweeps"),
        ("a", "give a design of expedition.sweeps"),
        ([1, 2], "item 0 is 1; each must be a dict"),
    ],
)
def test_refusals(lab, design, message):
    lab.experiment(SWEEP)
    lab.run("-q").exits(0)
    with Trajectory.open(lab.sweeps()[0]) as traj, pytest.raises(ExperimentError) as error:
        traj.expand(design)
    assert message in str(error.value)
    assert not (lab.sweeps()[0] / "expansions.jsonl").exists()


def test_nothing_to_add_leaves_no_trace(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    assert expand(lab, [], [{"a": 0}], points([{"a": 1, "mode": "x"}])) == [0, 0, 0]
    assert not (lab.sweeps()[0] / "expansions.jsonl").exists()


def test_a_trajectory_that_stands_alone_cannot_grow(lab, tmp_path):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    (tmp_path / "copy.h5").write_bytes((lab.sweeps()[0] / "trajectory.h5").read_bytes())
    with (
        Trajectory.open(tmp_path / "copy.h5") as traj,
        pytest.raises(ExperimentError, match="in no sweep folder"),
    ):
        traj.expand([{"a": 5}])


def test_what_only_the_experiment_can_refuse_is_a_usage_error(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    (sweep,) = lab.sweeps()
    assert expand(lab, [{"a": 5}], [{"a": 6, "mode": "z"}]) == [2, 2]
    out = lab.refused("--resume")
    out.says("parameter mode must be Literal['x', 'y'], but got 'z'", "expansions.jsonl at byte")
    out.says("take the line out of the file to go without it")
    file = sweep / "expansions.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    lab.run("--resume").exits(0).says("2 passed")


def test_a_torn_line_is_passed_over(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    expand(lab, [{"a": 5}])
    file = lab.sweeps()[0] / "expansions.jsonl"
    file.write_bytes(file.read_bytes() + b'{"at":"2026-11-23T00:00:00Z","by":"x","points":[{"a":9}')
    assert expand(lab, [{"a": 6}]) == [2]
    lab.run("--resume", "-n2").exits(0).says("4 passed")
    assert [i for i, _ in rows(lab)][4::2] == ["a=5-rep=0", "a=6-rep=0"]


def test_a_parameter_that_is_gone_costs_only_its_points(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    expand(lab, [{"a": 5, "b": 1.5}], [{"a": 6}])
    lab.run("--resume").exits(0)
    lab.experiment(SWEEP.replace("b: float = 0.5, ", "").replace("+ b", ""))
    out = lab.run("--resume").exits(0)
    out.says("warning: 1 points of", "name what is no parameter any more", "6 passed")
    assert len(rows(lab)) == 14


def test_an_option_that_overrides_holds_for_them_too(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    expand(lab, [{"a": 5}, {"a": 6}, {"a": 0, "b": 9.0}])
    lab.run("--resume", "-P", "a=1").exits(0).says("2 passed, 2 deselected")
    assert [i for i, _ in rows(lab)][4:] == ["b=9.0-rep=0", "b=9.0-rep=1"]
    assert {r.params["a"] for r in lab.records()} == {0, 1}


def test_more_replicates_come_for_them_too(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    expand(lab, [{"a": 5}])
    lab.run("--resume").exits(0)
    lab.experiment(SWEEP.replace("replicate(2)", "replicate(3)"))
    lab.run("--resume").exits(0).says("3 passed")
    assert [i for i, _ in rows(lab)][6:] == ["a=0-rep=2", "a=1-rep=2", "a=5-rep=2"]


def test_objects_come_back_as_such(lab):
    lab.experiment(
        """
        import enum

        class Kind(enum.Enum):
            ONE = 1
            TWO = 2

        @experiment.parametrize("kind", [Kind.ONE])
        def exp_a(e, kind: Kind):
            e["name"] = kind.name

        @experiment.after_sweep
        def more(traj):
            return [{"kind": Kind.TWO}] if len(traj) == 1 else None
        """
    )
    lab.run().exits(0)
    assert [r.data["name"] for r in lab.records()] == ["ONE", "TWO"]
    lab.run("--resume", "-n2").exits(0).says("nothing to do", "2 done")


def test_every_line_says_who_added_what(lab):
    lab.experiment(SWEEP)
    lab.run().exits(0)
    expand(lab, grid(a=[7, 8]))
    (line,) = (json.loads(text) for text in (lab.sweeps()[0] / "expansions.jsonl").read_text().splitlines())
    assert (line["by"], line["points"]) == ("Trajectory.expand", [{"a": 7}, {"a": 8}])
    assert line["at"].endswith("Z")
    assert len(line["crc"]) == 8


def test_while_another_invocation_is_at_it_points_wait_for_the_next(lab):
    """Somebody expands the sweep in the middle of a run: nobody is confused, and nothing is lost."""
    lab.experiment(
        """
        from expedition import Trajectory
        from expedition.trajectory import compile_trajectory

        @experiment.parametrize("a", [0, 1])
        def exp_a(e, a: int):
            if a == 0:
                with Trajectory.open(compile_trajectory(e.sweep_path)) as traj:
                    e["added"] = traj.expand([{"a": 5}])
        """
    )
    lab.run("-n2").exits(0).says("2 passed")
    lab.run("--resume").exits(0).says("1 passed, 2 deselected")
    assert [i for i, _ in rows(lab)] == ["a=0", "a=1", "a=5"]
