"""How good a classifier's answers are, with their uncertainty: from labels and probabilities to figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

CONFIDENCE = 0.95
"""Of every interval."""


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) counts, rows true, columns predicted. labels, predicted: (N,) whole numbers."""
    cells = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (JASA 22, 1927): `right` of `n` independent answers."""
    interval = binomtest(right, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def per_class(matrix: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float | int]]:
    """Precision, recall, F1 and number of images of each class, by name; 0 where a share has nothing to divide by."""
    right, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    quantities = {
        "precision": _share(right, predicted),
        "recall": _share(right, true),
        "f1": _share(2 * right, true + predicted),
    }
    return {
        name: {key: float(values[row]) for key, values in quantities.items()} | {"n": int(true[row])}
        for row, name in enumerate(names)
    }


def macro_f1(matrix: np.ndarray) -> float:
    """Mean F1 of the classes that stand among the labels or the answers."""
    seen = matrix.sum(axis=1) + matrix.sum(axis=0)
    return float(_share(2 * np.diag(matrix), seen)[seen > 0].mean())


def balanced_accuracy(matrix: np.ndarray) -> float:
    """Mean recall of the classes that stand among the labels."""
    true = matrix.sum(axis=1)
    return float(_share(np.diag(matrix), true)[true > 0].mean())


def mean_and_sd(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation (N - 1) over runs; one run has no deviation."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> dict[str, Any]:
    """Whether two classifiers differ on the same images: McNemar's exact test (Psychometrika 12, 1947), two-sided.

    first_right, second_right: (N,) bool, image by image. Returns the numbers of images that only one of them read
    rightly, the p value, and the difference of the accuracies (first minus second) with its 95 % interval (Wald).
    """
    if first_right.shape != second_right.shape:
        raise ValueError(f"answers to {len(first_right)} and to {len(second_right)} images; the same are compared")
    only_first, only_second = int((first_right & ~second_right).sum()), int((~first_right & second_right).sum())
    n, discordant = len(first_right), only_first + only_second
    difference = (only_first - only_second) / n
    half = norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(max(discordant - n * difference**2, 0)) / n
    return {
        "only_first_right": only_first,
        "only_second_right": only_second,
        "p_value": float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
        "difference": difference,
        "difference_ci95": [difference - float(half), difference + float(half)],
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
