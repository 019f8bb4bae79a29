"""Faces cut out of pictures as FER2013's were: square, upright, 48 x 48 grey; or in colour, of another side."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from fer_lightning.recognition.detectors import Detection
from fer_lightning.recognition.photos import square


class CropForm(NamedTuple):
    """What a network takes. channels: 1 grey, 3 colour; side: height and width, pixels."""

    channels: int = 1
    side: int = 48


GREY = CropForm()
"""As FER2013's faces are."""


class Margin(NamedTuple):
    """Where FER2013's square picture lies around a detector's box, in units of the box's longer side.

    side: of the picture; right, down: from the centre of the box to that of the picture.
    """

    side: float
    right: float
    down: float


MARGINS = {"cascade": Margin(0.996, -0.001, -0.018), "centerface": Margin(1.021, -0.008, -0.010)}
"""Medians over FER2013's Training part, measured by benchmarks/face_margin.py."""

LEAST_EYE_DISTANCE = 0.2
"""Of the box's longer side. In a face turned further to the side, the line of the eyes says nothing about its tilt."""


def crop_face(pixels: np.ndarray, detection: Detection, margin: Margin, form: CropForm = GREY) -> np.ndarray:
    """One face, (side, side) or (side, side, 3) uint8.

    pixels: (H, W, 3) RGB uint8, in which the detection's box and landmarks are.
    """
    mode, length = ("L" if form.channels == 1 else "RGB"), form.side
    x, y, width, height = detection.box
    side, angle = max(width, height, 1.0), tilt(detection)
    right, down = margin.right * side, margin.down * side
    cosine, sine = math.cos(angle), math.sin(angle)
    centre = (x + width / 2 + right * cosine - down * sine, y + height / 2 + right * sine + down * cosine)
    if angle == 0:
        return np.asarray(square(pixels, centre, margin.side * side, length).convert(mode))
    around = square(pixels, centre, 1.5 * margin.side * side, 3 * length).convert(mode)  # 1.5: the diagonal of a square
    turned = around.rotate(math.degrees(angle), Image.Resampling.BICUBIC)
    return np.asarray(
        turned.resize((length, length), Image.Resampling.BILINEAR, box=(length / 2, length / 2, *(2.5 * length,) * 2))
    )


def tilt(detection: Detection) -> float:
    """Angle of the eyes' line, radians, positive clockwise; 0 where the landmarks do not tell."""
    if detection.landmarks is None:
        return 0.0
    across, down = detection.landmarks[1] - detection.landmarks[0]
    if math.hypot(across, down) < LEAST_EYE_DISTANCE * max(detection.box[2:]):
        return 0.0
    return math.atan2(down, across)


def crop_faces(pixels: np.ndarray, detections: list[Detection], margin: Margin, form: CropForm = GREY) -> np.ndarray:
    """Faces (N, side, side) or (N, side, side, 3) uint8 of a picture."""
    crops = [crop_face(pixels, detection, margin, form) for detection in detections]
    return np.array(crops, np.uint8).reshape(-1, form.side, form.side, *(3,) * (form.channels == 3))


def whole_picture(pixels: np.ndarray, form: CropForm = GREY) -> np.ndarray:
    """A picture that is a face already: its central square. One of the form's side stays as it is."""
    image = Image.fromarray(pixels).convert("L" if form.channels == 1 else "RGB")
    return np.asarray(ImageOps.fit(image, (form.side, form.side)))
