"""The example of a paper: its numbers are those of the runs that it was made of, and the record says which."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from expedition import Archive
from tests.processes import python

ROOT = Path(__file__).parent.parent


def run(folder: Path, *arguments: str) -> str:
    return python(folder, "-m", "pytest", *arguments, "-W", "error")


@pytest.fixture(scope="module")
def archive(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Archive:
    return Archive(made_once("paper", make) / "results")


def make(folder: Path) -> None:
    shutil.copytree(
        ROOT / "examples" / "paper", folder / "paper", ignore=shutil.ignore_patterns("__pycache__")
    )
    assert "nothing else was run yet" in run(folder, "--experiments", "paper/exp_paper.py", "-rs")
    run(folder, "--experiments", "paper/exp_decay.py", "-n", "2")
    run(folder, "--experiments", "paper/exp_paper.py")


def test_the_table_is_that_of_the_runs(archive: Archive) -> None:
    paper = archive.run("exp_paper")
    assert paper.status == "done"
    decays = list(archive.runs("experiment == 'exp_decay' and decays >= 100"))
    assert len(decays) == 60
    table = paper.data["table"]
    assert table.index.tolist() == [100, 1_000, 10_000]
    for number, row in table.iterrows():
        found = [r.data["half_life"] / 5730 - 1 for r in decays if r.params["decays"] == number]
        assert row["error"] == pytest.approx(float(np.sqrt(np.mean(np.square(found)))), rel=1e-12)
        # The standard error of a mean of exponential times; twenty runs tell it within a factor of two.
        assert 0.5 < row["error"] * math.sqrt(number) < 2
    lines = paper.artifacts["errors.tex"].read_text().splitlines()
    (line,) = [line for line in lines if re.match(r"\s*100(\.0*)? ", line)]
    assert f"{table['error'][100]:.4f}" in line
    assert paper.artifacts["errors.pdf"].read_bytes().startswith(b"%PDF")


def test_the_record_names_the_runs(archive: Archive) -> None:
    paper = archive.run("exp_paper")
    decays = list(archive.runs("experiment == 'exp_decay' and decays >= 100"))
    runs = [one for one in paper.inputs if "key" in one]  # besides the questions that found them
    assert {one["key"] for one in runs} == {record.key for record in decays}
    for one in runs:
        assert archive.run(archive.root / one["folder"]).key == one["key"]
