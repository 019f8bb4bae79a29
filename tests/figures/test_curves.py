"""Precision-recall curves and the reliability diagram against scikit-learn and numbers by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from fer_lightning.figures.curves import precision_recall_figure, reliability_figure
from fer_lightning.figures.sheets import png

NAMES = ["a", "b", "c", "d"]


def test_average_precision_is_that_of_scikit_learn_and_an_absent_class_has_no_curve():
    random = np.random.default_rng(0)
    probabilities, labels = random.dirichlet(np.ones(4), 60), random.integers(0, 3, 60)
    axes = precision_recall_figure(torch.from_numpy(probabilities), torch.from_numpy(labels), NAMES, "net").axes[0]
    areas = {NAMES[k]: average_precision_score(labels == k, probabilities[:, k]) for k in range(3)}
    best_first = sorted(areas, key=lambda name: -areas[name])
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == [f"{name} (AP = {areas[name]:.2f})" for name in best_first]
    assert f"net   mean AP {np.mean(list(areas.values())):.3f}" == axes.get_title(loc="left")
    assert len({line.get_color() for line in axes.get_lines()}) == 3


def test_a_class_keeps_its_colour_where_another_is_absent():
    probabilities, labels = torch.rand(20, 4), torch.arange(20) % 4

    def colour(labels):
        axes = precision_recall_figure(probabilities[labels > -1], labels[labels > -1], NAMES).axes[0]
        return next(line.get_color() for line in axes.get_lines() if line.get_label().startswith("d"))

    assert colour(labels) == colour(torch.where(labels == 1, -1, labels))


def test_a_reliability_figure_draws_the_numbers_that_it_is_given():
    confidence, accuracy = np.array([np.nan, 0.725]), np.array([np.nan, 0.5])
    figure = reliability_figure(confidence, accuracy, np.array([0, 4]), 0.225, "net")
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [0, 0.5]
    assert [bar.get_height() for bar in below.patches] == [0, 4]
    assert [bar.get_x() + bar.get_width() / 2 for bar in above.patches] == pytest.approx([0.25, 0.75])
    points = above.get_lines()[1].get_xydata()
    assert points[1].tolist() == [0.725, 0.5]
    assert above.get_title(loc="left") == "net   ECE 0.225"


def test_no_figure_is_registered_with_pyplot():
    figures = [
        precision_recall_figure(torch.rand(9, 3), torch.arange(9) % 3, NAMES),
        reliability_figure(np.array([0.5]), np.array([0.5]), np.array([3]), 0.0),
    ]
    assert all(png(figure).startswith(b"\x89PNG") for figure in figures)
    assert plt.get_fignums() == []
