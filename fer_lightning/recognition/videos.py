"""Faces and their emotions in videos, frame by frame."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fer_lightning.recognition.drawing import annotate as draw
from fer_lightning.recognition.recognizer import Face, Recognizer
from fer_lightning.recognition.timeline import Timeline
from fer_lightning.recognition.tracks import Tracker
from fer_lightning.recognition.video_files import Frame, Video, open_video, written_video

OnProgress = Callable[[float, float | None], None]
"""Is told the seconds of a video that are done, and its length, None where the file does not tell."""


def analyse_video(
    recognizer: Recognizer,
    video: str | os.PathLike[str] | BinaryIO,
    *,
    every: int = 1,
    smooth: float = 0.0,
    annotate: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Timeline:
    """The faces of a video, a sequence of Face with frame, seconds and id, in the order of the frames.

    video: a path or a binary file. every: looks at every so many frames. smooth: see `Tracker`, seconds. annotate: an
    .mp4 file to write, the video with its faces drawn, without sound; in frames between those looked at, the last
    faces are drawn. Memory does not grow with the length, but for 120 bytes a face. Raises InputError for a video that
    cannot be read and where the file cannot be written.
    """
    timeline = Timeline()
    with ExitStack() as stack:
        opened = stack.enter_context(open_video(video))
        writer = stack.enter_context(written_video(Path(annotate), opened.rate)) if annotate is not None else None
        faces: list[Face] = []
        for frame, found in faces_in(recognizer, opened, every, smooth):
            if found is not None:
                faces = found
                timeline.extend(faces)
            if writer is not None:
                writer.add(np.asarray(draw(frame.picture, faces)), frame.seconds)
            if on_progress is not None:
                on_progress(frame.seconds, opened.seconds)
    return timeline


def faces_in(
    recognizer: Recognizer, frames: Iterable[Frame] | Video, every: int = 1, smooth: float = 0.0
) -> Iterator[tuple[Frame, list[Face] | None]]:
    """Each frame with its faces; None in frames that are not looked at. Options: see `analyse_video`."""
    if every < 1:
        raise ValueError(f"every {every}: expected a whole number from 1 on")
    tracker = Tracker(smooth)
    for frame in frames:
        if frame.number % every:
            yield frame, None
        else:
            yield frame, tracker.update(recognizer.predict(frame.picture), frame.number, frame.seconds)
