"""Regressions: what a review of the whole found wrong, each told through what a user does and sees."""

from __future__ import annotations

import collections
import json
import subprocess
import sys

import pytest

from expedition import Archive, Trajectory
from expedition.errors import ExpressionError
from tests.thoroughness import further


class TestOtherParametersOnResume:
    """Runs with other fixed parameters stand beside the earlier ones, and every table tells them apart."""

    def trajectory(self, lab):
        (sweep,) = lab.sweeps()
        return Trajectory.open(sweep)

    def test_an_override_that_is_gone(self, lab):
        lab.experiment(
            """
            @experiment.parametrize("x", [0, 1])
            def exp_a(e, x: int, alpha: float = 0.2):
                e["used"] = alpha
            """
        )
        lab.run("-P", "alpha=0.1").exits(0)
        again = lab.run("--resume").exits(0)
        again.says("alpha was 0.1, is 0.2", "2 new", "2 passed")
        with self.trajectory(lab) as trajectory:
            assert trajectory.par.alpha[:].tolist() == [0.1, 0.1, 0.2, 0.2]
            assert trajectory.res.used[:].tolist() == [0.1, 0.1, 0.2, 0.2]
            assert list(trajectory.find(alpha=0.2)) == [2, 3]
            assert list(trajectory.find(alpha=0.1)) == [0, 1]
            assert [trajectory.par.alpha.has(i) for i in range(4)] == [True] * 4
        assert [r.params["alpha"] for r in lab.records()] == [0.1, 0.1, 0.2, 0.2]
        # Back to the first parameters: their runs are there.
        lab.run("--resume", "-P", "alpha=0.1").exits(0).says("nothing to do")
        assert len(lab.records()) == 4

    def write(self, lab, constants, uses, values="[0, 1]"):
        lab.experiment(
            f"{constants}\n\n@experiment.parametrize('x', {values})\n"
            f"def exp_a(e, x: int):\n    e['used'] = {uses}\n"
        )

    def test_a_constant_with_another_value(self, lab):
        self.write(lab, "STEPS = 10", "STEPS")
        lab.run().exits(0)
        self.write(lab, "STEPS = 20", "STEPS")
        again = lab.run("--resume").exits(0)
        again.says("other parameters make other runs: STEPS was 10, is 20", "2 passed")
        with self.trajectory(lab) as trajectory:
            assert trajectory.par.STEPS[:].tolist() == [10, 10, 20, 20]
            assert list(trajectory.find(STEPS=20)) == [2, 3]
            assert trajectory.res.used[:].tolist() == [10, 10, 20, 20]
        assert [r.params["STEPS"] for r in lab.records()] == [10, 10, 20, 20]

    @pytest.mark.parametrize("options", [(), *further(("-n2",))], ids=["alone", "workers"])
    def test_constants_that_came_and_went(self, lab, options):
        self.write(lab, "STEPS = 10\nGONE = 1", "[STEPS, GONE]")
        lab.run(*options).exits(0)
        self.write(lab, "STEPS = 20\nCLIP = 3", "[STEPS, CLIP]")
        again = lab.run("--resume", *options).exits(0)
        again.says(
            "other parameters make other runs: ",
            "STEPS was 10, is 20",
            "CLIP is new",
            "GONE is gone",
            "2 passed",
        )
        with self.trajectory(lab) as trajectory:
            par = trajectory.par
            assert par.STEPS[:].tolist() == [10, 10, 20, 20]
            assert [par.CLIP.has(i) for i in range(4)] == [False, False, True, True]
            assert [par.GONE.has(i) for i in range(4)] == [True, True, False, False]
            assert par.CLIP.tolist() == [None, None, 3, 3]
            assert par.GONE.tolist() == [1, 1, None, None]
            assert list(trajectory.find(CLIP=3)) == [2, 3]
            assert list(trajectory.find(GONE=1)) == [0, 1]
        assert [set(r.params) for r in lab.records()] == [{"x", "STEPS", "GONE"}] * 2 + [
            {"x", "STEPS", "CLIP"}
        ] * 2

    def test_the_table_is_of_the_present_design(self, lab):
        self.write(lab, "STEPS = 1234", "STEPS * 2")
        lab.run().exits(0).says("2468").omits("not shown")
        self.write(lab, "STEPS = 5678", "STEPS * 2")
        again = lab.run("--resume").exits(0)
        again.says("11356", "not shown: 2 earlier runs that are no longer in the design").omits(
            "2468", "pending"
        )
        # One more row leaves the design, and another comes.
        self.write(lab, "STEPS = 5678", "STEPS * 2", "[0, 7]")
        lab.run("--resume").exits(0).says(
            "not shown: 3 earlier runs that are no longer in the design", "1 done, 1 new", "1 passed"
        ).omits("2468", "pending")

    def test_the_same_design_says_nothing_of_it(self, lab):
        self.write(lab, "STEPS = 10", "STEPS")
        lab.run("--where", "x == 0").exits(0)
        lab.run("--resume").exits(0).says("1 passed").omits("other parameters", "not shown")


@pytest.mark.parametrize("fails_again", [False, True])
def test_replicates_added_to_a_run_that_failed(lab, monkeypatch, fails_again):
    """The first run lives in the sweep folder itself, where the folders of the others come to stand."""
    body = """
    def exp_a(e):
        e["replicate"] = e.replicate
        e["said"] = os.environ["SAID"]
        e.commit_raw("a.txt", os.environ["SAID"])
        assert os.environ["SAID"] == "good"
    """
    monkeypatch.setenv("SAID", "first")
    lab.experiment("    import os\n\n    @experiment" + body)
    lab.run().exits(1)
    lab.experiment("    import os\n\n    @experiment.replicate(3)" + body)
    monkeypatch.setenv("SAID", "bad" if fails_again else "good")
    lab.run("--resume").exits(int(fails_again))
    assert sorted(r.replicate for r in lab.records()) == [0, 1, 2]
    monkeypatch.setenv("SAID", "good")
    lab.run("--resume").exits(0).says("3 passed" if fails_again else "nothing to do")
    (sweep,) = lab.sweeps()
    records = sorted(lab.records(), key=lambda record: record.replicate)
    assert [(r.status, r.data) for r in records] == [
        ("done", {"replicate": i, "said": "good"}) for i in range(3)
    ]
    assert [r.attempt for r in records] == ([2, 1, 1] if fails_again else [1, 0, 0])
    assert records[0].path == sweep
    assert [r.path.parent for r in records[1:]] == [sweep] * 2
    assert [(r.path / "a.txt").read_text() for r in records] == ["good"] * 3
    for attempt in (sweep / "attempts").iterdir():
        assert [path.name for path in attempt.iterdir() if path.is_dir() and path.name[0].isdigit()] == []
        assert not (attempt / "sweep.json").exists()
        assert not (attempt / "journal").exists()
    assert (sweep / "attempts" / "0" / "a.txt").read_text() == "first"
    with Trajectory.open(sweep) as trajectory:
        assert trajectory.res.replicate[:].tolist() == [0, 1, 2]


class TestMutableValues:
    """A run gets values of its own: what it changes in them no other run and no record sees."""

    @pytest.mark.parametrize("options", [(), *further(("-n2",))], ids=["alone", "workers"])
    def test_swept_and_changed_by_a_fixture(self, lab, options):
        lab.experiment(
            """
            import pytest

            @pytest.fixture
            def model(cfg):
                cfg["a"] += 1
                return cfg["a"]

            @experiment.replicate(3)
            @experiment.parametrize("cfg", [{"a": 0}])
            def exp_a(e, cfg: dict, model):
                e["seen"] = model
            """
        )
        lab.run(*options).exits(0)
        assert [(r.params, r.data) for r in lab.records()] == [({"cfg": {"a": 0}}, {"seen": 1})] * 3

    def test_a_default_changed_by_the_experiment(self, lab):
        lab.experiment(
            """
            TABLE = {"n": 0}

            @experiment.replicate(3)
            @experiment.parametrize("swept", [[[0]]])
            def exp_a(e, swept: list, many: list[int] = [1]):
                many.append(2)
                swept[0].append(1)
                TABLE["n"] += 1
                e["seen"] = [len(many), len(swept[0]), TABLE["n"]]
            """
        )
        lab.run().exits(0)
        wanted = {"swept": [[0]], "many": [1], "TABLE": {"n": 0}}
        assert [(r.params, r.data) for r in lab.records()] == [(wanted, {"seen": [2, 2, 1]})] * 3


def test_variables_of_a_function_wrapped_in_another_file(lab):
    """They are held in the module of the experiment, not in that of the decorator."""
    lab.file(
        "stopwatch.py",
        """
        import functools

        STEPS = 99

        def timed(function):
            @functools.wraps(function)
            def inner(*args, **kwargs):
                assert STEPS == 99
                return function(*args, **kwargs)
            return inner
        """,
    )
    lab.experiment(
        """
        import stopwatch
        from stopwatch import timed

        STEPS = 7

        @experiment.parametrize("STEPS", [1, 2])
        @timed
        def exp_a(e):
            e["used"] = STEPS
            e["theirs"] = stopwatch.STEPS
        """
    )
    lab.run().exits(0)
    assert [(r.params, r.data) for r in lab.records()] == [
        ({"STEPS": n}, {"used": n, "theirs": 99}) for n in (1, 2)
    ]


def test_two_resume_at_once(lab):
    """One works, the other waits for it or is refused; nothing is run twice and nothing is torn."""
    text = """
        import os, time
        from pathlib import Path

        here = Path(__file__).parent
        if "MEET" in os.environ:  # both have collected before either goes on
            (here / f"met-{os.getpid()}").touch()
            until = time.monotonic() + 10
            while len(list(here.glob("met-*"))) < 2 and time.monotonic() < until:
                time.sleep(0.005)

        @experiment.parametrize("x", VALUES)
        def exp_a(e, x: int):
            with open(here / "ran.txt", "a") as file:
                file.write(f"{x}\\n")
            time.sleep(0.5 if x else 0)
            e["x"] = x
        """
    lab.experiment(text.replace("VALUES", "[0]"))
    lab.spawn("--experiments", ".").exits(0)
    lab.experiment(text.replace("VALUES", "[0, 1, 2, 3]"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEET", "1")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:hypothesispytest",
            "--experiments",
            ".",
            "--resume",
        ]
        both = [  # not lab.spawn, which waits, and gives every process the same two output files
            subprocess.Popen(
                command, cwd=lab.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for _ in range(2)
        ]
        texts = [process.communicate(timeout=60)[0] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) in ([0, 0], [0, 4]), "\n".join(texts)
    for code, said in zip(codes, texts, strict=True):
        assert "Traceback" not in said, said
        assert "INTERNALERROR" not in said, said
        if code == 4:
            assert "cannot be resumed" in said, said
    ran = collections.Counter((lab.path / "ran.txt").read_text().split())
    assert ran == dict.fromkeys("0123", 1), "\n".join(texts)
    records = lab.records()
    assert [(r.index, r.params["x"], r.data["x"], r.status, r.attempt) for r in records] == [
        (i, i, i, "done", 0) for i in range(4)
    ]
    (sweep,) = lab.sweeps()
    with Trajectory.open(sweep) as trajectory:
        assert trajectory.res.x[:].tolist() == [0, 1, 2, 3]
    lab.run("--resume").exits(0).says("nothing to do", "4 done")


class TestFindingTheSweepToResume:
    ONE = """
        @experiment.parametrize("x", [0, 1])
        def exp_one(e, x: int):
            e["x"] = x
            assert x < {limit}
        """
    TWO = """
        @experiment.parametrize("y", [0, 1])
        def exp_two(e, y: int):
            e["y"] = y
        """

    def test_collected_from_another_folder(self, lab):
        lab.experiment(self.ONE.format(limit=1), "exps/exp_q.py")
        lab.run(path="exps").exits(1)
        lab.experiment(self.ONE.format(limit=2), "exps/exp_q.py")
        lab.run("--resume", "--ignore-code").exits(0).says("resuming", "1 passed, 1 deselected").omits(
            "no earlier sweep"
        )
        assert len(lab.sweeps()) == 1
        assert [(r.status, r.attempt) for r in lab.records()] == [("done", 0), ("done", 1)]
        lab.run("--resume", "--ignore-code", path="exps").exits(0).says("nothing to do")
        lab.run("--resume", "--ignore-code", path="exps/exp_q.py").exits(0).says("nothing to do")
        assert len(lab.sweeps()) == 1

    def test_collected_from_within(self, lab):
        lab.experiment(self.ONE.format(limit=1), "exps/exp_q.py")
        lab.run().exits(1)
        lab.experiment(self.ONE.format(limit=2), "exps/exp_q.py")
        lab.run("--resume", "--ignore-code", path="exps").exits(0).says("resuming", "1 passed, 1 deselected")
        assert len(lab.sweeps()) == 1

    def test_after_a_second_experiment_was_added_to_the_file(self, lab):
        lab.experiment(self.ONE.format(limit=1))
        lab.run().exits(1)
        lab.experiment(self.ONE.format(limit=2) + self.TWO)
        again = lab.run("--resume", "--ignore-code").exits(0)
        again.says("resuming", "3 passed, 1 deselected", "exp_two: there is no earlier sweep to resume")
        again.omits("exp_one: there is no earlier sweep")
        assert len(lab.sweeps()) == 2
        assert [r.attempt for r in lab.records(experiment="exp_one")] == [0, 1]
        # And when it is alone again.
        lab.experiment(self.ONE.format(limit=2))
        lab.run("--resume", "--ignore-code").exits(0).says("nothing to do")
        lab.experiment(self.TWO)
        lab.run("--resume", "--ignore-code").exits(0).says("nothing to do")
        assert len(lab.sweeps()) == 2

    def test_nothing_is_found(self, lab):
        lab.experiment(self.ONE.format(limit=2))
        lab.run("--resume").exits(0).says("there is no earlier sweep to resume", "2 passed")
        lab.run().exits(0).omits("no earlier sweep")


def test_files_of_one_name_in_two_collected_folders(lab):
    for folder in "ab":
        lab.experiment(
            f"""
            @experiment.parametrize("x", [0, 1])
            def exp_q(e, x: int):
                e["from"] = "{folder}"
            """,
            f"{folder}/exp_q.py",
        )
    options = ("--experiments", "a", "--experiments", "b", "--import-mode=importlib")
    lab.pytest(*options).exits(0).says("4 passed")
    places = {}
    for sweep in lab.sweeps():
        about = json.loads((sweep / "sweep.json").read_bytes())["experiment"]
        places[about["file"]] = (about["namespace"], sweep.parent)
        assert sweep.parent == lab.path / "results" / about["namespace"]
        assert {r.data["from"] for r in Archive(sweep).runs()} == {about["file"][0]}
    assert set(places) == {"a/exp_q.py", "b/exp_q.py"}
    (first, one), (second, two) = places.values()
    assert first != second
    assert not one.is_relative_to(two)
    assert not two.is_relative_to(one)
    assert [path.name for folder in (one, two) for path in folder.iterdir()] == [s.name for s in lab.sweeps()]
    lab.pytest(*options, "--resume").exits(0).says("nothing to do")
    assert len(lab.sweeps()) == 2


def test_two_experiments_of_one_name(lab):
    lab.experiment(
        """
        @experiment(name="same")
        def exp_first(e): pass

        @experiment(name="same")
        def exp_second(e): pass
        """
    )
    lab.refused().says("exp_first", "exp_second", "same")


def test_the_header_tells_the_sizes_of_the_sweeps(lab):
    lab.experiment(
        """
        @experiment.replicate(3)
        @experiment.parametrize("x", [0, 1])
        def exp_a(e, x: int): pass
        """
    )
    lab.experiment("@experiment.parametrize('z', [1, 2, 3, 4])\ndef exp_z(e, z: int): pass", "exp_z.py")
    outcome = lab.run().exits(0)
    outcome.says("exp_a: 6 runs (2 points × 3 replicates)", "exp_z: 4 runs")
    assert outcome.out.index("exp_a: 6 runs") < outcome.out.index("10 passed")
    lab.run("-n2").exits(0).says("exp_a: 6 runs (2 points × 3 replicates)", "exp_z: 4 runs")


class TestRefusals:
    @pytest.mark.parametrize("where", ["above", "below"])
    def test_a_parameter_parametrized_by_pytest(self, lab, where):
        marks = ["@experiment", "@pytest.mark.parametrize('x', [1, 2])"]
        above, below = marks if where == "below" else reversed(marks)
        lab.experiment(f"import pytest\n\n{above}\n{below}\ndef exp_a(e, x: int = 0):\n    e['x'] = x\n")
        lab.refused().says("'x' is parametrized by pytest")

    def test_a_file_without_an_experiment(self, lab):
        lab.experiment("def exp_a(e): pass\n")
        lab.run().exits(5).says("no function is marked with @experiment").omits("Traceback")
        assert not (lab.path / "results").exists()
        lab.experiment("@experiment\ndef exp_b(e): pass\n", "exp_b.py")
        lab.run().exits(0).says("1 passed")

    def test_a_list_of_the_archive_with_where(self, lab):
        lab.experiment("@experiment.parametrize('x', [0, 1])\ndef exp_a(e, x: int): pass\n")
        lab.run().exits(0)
        for options in (("--where", "x"), ("--where", "x > 0"), ("--where=x == 1", "--archive-format=json")):
            outcome = lab.pytest("--archive-list", *options).exits(4).says("--where")
            assert "Traceback" not in outcome.text
        lab.pytest("--archive-list").exits(0)

    def test_a_name_that_no_run_of_the_archive_has(self, lab):
        lab.experiment(
            "@experiment.parametrize('x', [0, 1, 2])\ndef exp_a(e, x: int):\n"
            "    if x: e['acc'] = x\n    if x == 2: e['rare'] = 5\n"
        )
        lab.run().exits(0)
        with pytest.raises(ExpressionError, match=r"acx.*acc"):
            list(lab.archive.runs("acx > 1"))
        assert [r.index for r in lab.archive.runs("acc > 1")] == [2]
        assert [r.index for r in lab.archive.runs("rare > 1")] == [2]  # some run has it, that is enough
        assert list(lab.archive.runs("acc > 100")) == []


def test_a_random_design_sweeps_a_parameter_called_n(lab):
    lab.experiment(
        """
        from expedition.sweeps import random, uniform

        @experiment.sweep(random(3, seed=1, n=uniform(0., 1.)))
        def exp_a(e, n: float):
            e["n"] = n
        """
    )
    lab.run().exits(0).says("3 passed")
    values = [r.params["n"] for r in lab.records()]
    assert values == [r.data["n"] for r in lab.records()]
    assert len(set(values)) == 3
    assert all(0 <= value < 1 for value in values)


def test_large_commit_logs_are_compiled_elsewhere(lab) -> None:
    """The memory of the controller stays small; the file is the same."""
    lab.experiment(
        """
        @experiment.parametrize("i", list(range(40)))
        def exp_a(e, i: int):
            e["text"] = "x" * 1_000_000
            e["i"] = i
        """
    )
    lab.run().exits(0).omits("warning:")
    with Trajectory.open(next(lab.path.glob("results/exp_a/*"))) as trajectory:
        assert trajectory.res.i[:].tolist() == list(range(40))
        assert len(trajectory.res.text[7]) == 1_000_000
