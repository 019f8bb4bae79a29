"""Faces and their emotions in videos, frame by frame."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from fer_lightning.errors import InputError
from fer_lightning.recognition.drawing import annotate as draw
from fer_lightning.recognition.photos import Picture
from fer_lightning.recognition.recognizer import Face, Recognizer
from fer_lightning.recognition.timeline import Timeline
from fer_lightning.recognition.tracks import Tracker
from fer_lightning.recognition.video_files import Frame, open_video, written_video

AHEAD = 60
"""Frames that are kept at most while other processes look for faces in them."""


class Frames(Protocol):
    """Frames of a video or camera, and what is known of them; see `video_files.Video`."""

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def rate(self) -> float: ...
    @property
    def problem(self) -> str | None: ...
    def __iter__(self) -> Iterator[Frame]: ...


def analyse_video(
    recognizer: Recognizer,
    video: str | os.PathLike[str] | BinaryIO,
    *,
    every: int = 1,
    smooth: float = 0.0,
    annotate: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    on_progress: Callable[[float, float | None], None] | None = None,
) -> Timeline:
    """The faces of a video, a sequence of Face with frame, seconds and id, in the order of the frames.

    video: a path or a binary file. every: looks at every so many frames. smooth: see `Tracker`, seconds. annotate: an
    .mp4 file to write, the video with its faces drawn, without sound; in frames between those looked at, the last
    faces are drawn. jobs: processes that look for faces, see `FaceFinder.find_all`. on_progress: is told the seconds
    that are done, and the length of the video, None where the file does not tell. Memory does not grow with the length,
    but for 120 bytes a face. Raises InputError for a video that cannot be read and where the file cannot be written; a
    video that is cut off is read up to there, and `Timeline.problem` tells.
    """
    with open_video(video) as opened:

        def tell(frame: Frame, _: list[Face] | None) -> None:
            if on_progress is not None:
                on_progress(frame.seconds, opened.seconds)

        return analyse_frames(
            recognizer, opened, every=every, smooth=smooth, annotate=annotate, jobs=jobs, on_frame=tell
        )


def analyse_frames(
    recognizer: Recognizer,
    frames: Frames,
    *,
    every: int = 1,
    smooth: float = 0.0,
    annotate: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    on_frame: Callable[[Frame, list[Face] | None], None] | None = None,
) -> Timeline:
    """The same of an open video or camera. on_frame: is told each frame and its faces, None where not looked at."""
    timeline, faces = Timeline(frames.size), list[Face]()
    copy = nullcontext() if annotate is None else written_video(Path(annotate), frames.rate)
    with copy as writer, closing(faces_in(recognizer, frames, every, smooth, jobs)) as looked_at:
        for frame, found in looked_at:
            if found is not None:
                faces = found
                timeline.add(frame.seconds, faces)
            if writer is not None:
                writer.add(np.asarray(draw(frame.picture, faces)), frame.seconds)
            timeline.frames, timeline.seconds = timeline.frames + 1, frame.seconds + 1 / frames.rate
            if on_frame is not None:
                on_frame(frame, found)
    timeline.problem = frames.problem
    return timeline


def faces_in(
    recognizer: Recognizer, frames: Iterable[Frame], every: int = 1, smooth: float = 0.0, jobs: int = 1
) -> Generator[tuple[Frame, list[Face] | None], None, None]:
    """Each frame with its faces, None where it is not looked at. Options: see `analyse_video`."""
    if every < 1:
        raise ValueError(f"every {every}: expected a whole number from 1 on")
    tracker, numbered = Tracker(smooth), enumerate(frames)
    taken: deque[tuple[int, Frame]] = deque()  # by the finder, ahead of those that were yielded
    next_look: deque[Frame] = deque()  # the other way round

    def pictures() -> Iterator[Picture]:
        while True:
            if next_look:
                yield next_look.popleft().picture
            elif (entry := next(numbered, None)) is not None:
                taken.append(entry)
                if entry[0] % every == 0:
                    yield entry[1].picture
            else:
                return

    ahead = max(1, min(2 * jobs, AHEAD // every))
    with closing(recognizer.finder.find_all(pictures(), jobs, ahead)) as all_found:
        while True:
            is_taken = bool(taken)
            entry = taken.popleft() if taken else next(numbered, None)
            if entry is None:
                return
            index, frame = entry
            if index % every:
                yield frame, None
                continue
            if not is_taken:
                next_look.append(frame)
            found = next(all_found)
            if isinstance(found, InputError):
                raise found
            faces = recognizer.faces(found, recognizer.classify(found.crops))
            yield frame, tracker.update(faces, frame.number, frame.seconds)
