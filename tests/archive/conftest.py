"""One real sweep, with everything that can stand in a record, for all tests of reading."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archive.wide import make_wide
from tests.durability.laboratory import Laboratory

EXPERIMENT = '''
"""Everything at once."""
import logging, sys
import numpy as np
import pytest
from dataclasses import dataclass
from expedition import experiment
from helper import constant

SIZE: int = 3            # how many
RATES: list[float] = [0.5, 0.25]

@dataclass
class Point:
    x: int

@experiment(tags=["paper"])
@experiment.parametrize("kind", ["a", "b"])
@experiment.parametrize("alpha", [0.1, 1.0, 10.0])
def exp_all(e, alpha: float = 1.0, kind: str = "a"):
    """Records everything that can be recorded."""
    print("hello", alpha)
    e.log("logged")
    e["scores/mean"] = alpha / 2
    e["scores/all"] = [alpha, None]
    e["kind"] = kind
    e["array"] = np.arange(600.0) * alpha
    e["point"] = Point(constant())
    for i in range(4):
        e.track("fold/rmse", alpha * i)
        e.track("field", np.full(200, i * alpha))
    e.commit("notes/a.txt", "text")
    e.annotate("scores/mean", "mean score", unit="m")
    e.derived("double", 2 * alpha)
    e.tag(f"kind-{kind}")
    e.note("noted")
    e.rng.random()
    if alpha == 10.0 and kind == "a":
        e.skip("too large")
    if alpha == 10.0:
        pytest.xfail("known")
    assert not (alpha == 1.0 and kind == "b"), "too bad"
'''
SINGLE = '''
"""One run."""
from expedition import experiment

@experiment
def exp_single(e):
    e["x"] = 1
'''


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """The project after one sweep of six runs and one single run; nobody may change it."""
    lab = Laboratory(tmp_path_factory.mktemp("whole") / "lab")
    lab.write("exp_all.py", EXPERIMENT)
    lab.write("deep/exp_single.py", SINGLE)
    lab.write("helper.py", "def constant():\n    return 5\n")
    lab.write("conftest.py", "import pytest\n")
    lab.run("--note", "from the command line", "--tag", "cli").exits(1)
    return lab


@pytest.fixture(scope="session")
def wide(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The archive of `make_wide`; nobody may change it."""
    return made_once("wide", lambda path: make_wide(Laboratory(path / "lab"))) / "lab" / "results"


@pytest.fixture
def root(whole: Laboratory, tmp_path: Path) -> Path:
    """A copy of the archive for a test to damage."""
    shutil.copytree(whole.path / "results", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def sweep(root: Path) -> Path:
    (only,) = (root / "exp_all").iterdir()
    return only


def edit(file: Path, **changes: Any) -> None:
    """Change members of a JSON file; None takes one out."""
    content = json.loads(file.read_bytes())
    for name, value in changes.items():
        content[name] = value
        if value is None:
            del content[name]
    file.write_text(json.dumps(content), encoding="utf-8")


def fingerprint(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Size, time and content of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns, content)
    return found
