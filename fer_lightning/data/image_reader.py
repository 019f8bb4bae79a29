"""Faces from image files, JPEG or PNG, whose folders and names give expression and split."""

import io
import re
from collections import Counter
from functools import lru_cache

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from fer_lightning.data.archives import Member
from fer_lightning.data.faces import SIDE, TRAIN
from fer_lightning.data.fer2013 import LABEL_NAMES, SPLIT_NAMES
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

MAX_IMAGE_BYTES = 32 << 20
MAX_IMAGE_PIXELS = 16 << 20
MAX_SCANS = 100  # of a progressive JPEG; ten are usual, and each takes as long as a picture, however few its bytes
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm")

CONVERSIONS = {
    "colour": "in colour, made grey (ITU-R 601)",
    "alpha": "with transparency, which was dropped",
    "16-bit": "of 16 bits, scaled to 8",
    "animated": "animated, of which the first picture was taken",
    "rotated": "turned upright as their EXIF says",
    "size": f"of another size, cropped to a square and scaled to {SIDE}x{SIDE}",
}
"""Conversions that `read_image` counts, as the notes name them."""

_FORMATS: dict[str, type[ImageFile]] = {"JPEG": JpegImageFile, "PNG": PngImageFile}
_START_OF_SCAN = b"\xff\xda"
_USAGE_PREFIX = re.compile(r"(training|publictest|privatetest)[_-]", re.IGNORECASE)
_NUMBERING = re.compile(r"\d+[ _.-]+(?=\D)")


class ImageReader:
    """Reads image files one by one; `arrays` returns them in an order that does not depend on their container."""

    def __init__(self) -> None:
        self._pixels = bytearray()
        self._keys: list[tuple[int, str, str, str, int]] = []  # split, number, expression, name, label
        self._conversions: Counter[str] = Counter()
        self._unlabelled: list[str] = []
        self._without_split = 0

    def __len__(self) -> int:
        return len(self._keys)

    @staticmethod
    def accepts(member: Member) -> bool:
        """Whether the member is an image by its content or its name."""
        return member.form in _FORMATS or member.name.lower().endswith(IMAGE_SUFFIXES)

    def add(self, member: Member) -> None:
        """Read one image. Images in no expression's folder are left out. Raises InputError when it is broken."""
        label, split = label_and_split(member.name)
        if label is None:
            self._unlabelled.append(member.name)
            return
        if member.form not in _FORMATS:
            raise InputError(f"{member.where}: broken image: neither JPEG nor PNG, but {member.form}")
        data = member.read(MAX_IMAGE_BYTES + 1)
        self._pixels += read_image(data, member.form, member.where, self._conversions)
        self._without_split += split is None
        self._keys.append((split or TRAIN, image_number(member.name), EXPRESSIONS[label], member.name, label))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images (N, 48, 48), labels (N,) and split (N,), uint8. An image of unknown split is of train.

        Sorted by split, then number in the file name (as text: FER2013's own order), then expression.
        """
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        images = np.frombuffer(self._pixels, np.uint8).reshape(-1, SIDE, SIDE)[order]
        keys = [self._keys[row] for row in order]
        return images, np.array([key[-1] for key in keys], np.uint8), np.array([key[0] for key in keys], np.uint8)

    def notes(self) -> list[str]:
        """What was converted and what was left out, one sentence each."""
        notes = [f"{_images(count)} {CONVERSIONS[kind]}." for kind, count in sorted(self._conversions.items())]
        if self._without_split:
            notes.append(f"{_images(self._without_split)} in no split's folder: taken for train.")
        if self._unlabelled:
            count, first = len(self._unlabelled), self._unlabelled[0]
            notes.append(f"{_images(count)} in no expression's folder: left out ({first}).")
        return notes


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count > 1 else ''}"


def read_image(data: bytes, form: str, where: str, conversions: Counter[str]) -> bytes:
    """The 48*48 grey pixels of an image file, row by row.

    form: "JPEG" or "PNG". Conversions are counted in `conversions` by the keys of CONVERSIONS. Raises InputError, which
    begins with `where`, for a broken or a huge image.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise InputError(f"{where}: an image file of more than {MAX_IMAGE_BYTES:,} bytes")
    if form == "JPEG" and data.count(_START_OF_SCAN) > MAX_SCANS:
        raise InputError(f"{where}: a JPEG of more than {MAX_SCANS} scans")
    try:
        image: Image.Image = _FORMATS[form](io.BytesIO(data))
        width, height = image.size
        if width * height > MAX_IMAGE_PIXELS:
            raise InputError(f"{where}: {width}x{height} pixels; at most {MAX_IMAGE_PIXELS:,} are read")
        if form == "JPEG" and image.mode == "L" and image.size == (SIDE, SIDE) and "exif" not in image.info:  # usual
            return image.tobytes()
        return _grey_face(image, conversions).tobytes()
    except InputError:
        raise
    except Exception as error:  # decoders raise many types for hostile bytes
        raise InputError(f"{where}: broken {form}: {error}") from error


def _grey_face(image: Image.Image, conversions: Counter[str]) -> Image.Image:
    if getattr(image, "is_animated", False):
        conversions["animated"] += 1
    image.load()
    if image.has_transparency_data:
        conversions["alpha"] += 1
    if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        conversions["rotated"] += 1
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        conversions["16-bit"] += 1
        image = Image.fromarray((np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8))
    elif image.mode in ("1", "LA"):
        image = image.convert("L")
    elif image.mode != "L":
        conversions["colour"] += 1
        image = (image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("RGB").convert("L")
    if image.size != (SIDE, SIDE):
        conversions["size"] += 1
        image = ImageOps.fit(image, (SIDE, SIDE))
    return image


def label_and_split(name: str) -> tuple[int | None, int | None]:
    """Label and split of an image from its path, None where the path does not tell.

    The folder nearest to the image decides (`train/happy/1.jpg`, `happy/train/1.jpg`, `train.zip/3_happy/1.jpg`), but a
    file name that begins with its Usage (`test/sad/PublicTest_12.jpg`) decides the split over any folder.
    """
    folder, _, file = name.rpartition("/")
    label, split = _label_and_split_of_folder(folder)
    if usage := _USAGE_PREFIX.match(file):
        split = SPLIT_NAMES[usage[1].lower()]
    return label, split


@lru_cache(maxsize=1024)
def _label_and_split_of_folder(folder: str) -> tuple[int | None, int | None]:
    names = [_NUMBERING.sub("", part.lower(), count=1).split(".")[0].strip() for part in reversed(folder.split("/"))]
    label = next((LABEL_NAMES[name] for name in names if name in LABEL_NAMES), None)
    return label, next((SPLIT_NAMES[name] for name in names if name in SPLIT_NAMES), None)


def image_number(name: str) -> str:
    """The file name without folder, Usage and suffix ("10118481"); it orders the images of a split."""
    return _USAGE_PREFIX.sub("", name.rpartition("/")[2].rpartition(".")[0], count=1)
