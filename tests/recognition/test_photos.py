"""Pictures of every kind: formats, modes, EXIF, arrays, large and broken files."""

import io
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fer_lightning.errors import InputError
from fer_lightning.recognition import photos
from fer_lightning.recognition.photos import MAX_PIXELS, open_picture, square

COLOUR = Image.fromarray(data.astronaut()).resize((96, 64))
GREY = COLOUR.convert("L")


def saved(image: Image.Image, form: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return file


def rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


LOSSLESS = [
    ("PNG", COLOUR, COLOUR),
    ("BMP", COLOUR, COLOUR),
    ("TIFF", COLOUR, COLOUR),
    ("PNG", GREY, GREY),
    ("PNG", GREY.convert("1"), GREY.convert("1")),
    ("PNG", COLOUR.convert("P"), COLOUR.convert("P")),
    ("GIF", COLOUR.convert("P"), COLOUR.convert("P")),
    ("TIFF", COLOUR.convert("CMYK"), COLOUR),
    ("PNG", COLOUR.convert("RGBA"), COLOUR),
    ("PNG", GREY.convert("LA"), GREY),
    ("PNG", Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257), GREY),
    ("TIFF", Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257), GREY),
    ("TIFF", Image.fromarray(np.asarray(GREY).astype(np.int32)), GREY),
    ("TIFF", Image.fromarray(np.asarray(GREY).astype(np.float32) / 255), GREY),
]


@pytest.mark.parametrize(("form", "image", "same_as"), LOSSLESS, ids=lambda value: getattr(value, "mode", value))
def test_every_mode_of_a_lossless_file_is_read_as_its_colours(form, image, same_as):
    picture = open_picture(saved(image, form))
    assert picture.size == image.size
    np.testing.assert_array_equal(picture.pixels, rgb(same_as))


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_lossy_files_are_read_as_pillow_reads_them(form):
    np.testing.assert_array_equal(open_picture(saved(COLOUR, form)).pixels, rgb(Image.open(saved(COLOUR, form))))


def test_the_first_frame_of_an_animation_is_read():
    file = saved(GREY.convert("P"), "GIF", save_all=True, append_images=[Image.new("P", GREY.size)])
    np.testing.assert_array_equal(open_picture(file).pixels, rgb(GREY))


def test_transparent_pixels_are_white():
    image = COLOUR.convert("RGBA")
    image.putalpha(0)
    assert (open_picture(saved(image, "PNG")).pixels == 255).all()
    palette = Image.new("P", (4, 4), 3)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert (open_picture(saved(palette, "PNG", transparency=3)).pixels == 255).all()


TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera that writes an EXIF orientation has turned the picture; the inverse of what a viewer does."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
def test_pictures_are_upright_as_their_exif_says(form, orientation):
    turn = TURNED[orientation]
    stored, exif = COLOUR if turn is None else COLOUR.transpose(turn), Image.Exif()
    exif[274] = orientation
    picture = open_picture(saved(stored, form, exif=exif))
    assert picture.size == COLOUR.size
    assert picture.pixels.shape == (64, 96, 3)
    assert np.abs(picture.pixels.astype(int) - rgb(COLOUR)).mean() < (8 if form == "JPEG" else 0.01)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_picture_is_reduced_and_knows_its_own_size(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    picture = open_picture(saved(Image.new("RGB", (6000, 4000), (200, 100, 50)), "JPEG", exif=exif))
    assert picture.size == ((6000, 4000) if orientation == 1 else (4000, 6000))
    assert picture.pixels.shape[:2] == (picture.size[1] // 2, picture.size[0] // 2)
    assert picture.scale == (2, 2)


def test_arrays_of_every_type_are_the_same_picture():
    colour, grey = rgb(COLOUR), np.asarray(GREY)
    opaque = np.dstack([colour, np.full(colour.shape[:2], 255, np.uint8)])
    for array in (colour, colour.astype(int), colour / 255, colour.astype(np.uint16) * 257, opaque, colour[::-1][::-1]):
        np.testing.assert_array_equal(open_picture(array).pixels, colour)
    for array in (grey, grey[..., None], grey / np.float32(255)):
        np.testing.assert_array_equal(open_picture(array).pixels, rgb(GREY))
    np.testing.assert_array_equal(open_picture(grey > 127).pixels[..., 0], (grey > 127) * 255)
    np.testing.assert_array_equal(open_picture(COLOUR).pixels, colour)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 64, 64), np.uint8), r"shape \(3, 64, 64\)"),
        (np.zeros((64, 64, 5), np.uint8), "expected .* RGB"),
        (np.zeros((0, 64), np.uint8), "shape"),
        (np.zeros(64, np.uint8), "shape"),
        (np.full((9, 9), 200.0), "floats from 0 to 1"),
        (np.full((9, 9), np.nan), "floats from 0 to 1"),
        (np.full((9, 9), -1), "integers from 0 to 255"),
        (np.full((9, 9), 300), "integers from 0 to 255"),
        (np.zeros((9, 9), complex), "complex128"),
        (np.array([["a"]]), "<U1"),
        ([[1, 2], [3, 4]], "list"),
        (None, "NoneType"),
    ],
)
def test_other_arrays_and_objects_are_refused(array, message):
    with pytest.raises(ValueError, match=message):
        open_picture(array)


JPEG, PNG = saved(COLOUR, "JPEG").getvalue(), saved(COLOUR, "PNG").getvalue()
BROKEN = {
    "empty": (b"", "an empty file"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "an HEIC picture"),
    "avif": (b"\0\0\0\x18ftypavif", "an AVIF picture"),
    "mp4": (b"\0\0\0\x18ftypisom", "an MP4 video"),
    "svg": (b'<?xml version="1.0"?><svg/>', "an SVG"),
    "svg without a header": (b"  <svg xmlns=''/>", "an SVG"),
    "html": (b"<!DOCTYPE html>", "an HTML page"),
    "pdf": (b"%PDF-1.7", "a PDF document"),
    "text": (b"dear diary", "a text file"),
    "zip": (b"PK\x03\x04", "a zip archive"),
    "noise": (bytes(range(255, 0, -1)), "no picture"),
    "postscript": (b"%!PS-Adobe", "a PostScript document"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "broken or cut off JPEG"),
    "head of a JPEG": (JPEG[:4], "broken or cut off JPEG"),
    "half a PNG": (PNG[: len(PNG) // 2], "broken or cut off PNG"),
    "head of a PNG": (PNG[:8], "broken or cut off PNG"),
    "head of a GIF": (b"GIF89a", "broken or cut off GIF"),
    "head of a TIFF": (b"II*\0", "broken or cut off TIFF"),
    "head of a WebP": (b"RIFF\0\0\0\0WEBPVP8 ", "broken or cut off WEBP"),
    "head of a BMP": (b"BM", "broken or cut off BMP"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_are_no_pictures_get_one_line_that_says_what_they_are(name, tmp_path):
    content, message = BROKEN[name]
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        open_picture(file)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{file}: ")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded():
    header = bytearray(saved(Image.new("L", (8, 8)), "BMP").getvalue())
    header[18:26] = struct.pack("<ii", 20_000, MAX_PIXELS // 20_000 + 1)
    with pytest.raises(InputError, match="at most 105 megapixels"):
        open_picture(io.BytesIO(bytes(header)))


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "nothing.jpg", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            open_picture(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_large_webp_has_the_pixels_and_the_turn_that_pillow_gives(mode, monkeypatch):
    image = COLOUR.convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[274] = 6
    file = saved(image, "WEBP", quality=90, exif=exif)
    monkeypatch.setattr(photos, "LARGE", 64 * 96 // 4)
    found = open_picture(file)
    white = Image.new("RGBA", (48, 32), "white")
    white.alpha_composite(Image.open(file).convert("RGBA").reduce(2))
    np.testing.assert_allclose(found.pixels, np.rot90(rgb(white), -1).astype(int), atol=1)
    assert found.size == (64, 96)


def test_a_webp_beyond_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(photos, "MAX_WEBP_PIXELS", 64 * 96 - 1)
    with pytest.raises(InputError, match="megapixels of a WebP are read"):
        open_picture(saved(COLOUR, "WEBP"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("form", "side", "most"), [("png", 10_000, 1_000_000), ("webp", 9_714, 1_250_000)])
def test_100_megapixels_stay_within_the_memory(form, side, most, tmp_path):
    file = tmp_path / f"large.{form}"
    Image.new("L", (side, side), 7).save(
        file, **({"quality": 50, "method": 0} if form == "webp" else {"compress_level": 1})
    )
    code = (
        "import sys; from fer_lightning.recognition.photos import open_picture\n"
        f"picture = open_picture(sys.argv[1]); assert picture.size == ({side}, {side}), picture.size\n"
        "assert (picture.pixels == 7).all()\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    peak = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert int(peak) < most


def test_a_square_repeats_the_edge_beyond_the_border():
    ramp = np.tile(np.arange(100, dtype=np.uint8), (60, 1))
    out = np.asarray(square(ramp, (0, 30), 40, 40))
    assert (out[:, :19] == 0).all()
    np.testing.assert_array_equal(out[0, 21:], np.arange(1, 20))
    inside = np.asarray(square(ramp, (50, 30), 20, 20))
    np.testing.assert_array_equal(inside, ramp[20:40, 40:60])
    assert np.asarray(square(ramp, (500, -300), 20, 8)).shape == (8, 8)
