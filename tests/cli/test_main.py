"""The console script: both names call one function, and verbs that run pytest pass its options on."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import expedition
from expedition.cli import main as cli

SOURCE = """
from expedition import experiment

@experiment.parametrize("a", [1, 2])
def exp_a(e, a: int, b: float = 0.5):
    e["a"] = a
    assert a == 1 or b == 1
"""


@pytest.fixture
def called(monkeypatch):
    """The arguments that reach pytest, which is not run."""
    calls = []

    def record(arguments):
        calls.append(list(arguments))
        return pytest.ExitCode.TESTS_FAILED

    monkeypatch.setattr(pytest, "main", record)
    return calls


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["run", "exps"], ["--experiments", "exps"]),
        (["run", "a", "b.py", "-n", "2"], ["--experiments", "a", "--experiments", "b.py", "-n", "2"]),
        (
            ["run", "a.py::exp_a[x=1]", "-P", "x=-1", "--resume", "-k", "x and not y"],
            ["--experiments", "a.py::exp_a[x=1]", "-P", "x=-1", "--resume", "-k", "x and not y"],
        ),
        (
            ["validate", "a.py", "b.yml", "-P", "x=1"],
            ["--experiment-validate", "--experiments", "a.py", "--experiments", "b.yml", "-P", "x=1"],
        ),
        (
            ["validate", "--warnings-as-errors", "exps"],
            ["--experiment-validate", "--experiments", "exps", "--experiment-warnings-as-errors"],
        ),
    ],
    ids=lambda value: " ".join(value),
)
def test_verbs_are_pytest_options(called, arguments, options):
    assert cli.main(arguments) == 1
    assert called == [options]


def test_version_and_help(capsys, called):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"expedition {expedition.__version__}\n"
    for arguments in (
        ["--help"],
        ["run", "--help"],
        ["archive", "--help"],
        ["archive", "show", "-h"],
        ["new", "-h"],
    ):
        assert cli.main(arguments) == 0
        assert "Usage: expedition" in capsys.readouterr().out
    assert cli.main([]) == 0
    assert "run" in capsys.readouterr().out
    assert called == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["run"],
        ["run", "-n2"],
        ["run", "-n", "2", "exps"],
        ["archive"],
        ["archive", "lost"],
        ["archive", "show"],
        ["archive", "list", "--format", "xml"],
        ["--nothing"],
    ],
    ids=" ".join,
)
def test_usage_errors(arguments, called, capsys):
    """Exit code 4, as pytest's, and the usage on the terminal."""
    code = cli.main(arguments)
    assert code == pytest.ExitCode.USAGE_ERROR
    shown = capsys.readouterr()
    assert "expedition" in shown.out + shown.err
    assert called == []


def test_both_scripts_are_installed():
    scripts = {
        e.name: e.value for e in entry_points(group="console_scripts") if e.dist.name == "pytest-expedition"
    }
    assert scripts == dict.fromkeys(("expedition", "xpd"), "expedition.cli.main:main")


def test_from_the_shell(tmp_path: Path):
    """A sweep, its list and one of its runs, with both names and as a module."""
    (tmp_path / "exp_a.py").write_text(SOURCE)
    scripts = Path(sys.executable).parent

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)

    done = run(str(scripts / "xpd"), "run", "exp_a.py", "-P", "b=2", "-p", "no:hypothesispytest")
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    listed = run(str(scripts / "expedition"), "archive", "list", "--format", "json")
    assert listed.returncode == 0
    assert [(row["id"], row["status"]) for row in json.loads(listed.stdout)] == [
        ("a=1", "done"),
        ("a=2", "failed"),
    ]
    shown = run(sys.executable, "-m", "expedition.cli.main", "archive", "show", "a=2")
    assert shown.returncode == 0
    assert "AssertionError" in shown.stdout
    assert run(str(scripts / "xpd"), "archive", "show", "a=7").returncode == 4
