"""Filters as a picture: scaled by themselves, in rows and columns."""

import torch

from fer_lightning.figures.filters import filter_grid, first_filters


def test_a_filter_is_drawn_with_its_zero_in_mid_grey_and_its_largest_weight_at_the_end():
    weights = torch.zeros(2, 1, 7, 7)
    weights[0, 0, 3, 3], weights[1, 0, 0, 0] = 0.01, -5
    sheet = filter_grid(weights)
    first, second = sheet[0, 4:60, 4:60], sheet[0, 4:60, 64:120]
    assert (first[24:32, 24:32] == 1).all()
    assert (first[:24] == 0.5).all()
    assert float(second[0, 0]) == 0


def test_the_first_thirty_filters_stand_in_three_rows_of_ten():
    weights = torch.rand(32, 1, 7, 7) - 0.5
    sheet = filter_grid(weights, most=30, columns=10)
    assert sheet.shape == (1, 3 * 60 + 4, 10 * 60 + 4)
    own = filter_grid(weights[13:14])[0, 4:60, 4:60]
    assert torch.equal(sheet[0, 64:120, 184:240], own)  # second row, fourth column


def test_a_filter_over_several_channels_is_their_mean():
    weights = torch.rand(4, 8, 5, 5) - 0.5
    assert torch.equal(filter_grid(weights), filter_grid(weights.mean(dim=1, keepdim=True)))


def test_a_filter_over_red_green_and_blue_is_in_colour():
    weights = torch.zeros(1, 3, 2, 2)
    weights[0, :, 0, 0], weights[0, :, 1, 1] = torch.tensor([2.0, 0.0, -1.0]), torch.tensor([0.0, 0.0, 1.0])
    sheet = filter_grid(weights, columns=1)
    assert sheet.shape == (3, 64, 64)
    assert sheet[:, 4, 4].tolist() == [1.0, 0.5, 0.25]
    assert sheet[:, 59, 59].tolist() == [0.5, 0.5, 0.75]
    assert sheet[:, 0, 0].tolist() == [1.0, 1.0, 1.0]


def test_the_first_filters_are_those_of_the_first_convolution(make_network):
    assert first_filters(make_network("hybrid")).shape == (6, 1, 5, 5)
    assert first_filters(make_network("fc")) is None
