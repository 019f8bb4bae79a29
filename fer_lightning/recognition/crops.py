"""Faces cut out of pictures as FER2013's were: square, upright, 48 x 48 grey."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from fer_lightning.recognition.detectors import Detection
from fer_lightning.recognition.photos import square

SIDE = 48
"""Height and width of a face, pixels."""


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


def crop_face(pixels: np.ndarray, detection: Detection, margin: Margin) -> np.ndarray:
    """One face, (48, 48) uint8. pixels: (H, W, 3) RGB uint8, in which the detection's box and landmarks are."""
    x, y, width, height = detection.box
    side, angle = max(width, height, 1.0), tilt(detection)
    right, down = margin.right * side, margin.down * side
    cosine, sine = math.cos(angle), math.sin(angle)
    centre = (x + width / 2 + right * cosine - down * sine, y + height / 2 + right * sine + down * cosine)
    if angle == 0:
        return np.asarray(square(pixels, centre, margin.side * side, SIDE).convert("L"))
    around = square(pixels, centre, 1.5 * margin.side * side, 3 * SIDE).convert("L")  # 1.5: the diagonal of a square
    turned = around.rotate(math.degrees(angle), Image.Resampling.BICUBIC)
    return np.asarray(
        turned.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(SIDE / 2, SIDE / 2, 2.5 * SIDE, 2.5 * SIDE))
    )


def tilt(detection: Detection) -> float:
    """Angle of the eyes' line, radians, positive clockwise; 0 where the landmarks do not tell."""
    if detection.landmarks is None:
        return 0.0
    across, down = detection.landmarks[1] - detection.landmarks[0]
    if math.hypot(across, down) < LEAST_EYE_DISTANCE * max(detection.box[2:]):
        return 0.0
    return math.atan2(down, across)


def crop_faces(pixels: np.ndarray, detections: list[Detection], margin: Margin) -> np.ndarray:
    """Faces (N, 48, 48) uint8 of a picture."""
    crops = [crop_face(pixels, detection, margin) for detection in detections]
    return np.array(crops, np.uint8).reshape(-1, SIDE, SIDE)


def whole_picture(pixels: np.ndarray) -> np.ndarray:
    """A picture that is a face already, (48, 48) uint8: its central square. One of 48 x 48 pixels stays as it is."""
    return np.asarray(ImageOps.fit(Image.fromarray(pixels).convert("L"), (SIDE, SIDE)))
