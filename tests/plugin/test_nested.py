"""Nested runs: experiments that a run calls, recorded in folders of their own."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path

import pytest

from expedition import Archive, Run, RunRecord, Trajectory
from expedition.errors import ExperimentError
from tests.plugin.conftest import IMPORTS, Lab
from tests.thoroughness import further

CHILD = (
    IMPORTS
    + """
K: int = 2

@experiment.parametrize("alpha", [1.0, 2.0, 3.0])
def exp_b(e, alpha: float = 0.5, words: tuple = ()):
    print("child prints")
    e.log("child logs")
    e["y"], e["words"], e["draw"] = alpha * K, words, float(e.rng.random())
    e.track("steps", alpha)
    if alpha > 10: raise ValueError("too big")
    if alpha == 9: e.fail("nine")
    if alpha == 8: e.skip("eight")
    if alpha == 7: e.prune()
"""
)


@pytest.fixture
def family(lab: Lab) -> Lab:
    lab.file("exp_b.py", CHILD)
    return lab


def parent(lab: Lab, body: str, head: str = "import exp_b") -> Path:
    lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return lab.experiment(f"{head}\n\n@experiment\ndef exp_m(e):\n{lines}\n", "exp_m.py")


def children(record: RunRecord) -> dict[str, str]:
    return {child.path.name: child.status for child in record.children}


@pytest.mark.parametrize("workers", [(), *further(("-n2",))])
class TestRecord:
    def test_it_is_a_run_of_its_own(self, family: Lab, workers: tuple[str, ...]) -> None:
        parent(family, "e['got'] = e.run_child(exp_b.exp_b, K=3, alpha=2).data['y']; print('parent prints')")
        family.run(*workers, path="exp_m.py").exits(0)
        record = family.record()
        assert record.data == {"got": 6.0}
        assert "child" not in record.log
        (child,) = record.children
        assert child.path == record.path / "children" / "0000-exp_b"
        assert (child.experiment, child.id, child.status) == ("exp_b", "K=3-alpha=2.0", "done")
        assert child.params == {"alpha": 2.0, "words": (), "K": 3}
        assert child.series["steps"].value.tolist() == [2.0]
        assert "child prints" in child.log
        assert "child logs" in child.log
        assert "parent" not in child.log
        about = child.meta["parameters"]
        assert [about[n]["origin"] for n in ("K", "alpha", "words")] == ["run_child", "run_child", "default"]
        assert child.sweep_path == record.sweep_path == RunRecord(child.path).sweep_path

    def test_key_and_stream_are_those_it_has_on_its_own(self, family: Lab, workers: tuple[str, ...]) -> None:
        parent(family, "e.run_child(exp_b.exp_b, alpha=2.0)")
        family.run(*workers).exits(0)
        (child,) = family.record(experiment="exp_m").children
        alone = family.records(experiment="exp_b")[1]
        assert (child.key, child.seed, child.data) == (alone.key, alone.seed, alone.data)

    def test_it_is_no_run_of_the_sweep(self, family: Lab, workers: tuple[str, ...]) -> None:
        parent(family, "for _ in range(2): e.run_child(exp_b.exp_b)")
        family.run(*workers, path="exp_m.py").exits(0)
        with Trajectory.open(family.record().sweep_path) as traj:
            assert len(traj) == 1
            assert "y" not in traj
        family.pytest("--archive-list").says("1 run in").omits("exp_b")
        shown = family.pytest("--archive-show", "exp_m")
        shown.says("children", "exp_b[exp_b]  done", "children/0001-exp_b")
        content = json.loads(
            family.pytest("--archive-show", "exp_m", "--archive-format", "json").out.partition("\n}")[0]
            + "\n}"
        )
        assert [child["path"].rpartition("/")[2] for child in content["children"]] == [
            "0000-exp_b",
            "0001-exp_b",
        ]

    def test_children_of_children(self, family: Lab, workers: tuple[str, ...]) -> None:
        family.experiment(
            "@experiment\ndef exp_mid(e):\n    e['inner'] = e.run_child('exp_b.py').data['y']\n", "exp_mid.py"
        )
        parent(family, "e.run_child('exp_mid.py::exp_mid')", head="")
        family.run(*workers, path="exp_m.py").exits(0)
        (middle,) = family.record().children
        (inner,) = middle.children
        assert (middle.data, inner.data["y"]) == ({"inner": 1.0}, 1.0)
        assert RunRecord(inner.path).sweep_path == family.record().sweep_path


class TestValues:
    def test_variables_are_held_and_put_back(self, family: Lab) -> None:
        family.experiment(
            """
            import exp_b
            N = 1
            K = 50

            @experiment
            def inner(e):
                e["seen"] = N
                assert N != 13

            @experiment
            def exp_m(e):
                e["before"] = [N, K, exp_b.K]
                e["given"] = e.run_child(inner, N=9).data["seen"]
                e["own"] = e.run_child(inner).data["seen"]
                e["path"] = e.run_child("exp_m.py::inner").data["seen"]
                try:
                    e.run_child(inner, N=13)
                except AssertionError:
                    e["raised"] = True
                e["other"] = e.run_child(exp_b.exp_b, K=4, alpha=1.0).data["y"]
                e["after"] = [N, K, exp_b.K]
            """,
            "exp_m.py",
        )
        family.run("-P", "exp_m:N=7", path="exp_m.py::exp_m").exits(0)
        assert family.record().data == {
            "before": [7, 50, 2], "given": 9, "own": 1, "path": 1, "raised": True, "other": 4.0, "after": [7, 50, 2],
        }  # fmt: skip

    def test_random_state_and_figures_are_put_back(self, family: Lab) -> None:
        parent(
            family,
            """
            import random, numpy, matplotlib.pyplot as plt
            plt.figure()
            def draw(): return [random.random(), float(numpy.random.random()), len(plt.get_fignums())]
            state = random.getstate(), numpy.random.get_state()[1].tolist()
            e.run_child("exp_draws.py")
            assert (random.getstate(), numpy.random.get_state()[1].tolist()) == state
            e["open"] = plt.get_fignums()
            """,
        )
        family.experiment(
            "import random, numpy\n@experiment\ndef exp_d(e):\n"
            "    import matplotlib.pyplot as plt\n    plt.figure(); random.random(); numpy.random.random()\n",
            "exp_draws.py",
        )
        family.run(path="exp_m.py").exits(0)
        assert len(family.record().data["open"]) == 1

    def test_lineage_and_configs(self, family: Lab) -> None:
        family.file("sub/exp_c.yml", "extend: ../exp_b.py\nparameters: {K: {inherit: '* 10'}}\n")
        family.experiment(
            """
            from expedition import INHERIT
            K = INHERIT(lambda k: k + 1)
            more = experiment.extend("exp_b.py", params={"alpha": 4.0})
            """,
            "exp_more.py",
        )
        family.experiment(
            """
            from exp_more import more

            @experiment
            def exp_m(e):
                e["more"] = e.run_child(more).data["y"]
                e["config"] = e.run_child("sub/exp_c.yml", alpha=1).data["y"]
                e["inline"] = e.run_child(experiment.extend("exp_b.py"), words=(1, 2)).data["words"]
            """,
            "exp_m.py",
        )
        family.run(path="exp_m.py").exits(0)
        record = family.record()
        assert record.data == {"more": 12.0, "config": 20.0, "inline": (1, 2)}
        assert list(children(record)) == ["0000-more", "0001-exp_c", "0002-exp_b"]
        names = [
            path.relative_to(record.sweep_path / "source").as_posix()
            for path in record.sweep_path.rglob("source/**/*.*")
        ]
        assert {"exp_b.py", "sub/exp_c.yml"} <= set(names)

    def test_testing_mode_reaches_children(self, family: Lab) -> None:
        family.file("exp_b.py", CHILD + "\n@experiment.testing\ndef small(e): e.K = 100\n")
        parent(family, "e.run_child(exp_b.exp_b, alpha=1.0)")
        family.run("--testing", path="exp_m.py").exits(0)
        (child,) = family.record().children
        assert (child.data["y"], child.testing) == (100.0, True)


class TestOutcomes:
    def test_each_is_recorded(self, family: Lab) -> None:
        parent(
            family,
            """
            e["skipped"] = e.run_child(exp_b.exp_b, alpha=8).reason
            e["pruned"] = e.run_child(exp_b.exp_b, alpha=7).status
            for alpha in (9, 11):
                try:
                    e.run_child(exp_b.exp_b, alpha=alpha)
                except Exception as error:
                    e[f"error{alpha}"] = f"{type(error).__name__}: {error}"
            """,
        )
        family.run(path="exp_m.py").exits(0)
        record = family.record()
        assert record.data == {
            "skipped": "eight", "pruned": "pruned", "error9": "RunFailedError: exp_b failed: nine",
            "error11": "ValueError: too big",
        }  # fmt: skip
        assert list(children(record).values()) == ["skipped", "pruned", "failed", "failed"]
        error = record.children[3].error
        assert error is not None
        assert (error.type, error.message) == ("ValueError", "too big")
        assert record.children[3].data["y"] == 22.0

    def test_an_error_ends_the_parent_too(self, family: Lab) -> None:
        parent(family, "e['x'] = 1\ne.run_child(exp_b.exp_b, alpha=11)")
        family.run(path="exp_m.py").exits(1).says("ValueError: too big")
        record = family.record()
        assert (record.status, record.data, children(record)) == (
            "failed",
            {"x": 1},
            {"0000-exp_b": "failed"},
        )

    def test_a_killed_child_is_crashed(self, family: Lab) -> None:
        family.experiment(
            "import os\n@experiment\ndef exp_k(e):\n    e['x'] = 1\n    os._exit(3)\n", "exp_k.py"
        )
        parent(family, "e.run_child('exp_k.py')")
        family.spawn("--experiments", "exp_m.py").exits(3)
        (child,) = family.record().children
        assert (child.status, child.data) == ("crashed", {"x": 1})

    def test_another_attempt_takes_its_children_along(self, family: Lab) -> None:
        parent(family, "e.run_child(exp_b.exp_b)\nassert not __import__('os').path.exists('fail')")
        (family.path / "fail").touch()
        family.run(path="exp_m.py").exits(1)
        (family.path / "fail").unlink()
        family.run("--resume", path="exp_m.py").exits(0)
        record = family.record()
        assert children(record) == {"0000-exp_b": "done"}
        assert children(RunRecord(record.path / "attempts" / "0")) == {"0000-exp_b": "done"}

    def test_its_analyses_are_called_and_again_later(self, family: Lab) -> None:
        family.file(
            "exp_b.py", CHILD + "\n@experiment.analysis\ndef look(record): print('look', K); 1 / (K - 5)\n"
        )
        parent(family, "e.run_child(exp_b.exp_b, K=3); e.run_child(exp_b.exp_b, K=5)")
        family.run(path="exp_m.py").exits(0).says("analysis look failed at exp_b.py:", "ZeroDivisionError")
        good, bad = family.record().children
        assert "look 3" in good.log
        assert bad.status == "done"
        from tests.plugin.test_analysis import script

        assert "look 3" in script(good.path).stdout
        assert script(bad.path).returncode == 1


class TestHooks:
    def test_those_of_its_files_and_conftests_are_applied(self, family: Lab) -> None:
        family.file(
            "conftest.py",
            f"{IMPORTS}@experiment.hook('load', replace=False)\n"
            "def load(e, x): e['order'] = ['conftest']; return x + 1\n",
        )
        family.experiment(
            """
            @experiment.hook("load", replace=False)
            def load_own(e, x): e["order"] = [*e["order"], "own"]

            @experiment.hook("before_run")
            def begin(e): e["begun"] = True

            @experiment
            def exp_h(e): e["got"] = e.apply_hook("load", x=1)
            """,
            "exp_h.py",
        )
        parent(family, "e['child'] = e.run_child('exp_h.py').data", head="")
        family.run(path="exp_m.py").exits(0).omits("applied by no run")
        assert family.record().data["child"] == {"begun": True, "order": ["conftest", "own"], "got": 2}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                "def exp_h(e, tmp_path): ...",
                "exp_h (exp_h.py) asks for the fixture 'tmp_path', and a nested run has no",
            ),
            ("@pytest.mark.usefixtures('tmp_path')\ndef exp_h(e): ...", "asks for the fixture 'tmp_path'"),
            (
                "def exp_h(e): ...\n@experiment.hook('before_run')\ndef begin(e, tmp_path): ...",
                "asks for 'tmp_path', which is no keyword of this call, and a nested run has no fixtures",
            ),
        ],
    )
    def test_fixtures_are_refused_before_the_child_begins(self, family: Lab, text: str, says: str) -> None:
        family.experiment(f"import pytest\n@experiment\n{text}\n", "exp_h.py")
        parent(family, "e.run_child('exp_h.py')", head="")
        family.run(path="exp_m.py").exits(1).says(says)
        assert family.record().children == []

    def test_a_hook_that_lacks_a_keyword_is_refused(self, family: Lab) -> None:
        family.experiment(
            "@experiment.hook('load')\ndef load(e, path): ...\n"
            "@experiment\ndef exp_h(e): e.apply_hook('load', paht=1)\n",
            "exp_h.py",
        )
        parent(family, "e.run_child('exp_h.py')", head="")
        family.run(path="exp_m.py").exits(1).says("asks for 'path'", "(did you mean 'paht'?)")


class TestRefusals:
    @pytest.mark.parametrize(
        ("call", "says"),
        [
            ("exp_b.exp_b, alhpa=1", "exp_b has no parameter 'alhpa' (did you mean 'alpha'?)"),
            ("exp_b.exp_b, alpha='x'", "parameter alpha must be float, but got 'x' (str) from run_child"),
            ("exp_b.exp_b, words=object()", "parameter words must be tuple"),
            ("'exp_bb.py'", "the experiment 'exp_bb.py' is not there (did you mean 'exp_b.py'"),
            ("'exp_b.py::exp_c'", "has no experiment 'exp_c' (did you mean 'exp_b'?)"),
            ("'plain.py'", "'plain.py' has no experiment to run"),
            ("len", "run_child takes a function marked with @experiment, or a path such as"),
        ],
    )
    def test_what_is_wrong_is_said_and_leaves_nothing(self, family: Lab, call: str, says: str) -> None:
        family.file("plain.py", "x = 1\n")
        parent(family, f"e.run_child({call})")
        family.run(path="exp_m.py").exits(1).says(says)
        assert not (family.record().path / "children").exists()

    def test_detached_runs_have_no_children(self, tmp_path: Path) -> None:
        with (
            pytest.raises(ExperimentError, match="only a run of a sweep runs children"),
            Run.detached(tmp_path / "run") as run,
        ):
            run.run_child("exp_b.py")

    def test_artifacts_cannot_go_there(self, family: Lab) -> None:
        parent(family, "e.commit('children/x.txt', 'text')")
        family.run(path="exp_m.py").exits(1).says("'children' belongs to the archive")

    def test_reading_executes_nothing(self, family: Lab, tmp_path: Path) -> None:
        parent(family, "e.run_child(exp_b.exp_b)")
        family.run(path="exp_m.py").exits(0)
        (sweep,) = family.sweeps()
        shutil.copytree(sweep, tmp_path / "copy")
        for file in (tmp_path / "copy").rglob("*.py"):
            file.write_text("raise SystemExit('executed')")
        (record,) = Archive(tmp_path / "copy").runs()
        assert record.children[0].data["y"] == 1.0
