"""Direct runs: ``python exp_ridge.py --alpha 0.1`` of a file that ends in ``experiment.main()``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from expedition import experiment
from tests.thoroughness import further

SCRIPT = '''\
"""Ridge regression.

More of it.
"""
from expedition import experiment

with open("imports.txt", "a") as stream:
    stream.write(f"{__name__}\\n")
N_SPLITS: int = 5  # folds of the cross validation

@experiment.parametrize("alpha", [0.01, 0.1])
def exp_ridge(e, alpha: float = 1.0, fit_intercept: bool = True, word: str = "100%"):
    e["alpha"] = alpha
    assert alpha != 3, "three"

experiment.main()
'''
TWO = """
from expedition import experiment

DEPTH: int = 1

@experiment
def exp_a(e, lr: float = 0.1): ...

@experiment
def exp_b(e, lr: float = 0.2, width: int = 3): ...

experiment.main()
"""
IMPORT = "from expedition import experiment\n"


def python(lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=lab.path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def script(lab, text=SCRIPT, name="exp_ridge.py"):
    return lab.file(name, text)


@pytest.mark.parametrize("workers", [*further(()), ("-n", "2")])
def test_a_script_runs_as_pytest_would(lab, workers):
    script(lab)
    done = python(lab, "exp_ridge.py", "--alpha", "0.5", "--word=a b", "--N_SPLITS=3", *workers, "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    given = lab.record().params
    assert given == {"alpha": 0.5, "fit_intercept": True, "word": "a b", "N_SPLITS": 3}
    key = lab.record().key
    lab.run("-P", "alpha=0.5", "-P", "word=a b", "-P", "N_SPLITS=3", path="exp_ridge.py").exits(0)
    first, second = lab.records()
    assert first.key == second.key == key
    assert second.params == given


def test_the_file_is_imported_once_more_and_runs_once(lab):
    script(lab)
    assert python(lab, "exp_ridge.py").returncode == 0
    assert (lab.path / "imports.txt").read_text().split() == ["__main__", "exp_ridge"]
    assert [record.params["alpha"] for record in lab.records()] == [0.01, 0.1]


def test_the_exit_status_is_that_of_pytest(lab):
    script(lab)
    assert python(lab, "exp_ridge.py", "--alpha=3").returncode == 1
    assert python(lab, "exp_ridge.py", "-k", "nothing").returncode == 5
    wrong = python(lab, "exp_ridge.py", "--alpha", "__import__('os')")
    assert wrong.returncode == 4
    assert "parameter alpha must be float, but got \"__import__('os')\"" in wrong.stderr


def test_a_negative_number_is_a_value_and_an_option_is_none(lab):
    script(lab)
    assert python(lab, "exp_ridge.py", "--alpha", "-1e-3").returncode == 0
    assert lab.record().params["alpha"] == -0.001
    for arguments in (["--alpha"], ["--alpha", "--word", "x"], ["--alpha", "-n2"]):
        done = python(lab, "exp_ridge.py", *arguments)
        assert done.returncode == 2
        assert done.stderr == "exp_ridge.py: --alpha needs a value, such as --alpha=VALUE\n"
    assert len(lab.records()) == 1


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("--alhpa", "--alpha"),
        ("--n_splits=3", "--N_SPLITS"),
        ("--fit-intercept=false", "--fit_intercept"),
        ("--alph", "--alpha"),
    ],
)
def test_only_exact_names_are_known(lab, option, near):
    script(lab)
    done = python(lab, "exp_ridge.py", option, "1")
    assert done.returncode == 2, done.stdout
    name = option.partition("=")[0]
    assert f"{name} is neither a parameter nor an option of pytest (did you mean {near!r}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (lab.path / "results").exists()


def test_options_that_a_conftest_declares_are_known(lab):
    script(lab)
    lab.file(
        "conftest.py",
        "def pytest_addoption(parser):\n    parser.addoption('--where-to')\n"
        "def pytest_report_header(config):\n    return config.option.where_to\n",
    )
    done = python(lab, "exp_ridge.py", "--where-to", "the moon")
    assert done.returncode == 0, done.stderr
    assert "the moon" in done.stdout


def test_help_lists_the_parameters(lab):
    script(lab)
    done = python(lab, "exp_ridge.py", "-v", "--help")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "usage: python exp_ridge.py [--PARAMETER VALUE …] [options of pytest]"
    assert "Ridge regression." in lines
    assert "More of it." not in lines
    listed = " ".join(lines)
    assert "--alpha float default: 1.0; swept; a value takes the place of the axis" in listed
    assert "--fit_intercept bool default: True" in listed
    assert "--word str default: '100%'" in listed
    assert "--N_SPLITS int folds of the cross validation; default: 5" in listed
    assert not (lab.path / "results").exists()


def test_several_experiments_have_their_own_parameters(lab):
    script(lab, TWO, "exp_two.py")
    shown = python(lab, "exp_two.py", "--help").stdout
    titles = [line for line in shown.splitlines() if line.startswith("parameters of")]
    assert titles == [
        "parameters of exp_a:",
        "parameters of exp_b:",
        "parameters of several experiments:",
    ]
    assert "--exp_a:lr" in shown
    assert "--width" in shown
    vague = python(lab, "exp_two.py", "--lr=1")
    assert vague.returncode == 2
    assert "write --exp_a:lr or --exp_b:lr, or -P lr=VALUE for all" in vague.stderr
    done = python(lab, "exp_two.py", "--exp_b:lr", "1", "--width=7", "--DEPTH=2")
    assert done.returncode == 0, done.stderr
    values = {record.experiment: record.params for record in lab.records()}
    assert values == {"exp_a": {"lr": 0.1, "DEPTH": 2}, "exp_b": {"lr": 1.0, "width": 7, "DEPTH": 2}}


def test_a_script_that_extends_another_has_its_parameters(lab):
    script(lab)
    script(
        lab,
        f"{IMPORT}exp_wide = experiment.extend('deep/../exp_ridge.py')\nexperiment.main()\n",
        "exp_wide.py",
    )
    (lab.path / "deep").mkdir()
    done = python(lab, "exp_wide.py", "--alpha=2", "--N_SPLITS", "9")
    assert done.returncode == 0, done.stderr
    assert (lab.record().params["alpha"], lab.record().params["N_SPLITS"]) == (2.0, 9)


def test_what_is_wrong_with_the_file_is_said_before_anything_runs(lab):
    script(lab, f"{IMPORT}exp_wide = experiment.extend('exp_nix.py')\nexperiment.main()\n", "exp_wide.py")
    done = python(lab, "exp_wide.py", "--alpha=2")
    assert done.returncode == 4
    assert "the base 'exp_nix.py' is not there" in done.stderr
    assert "Traceback" not in done.stderr


def test_main_does_nothing_where_the_module_is_no_script(lab):
    assert experiment.main() is None
    script(lab)
    done = python(lab, "-c", "import exp_ridge; print(exp_ridge.exp_ridge.__name__)")
    assert (done.returncode, done.stdout) == (0, "exp_ridge\n")
    done = python(lab, "-c", "from expedition import experiment; experiment.main(); print('on')")
    assert (done.returncode, done.stdout) == (0, "on\n")
