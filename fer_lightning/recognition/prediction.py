"""Photos, videos and cameras to results, with annotated copies."""

import io
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.files import write_atomic
from fer_lightning.recognition.cameras import open_camera
from fer_lightning.recognition.console import Screen
from fer_lightning.recognition.drawing import annotate
from fer_lightning.recognition.face_finder import usual_jobs
from fer_lightning.recognition.face_table import Result
from fer_lightning.recognition.media_paths import timeline_of
from fer_lightning.recognition.recognizer import Face, Recognizer
from fer_lightning.recognition.timeline import Timeline
from fer_lightning.recognition.video_files import Frame, open_video
from fer_lightning.recognition.videos import analyse_frames
from fer_lightning.signals import stop_signals

MANY = 5
"""Photos from which a progress bar is shown."""

NO_FACE = "no face found; --no-detect takes each picture as a face, and --detector {other} may find more"
NO_FACE_IN_VIDEO = "no face found; --detector {other} may find more"


@dataclass(frozen=True)
class Prediction:
    """Makes results of photos, videos and cameras, and their annotated copies.

    every, smooth: see `analyse_video`; jobs: processes that look for faces, None for the usual number; other_detector:
    the one that is not used, for a hint.
    """

    recognizer: Recognizer
    screen: Screen
    every: int
    smooth: float
    jobs: int | None
    other_detector: str

    def all(self, sources: dict[str, Any], videos: set[str], copies: dict[str, Path]) -> Iterator[Result]:
        """The result of each, in order. sources: a name and where to read it; copies: the files to write."""
        for of_videos, names in groupby(sources, videos.__contains__):
            if of_videos:
                yield from (self.video(name, sources[name], copies.get(name)) for name in names)
            else:
                yield from self.photos({name: sources[name] for name in names}, copies)

    def photos(self, sources: dict[str, Any], copies: dict[str, Path]) -> Iterator[Result]:
        """The result of each photo, in order."""
        jobs = min(self.jobs, len(sources)) if self.jobs else usual_jobs(len(sources))
        all_found = self.recognizer.finder.find_all(sources.values(), jobs)
        with self.screen.bar("photos") if len(sources) >= MANY else nullcontext() as tell:
            for number, (name, found) in enumerate(zip(sources, all_found, strict=True), 1):
                if isinstance(found, InputError):
                    yield Result(name, error=str(found).removeprefix(f"{name}: "))
                else:
                    faces = self.recognizer.faces(found, self.recognizer.classify(found.crops))
                    if name in copies:
                        write_copy(sources[name], faces, copies[name])
                    note = None if faces else NO_FACE.format(other=self.other_detector)
                    yield Result(name, faces, found.size, note=note)
                if tell is not None:
                    tell(number, len(sources))

    def video(self, name: str, source: Any, copy: Path | None) -> Result:
        """The result of a video; its copy and the figure of its time line are written."""
        try:
            with open_video(source) as opened, self.screen.bar(name, " s") as tell:
                frames = int((opened.seconds or 0) * opened.rate / self.every)
                timeline = analyse_frames(
                    self.recognizer,
                    opened,
                    every=self.every,
                    smooth=self.smooth,
                    annotate=copy,
                    jobs=self.jobs or usual_jobs(frames // 4),
                    on_frame=lambda frame, _: tell(frame.seconds, opened.seconds),
                )
        except InputError as error:
            return Result(name, error=str(error).removeprefix(f"{name}: "))
        return self._result_of(name, timeline, copy)

    def camera(self, camera: str, copy: Path | None) -> Result:
        """What a camera shows, until a signal or its end. Prints a line when the emotion of a face changes."""
        emotions: dict[int | None, str] = {}

        def tell(frame: Frame, faces: list[Face] | None) -> None:
            for face in faces or ():
                if emotions.get(face.id) != face.emotion:
                    emotions[face.id] = face.emotion
                    told = (
                        f"{frame.seconds:7.1f} s   face {face.id:<3} {face.emotion:8}  {100 * face.confidence:5.1f} %"
                    )
                    print(told, flush=True)

        stop_signals.defer()
        with open_camera(camera, lambda: stop_signals.pending is not None) as opened:
            print(f"camera {camera}: {opened.size[0]} x {opened.size[1]}; Ctrl-C ends", flush=True)
            every, smooth = self.every, self.smooth
            timeline = analyse_frames(self.recognizer, opened, every=every, smooth=smooth, annotate=copy, on_frame=tell)
            stop_signals.cancel_timer()
        return self._result_of(f"camera {camera}", timeline, copy)

    def _result_of(self, name: str, timeline: Timeline, copy: Path | None) -> Result:

        if copy is not None:
            write_timeline(timeline, timeline_of(copy), Path(name).name)
        note = None if timeline else NO_FACE_IN_VIDEO.format(other=self.other_detector)
        return Result(
            name, timeline, timeline.size, timeline.frames, timeline.seconds, note=note, error=timeline.problem
        )


def write_copy(source: Any, faces: Sequence[Face], copy: Path) -> None:
    """Write the annotated copy of a photo, atomically. Raises InputError where it cannot be written."""
    if hasattr(source, "seek"):
        source.seek(0)
    content = io.BytesIO()
    options: dict[str, Any] = {"format": "PNG"} if copy.suffix == ".png" else {"format": "JPEG", "quality": 92}
    annotate(source, faces).save(content, **options)
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{copy.parent}: {error.strerror}") from error
    write_atomic(copy, content.getvalue())


def write_timeline(timeline: Timeline, file: Path, title: str) -> None:
    """Write the figure of a video's time line, a PNG, atomically. Raises InputError where it cannot be written."""
    from fer_lightning.figures.emotion_timeline import emotion_timeline_figure

    figure = emotion_timeline_figure(timeline.tracks(), EXPRESSIONS, timeline.seconds, title, timeline.step())
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomic(file, content.getvalue())
