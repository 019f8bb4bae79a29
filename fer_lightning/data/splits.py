"""A validation part, drawn where a source has none, so that every copy of it gives the same one."""

import numpy as np

from fer_lightning.data.faces import picture_key

VAL_FRACTION = 1 / 8
"""Of Training's 28,709 images 3,589: as many as PublicTest holds."""


def drawn_val(images: np.ndarray, labels: np.ndarray, copy_groups: np.ndarray) -> np.ndarray:
    """Which images go to val: about an eighth of each class, whole copy groups, at least one group staying in train.

    images: (N, H, W) uint8, labels: (N,), copy_groups: (N,); returns (N,) bool. No random number is drawn: groups are
    taken in the order of a checksum of their picture, so the same images give the same split in whatever order they
    come. A group whose copies carry different labels counts as the first of these in EXPRESSIONS.
    """
    _, first, group, size = np.unique(copy_groups, return_index=True, return_inverse=True, return_counts=True)
    group_label = np.full(len(first), np.iinfo(labels.dtype).max, dtype=labels.dtype)
    np.minimum.at(group_label, group, labels)
    room = np.round(np.bincount(group_label, weights=size) * VAL_FRACTION)
    in_val = np.zeros(len(first), dtype=bool)
    for number in sorted(range(len(first)), key=lambda number: picture_key(images[first[number]])):
        label = group_label[number]
        if size[number] <= room[label]:
            room[label] -= size[number]
            in_val[number] = True
    return in_val[group]
