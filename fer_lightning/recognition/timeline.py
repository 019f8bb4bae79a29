"""The faces of a video over time, in little memory, and a summary of each face."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.recognition.recognizer import Face

_COLUMNS = 8 + len(EXPRESSIONS)
"""Of a face: frame, seconds, id, box, score, and its probabilities: 120 bytes."""


@dataclass(frozen=True)
class Seen:
    """A face of a video. first, last: when it was seen, seconds; frames: looked at in which it was seen.

    seconds: for which it was seen; emotion: the most frequent one; share: of the frames that have it; probability: its
    mean over all of them.
    """

    id: int
    first: float
    last: float
    frames: int
    seconds: float
    emotion: str
    share: float
    probability: float


class Timeline(Sequence[Face]):
    """The faces of a video in the order of its frames.

    size: width and height of the frames, in whose pixels boxes are; frames, seconds: read from the video; problem: what
    was wrong with the file, or None.
    """

    def __init__(self, size: tuple[int, int] = (0, 0)):
        self.size, self.frames, self.seconds = size, 0, 0.0
        self.problem: str | None = None
        self._looks, self._values = array("d"), array("d")

    def add(self, seconds: float, faces: Sequence[Face]) -> None:
        """Add the faces of the next frame that was looked at, which have an id."""
        self._looks.append(seconds)
        for face in faces:
            score = np.nan if face.score is None else face.score
            self._values.extend((face.frame or 0, face.seconds or 0.0, face.id or 0, *face.box, score))
            self._values.extend(face.probabilities.values())

    def __len__(self) -> int:
        return len(self._values) // _COLUMNS

    @overload
    def __getitem__(self, index: int) -> Face: ...
    @overload
    def __getitem__(self, index: slice) -> list[Face]: ...
    def __getitem__(self, index: int | slice) -> Face | list[Face]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = index % len(self) * _COLUMNS
        frame, seconds, id_, x, y, width, height, score, *row = self._values[start : start + _COLUMNS]
        probabilities = dict(zip(EXPRESSIONS, row, strict=True))
        emotion = max(probabilities, key=probabilities.__getitem__)
        return Face(
            (x, y, width, height),
            emotion,
            probabilities[emotion],
            probabilities,
            None if np.isnan(score) else score,
            int(frame),
            seconds,
            int(id_),
        )

    def __iter__(self) -> Iterator[Face]:
        return (self[number] for number in range(len(self)))

    def tracks(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Of each face, by its id: the seconds (N,) at which it was seen, and its probabilities (N, 7)."""
        table = np.array(self._values).reshape(-1, _COLUMNS)
        ids = table[:, 2].astype(int)
        return {int(one): (table[ids == one, 1], table[ids == one, 8:]) for one in np.unique(ids)}

    def step(self) -> float:
        """Usual time between two looks, seconds; 0 where there were fewer."""
        return float(np.median(np.diff(self._looks))) if len(self._looks) > 1 else 0.0

    def summary(self) -> list[Seen]:
        """Each face, by its id."""
        looks = np.array(self._looks)
        lengths = np.diff(looks, append=max(self.seconds, looks[-1])) if len(looks) else looks
        faces = []
        for one, (seconds, probabilities) in self.tracks().items():
            duration = float(lengths[np.searchsorted(looks, seconds)].sum())
            counts = np.bincount(probabilities.argmax(axis=1), minlength=len(EXPRESSIONS))
            most = int(counts.argmax())
            share, mean = float(counts[most] / len(seconds)), float(probabilities[:, most].mean())
            first, last = float(seconds[0]), float(seconds[-1])
            faces.append(Seen(one, first, last, len(seconds), duration, EXPRESSIONS[most], share, mean))
        return faces
