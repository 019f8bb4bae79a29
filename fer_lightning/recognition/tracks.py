"""Faces followed from frame to frame: an id each, and probabilities smoothed over time."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.recognition.recognizer import Face

GAP = 1.0
"""Seconds for which a face may be lost and keep its id."""

LEAST_OVERLAP = 0.2
"""Intersection over union from which two boxes can be the same face."""

LOST = 0.7
"""Factor of the overlap with a face that the last frame lacks: one that it has comes first where faces cross."""

SPEED_SECONDS = 0.3
"""Time constant of the mean speed of a face."""

SLOWING_SECONDS = 1.0
"""Time constant with which a face that is lost is taken to slow down."""


@dataclass
class Track:
    """A face that is followed. box: x, y, width, height; speed: of its centre, pixels a second; seconds: last seen."""

    id: int
    box: np.ndarray
    probabilities: np.ndarray
    seconds: float
    speed: np.ndarray

    def box_at(self, seconds: float) -> np.ndarray:
        """Where the box should be, if the face slows down from its mean speed."""
        distance = self.speed * SLOWING_SECONDS * -math.expm1(-(seconds - self.seconds) / SLOWING_SECONDS)
        return self.box + np.concatenate([distance, [0, 0]])


class Tracker:
    """Follows the faces of one video or camera.

    A face gets the id of the earlier one that its box overlaps most, with the earlier boxes moved on by their speed and
    both enlarged by the seconds that have passed, to twice their sides after one; all faces together get the assignment
    of the largest total overlap. A face that the last frame lacks is forgotten GAP seconds after it was last seen.

    smooth: time constant of the smoothing, seconds. Of a face with probabilities p, seen before with the smoothed ones
    s and dt seconds ago, s + (1 - exp(-dt / smooth)) (p - s) are the new ones; 0: p.
    """

    def __init__(self, smooth: float = 0.0):
        if not 0 <= smooth < math.inf:
            raise ValueError(f"smooth {smooth}: expected seconds, 0 or more")
        self._smooth, self._tracks, self._ids = smooth, list[Track](), itertools.count(1)
        self._last = -math.inf

    def update(self, faces: Sequence[Face], frame: int, seconds: float) -> list[Face]:
        """The faces of the next frame with its number and time, their ids, and smoothed probabilities."""
        self._tracks = [one for one in self._tracks if one.seconds == self._last or seconds - one.seconds <= GAP + 1e-6]
        known = self._matches(faces, seconds)
        followed = []
        for number, face in enumerate(faces):
            track = known.get(number)
            probabilities = np.array([face.probabilities[name] for name in EXPRESSIONS])
            box = np.array(face.box)
            if track is None:
                track = Track(next(self._ids), box, probabilities, seconds, np.zeros(2))
                self._tracks.append(track)
            else:
                self._move(track, box, probabilities, seconds)
            smoothed = dict(zip(EXPRESSIONS, track.probabilities.tolist(), strict=True))
            emotion = max(smoothed, key=smoothed.__getitem__)
            values = {"emotion": emotion, "confidence": smoothed[emotion], "probabilities": smoothed}
            followed.append(replace(face, **values, frame=frame, seconds=seconds, id=track.id))
        self._last = seconds
        return followed

    def _matches(self, faces: Sequence[Face], seconds: float) -> dict[int, Track]:
        """The track of each face, by its number, where it has one."""
        if not faces or not self._tracks:
            return {}
        expected = np.array([track.box_at(seconds) for track in self._tracks])
        growth = np.array([1 + min(1, seconds - track.seconds) for track in self._tracks])
        found = np.array([face.box for face in faces])
        overlap = overlaps(_grown(found[:, None], growth), _grown(expected, growth)[None])
        overlap[overlap < LEAST_OVERLAP] = 0
        overlap *= [1 if track.seconds == self._last else LOST for track in self._tracks]
        rows, columns = linear_sum_assignment(-overlap)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if overlap[row, column] > 0
        }

    def _move(self, track: Track, box: np.ndarray, probabilities: np.ndarray, seconds: float) -> None:
        passed = seconds - track.seconds
        if passed > 0:
            way = box[:2] + box[2:] / 2 - track.box[:2] - track.box[2:] / 2
            track.speed += -math.expm1(-passed / SPEED_SECONDS) * (way / passed - track.speed)
        share = -math.expm1(-passed / self._smooth) if self._smooth else 1.0
        track.probabilities = track.probabilities + share * (probabilities - track.probabilities)
        track.box, track.seconds = box, seconds


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes, x, y, width, height, in the last axis; the others are broadcast."""
    ends = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    common = (ends - np.maximum(first[..., :2], second[..., :2])).clip(0).prod(axis=-1)
    total = first[..., 2:].prod(axis=-1) + second[..., 2:].prod(axis=-1) - common
    return np.asarray(common / np.maximum(total, 1e-9))


def _grown(boxes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Boxes (..., 4), larger by their factors about their centres."""
    more = boxes[..., 2:] * (factors[:, None] - 1)
    return np.concatenate([boxes[..., :2] - more / 2, boxes[..., 2:] + more], axis=-1)
