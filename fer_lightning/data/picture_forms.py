"""Pictures of any size, grey or in colour, brought to one form, so that a set of them is one array.

A set is kept in colour where colour is wanted and one of its pictures has some. Where none of its pictures is larger
than 48 x 48 it is kept at that size, whatever size is wanted: networks enlarge it, and it takes a fraction of the room.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from fer_lightning.data.faces import SIDE
from fer_lightning.settings import InputSettings

CONVERSIONS = {
    "colour": "in colour, made grey (ITU-R 601)",
    "alpha": "with transparency, which was dropped",
    "16-bit": "of 16 bits, scaled to 8",
    "animated": "animated, of which the first picture was taken",
    "rotated": "turned upright as their EXIF says",
    "size": "of another size, cropped to a square and scaled to {side}x{side}",
}
"""Conversions that are counted, as the notes name them."""

CHUNK = 256
"""Pictures compared at once."""


class PictureForm(NamedTuple):
    """What a set is read as, at most. channels: 1 grey, 3 colour; side: height and width, pixels, 48 or more."""

    channels: int = 1
    side: int = SIDE

    @classmethod
    def of(cls, settings: InputSettings) -> "PictureForm":
        """The form for networks of these settings."""
        return cls(settings.channels, max(SIDE, settings.size))


FER2013_FORM = PictureForm()
"""Grey, 48 x 48: that of the set itself."""


def fit_picture(image: Image.Image, form: PictureForm, conversions: Counter[str]) -> np.ndarray:
    """An upright picture of mode L or RGB, (side, side) or, of one with colour in it, (side, side, 3), uint8.

    side: 48 of one that fits in 48 x 48, else that of the form; the middle square, as `ImageOps.fit` resizes it.
    """
    if image.mode != "L" and form.channels == 1:
        conversions["colour"] += 1
        image = image.convert("L")
    elif image.mode != "L" and not has_colour(np.asarray(image)[None]).any():
        image = image.getchannel(0)
    side = SIDE if max(image.size) <= SIDE else form.side
    if image.size != (side, side):
        conversions["size"] += 1
        image = ImageOps.fit(image, (side, side))
    return np.asarray(image)


def fit_pictures(images: np.ndarray, form: PictureForm, conversions: Counter[str]) -> np.ndarray:
    """Pictures of one size, (N, H, W) or (N, H, W, 3) uint8, as `fit_picture` brings each to the form."""
    if images.ndim == 4 and form.channels == 3 and not has_colour(images).any():
        images = images[..., 0]
    plain = images.ndim == 3 or form.channels == 3
    if images.shape[1:3] in ((SIDE, SIDE), (form.side, form.side)) and plain:
        return images
    return joined([[fit_picture(Image.fromarray(image), form, conversions) for image in images]], conversions)


def has_colour(images: np.ndarray) -> np.ndarray:
    """Which pictures (N, H, W, 3) hold a pixel whose channels differ, (N,) bool; of grey ones (N, H, W), none."""
    if images.ndim == 3:
        return np.zeros(len(images), bool)
    chunks = (images[start : start + CHUNK] for start in range(0, len(images), CHUNK))
    found = [((part[..., 0] != part[..., 1]) | (part[..., 0] != part[..., 2])).any(axis=(1, 2)) for part in chunks]
    return np.concatenate(found) if found else np.zeros(0, bool)


def joined(parts: Sequence[Sequence[np.ndarray] | np.ndarray], conversions: Counter[str]) -> np.ndarray:
    """Square pictures, grey and in colour, of several sizes, as one array: (N, side, side) or (N, side, side, 3).

    The larger size is taken for all, and colour where one has it; what that changes is counted.
    """
    parts = [part for part in parts if len(part)]
    if not parts:
        return np.empty((0, SIDE, SIDE), np.uint8)
    side = max(picture.shape[0] for part in parts for picture in part)
    in_colour = any(picture.ndim == 3 for part in parts for picture in part)
    if len(parts) == 1 and isinstance(parts[0], np.ndarray):
        return parts[0]
    count = sum(len(part) for part in parts)
    images = np.empty((count, side, side, 3) if in_colour else (count, side, side), np.uint8)
    for row, picture in enumerate(picture for part in parts for picture in part):
        sized = picture
        if picture.shape[0] != side:
            conversions["size"] += 1
            sized = np.asarray(ImageOps.fit(Image.fromarray(picture), (side, side)))
        images[row] = sized[..., None] if in_colour and sized.ndim == 2 else sized
    return images


def notes_on(conversions: Counter[str], side: int) -> list[str]:
    """What was converted, one sentence for each kind."""
    counts = sorted((kind, count) for kind, count in conversions.items() if count)
    return [f"{images(count)} {CONVERSIONS[kind].format(side=side)}." for kind, count in counts]


def notes_on_form(pictures: np.ndarray, form: PictureForm) -> list[str]:
    """What a network of another form than these pictures will make of them. pictures: (N, H, W) or (N, H, W, 3)."""
    notes = []
    grey = len(pictures) - int(has_colour(pictures).sum())
    if form.channels == 3 and grey:
        which = f"all {images(grey)}" if grey == len(pictures) else f"{grey:,} of {images(len(pictures))}"
        notes.append(f"data.channels=3: {which} {'are' if len(pictures) > 1 else 'is'} grey, the same in each channel.")
    if pictures.shape[1] < form.side and len(pictures):
        notes.append(f"data.size={form.side}: the images have {SIDE}x{SIDE} pixels, which the network enlarges.")
    return notes


def images(count: int) -> str:
    """A number of images in words."""
    return f"{count:,} image{'s' if count > 1 else ''}"
