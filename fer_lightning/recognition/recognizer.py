"""Recognizer: a photo in, faces with emotions out. `Recognizer.load` is the only place here that loads torch."""

import os
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from fer_lightning.errors import InputError, near_misses
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.recognition.crops import GREY
from fer_lightning.recognition.face_finder import FaceFinder, FoundFaces

TTA = ("none", "flip")
RUNTIMES = ("auto", "torch", "onnx")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Face:
    """A face and its emotion.

    box: x, y, width, height in the picture's pixels, after its EXIF rotation; it may reach over the border.
    confidence: the probability of `emotion`; probabilities: by name, in the order of EXPRESSIONS; score: the
    detector's, None without detection. Of a video, frame and seconds from its start, and id, the same for one person
    from frame to frame.
    """

    box: tuple[float, float, float, float]
    emotion: str
    confidence: float
    probabilities: dict[str, float]
    score: float | None = None
    frame: int | None = None
    seconds: float | None = None
    id: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `predict --json` writes them; what is None is left out."""
        values = {
            "box": [round(value, 1) for value in self.box],
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "probabilities": {name: round(value, 6) for name, value in self.probabilities.items()},
            "score": None if self.score is None else round(self.score, 3),
            "frame": self.frame,
            "seconds": self.seconds,
            "id": self.id,
        }
        return {key: value for key, value in values.items() if value is not None}


class Classifier(Protocol):
    """What gives probabilities (N, 7) float32 for faces (N, side, side), or (N, side, side, 3), uint8.

    Its attribute `form`, where it has one, is that of the faces which it takes; others take (N, 48, 48).
    """

    def __call__(self, faces: np.ndarray, /) -> np.ndarray: ...


class Recognizer:
    """Faces and their emotions in pictures. Safe to use from several threads."""

    def __init__(self, finder: FaceFinder, classifier: Classifier):
        self.finder, self._classifier = finder, classifier
        finder.form = getattr(classifier, "form", GREY)

    @classmethod
    def load(
        cls,
        *weights: str | os.PathLike[str],
        detector: str = "cascade",
        tta: str = "none",
        runtime: str = "auto",
        device: str = "auto",
        min_face_score: float | None = None,
        detect: bool = True,
    ) -> Self:
        """A recognizer of some weights: .ckpt, .safetensors or .onnx files; several are an ensemble, none the bundled.

        detector: cascade, or centerface (profiles, tilted and small faces; extra `faces`). tta: none, or flip (the mean
        with the mirror image). runtime: torch or onnx; auto is onnx for .onnx files. device: cpu, cuda or auto, of
        torch. min_face_score: see `detectors.DEFAULT_SCORES`. detect: False where each picture is one face already.
        Raises InputError for values and files that cannot be used.
        """
        for name, value, valid in (("tta", tta, TTA), ("runtime", runtime, RUNTIMES), ("device", device, DEVICES)):
            if value not in valid:
                raise InputError(f"{name} {value}: expected {' or '.join(valid)}.{near_misses(value, valid)}")
        finder = FaceFinder(detector if detect else None, min_face_score)
        from fer_lightning.recognition.ensemble import Ensemble

        return cls(finder, Ensemble([os.fspath(path) for path in weights], tta, runtime, device))

    def predict(self, image: Any) -> list[Face]:
        """The faces of a picture, those found most surely first; an empty list where there are none.

        image: a path, a binary file, a PIL image, or a numpy array (H, W) or (H, W, 3): uint8, or floats from 0 to 1.
        Raises InputError for a file that cannot be read, ValueError for an array of another form.
        """
        found = self.finder.find(image)
        return self.faces(found, self.classify(found.crops))

    def classify(self, crops: np.ndarray) -> np.ndarray:
        """Probabilities (N, 7) float32, in the order of EXPRESSIONS, for faces (N, side, side) uint8.

        side: 48, or that of the network's training faces. Faces in colour are (N, side, side, 3), RGB. A network that
        was trained on grey faces sees them in grey, and the other way round.
        """
        crops, side = np.asarray(crops), self.finder.form.side
        if crops.shape[1:] not in ((side, side), (side, side, 3)) or crops.dtype != np.uint8:
            valid = f"(N, {side}, {side}) or (N, {side}, {side}, 3)"
            raise ValueError(f"crops {crops.shape} {crops.dtype}: expected {valid} uint8")
        if not len(crops):
            return np.empty((0, len(EXPRESSIONS)), np.float32)
        return self._classifier(crops)

    @staticmethod
    def faces(found: FoundFaces, probabilities: np.ndarray) -> list[Face]:
        """Faces that were found, with their probabilities (N, 7)."""
        faces = []
        for box, score, row in zip(found.boxes, found.scores, probabilities.tolist(), strict=True):
            by_name = dict(zip(EXPRESSIONS, row, strict=True))
            emotion = max(by_name, key=by_name.__getitem__)
            faces.append(Face(box, emotion, by_name[emotion], by_name, score))
        return faces
