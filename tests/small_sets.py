"""Small sets of random faces, written in every form in which people have FER2013."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fer_lightning.data.faces import SPLITS, TEST, TRAIN, VAL
from fer_lightning.expressions import EXPRESSIONS

USAGES = ("Training", "PublicTest", "PrivateTest")
FOLDERS = ("train", "test", "test")
"""Where downloads keep a usage: PublicTest and PrivateTest stand side by side in `test`."""


class Picture(NamedTuple):
    split: int
    number: str
    label: int
    jpeg: bytes

    @property
    def name(self) -> str:
        usage, emotion = USAGES[self.split], EXPRESSIONS[self.label]
        return f"{FOLDERS[self.split]}/{emotion}/{usage}_{self.number}.jpg"

    @property
    def plain_name(self) -> str:
        return f"{SPLITS[self.split]}/{EXPRESSIONS[self.label]}/{self.number}.jpg"

    @property
    def pixels(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.jpeg)))


def encoded(pixels: np.ndarray, form: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def pictures(seed: int = 0, counts: tuple[int, int, int] = (4, 2, 1)) -> list[Picture]:
    """`counts` images of each expression in train, val and test, in no particular order, with numbers like Kaggle's."""
    rng = np.random.default_rng(seed)
    made = []
    for split, count in zip((TRAIN, VAL, TEST), counts, strict=True):
        for label in range(len(EXPRESSIONS)):
            for _ in range(count):
                pixels = rng.integers(0, 256, (48, 48), dtype=np.uint8)
                made.append(Picture(split, str(rng.integers(10**3, 10**8)), label, encoded(pixels)))
    return [made[row] for row in rng.permutation(len(made))]


def files_of(pictures: list[Picture]) -> dict[str, bytes]:
    return {picture.name: picture.jpeg for picture in pictures}


def in_csv_order(pictures: list[Picture]) -> list[Picture]:
    return sorted(pictures, key=lambda picture: (picture.split, picture.number))


def csv_text(pictures: list[Picture], header: str = "emotion,pixels,Usage") -> str:
    lines = [header]
    for picture in in_csv_order(pictures):
        cells = {
            "emotion": str(picture.label),
            "pixels": " ".join(map(str, picture.pixels.ravel())),
            "Usage": USAGES[picture.split],
        }
        lines.append(",".join(cells.get(column.strip(), "") for column in header.split(",")))
    return "\n".join(lines) + "\n"


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zip_bytes(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tar_bytes(files: dict[str, bytes], packing: str = "") -> bytes:
    """packing: "", "gz", "bz2" or "xz"."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{packing}") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
