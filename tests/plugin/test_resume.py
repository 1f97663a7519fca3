"""``--resume`` and ``--where``: which runs run, which rows there are, what is kept."""

from __future__ import annotations

import fcntl
import json

import pytest

from expedition.errors import ExperimentError
from expedition.plugin.locks import hold_sweep, release

SWEEP = """
import os

@experiment.parametrize("a", {values})
def exp_a(e, a: int, b: int = {b}):
    e["a"] = a
    e.track("t", a)
    e["attempt"] = os.environ.get("ATTEMPT", "first")
    if a in {bad}:
        raise ValueError(f"bad {{a}}")
"""


def write(lab, values="[0, 1, 2, 3]", bad="()", b=0):
    lab.experiment(SWEEP.format(values=values, bad=bad, b=b))


def entries(lab):
    """(id, status or pending) by row of the only sweep."""
    from expedition.archive.sweep import SweepFolder

    (folder,) = lab.sweeps()
    sweep = SweepFolder.open(folder)
    found = {record.index: record for record in lab.records()}
    return [(e.id, found[e.index].status if e.index in found else "pending") for e in sweep.entries]


class TestWhere:
    def test_rows_stay_pending(self, lab):
        write(lab)
        lab.run("--where", "a % 2 == 0 and params.b == 0").exits(0).says(
            "2 passed, 2 deselected", "2 pending, 2 done"
        )
        assert entries(lab) == [("a=0", "done"), ("a=1", "pending"), ("a=2", "done"), ("a=3", "pending")]
        assert [r.index for r in lab.records()] == [0, 2]
        (sweep,) = lab.sweeps()
        assert sorted(p.name for p in sweep.iterdir() if p.name[0].isdigit()) == ["0000-a=0", "0002-a=2"]
        # What was left out is run by a resume, and the rows stay what they were.
        lab.run("--resume").exits(0).says("2 passed, 2 deselected")
        assert [status for _, status in entries(lab)] == ["done"] * 4
        lab.run("--resume", "--where", "a == 1").exits(0).says("nothing to do")

    def test_with_the_names_of_some_experiments_only(self, lab):
        write(lab)
        lab.experiment("@experiment.parametrize('z', [1, 2])\ndef exp_z(e, z: int): pass", "exp_z.py")
        lab.run("--where", "z == 1").exits(0).says("1 passed, 5 deselected")
        assert [r.id for r in lab.records()] == ["z=1"]
        lab.run("--where", "a > 100").exits(5).says("6 deselected")
        assert len(lab.records()) == 1

    def test_workers_select_alike(self, lab):
        write(lab)
        lab.run("--where", "a >= 2", "-n2").exits(0).says("2 passed")
        assert entries(lab) == [("a=0", "pending"), ("a=1", "pending"), ("a=2", "done"), ("a=3", "done")]


class TestResume:
    def test_after_failures(self, lab, monkeypatch):
        write(lab, bad="(1, 3)")
        lab.run().exits(1).says("2 failed, 2 passed")
        before = {r.id: r.meta["start"] for r in lab.records(status="done")}
        write(lab, bad="(3,)")
        monkeypatch.setenv("ATTEMPT", "second")
        lab.run("--resume", "--ignore-code").exits(1).says(
            "resuming", "2 done, 2 failed", "1 failed, 1 passed, 2 deselected"
        )
        assert entries(lab) == [("a=0", "done"), ("a=1", "done"), ("a=2", "done"), ("a=3", "failed")]
        found = {r.id: r for r in lab.records()}
        # Settled runs were not touched; an earlier attempt is set aside whole.
        assert before == {i: found[i].meta["start"] for i in before}
        assert [found[f"a={a}"].attempt for a in range(4)] == [0, 1, 0, 1]
        assert [found[f"a={a}"].data["attempt"] for a in range(4)] == ["first", "second", "first", "second"]
        old = found["a=1"].path / "attempts" / "0"
        assert (
            json.loads((old / "experiment_meta.json").read_text())["outcome"]["error"]["message"] == "bad 1"
        )
        assert json.loads((old / "experiment_data.json").read_text())["attempt"] == "first"
        assert (old / "experiment_journal.jsonl").is_file()
        assert found["a=1"].series["t"].value.tolist() == [1]
        lab.run("--resume", "--ignore-code").exits(1)
        assert sorted(p.name for p in (found["a=3"].path / "attempts").iterdir()) == ["0", "1"]
        assert len(list(lab.archive.runs())) == 4

    def test_nothing_to_do(self, lab):
        write(lab)
        lab.run().exits(0)
        before = lab.files()
        for options in ((), ("-n2",)):
            lab.run("--resume", *options).exits(0).says("nothing to do", "4 done")
        assert lab.files() == before
        assert lab.run("--resume", "--collect-only", "-q").exits(0).ids() == []

    def test_a_first_resume_is_a_first_run(self, lab):
        write(lab)
        lab.run("--resume").exits(0).says("4 passed")
        assert len(lab.sweeps()) == 1

    def test_grown_and_reordered_sweep(self, lab):
        write(lab, "[0, 1]", bad="(1,)")
        lab.run().exits(1)
        write(lab, "[5, 1, 0, 4]")
        lab.run("--resume", "--ignore-code").exits(0).says(
            "1 done, 1 failed, 2 new", "3 passed, 1 deselected"
        )
        # New rows come behind: an index is never given to another run.
        assert entries(lab) == [("a=0", "done"), ("a=1", "done"), ("a=5", "done"), ("a=4", "done")]
        assert {r.id: r.data["a"] for r in lab.records()} == {"a=0": 0, "a=1": 1, "a=5": 5, "a=4": 4}
        assert [r.path.name for r in lab.records()] == ["0000-a=0", "0001-a=1", "0002-a=5", "0003-a=4"]

    def test_a_changed_constant_makes_new_runs(self, lab):
        write(lab, "[0, 1]")
        lab.run().exits(0)
        write(lab, "[0, 1]", b=7)
        lab.run("--resume").exits(0).says("2 new", "2 passed")
        assert [(r.params["a"], r.params["b"]) for r in lab.records()] == [(0, 0), (1, 0), (0, 7), (1, 7)]
        assert len({r.key for r in lab.records()}) == 4
        assert len({r.path for r in lab.records()}) == 4

    def test_after_an_interruption(self, lab):
        write(lab, bad="(2,)")
        path = lab.path / "exp_a.py"
        path.write_text(path.read_text().replace("raise ValueError", "raise KeyboardInterrupt"))
        lab.spawn("--experiments", ".").exits(2)
        assert entries(lab) == [("a=0", "done"), ("a=1", "done"), ("a=2", "interrupted"), ("a=3", "pending")]
        assert lab.records(status="interrupted")[0].data["a"] == 2
        write(lab)
        lab.run("--resume", "--ignore-code").exits(0).says("2 passed, 2 deselected")
        assert [status for _, status in entries(lab)] == ["done"] * 4
        assert [r.attempt for r in lab.records()] == [0, 0, 1, 0]

    def test_an_experiment_without_a_sweep(self, lab):
        lab.experiment(
            "@experiment\ndef exp_a(e):\n    e['x'] = 1\n    e.commit_raw('a.txt', 'old')\n    assert False"
        )
        lab.run().exits(1)
        lab.experiment("@experiment\ndef exp_a(e):\n    e['x'] = 2\n    e.commit_raw('a.txt', 'new')")
        lab.run("--resume").exits(0).says("1 passed")
        record = lab.record()
        assert (record.status, record.data, record.attempt) == ("done", {"x": 2}, 1)
        (sweep,) = lab.sweeps()
        assert record.path == sweep
        assert (sweep / "a.txt").read_text() == "new"
        assert (sweep / "attempts" / "0" / "a.txt").read_text() == "old"
        assert (sweep / "sweep.json").is_file()
        assert (sweep / "source" / "exp_a.py").is_file()
        lab.run("--resume").exits(0).says("nothing to do")

    def test_with_workers(self, lab):
        write(lab, "list(range(6))", bad="(1, 4)")
        lab.run("-n2").exits(1)
        write(lab, "list(range(8))")
        lab.run("-n2", "--resume", "--ignore-code").exits(0).says("4 done, 2 failed, 2 new", "4 passed")
        assert sorted(entries(lab)) == sorted((f"a={a}", "done") for a in range(8))
        assert {r.params["a"]: r.attempt for r in lab.records()} == {a: int(a in (1, 4)) for a in range(8)}

    def test_only_the_last_sweep_counts(self, lab):
        write(lab, "[0, 1]", bad="(0, 1)")
        lab.run().exits(1)
        write(lab, "[0, 1]")
        lab.run().exits(0)
        lab.run("--resume").exits(0).says("nothing to do")
        assert sorted(r.status for r in lab.records()) == ["done", "done", "failed", "failed"]

    def test_files_of_two_functions_do_not_mix(self, lab):
        lab.experiment(
            """
            import pytest

            @experiment.parametrize("a", [1, 2])
            def exp_one(e, a):
                assert a == 1

            @experiment.parametrize("a", [1, 2])
            def exp_two(e, a):
                assert a == 2
            """
        )
        lab.run().exits(1)
        lab.run("--resume", "-k", "exp_two").exits(1).says("1 failed, 3 deselected")
        assert {(r.experiment, r.id, r.attempt) for r in lab.records(status="failed")} == {
            ("exp_one", "a=2", 0),
            ("exp_two", "a=1", 1),
        }


def test_a_lock_whose_file_is_removed_while_it_is_taken_keeps_others_out(tmp_path, monkeypatch):
    """The invocation before ends just as the next one has opened the file, and a third comes."""
    (tmp_path / "journal").mkdir()
    first = hold_sweep(tmp_path)
    flock, moments = fcntl.flock, iter([lambda: release(first)])

    def late(descriptor, operation):
        next(moments, lambda: None)()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = hold_sweep(tmp_path)
    with pytest.raises(ExperimentError, match="another invocation is at it"):
        hold_sweep(tmp_path)
    release(second)
    assert list((tmp_path / "journal").iterdir()) == []


def test_an_attempt_takes_its_artifacts_along_whatever_their_folders_are_called(lab):
    source = """
        from expedition import experiment

        @experiment
        def exp_one(e):
            for name in ("2024/x", "2024-05/x", "7/1234-a/x"):
                e.commit_raw(name, "first")
            assert "first" == "again"
        """
    lab.experiment(source)
    lab.run().exits(1)
    lab.experiment(source.replace('"first")', '"again")').replace('"first" ==', '"again" =='))
    lab.run("--resume").exits(0)
    (record,) = lab.records()
    assert {path.read_text() for path in record.artifacts.values()} == {"again"}
    for name in record.artifacts:
        assert (record.path / "attempts" / "0" / name).read_text() == "first"


@pytest.mark.parametrize(("name", "workers"), [("exp_one.py", ("-n1",)), ("exp_two.yml", ())])
def test_an_attempt_takes_the_copy_of_its_code_along(lab, name, workers):
    """Of an experiment whose only run is recorded in the sweep folder."""
    lab.experiment("@experiment(retries=1)\ndef exp_one(e):\n    assert False\n", "exp_one.py")
    lab.file("exp_two.yml", "extend: exp_one.py\n")
    text = (lab.path / name).read_text(encoding="utf-8")
    for comment, options in (("first", ()), ("second", ("--resume",))):
        lab.file(name, f"{text}# {comment}\n")
        lab.run(*options, *workers, path=name).exits(1)
    folders = [lab.record().path, *(lab.record().path / "attempts" / str(n) for n in range(3))]
    copy = f"experiment_code{(lab.path / name).suffix}"
    told = [(folder / copy).read_text(encoding="utf-8").splitlines()[-1] for folder in folders]
    assert told == ["# second", "# first", "# first", "# second"]
