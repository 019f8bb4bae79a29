"""The confusion matrix as a picture says its numbers, in the colours of its shares."""

import matplotlib
import numpy as np
import torch
from PIL import ImageDraw

from fer_lightning.figures.confusion import accuracy_of, confusion_picture, row_shares


def test_the_confusion_picture_says_counts_shares_and_accuracy(monkeypatch):
    matrix, words, draw = np.array([[3, 1], [0, 0]]), [], ImageDraw.ImageDraw.text

    def text(pen, place, what, *others, **settings):
        words.append((what, place))
        draw(pen, place, what, *others, **settings)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    picture = confusion_picture(matrix, ("happy", "sad"), "val").float() / 255
    said = [what for what, _ in words]
    assert "val   accuracy 75.00% of 4" in said
    assert [what for what in said if what.endswith("%")] == ["75%", "25%", "0%", "0%"]
    assert [what for what in said if what.isdigit()] == ["3", "1", "0", "0"]
    assert {"4 images", "0 images", "predicted", "true"} <= set(said)
    blues = matplotlib.colormaps["Blues"]
    for share in ("75%", "25%"):  # each cell has the colour of the share that is written in it
        x, y = next(place for what, place in words if what == share)
        colour = torch.tensor(blues(int(share[:2]) / 100)[:3])
        torch.testing.assert_close(picture[:, int(y) - 24, int(x)].double(), colour, atol=0.02, rtol=0)


def test_shares_of_an_empty_row_and_the_accuracy_of_no_images_are_zero():
    assert row_shares(np.array([[1, 3], [0, 0]])).tolist() == [[0.25, 0.75], [0, 0]]
    assert accuracy_of(np.zeros((2, 2))) == 0
    assert accuracy_of(np.array([[1, 3], [0, 0]])) == 0.25
