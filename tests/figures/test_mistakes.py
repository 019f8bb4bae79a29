"""Mistakes, confused pairs and doubtful labels, counted by hand."""

import numpy as np
import torch
from torch import nn

from fer_lightning.figures.mistakes import (
    confident_mistakes,
    confused_pairs,
    mistakes_sheet,
    pairs_figure,
    probably_mislabelled,
)
from fer_lightning.figures.sheets import png


def test_the_most_confident_mistakes_come_first():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.05, 0.95]])
    labels = torch.tensor([1, 0, 0, 1])
    assert confident_mistakes(probabilities, labels).tolist() == [0, 1, 2]
    assert confident_mistakes(probabilities, labels, most=1).tolist() == [0]


def test_confused_pairs_are_the_cells_beside_the_diagonal_by_their_share():
    matrix = np.array([[8, 2, 0], [1, 1, 0], [0, 30, 70]])
    pairs = confused_pairs(matrix)
    assert pairs == [(1, 0, 1, 0.5), (2, 1, 30, 0.3), (0, 1, 2, 0.2)]
    axes = pairs_figure(pairs, ["angry", "fear", "sad"]).axes[0]
    assert axes.get_yticklabels()[0].get_text() == "fear taken for angry"
    assert [text.get_text() for text in axes.texts] == [" 50% (1)", " 30% (30)", " 20% (2)"]
    assert confused_pairs(np.zeros((3, 3), int)) == []


def test_labels_that_were_swapped_are_found():
    random = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (400,), generator=random)
    logits = torch.randn(400, 4, generator=random) + 8 * nn.functional.one_hot(truth, 4)
    labels = truth.clone()
    swapped = torch.randperm(400, generator=random)[:20]
    labels[swapped] = (labels[swapped] + 1) % 4
    found = probably_mislabelled(logits.softmax(dim=1), labels)
    assert len(set(found.tolist()) & set(swapped.tolist())) >= 18
    assert len(found) <= 24
    own = logits.softmax(dim=1).gather(1, labels[:, None])[found, 0]
    assert (own.diff() >= 0).all()


def test_a_class_without_labels_makes_no_label_doubtful():
    probabilities = torch.tensor([[0.1, 0.2, 0.7], [0.2, 0.7, 0.1]])
    assert probably_mislabelled(probabilities, torch.tensor([0, 1])).tolist() == []


def test_the_sheet_says_the_prediction_and_the_label(drawn_text):
    faces, probabilities = torch.zeros(2, 1, 48, 48), torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    names, labels = ["happy", "sad"], torch.tensor([1, 1])
    mistakes_sheet(faces, probabilities, labels, torch.tensor([0]), names, "net")
    assert drawn_text == ["net", "predicted happy 90%", "label sad 10%"]
    drawn_text.clear()
    empty = mistakes_sheet(faces, probabilities, labels, torch.tensor([], dtype=torch.int64), names, "net")
    assert drawn_text == ["net: none"]
    assert png(empty)
