"""One archive with runs of every kind of end, made by real invocations, for all tests of reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.durability.laboratory import Laboratory

RIDGE = '''
"""Ridge regression."""
from expedition import experiment

FOLDS: int = 5

@experiment.testing
def few(params):
    params.FOLDS = 2

@experiment.parametrize("alpha", [0.5, 2.0, 10.0])
@experiment.replicate(4)
def exp_ridge(e, alpha: float, solver: str = "auto"):
    """What the penalty does to the error, for a text that is longer than a line of a terminal takes, without doubt."""
    e["rmse/mean"] = alpha + e.replicate
    e["converged"] = e.replicate > 0
    e["status"] = "fine"
    if alpha == 10.0 and e.replicate < 2:
        raise ValueError("singular\\nsecond line")
    if alpha == 10.0 and e.replicate == 2:
        e.prune("no hope")
'''
TRAIN = """
import os
import numpy as np
from expedition import experiment

@experiment.parametrize("how", ["well", "skip", "type", "value", "interrupt", "exit"])
def exp_train(e, how: str, lr: float = 1e-3):
    e["accuracy"] = len(how)
    e["weights"] = np.zeros(1000)
    e["text"] = "a|b_c"
    if how == "skip":
        e.skip("not today")
    if how == "type":
        raise TypeError("wrong")
    if how == "value":
        raise ValueError("also wrong")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "exit":
        os._exit(3)
"""
SINGLE = """
from expedition import experiment

@experiment
def {name}(e, scale: int = {scale}):
    e["pi"] = 3.25 * scale
"""


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the archive; nobody may change what is in it."""
    lab = Laboratory(tmp_path_factory.mktemp("mixed") / "lab")
    lab.write("exp_ridge.py", RIDGE)
    lab.write("exp_train.py", TRAIN)
    lab.write("exp_one.py", SINGLE.format(name="exp_one", scale=1))
    lab.write("exp_two.py", SINGLE.format(name="exp_two", scale=2))
    lab.pytest(
        "--experiments", "exp_ridge.py", "--experiments", "exp_one.py", "--experiments", "exp_two.py"
    ).exits(1)
    lab.pytest("--experiments", "exp_train.py", "--where", "how != 'exit' and how != 'interrupt'").exits(1)
    lab.pytest("--experiments", "exp_train.py", "--where", "how == 'exit'").exits(3)
    lab.pytest("--experiments", "exp_train.py", "--where", "how == 'interrupt'").exits(2)
    lab.pytest("--experiments", "exp_ridge.py", "--testing", "--where", "alpha == 2").exits(0)
    lab.pytest("--experiments", "exp_ridge.py", "-P", "solver=svd", "--where", "alpha < 5").exits(0)
    root = lab.path / "results"
    (damaged,) = (path for path in root.glob("exp_ridge/*/0003-*") if '"svd"' not in meta_text(path))
    (damaged / "experiment_meta.json").write_text("{broken", encoding="utf-8")
    return root


def meta_text(run: Path) -> str:
    """What the meta file of a run says."""
    return (run / "experiment_meta.json").read_text(encoding="utf-8")


def metas(root: Path) -> list[dict[str, Any]]:
    """The meta files of all runs that can be read, those of testing mode excepted, as plain JSON."""
    found = []
    for file in sorted(root.rglob("experiment_meta.json")):
        try:
            meta = json.loads(file.read_bytes())
        except ValueError:
            continue
        if not meta["experiment"].get("testing"):
            meta["size"] = sum(path.stat().st_size for path in file.parent.rglob("*") if path.is_file())
            found.append(meta)
    return found


@pytest.fixture
def lab_archive(tmp_path: Path) -> Callable[[str], Path]:
    """Run an experiment file; return the root of the archive."""

    def make(text: str) -> Path:
        lab = Laboratory(tmp_path / "lab")
        lab.write("exp_a.py", text)
        lab.pytest("--experiments", "exp_a.py").exits(0)
        return lab.path / "results"

    return make
