"""A run that kills its worker costs no other run of its scope, under every mode of xdist that has scopes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durability.laboratory import Laboratory
from tests.thoroughness import further, further_sets

EXPERIMENT = """
import os, signal
from pathlib import Path
import pytest
from expedition import experiment

{mark}
@experiment.parametrize("i", range(6))
def exp_scope(e, i: int = 0):
    with open(Path(os.environ["SIDE"]) / "begun.txt", "a") as file:
        file.write(f"{{i}}\\n")
    if i in {killers}:
        os.kill(os.getpid(), signal.SIGKILL)
"""
GROUP = '@pytest.mark.xdist_group("together")'


def check(
    lab: Laboratory, *arguments: object, mark: str = "", killers: tuple[int, ...], workers: int = 2
) -> None:
    """Every run begins once, and those that kill have crashed."""
    lab.write("exp_scope.py", EXPERIMENT.format(mark=mark, killers=killers))
    started = lab.start("-n", workers, *arguments)
    try:
        code = started.process.wait(60)
    finally:
        started.kill_all()
    text = started.text()
    assert code == 1, text
    assert "INTERNALERROR" not in text
    assert lab.statuses() == {f"i={i}": "crashed" if i in killers else "done" for i in range(6)}
    assert sorted((lab.side / "begun.txt").read_text().split()) == list("012345")


@pytest.mark.parametrize(
    ("mode", "mark", "killer"),
    [
        ("loadscope", "", 0),
        ("loadfile", "", 5),
        ("loadgroup", GROUP, 0),
        *further_sets(("loadscope", "", 5), ("loadfile", "", 0), ("loadgroup", GROUP, 5)),
        *further_sets(("loadgroup", "", 0), ("loadgroup", "", 5)),
    ],
)
def test_a_killed_worker_costs_one_run(tmp_path: Path, mode: str, mark: str, killer: int) -> None:
    check(Laboratory(tmp_path / "lab"), "--dist", mode, mark=mark, killers=(killer,))


@pytest.mark.parametrize("mode", ["loadscope", *further("loadfile", "loadgroup")])
def test_workers_that_die_one_after_the_other_and_at_once(tmp_path: Path, mode: str) -> None:
    check(Laboratory(tmp_path / "lab"), "--dist", mode, killers=(0, 1, 2, 4))


def test_one_worker_alone(tmp_path: Path) -> None:
    check(Laboratory(tmp_path / "lab"), "--dist", "loadgroup", killers=(1, 3), workers=1)


def test_an_xdist_that_is_built_otherwise_keeps_its_own_scheduler(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "lab")
    lab.write("exp_scope.py", EXPERIMENT.format(mark="", killers=()))
    lab.write(
        "conftest.py",
        """
        from expedition.plugin import scheduling
        scheduling._ATTRIBUTES += ("of_another_version",)
        """,
    )
    text = lab.run("-n", 2, "--dist", "loadscope", "-v").exits(0).text
    assert "scheduling tests via LoadScopeScheduling" in text


def test_a_replacement_that_collects_other_runs_ends_the_session(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "lab")
    lab.write(
        "exp_scope.py",
        """
        import os, signal
        from pathlib import Path
        from expedition import experiment

        FLAG = Path(os.environ["SIDE"]) / "changed"

        @experiment.parametrize("i", range(3 if FLAG.exists() else 6))
        def exp_scope(e, i: int = 0):
            if i == 2:
                FLAG.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    started = lab.start("-n", 2, "--dist", "loadscope")
    try:
        code = started.process.wait(60)
    finally:
        started.kill_all()
    text = started.text()
    assert code == 1, text
    assert "was a file changed?" in text
    statuses = lab.statuses()
    assert [statuses[f"i={i}"] for i in range(3)] == ["done", "done", "crashed"]
