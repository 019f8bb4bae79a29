"""Duplicates in a set of faces: exact, mirrored and near copies, images of one grey value, and their counts."""

import csv
import io
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fer_lightning.data.faces import SPLITS, Faces, copy_groups
from fer_lightning.data.fer2013 import OFFICIAL_COUNTS, has_official_counts
from fer_lightning.data.near_copies import NearPairs, near_pairs
from fer_lightning.expressions import EXPRESSIONS

KINDS = {
    "conflicts": "Exact copies with different labels",
    "leaks": "Exact copies in different splits",
    "exact": "Exact copies, the largest groups first",
    "mirrored": "Mirrored copies",
    "near": "Near copies, the least similar first",
    "flat": "Images of one grey value or colour",
}
"""Kinds of findings that `Duplicates.groups` lists, and their titles."""


def find_duplicates(faces: Faces, threshold: float) -> "Duplicates":
    """Find copies within and across all splits. threshold: least correlation of near copies, above 0, at most 1."""
    exact = copy_groups(faces.images, mirrored=False)
    first = np.unique(exact, return_index=True)[1]
    different = np.ascontiguousarray(faces.images[first])
    mirrored = _mirrored_pairs(different)
    near = near_pairs(different, threshold)
    known = set(map(tuple, mirrored.tolist()))
    others = np.array([tuple(pair) not in known for pair in near.pairs.tolist()], dtype=bool)
    order = np.flatnonzero(others)[np.argsort(near.correlation[others], kind="stable")]
    flat = faces.images.min(axis=(1, 2)) == faces.images.max(axis=(1, 2))
    flat = flat if flat.ndim == 1 else flat.all(axis=1)
    return Duplicates(faces, threshold, exact, first, mirrored, NearPairs(*(part[order] for part in near)), flat)


def _mirrored_pairs(images: np.ndarray) -> np.ndarray:
    """Pairs of images that mirror each other, (P, 2), ascending. images: (N, H, W) or (N, H, W, 3), no two equal."""
    numbers = {image.tobytes(): number for number, image in enumerate(images)}
    mirrors = enumerate(numbers.get(image[:, ::-1].tobytes(), -1) for image in images)
    return np.array([pair for pair in mirrors if pair[0] < pair[1]], dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Duplicates:
    """The duplicates in `faces`.

    exact: (N,) group of byte-identical images, numbered in order of first appearance; first: (G,) the first row of
    each. mirrored: (P, 2) pairs of groups whose images mirror each other. near: other pairs of groups whose images
    correlate by `threshold` or more, plain or mirrored, the least similar first. flat: (N,) bool, of one colour.
    """

    faces: Faces
    threshold: float
    exact: np.ndarray
    first: np.ndarray
    mirrored: np.ndarray
    near: NearPairs
    flat: np.ndarray

    def figures(self) -> dict[str, Any]:
        """The figures of audit.json: of exact copies, then with mirrored and with near ones counted as copies too."""
        faces, counts = self.faces, {}
        for index, name in enumerate(SPLITS):
            counts[name] = dict(zip(EXPRESSIONS, faces.counts(index, len(EXPRESSIONS)), strict=True))
        near = {"pairs": len(self.near.pairs), "mirrored_pairs": int(self.near.mirrored.sum())}
        return {
            "images": len(faces),
            "splits": {name: sum(found.values()) for name, found in counts.items()},
            **count_copies(faces.labels, faces.split, self.exact),
            "mirrored": count_copies(faces.labels, faces.split, self.exact, self.mirrored),
            "near": {"threshold": self.threshold, **near}
            | count_copies(faces.labels, faces.split, self.exact, self._near_or_mirrored),
            "flat": int(self.flat.sum()),
            "class_counts": counts,
            "official_counts": {
                name: dict(zip(EXPRESSIONS, official, strict=True)) for name, official in OFFICIAL_COUNTS.items()
            },
            "has_official_counts": has_official_counts(faces),
        }

    @property
    def _near_or_mirrored(self) -> np.ndarray:
        return np.concatenate([self.near.pairs, self.mirrored])

    def table(self) -> str:
        """A csv with one row for each image that has a copy of any kind, ordered by group.

        row: its number in the data, from 0, in the order of the csv, or of split and number of the image files; exact,
        mirrored, near: its group when such copies, and those of the columns before, count as one, empty where it is
        alone.
        """
        kinds = {
            "exact": self.exact,
            "mirrored": join_groups(self.exact, self.mirrored),
            "near": join_groups(self.exact, self._near_or_mirrored),
        }
        sizes = {kind: np.bincount(groups)[groups] for kind, groups in kinds.items()}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", "split", "label", *kinds])
        for row in np.lexsort((np.arange(len(self.faces)), *kinds.values())).tolist():
            if sizes["near"][row] > 1:
                split, label = SPLITS[self.faces.split[row]], EXPRESSIONS[self.faces.labels[row]]
                numbers = (groups[row] if sizes[kind][row] > 1 else "" for kind, groups in kinds.items())
                writer.writerow([row, split, label, *numbers])
        return text.getvalue()

    def groups(self, kind: str) -> list[tuple[np.ndarray, str]]:
        """Rows and heading of each group of a kind of KINDS, in the order of its title."""
        match kind:
            case "flat":
                return [(np.array([row]), f"row {row}") for row in np.flatnonzero(self.flat).tolist()]
            case "mirrored":
                return [(self.first[pair], "") for pair in self.mirrored]
            case "near":
                return [
                    (self.first[pair], f"r = {correlation:.3f}{', mirrored' if mirrored else ''}")
                    for pair, correlation, mirrored in zip(*self.near, strict=True)
                ]
        groups = np.split(np.argsort(self.exact, kind="stable"), np.cumsum(np.bincount(self.exact))[:-1])
        differs = {"conflicts": self.faces.labels, "leaks": self.faces.split, "exact": np.arange(len(self.faces))}[kind]
        chosen = sorted((rows for rows in groups if len(np.unique(differs[rows])) > 1), key=lambda rows: -len(rows))
        return [(rows, f"{len(rows)} images" if len(rows) > 2 else "") for rows in chosen]


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
