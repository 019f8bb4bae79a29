"""The figure of a video's time line."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fer_lightning import EXPRESSIONS
from fer_lightning.figures.emotion_timeline import PANELS, emotion_timeline_figure
from fer_lightning.figures.palette import COLOURS

STEADY = np.tile(np.array([0.1, 0.05, 0.05, 0.4, 0.1, 0.1, 0.2]), (400, 1))


def stretches(figure: Figure, panel: int) -> list[list[np.ndarray]]:
    """The outlines of the areas of a panel, seven for each stretch of time."""
    areas = [area.get_paths()[0].vertices for area in figure.axes[panel].collections]
    return [areas[start : start + 7] for start in range(0, len(areas), 7)]


def test_areas_have_the_heights_of_the_probabilities_in_the_colours_of_the_emotions():
    times = np.arange(400) / 25
    figure = emotion_timeline_figure({3: (times, STEADY)}, EXPRESSIONS, 16.0, "clip.mp4")
    (areas,) = stretches(figure, 0)
    edges = np.cumsum(STEADY[0])
    for area, top in zip(areas, edges, strict=True):
        np.testing.assert_allclose(area[:, 1].max(), top)
        np.testing.assert_allclose((area[:, 0].min(), area[:, 0].max()), (0, 399 / 25))
    assert tuple(to_hex(area.get_facecolor()[0]) for area in figure.axes[0].collections) == COLOURS
    assert figure.axes[0].get_ylabel() == "face 3"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(EXPRESSIONS[::-1])


def test_a_face_that_was_away_leaves_a_gap_and_one_that_blinked_does_not():
    times = np.delete(np.arange(400) / 25, np.r_[100:110, 200:260])
    figure = emotion_timeline_figure({1: (times, STEADY[: len(times)])}, EXPRESSIONS, 16.0)
    before, after = (areas[0][:, 0] for areas in stretches(figure, 0))
    assert (before.min(), before.max(), after.min(), after.max()) == (0, 199 / 25, 260 / 25, 399 / 25)
    slow = emotion_timeline_figure({1: (np.arange(400) * 5.0, STEADY)}, EXPRESSIONS, 2000.0, step=5.0)
    assert len(stretches(slow, 0)) == 1


def test_long_videos_are_drawn_as_means():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), 100_000)
    figure = emotion_timeline_figure({1: (np.arange(100_000) / 25, probabilities)}, EXPRESSIONS, 4000.0)
    (areas,) = stretches(figure, 0)
    assert len(areas[0]) < 3000
    assert figure.axes[0].get_xlabel() == "minutes : seconds"


def test_the_faces_seen_most_often_are_shown_and_none_is_said():
    tracks = {number: (np.arange(5 + number) / 25, STEADY[: 5 + number]) for number in range(1, PANELS + 4)}
    figure = emotion_timeline_figure(tracks, EXPRESSIONS, 1.0)
    assert [axes.get_ylabel() for axes in figure.axes] == [f"face {number}" for number in range(4, PANELS + 4)]
    assert "3 faces seen less often are left out" in figure.axes[0].get_title(loc="left")
    nothing = emotion_timeline_figure({}, EXPRESSIONS, 1.0)
    assert nothing.axes[0].texts[0].get_text() == "no face"
    once = emotion_timeline_figure({1: (np.array([0.5]), STEADY[:1])}, EXPRESSIONS, 1.0)
    assert stretches(once, 0)[0][0][:, 0].max() > 0.5
