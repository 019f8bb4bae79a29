"""Videos: read frame by frame, written, and analysed."""

import gc
import io
import sys
import weakref
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import mode
from small_videos import face_at, scene, write_video

from fer_lightning import EXPRESSIONS, Face, Recognizer
from fer_lightning.errors import InputError
from fer_lightning.recognition.timeline import Timeline
from fer_lightning.recognition.tracks import overlaps
from fer_lightning.recognition.video_files import open_video, written_video
from fer_lightning.recognition.videos import analyse_video, faces_in

av = pytest.importorskip("av")

GREYS = [np.full((48, 64, 3), 12 * number + 20, np.uint8) for number in range(12)]
CORNERS = np.zeros((48, 64, 3), np.uint8)
"""Red, green, blue and white corners, from the left top one on clockwise."""
CORNERS[:24, :32], CORNERS[:24, 32:], CORNERS[24:, 32:], CORNERS[24:, :32] = (
    (220, 20, 20),
    (20, 200, 20),
    (20, 20, 220),
    230,
)


@pytest.fixture(scope="module")
def recognizer(random_weights) -> Recognizer:
    return Recognizer.load(random_weights[0], device="cpu")


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory):
    """Twelve frames, 10 a second: she moves to the right, and is away in frames 4 to 6."""
    places = [None if 4 <= number <= 6 else (20 + 8 * number, 60 + 2 * number) for number in range(12)]
    path = tmp_path_factory.mktemp("video") / "astronaut.mp4"
    return write_video(path, [scene(place) for place in places]), places


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx"),
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
        ("a.mpg", "mpeg1video"),
    ],
)
def test_each_kind_gives_its_frames_in_order_with_their_times(name, codec, tmp_path):
    rate = 25 if codec == "mpeg1video" else 10
    path = write_video(tmp_path / name, GREYS, rate, codec=codec)
    with open_video(path) as video:
        frames = [(frame.number, frame.seconds, frame.picture.pixels[24, 32].mean()) for frame in video]
    assert (video.size, video.problem) == ((64, 48), None)
    numbers, seconds, greys = zip(*frames, strict=True)
    assert numbers == tuple(range(12))
    np.testing.assert_allclose(seconds, np.arange(12) / rate, atol=2e-3)
    np.testing.assert_allclose(greys, [grey[0, 0, 0] for grey in GREYS], atol=6)
    assert video.rate == pytest.approx(rate)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_frames_are_turned_as_the_metadata_say(rotation, tmp_path):
    path = write_video(tmp_path / "turned.mp4", [CORNERS] * 3, rotation=rotation)
    upright = np.rot90(CORNERS, rotation // 90)
    with open_video(path) as video:
        frame = next(iter(video))
        assert video.size == (upright.shape[1], upright.shape[0])
    for row in (12, -12):
        for column in (12, -12):
            np.testing.assert_allclose(frame.picture.pixels[row, column], upright[row, column].astype(int), atol=12)


def test_mirrored_frames_are_turned_too(tmp_path):
    """The display matrix of an .mp4 file, 9 numbers in its track header: here x becomes -x."""
    path = write_video(tmp_path / "mirrored.mp4", [CORNERS] * 3)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    assert content[start : start + 4] == bytes([0, 1, 0, 0])
    content[start : start + 4] = (-0x10000).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    with open_video(path) as video:
        frame = next(iter(video))
    np.testing.assert_allclose(frame.picture.pixels[12, 12], CORNERS[12, -12].astype(int), atol=12)


def test_pixels_that_are_not_square_are_widened(tmp_path):
    path = write_video(tmp_path / "wide.mkv", GREYS, aspect=Fraction(4, 3))
    with open_video(path) as video:
        assert video.size == (85, 48)
        assert next(iter(video)).picture.pixels.shape == (48, 85, 3)


def test_times_are_those_of_the_frames_and_begin_with_the_first(tmp_path):
    times = [2.0, 2.033, 2.5, 2.533, 4.0, 4.011]
    path = write_video(tmp_path / "varying.mkv", GREYS[:6], 30, times)
    with open_video(path) as video:
        found = [frame.seconds for frame in video]
    np.testing.assert_allclose(found, np.array(times) - 2, atol=1e-3)


def test_a_video_that_is_cut_off_is_read_up_to_there_and_says_so(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 240, 320, 3), np.uint8)
    content = write_video(tmp_path / "whole.mkv", np.repeat(noise, 5, axis=0), rate=10).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) * 6 // 10])
    with open_video(tmp_path / "cut.mkv") as video:
        frames = [frame.number for frame in video]
    assert 20 < len(frames) < 180
    assert video.problem == f"broken or cut off after {(len(frames) - 1) / 10:.1f} s of 20.0 s"


def sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


BROKEN = {
    "empty": (lambda whole: b"", "an empty file"),
    "only sound": (lambda whole: sound(), "no video in this file, only sound"),
    "without its index": (lambda whole: whole[: len(whole) // 2], "a broken or cut off video, or no video"),
    "only its head": (lambda whole: whole[:40], "a broken or cut off video, or no video"),
    "noise": (lambda whole: np.random.default_rng(0).bytes(9000), "a broken or cut off video, or no video"),
    "text": (lambda whole: b"hello " * 999, "a broken or cut off video, or no video"),
    "a playlist": (lambda whole: b"#EXTM3U\n#EXTINF:5,\n/etc/passwd\n#EXT-X-ENDLIST\n", "a broken or cut off video"),
    "a photo": (lambda whole: b"\x89PNG\r\n\x1a\n" + whole, "a broken or cut off video, or no video"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_gets_one_line(name, astronaut, tmp_path, capfd):
    make, message = BROKEN[name]
    path = tmp_path / "video.mp4"
    path.write_bytes(make(astronaut[0].read_bytes()))
    with pytest.raises(InputError, match=message) as error, open_video(path):
        pass
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_video_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.mp4: No such file"), open_video(tmp_path / "none.mp4"):
        pass


def test_without_the_package_one_line_says_what_to_install(monkeypatch, recognizer):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'fer_lightning\[video\]'"):
        analyse_video(recognizer, "video.mp4")


@pytest.mark.parametrize("shape", [(48, 64), (49, 65), (121, 200)])
def test_a_written_video_has_the_frames_their_times_and_even_sides(shape, tmp_path):
    times = [0.0, 0.04, 0.5, 0.54, 3.0, 9.0]
    with written_video(tmp_path / "new" / "out.mp4", 25.0) as writer:
        for number, seconds in enumerate(times):
            writer.add(np.full((*shape, 3), (200 - 20 * number, 60, 30), np.uint8), seconds)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["out.mp4"]
    with open_video(tmp_path / "new" / "out.mp4") as video:
        frames = list(video)
    assert video.size == (shape[1] // 2 * 2, shape[0] // 2 * 2)
    np.testing.assert_allclose([frame.seconds for frame in frames], times, atol=1e-3)
    assert video.seconds == pytest.approx(9.04, abs=0.1)
    for number, frame in enumerate(frames):
        np.testing.assert_allclose(frame.picture.pixels[20, 20], (200 - 20 * number, 60, 30), atol=6)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_video_that_fails_leaves_the_earlier_file(error, tmp_path, capfd):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"earlier")

    def fail() -> None:
        with written_video(path, 25.0) as writer:
            for number in range(30):
                writer.add(np.full((48, 64, 3), number, np.uint8), number / 25)
            raise error

    with pytest.raises((KeyboardInterrupt, InputError)):
        fail()
    gc.collect()
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


def test_the_astronaut_is_found_where_and_when_she_is_with_one_id(recognizer, astronaut):
    path, places = astronaut
    told: list[tuple[float, float | None]] = []
    faces = analyse_video(recognizer, path, on_progress=lambda *done: told.append(done))
    assert [face.frame for face in faces] == [number for number, place in enumerate(places) if place]
    for face in faces:
        assert face.frame is not None
        place = places[face.frame]
        assert place is not None
        assert overlaps(np.array(face.box), face_at(place)) > 0.7
        assert face.seconds == pytest.approx(face.frame / 10)
        assert face.id == 1
        assert list(face.probabilities) == list(EXPRESSIONS)
    assert (faces.size, faces.frames, faces.problem) == ((480, 320), 12, None)
    assert faces.seconds == pytest.approx(1.2)
    assert [seconds for seconds, _ in told] == pytest.approx([number / 10 for number in range(12)])
    assert [length for _, length in told] == pytest.approx([1.2] * 12)


def test_every_third_frame_has_the_faces_that_it_has_among_all(recognizer, astronaut):
    everywhere, third = (list(analyse_video(recognizer, astronaut[0], every=every)) for every in (1, 3))
    assert third == [face for face in everywhere if face.frame is not None and face.frame % 3 == 0]


def test_processes_find_what_one_process_finds(recognizer, astronaut):
    assert list(analyse_video(recognizer, astronaut[0], jobs=2)) == list(analyse_video(recognizer, astronaut[0]))


def test_the_annotated_video_has_every_frame_with_the_faces(recognizer, astronaut, tmp_path):
    path, _ = astronaut
    faces = analyse_video(recognizer, path, every=2, annotate=tmp_path / "copy.mp4")
    with open_video(path) as before, open_video(tmp_path / "copy.mp4") as after:
        pairs = list(zip(before, after, strict=True))
        factor = after.size[0] // before.size[0]
    assert [frame.seconds for _, frame in pairs] == pytest.approx([number / 10 for number in range(12)], abs=1e-3)
    drawn = []
    for original, copy in pairs:
        small = copy.picture.pixels[::factor, ::factor].astype(int)
        drawn.append(bool((abs(small - original.picture.pixels).max(axis=2) > 60).sum() > 300))
    seen = {face.frame for face in faces}
    assert drawn == [number - number % 2 in seen for number in range(12)]


def test_a_video_comes_from_memory_too_and_may_be_one_face(recognizer, astronaut, random_weights):
    content = io.BytesIO(astronaut[0].read_bytes())
    assert list(analyse_video(recognizer, content)) == list(analyse_video(recognizer, astronaut[0]))
    assert not content.closed
    whole = Recognizer.load(random_weights[0], device="cpu", detect=False)
    faces = analyse_video(whole, astronaut[0])
    assert {(face.box, face.id) for face in faces} == {((0.0, 0.0, 480.0, 320.0), 1)}
    assert len(faces) == 12


def test_smoothed_probabilities_are_those_of_the_formula(random_weights, astronaut):
    whole = Recognizer.load(random_weights[0], device="cpu", detect=False)
    raw = np.array([list(face.probabilities.values()) for face in analyse_video(whole, astronaut[0])])
    found = np.array([list(face.probabilities.values()) for face in analyse_video(whole, astronaut[0], smooth=0.25)])
    expected = raw[0]
    for row, probabilities in zip(found, raw, strict=True):
        expected = (
            expected + (1 - np.exp(-0.1 / 0.25)) * (probabilities - expected) if row is not found[0] else expected
        )
        np.testing.assert_allclose(row, expected, atol=1e-7)


@pytest.mark.parametrize("every", [1, 5])
def test_frames_do_not_pile_up(random_weights, every, tmp_path):
    whole = Recognizer.load(random_weights[0], device="cpu", detect=False)
    path = write_video(tmp_path / "long.mp4", (np.full((48, 64, 3), number % 250, np.uint8) for number in range(200)))
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    most = decoded = 0
    gc.collect()
    gc.disable()  # frames must go without the search for cycles
    try:
        with open_video(path) as video:
            for frame, _ in faces_in(whole, video, every):
                alive.add(frame)
                most = max(most, len(alive))
            decoded = sum(type(one) is av.VideoFrame for one in gc.get_objects())
    finally:
        gc.enable()
    assert decoded <= 4
    assert most <= 4


@pytest.mark.parametrize("every", [0, -1])
def test_every_is_a_number_of_frames(recognizer, astronaut, every):
    with pytest.raises(ValueError, match="expected a whole number from 1 on"):
        analyse_video(recognizer, astronaut[0], every=every)


def test_a_time_line_is_a_sequence_of_the_faces_that_it_was_given():
    numbers, given = np.random.default_rng(0), []
    timeline = Timeline((64, 48))
    for frame in range(30):
        faces = []
        for one in range(1, int(numbers.integers(1, 4))):
            row = dict(zip(EXPRESSIONS, numbers.dirichlet(np.ones(7)).tolist(), strict=True))
            emotion = max(row, key=row.__getitem__)
            score = None if one == 1 else float(numbers.uniform())
            box = tuple(numbers.uniform(0, 50, 4).tolist())
            faces.append(Face(box, emotion, row[emotion], row, score, frame, frame / 8, one))
        timeline.add(frame / 8, faces)
        timeline.frames, timeline.seconds = frame + 1, (frame + 1) / 8
        given += faces
    assert list(timeline) == given
    assert timeline[3:7] == given[3:7]
    assert (len(timeline), timeline[-1]) == (len(given), given[-1])
    with pytest.raises(IndexError):
        timeline[len(given)]
    for seen in timeline.summary():
        mine = [face for face in given if face.id == seen.id]
        assert (seen.frames, seen.first, seen.last) == (len(mine), mine[0].seconds, mine[-1].seconds)
        assert seen.seconds == pytest.approx(len(mine) / 8)
        most = mode([EXPRESSIONS.index(face.emotion) for face in mine])
        assert seen.emotion == EXPRESSIONS[most.mode]
        assert seen.share == pytest.approx(most.count / len(mine))
        assert seen.probability == pytest.approx(np.mean([face.probabilities[seen.emotion] for face in mine]))
    assert timeline.step() == pytest.approx(1 / 8)
    assert Timeline().summary() == []
