"""Metrics against torchmetrics, scikit-learn, score tests and sums by hand."""

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from sklearn.metrics import balanced_accuracy_score, f1_score
from torchmetrics.functional import classification as reference

from fer_lightning.evaluation.metrics import (
    apply_temperature,
    calibration,
    classification_metrics,
    fit_temperature,
    mcnemar,
    mean_and_sd,
    wilson_interval,
)
from fer_lightning.expressions import EXPRESSIONS


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_classes_are_those_of_torchmetrics(seed):
    """Seed 1: a class that is predicted but never true; 2: one that is true but never predicted; 3: one in neither."""
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 7 - (seed in (1, 3)), 60), rng.integers(seed == 2, 7 - (seed == 3), 60)
    metrics = classification_metrics(labels.astype(np.uint8), predicted, EXPRESSIONS)
    pair = (torch.from_numpy(predicted), torch.from_numpy(labels), 7)
    assert metrics["confusion_matrix"] == reference.multiclass_confusion_matrix(*pair).tolist()
    expected = {
        "precision": reference.multiclass_precision(*pair, average=None),
        "recall": reference.multiclass_recall(*pair, average=None),
        "f1": reference.multiclass_f1_score(*pair, average=None),
        "n": np.bincount(labels, minlength=7),
    }
    assert list(metrics["per_class"]) == list(EXPRESSIONS)
    for row, found in enumerate(metrics["per_class"].values()):
        assert found == pytest.approx({key: float(values[row]) for key, values in expected.items()})
    present = np.unique(labels)
    assert metrics["macro_f1"] == pytest.approx(f1_score(labels, predicted, labels=present, average="macro"))
    assert metrics["accuracy"] == pytest.approx(float(reference.multiclass_accuracy(*pair, average="micro")))
    with warnings.catch_warnings(action="ignore"):  # scikit-learn warns of a class that is predicted and never true
        assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert metrics["accuracy_ci95"] == list(wilson_interval((labels == predicted).sum(), 60))
    assert metrics["n"] == 60


@pytest.mark.parametrize(("correct", "n"), [(8, 10), (0, 5), (5, 5), (2620, 3589)])
def test_bounds_of_the_wilson_interval_are_where_a_score_test_begins_to_reject(correct, n):
    share, quantile = correct / n, chi2.ppf(0.95, 1)
    low, high = wilson_interval(correct, n)
    assert low <= share <= high
    for bound in (low, high):
        if 0 < bound < 1:
            assert n * (share - bound) ** 2 == pytest.approx(quantile * bound * (1 - bound))


def test_calibration_by_hand():
    """Four predictions at 0.9, three of them correct; two at 0.6, both correct."""
    sure = torch.tensor([0.9, 0.1, 0, 0, 0, 0, 0]).expand(4, 7)
    unsure = torch.tensor([0.0, 0.6, 0.4, 0, 0, 0, 0]).expand(2, 7)
    measured = calibration(torch.cat([sure, unsure]), torch.tensor([0, 0, 0, 3, 1, 1]))
    assert measured.ece == pytest.approx(4 / 6 * abs(0.9 - 0.75) + 2 / 6 * abs(0.6 - 1), abs=1e-6)
    assert np.flatnonzero(measured.images).tolist() == [9, 13]  # 0.6 is 9/15, but 0.6 as float32 is above it
    assert measured.images[[9, 13]].tolist() == [2, 4]
    assert measured.confidence[[9, 13]] == pytest.approx([0.6, 0.9])
    assert measured.accuracy[[9, 13]] == pytest.approx([1, 0.75])
    assert np.isnan(measured.accuracy[0])
    assert np.isnan(measured.confidence[0])


def test_a_confidence_at_the_edge_of_a_bin_belongs_to_the_bin_below_it():
    halves_and_ones = torch.tensor([[0.5, 0.5], [0.5, 0.5], [1, 0], [0.75, 0.25]])
    measured = calibration(halves_and_ones, torch.tensor([0, 1, 0, 0]), bins=2)
    assert measured.images.tolist() == [2, 2]
    assert measured.confidence.tolist() == [0.5, 0.875]
    assert measured.accuracy.tolist() == [0.5, 1]
    assert measured.ece == pytest.approx(0.5 * 0 + 0.5 * 0.125)


@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_the_calibration_error_is_that_of_torchmetrics(sharpness):
    random = torch.Generator().manual_seed(1)
    probabilities = (sharpness * torch.randn(500, 7, generator=random, dtype=torch.float64)).softmax(1)
    labels = torch.randint(0, 7, (500,), generator=random)
    expected = reference.multiclass_calibration_error(probabilities, labels, 7, n_bins=15, norm="l1")  # in 32 bits
    assert calibration(probabilities, labels).ece == pytest.approx(float(expected), abs=1e-7)


def test_the_fitted_temperature_is_the_factor_by_which_logits_were_sharpened():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 7, generator=random, dtype=torch.float64) * 1.5
    labels = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    too_sure = (3 * logits).softmax(1)
    temperature = fit_temperature(too_sure, labels)
    assert temperature == pytest.approx(3, rel=0.03)
    calibrated = apply_temperature(too_sure, temperature)
    assert torch.equal(calibrated.argmax(1), logits.argmax(1))
    assert torch.allclose(apply_temperature(too_sure, 3.0), logits.softmax(1))
    before, after = (calibration(probabilities.float(), labels).ece for probabilities in (too_sure, calibrated))
    assert after < 0.02 < 0.1 < before


def test_a_temperature_is_fitted_where_every_prediction_is_correct_or_a_probability_is_zero():
    certain = torch.eye(7)
    assert fit_temperature(certain, torch.arange(7)) > 0
    assert apply_temperature(certain, 2.0).isfinite().all()


def test_mcnemar_by_hand():
    # of ten images five only the first predicts correctly, one only the second: p = 2 (1 + 6) / 2^6
    first = np.array([1, 1, 1, 1, 1, 0, 1, 1, 0, 0], dtype=bool)
    second = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 0], dtype=bool)
    found = mcnemar(first, second)
    assert (found["only_first_right"], found["only_second_right"]) == (5, 1)
    assert found["p_value"] == pytest.approx(14 / 64)
    assert found["difference"] == pytest.approx(0.4)
    assert found["difference_ci95"] == pytest.approx([0.4 - 0.4111, 0.4 + 0.4111], abs=1e-4)  # 1.96 sqrt(4.4) / 10
    assert mcnemar(second, first)["difference"] == pytest.approx(-0.4)


def test_a_classifier_does_not_differ_from_itself():
    correct = np.array([True, False, True])
    assert mcnemar(correct, correct)["p_value"] == 1
    assert mcnemar(correct, correct)["difference_ci95"] == [0, 0]


def test_the_deviation_over_seeds_is_that_of_a_sample():
    assert mean_and_sd([0.6, 0.7, 0.8]) == pytest.approx({"mean": 0.7, "sd": 0.1})
    assert mean_and_sd([0.6]) == {"mean": 0.6, "sd": None}
