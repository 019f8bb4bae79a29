"""Faces from many image files, whose folders and names tell expression and split."""

from collections import Counter

import numpy as np

from fer_lightning.data.archive import Member
from fer_lightning.data.bounds import MAX_IMAGE_BYTES
from fer_lightning.data.faces import SIDE, TRAIN
from fer_lightning.data.image_reader import CONVERSIONS, read_face
from fer_lightning.data.naming import image_id, label_and_split
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm")
"""A file so named in an expression's folder must be an image that can be read; others there are left out."""


class ImageSet:
    """Collects images one by one; `arrays` gives them sorted, alike from whatever container they came."""

    def __init__(self) -> None:
        self._pixels = bytearray()
        self._keys: list[tuple[int, str, str, str, int]] = []
        self._conversions: Counter[str] = Counter()
        self._unplaced: list[str] = []
        self._without_split = 0

    def __len__(self) -> int:
        return len(self._keys)

    @staticmethod
    def takes(member: Member) -> bool:
        """Whether the member is an image, or claims to be one."""
        return member.form in ("JPEG", "PNG") or member.name.lower().endswith(IMAGE_SUFFIXES)

    def add(self, member: Member) -> None:
        """Read one image; raises InputError when it is broken. Images in no expression's folder are left out."""
        label, split = label_and_split(member.name)
        if label is None:
            self._unplaced.append(member.name)
            return
        if member.form not in ("JPEG", "PNG"):
            raise InputError(f"{member.where}: broken image: neither JPEG nor PNG, but {member.form}")
        self._pixels += read_face(member.read(MAX_IMAGE_BYTES + 1), member.form, member.where, self._conversions)
        self._without_split += split is None
        self._keys.append((split or TRAIN, image_id(member.name), EXPRESSIONS[label], member.name, label))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images (N, 48, 48), labels (N,), split (N,), uint8; by split, then number in the file name (as text, which is
        FER2013's own order), then expression. An image of unknown split is of train.
        """
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        images = np.frombuffer(self._pixels, np.uint8).reshape(-1, SIDE, SIDE)[order]
        labels = np.array([self._keys[row][-1] for row in order], np.uint8)
        return images, labels, np.array([self._keys[row][0] for row in order], np.uint8)

    def notes(self) -> list[str]:
        """What was done to the images, and which were left out: one sentence each."""
        said = [f"{_images(count)} {CONVERSIONS[kind]}." for kind, count in sorted(self._conversions.items())]
        if self._without_split:
            said.append(f"{_images(self._without_split)} in no split's folder: taken for train.")
        if self._unplaced:
            said.append(f"{_images(len(self._unplaced))} in no expression's folder: left out ({self._unplaced[0]}).")
        return said


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count > 1 else ''}"
