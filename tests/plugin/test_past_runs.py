"""``--archive-select`` with ``--experiments``: past runs run again, with the values that were recorded."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.thoroughness import further

SWEEP = """
import enum
from typing import Literal

class Kind(enum.Enum):
    ONE = 1
    TWO = 2

SCALE: float = 2.0

@experiment.parametrize("a", [0, 1, 2])
@experiment.replicate(2)
def exp_a(e, a: int, b: float = 0.5, kind: Kind = Kind.ONE, free=None):
    e["y"], e["draw"] = a * SCALE + b, float(e.rng.random())
    assert a != 1
"""

FAILED = "status == 'failed'"


def last(lab):
    """Id, parameters, key, data, status and what it repeats, of the runs of the latest sweep, in order."""
    sweep = max(lab.sweeps(), key=lambda path: path.name)
    found = sorted((r for r in lab.records() if r.sweep_path == sweep), key=lambda r: r.index)
    return [(r.id, r.key, r.params, r.seed, r.data, r.status) for r in found]


@pytest.mark.parametrize("options", [(), ("-n2",)])
def test_exactly_the_selected_runs_run_again(lab, options):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    before = {r.id: r for r in lab.records()}
    out = lab.run("--archive-select", FAILED, *options).exits(1)
    out.says("exp_a: 2 runs (past runs again)", "2 failed", "a=1-rep=0")
    assert [(i, s) for i, *_, s in last(lab)] == [("a=1-rep=0", "failed"), ("a=1-rep=1", "failed")]
    assert len(lab.sweeps()) == 2
    for identifier, key, params, seed, data, _ in last(lab):
        past = before[identifier]
        assert (key, params, seed, data) == (past.key, past.params, past.seed, past.data)
    for record in lab.records():
        if record.repeats is not None:
            past = before[record.id]
            assert record.repeats == {
                "key": past.key,
                "sweep": past.sweep,
                "folder": past.path.relative_to(lab.path / "results").as_posix(),
            }
            assert past.repeats is None
    assert sum(record.repeats is not None for record in lab.records()) == 2
    newest = max(lab.sweeps(), key=lambda path: path.name)
    manifest = json.loads((newest / "sweep.json").read_bytes())
    assert manifest["design"] == {"kind": "repeats"}
    assert manifest["options"]["archive_select"] == FAILED


@pytest.mark.parametrize("options", [(), *further(("-n2",))])
def test_values_are_those_that_were_recorded_wherever_they_came_from(lab, options):
    lab.experiment(SWEEP)
    lab.file("given.yml", "b: 0.125\nfree: [1, null, x]\n")
    lab.run("-q", "-P", "SCALE=8", "-P", "kind=2", "--params-file", "given.yml").exits(1)
    past = {r.id: (r.key, r.params, r.seed, r.data) for r in lab.records()}
    # Meanwhile the design and the defaults are others.
    changed = SWEEP.replace("[0, 1, 2]", "[7, 8]").replace("b: float = 0.5", "b: float = 9.0")
    lab.experiment(changed.replace("replicate(2)", "replicate(1)"))
    out = lab.run("--archive-select", "a < 2 and rep == 1", *options).exits(1)
    out.says("1 failed, 1 passed")
    assert [i for i, *_ in last(lab)] == ["a=0-rep=1", "a=1-rep=1"]
    for identifier, key, params, seed, data, _ in last(lab):
        assert (key, params, seed, data) == past[identifier]
    newest = max(lab.sweeps(), key=lambda path: path.name)
    about = json.loads((newest / "sweep.json").read_bytes())["parameters"]
    origins = {name: entry["origin"] for name, entry in about.items()}
    assert origins == dict.fromkeys(("a", "b", "SCALE", "kind", "free"), "--archive-select")
    from expedition import Trajectory

    with Trajectory.open(newest) as traj:
        assert traj.par.a.values.tolist() == [0, 1]
        assert traj.par.SCALE.values.tolist() == [8.0, 8.0]
        assert traj.runs.replicate.values.tolist() == [1, 1]


def test_runs_of_several_sweeps_that_would_share_an_id_are_told_apart(lab):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    lab.run("-q", "-P", "b=3").exits(1)
    lab.run("-q", "--archive-select", "a == 2 and rep == 0").exits(0)
    assert [(i, p["b"]) for i, _, p, *_ in last(lab)] == [
        ("a=2-b=0.5-rep=0", 0.5),
        ("a=2-b=3.0-rep=0", 3.0),
    ]
    past = {r.key for r in lab.records() if r.repeats is None}
    assert {key for _, key, *_ in last(lab)} <= past


def test_a_run_that_was_made_in_several_sweeps_runs_once_and_repeats_the_latest(lab):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    lab.run("-q").exits(1)
    second = max(lab.sweeps(), key=lambda path: path.name).name
    lab.run("-q", "--archive-select", "a == 2").exits(0)
    assert [i for i, *_ in last(lab)] == ["a=2-rep=0", "a=2-rep=1"]
    assert {r.repeats["sweep"] for r in lab.records() if r.repeats is not None} == {second}


def test_expansions_run_again_too(lab):
    from expedition import Trajectory

    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    with Trajectory.open(lab.sweeps()[0]) as traj:
        traj.expand([{"a": 5, "SCALE": 4.0}])
    lab.run("-q", "--resume").exits(1)
    lab.run("-q", "--archive-select", "a == 5").exits(0)
    assert [(i, p["SCALE"], d["y"]) for i, _, p, _, d, _ in last(lab)] == [
        ("a=5-SCALE=4.0-rep=0", 4.0, 20.5),
        ("a=5-SCALE=4.0-rep=1", 4.0, 20.5),
    ]


def test_an_experiment_without_a_sweep(lab):
    lab.experiment("def exp_b(e, x: int = 1):\n    e['y'] = x\nexp_b = experiment(exp_b)")
    lab.run("-q", "-P", "x=3").exits(0)
    (only,) = lab.records()
    lab.run("-q", "--archive-select", "x == 3").exits(0)
    again = next(r for r in lab.records() if r.repeats)
    assert (again.id, again.key, again.data) == (only.id, only.key, {"y": 3})
    assert again.path == again.sweep_path
    # Two of them need ids of their own.
    lab.run("-q").exits(0)
    lab.run("-q", "--archive-select", "experiment == 'exp_b'").exits(0)
    assert [(i, d["y"]) for i, *_, d, _ in last(lab)] == [("x=3", 3), ("x=1", 1)]


@pytest.mark.parametrize("options", [(), *further(("-n2",))])
def test_other_selections_hold_within_it(lab, options):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    select = ("--archive-select", "a != 1")
    lab.run(*select, "--where", "rep == 0", *options).exits(0).says("2 passed")
    assert [i for i, *_ in last(lab)] == ["a=0-rep=0", "a=2-rep=0"]
    lab.run(*select, "-k", "2-rep", *options).exits(0).says("2 passed")
    assert [i for i, *_ in last(lab)] == ["a=2-rep=0", "a=2-rep=1"]
    assert len(lab.sweeps()) == 3


def test_an_option_goes_before_the_record(lab):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    lab.run("-q", "--archive-select", FAILED, "-P", "b=0.25", "-n2").exits(1)
    assert [(i, p["a"], p["b"]) for i, _, p, *_ in last(lab)] == [
        ("a=1-rep=0", 1, 0.25),
        ("a=1-rep=1", 1, 0.25),
    ]
    lab.run("-q", "--archive-select", f"a != 1 and sweep == '{lab.sweeps()[0].name}'", "-P", "a=1")
    # Of three points two are left, which come to one.
    assert [p["a"] for _, _, p, *_ in last(lab)] == [1, 1]
    assert not {key for _, key, *_ in last(lab)} - {r.key for r in lab.records()}


def test_a_preview_writes_nothing(lab):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    before = lab.files()
    lab.run("--archive-select", FAILED, "--collect-only").exits(0).says("2 runs (past runs again)")
    out = lab.run("--archive-select", FAILED, "--collect-only", "-q")
    assert out.ids() == ["exp_a.py::exp_a[a=1-rep=0]", "exp_a.py::exp_a[a=1-rep=1]"]
    assert lab.files() == before


def test_runs_of_experiments_that_are_not_collected_are_told(lab):
    lab.experiment(SWEEP, "one/exp_a.py")
    lab.experiment("@experiment\ndef exp_b(e):\n    e.fail('no')", "two/exp_b.py")
    lab.run("-q").exits(1)
    out = lab.run("--archive-select", FAILED, path="one").exits(1)
    out.says(
        "2 failed",
        "1 selected run of exp_b (two/exp_b.py::exp_b) left out: the experiment is not collected here",
    )
    before = lab.files()
    lab.run("--archive-select", "experiment == 'exp_b'", path="one").exits(5).says("not collected here")
    lab.run("--archive-select", "status == 'timeout'").exits(5).says(
        "no run of ", "matches \"status == 'timeout'\""
    )
    assert lab.files() == before


def test_testing_mode_repeats_runs_of_testing_mode(lab):
    lab.experiment(
        """
        @experiment.parametrize("a", [0, 1])
        def exp_a(e, a: int, n: int = 100):
            e["n"] = n

        @experiment.testing
        def quick():
            return {"n": 1}
        """
    )
    lab.run("-q").exits(0)
    lab.run("-q", "--testing").exits(0)
    lab.run("--archive-select", "a == 1").exits(0).says(
        "1 passed", "1 selected run of exp_a left out: made in testing mode; --testing repeats them"
    )
    assert [p["n"] for _, _, p, *_ in last(lab)] == [100]
    lab.run("--archive-select", "a == 0", "--testing").exits(0).says("1 passed", "not made in testing mode")
    assert [p["n"] for _, _, p, *_ in last(lab)] == [1]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (SWEEP.replace("b: float", "bb: float"), ["'b' is no parameter any more (did you mean 'bb'?)"]),
        (SWEEP.replace("free=None", "free: int = 1"), ["parameter free must be int, but got None"]),
        (SWEEP.replace("TWO = 2", "THREE = 2").replace("ONE", "TWO"), ["kind"]),
        (SWEEP.replace("b: float", "c: int, b: float"), ["the parameter c, which has no default now"]),
    ],
)
def test_what_cannot_be_made_again_is_a_usage_error(lab, text, messages):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    if "c: int" in text:
        text = text.replace('("a", [0, 1, 2])', '("a,c", [(0, 1)])')
    lab.experiment(text)
    out = lab.refused("--archive-select", FAILED)
    out.says("2 of 2 selected runs cannot be made again", *messages)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--archive-select", "statu == 'failed'"),
            "--archive-select: no run has 'statu' (did you mean 'status'",
        ),
        (("--archive-select", "a <"), "--archive-select: "),
        (("--archive-select", FAILED, "--resume"), "give one of them"),
        (("--archive-select", FAILED, "--archive-limit", "1"), "by --archive-select alone"),
        (("--archive-select", FAILED, "--archive", "nowhere"), "there is no archive at"),
    ],
)
def test_refusals(lab, options, message):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    lab.refused(*options).says(message)


def test_runs_that_cannot_be_read_are_told(lab):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    broken = next(r.path for r in lab.records() if r.id == "a=2-rep=0")
    (broken / "experiment_meta.json").write_text("{")
    out = lab.run("--archive-select", "status in ['failed', 'damaged']").exits(1)
    out.says("2 failed", "left out, cannot be read:", "0004-a=2-rep=0")


def test_a_parameter_that_is_new_has_its_present_value(lab):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    lab.experiment(SWEEP.replace("free=None", "free=None, new: int = 4"))
    lab.run("--archive-select", "a == 0").exits(0).says("new is new since, the runs have its present value")
    assert [(i, p["new"]) for i, _, p, *_ in last(lab)] == [("a=0-rep=0", 4), ("a=0-rep=1", 4)]


def test_a_resume_goes_on_with_the_sweep_of_the_design(lab):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    first = lab.sweeps()[0]
    lab.run("-q", "--archive-select", "a == 0").exits(0)
    lab.run("--resume").exits(1).says(f"resuming {first.name}", "2 failed")
    assert len(lab.sweeps()) == 2


def test_nothing_is_called_after_it(lab):
    lab.experiment(
        """
        @experiment.parametrize("a", [0, 1])
        def exp_a(e, a: int):
            e["y"] = a

        @experiment.after_sweep
        def more(traj):
            return [{"a": len(traj)}] if len(traj) < 3 else None
        """
    )
    lab.run("-q").exits(0)
    assert len(lab.records()) == 3
    lab.run("-q", "--archive-select", "a == 1").exits(0)
    assert [i for i, *_ in last(lab)] == ["a=1"]


def test_a_copied_archive_and_a_config(lab):
    lab.experiment(SWEEP)
    lab.file(
        "exp_c.yml", "extend: exp_a.py\nparameters: {b: 2.5}\nsweep: {grid: {a: [4, 6]}}\nreplicates: 1\n"
    )
    lab.run("-q", path="exp_c.yml").exits(0)
    shutil.copytree(lab.path / "results", lab.path / "elsewhere")
    shutil.rmtree(lab.path / "results")
    # In a process of its own, which has to find the class of a recorded value anew.
    select = ("--archive", "elsewhere", "--archive-select", "a == 6")
    lab.spawn("--experiments", ".", "-q", *select).exits(0)
    from expedition import Archive

    again = [r for r in Archive(lab.path / "elsewhere").runs() if r.repeats]
    assert [(r.id, r.params["b"]) for r in again] == [("a=6", 2.5)]
    assert (lab.path / "elsewhere" / again[0].repeats["folder"] / "experiment_meta.json").is_file()


def test_a_secret_comes_from_the_options_again(lab):
    lab.experiment(
        """
        from expedition import Secret

        @experiment.parametrize("a", [0, 1])
        def exp_a(e, a: int, token: Secret[str] = "none"):
            e["n"] = len(token)
        """
    )
    lab.run("-q", "-P", "token=abcdefghi").exits(0)
    lab.run("-q", "--archive-select", "a == 1", "-P", "token=abcdefgh", "-n2").exits(0)
    assert [(i, p["token"], d["n"]) for i, _, p, _, d, _ in last(lab)] == [("a=1", "***", 8)]


@pytest.mark.parametrize("options", [(), *further(("-n2",))])
def test_a_run_whose_record_was_edited_is_called_by_the_values_that_it_has(lab, options):
    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    select = "a == 2 and rep == 0"
    lab.pytest("--archive-modify", "set params.a=9", "--archive-select", select, "--yes").exits(0)
    # Others keep theirs where their parameters are those that they ran with.
    lab.pytest("--archive-modify", "tag seen", "--archive-select", "a == 0", "--yes").exits(0)
    lab.run("--archive-select", "a == 9 or a == 0", *options).exits(0)
    found = last(lab)
    assert [(i, params["a"]) for i, _, params, *_ in found] == [
        ("a=0-rep=0", 0),
        ("a=0-rep=1", 0),
        ("a=9-rep=0", 9),
    ]
    sweep = max(lab.sweeps(), key=lambda path: path.name)
    assert sorted(p.name for p in sweep.iterdir() if p.name[0].isdigit())[-1] == "0002-a=9-rep=0"


def test_a_selection_knows_what_a_run_repeats(lab):
    from expedition import Archive

    lab.experiment(SWEEP)
    lab.run("-q").exits(1)
    past = {row.id: row.reference for row in Archive(lab.path / "results").rows()}
    lab.run("--archive-select", FAILED).exits(1)
    archive = Archive(lab.path / "results")
    again = list(archive.rows("repeats is not None", keep_index=True))
    assert {row.id: row.value("repeats") for row in again} == {
        name: past[name] for name in ("a=1-rep=0", "a=1-rep=1")
    }
    for row in again:
        assert row.value("repeats") != row.reference
        assert archive.run(row.repeats).key == row.key
        assert [found.path for found in archive.rows(f"repeats == '{past[row.id]}'")] == [row.path]
