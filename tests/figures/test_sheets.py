"""Contact sheets: pixels stay pixels, colours say what they should, everything stands in its place."""

import io

import numpy as np
import torch
from PIL import Image

from fer_lightning.figures.sheets import (
    Group,
    apply_colormap,
    contact_sheet,
    faces_to_rgb,
    overlay_heat,
    png,
    sheet_of_groups,
    signed_to_rgb,
)


def test_enlarged_pixels_stay_pixels():
    picture = torch.randint(0, 256, (1, 1, 3, 3))
    sheet = contact_sheet([faces_to_rgb(picture)], side=12)
    found = sheet[:, -18:-6, 16:28]
    assert torch.equal(found, picture[0].byte().repeat_interleave(4, 1).repeat_interleave(4, 2).expand(3, -1, -1))


def test_a_sheet_shows_its_pictures_names_and_captions(drawn_text):
    row = torch.zeros(2, 3, 4, 4)
    row[1, 0] = 1
    sheet = contact_sheet([row, row[:1]], ["dream", "change"], ["sad", "happy"], [["0.1", "0.9"]], "title")
    assert sorted(drawn_text) == sorted(["title", "dream", "sad", "happy", "0.1", "0.9", "change"])
    red = (sheet == torch.tensor([255, 0, 0])[:, None, None]).all(dim=0)
    assert red.sum() == 144 * 144
    rows, columns = red.any(dim=1).nonzero()[:, 0], red.any(dim=0).nonzero()[:, 0]
    assert len(rows) == len(columns) == 144
    assert sheet.shape[2] == int(columns[-1]) + 1 + 16  # the second column is the last; then the margin


def test_a_long_title_widens_the_sheet():
    short, long = (contact_sheet([torch.zeros(1, 3, 4, 4)], title=title) for title in ("a", "a long title " * 9))
    assert long.shape[2] > short.shape[2]


def test_a_face_under_no_heat_stays_grey_and_heat_colours_its_place():
    face, heat = torch.full((1, 1, 4, 4), 102.0), torch.zeros(1, 4, 4)
    heat[0, 1, 2] = 3
    drawn = overlay_heat(face, heat)[0]
    torch.testing.assert_close(drawn[:, 0, 0], torch.full((3,), 0.4))
    torch.testing.assert_close(drawn[:, 1, 2], 0.4 * 0.4 + 0.6 * apply_colormap(torch.ones(1, 1), "inferno")[:, 0, 0])


def test_signed_values_are_white_at_zero_red_above_and_blue_below():
    zero, above, below = signed_to_rgb(torch.tensor([[[[0.0, 3.0, -3.0]]]]))[0].movedim(0, -1)[0]
    assert float(zero.min()) > 0.95
    assert above[0] > 2 * above[2]
    assert below[2] > 2 * below[0]


def test_signed_values_of_three_channels_are_grey_at_zero_and_coloured_by_what_changes():
    change = torch.tensor([0.0, 4.0, -2.0]).view(1, 3, 1, 1)
    assert signed_to_rgb(change).flatten().tolist() == [0.5, 1.0, 0.25]


def test_faces_in_colour_keep_their_colours_on_sheets():
    faces = torch.randint(0, 256, (2, 3, 12, 12), dtype=torch.uint8)
    sheet = contact_sheet([faces_to_rgb(faces)], side=24)
    enlarged = faces[0].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    assert torch.equal(sheet[:, 6:30, 16:40], enlarged)
    drawn = sheet_of_groups([Group(faces.permute(0, 2, 3, 1).numpy(), ["train"] * 2, ["sad"] * 2)], "colours")
    places = (drawn.flatten(1)[:, :, None] == faces[0, :, 0, 0].view(3, 1, 1)).all(dim=0)
    assert int(places.sum()) >= 64  # a pixel of 8 x 8


def test_a_png_holds_the_pixels():
    picture = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    for given in (picture, picture / 255):
        assert torch.equal(torch.from_numpy(np.array(Image.open(io.BytesIO(png(given))))).permute(2, 0, 1), picture)
    assert Image.open(io.BytesIO(png(picture[:1]))).mode == "L"


def test_a_sheet_of_groups_marks_conflicts_and_held_out_splits(drawn_text):
    images = np.full((14, 48, 48), 77, np.uint8)
    alike = Group(images[:2], ["train", "val"], ["sad", "sad"], "r = 0.99")
    conflict = Group(images, ["train"] * 14, ["sad", *["fear"] * 13])
    sheet = sheet_of_groups([alike, conflict], "Copies")
    assert {"Copies", "r = 0.99", "14 images, 12 shown"} <= set(drawn_text)
    assert [drawn_text.count(name) for name in ("sad", "fear", "val")] == [2 + 1, 11, 1]
    assert (sheet == 77).all(dim=0).sum() >= 14 * 96 * 96

    def shown(colour, rows):
        return bool((sheet[:, rows] == torch.tensor(colour)[:, None, None]).all(dim=0).any())

    first, second = slice(52, 218), slice(218, None)  # the second group is too wide for the first line
    red, blue = (179, 38, 30), (31, 95, 168)
    assert shown(red, second)
    assert not shown(red, first)
    assert shown(blue, first)
    assert not shown(blue, second)
