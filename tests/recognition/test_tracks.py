"""Faces followed from frame to frame, and their probabilities smoothed."""

import itertools
import math
import random

import numpy as np
import pytest
from scipy.signal import lfilter

from fer_lightning import EXPRESSIONS, Face
from fer_lightning.recognition.tracks import GAP, Tracker, overlaps

RATE = 25


def face(x: float, y: float = 50.0, side: float = 40.0, probabilities: np.ndarray | None = None) -> Face:
    row = np.full(7, 1 / 7) if probabilities is None else probabilities
    by_name = dict(zip(EXPRESSIONS, row.tolist(), strict=True))
    emotion = max(by_name, key=by_name.__getitem__)
    return Face((x, y, side, side), emotion, by_name[emotion], by_name, 20.0)


def follow(tracker: Tracker, frames: list[list[Face]]) -> list[list[Face]]:
    return [tracker.update(faces, number, number / RATE) for number, faces in enumerate(frames)]


def ids(frames: list[list[Face]]) -> list[list[int | None]]:
    return [[one.id for one in faces] for faces in frames]


def test_overlap_is_that_of_counted_pixels():
    numbers = np.random.default_rng(0)
    boxes = np.concatenate([numbers.integers(0, 20, (12, 2)), numbers.integers(1, 20, (12, 2))], axis=1)
    masks = np.zeros((12, 40, 40), bool)
    for mask, (x, y, width, height) in zip(masks, boxes, strict=True):
        mask[y : y + height, x : x + width] = True
    expected = [[(a & b).sum() / (a | b).sum() for b in masks[5:]] for a in masks[:5]]
    np.testing.assert_allclose(overlaps(boxes[:5, None], boxes[None, 5:]), expected)


def test_each_face_keeps_its_id_whatever_the_order_of_detection():
    shuffle = random.Random(0).shuffle
    frames = []
    for number in range(40):
        places = [(20 + 3 * number, 40.0), (300 - 2 * number, 120.0), (150, 200 + math.sin(number))]
        faces = [face(x, y) for x, y in places]
        shuffle(faces)
        frames.append(faces)
    seen: dict[int | None, set[int]] = {}
    for faces in follow(Tracker(), frames):
        for one in faces:
            seen.setdefault(one.id, set()).add(int(one.box[1] > 80) + int(one.box[1] > 160))
    assert sorted(seen) == [1, 2, 3]
    assert all(len(rows) == 1 for rows in seen.values())


@pytest.mark.parametrize("hidden", [0, 10])
def test_faces_that_cross_keep_their_ids(hidden):
    """One goes to the right, one to the left; about the middle only the one in front is found."""
    frames = []
    for number in range(60):
        right, left = face(50 + 4 * number), face(290 - 4 * number, 54)
        frames.append([right] if abs(number - 30) < hidden / 2 else [left, right])
    followed = follow(Tracker(), frames)
    first, last = followed[0], followed[-1]
    assert {one.box[1]: one.id for one in first} == {one.box[1]: one.id for one in last}
    assert {one.id for faces in followed for one in faces} == {1, 2}
    assert {one.id for faces in followed for one in faces if one.box[1] == 50.0} == {first[1].id}


def test_an_id_survives_a_gap_of_less_than_a_second_and_no_more():
    short, long = int(GAP * RATE) - 1, int(GAP * RATE) + 1
    still = [face(100)]
    assert ids(follow(Tracker(), [still, *[[]] * short, still]))[-1] == [1]
    assert ids(follow(Tracker(), [still, *[[]] * long, still]))[-1] == [2]
    moving = [[face(100 + 3 * number)] for number in range(25)]
    returned = [[face(100 + 3 * 30)]]
    assert ids(follow(Tracker(), [*moving, *[[]] * 5, *returned]))[-1] == [1]


def test_a_face_that_moves_keeps_its_id_where_few_frames_are_looked_at():
    tracker = Tracker()
    found = [tracker.update([face(100 + 80 * seconds)], 0, seconds) for seconds in (0.0, 0.5, 1.0, 1.5, 2.5)]
    assert ids(found) == [[1]] * 5
    tracker = Tracker()
    found = [tracker.update([face(100 + 2 * seconds)], 0, seconds) for seconds in (0.0, 3.0, 6.0)]
    assert ids(found) == [[1]] * 3


def test_a_new_face_gets_a_new_id_and_none_is_used_twice():
    tracker = Tracker()
    followed = follow(tracker, [[face(0)], [face(0), face(200)], [face(200)], *[[]] * 30, [face(0), face(200)]])
    assert ids(followed)[:3] == [[1], [1, 2], [2]]
    assert ids(followed)[-1] == [3, 4]


def test_the_assignment_has_the_largest_total_overlap():
    numbers = np.random.default_rng(1)
    for _ in range(50):
        before = [face(*numbers.uniform(0, 60, 2)) for _ in range(4)]
        after = [face(*numbers.uniform(0, 60, 2)) for _ in range(4)]
        tracker = Tracker()
        tracker.update(before, 0, 0.0)
        found = {one.id: row for row, one in enumerate(tracker.update(after, 1, 0.0))}
        table = overlaps(np.array([[one.box] for one in before]), np.array([[one.box for one in after]]))
        table[table < 0.2] = 0
        best = max(
            sum(table[row, column] for row, column in enumerate(order)) for order in itertools.permutations(range(4))
        )
        assert sum(table[number - 1, row] for number, row in found.items() if number <= 4) == pytest.approx(best)


def test_a_frame_says_its_number_time_and_keeps_what_was_found():
    (one,) = Tracker().update([face(3)], 17, 0.68)
    assert (one.frame, one.seconds, one.id, one.box, one.score) == (17, 0.68, 1, (3, 50.0, 40.0, 40.0), 20.0)


def test_smoothing_is_exponential():
    """At a steady rate a first-order low-pass filter, whose coefficients are those of the documented formula."""
    raw = np.random.default_rng(2).dirichlet(np.ones(7), 50)
    followed = follow(Tracker(smooth=0.3), [[face(0, probabilities=row)] for row in raw])
    share = 1 - math.exp(-1 / RATE / 0.3)
    start = (1 - share) * raw[:1]
    expected, _ = lfilter([share], [1, share - 1], raw, axis=0, zi=start)
    found = np.array([list(faces[0].probabilities.values()) for faces in followed])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    for (one,), row in zip(followed, expected, strict=True):
        assert one.emotion == EXPRESSIONS[row.argmax()]
        assert one.confidence == pytest.approx(row.max())


def test_smoothing_depends_on_time_and_not_on_the_rate():
    """After a step at 0 s it has come 1 - exp(-t / smooth) of the way at t, however the frames lie."""
    angry, sad = np.eye(7)[0], np.eye(7)[4]
    for times in ([0.5, 0.9], [0.01, 0.2, 0.25, 0.9]):
        tracker = Tracker(smooth=0.4)
        tracker.update([face(0, probabilities=angry)], 0, 0.0)
        for number, seconds in enumerate(times, 1):
            (one,) = tracker.update([face(0, probabilities=sad)], number, seconds)
        assert one.probabilities["sad"] == pytest.approx(1 - math.exp(-0.9 / 0.4))


def test_faces_are_smoothed_apart_and_not_at_all_by_default():
    angry, sad = np.eye(7)[0], np.eye(7)[4]
    for smooth in (0.0, 0.5):
        tracker = Tracker(smooth)
        tracker.update([face(0, probabilities=angry), face(200, probabilities=sad)], 0, 0.0)
        one, other = tracker.update([face(200, probabilities=sad), face(0, probabilities=sad)], 1, 0.1)
        assert one.probabilities["sad"] == 1
        assert other.probabilities["sad"] == pytest.approx(1 - math.exp(-0.1 / 0.5) if smooth else 1)


@pytest.mark.parametrize("smooth", [-1.0, math.nan, math.inf])
def test_a_time_constant_is_a_time(smooth):
    with pytest.raises(ValueError, match="expected seconds, 0 or more"):
        Tracker(smooth)
