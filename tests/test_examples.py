"""The examples of the README give the right numbers: checked against other ways to compute them."""

from __future__ import annotations

import json
import math
import shutil
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from expedition import Archive, RunRecord, Trajectory

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def sweeps(made_once: Callable[[str, Callable[[Path], object]], Path]) -> dict[str, Path]:
    """Sweep folders of all examples by experiment, made by one parallel invocation."""
    folder = made_once("examples", run_examples)
    return {sweep.name: sweep.path for sweep in Archive(folder / "results").sweeps()}


def run_examples(folder: Path) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    files = [str(path.relative_to(folder)) for path in sorted(folder.glob("examples/exp_*.py"))]
    command = [sys.executable, "-m", "pytest", "--experiments", *files, "-n", "2", "-W", "error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning:" not in done.stdout


def records(sweep: Path) -> list[RunRecord]:
    found = list(Archive(sweep).runs())
    assert found
    assert {record.status for record in found} == {"done"}
    return found


def ridge_errors(alpha: float, seed: int) -> list[float]:
    """Errors of the five folds, by the normal equations on centred data instead of scikit-learn's solver."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    order = np.arange(len(y))
    np.random.RandomState(int(np.random.default_rng(seed).integers(2**31))).shuffle(order)
    errors = []
    for test in np.array_split(order, 5):
        train = np.setdiff1d(order, test)
        mean_x, mean_y = x[train].mean(axis=0), y[train].mean()
        centred = x[train] - mean_x
        gram = centred.T @ centred + alpha * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, centred.T @ (y[train] - mean_y))
        residuals = (x[test] - mean_x) @ weights + mean_y - y[test]
        errors.append(math.sqrt(float(residuals @ residuals) / len(test)))
    return errors


def test_ridge_errors_are_those_of_the_normal_equations(sweeps: dict[str, Path]) -> None:
    runs = records(sweeps["exp_ridge"])
    assert len(runs) == 12
    for record in runs:
        expected = ridge_errors(record.params["alpha"], record.seed)
        np.testing.assert_allclose(record.series["fold/rmse"].value, expected, rtol=1e-9)
        assert record.data["rmse"]["mean"] == pytest.approx(sum(expected) / 5, rel=1e-9)
        assert record.data["rmse"]["worst"] == pytest.approx(max(expected), rel=1e-9)
    assert len({record.seed for record in runs}) == 12


def test_ridge_commits_a_readable_figure(sweeps: dict[str, Path]) -> None:
    from PIL import Image

    for record in records(sweeps["exp_ridge"]):
        with Image.open(record.artifacts["residuals.png"]) as picture:
            assert picture.size == (500, 400)
            assert len(picture.convert("L").getcolors(256) or ()) > 10


def sir_by_runge_kutta(beta: float, gamma: float, days: int = 160, i0: float = 1e-3) -> np.ndarray:
    """Classical fourth-order Runge-Kutta with 200 steps a day."""

    def slope(state: np.ndarray) -> np.ndarray:
        new, out = beta * state[0] * state[1], gamma * state[1]
        return np.array([-new, new - out, out])

    state, h = np.array([1 - i0, i0, 0.0]), 1 / 200
    rows = [state]
    for step in range(1, days * 200 + 1):
        k1 = slope(state)
        k2 = slope(state + h / 2 * k1)
        k3 = slope(state + h / 2 * k2)
        k4 = slope(state + h * k3)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if step % 200 == 0:
            rows.append(state)
    return np.array(rows)


def test_sir_follows_the_equations_and_their_first_integral(sweeps: dict[str, Path]) -> None:
    with Trajectory.open(sweeps["exp_sir"]) as trajectory:
        assert len(trajectory) == 12
        beta, gamma = trajectory.par.beta[:], trajectory.par.gamma[:]
        np.testing.assert_array_equal(trajectory.dpar.r0[:], beta / gamma)
        infected = trajectory.res.trajectory.i[:]
        assert infected.shape == (12, 161)
        for run in (0, 5, 11):
            expected = sir_by_runge_kutta(beta[run], gamma[run])
            np.testing.assert_allclose(infected[run], expected[:, 1], atol=1e-6)
            assert trajectory.res.peak_day[run] == expected[:, 1].argmax()
            assert trajectory.res.attack_rate[run] == pytest.approx(expected[-1, 2], abs=1e-6)
            step, _, value = trajectory.series["infected"][run]
            np.testing.assert_array_equal(step, range(0, 161, 10))
            np.testing.assert_array_equal(value, infected[run, ::10])
        # Along a solution i + s - ln(s) / R0 is constant, and i is largest where s = 1 / R0.
        s0, i0, r0 = 1 - 1e-3, 1e-3, beta / gamma
        highest = i0 + s0 - (1 + np.log(r0 * s0)) / r0
        peak = trajectory.res.peak[:]
        assert (peak <= highest + 1e-6).all()
        np.testing.assert_allclose(peak, highest, rtol=0.02)


def test_words_are_counted_right(sweeps: dict[str, Path]) -> None:
    from pydoc_data.topics import topics

    letters = set(string.ascii_letters)
    text = "".join(c if c in letters else " " for name in sorted(topics) for c in topics[name] + "\n")
    words = text.lower().split()
    for record in records(sweeps["exp_words"]):
        counts = Counter(word for word in words if len(word) >= record.params["min_length"])
        assert record.data["words"] == sum(counts.values())
        assert record.data["distinct"] == len(counts)
        frequencies = sorted(counts.values(), reverse=True)[:200]
        np.testing.assert_array_equal(record.data["frequencies"], frequencies)
        x = [math.log(rank) for rank in range(1, 201)]
        y = [math.log(frequency) for frequency in frequencies]
        mean_x, mean_y = sum(x) / 200, sum(y) / 200
        slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum(
            (a - mean_x) ** 2 for a in x
        )
        assert record.data["zipf_exponent"] == pytest.approx(-slope, rel=1e-9)
        top = json.loads(record.artifacts["top.json"].read_text())
        assert list(top.values()) == frequencies[:20]
        assert f"most often '{record.data['commonest']}'" in record.log


def farthest() -> tuple[float, float]:
    """The best angle and its distance, by Brent's method over flights of an adaptive integrator."""
    from scipy.integrate import solve_ivp
    from scipy.optimize import minimize_scalar

    k = 1.204 / 2 * 0.35 * math.pi * 0.0366**2 / 0.145

    def slope(_: float, state: np.ndarray) -> list[float]:
        speed = math.hypot(state[2], state[3])
        return [state[2], state[3], -k * speed * state[2], -9.81 - k * speed * state[3]]

    def landing(t: float, state: np.ndarray) -> float:
        return float(state[1]) if t > 1e-6 else 1.0

    landing.terminal = True  # type: ignore[attr-defined]

    def distance(angle: float) -> float:
        start = [0.0, 0.0, 45 * math.cos(math.radians(angle)), 45 * math.sin(math.radians(angle))]
        flight = solve_ivp(slope, (0, 30), start, events=landing, rtol=1e-9, atol=1e-9)
        return float(flight.y_events[0][0][0])

    found = minimize_scalar(lambda angle: -distance(angle), bounds=(10, 80), options={"xatol": 1e-5})
    return float(found.x), -float(found.fun)


def test_the_search_finds_the_angle_of_the_longest_flight(sweeps: dict[str, Path]) -> None:
    angle, distance = farthest()
    with Trajectory.open(sweeps["exp_search"]) as trajectory:
        summary = trajectory.summary
        assert summary is not None
        assert summary.status == "done"
        assert summary.data["angle"] == pytest.approx(angle, abs=0.01)
        assert summary.data["distance"] == pytest.approx(distance, abs=0.001)
        assert summary.data["gain_over_45"] == pytest.approx(1.1465, abs=0.001)
        tried = trajectory.par.angle.values
        assert tried[:5].tolist() == [10.0, 30.0, 45.0, 60.0, 80.0]
        assert len(tried) == 5 + 6 * summary.attempt
        assert trajectory.res.distance.unit == "m"
        # Every generation is nearer: the search has looked where the answer is.
        spread = [abs(tried[5 + 6 * i : 11 + 6 * i] - angle).max() for i in range(summary.attempt)]
        assert spread == sorted(spread, reverse=True)
        assert "angle,distance,height" in summary.artifacts["angles.csv"].read_text()


def test_xarray_opens_the_trajectories_without_us(sweeps: dict[str, Path]) -> None:
    script = (
        "import sys, xarray\n"
        "with xarray.open_dataset(sys.argv[1], engine='h5netcdf') as table:\n"
        "    grid = table.set_index(run=['beta', 'gamma']).unstack('run')\n"
        "    print(sorted(grid.peak.sizes.items()), 'expedition' in sys.modules)\n"
    )
    command = [sys.executable, "-c", script, str(sweeps["exp_sir"] / "trajectory.h5")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[('beta', 4), ('gamma', 3)] False", done.stderr
