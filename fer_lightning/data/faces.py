"""Faces: the one currency that every reader returns, and that the cache keeps."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

SIDE = 48
"""Height and width of a face in pixels."""

SPLITS = ("train", "val", "test")
"""Training = train, PublicTest = val, PrivateTest = test. `Faces.split` holds an index into this."""

TRAIN, VAL, TEST = range(3)


@dataclass(frozen=True)
class Faces:
    """Labelled grey faces with their split.

    images: (N, 48, 48) uint8; labels: (N,) uint8, an index into EXPRESSIONS; split: (N,) uint8, an index into SPLITS;
    copy_groups: (N,) int32, equal for images that are copies, or mirrored copies, of one another.
    notes: what the reader did that its user should know, one sentence each ("3 colour images were made grey").
    """

    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    copy_groups: np.ndarray
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, split: int) -> np.ndarray:
        """Row numbers of one split, ascending."""
        return np.flatnonzero(self.split == split)

    def counts(self, split: int, classes: int) -> list[int]:
        """Number of images of each class in one split."""
        return np.bincount(self.labels[self.split == split], minlength=classes).tolist()


def picture_key(image: np.ndarray) -> bytes:
    """A checksum that a picture shares with its mirror image and with nothing else. image: (H, W) uint8."""
    return hashlib.blake2b(min(image.tobytes(), image[:, ::-1].tobytes()), digest_size=16).digest()


def copy_groups(images: np.ndarray) -> np.ndarray:
    """Number the groups of byte-identical images, mirrored or not. images: (N, H, W) uint8; returns (N,) int32.

    Groups are numbered in order of first appearance, so the result depends on the images alone.
    """
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(picture_key(image), len(numbers)) for image in images], dtype=np.int32)
