"""Notes on copies: what of val and test is no further sample, and what `data.unique` leaves in train."""

from collections.abc import Sequence

import numpy as np

from fer_lightning.data.faces import SPLITS, TRAIN, Faces
from fer_lightning.data.near_copies import NEAR, are_repeated, have_near_copies

MUCH = 0.15  # share of a split's images; of FER2013's val, 10 % stand in train too, changed copies counted
AUDIT = "python -m fer_lightning.audit shows them"
NO_PAIRS = np.empty((0, 2), np.int32)


def repeated_notes(
    faces: Faces, train_rows: np.ndarray, pairs: np.ndarray | None = None, splits: Sequence[str] = ("val", "test")
) -> list[str]:
    """A note on each split of which much stands in it more than once, or in train too.

    train_rows: rows that are trained on; pairs: (P, 2) copy groups that are near copies, and count as copies; None:
    only exact and mirrored copies do.
    """
    notes, train = [], faces.copy_groups[train_rows]
    kind = "exact or mirrored copies" if pairs is None else "copies, changed ones too"
    for name in splits:
        groups = faces.copy_groups[faces.rows(SPLITS.index(name))]
        within = int(are_repeated(groups, NO_PAIRS if pairs is None else pairs).sum())
        in_train = int(have_near_copies(groups, train, NO_PAIRS if pairs is None else pairs).sum())
        found = ((within, "stand in it more than once"), (in_train, "stand in train too"))
        if told := [f"{count:,} {where}" for count, where in found if count > MUCH * len(groups)]:
            notes.append(
                f"Of {len(groups):,} images of {name}, {' and '.join(told)} ({kind}): its figures are higher, or less "
                f"certain, than those on new faces. {AUDIT}."
            )
    return notes


def near_copies_that_remain(faces: Faces, rows: np.ndarray, pairs: np.ndarray) -> str:
    """A note on the near copies among the training rows that `data.unique` keeps. pairs: as of `repeated_notes`."""
    groups = faces.copy_groups[rows]
    held_out = int(have_near_copies(groups, faces.copy_groups[faces.split != TRAIN], pairs).sum())
    within = int(are_repeated(groups, pairs).sum())
    note = (
        f"data.unique: of the {len(rows):,} that are kept, {held_out:,} are near copies of val or test images, and "
        f"{within:,} of one another (their pixels correlate by {NEAR:g} or more)"
    )
    return f"{note}. {AUDIT}." if held_out or within else f"{note}."
