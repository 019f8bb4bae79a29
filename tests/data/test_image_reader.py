"""Image files of every kind become grey faces; conversions are counted; huge and broken images are refused."""

import io
import struct
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from small_sets import encoded, files_of, pictures, write_folder

from fer_lightning.data.faces import TEST, TRAIN, VAL
from fer_lightning.data.image_reader import MAX_IMAGE_BYTES, place_of, read_image, split_of_file_name
from fer_lightning.data.label_names import LabelNames
from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

FILES = files_of(pictures())
RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (48, 48, 4), dtype=np.uint8)
WIDE = RNG.integers(0, 256, (60, 96), dtype=np.uint8)
SIXTEEN = RNG.integers(0, 65536, (48, 48), dtype=np.uint16)


def turned() -> tuple[bytes, np.ndarray]:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(COLOUR[..., 0], "JPEG", exif=exif)
    return data, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


def animated() -> tuple[bytes, np.ndarray]:
    frames = [Image.fromarray(COLOUR[..., channel]) for channel in range(2)]
    out = io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    return out.getvalue(), COLOUR[..., 0]


def cmyk() -> tuple[bytes, np.ndarray]:
    out = io.BytesIO()
    Image.fromarray(COLOUR[..., :3]).convert("CMYK").save(out, "JPEG")
    return out.getvalue(), np.asarray(Image.open(out).convert("RGB").convert("L"))


def palette() -> tuple[bytes, np.ndarray]:
    image, out = Image.fromarray(COLOUR[..., :3]).quantize(64), io.BytesIO()
    image.save(out, "PNG", transparency=3)
    return out.getvalue(), np.asarray(image.convert("RGB").convert("L"))


GREY = np.asarray(Image.fromarray(COLOUR[..., :3]).convert("L"))
CONVERSIONS = {
    "grey PNG": (encoded(COLOUR[..., 0], "PNG"), COLOUR[..., 0], None),
    "colour": (encoded(COLOUR[..., :3], "PNG"), GREY, "in colour, made grey"),
    "alpha": (encoded(COLOUR, "PNG"), GREY, "with transparency, which was dropped"),
    "16-bit": (encoded(SIXTEEN, "PNG"), (SIXTEEN.astype(float) / 65535 * 255).astype(np.uint8), "of 16 bits"),
    "one-bit": (encoded(SIXTEEN > 9999, "PNG"), (SIXTEEN > 9999).astype(np.uint8) * 255, None),
    "wide": (encoded(WIDE, "PNG"), np.asarray(ImageOps.fit(Image.fromarray(WIDE), (48, 48))), "of another size"),
    "turned": (*turned(), "turned upright"),
    "animated": (*animated(), "animated"),
    "CMYK": (*cmyk(), "in colour, made grey"),
    "palette": (*palette(), "in colour, made grey"),
}


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_an_image_of_another_kind_becomes_a_grey_face_and_this_is_said_once(kind, tmp_path):
    data, pixels, said = CONVERSIONS[kind]
    files = FILES | {"val/sad/0.png": data, "val/sad/00.png": data}
    faces = read_faces(write_folder(tmp_path, files))
    for row in np.flatnonzero(faces.split == VAL)[:2]:
        assert faces.labels[row] == EXPRESSIONS.index("sad")
        assert np.array_equal(faces.images[row], pixels)
    counted = [note for note in faces.notes if note.startswith("2 images")]
    assert any(said in note for note in counted) if said else not counted


def picture(width: int = 48, height: int = 48, channels: int = 1, dtype: type = np.uint8) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(width).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def file_of(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file_of(Image.fromarray(picture(60, 40)), "JPEG", exif=exif)


IMAGES = {
    "CMYK": (lambda: file_of(Image.fromarray(picture(48, 48, 3)).convert("CMYK"), "JPEG"), "JPEG", {"colour"}),
    "16-bit": (lambda: file_of(Image.fromarray(picture(dtype=np.uint16)), "PNG"), "PNG", {"16-bit"}),
    "one bit": (lambda: file_of(Image.fromarray(picture() > 99), "PNG"), "PNG", set()),
    "a palette": (lambda: file_of(Image.fromarray(picture(48, 48, 3)).convert("P"), "PNG"), "PNG", {"colour"}),
    "grey and alpha": (lambda: file_of(Image.fromarray(picture()).convert("LA"), "PNG"), "PNG", {"alpha"}),
    "animated": (
        lambda: file_of(
            Image.fromarray(picture()), "PNG", save_all=True, append_images=[Image.fromarray(picture(48, 48).T.copy())]
        ),
        "PNG",
        {"animated"},
    ),
    "a line": (lambda: file_of(Image.fromarray(picture(4000, 1)), "PNG"), "PNG", {"size"}),
    "one pixel": (lambda: file_of(Image.fromarray(picture(1, 1)), "PNG"), "PNG", {"size"}),
    "16 megapixels": (lambda: file_of(Image.new("L", (4096, 4096), 9), "PNG"), "PNG", {"size"}),
    **{f"EXIF {turn}": ((lambda turn=turn: rotated(turn)), "JPEG", {"rotated", "size"}) for turn in range(2, 9)},
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_unusual_image_becomes_a_face_and_what_was_done_is_counted(kind):
    make, form, done = IMAGES[kind]
    conversions: Counter[str] = Counter()
    face = read_image(make(), form, "set", conversions)
    assert face.shape == (48, 48)
    assert set(conversions) == done


def test_an_exif_rotated_image_is_the_upright_one():
    for orientation, upright in {3: 2, 6: 3, 8: 1}.items():  # quarter turns that numpy makes of the stored picture
        stored = np.asarray(Image.open(io.BytesIO(rotated(orientation))))
        read = read_image(rotated(orientation), "JPEG", "set", Counter())
        plain_file = file_of(Image.fromarray(np.ascontiguousarray(np.rot90(stored, upright))), "PNG")
        expected = read_image(plain_file, "PNG", "set", Counter())
        np.testing.assert_array_equal(read, expected)


def png_of(width: int, height: int) -> bytes:
    """A PNG that says how large it is, with hardly any pixels in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (png_of(60000, 60000), r"60000x60000 pixels; at most 16,777,216 are read"),
        (png_of(2**31 - 1, 1), r"pixels; at most|broken PNG"),
        (png_of(48, 48), r"broken PNG: "),
        (png_of(0, 48), r"broken PNG: "),
        (encoded(np.zeros((9, 9), np.uint8)) + bytes(MAX_IMAGE_BYTES), r"an image file of more than 33,554,432"),
    ],
)
def test_a_huge_or_hollow_image_is_refused_without_being_decoded(image, message, tmp_path):
    with pytest.raises(InputError, match=f"train/sad/1.png: .*{message}"):
        read_faces(write_folder(tmp_path, FILES | {"train/sad/1.png": image}))


def test_a_jpeg_of_endless_scans_is_refused_without_being_decoded(tmp_path):
    jpeg = encoded(np.arange(2304, dtype=np.uint8).reshape(48, 48), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    endless = jpeg[:last] + jpeg[last:-2] * 200 + jpeg[-2:]
    with pytest.raises(InputError, match=r"train/sad/1.jpg: a JPEG of more than 100 scans"):
        read_faces(write_folder(tmp_path, FILES | {"train/sad/1.jpg": endless}))
    assert len(read_faces(write_folder(tmp_path, {"train/sad/1.jpg": jpeg}))) == len(FILES) + 1


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("train/happy/Training_1.jpg", ("happy", TRAIN)),
        ("Training/Happiness/1.png", ("happy", TRAIN)),
        ("x/VALIDATION/3_surprised/1.png", ("surprise", VAL)),
        ("valid/fearful/1.png", ("fear", VAL)),
        ("PublicTest/anger/1.png", ("angry", VAL)),
        ("sad/test/1.png", ("sad", TEST)),
        ("PrivateTest/Disgusted/1.png", ("disgust", TEST)),
        ("test/neutral/PublicTest_7.jpg", ("neutral", VAL)),
        ("test/4/publictest-7.jpg", ("sad", VAL)),
        ("train.zip/sadness/7.jpg", ("sad", TRAIN)),
        ("happy/7.jpg", ("happy", None)),
        ("train/contempt/7.jpg", (None, TRAIN)),
        ("7.jpg", (None, None)),
        ("FER2013Valid/happy/7.jpg", ("happy", VAL)),
        ("fer2013_test/happy/7.jpg", ("happy", TEST)),
        ("train-images/sad/7.jpg", ("sad", TRAIN)),
        ("Public Test/sad/7.jpg", ("sad", VAL)),
        ("testing_set/sad/7.jpg", ("sad", TEST)),
        ("train/contest/sad/7.jpg", ("sad", TRAIN)),
        ("private/happy/1/7.jpg", ("happy", TEST)),
        ("validate_later/sad/7.jpg", ("sad", None)),
    ],
)
def test_folders_and_names_tell_expression_and_split(name, meaning):
    labels, (folder, _, file) = LabelNames(), name.rpartition("/")
    place = place_of(folder, labels)
    label = labels.label(place.label) if place.label else None
    assert (None if label is None else EXPRESSIONS[label], split_of_file_name(file, place.split)) == meaning
