"""Recognizer: a photo in, faces with emotions out. `Recognizer.load` is the only place here that loads torch."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from fer_lightning.errors import InputError, near_misses
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.recognition.crops import MARGINS, SIDE, crop_faces, whole_picture
from fer_lightning.recognition.detectors import Detector, build_detector
from fer_lightning.recognition.photos import open_picture

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
            "confidence": self.confidence,
            "probabilities": self.probabilities,
            "score": self.score,
            "frame": self.frame,
            "seconds": self.seconds,
            "id": self.id,
        }
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class FoundFaces:
    """Faces of one picture before they are classified. crops: (N, 48, 48) uint8; scores: None without detection."""

    boxes: list[tuple[float, float, float, float]]
    scores: list[float | None]
    crops: np.ndarray


class FaceFinder:
    """Finds and crops the faces of pictures; loads no torch, so that processes of their own can do it.

    detector: its name, or None where each picture is one face already.
    """

    def __init__(self, detector: str | None = "cascade", min_face_score: float | None = None):
        self._detector: Detector | None = None if detector is None else build_detector(detector, min_face_score)

    def find(self, image: Any) -> FoundFaces:
        """Faces of a picture, best first. image: as in `photos.open_picture`."""
        picture = open_picture(image)
        if self._detector is None:
            crops = whole_picture(picture.pixels)[None]
            return FoundFaces([(0.0, 0.0, float(picture.size[0]), float(picture.size[1]))], [None], crops)
        detections, (across, down) = self._detector.detect(picture.pixels), picture.scale
        boxes = [
            (x * across, y * down, width * across, height * down)
            for x, y, width, height in (detection.box for detection in detections)
        ]
        crops = crop_faces(picture.pixels, detections, MARGINS[self._detector.name])
        return FoundFaces(boxes, [detection.score for detection in detections], crops)


class Classifier(Protocol):
    """What gives probabilities (N, 7) float32 for faces (N, 48, 48) uint8."""

    def __call__(self, faces: np.ndarray) -> np.ndarray: ...


class Recognizer:
    """Faces and their emotions in pictures. Safe to use from several threads."""

    def __init__(self, finder: FaceFinder, classifier: Classifier):
        self.finder, self._classifier = finder, classifier

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
        """Probabilities (N, 7) float32, in the order of EXPRESSIONS, for faces (N, 48, 48) uint8."""
        crops = np.asarray(crops)
        if crops.ndim != 3 or crops.shape[1:] != (SIDE, SIDE) or crops.dtype != np.uint8:
            raise ValueError(f"crops {crops.shape} {crops.dtype}: expected (N, {SIDE}, {SIDE}) uint8")
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


def rows(results: Iterable[tuple[str, Sequence[Face]]]) -> list[dict[str, Any]]:
    """A table with one row a face: path, face (1, 2, ...), x, y, width, height, emotion, confidence, the probabilities.

    results: paths (or other names) and their faces. `pandas.DataFrame(rows(results))` is a data frame.
    """
    table = []
    for path, faces in results:
        for number, face in enumerate(faces, 1):
            box = dict(zip(("x", "y", "width", "height"), (round(value, 1) for value in face.box), strict=True))
            rest = {key: value for key, value in face.as_dict().items() if key not in ("box", "probabilities")}
            table.append({"path": path, "face": number, **box, **rest, **face.probabilities})
    return table
