"""Bad input: a usage error naming the thing and the remedy, before anything runs or is written."""

from __future__ import annotations

import os

import pytest

GOOD = """
N: int = 3

@experiment.parametrize("alpha", [0.1, 1.0])
def exp_a(e, alpha: float = 1.0):
    e["alpha"] = alpha
"""


OPTIONS = [
    (["-P", "alhpa=1"], ["-P alhpa", "exp_a", "did you mean 'alpha'", "N, alpha"]),
    (["-P", "alpha=abc"], ["exp_a", "alpha must be float", "'abc'", "-P"]),
    (["-P", "N=1.5"], ["N must be int", "1.5"]),
    (["-P", "alpha"], ["'alpha'", "NAME=VALUE"]),
    (["-P", "=1"], ["NAME=VALUE"]),
    (["-P", "al pha=1"], ["al pha"]),
    (["-P", "exp_b:alpha=1"], ["exp_b", "did you mean 'exp_a'"]),
    (["-P", "exp_a:beta=1"], ["-P exp_a:beta", "no parameter 'beta'"]),
    (["-P", "N={"], ["-P, line 1"]),
    (["--params-file", "missing.yml"], ["missing.yml", "no such file"]),
    (["--params-file", "bad.yml"], ["bad.yml, line 2", "given twice"]),
    (["--params-file", "list.yml"], ["list.yml", "not a mapping"]),
    (["--params-file", "unknown.yml"], ["unknown.yml beta", "no parameter 'beta'"]),
    (["--params-file", "typed.yml"], ["typed.yml", "alpha must be float", "'1'"]),
    (["--where", "alhpa < 1"], ["--where", "alhpa", "did you mean 'alpha'"]),
    (["--where", "alpha <"], ["--where", "alpha <\n    ^", "allowed are"]),
    (["--where", "__import__('os')"], ["--where"]),
    (["--where", ""], ["--where"]),
    (["--tag", " "], ["--tag", "empty"]),
    (["--note", ""], ["--note", "empty"]),
    (["-o", "experiment_seed=x"], ["experiment_seed", "'x'"]),
    (["-o", "experiment_seed=-1"], ["experiment_seed", "'-1'"]),
    (["nothere"], ["nothere"]),
    (["--experiments", "not/here"], ["--experiments not/here", "no such file or folder"]),
    (["--archive", "exp_a.py/x"], ["archive root", "no folder"]),
    (["--archive", "exp_a.py"], ["archive root", "no folder"]),
    (["-k", "alpha=1"], ["-k", "alpha=1"]),
]


FILES = [
    ("@experiment\ndef exp_a(e, alpha: float = 'x'): pass", ["exp_a.py:2", "alpha must be float", "'x'"]),
    ("N: int = 1.5\n@experiment\ndef exp_a(e): pass", ["N must be int", "1.5", "its default"]),
    ("@experiment.parametrize('a', ['x'])\ndef exp_a(e, a: int): pass", ["a must be int", "the sweep"]),
    ("@experiment\ndef exp_a(e, alhpa): pass", ["exp_a", "'alhpa'", "neither a parameter nor a fixture"]),
    ("@experiment\ndef exp_a(e, tmp_path, tmp_pth): pass", ["did you mean 'tmp_path'", "give it a default"]),
    (
        "from expedition.sweeps import zipped\n"
        "@experiment.sweep(zipped(a=[1, 2], b=[3]))\ndef exp_a(e, a, b): pass",
        ["exp_a.py:3", "one length", "a has 2, b has 1"],
    ),
    (
        "@experiment.parametrize('a', [1])\n@experiment.parametrize('a', [2])\ndef exp_a(e, a): pass",
        ["exp_a", "share 'a'"],
    ),
    ("@experiment.parametrize('a', {1, 2})\ndef exp_a(e, a): pass", ["exp_a.py:2", "no order", "list"]),
    ("@experiment.parametrize('a', [1, 1])\ndef exp_a(e, a): pass", ["exp_a.py:2", "listed twice"]),
    ("@experiment.parametrize('a', [])\ndef exp_a(e, a): pass", ["exp_a.py:2", "empty"]),
    ("@experiment\ndef exp_a(e, run=1): pass", ["exp_a.py:2", "run is a reserved word"]),
    ("@experiment\ndef exp_a(e, *args): pass", ["exp_a.py:2", "*args"]),
    ("@experiment\nasync def exp_a(e): pass", ["exp_a.py:2", "async"]),
    ("@experiment\ndef exp_a(e): yield 1", ["exp_a.py:2", "yield"]),
    ("@experiment\nclass Exp: pass", ["exp_a.py:2", "plain functions"]),
    ("@experiment(namespace='../up')\ndef exp_a(e): pass", ["exp_a.py:2", "../up"]),
    (
        "@experiment(timeouts=3)\ndef exp_a(e): pass",
        ["exp_a.py:2", "no argument timeouts (did you mean 'timeout'?)"],
    ),
    (
        "import pytest\n@pytest.mark.parametrize('b', [1, 2])\n@experiment\ndef exp_a(e, b): pass",
        ["exp_a", "'b' is parametrized by pytest", "@experiment.parametrize('b'"],
    ),
    (
        "import pytest\n@pytest.fixture(params=[1, 2])\ndef model(request): return 1\n"
        "@experiment\ndef exp_a(e, model): pass",
        ["exp_a", "'model' is parametrized by pytest"],
    ),
    (
        "from expedition.sweeps import grid\n"
        "@experiment.sweep(grid(a=[1, 2]).where(lambda p: p['b']))\ndef exp_a(e, a): pass",
        ["exp_a.py:3", "KeyError: 'b'"],
    ),
]


class TestOptions:
    @pytest.mark.parametrize(("arguments", "parts"), OPTIONS, ids=[str(n) for n in range(len(OPTIONS))])
    def test_refused(self, lab, arguments, parts):
        lab.experiment(GOOD)
        lab.file("bad.yml", "alpha: 1\nalpha: 2\n")
        lab.file("list.yml", "- 1\n")
        lab.file("unknown.yml", "beta: 2\n")
        lab.file("typed.yml", "alpha: '1'\n")
        lab.refused(*arguments).says(*parts)

    def test_distribution_each(self, lab):
        lab.experiment(GOOD)
        before = lab.files()
        lab.run("-n2", "--dist", "each").exits(4).says("--dist each", "use load, worksteal")
        lab.run("--tx", "2*popen", "--dist=each").exits(4)
        assert lab.files() == before

    @pytest.mark.parametrize("node", ["exp_a.py::exp_b", "exp_a.py::exp_a[alpha=7.0]"])
    def test_node_that_is_not_there(self, lab, node):
        lab.experiment(GOOD)
        before = lab.files()
        for options in ((), ("-n2",)):
            lab.run(*options, path=node).exits(4).says("not found", node.partition("[")[0])
        assert lab.files() == before

    def test_a_resume_without_a_root_or_with_a_bad_one(self, lab):
        lab.experiment(GOOD)
        lab.refused("--resume", "--archive", "exp_a.py").says("archive root")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_archive_without_permission(self, lab):
        lab.experiment(GOOD)
        (lab.path / "closed").mkdir(mode=0o500)
        lab.refused("--archive", "closed").says("no permission", "--archive DIR")

    def test_archive_that_cannot_be_made(self, lab):
        """/proc refuses even root, and only when a folder is really made."""
        lab.experiment(GOOD)
        lab.refused("--archive", "/proc/expedition").says("/proc/expedition", "--archive DIR")

    def test_several_mistakes_are_told_at_once(self, lab):
        lab.experiment(GOOD)
        lab.experiment("@experiment.parametrize('z', [1])\ndef exp_b(e): pass", "exp_b.py")
        lab.experiment("@experiment\ndef exp_c(e, x: int = 'y'): pass", "exp_c.py")
        lab.refused().says(
            "exp_b.py:2: exp_b: the sweep names 'z'", "exp_c.py:2: exp_c: parameter x must be int"
        )


class TestFiles:
    @pytest.mark.parametrize(("source", "parts"), FILES, ids=[str(n) for n in range(len(FILES))])
    def test_refused(self, lab, source, parts):
        lab.experiment(source)
        lab.refused().says(*parts)

    def test_pytest_marks_on_a_parameter(self, lab):
        """An axis that the record would not show is refused, with or without a default."""
        lab.experiment(
            "import pytest\n@pytest.mark.parametrize('b', [1, 2])\n@experiment\ndef exp_a(e, b=1): pass"
        )
        lab.refused().says("'b' is parametrized by pytest")
        assert not (lab.path / "results").exists()

    def test_two_files_one_of_them_wrong(self, lab):
        lab.experiment(GOOD)
        lab.experiment("@experiment\ndef exp_b(e, x: int = 'y'): pass", "exp_b.py")
        lab.refused().says("exp_b.py:2")
        lab.run(path="exp_a.py").exits(0)


def test_unstorable_values_fail_their_run_only(lab):
    """Raised in the run at once, naming key and type; what was recorded before is kept."""
    lab.experiment(
        """
        @experiment.parametrize("what", ["store", "track", "nothing"])
        def exp_a(e, what: str):
            e["before"] = 1
            e.track("loss", 0.5)
            if what == "store":
                e["net/layer"] = object()
            if what == "track":
                e.track("odd/series", {1, 2})
            e["after"] = 2
        """
    )
    lab.run().exits(1).says("1 passed", "2 failed")
    found = {record.params["what"]: record for record in lab.records()}
    assert {what: r.status for what, r in found.items()} == {
        "store": "failed",
        "track": "failed",
        "nothing": "done",
    }
    for what, line, words in (
        ("store", 'e["net/layer"] = object()', ("net/layer", "object")),
        ("track", 'e.track("odd/series", {1, 2})', ("odd/series", "set")),
    ):
        record = found[what]
        assert record.data == {"before": 1}
        assert record.series["loss"].value.tolist() == [0.5]
        for word in words:
            assert word in record.error.message
        # The traceback ends in the line of the experiment, not in the harness.
        assert line in record.error.traceback
        assert "recording" not in record.error.traceback
    assert found["nothing"].data == {"before": 1, "after": 2}
