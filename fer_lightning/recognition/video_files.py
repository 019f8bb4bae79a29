"""Videos read frame by frame, and written: PyAV, which is FFmpeg in Python (extra `video`)."""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fer_lightning.errors import InputError
from fer_lightning.files import atomic_file
from fer_lightning.recognition.photos import LARGE, MAX_PIXELS, Picture

DEMUXERS = "mov,mp4,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,ogg,asf,yuv4mpegpipe"
"""FFmpeg's names of the formats that are read. None of them opens other files or addresses, as playlists do."""

TICKS = 90_000
"""Time stamps of a written video, to the second."""


def load_av() -> ModuleType:
    """The package av. Raises InputError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise InputError(f"videos need the package av ({error}): pip install 'fer_lightning[video]'") from error
    return av


class Turn(NamedTuple):
    """How decoded frames become upright: swap the axes, then flip across, and down."""

    swap: bool = False
    across: bool = False
    down: bool = False


@dataclass(eq=False)
class Frame:
    """A frame of a video. number: from 0; seconds: since the first frame, by the frames' own times."""

    number: int
    seconds: float
    _decoded: Any
    _size: tuple[int, int]
    _turn: Turn

    @cached_property
    def picture(self) -> Picture:
        """Upright pixels, reduced where the frame is large."""
        return _picture(self._decoded, self._size, self._turn)


class Video:
    """A video file that is open for reading, once.

    size: width and height of the upright frames, square pixels; seconds: its length as the file tells, or None; rate:
    frames a second on average. problem: after reading, what was wrong with the file, or None.
    """

    def __init__(self, container: Any, where: str):
        self._where, self._container = where, container
        if not container.streams.video:
            raise InputError(f"{where}: no video in this file{', only sound' if container.streams.audio else ''}")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise InputError(f"{where}: frames of {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} megapixels")
        self._stream, self._broken_packets, self._failure = stream, 0, ""
        self._decoded = self._decode()
        self._first: Any = next(self._decoded, None)
        if self._first is None:
            raise InputError(f"{where}: no frame of this video can be read")
        self._turn = _turn_of(self._first)
        self.size = _upright_size(self._first, stream.sample_aspect_ratio, self._turn)
        self.rate = float(stream.average_rate or stream.guessed_rate or 25)
        self.seconds = self._length()
        self.problem: str | None = None

    def _length(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def _decode(self) -> Iterator[Any]:
        """Decoded frames; packets that are broken are counted and left out."""
        av = load_av()
        try:
            for packet in self._container.demux(self._stream):
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    self._broken_packets += 1
        except av.error.FFmpegError as error:
            self._failure = str(error.strerror or error)

    def __iter__(self) -> Iterator[Frame]:
        """The frames in order, each once."""
        start, seconds, number = self._first.time, 0.0, 0
        decoded = self._first
        while decoded is not None:
            if decoded.time is not None and start is not None:
                seconds = max(seconds, decoded.time - start)  # times never go back
            elif number:
                seconds += 1 / self.rate
            yield Frame(number, round(seconds, 6), decoded, self.size, self._turn)
            decoded, number = next(self._decoded, None), number + 1
        if self.seconds is not None and self.seconds - seconds > max(1.0, 2 / self.rate):
            self.problem = f"broken or cut off after {seconds:.1f} s of {self.seconds:.1f} s"
        elif self._failure:
            self.problem = f"ended after {seconds:.1f} s: {self._failure}"
        elif self._broken_packets:
            self.problem = f"damaged; {self._broken_packets} of its packets were left out"


@contextmanager
def open_video(source: str | os.PathLike[str] | BinaryIO) -> Iterator[Video]:
    """A video, from a path or a binary file. Raises InputError where it cannot be read."""
    av = load_av()
    with ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            where = str(source)
            try:
                file: Any = stack.enter_context(Path(source).open("rb"))
            except OSError as error:
                raise InputError(f"{where}: {error.strerror or error}") from error
        else:
            where, file = str(getattr(source, "name", "the video")), source
        start = file.tell()
        if not file.read(1):
            raise InputError(f"{where}: an empty file")
        file.seek(start)
        try:
            options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
            container = stack.enter_context(av.open(file, options=options))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"{where}: a broken or cut off video, or no video ({reason})") from error
        yield Video(container, where)


def _upright_size(decoded: Any, aspect: Fraction | None, turn: Turn) -> tuple[int, int]:
    """Width and height of a decoded frame with square pixels, turned as the file says. aspect: of its pixels."""
    wide = float(aspect) if aspect and 0.1 < aspect < 10 else 1.0
    width, height = max(1, round(decoded.width * wide)), decoded.height
    return (height, width) if turn.swap else (width, height)


def _turn_of(decoded: Any) -> Turn:
    """What a frame's display matrix says. It is asked for once: a frame with its side data is freed late (a cycle)."""
    for side in decoded.side_data:
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(side, np.int32)[:5].tolist()
            return Turn(False, a < 0, d < 0) if abs(a) + abs(d) >= abs(b) + abs(c) else Turn(True, c < 0, b < 0)
    return Turn()


def _picture(decoded: Any, size: tuple[int, int], turn: Turn) -> Picture:
    """size: of the whole upright frame."""
    factor = 1
    while size[0] * size[1] > LARGE * factor**2:
        factor *= 2
    width, height = (max(1, side // factor) for side in (size[::-1] if turn.swap else size))
    pixels = decoded.reformat(width=width, height=height, format="rgb24").to_ndarray()
    pixels = pixels.transpose(1, 0, 2) if turn.swap else pixels
    return Picture(np.ascontiguousarray(pixels[:: -1 if turn.down else 1, :: -1 if turn.across else 1]), size)


class VideoWriter:
    """Writes frames as H.264 (MPEG-4 where this build of FFmpeg has none) in an .mp4 file."""

    def __init__(self, file: BinaryIO, rate: float):
        av = load_av()
        self._container = av.open(file, "w", format="mp4")
        codec = next(name for name in ("libx264", "mpeg4") if name in av.codecs_available)
        # bf 0: no frames out of order, by which the length of a video of varying rate would be wrong
        options = {"crf": "20", "preset": "veryfast", "bf": "0"} if codec == "libx264" else {"qscale": "3"}
        self._stream = self._container.add_stream(codec, rate=Fraction(rate).limit_denominator(1000), options=options)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._from_array, self._last = av.VideoFrame.from_ndarray, -1

    def add(self, pixels: np.ndarray, seconds: float) -> None:
        """Add a frame (H, W, 3) uint8, all of one size; of odd sizes the last row or column is left out."""
        height, width = (max(2, side - side % 2) for side in pixels.shape[:2])
        if self._last < 0:
            self._stream.width, self._stream.height = width, height
        frame = self._from_array(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        self._last = max(self._last + 1, math.floor(seconds * TICKS + 0.5))
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder holds back, and the index."""
        if self._last >= 0:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Close what cannot be finished."""
        with suppress(Exception):
            self._container.close()


@contextmanager
def written_video(path: Path, rate: float) -> Iterator[VideoWriter]:
    """A video that replaces `path` when the block ends; after an error `path` is as before.

    Raises InputError where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            writer = VideoWriter(file, rate)
            try:
                yield writer
                writer.finish()
            except BaseException:
                writer.abandon()
                raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); an earlier file is kept") from error
