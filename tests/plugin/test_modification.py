"""``--archive-modify``: records and trajectory say the same afterwards, whatever happens in between."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from expedition import Archive, Trajectory
from expedition.archive.commits import latest_commits
from expedition.archive.sweep import SweepFolder
from expedition.errors import ExperimentError, RecordNotFoundError
from expedition.plugin.acting import holding
from expedition.plugin.locks import hold_sweep, release
from tests.archive.conftest import fingerprint
from tests.durability.laboratory import Laboratory
from tests.killing import killed_before
from tests.plugin.conftest import Lab, Outcome
from tests.trajectory.growing import update_and_compare

EXPERIMENT = """
    import numpy as np

    @experiment(tags=["paper"])
    @experiment.parametrize("x", range(4))
    def exp_a(e, x: int = 0, lr: float = 0.1):
        e["b/deep"] = x / 2
        e["a"] = x
        e["large"] = np.full(300, x)
        e["frame"] = [x, None]
        if x == 2:
            e["rare"] = 1
        for step in range(x + 1):
            e.track("loss", step / 2)
        assert x != 3, "three"
"""


@pytest.fixture
def swept(lab: Lab) -> Lab:
    lab.experiment(EXPERIMENT)
    lab.run().exits(1)
    return lab


def modify(lab: Lab, *operations: str, select: str | None = None, code: int = 0) -> Outcome:
    given = [part for text in operations for part in ("--archive-modify", text)]
    chosen = ["--all"] if select is None else ["--archive-select", select]
    return lab.pytest(*given, *chosen, "--yes").exits(code)


def only_sweep(lab: Lab) -> Path:
    (sweep,) = lab.archive.sweep_folders()
    return sweep


def check_agreement(root: Path) -> None:
    """Records, commit lines and trajectory of every run say the same."""
    for sweep in Archive(root).sweeps():
        lines = {line["index"]: line for line in latest_commits(sweep)}
        records = {record.index: record for record in Archive(sweep.path).runs()}
        assert lines.keys() == records.keys()
        with Trajectory.open(sweep.path) as traj:
            for index, run in enumerate(traj):
                if index not in records:
                    assert run.status == "pending"
                    continue
                record = records[index]
                assert (run.status, lines[index]["status"]) == (record.status, record.status)
                assert lines[index]["data"] == record.tagged_data
                assert comparable(run.params) == comparable(record.params)
                assert comparable(run.res.to_dict(nested=False)) == comparable(record.flat_data)
        update_and_compare(sweep.path)


def comparable(values: Any) -> dict[str, Any]:
    return {
        name: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for name, v in dict(values).items()
    }


def test_the_trajectory_agrees(swept: Lab) -> None:
    sweep = only_sweep(swept)
    with Trajectory.open(sweep) as before:
        modify(
            swept, "set params.lr=1", "rename data.b=deeper", "set data.new=[1]", "tag seen", select="x > 1"
        )
        check_agreement(swept.archive.root)
        assert before.par.lr[:].tolist() == [0.1] * 4  # what was open is what it was
    with Trajectory.open(sweep) as traj:
        assert traj.par.lr[:].tolist() == [0.1, 0.1, 1.0, 1.0]
        assert list(traj.find("lr == 1")) == [2, 3]
        assert traj.res.deeper.deep[:].tolist()[2:] == [1.0, 1.5]
        assert [traj.res.b.deep.has(index) for index in range(4)] == [True, True, False, False]
    with h5py.File(sweep / "trajectory.h5") as file:
        assert list(file.attrs["explored"]) == ["x", "lr"]  # it varies now
        assert "grid_shape" not in file.attrs
    modify(swept, "drop data.large", "drop data.frame")
    check_agreement(swept.archive.root)
    assert len(list((sweep / "journal").glob("edits-*.jsonl"))) == 2
    assert (sweep / "0000-x=0" / "data" / "large.npy").exists()


def test_lists_and_selections_see_edits(swept: Lab) -> None:
    swept.pytest("--archive-list").exits(0)  # makes the index
    modify(swept, "set data.a=77", "tag seen", select="x == 1")
    assert [row.id for row in swept.archive.rows("a == 77")] == ["x=1"]
    swept.pytest("--archive-list", "--archive-select", "'seen' in tags").exits(0).says("x=1").omits("x=2")


def test_a_swept_parameter_may_be_renamed(swept: Lab) -> None:
    modify(swept, "rename params.x=width")
    check_agreement(swept.archive.root)
    with Trajectory.open(only_sweep(swept)) as traj:
        assert traj.par.width[:].tolist() == [0, 1, 2, 3]
        assert "x" not in traj.par
        assert "width" in traj.to_pandas().columns
    keys = [record.key for record in swept.archive.runs()]
    assert keys == [entry.key for entry in SweepFolder.open(only_sweep(swept)).entries]
    # The keys are what they were, so a resume knows which runs are settled.
    swept.experiment(EXPERIMENT.replace("x != 3", "True"))
    swept.run("--resume", "--ignore-code").exits(0)
    assert [record.attempt for record in swept.archive.runs()] == [0, 0, 0, 1]
    assert [sorted(record.params) for record in swept.archive.runs()][-2:] == [["lr", "width"], ["lr", "x"]]
    check_agreement(swept.archive.root)


def test_what_a_run_lacks_is_told_and_the_others_go_on(swept: Lab) -> None:
    outcome = modify(swept, "rename data.rare=common", code=1)
    outcome.says(
        "0002-x=2: data.rare → data.common", "0001-x=1: rename data.rare=common: it has stored nothing"
    )
    assert [record.flat_data.get("common") for record in swept.archive.runs()] == [None, None, 1, None]
    assert not any(record.edits for record in swept.archive.runs() if record.index != 2)


def test_what_changes_nothing_is_told(swept: Lab) -> None:
    before = fingerprint(swept.archive.root)
    modify(swept, "tag paper").says("tag paper: changes nothing in 4 runs").omits("0000-x=0", "modified")
    assert fingerprint(swept.archive.root) == before


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ("set params.lrr=1", "character 5: no run has params.lrr (did you mean 'params.lr'"),
        ("drop data.lareg", "character 6: no run has data.lareg (did you mean 'data.large'"),
        ("rename params.y=z", "no run has params.y"),
        ("set params.lr=fast", "exp_a: parameter lr must be float, but got 'fast'"),
        ("st params.lr=1", "character 1: there is no 'st'"),
    ],
)
def test_slips_are_refused_before_anything_is_written(swept: Lab, operation: str, said: str) -> None:
    before = fingerprint(swept.archive.root)
    modify(swept, "tag good", operation, code=4).says(said).omits("Traceback")
    assert fingerprint(swept.archive.root) == before


def test_a_dry_run_says_what_would_be_done_and_does_nothing(swept: Lab) -> None:
    before = fingerprint(swept.archive.root)
    arguments = ("--archive-modify", "set params.lr=1", "--archive-select", "x < 2")
    shown = swept.pytest(*arguments, "--dry-run").exits(0)
    assert fingerprint(swept.archive.root) == before
    done = swept.pytest(*arguments, "--yes").exits(0)
    lines = [line for line in done.out.splitlines() if "params.lr: 0.1 → 1.0" in line]
    assert len(lines) == 2
    shown.says(*lines, "modify 2 runs of 1 experiment (set params.lr=1)")


def test_a_damaged_run_is_told_and_the_others_go_on(swept: Lab) -> None:
    (only_sweep(swept) / "0001-x=1" / "experiment_meta.json").write_text("{")
    modify(swept, "tag good", code=1).says("0000-x=0: tags: +'good'", "0001-x=1: ", "is damaged")


def test_an_unparametrized_experiment_and_a_copy(lab: Lab) -> None:
    lab.experiment("@experiment\ndef exp_one(e, lr: float = 0.1):\n    e['a'] = 1\n")
    lab.run().exits(0)
    modify(lab, "set params.lr=2")
    check_agreement(lab.archive.root)
    copy = lab.path / "copy"
    (lab.record().path).rename(copy)
    for name in ("sweep.json", "journal"):
        path = copy / name
        path.unlink() if path.is_file() else path.rename(lab.path / name)
    lab.pytest("--archive", copy, "--archive-modify", "set data.a=2", "--all", "--yes").exits(0)
    assert [(r.flat_data, r.params) for r in Archive(copy).runs()] == [({"a": 2}, {"lr": 2.0})]


SLOW = """
    import os, time
    from pathlib import Path
    from expedition import experiment

    @experiment.parametrize("x", [0, 1])
    def exp_slow(e, x: int = 0):
        e["x"] = x
        while x and not Path(os.environ["SIDE"], "go").exists():
            time.sleep(0.02)
"""


def test_runs_and_sweeps_that_are_at_work_are_refused(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "lab")
    lab.write("exp_slow.py", SLOW)
    started = lab.start()
    root = lab.path / "results"
    started.wait_for(
        lambda: root.is_dir() and [r.status for r in Archive(root).runs()] == ["done", "running"]
    )
    for option in (("--archive-modify", "tag a"), ("--archive-delete",)):
        refused = lab.pytest(*option, "--all", "--yes").exits(4)
        assert "0001-x=1 is running" in refused.text
        refused = lab.pytest(*option, "--archive-select", "status == 'done'", "--yes").exits(4)
        assert "an invocation is at it" in refused.text
    (lab.side / "go").touch()
    started.end().exits(0)
    assert lab.statuses() == {"x=0": "done", "x=1": "done"}
    assert not any(record.edits for record in lab.archive.runs())
    lab.pytest("--archive-modify", "tag a", "--all", "--yes").exits(0)


KILLED = killed_before(
    "replace",
    code="""
    from pathlib import Path
    from expedition import Archive
    from expedition.plugin.acting.modification import plan_modification

    action = plan_modification(Path("results"), list(Archive("results").rows()), sys.argv[1:])
    for line in action.apply():
        pass
    """,
)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 6, 12, 13])
def test_a_kill_at_any_moment_is_repaired(lab: Lab, step: int) -> None:
    """Of each run the prepared meta file, the data file and the meta file are put into place, then the trajectory."""
    lab.experiment(EXPERIMENT)
    lab.run()
    operations = ["set params.lr=3", "rename data.a=first", "drop data.large"]
    script = lab.file("killed.py", KILLED)
    done = subprocess.run(
        [sys.executable, script, str(step), *operations], cwd=lab.path, env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert [record.status for record in lab.archive.runs()] == ["done", "done", "done", "failed"]
    lab.pytest("--archive-repair", "--yes").exits(0)
    check_agreement(lab.archive.root)
    assert not list(only_sweep(lab).rglob("*.tmp-edit"))
    changed = [bool(record.edits) for record in lab.archive.runs()]
    assert sum(changed) == min(step // 3, 4)
    assert [record.params["lr"] for record in lab.archive.runs()] == [
        3.0 if edited else 0.1 for edited in changed
    ]
    if not all(changed):
        modify(lab, *operations, select="lr < 1")
    check_agreement(lab.archive.root)
    assert [sorted(record.flat_data)[1] for record in lab.archive.runs()] == ["first"] * 4


def test_lost_logs_of_edited_runs_come_back(swept: Lab) -> None:
    modify(swept, "set params.lr=3", "rename data.a=first", select="x > 0")
    for log in (only_sweep(swept) / "journal").glob("*.jsonl"):
        log.unlink()
    swept.pytest("--archive-repair").exits(0)
    check_agreement(swept.archive.root)
    with Trajectory.open(only_sweep(swept)) as traj:
        assert traj.par.lr[:].tolist() == [0.1, 3.0, 3.0, 3.0]


DOTS = """
    @experiment.parametrize("x", [1, 2])
    def exp_dots(e, x: int = 1):
        e["a/b"] = x * 1.0
        e["a.b"] = x * 10.0
        e["u.v"] = x
        e["g/h/i.j/k"] = x
"""


def test_a_name_that_may_mean_two_values_is_refused(lab: Lab) -> None:
    lab.experiment(DOTS)
    lab.run().exits(0)
    before = fingerprint(lab.archive.root)
    for operation in ("rename data.a.b=c", "drop data.a.b", "set data.a.b=1", "drop data.u.v"):
        refused = modify(lab, operation, code=4)
        refused.says("is ambiguous")
        refused.says("data['u.v']" if "u.v" in operation else "data['a.b']")
    assert fingerprint(lab.archive.root) == before
    modify(lab, "rename data['a.b']=c", "set data.a/b=7.5", "rename data.c=data['c.d']", "drop data['u.v']")
    assert [record.flat_data for record in lab.archive.runs()] == [
        {"a/b": 7.5, "c.d": 10.0, "g/h/i.j/k": 1},
        {"a/b": 7.5, "c.d": 20.0, "g/h/i.j/k": 2},
    ]
    check_agreement(lab.archive.root)


def test_one_name_means_one_value_in_lists_and_selections(lab: Lab) -> None:
    lab.experiment(DOTS)
    lab.run().exits(0)
    rows = list(csv.DictReader(io.StringIO(lab.pytest("--archive-list", "--archive-format", "csv").out)))
    names = ["a.b", "data['a.b']", "data['u.v']", "g.h['i.j'].k"]
    assert [[float(row[name]) for name in names] for row in rows] == [[1, 10, 1, 1], [2, 20, 2, 2]]
    for select, found in (
        ("data.a.b == 2", 1),
        ("a.b == 10", 0),
        ("data['a.b'] == 10", 1),
        ("g.h['i.j'].k > 0", 2),
    ):
        assert len(list(lab.archive.runs(select))) == found, select
        with Trajectory.open(only_sweep(lab)) as traj:
            assert len(traj.find(select)) == found, select
    assert lab.archive.runs().table(names)[0] == dict(zip(names, [1.0, 10.0, 1, 1], strict=True))
    assert list(lab.archive.runs().to_pandas().columns[-4:]) == names
    with pytest.raises(RecordNotFoundError, match=r"data\['u.v'\]"):
        lab.archive.runs().table(["data.u.v"])


@pytest.mark.parametrize(
    "operation",
    ["tag a\udcff", "note a\udcff", "set data.a=\udcff", "set data.\udcff=1", "rename data.a=y\udcff"],
)
def test_what_utf_8_cannot_write_is_refused(swept: Lab, operation: str) -> None:
    before = fingerprint(swept.archive.root)
    modify(swept, operation, code=4).says("cannot be written as UTF-8")
    assert fingerprint(swept.archive.root) == before


def test_a_sweep_with_names_that_no_file_takes_does_not_stop_the_others(swept: Lab) -> None:
    swept.run("-P", "exp_a:lr=0.2").exits(1)
    bad, good = swept.archive.sweep_folders()
    run = next(bad.glob("0000*"))
    data = json.loads((run / "experiment_data.json").read_text())
    (run / "experiment_data.json").write_text(json.dumps({**data, "y\udcff": 1}))
    (good / "trajectory.h5").unlink()
    modify(swept, "set params.lr=3", code=1).says("a name in its records cannot be written as UTF-8")
    assert (good / "trajectory.h5").is_file()
    swept.pytest("--archive-repair").exits(1).says("a name in its records cannot be written as UTF-8")
    modify(swept, "rename data.y\udcff=y", code=1)  # the other runs have no such value
    check_agreement(bad)


def test_planning_waits_for_another_action(swept: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "PATIENCE", 60.0)
    lock = hold_sweep(only_sweep(swept))
    threading.Timer(0.3, release, [lock]).start()
    holding.refuse_held([only_sweep(swept)], "modified")
    lock = hold_sweep(only_sweep(swept))
    monkeypatch.setattr(holding, "PATIENCE", 0.1)
    with pytest.raises(ExperimentError, match="an invocation or another action is at it"):
        holding.refuse_held([only_sweep(swept)], "modified")
    release(lock)


def test_actions_sum_up_what_they_did(swept: Lab) -> None:
    said = modify(swept, "tag new", "tag paper", select="x < 2").text
    assert said.index("0001-x=1: tags") < said.index("tag paper: changes nothing in 2 runs")
    assert said.rstrip().splitlines()[-1].strip() == "modified 2 runs"


def test_a_value_that_becomes_one_of_another_type_is_told(swept: Lab) -> None:
    shown = swept.pytest("--archive-modify", "set data.b.deep=oops", "--all", "--dry-run").exits(0)
    shown.says('0001-x=1: data.b.deep: 0.5 → "oops" (was float, becomes str)')
    modify(swept, "set data.b.deep=2", "set data.a=7", select="x == 1").omits("was ")
    modify(swept, "set data.a=null", select="x == 1").says("(was int, becomes None)")
