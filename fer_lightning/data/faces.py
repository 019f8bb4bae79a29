"""Faces: images, labels and splits, as every reader returns them; copies among the images."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from fer_lightning.seeding import SUBSET, stream_seed

SIDE = 48
"""Height and width of FER2013's faces, pixels; sets of larger pictures may be kept larger."""

SPLITS = ("train", "val", "test")
"""Training = train, PublicTest = val, PrivateTest = test. `Faces.split` holds an index into this."""

TRAIN, VAL, TEST = range(3)


@dataclass(frozen=True)
class Faces:
    """Labelled faces with their split.

    images: (N, H, H) grey or (N, H, H, 3) colour, uint8, H 48 or more; labels: (N,) uint8, an index into EXPRESSIONS;
    split: (N,) uint8, an index into SPLITS;
    copy_groups: (N,) int32, equal for images that are exact or mirrored copies of one another.
    notes: what was converted, drawn or left out, one sentence each ("3 images in colour, made grey").
    votes: (N, 10) int32 for the seven expressions and ferplus.OTHERS, where the source holds votes, or None.
    """

    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    copy_groups: np.ndarray
    notes: tuple[str, ...] = field(default=())
    votes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, split: int) -> np.ndarray:
        """Row numbers of one split, ascending."""
        return np.flatnonzero(self.split == split)

    def counts(self, split: int, classes: int) -> list[int]:
        """Number of images of each class in one split."""
        return np.bincount(self.labels[self.split == split], minlength=classes).tolist()


def picture_key(image: np.ndarray) -> bytes:
    """A checksum that an image shares with its mirror image and with no other. image: (H, W) or (H, W, 3), uint8."""
    return hashlib.blake2b(min(image.tobytes(), image[:, ::-1].tobytes()), digest_size=16).digest()


def copy_groups(images: np.ndarray, mirrored: bool = True) -> np.ndarray:
    """Number the groups of identical images in order of first appearance: (N,) int32.

    images: (N, H, W) or (N, H, W, 3), uint8. mirrored: whether an image and its mirror image are of one group.
    """
    numbers: dict[bytes, int] = {}
    keys = (picture_key(image) if mirrored else image.tobytes() for image in images)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int32)


def have_copies(images: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which images have an exact copy among `others`, and which an exact or a mirrored one: two (N,) bool.

    images: (N, H, W) or (N, H, W, 3), uint8; others: (M, H, W) or (M, H, W, 3).
    """
    known = {other.tobytes() for other in others}
    exact = np.array([image.tobytes() in known for image in images], dtype=bool)
    mirrored = np.array([image[:, ::-1].tobytes() in known for image in images], dtype=bool)
    return exact, exact | mirrored


def unique_training_rows(copy_groups: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Training rows without copies of val and test images, and with the first image of each group, ascending.

    copy_groups: (N,), as `Faces.copy_groups`: mirrored copies count too. split: (N,), an index into SPLITS. Returns
    also how many images are left out as copies of a val or test image, and how many others as copies of a kept image.
    """
    train = np.flatnonzero(split == TRAIN)
    apart = train[~np.isin(copy_groups[train], copy_groups[split != TRAIN])]
    rows = np.sort(apart[np.unique(copy_groups[apart], return_index=True)[1]])
    return rows, len(train) - len(apart), len(apart) - len(rows)


def stratified_share(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Positions, ascending, of a random share of each label's images, one at least. A larger share holds a smaller one.

    labels: (N,).
    """
    order = np.random.default_rng(stream_seed(seed, 0, SUBSET)).permutation(len(labels))
    own = [order[labels[order] == label] for label in np.unique(labels)]
    return np.sort(np.concatenate([order[:0], *(rows[: max(round(share * len(rows)), 1)] for rows in own)]))


def content_checksum(faces: Faces) -> str:
    """SHA-256 of images, labels and split: the same from whatever file the faces were read."""
    digest = hashlib.sha256(str(faces.images.shape).encode())
    for array in (faces.images, faces.labels, faces.split):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
