"""The examples of trajectories give the right numbers: checked against other ways to compute them."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from expedition import Archive, RunRecord, Trajectory

ROOT = Path(__file__).parent.parent


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "pytest", "--experiments", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def laboratory(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder with the examples, all of them run by one parallel invocation."""
    return made_once("trajectories", run_examples)


def run_examples(folder: Path) -> None:
    source = ROOT / "examples" / "trajectories"
    shutil.copytree(source, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    run(folder, "examples", "-n", "2", "-W", "error")


@pytest.fixture(scope="module")
def sweeps(laboratory: Path) -> dict[str, Path]:
    return {sweep.name: sweep.path for sweep in Archive(laboratory / "results").sweeps()}


def summary(sweep: Path) -> RunRecord:
    with Trajectory.open(sweep) as traj:
        record = traj.summary
    assert record is not None
    assert record.status == "done"
    return record


def test_first_steps(sweeps: dict[str, Path]) -> None:
    products = [(x, y) for x in (1.0, 2.0, 3.0, 4.0) for y in (6.0, 7.0, 8.0)]
    with Trajectory.open(sweeps["exp_multiply"]) as traj:
        assert sorted(zip(traj.par.x, traj.par.y, strict=True)) == products
        assert all(x * y == z for x, y, z in zip(traj.par.x, traj.par.y, traj.res.z, strict=True))
        assert traj.res.z.comment == "product of x and y"
    found = summary(sweeps["exp_multiply"])
    assert found.data == {"largest": 32.0, "of seven": [7.0, 14.0, 21.0, 28.0]}
    assert "times" in found.log


def test_every_way_to_a_name(sweeps: dict[str, Path]) -> None:
    found = summary(sweeps["exp_flight"]).data
    assert found["equal"] is True
    assert found["shallowest"] == "han_solo"
    assert found["missing"] == "none was seen"
    assert found["film"] == 4
    assert found["light years"] == pytest.approx(12 * 3.26156)


def test_found_runs(sweeps: dict[str, Path]) -> None:
    # y is the inner loop: pypet's documented answer for this order of loops.
    runs = [(x, y) for y in (6, 7, 8) for x in (1, 2, 3, 4)]
    with Trajectory.open(sweeps["exp_find"]) as traj:
        assert list(zip(traj.par.x, traj.par.y, strict=True)) == runs or list(
            zip(traj.par.x, traj.par.y, strict=True)
        ) == [(x, y) for x in (1, 2, 3, 4) for y in (6, 7, 8)]
        runs = list(zip(traj.par.x.tolist(), traj.par.y.tolist(), strict=True))
    found = summary(sweeps["exp_find"]).data
    wanted = [i for i, (x, y) in enumerate(runs) if x == 2 or y == 8]
    assert found["by function"] == found["by expression"] == wanted
    assert found["by value"] == [runs.index((2, 8))]
    assert found["by result"] == [i for i, (x, y) in enumerate(runs) if x * y > 20]
    assert found["points"] == 12


def euler(model: str, steps: int = 2000, dt: float = 0.005) -> list[float]:
    x = y = z = 0.1
    for _ in range(steps):
        if model == "lorenz":
            dx, dy, dz = 10.0 * (y - x), x * (28.0 - z) - y, x * y - 8 / 3 * z
        else:
            dx, dy, dz = -y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)
        x, y, z = x + dt * dx, y + dt * dy, z + dt * dz
    return [x, y, z]


def test_presetting(laboratory: Path, sweeps: dict[str, Path]) -> None:
    with Trajectory.open(sweeps["exp_presetting"]) as traj:
        assert traj.par.model.tolist() == ["lorenz", "roessler"]
        for row, model in enumerate(traj.par.model):
            np.testing.assert_allclose(traj.res.end[row], euler(model), rtol=1e-6)
            assert traj.res.path[row].shape == (2001, 3)
    refused = run(laboratory, "examples/exp_presetting.py", "-P", "sigmma=3", code=4)
    assert "sigma" in refused
    run(
        laboratory, "examples/exp_presetting.py", "-P", "model=roessler", "-P", "a=0.1", "--archive", "preset"
    )
    (record,) = Archive(laboratory / "preset").runs()
    assert (record.params["model"], record.params["a"]) == ("roessler", 0.1)


def test_large_results(sweeps: dict[str, Path]) -> None:
    sweep = sweeps["exp_large"]
    found = summary(sweep).data
    records = sorted(Archive(sweep).runs(), key=lambda record: record.index)
    generators = [np.random.default_rng(record.seed) for record in records]
    cubes = [rng.random((64, 64, 64)) for rng in generators]
    np.testing.assert_array_equal(found["corner"], cubes[1][:2, :2, 0])
    field = sum(generators[2].normal(size=(64, 64)) for _ in range(40))
    assert found["last mean"] == pytest.approx(float(np.mean(field)), rel=1e-9)
    with Trajectory.open(sweep) as traj:
        assert traj.res.cube.shape == (3, 64, 64, 64)
        np.testing.assert_array_equal(traj.res.cube[2, 10, :5], cubes[2][10, :5])


def test_items_of_all_runs(sweeps: dict[str, Path]) -> None:
    found = summary(sweeps["exp_all"]).data
    squares = found["squares"]
    assert [s for s in squares if s == s and s is not None] == [0, 1, 4, 16, 25]
    assert len(squares) == 6
    assert found["known"] == 3
    assert found["sum over runs"] == 46


def test_rates_of_the_neuron(sweeps: dict[str, Path]) -> None:
    found = summary(sweeps["exp_neuron"])
    rates = found.data["rates"]
    assert rates.shape == (4, 3)
    for current in rates.index:
        for refractory in rates.columns:
            # Between two spikes V(t) = I τ (1 - exp(-t / τ)) climbs from 0 to 1.
            drive = current * 10.0
            if drive <= 1:
                assert rates.loc[current, refractory] == 0
                continue
            period = refractory - 10.0 * math.log(1 - 1 / drive)
            assert rates.loc[current, refractory] == pytest.approx(1000 / period, rel=0.03)
    with open(found.artifacts["rates.csv"], newline="") as stream:
        assert len(list(csv.reader(stream))) == 5
    with Trajectory.open(sweeps["exp_neuron"]) as traj:
        assert traj.res.rate.unit == "Hz"
        assert len(traj.res.spikes[11]) == traj.res.rate[11]


def test_links(sweeps: dict[str, Path]) -> None:
    assert summary(sweeps["exp_links"]).data["through the link"] == [10, 20, 30]
    with Trajectory.open(sweeps["exp_links"]) as traj:
        assert traj.treasure.tolist() == [10, 20, 30]
        assert traj.res.near.comment == "a copy of x"


def test_merging(laboratory: Path) -> None:
    from expedition.trajectory import merge

    for part, values in (("a", "[1, 2, 3]"), ("b", "[3, 4]")):
        file = laboratory / f"exp_merging_{part}.py"
        text = (laboratory / "examples" / "exp_merging.py").read_text(encoding="utf-8")
        (laboratory / part).mkdir()
        (laboratory / part / "exp_merging.py").write_text(text.replace("[1, 2, 3]", values), encoding="utf-8")
        assert not file.exists()
        run(
            laboratory / part, "exp_merging.py", "--rootdir", str(laboratory / part), "-p", "no:cacheprovider"
        )
    parts = [next((laboratory / part / "results").rglob("sweep.json")).parent for part in "ab"]
    merged = merge(*parts, to=laboratory / "merged.h5")
    with Trajectory.open(merged if isinstance(merged, Path) else laboratory / "merged.h5") as traj:
        assert len(traj) == 8
        assert sorted(zip(traj.par.x, traj.par.y, strict=True)) == [
            (x, y) for x in (1, 2, 3, 4) for y in (10, 20)
        ]
        for run_view in traj:
            assert run_view.res.z == run_view.par.x + run_view.par.y
            assert run_view.series["steps"].value.tolist() == [run_view.par.x, run_view.par.y]


def test_pipeline(sweeps: dict[str, Path]) -> None:
    found = summary(sweeps["exp_pipeline"]).data
    assert found["minimum"] == pytest.approx(1.234, abs=0.1)
    assert found["width"] < 0.1
    manifest = json.loads((sweeps["exp_pipeline"] / "sweep.json").read_text(encoding="utf-8"))
    with Trajectory.open(sweeps["exp_pipeline"]) as traj:
        assert len(manifest["runs"]) == 5
        assert len(traj) > 10
        assert set(traj.runs.status.tolist()) == {"done"}


def test_lorenz_with_a_parameter_of_its_own_class(laboratory: Path, sweeps: dict[str, Path]) -> None:
    sweep = sweeps["exp_lorenz"]
    with Trajectory.open(sweep) as traj:  # the codec is not registered here
        assert [parameter.codec for parameter in traj.par.system.tolist()] == ["system", "system"]
        for row, model in enumerate(["lorenz", "roessler"]):
            np.testing.assert_allclose(traj.res.path[row, -1], euler(model), rtol=1e-6)
    program = f"""
import sys
from collections.abc import Callable
sys.path.insert(0, {str(laboratory / "examples")!r})
import exp_lorenz
from expedition import Trajectory
with Trajectory.open({str(sweep)!r}) as traj:
    assert traj.par.system.tolist() == [
        exp_lorenz.System("lorenz", (10.0, 28.0, 8 / 3)), exp_lorenz.System("roessler", (0.2, 0.2, 5.7))
    ]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
