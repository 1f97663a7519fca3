"""Testing mode, debug runs, prefix and version: how an experiment is to be run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from expedition import Archive, Trajectory
from tests.plugin.conftest import Lab
from tests.thoroughness import further, thorough

TESTED = """
EPOCHS: int = 100
N: int = 50

@experiment.testing
def small(e):
    e.EPOCHS = e.N // 25

@experiment.testing(alpha=9.0)
@experiment.parametrize("alpha", [1.0, 2.0])
def exp_a(e, alpha: float = 1.0):
    e["seen"] = [EPOCHS, N, alpha]

@experiment
def exp_b(e): e["seen"] = [EPOCHS, N]
"""


def seen(lab: Lab, **wanted: object) -> list[object]:
    return [record.data["seen"] for record in lab.records(**wanted)]


class TestTestingMode:
    def test_it_overrides_and_is_recorded(self, lab: Lab) -> None:
        lab.experiment(TESTED)
        lab.run("--testing").exits(0).says("exp_a: 1 run (testing mode)")
        assert seen(lab) == [[2, 50, 9.0], [2, 50]]
        for record in lab.records():
            assert record.testing
            about = record.meta["parameters"]
            assert (about["EPOCHS"]["origin"], about["N"]["origin"]) == ("testing", "default")
        assert lab.records(experiment="exp_a")[0].meta["parameters"]["alpha"]["origin"] == "testing"

    def test_options_go_before_it(self, lab: Lab) -> None:
        lab.experiment(TESTED)
        lab.run("--testing", "-P", "EPOCHS=7", "-P", "exp_a:alpha=3.0").exits(0)
        assert seen(lab) == [[7, 50, 3.0], [7, 50]]

    @pytest.mark.parametrize("workers", [(), *further(("-n2",))])
    def test_it_does_not_leak_into_the_next_run(self, lab: Lab, workers: tuple[str, ...]) -> None:
        lab.experiment(TESTED, "exp_a.py")
        lab.experiment(
            "__TESTING__ = True\n" + TESTED.replace("exp_a", "exp_c").replace("exp_b", "exp_d"), "exp_c.py"
        )
        lab.run(*workers).exits(0)
        assert sorted(map(str, seen(lab, testing=False))) == ["[100, 50, 1.0]", "[100, 50, 2.0]", "[100, 50]"]
        assert sorted(map(str, seen(lab, testing=True))) == ["[2, 50, 9.0]", "[2, 50]"]

    def test_that_of_the_child_goes_before_that_of_the_base(self, lab: Lab) -> None:
        lab.experiment(TESTED, "exp_base.py")
        lab.experiment(
            """
            N = 75

            @experiment.testing
            def smaller(): return {"alpha": 4.0}

            child = experiment.extend("exp_base.py::exp_a")
            """,
            "exp_child.py",
        )
        lab.run("--testing", path="exp_child.py").exits(0)
        assert seen(lab) == [[3, 75, 4.0]]

    def test_it_is_left_out_of_lists_and_of_a_resume(self, lab: Lab) -> None:
        lab.experiment(TESTED)
        lab.run().exits(0)
        lab.run("--testing").exits(0)
        out = lab.pytest("--archive-list")
        out.says("3 runs of 2 experiments in", "2 runs of testing mode are not listed").omits("9.0")
        lab.pytest("--archive-list", "--testing").says("2 runs of 2 experiments in")
        lab.run("--resume").exits(0).says("exp_a: nothing to do in", "2 done")
        lab.run("--resume", "--testing").exits(0).says("exp_a: nothing to do in", "1 done")

    def test_before_testing_is_called_in_testing_mode_only(self, lab: Lab) -> None:
        lab.experiment(
            """
            @experiment.hook("before_testing")
            def prepare(e): e["seen"] = "prepared"

            @experiment
            def exp_a(e): e["got"] = e.get("seen")
            """
        )
        lab.run().exits(0)
        lab.run("--testing").exits(0)
        assert [record.data["got"] for record in lab.records()] == [None, "prepared"]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                "@experiment.testing\ndef f(e): e.EPOCH = 1",
                "'EPOCH', which is no parameter (did you mean 'EPOCHS'?)",
            ),
            (
                "@experiment.testing\ndef f(e): e.EPOCHS = 'x'",
                "EPOCHS must be int, but got 'x' (str) from testing mode",
            ),
            (
                "@experiment.testing\ndef f(): return 3",
                "f for testing mode returned a int; it returns a dict",
            ),
            ("@experiment.testing\ndef f(e): 1 / 0", "f for testing mode failed: ZeroDivisionError"),
            (
                "@experiment.testing\ndef f(e): e.EPOC",
                "there is no parameter 'EPOC' with one value (did you mean",
            ),
            ("@experiment.testing\ndef f(a, b): pass", "takes no arguments and returns a dict"),
            ("experiment.testing()", "needs values"),
        ],
    )
    def test_refusals(self, lab: Lab, text: str, says: str) -> None:
        lab.experiment(f"EPOCHS: int = 1\n{text}\n@experiment\ndef exp_a(e): pass")
        lab.refused("--testing").says("exp_a.py", says)


class TestDebugRuns:
    def test_each_takes_the_place_of_the_last(self, lab: Lab) -> None:
        lab.experiment("X: int = 0\n@experiment.parametrize('a', [1, 2])\ndef exp_a(e, a): e['x'] = X")
        lab.run().exits(0)
        for x in (1, 2):
            lab.run("--debug-run", "-P", f"X={x}", "-n", "2" if x == 2 else "0").exits(0).says(
                "sweep: results/exp_a/debug", "trajectory: results/exp_a/debug/trajectory.h5"
            )
        names = sorted(path.name for path in (lab.path / "results" / "exp_a").iterdir())
        assert len(names) == 2
        assert names[1] == "debug"
        records = lab.records(sweep="debug")
        assert [(r.data["x"], r.namespace) for r in records] == [(2, "exp_a")] * 2
        with Trajectory.open(lab.path / "results" / "exp_a" / "debug") as traj:
            assert traj.res.x.tolist() == [2, 2]
            assert traj[0].res.x == 2
        lab.run("--resume").exits(0).says("nothing to do in").omits("in debug")

    def test_the_file_asks_for_it(self, lab: Lab) -> None:
        lab.experiment("__DEBUG__ = True\n@experiment\ndef exp_a(e): pass")
        lab.run().exits(0)
        assert [path.name for path in (lab.path / "results" / "exp_a").iterdir()] == ["debug"]

    def test_one_that_was_killed_leaves_the_last_and_is_cleared_away(self, lab: Lab) -> None:
        lab.experiment(
            """
            import time, pathlib
            WAIT: float = 0.0

            @experiment
            def exp_a(e):
                e["wait"] = WAIT
                pathlib.Path("started").touch()
                time.sleep(WAIT)
            """
        )
        lab.run("--debug-run").exits(0)
        folder = lab.path / "results" / "exp_a"
        (lab.path / "started").unlink()
        command = [sys.executable, "-m", "pytest", "--experiments", ".", "--debug-run", "-P", "WAIT=60.0"]
        process = subprocess.Popen(command, cwd=lab.path, stdout=subprocess.DEVNULL)
        try:
            for _ in range(600):
                if (lab.path / "started").exists():
                    break
                time.sleep(0.05)
            assert len([path for path in folder.iterdir() if path.is_dir()]) == 2
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert [r.data["wait"] for r in lab.records()] == [0.0]
        lab.run("--debug-run", "-P", "WAIT=0.1").exits(0)
        assert [path.name for path in folder.iterdir()] == ["debug"]
        assert [r.data["wait"] for r in lab.records()] == [0.1]

    @thorough  # as durability/test_concurrency.py has it every day
    def test_two_at_a_time(self, lab: Lab) -> None:
        lab.experiment(
            "X: int = 0\n@experiment.parametrize('a', list(range(40)))\ndef exp_a(e, a): e['x'] = X"
        )
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--experiments",
            ".",
            "--debug-run",
            "-p",
            "no:cacheprovider",
        ]
        for _ in range(2):
            both = [
                subprocess.Popen([*command, "-P", f"X={x}"], cwd=lab.path, stdout=subprocess.PIPE, text=True)
                for x in (1, 2, 3)
            ]
            for process in both:
                out, _ = process.communicate(timeout=120)
                assert process.returncode == 0, out
            assert [path.name for path in (lab.path / "results" / "exp_a").iterdir()] == ["debug"]
            values = {r.data["x"] for r in lab.records()}
            assert len(values) == 1
            assert len(lab.records()) == 40

    def test_one_that_is_not_whole_yet_is_left_alone(self, lab: Lab) -> None:
        """Another debug run begins between any two steps of this one."""
        lab.experiment("X: int = 0\n@experiment\ndef exp_a(e): e['x'] = X")
        lab.file(
            "conftest.py",
            """
            import os, subprocess, sys
            import pytest
            from expedition.archive.sweep import SweepFolder
            from expedition.plugin import debug_runs, opening

            def another():
                command = [sys.executable, "-m", "pytest", "--experiments", ".", "--debug-run", "-q"]
                done = subprocess.run(
                    command, env={**os.environ, "INNER": "1"}, stdout=subprocess.PIPE, text=True
                )
                assert done.returncode == 0, done.stdout

            def before(owner, name):
                function = getattr(owner, name)
                def wrapped(*arguments, **keywords):
                    another()
                    return function(*arguments, **keywords)
                setattr(owner, name, wrapped)

            if "INNER" not in os.environ:
                before(opening, "hold_sweep")
                before(debug_runs, "exchange")
            """,
        )
        lab.spawn("--experiments", ".", "--debug-run", "-P", "X=1").exits(0)
        assert [path.name for path in (lab.path / "results" / "exp_a").iterdir()] == ["debug"]
        assert lab.record().status == "done"

    @pytest.mark.parametrize("is_able", [True, False])
    @pytest.mark.parametrize("step", range(1, 5))
    def test_a_kill_while_it_takes_its_place(self, lab: Lab, step: int, is_able: bool) -> None:
        lab.experiment("X: int = 0\n@experiment\ndef exp_a(e): e['x'] = X")
        lab.run("--debug-run").exits(0)
        lab.file(
            "conftest.py",
            f"""
            import os, signal
            from expedition.plugin import debug_runs

            steps = []

            def counted(function, is_able=True):
                def wrapped(*arguments, **keywords):
                    if any("debug" in str(a) for a in arguments):
                        steps.append(function)
                        if len(steps) == {step}:
                            os.kill(os.getpid(), signal.SIGKILL)
                    return function(*arguments, **keywords) if is_able else False
                return wrapped

            def swap_in(self, path, swap=debug_runs.DebugRuns.swap_in):
                debug_runs.exchange = counted(debug_runs.exchange, {is_able})
                os.rename = counted(os.rename)
                debug_runs.shutil.rmtree = counted(debug_runs.shutil.rmtree)
                debug_runs.locks.release = counted(debug_runs.locks.release)
                swap(self, path)
                os.kill(os.getpid(), signal.SIGKILL)

            debug_runs.DebugRuns.swap_in = swap_in
            """,
        )
        lab.spawn("--experiments", ".", "--debug-run", "-P", "X=1").exits(-signal.SIGKILL)
        folder = lab.path / "results" / "exp_a"
        (lab.path / "conftest.py").unlink()
        if is_able:
            assert [r.data["x"] for r in lab.records()] == [0 if step == 1 else 1]
            assert (folder / "debug" / "trajectory.h5").exists()
        lab.file("exp_a.py", "from expedition import experiment\n@experiment\ndef exp_a(e): 1 / 0")
        lab.refused("--debug-run", "-P", "X=1")
        lab.run("--debug-run").exits(1)
        assert [path.name for path in folder.iterdir()] == ["debug"]
        assert lab.record().status == "failed"


class TestPrefixAndVersion:
    def test_they_are_recorded(self, lab: Lab) -> None:
        lab.experiment("__PREFIX__ = 'paper'\n__VERSION__ = '1.2'\n@experiment\ndef exp_a(e): pass")
        lab.run().exits(0)
        lab.run("--run-prefix", "draft-2").exits(0)
        first, second = lab.sweeps()
        assert (first.name.rpartition("Z-")[2][5:], second.name.rpartition("Z-")[2][5:]) == (
            "paper",
            "draft-2",
        )
        about = [record.meta["experiment"] for record in lab.records()]
        assert [(a["prefix"], a["version"]) for a in about] == [("paper", "1.2"), ("draft-2", "1.2")]
        lab.run("--resume").exits(0).says(f"nothing to do in {second.name}")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("__PREFIX__ = '../x'", "__PREFIX__: a prefix is a word"),
            ("__PREFIX__ = 3", "__PREFIX__ must be str, but got 3 (int)"),
            ("__DEBUG__ = 1", "__DEBUG__ must be bool, but got 1 (int)"),
            ("__REPRODUCIBLE__ = True", "__REPRODUCIBLE__: archives from which a run can be done again"),
            ("__TESTNG__ = True", "__TESTNG__ is no special variable (did you mean '__TESTING__'?)"),
        ],
    )
    def test_refusals(self, lab: Lab, text: str, says: str) -> None:
        lab.experiment(f"{text}\n@experiment\ndef exp_a(e): pass")
        lab.refused().says("exp_a.py", says)

    def test_names_of_their_own_are_let_be(self, lab: Lab) -> None:
        lab.experiment("__AUTHOR__ = 'me'\n@experiment\ndef exp_a(e): pass")
        lab.run().exits(0)


def test_what_testing_mode_changes_in_place_stays_its_own(lab: Lab) -> None:
    lab.experiment(
        """
        SIZES: dict = {"all": [1]}

        @experiment.testing
        def small(e): e.SIZES["all"].append(2)

        @experiment
        def exp_a(e): e["sizes"] = SIZES

        @experiment
        def exp_b(e): e["sizes"] = SIZES
        """
    )
    lab.run("--testing").exits(0)
    assert [record.data["sizes"] for record in Archive(lab.path / "results").runs()] == [{"all": [1]}] * 2


def test_what_is_left_of_a_debug_run_is_not_resumed(lab: Lab) -> None:
    lab.experiment("@experiment.replicate(2)\ndef exp_a(e): raise KeyboardInterrupt")
    outcome = lab.spawn("--experiments", ".", "--debug-run").exits(2)
    outcome.says("2 selected runs did not finish; a debug run begins anew").omits("--resume")
    lab.spawn("--experiments", ".").exits(2).says(
        "2 selected runs did not finish; --resume goes on with them"
    )


def test_a_refused_file_is_not_one_without_experiments(lab: Lab) -> None:
    lab.experiment("x = experiment.extend('exp_b.py')")
    lab.refused(workers=False).omits("no function is marked")
    lab.file("exp_a.py", "x = 1")
    lab.run().says("no function is marked")
