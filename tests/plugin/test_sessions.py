"""Several sessions in one process, as in a notebook: nothing of one is in the next."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.plugin.conftest import Lab


def test_hooks_and_stages_are_those_of_their_session(lab: Lab) -> None:
    lab.file(
        "mixin.py",
        """
        from expedition import experiment
        @experiment.stage
        def doubled(n): return 2 * n
        @experiment.hook("of_mixin")
        def of_mixin(e): return "mixin"
        """,
    )
    lab.experiment(
        """
        experiment.include("mixin.py")
        @experiment.hook("of_base")
        def of_base(e): return "base"
        @experiment.hook("unused")
        def unused(e): ...
        @experiment
        def exp_a(e, doubled, n: int = 1):
            e["all"] = [doubled, e.apply_hook("of_mixin"), e.apply_hook("of_base")]
        """
    )
    lab.file("exp_b.py", "from expedition import experiment\nb = experiment.extend('exp_a.py')")
    program = """
import pathlib, pytest
from expedition import Archive
for name in ("one", "two"):
    assert pytest.main(["-q", "--experiments", ".", "--archive", name]) == 0
    assert [r.data["all"] for r in Archive(name).runs()] == [[2, "mixin", "base"]] * 2
    assert len(list(pathlib.Path(name).rglob("about.json"))) == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=lab.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the hook unused at") == 2


@pytest.mark.parametrize(
    "plugin",
    ["capture", "cacheprovider", "terminal", "xdist", "assertion", "logging", "warnings", "skipping"],
)
def test_a_plugin_of_pytest_may_be_missing(lab: Lab, plugin: str) -> None:
    lab.experiment("@experiment\ndef exp_a(e):\n    print('said')\n    e['n'] = 1")
    lab.spawn("--experiments", "exp_a.py", "-p", f"no:{plugin}").exits(0)
    assert lab.record().data == {"n": 1}
