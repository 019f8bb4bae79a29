"""The audit of a set of faces: what is found, and what audit.json says of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_lightning.data.copies import exact_groups, flat_images, found_copies, joined_groups, mirrored_pairs
from fer_lightning.data.faces import SPLITS, Faces
from fer_lightning.data.near_copies import NearPairs, near_pairs
from fer_lightning.data.official import OFFICIAL, has_official_counts
from fer_lightning.expressions import EXPRESSIONS


@dataclass(frozen=True)
class Audit:
    """What was found in `faces`.

    exact: (N,) group of byte-identical images, numbered in order of first appearance; first: (G,) the first row of
    each. mirrored: (P, 2) pairs of groups whose images mirror each other. near: pairs of groups whose images correlate
    by `threshold` or more, plain or mirrored, the mirrored ones above among them. flat: (N,) bool, of one grey value.
    """

    faces: Faces
    threshold: float
    exact: np.ndarray
    first: np.ndarray
    mirrored: np.ndarray
    near: NearPairs
    flat: np.ndarray

    @property
    def only_near(self) -> NearPairs:
        """The near pairs that are no mirrored copies of each other, the least similar first."""
        known = {tuple(pair) for pair in self.mirrored.tolist()}
        others = np.array([tuple(pair) not in known for pair in self.near.pairs.tolist()], dtype=bool)
        order = np.flatnonzero(others)[np.argsort(self.near.correlation[others], kind="stable")]
        return NearPairs(*(values[order] for values in self.near))

    def joined(self) -> dict[str, np.ndarray]:
        """The (N,) group of each image among exact copies, exact or mirrored ones, and exact, mirrored or near ones."""
        return {
            "exact": self.exact,
            "mirrored": joined_groups(self.exact, self.mirrored),
            "near": joined_groups(self.exact, self._near_pairs),
        }

    @property
    def _near_pairs(self) -> np.ndarray:
        return np.concatenate([self.near.pairs, self.mirrored])

    def figures(self) -> dict[str, Any]:
        """The figures of audit.json: of exact copies, then with mirrored and with near ones counted as copies too."""
        faces = self.faces
        counts = {
            name: dict(zip(EXPRESSIONS, faces.counts(index, len(EXPRESSIONS)), strict=True))
            for index, name in enumerate(SPLITS)
        }
        return {
            "images": len(faces),
            "splits": {name: sum(found.values()) for name, found in counts.items()},
            **found_copies(faces.labels, faces.split, self.exact),
            "mirrored": found_copies(faces.labels, faces.split, self.exact, self.mirrored),
            "near": {
                "threshold": self.threshold,
                "pairs": len(self.only_near.pairs),
                "mirrored_pairs": int(self.only_near.mirrored.sum()),
            }
            | found_copies(faces.labels, faces.split, self.exact, self._near_pairs),
            "flat": int(self.flat.sum()),
            "class_counts": counts,
            "official_counts": {name: dict(zip(EXPRESSIONS, right, strict=True)) for name, right in OFFICIAL.items()},
            "has_official_counts": has_official_counts(faces),
        }


def audited(faces: Faces, threshold: float) -> Audit:
    """Look for copies in all splits together. threshold: the least correlation of near copies, above 0, at most 1."""
    exact = exact_groups(faces.images)
    first = np.unique(exact, return_index=True)[1]
    different = np.ascontiguousarray(faces.images[first])
    mirrored, near = mirrored_pairs(different), near_pairs(different, threshold)
    return Audit(faces, threshold, exact, first, mirrored, near, flat_images(faces.images))
