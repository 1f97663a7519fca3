"""Ridge regression on the diabetes data set: which penalty predicts best?

442 patients, ten measurements each (Efron, Hastie, Johnstone, Tibshirani 2004); the error is that of a
cross validation, repeated with other folds in every replicate.
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from expedition import experiment

N_SPLITS: int = 5  # folds of the cross validation


def cross_validate(
    alpha: float, fit_intercept: bool, rng: np.random.Generator
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Yield the error, the predictions and the truth of each fold."""
    x, y = load_diabetes(return_X_y=True)
    folds = KFold(N_SPLITS, shuffle=True, random_state=int(rng.integers(2**31)))
    for train, test in folds.split(x):
        model = Ridge(alpha=alpha, fit_intercept=fit_intercept).fit(x[train], y[train])
        predicted = model.predict(x[test])
        yield float(np.sqrt(np.mean((predicted - y[test]) ** 2))), predicted, y[test]


def residual_plot(predicted: np.ndarray, truth: np.ndarray) -> Figure:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.7", linewidth=1)
    axes.plot(predicted, predicted - truth, ".", markersize=4)
    axes.set(xlabel="predicted progression", ylabel="predicted − true")
    return figure


@experiment.parametrize("alpha", [0.01, 0.1, 1.0, 10.0])
@experiment.replicate(3)
def exp_ridge(experiment, alpha: float = 1.0, fit_intercept: bool = True):
    rmse, predicted, truth = [], [], []
    for score, guess, target in cross_validate(alpha, fit_intercept, experiment.rng):
        experiment.track("fold/rmse", score)
        rmse.append(score)
        predicted.append(guess)
        truth.append(target)
    experiment["rmse/mean"] = float(np.mean(rmse))
    experiment["rmse/worst"] = max(rmse)
    experiment.annotate("rmse/mean", "root mean squared error over the folds", unit="progression score")
    experiment.commit_fig("residuals.png", residual_plot(np.concatenate(predicted), np.concatenate(truth)))
    assert experiment["rmse/mean"] < 80  # acceptance criterion
