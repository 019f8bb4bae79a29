"""Pictures for trying the page out: scikit-image's astronaut, and faces that the program draws."""

from pathlib import Path

import numpy as np
from PIL import Image

from fer_lightning.data.synthetic import SMALLEST, synthetic_faces
from fer_lightning.expressions import EXPRESSIONS

DRAWN = (("happy", "surprise", "sad", "neutral"), ("surprise",))
"""Expressions in the drawn pictures: those that a network trained on photos reads in a drawing."""

SIDE, GAP = 192, 48
"""Of a drawn face and between two, pixels."""


def write_examples(folder: Path) -> list[Path]:
    """Write the pictures into a folder, and return them."""
    from skimage import data

    faces = synthetic_faces(SMALLEST, seed=11, label_noise=0, difficulty=0)
    first = {name: faces.images[np.flatnonzero(faces.labels == label)[0]] for label, name in enumerate(EXPRESSIONS)}
    pictures = {"astronaut": data.astronaut()}
    for names in DRAWN:
        pictures["drawn-" + "-".join(names)] = side_by_side([first[name] for name in names])
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in pictures]


def side_by_side(faces: list[np.ndarray]) -> np.ndarray:
    """Faces (48, 48) on a grey wall, as one picture (H, W) uint8."""
    step = SIDE + GAP
    wall = Image.new("L", (len(faces) * step + GAP, SIDE + 2 * GAP), 150)
    for number, face in enumerate(faces):
        wall.paste(Image.fromarray(face).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (GAP + number * step, GAP))
    return np.asarray(wall)
