"""Calibration: whether a network is right as often as it says, and the temperature that makes it so."""

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
"""Of confidence, of equal width (Guo et al., ICML 2017)."""

TEMPERATURES = (1e-3, 1e3)
"""Where the best temperature is sought. Answers that are all right have none: the likelihood grows to the lower end."""


def expected_calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Mean distance of confidence and accuracy over BINS bins (Guo et al., eq. 3). (N, classes) and (N,) int64."""
    return float(multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=BINS, norm="l1"))


def with_temperature(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities whose logarithms are divided by `temperature`; above 1 makes them less sure. The order stays."""
    logarithms = probabilities.double().clamp_min(torch.finfo(torch.float64).tiny).log()
    return torch.softmax(logarithms / temperature, dim=1).to(probabilities.dtype)


def fit_temperature(probabilities: Tensor, labels: Tensor) -> float:
    """The temperature of the largest likelihood (Guo et al., sec. 4.2), for (N, classes) and (N,) int64.

    Logits and the logarithms of their probabilities have the same one, so an average of probabilities has one too.
    """
    logarithms = probabilities.double().clamp_min(torch.finfo(torch.float64).tiny).log()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logarithms / math.exp(log_temperature), labels))

    bounds = [math.log(end) for end in TEMPERATURES]
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)
