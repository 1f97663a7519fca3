"""Values that a file of rows has no type for: what the exports have of them, and how it is read back."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from expedition.trajectory import Trajectory, compile_trajectory
from expedition.values import decode, loads
from tests.trajectory.conftest import BuildSweep
from tests.values.equality import exactly_equal

LARGE = np.arange(200_000.0)


@pytest.fixture
def rich(build_sweep: BuildSweep) -> Path:
    """A trajectory with arrays and frames, in the file and in the run folders."""
    builder = build_sweep([{"i": i} for i in range(3)])
    for index in range(3):
        builder.run(
            index,
            {
                "stack": np.arange(3, dtype=np.float32) + index,
                "ragged": np.arange(index, dtype=np.int16),
                "frame": pd.DataFrame({"x": [index, 2], "y": ["a", None]}),
                "sparse": sparse.csr_array(np.eye(3) * index),
                "mixed": [np.arange(2000.0) + index, {"a": index}][index % 2],
                "some": {"large": LARGE if index == 2 else index},
                "list": [index, "x"],
                "number": 1.5 * index,
            },
        )
    return compile_trajectory(builder.path)


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_every_value_comes_back_from_its_text(rich: Path, tmp_path: Path, name: str) -> None:
    with Trajectory.open(rich) as traj:
        names = ["stack", "ragged", "frame", "sparse", "mixed", "list"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = read(getattr(traj, f"to_{name[2:]}")(tmp_path / name, names))
        for column in names:
            for index, text in enumerate(table[column]):
                assert '"file"' not in text
                assert exactly_equal(decode(loads(text)), traj[index].results[column]), column


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_what_is_too_large_leaves_its_cell_empty(rich: Path, tmp_path: Path, name: str) -> None:
    with Trajectory.open(rich) as traj:
        with pytest.warns(UserWarning, match="one value of results/some left out") as warned:
            table = read(getattr(traj, f"to_{name[2:]}")(tmp_path / name, arrays=True))
        assert len(warned) == 1
    assert [decode(loads(text)) for text in table["some"][:2]] == [{"large": 0}, {"large": 1}]
    assert pd.isna(table["some"][2])
    assert str(rich.parent) not in table.to_csv()


def test_what_stands_in_run_folders_is_left_out_unless_it_is_asked_for(rich: Path, tmp_path: Path) -> None:
    with Trajectory.open(rich) as traj, warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(read(traj.to_csv(tmp_path / "t.csv")).columns)
    assert found == ["run", "i", "replicate", "status", "mixed", "list", "number"]


def test_xarray_has_no_reference_to_files(rich: Path) -> None:
    with Trajectory.open(rich) as traj, pytest.warns(UserWarning, match="one value of results/some left out"):
        data: Any = traj.to_xarray(columns=["some", "mixed"])
    assert exactly_equal(decode(loads(data["mixed"].values[0])), np.arange(2000.0))
    assert pd.isna(data["some"].values[2])
    assert decode(loads(data["some"].values[1])) == {"large": 1}


def test_a_file_without_its_run_folders_is_exported_as_far_as_it_goes(rich: Path, tmp_path: Path) -> None:
    alone = rich.rename(tmp_path / "alone.h5")
    with Trajectory.open(alone) as traj, pytest.warns(UserWarning, match="not readable"):
        table = read(traj.to_csv(tmp_path / "t.csv", ["some", "number"]))
    assert table["number"].tolist() == [0.0, 1.5, 3.0]
