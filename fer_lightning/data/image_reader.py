"""One image file as a 48x48 grey face."""

import io
from collections import Counter

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from fer_lightning.data.bounds import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from fer_lightning.data.faces import SIDE
from fer_lightning.errors import InputError

CONVERSIONS = {
    "colour": "in colour, made grey (ITU-R 601)",
    "alpha": "with transparency, which was dropped",
    "16-bit": "of 16 bits, scaled to 8",
    "animated": "animated, of which the first picture was taken",
    "rotated": "turned upright as their EXIF says",
    "size": f"of another size, cropped to a square and scaled to {SIDE}x{SIDE}",
}
"""What an image may need before it is a face; `read_face` counts these."""

START_OF_SCAN = b"\xff\xda"
MAX_SCANS = 100
"""A progressive JPEG has about ten."""

_FORMATS: dict[str, type[ImageFile]] = {"JPEG": JpegImageFile, "PNG": PngImageFile}
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def read_face(data: bytes, form: str, where: str, conversions: Counter[str]) -> bytes:
    """The 48*48 grey pixels of a JPEG or PNG, row by row.

    form: "JPEG" or "PNG", from the first bytes. What had to be done to the image is counted in `conversions`, under
    the keys of CONVERSIONS. Raises InputError, which begins with `where`, on a broken or a huge image.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise InputError(f"{where}: an image file of more than {MAX_IMAGE_BYTES:,} bytes")
    if form == "JPEG" and data.count(START_OF_SCAN) > MAX_SCANS:
        raise InputError(f"{where}: a JPEG of more than {MAX_SCANS} scans; a few bytes each take as long as a picture")
    try:
        image: Image.Image = _FORMATS[form](io.BytesIO(data))
        width, height = image.size
        if width * height > MAX_IMAGE_PIXELS:
            raise InputError(f"{where}: {width}x{height} pixels; at most {MAX_IMAGE_PIXELS:,} are read")
        if image.mode == "L" and image.size == (SIDE, SIDE) and "exif" not in image.info and form == "JPEG":
            return image.tobytes()
        return _converted(image, conversions).tobytes()
    except InputError:
        raise
    except Exception as error:  # a decoder given hostile bytes raises whatever it likes
        raise InputError(f"{where}: broken {form}: {error}") from error


def _converted(image: Image.Image, conversions: Counter[str]) -> Image.Image:
    if getattr(image, "is_animated", False):
        conversions["animated"] += 1
    image.load()
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    if image.has_transparency_data:
        conversions["alpha"] += 1
    grey = _grey(image, conversions)
    if turn is not None:
        conversions["rotated"] += 1
        grey = grey.transpose(turn)
    if grey.size != (SIDE, SIDE):
        conversions["size"] += 1
        grey = ImageOps.fit(grey, (SIDE, SIDE))
    return grey


def _grey(image: Image.Image, conversions: Counter[str]) -> Image.Image:
    if image.mode == "L":
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        conversions["16-bit"] += 1
        return Image.fromarray((np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8))
    if image.mode in ("1", "LA"):
        return image.convert("L")
    conversions["colour"] += 1
    colour = image.convert("RGBA") if image.mode in ("P", "PA") else image
    return colour.convert("RGB").convert("L")
