"""Annotated copies: the picture outside boxes and labels stays, labels stay inside, every size works."""

import numpy as np
import pytest
from PIL import Image

from fer_lightning import EXPRESSIONS, Face
from fer_lightning.recognition import drawing
from fer_lightning.recognition.drawing import annotate

PROBABILITIES = dict.fromkeys(EXPRESSIONS, 0.05) | {"surprise": 0.5, "happy": 0.2}


def face(*box: float) -> Face:
    return Face(box, "surprise", 0.5, PROBABILITIES, 1.0)


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    return (np.asarray(before) != np.asarray(after)).any(axis=2)


def test_only_a_copy_is_drawn_and_only_around_the_face():
    image = Image.new("RGB", (800, 600), (128, 128, 128))
    copy = annotate(image, [face(300, 200, 100, 100)])
    assert image.getcolors() == [(800 * 600, (128, 128, 128))]
    rows, columns = np.nonzero(changed(image, copy))
    assert rows.min() > 190
    assert rows.max() < 420
    assert columns.min() > 200
    assert columns.max() < 500
    inside = changed(image, copy)[210:290, 310:390]
    assert not inside.any()
    assert not changed(image, annotate(image, [])).any()


@pytest.mark.parametrize("place", [(-30, -30), (750, -30), (-30, 550), (750, 550), (350, 0), (350, 500), (0, 250)])
@pytest.mark.parametrize("side", [30, 100, 700])
def test_labels_never_leave_the_picture(place, side, monkeypatch):
    places = []
    monkeypatch.setattr(drawing, "_draw_rows", lambda draw, rows, text, where: places.append(where))
    annotate(Image.new("RGB", (800, 600)), [face(*place, side, side)])
    (where,) = places
    assert where.left >= 0 <= where.top
    assert where.right < 800
    assert where.bottom < 600


def test_labels_of_neighbours_do_not_cover_each_other_or_a_face(monkeypatch):
    places = []
    monkeypatch.setattr(drawing, "_draw_rows", lambda draw, rows, text, where: places.append(where))
    faces = [face(100, 100, 90, 110), face(220, 110, 90, 110), face(340, 90, 90, 110)]
    annotate(Image.new("RGB", (800, 600)), faces)
    boxes = [drawing.Box(x, y, x + width, y + height) for x, y, width, height in (one.box for one in faces)]
    everything = [*places, *boxes]
    for number, one in enumerate(places):
        assert all(drawing._common(one, other) == 0 for other in everything[number + 1 :])


@pytest.mark.parametrize("size", [(1, 1), (48, 48), (5, 900), (3000, 20), (4000, 3000), (6000, 5000)])
def test_every_size_is_drawn_and_small_ones_are_enlarged(size):
    copy = annotate(Image.new("RGB", size), [face(0, 0, *size)])
    assert max(copy.size) <= max(4096, 1)
    assert min(copy.size) >= min(360, 4096 * min(size) // max(size) // 2)
    assert copy.width * size[1] == pytest.approx(copy.height * size[0], rel=0.01)
    assert changed(Image.new("RGB", copy.size), copy).any()


def test_boxes_of_a_large_picture_are_in_its_own_pixels():
    image = Image.new("RGB", (8000, 6000))
    copy = annotate(image, [face(4000, 1000, 3000, 3000)])
    outline = changed(Image.new("RGB", copy.size), copy)
    scale = copy.width / 8000
    rows, columns = np.nonzero(outline)
    assert columns.min() == pytest.approx(4000 * scale, abs=20)
    assert rows.min() == pytest.approx(1000 * scale, abs=20)


def test_the_id_of_a_videos_face_is_drawn_in_the_corner_of_its_box():
    probabilities = dict.fromkeys(EXPRESSIONS, 0.0) | {"happy": 1.0}
    grey = np.full((400, 400, 3), 128, np.uint8)
    without, one, two = (
        np.asarray(annotate(grey, [Face((100, 100, 200, 200), "happy", 1.0, probabilities, id=number)])).astype(int)
        for number in (None, 1, 2)
    )
    for drawn, other in ((one, without), (two, one)):
        rows, columns = np.nonzero(abs(drawn - other).max(axis=2))
        assert 95 <= rows.min() <= rows.max() < 140
        assert 95 <= columns.min() <= columns.max() < 140
