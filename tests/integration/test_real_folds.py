"""Folds of the real FER2013, which takes half a minute to read."""

import numpy as np

from fer_lightning.data.faces import TRAIN
from fer_lightning.data.sources import open_fer2013
from fer_lightning.training.cross_validation import assign_folds


def test_no_copy_of_a_fer2013_image_stands_on_both_sides_of_a_fold(fer2013):
    faces = open_fer2013(fer2013)
    rows = faces.rows(TRAIN)
    labels, groups = faces.labels[rows], faces.copy_groups[rows]
    assert len(np.unique(groups)) < len(rows)
    fold_of = assign_folds(labels, groups, 5)
    for fold in range(5):
        assert not set(groups[fold_of == fold]) & set(groups[fold_of != fold])
    counts = np.array([np.bincount(labels[fold_of == fold], minlength=7) for fold in range(5)])
    assert np.abs(counts - counts.mean(axis=0)).max() <= 5
