"""Metrics of a classifier with their uncertainty, its calibration, and McNemar's test of two classifiers."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, norm
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor
from torch.nn import functional as F


def classification_metrics(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Accuracy, F1, balanced accuracy, confusion matrix (rows true), and precision, recall and F1 by class name.

    labels, predicted: (N,) integers below `len(names)`. A ratio with denominator 0 is 0. Macro F1 and balanced accuracy
    are the means of F1 and recall over the classes that occur in labels.
    """
    classes, correct = range(len(names)), int((labels == predicted).sum())
    by_class = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    _, recall, f1, n = by_class
    rows = zip(*(values.tolist() for values in by_class), strict=True)
    return {
        "n": len(labels),
        "accuracy": correct / len(labels),
        "accuracy_ci95": list(wilson_interval(correct, len(labels))),
        "interval": "Wilson score interval",
        "macro_f1": float(f1[n > 0].mean()),
        "balanced_accuracy": float(recall[n > 0].mean()),
        "per_class": {
            name: dict(zip(("precision", "recall", "f1", "n"), row, strict=True))
            for name, row in zip(names, rows, strict=True)
        },
        "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (JASA 22, 1927): `correct` of `n` independent predictions."""
    interval = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mean_and_sd(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation (N - 1) over runs; the deviation of one run is None."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def mcnemar(first_correct: np.ndarray, second_correct: np.ndarray) -> dict[str, Any]:
    """McNemar's exact two-sided test (Psychometrika 12, 1947) of two classifiers on the same images.

    first_correct, second_correct: (N,) bool, image by image. Returns the numbers of images that only one of them
    predicts correctly, the p value, and the difference of the accuracies (first minus second) with its 95 % interval
    (Wald).
    """
    only_first, only_second = int((first_correct & ~second_correct).sum()), int((~first_correct & second_correct).sum())
    n, discordant = len(first_correct), only_first + only_second
    difference = (only_first - only_second) / n
    half = float(norm.ppf(0.975) * np.sqrt(max(discordant - n * difference**2, 0)) / n)
    return {
        "only_first_right": only_first,
        "only_second_right": only_second,
        "p_value": float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
        "difference": difference,
        "difference_ci95": [difference - half, difference + half],
    }


class Calibration(NamedTuple):
    """Of each confidence bin: mean confidence, accuracy (both NaN in an empty bin) and number of images.

    ece: expected calibration error, the mean distance of the two, weighted by the bins' images (Guo et al., eq. 3).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    images: np.ndarray
    ece: float


def calibration(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Calibration:
    """Confidence and accuracy in bins of equal width, k / bins < confidence <= (k + 1) / bins (Guo et al., ICML 2017).

    probabilities: (N, classes); labels: (N,). The confidence is the probability of the predicted class.
    """
    confidence, predicted = probabilities.double().max(dim=1)
    rows = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    images = torch.bincount(rows, minlength=bins)
    sums = [torch.bincount(rows, values.double(), bins) for values in (confidence, predicted == labels)]
    ece = float((sums[0] - sums[1]).abs().sum() / len(labels))
    return Calibration((sums[0] / images).numpy(), (sums[1] / images).numpy(), images.numpy(), ece)


def apply_temperature(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities (N, classes) of the logits divided by `temperature`; above 1 lowers the confidence."""
    return torch.softmax(_logits(probabilities) / temperature, dim=1).to(probabilities.dtype)


def fit_temperature(probabilities: Tensor, labels: Tensor) -> float:
    """The temperature of the largest likelihood (Guo et al., sec. 4.2), for (N, classes) and (N,) int64.

    It is searched from 0.001 to 1000; where every prediction is correct, the likelihood has no maximum above 0.
    """
    logits = _logits(probabilities)

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / math.exp(log_temperature), labels))

    bounds = (math.log(1e-3), math.log(1e3))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)


def _logits(probabilities: Tensor) -> Tensor:
    """Logits up to a constant, float64. So the mean of several networks' probabilities has a temperature too."""
    return probabilities.double().clamp_min(torch.finfo(torch.float64).tiny).log()
