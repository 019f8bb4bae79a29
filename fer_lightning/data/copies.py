"""Copies of images within and across the splits: counts, leaks, and training rows without them."""

from itertools import combinations
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fer_lightning.data.faces import SPLITS, TRAIN


def unique_training_rows(copy_groups: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Training rows without copies of val and test images, and with the first image of each group, ascending.

    copy_groups: (N,), as `Faces.copy_groups`: mirrored copies count too. split: (N,), an index into SPLITS. Returns
    also how many images are left out as copies of a val or test image, and how many others as copies of a kept image.
    """
    train = np.flatnonzero(split == TRAIN)
    apart = train[~np.isin(copy_groups[train], copy_groups[split != TRAIN])]
    rows = np.sort(apart[np.unique(copy_groups[apart], return_index=True)[1]])
    return rows, len(train) - len(apart), len(apart) - len(rows)


def have_copies(images: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which images have an exact copy among `others`, and which an exact or a mirrored one: two (N,) bool.

    images: (N, H, W) uint8; others: (M, H, W) uint8.
    """
    known = {other.tobytes() for other in others}
    exact = np.array([image.tobytes() in known for image in images], dtype=bool)
    mirrored = np.array([image[:, ::-1].tobytes() in known for image in images], dtype=bool)
    return exact, exact | mirrored


def join_groups(groups: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Groups after joining those of each pair, chains of pairs too.

    groups: (N,) numbers from 0; pairs: (P, 2) group numbers; returns (N,) int32, numbered from 0.
    """
    count = int(groups.max(initial=-1)) + 1
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int32)[groups]


def count_leaks(groups: np.ndarray, split: np.ndarray, pairs: np.ndarray) -> dict[str, int]:
    """Images of one split that have a copy in another: `val_in_train`, `test_in_train`, `test_in_val`.

    groups: (N,) numbers from 0; split: (N,), an index into SPLITS. pairs: (P, 2) numbers of groups whose images count
    as copies of each other; only direct pairs do, not chains.
    """
    present = np.zeros((int(groups.max(initial=-1)) + 1, len(SPLITS)), dtype=bool)
    present[groups, split] = True
    near = present.copy()
    np.logical_or.at(near, pairs[:, 0], present[pairs[:, 1]])
    np.logical_or.at(near, pairs[:, 1], present[pairs[:, 0]])
    return {
        f"{SPLITS[later]}_in_{SPLITS[earlier]}": int(near[groups[split == later], earlier].sum())
        for earlier, later in sorted(combinations(range(len(SPLITS)), 2), key=lambda pair: pair[::-1])
    }


def count_copies(
    labels: np.ndarray, split: np.ndarray, groups: np.ndarray, pairs: np.ndarray | None = None
) -> dict[str, Any]:
    """Counts of copies as audit.json holds them, of `groups`, and with pairs of the groups that these join.

    unique: number of groups; redundant: images beyond the first of their group; conflicting_groups: groups of several
    labels; redundant_within: by the name of the split; leaks: as `count_leaks` returns them.
    """
    pairs = np.empty((0, 2), np.int64) if pairs is None else pairs
    joined = join_groups(groups, pairs)
    group_of_pair = np.unique(np.stack([joined, labels], axis=1), axis=0)[:, 0]
    within = {name: joined[split == number] for number, name in enumerate(SPLITS)}
    unique = len(np.unique(joined))
    return {
        "unique": unique,
        "redundant": len(joined) - unique,
        "conflicting_groups": int((np.unique(group_of_pair, return_counts=True)[1] > 1).sum()),
        "redundant_within": {name: len(own) - len(np.unique(own)) for name, own in within.items()},
        "leaks": count_leaks(groups, split, pairs),
    }
