"""Videos of known content for tests: frames of colour, and scikit-image's astronaut over a photo without faces."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

HEAD = (120, 20, 300, 220)
"""Corners of a part of the astronaut with her head, pixels."""

FACE_IN_HEAD = (50, 46, 108, 108)
"""The face in that part: x, y, width, height; see test_predict."""


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    rate: int = 10,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    codec: str = "libx264",
    aspect: Fraction | None = None,
) -> Path:
    """Frames (H, W, 3) uint8 of even sizes. times: of each, seconds; rotation: of the metadata, counterclockwise."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, pixels in enumerate(frames):
            if not number:
                stream.height, stream.width = pixels.shape[:2]
                if aspect is not None:
                    stream.codec_context.sample_aspect_ratio = aspect
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[number]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def scene(*places: tuple[int, int] | None, size: tuple[int, int] = (480, 320), scale: float = 0.6) -> np.ndarray:
    """A frame with the astronaut's head at each place (its left top corner); later ones cover earlier ones."""
    image = Image.fromarray(data.coffee()).resize(size)
    head = Image.fromarray(data.astronaut()).crop(HEAD)
    head = head.resize((round(head.width * scale), round(head.height * scale)))
    for place in places:
        if place is not None:
            image.paste(head, place)
    return np.asarray(image)


def face_at(place: tuple[int, int], scale: float = 0.6) -> np.ndarray:
    """The box of the face in such a frame: x, y, width, height."""
    return np.array([place[0], place[1], 0, 0]) + scale * np.array(FACE_IN_HEAD)
