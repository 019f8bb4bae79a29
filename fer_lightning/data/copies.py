"""Copies of pictures, exact, mirrored and near: their groups, what they cost, and how they cross the splits."""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fer_lightning.data.faces import SPLITS, TRAIN


def exact_groups(images: np.ndarray) -> np.ndarray:
    """Number the groups of byte-identical images in order of first appearance. (N, H, W) uint8 to (N,) int32."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(image.tobytes(), len(numbers)) for image in images], dtype=np.int32)


def joined_groups(groups: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Groups that pairs join, chains of pairs too. groups: (N,) from 0; pairs: (P, 2) group numbers; (N,) int32."""
    count = int(groups.max(initial=-1)) + 1
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int32)[groups]


def mirrored_pairs(images: np.ndarray) -> np.ndarray:
    """Pairs of different images that mirror each other. (N, H, W) uint8, no two equal; returns (P, 2), ascending."""
    numbers = {image.tobytes(): number for number, image in enumerate(images)}
    others = [numbers.get(image[:, ::-1].tobytes(), -1) for image in images]
    return np.array([pair for pair in enumerate(others) if pair[0] < pair[1]], dtype=np.int64).reshape(-1, 2)


def stand_in(images: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which images have an exact copy among `others`, and which have an exact or a mirrored one: two (N,) bool.

    images: (N, H, W) uint8; others: (M, H, W) uint8.
    """
    known = {other.tobytes() for other in others}
    exact = np.array([image.tobytes() in known for image in images], dtype=bool)
    mirrored = np.array([image[:, ::-1].tobytes() in known for image in images], dtype=bool)
    return exact, exact | mirrored


def group_counts(groups: np.ndarray, labels: np.ndarray) -> dict[str, int]:
    """How many groups there are (`unique`), images beyond the first of theirs (`redundant`), and groups of several
    labels (`conflicting_groups`). groups, labels: (N,)."""
    unique = len(np.unique(groups))
    labels_of_groups = np.unique(np.stack([groups, labels], axis=1), axis=0)
    several = np.unique(labels_of_groups[:, 0], return_counts=True)[1] > 1
    return {"unique": unique, "redundant": len(groups) - unique, "conflicting_groups": int(several.sum())}


def redundant_within(groups: np.ndarray, split: np.ndarray) -> dict[str, int]:
    """Images of each split beyond the first of their group there, by the split's name. groups, split: (N,)."""
    held = {name: groups[split == number] for number, name in enumerate(SPLITS)}
    return {name: len(members) - len(np.unique(members)) for name, members in held.items()}


def leaks(groups: np.ndarray, split: np.ndarray, pairs: np.ndarray | None = None) -> dict[str, int]:
    """Images of one split that have a copy in another: `val_in_train`, `test_in_train`, `test_in_val`.

    groups: (N,) from 0; split: (N,), an index into SPLITS. pairs: (P, 2) numbers of groups whose images count as copies
    of each other; only direct pairs do, not chains.
    """
    held = np.zeros((int(groups.max(initial=-1)) + 1, len(SPLITS)), dtype=bool)
    held[groups, split] = True
    beside = held.copy()
    if pairs is not None:
        np.logical_or.at(beside, pairs[:, 0], held[pairs[:, 1]])
        np.logical_or.at(beside, pairs[:, 1], held[pairs[:, 0]])
    return {
        f"{SPLITS[later]}_in_{SPLITS[earlier]}": int(beside[groups[split == later], earlier].sum())
        for earlier, later in sorted(combinations(range(len(SPLITS)), 2), key=lambda pair: pair[::-1])
    }


class UniqueRows(NamedTuple):
    """rows: of train, ascending, that `unique_training_rows` keeps. held_out: how many it leaves out as copies of a val
    or test image; repeated: how many further ones as copies of a kept image."""

    rows: np.ndarray
    held_out: int
    repeated: int


def unique_training_rows(copy_groups: np.ndarray, split: np.ndarray) -> UniqueRows:
    """Training rows without the copies of a val or test image, and with the first image of each group.

    copy_groups: (N,), as of `faces.copy_groups`: mirrored copies count too. split: (N,), an index into SPLITS.
    """
    train = np.flatnonzero(split == TRAIN)
    apart = train[~np.isin(copy_groups[train], copy_groups[split != TRAIN])]
    rows = np.sort(apart[np.unique(copy_groups[apart], return_index=True)[1]])
    return UniqueRows(rows, len(train) - len(apart), len(apart) - len(rows))


def flat_images(images: np.ndarray) -> np.ndarray:
    """Which images are of one grey value. (N, H, W) to (N,) bool."""
    pixels = images.reshape(len(images), -1)
    return pixels.min(axis=1) == pixels.max(axis=1)


def found_copies(
    labels: np.ndarray, split: np.ndarray, groups: np.ndarray, pairs: np.ndarray | None = None
) -> dict[str, Any]:
    """`group_counts`, `redundant_within` and `leaks`, as audit.json holds them; with pairs, of the groups they join."""
    joined = groups if pairs is None else joined_groups(groups, pairs)
    within = redundant_within(joined, split)
    return {**group_counts(joined, labels), "redundant_within": within, "leaks": leaks(groups, split, pairs)}
