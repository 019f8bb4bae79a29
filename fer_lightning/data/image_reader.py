"""Faces from image files, JPEG or PNG, whose folders and names give expression and split."""

import hashlib
import io
import re
from collections import Counter
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from fer_lightning.data.archives import Member, hidden_part
from fer_lightning.data.faces import SIDE, TRAIN
from fer_lightning.data.label_names import LabelNames, folder_key, key_of, like
from fer_lightning.data.picture_forms import FER2013_FORM, PictureForm, fit_picture, joined, notes_on
from fer_lightning.data.picture_forms import images as _images
from fer_lightning.data.split_names import split_of_folder, split_of_usage
from fer_lightning.data.twin_folders import find_twins
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

MAX_IMAGE_BYTES = 32 << 20
MAX_IMAGE_PIXELS = 16 << 20
MAX_SCANS = 100  # of a progressive JPEG; ten are usual, and each takes as long as a picture, however few its bytes
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm")

_FORMATS: dict[str, type[ImageFile]] = {"JPEG": JpegImageFile, "PNG": PngImageFile}
_START_OF_SCAN = b"\xff\xda"
_USAGE_PREFIX = re.compile(r"(training|publictest|privatetest)[_-]", re.IGNORECASE)
SHOWN = 8  # folders in a note


class ImageReader:
    """Reads image files one by one; `arrays` returns them in an order that does not depend on their container."""

    def __init__(
        self,
        labels: LabelNames | None = None,
        default_split: int | None = None,
        form: PictureForm = FER2013_FORM,
    ) -> None:
        """labels: how folders are read. default_split: of images in no split's folder; None: train, which is noted."""
        self.labels, self._form = labels or LabelNames(), form
        self._default_split = default_split
        self._places: dict[str, Place] = {}
        self._pictures: list[np.ndarray] = []
        self._keys: list[tuple[int, str, str, str, int]] = []  # split, number, expression, name, label
        self._conversions: Counter[str] = Counter()
        self._side = form.side
        self._label_keys: list[str] = []
        self._unlabelled: dict[str, list[str]] = {}  # names of images, by the folder
        self._without_split: list[str] = []  # names of images
        self._twins: list[str] = []  # the note on folders that repeat others
        self._hidden: Counter[str] = Counter()  # images in hidden and system folders, by the folder

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def splits(self) -> set[int]:
        """The splits of the images, as far as folders and names tell them; -1 stands for those of the others."""
        return {key[0] for key in self._keys} | ({-1} if self._without_split else set())

    @staticmethod
    def accepts(member: Member) -> bool:
        """Whether the member is an image by its content or its name."""
        return member.form in _FORMATS or member.name.lower().endswith(IMAGE_SUFFIXES)

    def add(self, member: Member) -> None:
        """Read one image. Images in no expression's folder are left out. Raises InputError when it is broken."""
        folder, _, file = member.name.rpartition("/")
        if folder not in self._places:
            self._places[folder] = place_of(folder, self.labels)
        place = self._places[folder]
        if place.label is None or not self.labels.knows(place.label):
            if place.label is not None:
                self.labels.count_unknown(place.label)
            self._unlabelled.setdefault(place.folder, []).append(member.name)
            return
        label = self.labels.label(place.label)
        if label is None:
            return
        split = split_of_file_name(file, place.split)
        split = self._default_split if split is None else split
        if member.form not in _FORMATS:
            raise InputError(f"{member.where}: broken image: neither JPEG nor PNG, but {member.form}")
        data = member.read(MAX_IMAGE_BYTES + 1)
        self._pictures.append(read_image(data, member.form, member.where, self._conversions, self._form))
        if split is None:
            self._without_split.append(member.name)
        self._label_keys.append(place.label)
        known_split = TRAIN if split is None else split
        self._keys.append((known_split, image_number(member.name), EXPRESSIONS[label], member.name, label))

    def require_known_splits(self, where: str) -> None:
        """Raise InputError, which begins with `where`, for images in no split's folder beside others named train."""
        train = sum(key[0] == TRAIN for key in self._keys) - len(self._without_split)
        if train and self._without_split:
            count = len(self._without_split)
            raise InputError(
                f"{where}: it is not clear what to read: {_images(count)}, as {min(self._without_split)}, "
                f"{'are' if count > 1 else 'is'} in no split's folder, and {train:,} are in those of train. Name the "
                "folder train, val or test, or give one folder as data.path"
            )

    def leave_out(self, name: str) -> None:
        """Count a file of a hidden or system folder, as `archives.members` names it, where it is an image."""
        folder, _, file = name.rpartition("/")
        if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith("._"):  # macOS's attributes of a file
            self._hidden[hidden_part(folder) or folder or file] += 1

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images (N, H, H) or (N, H, H, 3), labels (N,) and split (N,), uint8. One of unknown split is of train.

        Sorted by split, then number in the file name (as text: FER2013's own order), then expression. Folders that
        repeat others are left out.
        """
        contents = [
            (key[0], key[-1], hashlib.blake2b(image.tobytes(), digest_size=16).digest())
            for key, image in zip(self._keys, self._pictures, strict=True)
        ]
        repeated, self._twins = find_twins([key[3] for key in self._keys], contents)
        self.labels.counts.subtract(self._label_keys[row] for row in np.flatnonzero(repeated).tolist())
        order = sorted(np.flatnonzero(~repeated).tolist(), key=self._keys.__getitem__)
        images = joined([[self._pictures[row] for row in order]], self._conversions)
        self._side = images.shape[1]
        keys = [self._keys[row] for row in order]
        return images, np.array([key[-1] for key in keys], np.uint8), np.array([key[0] for key in keys], np.uint8)

    def notes(self) -> list[str]:
        """What was converted and what was left out, one sentence each."""
        notes = notes_on(self._conversions, self._side)
        if self._without_split:
            notes.append(f"{_images(len(self._without_split))} in no split's folder: taken for train.")
        notes += self._twins
        return [*notes, *self.hidden(), *self.left_out()]

    def left_out(self) -> list[str]:
        """A note on images in no expression's folder, with near misses of the folders' names; empty without any."""
        if not self._unlabelled:
            return []
        told = []
        for folder, names in sorted(self._unlabelled.items(), key=lambda item: (-len(item[1]), item[0])):
            others = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            told.append(f"{len(names):,} in {folder}{like(folder)}" if folder else f"{min(names)}{others}")
        more = f"; and {len(told) - SHOWN:,} other folders" if len(told) > SHOWN else ""
        total = _images(sum(map(len, self._unlabelled.values())))
        return [f"{total} in no expression's folder: left out ({'; '.join(told[:SHOWN])}{more})."]

    def hidden(self) -> list[str]:
        """A note on images in hidden and system folders; empty without any."""
        if not self._hidden:
            return []
        told = [f"{folder} ({count:,})" for folder, count in self._hidden.most_common(3)]
        more = f" and {len(self._hidden) - 3:,} others" if len(self._hidden) > 3 else ""
        total = _images(sum(self._hidden.values()))
        return [f"{total} hidden, or in a hidden or system folder: left out ({', '.join(told)}{more})."]


def read_image(
    data: bytes, form: str, where: str, conversions: Counter[str], wanted: PictureForm = FER2013_FORM
) -> np.ndarray:
    """The picture of an image file as `picture_forms.fit_picture` returns it.

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
            return np.asarray(image)
        return fit_picture(_upright(image, conversions), wanted, conversions)
    except InputError:
        raise
    except Exception as error:  # decoders raise many types for hostile bytes
        raise InputError(f"{where}: broken {form}: {error}") from error


def _upright(image: Image.Image, conversions: Counter[str]) -> Image.Image:
    """The picture of a file, turned upright, in 8 bits, grey (mode L) or in colour (RGB)."""
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
        return Image.fromarray((np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8))
    if image.mode in ("1", "L", "LA"):
        return image.convert("L")
    return (image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("RGB")


class Place(NamedTuple):
    """What the folders of an image tell. label: a key for LabelNames, or None; folder: the one named in notes."""

    label: str | None
    split: int | None
    folder: str


def place_of(folder: str, labels: LabelNames) -> Place:
    """Label and split by the folders that an image is in (`train/happy`, `happy/train`, `train.zip/3_happy`).

    The nearest that tells decides; a name of an expression goes before a number (`happy/1`).
    """
    names = [name for name in reversed(folder.split("/")) if name]
    keys = [key_of(folder_key(name)) for name in names]
    named = next((key for key in keys if not key.isdigit() and labels.knows(key)), None)
    number = next((key for key in keys if key.isdigit()), None)
    split = next((split for name in names if (split := split_of_folder(name)) is not None), None)
    shown = next((name for name in names if split_of_folder(name) is None), names[0] if names else "")
    return Place(named or number, split, shown)


def split_of_file_name(file: str, split: int | None) -> int | None:
    """The split of an image whose folders tell `split`; a Usage at the front of its name (PublicTest_1) goes before."""
    usage = _USAGE_PREFIX.match(file)
    return split_of_usage(usage[1]) if usage else split


def image_number(name: str) -> str:
    """The file name without folder, Usage and suffix ("10118481"); it orders the images of a split."""
    return _USAGE_PREFIX.sub("", name.rpartition("/")[2].rpartition(".")[0], count=1)
