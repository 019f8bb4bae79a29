"""What the page answers to a photo, a picture of a camera or a video, without gradio."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from fer_lightning.demo_page.cards import face_cards
from fer_lightning.recognition.drawing import annotate
from fer_lightning.recognition.explanation import Explanation
from fer_lightning.recognition.face_finder import FaceFinder
from fer_lightning.recognition.photos import open_picture
from fer_lightning.recognition.recognizer import Face, Recognizer

WHOLE = "none"
"""Name of the choice not to look for faces: the picture is one."""

CAMERA_SIDE = 640
"""Longer side of a camera's picture as it is shown, pixels."""


@dataclass(frozen=True)
class Reading:
    """A picture's faces. picture: its annotated copy; crops: (N, 48, 48) uint8; heat: (N, 48, 48), or None."""

    picture: Image.Image
    faces: list[Face]
    crops: np.ndarray
    heat: np.ndarray | None
    missing: str | None

    @cached_property
    def cards(self) -> str:
        """HTML of the faces: crop, Grad-CAM and seven bars each."""
        return face_cards(self.faces, self.crops, self.heat, self.missing)

    @property
    def data(self) -> list[dict[str, Any]]:
        """The faces as plain values, as `predict --json` writes them."""
        return [face.as_dict() for face in self.faces]


class Reader:
    """Reads pictures with the networks of some weights. Threads may share it."""

    def __init__(
        self, weights: Sequence[str | Path] = (), detector: str = "cascade", tta: str = "none", device: str = "auto"
    ):
        """The options of `Recognizer.load`, with its errors. detector: the one that the page begins with."""
        recognizer = Recognizer.load(*weights, detector=detector, tta=tta, device=device)
        self._explanation = Explanation(weights, device)
        self._recognizers, self._lock = {detector: recognizer}, Lock()

    def recognizer(self, detector: str) -> Recognizer:
        """The recognizer with a detector, or with none for WHOLE; one is made at its first use."""
        with self._lock:
            if detector not in self._recognizers:
                classify = next(iter(self._recognizers.values())).classify
                finder = FaceFinder(None if detector == WHOLE else detector)
                self._recognizers[detector] = Recognizer(finder, classify)
            return self._recognizers[detector]

    def read(self, image: Any, detector: str) -> Reading:
        """The faces of a picture. image and errors: as in `photos.open_picture`."""
        picture, recognizer = open_picture(image), self.recognizer(detector)
        found = recognizer.finder.find(picture)
        faces = recognizer.faces(found, recognizer.classify(found.crops))
        heat = self._explanation.heat(found.crops, [face.emotion for face in faces])
        return Reading(annotate(picture, faces), faces, found.crops, heat, self._explanation.missing)
