"""What the page answers to a photo, a picture of a camera and a video, without gradio."""

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fer_lightning.demo_page.cards import face_cards, seen_table
from fer_lightning.errors import InputError
from fer_lightning.recognition.drawing import annotate
from fer_lightning.recognition.ensemble import Ensemble
from fer_lightning.recognition.explanation import Explanation
from fer_lightning.recognition.face_finder import FaceFinder
from fer_lightning.recognition.face_table import Result, write_faces_csv
from fer_lightning.recognition.photos import open_picture
from fer_lightning.recognition.prediction import write_timeline
from fer_lightning.recognition.recognizer import Face, Recognizer
from fer_lightning.recognition.timeline import Timeline
from fer_lightning.recognition.videos import analyse_video

WHOLE = "none"
"""Name of the choice not to look for faces: the picture is one."""

KEPT = 4
"""Videos whose results are kept; gradio has copied those of earlier ones."""


@dataclass(frozen=True)
class Reading:
    """A picture's faces. picture: its annotated copy; crops: (N, side, side) uint8; heat: Grad-CAM, or None.

    missing: why there is no heat, or None.
    """

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


@dataclass(frozen=True)
class VideoReading:
    """A video's faces. copy: the annotated video (.mp4); figure: of the time line (.png); table: the same as csv."""

    timeline: Timeline
    copy: Path
    figure: Path
    table: Path

    @cached_property
    def summary(self) -> str:
        """HTML table: when each face was seen, and its emotion."""
        return seen_table(self.timeline.summary(), self.timeline.seconds)


class Reader:
    """Reads pictures and videos with the networks of some weights. Threads may share it."""

    def __init__(self, weights: Sequence[str | Path] = (), tta: str = "none", device: str = "auto"):
        """The options of `Recognizer.load`, with its errors."""
        self._classifier = Ensemble([str(path) for path in weights], tta, "auto", device)
        self._explanation = Explanation(weights, device)
        self._recognizers: dict[str, Recognizer] = {}
        self._folders: deque[Path] = deque()
        self._lock, self._stopping = threading.Lock(), threading.Event()

    def recognizer(self, detector: str) -> Recognizer:
        """The recognizer with a detector, or with none for WHOLE; one is made at its first use."""
        with self._lock:
            if detector not in self._recognizers:
                finder = FaceFinder(None if detector == WHOLE else detector)
                self._recognizers[detector] = Recognizer(finder, self._classifier)
            return self._recognizers[detector]

    def read(self, image: Any, detector: str) -> Reading:
        """The faces of a picture. image and errors: as in `photos.open_picture`."""
        picture, recognizer = open_picture(image), self.recognizer(detector)
        found = recognizer.finder.find(picture)
        faces = recognizer.faces(found, recognizer.classify(found.crops))
        heat = self._explanation.heat(found.crops, [face.emotion for face in faces])
        return Reading(annotate(picture, faces), faces, found.crops, heat, self._explanation.missing)

    def read_video(
        self,
        video: str,
        detector: str,
        every: int = 1,
        smooth: float = 0.0,
        on_progress: Callable[[float, float | None], None] | None = None,
    ) -> VideoReading:
        """The faces of a video. every, smooth, on_progress and errors: see `videos.analyse_video`."""

        def tell(done: float, length: float | None) -> None:
            if self._stopping.is_set():
                raise InputError("the page was stopped")
            if on_progress is not None:
                on_progress(done, length)

        folder, stem = self._folder(), Path(video).stem
        copy, figure, table = (folder / f"{stem}{end}" for end in ("-faces.mp4", "-timeline.png", ".csv"))
        recognizer = self.recognizer(detector)
        timeline = analyse_video(recognizer, video, every=every, smooth=smooth, annotate=copy, on_progress=tell)
        write_timeline(timeline, figure, "")
        name = Path(video).name
        write_faces_csv(table, [Result(name, timeline, timeline.size, timeline.frames, timeline.seconds)])
        return VideoReading(timeline, copy, figure, table)

    def stop(self) -> None:
        """End the reading of videos; for signal handlers too."""
        self._stopping.set()

    def _folder(self) -> Path:
        with self._lock:
            if len(self._folders) == KEPT:
                shutil.rmtree(self._folders.popleft(), ignore_errors=True)
            self._folders.append(Path(tempfile.mkdtemp(prefix="video-")))
            return self._folders[-1]
