"""Faces drawn into a copy of their picture: boxes, emotions and bars of probabilities, ids of a video's faces."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from fer_lightning.recognition.photos import open_picture
from fer_lightning.recognition.recognizer import Face

COLOURS = {
    "angry": "#e8604a",
    "disgust": "#9cc054",
    "fear": "#b487d6",
    "happy": "#f5b83d",
    "sad": "#6ba3dd",
    "surprise": "#45bfb2",
    "neutral": "#b4b4b4",
}
PANEL, TRACK, TEXT = (22, 22, 26), (70, 70, 78), (255, 255, 255)

SMALLEST_SIDE = 360
"""Shorter side of an annotated copy, pixels; smaller pictures are enlarged, so that the text can be read."""

LARGEST_SIDE = 4096
"""Longer side of an enlarged copy, pixels."""

EMOTIONS = 3
"""Rows of a large face's panel: the likeliest emotions."""

LEAST_SHOWN = 0.05
"""Probability from which a second or third emotion is shown."""


class Box(NamedTuple):
    """Corners in pixels of the copy."""

    left: float
    top: float
    right: float
    bottom: float


def annotate(image: Any, faces: Sequence[Face]) -> Image.Image:
    """A copy of a picture with its faces' boxes, likeliest emotions and bars. image: as in `photos.open_picture`.

    Large pictures are drawn at the size at which they are read (see `photos.LARGE`), small ones enlarged.
    """
    picture = open_picture(image)
    copy = _enlarged(Image.fromarray(picture.pixels))
    draw = ImageDraw.Draw(copy, "RGBA")
    across, down = copy.width / picture.size[0], copy.height / picture.size[1]
    boxes = []
    for face in faces:
        x, y, width, height = face.box
        boxes.append(Box(x * across, y * down, (x + width) * across, (y + height) * down))
    taken = list(boxes)
    for face, box in zip(faces, boxes, strict=True):
        _outline(draw, box, COLOURS[face.emotion], _unit(copy.size))
    for face, box in zip(faces, boxes, strict=True):
        taken.append(_panel(draw, copy.size, face, box, taken))
        if face.id is not None:
            _number(draw, box, face.id, _text_size(copy.size, box))
    return copy


def _enlarged(image: Image.Image) -> Image.Image:
    factor = min(math.ceil(SMALLEST_SIDE / min(image.size)), max(1, LARGEST_SIDE // max(image.size)))
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC) if factor > 1 else image.copy()


def _unit(size: tuple[int, int]) -> float:
    """Thickness of a line that is seen in a picture of this size."""
    return max(1.0, math.sqrt(size[0] * size[1]) / 360)


def _outline(draw: ImageDraw.ImageDraw, box: Box, colour: str, unit: float) -> None:
    """A coloured box with a thin dark edge on both sides, seen on light and dark pictures."""
    width, edge = max(2, round(1.6 * unit)), max(1, round(0.5 * unit))
    radius = min(box.right - box.left, box.bottom - box.top) / 16
    outer = (box.left - edge, box.top - edge, box.right + edge, box.bottom + edge)
    draw.rounded_rectangle(outer, radius, outline=(*PANEL, 170), width=width + 2 * edge)
    draw.rounded_rectangle(box, radius, outline=colour, width=width)


def _number(draw: ImageDraw.ImageDraw, box: Box, number: int, text: int) -> None:
    """Draw the id of a video's face into the left top corner of its box."""
    font = _font(text)
    place = Box(box.left, box.top, box.left + font.getlength(str(number)) + 0.8 * text, box.top + 1.35 * text)
    draw.rounded_rectangle(place, text / 4, fill=(*PANEL, 215))
    draw.text(((place.left + place.right) / 2, (place.top + place.bottom) / 2), str(number), TEXT, font, anchor="mm")


def _panel(draw: ImageDraw.ImageDraw, size: tuple[int, int], face: Face, box: Box, taken: list[Box]) -> Box:
    """Draw the face's likeliest emotions where they hide least, and return the place."""
    text = _text_size(size, box)
    likeliest = sorted(face.probabilities.items(), key=lambda item: -item[1])
    rows = [likeliest[0], *(item for item in likeliest[1:EMOTIONS] if item[1] >= LEAST_SHOWN)]
    if box.bottom - box.top < 6 * text:
        rows = rows[:1]
    while True:
        width, height = _extent(rows, text)
        place = _place(size, width, height, box, taken, 2 * _unit(size))
        if text > 7 and (width > size[0] or height > size[1]):
            text = max(7, math.floor(text * 0.85))
        elif len(rows) > 1 and any(_common(place, other) for other in taken):
            rows = rows[:1]
        else:
            break
    _draw_rows(draw, rows, text, place)
    return place


def _extent(rows: list[tuple[str, float]], text: int) -> tuple[float, float]:
    """Width and height of a panel of some rows, a name and a probability each."""
    font = _font(text)
    width = max(font.getlength(name) for name, _ in rows) + font.getlength("100 %") + 1.2 * text
    return (width, 1.9 * text) if len(rows) == 1 else (width + 3.6 * text, (1.25 * len(rows) + 0.4) * text)


def _draw_rows(draw: ImageDraw.ImageDraw, rows: list[tuple[str, float]], text: int, place: Box) -> None:
    """Names, bars and probabilities: the bar of a single row is below its text, others are beside it."""
    font, gap = _font(text), 0.4 * text
    left, right = place.left + gap, place.right - gap
    draw.rounded_rectangle(place, text / 4, fill=(*PANEL, 215))
    for number, (emotion, probability) in enumerate(rows):
        middle = place.top + 0.2 * text + (number + 0.5) * 1.25 * text
        draw.text((left, middle), emotion, TEXT, font, anchor="lm")
        draw.text((right, middle), f"{100 * probability:.0f} %", TEXT, font, anchor="rm")
        if len(rows) == 1:
            start, end, top, bottom = left, right, place.bottom - 0.45 * text, place.bottom - 0.22 * text
        else:
            start = left + max(font.getlength(name) for name, _ in rows) + gap
            end, top, bottom = start + 3.2 * text, middle - 0.2 * text, middle + 0.2 * text
        draw.rectangle((start, top, end, bottom), fill=TRACK)
        draw.rectangle((start, top, start + max(1.0, (end - start) * probability), bottom), fill=COLOURS[emotion])


def _text_size(size: tuple[int, int], box: Box) -> int:
    """Height of the text, pixels: of the face's size, within what can be read in a picture of this size."""
    side = math.sqrt(size[0] * size[1])
    return round(min(max((box.right - box.left) / 7, side / 60, 11), max(side / 34, 15)))


def _place(size: tuple[int, int], width: float, height: float, box: Box, taken: list[Box], gap: float) -> Box:
    """The place below, above, beside or inside the box, within the picture, that covers least of what is taken."""
    middle, top = (box.left + box.right - width) / 2, box.top
    corners = [
        (middle, box.bottom + gap),
        (middle, box.top - gap - height),
        (box.right + gap, top),
        (box.left - gap - width, top),
        (middle, box.bottom - gap - height),
    ]
    places = []
    for x, y in corners:
        left = max(0.0, min(x, size[0] - 1 - width))
        top = max(0.0, min(y, size[1] - 1 - height))
        places.append(Box(left, top, left + width, top + height))
    return min(places, key=lambda place: sum(_common(place, other) for other in taken))


def _common(first: Box, second: Box) -> float:
    """Pixels that two boxes share."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    return max(width, 0.0) * max(height, 0.0)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]  # of pillow itself, with FreeType
