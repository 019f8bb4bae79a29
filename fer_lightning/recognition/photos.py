"""Pictures from files, PIL images and arrays, as upright RGB pixels in bounded memory."""

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, WebPImagePlugin

from fer_lightning.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""Pillow's names of the formats that are read; of an animation, the first frame."""

MAX_PIXELS = 100 << 20
"""Pixels of the largest picture that is read."""

MAX_WEBP_PIXELS = 90 << 20
"""The same of WebP, whose decoder holds three copies of the pixels: 12 bytes each, within 1.5 GB with all else."""

LARGE = 16 << 20
"""Pixels above which a picture is reduced to a half, a quarter, ... when it is read."""

MAX_SCANS = 100
"""Scans of a progressive JPEG; ten are usual, and each takes as long as a picture, however few its bytes."""

_OTHER_KINDS = {
    # bytes at an offset, and the kind of file that begins so
    (0, b"%PDF"): "a PDF document",
    (0, b"%!PS"): "a PostScript document",
    (0, b"8BPS"): "a Photoshop document",
    (0, b"PK\x03\x04"): "a zip archive",
    (0, b"\x1f\x8b"): "a gzip archive",
    (0, b"\x1aE\xdf\xa3"): "a Matroska or WebM video",
    (8, b"AVI "): "an AVI video",
    (0, b"FLV"): "a Flash video",
    (0, b"\xff\x0a"): "a JPEG XL picture",
    (0, b"\x00\x00\x00\x0cJXL "): "a JPEG XL picture",
    (0, b"\x00\x00\x00\x0cjP  "): "a JPEG 2000 picture",
}
_ISO_BRANDS = {
    b"heic": "an HEIC picture", b"heix": "an HEIC picture", b"heim": "an HEIC picture", b"heis": "an HEIC picture",
    b"hevc": "an HEIC picture", b"mif1": "an HEIF picture", b"msf1": "an HEIF picture", b"avif": "an AVIF picture",
    b"avis": "an AVIF picture", b"crx ": "a raw picture of a Canon camera", b"qt  ": "a QuickTime video",
}  # fmt: skip


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Of EXIF orientations."""


@dataclass(frozen=True)
class Picture:
    """An upright picture. pixels: (h, w, 3) uint8 RGB, reduced where the picture is large.

    size: width and height of the whole picture after its EXIF rotation, pixels; boxes of faces are in these.
    """

    pixels: np.ndarray
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the whole picture to one of `pixels`, across and down."""
        return self.size[0] / self.pixels.shape[1], self.size[1] / self.pixels.shape[0]


def open_picture(source: Any) -> Picture:
    """The picture of a path, a binary file, a PIL image or an array.

    Arrays are (H, W) or (H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) RGBA: uint8, other integers from 0 to 255, uint16
    from 0 to 65535, floats from 0 to 1, or bool. Transparent pixels are shown on white. Raises InputError for files
    that cannot be read and ValueError for arrays and objects of other kinds.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            with path.open("rb") as file:
                return _read(file, str(source))
        except OSError as error:
            raise InputError(f"{source}: {error.strerror or error}") from error
    if isinstance(source, Image.Image):
        return _upright(source)
    if isinstance(source, np.ndarray):
        pixels = _pixels_of_array(source)
        return Picture(pixels, (pixels.shape[1], pixels.shape[0]))
    if hasattr(source, "read"):
        return _read(io.BytesIO(source.read()), str(getattr(source, "name", "the file")))
    raise ValueError(f"{type(source).__name__}: expected a path, a binary file, a PIL image or a numpy array")


def _read(file: BinaryIO, where: str) -> Picture:
    prefix = file.read(64)
    file.seek(0)
    Image.init()
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(prefix) is True:
            break
    else:
        raise InputError(f"{where}: {_kind(prefix)}; expected JPEG, PNG, WebP, BMP, TIFF or GIF")
    try:
        image = factory(file, "")  # Image.open would refuse more than 179 megapixels, and warn above 89
        _check(image, file, where)
        return _upright(image)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{where}: not enough memory for a picture of this size") from error
    except Exception as error:  # decoders raise many types for hostile bytes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{where}: broken or cut off {name}: {reason[:200]}") from error


def _check(image: ImageFile.ImageFile, file: BinaryIO, where: str) -> None:
    width, height = image.size
    most, kind = (MAX_WEBP_PIXELS, " of a WebP") if image.format == "WEBP" else (MAX_PIXELS, "")
    if width * height > most:
        raise InputError(f"{where}: {width} x {height} pixels; at most {most / 1e6:.0f} megapixels{kind} are read")
    if image.format == "JPEG" and image.info.get("progressive"):
        place = file.tell()
        file.seek(0)
        scans = file.read().count(b"\xff\xda")
        file.seek(place)
        if scans > MAX_SCANS:
            raise InputError(f"{where}: a JPEG of more than {MAX_SCANS} scans")


def _upright(image: Image.Image) -> Picture:
    size, factor = image.size, 1
    if 0 in size:
        raise ValueError(f"a picture of {size[0]} x {size[1]} pixels")
    while size[0] * size[1] > LARGE * factor**2:
        factor *= 2
    drafted = factor > 1 and isinstance(image, ImageFile.ImageFile) and image.draft(None, _divided(size, factor))
    if factor > 1 and isinstance(image, WebPImagePlugin.WebPImageFile):
        loaded = _large_webp(image)
    else:
        image.load()  # turns a TIFF as its EXIF says
        loaded = image
    size = size if drafted else image.size
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    rgb = _rgb(loaded, max(1, round(factor * image.size[0] / size[0])))
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
        size = size[::-1] if orientation >= 5 else size
    return Picture(np.asarray(rgb), size)


def _large_webp(image: WebPImagePlugin.WebPImageFile) -> Image.Image:
    """The first frame in the memory into which the decoder copied it; `load` would add a copy."""
    pixels = image._get_next()[0]  # noqa: SLF001
    image._decoder = None  # noqa: SLF001
    return Image.frombuffer(image.rawmode, image.size, pixels, "raw", image.rawmode, 0, 1)


def _divided(size: tuple[int, int], factor: int) -> tuple[int, int]:
    return max(1, size[0] // factor), max(1, size[1] // factor)


def _rgb(image: Image.Image, factor: int) -> Image.Image:
    """The image in RGB, transparent pixels on white, reduced by a whole factor; steps in the order of least memory."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_bytes_of_numbers(np.asarray(image)[:: max(1, factor // 2), :: max(1, factor // 2)]))
        factor = min(factor, 2)
    elif image.mode in ("P", "PA", "1") or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image = image.reduce(factor) if factor > 1 else image
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


def _bytes_of_numbers(values: np.ndarray) -> np.ndarray:
    """Grey values of a picture of 16 bits, 32 bits or floating point; its range is the smallest that holds them."""
    largest = float(values.max(initial=0))
    if not np.isfinite(largest) or float(values.min(initial=0)) < 0:
        raise ValueError("grey values that are negative or not finite")
    is_small = values.dtype.kind == "f" and largest <= 1
    span = 1.0 if is_small else 255.0 if largest <= 255 and values.dtype != np.uint16 else 65535.0
    return np.clip(np.rint(values * np.float32(255 / span)), 0, 255).astype(np.uint8)


def _pixels_of_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise ValueError(f"an array of shape {array.shape}: expected (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA")
    values = np.ascontiguousarray(_bytes_of_array(array))
    image = Image.fromarray(values)
    return np.asarray(_rgb(image, 1))


def _bytes_of_array(array: np.ndarray) -> np.ndarray:
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return array
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind not in "iuf":
        raise ValueError(f"an array of {array.dtype}: expected integers, floats or bool")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= (1 if kind == "f" else 255)):  # false for NaN too
        expected = "floats from 0 to 1 (or uint8 from 0 to 255)" if kind == "f" else "integers from 0 to 255"
        raise ValueError(f"an array of {array.dtype} with values from {low:g} to {high:g}: expected {expected}")
    return np.rint(array * 255).astype(np.uint8) if kind == "f" else array.astype(np.uint8)


def _kind(prefix: bytes) -> str:
    """What a file that is no picture of ours is, by its first bytes."""
    if not prefix:
        return "an empty file"
    if prefix[4:8] == b"ftyp":
        return _ISO_BRANDS.get(prefix[8:12], "an MP4 video")
    for (offset, magic), name in _OTHER_KINDS.items():
        if prefix[offset : offset + len(magic)] == magic:
            return name
    text = prefix.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if text.startswith((b"<svg", b"<?xml")):
        return "an SVG or XML document"
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    return "a text file" if prefix.isascii() and b"\0" not in prefix else "no picture"


def square(pixels: np.ndarray, centre: tuple[float, float], side: float, size: int) -> Image.Image:
    """A square of a picture, antialiased to size x size pixels; beyond the border its edge is repeated.

    pixels: (H, W) or (H, W, 3) uint8; centre: x and y; side: of the square, pixels.
    """
    left, top = centre[0] - side / 2, centre[1] - side / 2
    first_x, first_y = math.floor(left) - 1, math.floor(top) - 1
    rows = np.arange(first_y, math.ceil(top + side) + 1).clip(0, pixels.shape[0] - 1)
    columns = np.arange(first_x, math.ceil(left + side) + 1).clip(0, pixels.shape[1] - 1)
    around = Image.fromarray(pixels[rows[:, None], columns])
    box = (left - first_x, top - first_y, left - first_x + side, top - first_y + side)
    return around.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=3)
