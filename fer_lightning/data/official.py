"""The class counts of FER2013, and whether some faces have them."""

from typing import TypeAlias

import numpy as np

from fer_lightning.data.faces import SPLITS, Faces
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

Counts: TypeAlias = tuple[int, ...]

TRAINING: Counts = (3995, 436, 4097, 7215, 4830, 3171, 4965)
PUBLIC_TEST: Counts = (467, 56, 496, 895, 653, 415, 607)
PRIVATE_TEST: Counts = (491, 55, 528, 879, 594, 416, 626)
"""Images of each expression, in the order of EXPRESSIONS, by `Usage` (Goodfellow et al. 2013, arXiv 1307.0414)."""

OFFICIAL = dict(zip(SPLITS, (TRAINING, PUBLIC_TEST, PRIVATE_TEST), strict=True))


def has_official_counts(faces: Faces) -> bool:
    """Whether every split that is there holds the official number of images of each expression.

    Where the source has no val and one was drawn from train, both together are compared; a `test` folder may then hold
    PublicTest and PrivateTest, and a csv without Usage several parts as one.
    """
    found = {split: faces.counts(index, len(EXPRESSIONS)) for index, split in enumerate(SPLITS)}
    if all(not any(found[split]) or found[split] == list(OFFICIAL[split]) for split in SPLITS):
        return True
    learned, test = _sum(found["train"], found["val"]), tuple(found["test"])
    with_test = learned == TRAINING and test in (PRIVATE_TEST, _sum(PUBLIC_TEST, PRIVATE_TEST))
    parts_in_one = (TRAINING, _sum(TRAINING, PUBLIC_TEST), _sum(TRAINING, PUBLIC_TEST, PRIVATE_TEST))
    return with_test or (not any(test) and learned in parts_in_one)


def require_official_counts(faces: Faces, where: str) -> None:
    """Raise InputError, with a table of found and official counts, when the faces are not those of FER2013."""
    if has_official_counts(faces):
        return
    lines = [f"{'':16}" + "".join(f"{name:>9}" for name in EXPRESSIONS)]
    for index, split in enumerate(SPLITS):
        for source, counts in (("found", faces.counts(index, len(EXPRESSIONS))), ("official", OFFICIAL[split])):
            lines.append(f"{split:6}{source:10}" + "".join(f"{count:>9,}" for count in counts))
    raise InputError(
        f"{where}: the class counts are not those of FER2013. Is it a copy with augmented or re-split images, or cut "
        "off? data.check_counts=false goes on with it.\n" + "\n".join(lines)
    )


def _sum(*counts: Counts | list[int]) -> Counts:
    return tuple(np.sum(counts, axis=0).tolist())
