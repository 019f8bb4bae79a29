"""Faces found in pictures and cropped, one picture at a time or in parallel processes. Loads no torch."""

import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_lightning.errors import InputError
from fer_lightning.recognition.crops import GREY, MARGINS, CropForm, crop_faces, whole_picture
from fer_lightning.recognition.detectors import Detector, build_detector
from fer_lightning.recognition.photos import open_picture


@dataclass(frozen=True)
class FoundFaces:
    """Faces of one picture before they are classified. crops: (N, 48, 48) uint8, or as the form has it.

    boxes: x, y, width, height in the picture's pixels; scores: None without detection; size: of the picture.
    """

    boxes: list[tuple[float, float, float, float]]
    scores: list[float | None]
    crops: np.ndarray
    size: tuple[int, int]


class FaceFinder:
    """Finds and crops the faces of pictures.

    detector: its name, or None where each picture is one face already. min_face_score: see `build_detector`. form: of
    the crops.
    """

    def __init__(self, detector: str | None = "cascade", min_face_score: float | None = None, form: CropForm = GREY):
        self.detector: Detector | None = None if detector is None else build_detector(detector, min_face_score)
        self.form = form
        self._arguments = (detector, min_face_score)

    def find(self, image: Any) -> FoundFaces:
        """Faces of a picture, best first. image and errors: as in `photos.open_picture`."""
        picture = open_picture(image)
        if self.detector is None:
            box = (0.0, 0.0, float(picture.size[0]), float(picture.size[1]))
            return FoundFaces([box], [None], whole_picture(picture.pixels, self.form)[None], picture.size)
        detections, (across, down) = self.detector.detect(picture.pixels), picture.scale
        boxes = [
            (x * across, y * down, width * across, height * down)
            for x, y, width, height in (detection.box for detection in detections)
        ]
        crops = crop_faces(picture.pixels, detections, MARGINS[self.detector.name], self.form)
        return FoundFaces(boxes, [detection.score for detection in detections], crops, picture.size)

    def find_all(
        self, images: Iterable[Any], jobs: int = 1, ahead: int | None = None
    ) -> Generator[FoundFaces | InputError, None, None]:
        """Faces of many pictures in their order, or the error of one that cannot be read; memory stays flat.

        jobs: processes; 1 is this one alone. With more, images are paths or what can be pickled, `ahead` of them are
        taken before the first result (default: 4 for each process), and a script that calls this needs the usual
        `if __name__ == "__main__"`. Raises InputError where a process was killed.
        """
        if jobs == 1:
            yield from (_found_or_error(self, image) for image in images)
            return
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        pool = ProcessPoolExecutor(jobs, context, _begin_process, (*self._arguments, self.form))
        try:
            waiting: deque[Future[FoundFaces | InputError]] = deque()
            for image in images:
                waiting.append(pool.submit(_find_in_process, image))
                if len(waiting) > (ahead or 4 * jobs):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError("a process that looks for faces was killed (is memory short?); try fewer jobs") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def usual_jobs(pictures: int) -> int:
    """Processes for so many pictures: one for each core, where the work is worth their start."""
    return max(1, min(len(os.sched_getaffinity(0)), pictures // 8)) if hasattr(os, "sched_getaffinity") else 1


def ignore_warnings_of_pillow() -> None:
    """Say nothing of damaged EXIF data and the like, where the picture can be read nevertheless. For commands."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _found_or_error(finder: FaceFinder, image: Any) -> FoundFaces | InputError:
    try:
        return finder.find(image)
    except InputError as error:
        return error


_finder: FaceFinder
"""Of a process of `find_all`."""


def _begin_process(detector: str | None, min_face_score: float | None, form: CropForm) -> None:
    global _finder
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # the process that waits for this one ends it
    ignore_warnings_of_pillow()
    _finder = FaceFinder(detector, min_face_score, form)
    if detector == "centerface":
        import cv2

        cv2.setNumThreads(1)


def _find_in_process(image: Any) -> FoundFaces | InputError:
    return _found_or_error(_finder, image)
