"""`expedition.run`: experiments run from a program."""

from __future__ import annotations

import datetime
import enum
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import expedition
from expedition.errors import ExperimentError, RunFailedError
from tests.plugin.conftest import Lab
from tests.thoroughness import further

SWEPT = """
X = None

@experiment.parametrize("alpha", [3, 1, 2])
def exp_a(e, alpha: float = 0.5):
    e["x"] = X
    assert alpha != 2, "two is bad"
"""


@pytest.fixture
def swept(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    """An experiment, and a folder for temporary files that is empty in the end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    lab.experiment(SWEPT)
    yield lab
    assert list(temporary.iterdir()) == []


def ids(records: list[expedition.RunRecord]) -> list[tuple[str, str]]:
    return [(record.id, record.status) for record in records]


@pytest.mark.parametrize("workers", [0, 2])
def test_records_come_in_the_order_of_the_design_whatever_became_of_them(swept: Lab, workers: int) -> None:
    records = expedition.run("exp_a.py", workers=workers, quiet=True)
    assert ids(records) == [("alpha=3.0", "done"), ("alpha=1.0", "done"), ("alpha=2.0", "failed")]
    assert all(isinstance(record, expedition.RunRecord) for record in records)


@pytest.mark.parametrize("workers", [2, *further(0)])
def test_values_arrive_as_they_are(swept: Lab, workers: int) -> None:
    value = {
        "tuple": (1, "1", None, 1.0),
        "array": np.arange(4, dtype=np.float32),
        "scalar": np.int16(3),
        "text": "1e-5",
        "exact": [2**80, float("inf"), b"\x00", 1j],
        "when": datetime.timedelta(seconds=1),
        7: {"set": {1, 2}},
    }
    (record,) = expedition.run("exp_a.py", params={"X": value, "exp_a:alpha": 1}, workers=workers, quiet=True)
    assert repr(record.params["X"]) == repr(value) == repr(record.data["x"])
    assert record.params["alpha"] == 1.0
    assert record.meta["parameters"]["X"]["origin"] == "expedition.run"


def test_it_is_a_run_like_one_of_the_command_line(swept: Lab) -> None:
    (by_program,) = expedition.run("exp_a.py", params={"alpha": 1.0, "X": 2}, quiet=True)
    swept.run("-P", "alpha=1", "-P", "X=2", path="exp_a.py").exits(0)
    by_hand = swept.records()[-1]
    assert (by_program.key, by_program.seed) == (by_hand.key, by_hand.seed)


def test_options_are_passed_on(swept: Lab, tmp_path: Path) -> None:
    archive = tmp_path / "elsewhere"
    chosen = expedition.run(
        "exp_a.py", where="alpha > 1", archive=archive, options=["--tag", "t"], quiet=True
    )
    assert ids(chosen) == [("alpha=3.0", "done"), ("alpha=2.0", "failed")]
    assert chosen[0].path.is_relative_to(archive)
    assert chosen[0].tags == ["t"]
    assert ids(expedition.run("exp_a.py", keyword="3.0", quiet=True)) == [("alpha=3.0", "done")]
    assert expedition.run("exp_a.py", keyword="nothing", quiet=True) == []


def test_resume_gives_what_was_settled_too_but_no_other_runs(swept: Lab) -> None:
    first = expedition.run("exp_a.py", quiet=True)
    second = expedition.run("exp_a.py", resume=True, quiet=True)
    assert [r.path for r in second] == [r.path for r in first]
    assert [r.attempt for r in second] == [0, 0, 1]
    (other,) = expedition.run("exp_a.py", params={"alpha": 5.0}, resume=True, quiet=True)
    assert other.params["alpha"] == 5.0
    (again,) = expedition.run("exp_a.py", params={"alpha": 5.0}, resume=True, quiet=True)
    assert (again.path, again.attempt) == (other.path, 0)


def test_several_experiments_and_debug_runs(swept: Lab) -> None:
    swept.experiment("@experiment\ndef exp_b(e): e['b'] = 1", "exp_b.py")
    records = expedition.run(".", params={"exp_a:alpha": 1.0}, options=["--debug-run"], quiet=True)
    assert [(record.experiment, record.sweep) for record in records] == [
        ("exp_a", "debug"),
        ("exp_b", "debug"),
    ]


def test_failures_raise_where_that_is_asked_for(swept: Lab) -> None:
    with pytest.raises(RunFailedError) as caught:
        expedition.run("exp_a.py", raise_on_failure=True, quiet=True)
    assert "1 of 3 runs did not end well" in str(caught.value)
    assert "exp_a[alpha=2.0] failed: AssertionError: two is bad" in str(caught.value)
    assert len(caught.value.records) == 3
    assert len(expedition.run("exp_a.py", keyword="3.0", raise_on_failure=True, quiet=True)) == 1


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"alhpa": 1}, r"exp_a has no parameter 'alhpa' \(did you mean 'alpha'\?\)"),
        (
            {"alpha": "x"},
            r"exp_a.py:5: exp_a: parameter alpha must be float, but got 'x' \(str\) from expedition.run",
        ),
        ({"exp_z:alpha": 1}, "no collected experiment is called 'exp_z'"),
        ({"X": object()}, "params: X: a value of type object cannot be stored exactly"),
        ({"X": Color.RED}, "parameter X from expedition.run is of a class that nothing there has imported"),
        ({3: 1}, "params maps names of parameters to values, but got the name 3"),
    ],
)
def test_wrong_values_are_refused_before_anything_runs(
    swept: Lab, params: dict[str, object], says: str
) -> None:
    with pytest.raises(ExperimentError, match=says):
        expedition.run("exp_a.py", params=params, quiet=True)
    assert not (swept.path / "results").exists()


def test_usage_errors_and_broken_files_raise_with_pytests_message(swept: Lab) -> None:
    with pytest.raises(ExperimentError, match=r"--experiments nowhere\.py: there is no such file"):
        expedition.run("nowhere.py", quiet=True)
    with pytest.raises(ExperimentError, match="unrecognized arguments: --nope"):
        expedition.run("exp_a.py", options=["--nope"], quiet=True)
    swept.experiment("import nothing_of_that_name", "exp_broken.py")
    with pytest.raises(ExperimentError, match="No module named 'nothing_of_that_name'"):
        expedition.run("exp_broken.py", quiet=True)


def test_output_is_streamed_unless_quiet(swept: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    expedition.run("exp_a.py")
    assert "3/3 runs" in capsys.readouterr().out
    expedition.run("exp_a.py", quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_pytest_that_dies_is_told(swept: Lab) -> None:
    swept.experiment("import os\n@experiment\ndef exp_k(e): os.kill(os.getpid(), 9)", "exp_k.py")
    with pytest.raises(RunFailedError, match="pytest ended with signal SIGKILL") as caught:
        expedition.run("exp_k.py", quiet=True)
    assert [record.status for record in caught.value.records] == ["crashed"]


def test_inside_of_a_run_the_values_of_the_outer_one_have_no_part(swept: Lab) -> None:
    swept.experiment(
        """
        import os, expedition
        X = None

        @experiment
        def exp_m(e):
            assert "EXPEDITION_LAUNCH" not in os.environ
            records = expedition.run("exp_a.py", keyword="3.0", quiet=True)
            e["inner"] = [record.data["x"] for record in records]
        """,
        "exp_m.py",
    )
    for workers in (0, 2):
        (record,) = expedition.run("exp_m.py", params={"X": "outer"}, workers=workers, quiet=True)
        assert (record.experiment, record.data["inner"]) == ("exp_m", [None])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interruption_ends_the_runs_in_order(swept: Lab, workers: int) -> None:
    swept.experiment(
        """
        import time

        @experiment.parametrize("alpha", [1, 2])
        def exp_slow(e, alpha: int):
            e["begun"] = alpha
            open(f"begun-{alpha}", "w").close()
            time.sleep(100)
        """,
        "exp_slow.py",
    )
    code = f"import expedition\nexpedition.run('exp_slow.py', workers={workers})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=swept.path, stdout=subprocess.DEVNULL)
    while not (swept.path / "begun-1").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == -signal.SIGINT
    record = swept.records(experiment="exp_slow")[0]
    assert (record.status, record.data) == ("interrupted", {"begun": 1})
