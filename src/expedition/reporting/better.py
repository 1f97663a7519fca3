"""Which end of a result is the better one, as far as its name tells."""

from __future__ import annotations

import re

_LOW = frozenset(
    {
        "loss",
        "error",
        "err",
        "rmse",
        "mse",
        "mae",
        "mape",
        "nll",
        "perplexity",
        "cost",
        "regret",
        "bias",
        "residual",
        "deviation",
        "time",
        "runtime",
        "latency",
        "variance",
    }
)
_HIGH = frozenset(
    {
        "accuracy",
        "acc",
        "auc",
        "auroc",
        "auprc",
        "f1",
        "precision",
        "recall",
        "sensitivity",
        "specificity",
        "r2",
        "score",
        "reward",
        "likelihood",
        "psnr",
        "ssim",
        "iou",
        "dice",
        "bleu",
        "rouge",
        "ndcg",
        "throughput",
        "speedup",
    }
)
_WORD = re.compile(r"[A-Z]?[a-z]+[0-9]?|[A-Z]+[0-9]?")


def better(name: str) -> str:
    """Return ``"low"`` for ``test_loss``, ``"high"`` for ``valid.accuracy``, nothing where no word of it tells."""
    for word in reversed(_WORD.findall(name)):
        if word.lower() in _LOW:
            return "low"
        if word.lower() in _HIGH:
            return "high"
    return ""
