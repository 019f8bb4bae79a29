"""Grey and other sizes, compared with Pillow, which the readers of data use."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fer_lightning.pixels import fit, grey, reduced


def by_pillow(faces: np.ndarray, side: int) -> np.ndarray:
    return np.stack([np.asarray(ImageOps.fit(Image.fromarray(face), (side, side))) for face in faces])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 160), st.integers(1, 160), st.sampled_from([48, 8, 33]), st.integers(0, 99), st.booleans())
def test_every_grey_value_is_pillows(height, width, side, seed, black_and_white):
    faces = np.random.default_rng(seed).integers(0, 256, (2, height, width), dtype=np.uint8)
    faces = (faces > 127).astype(np.uint8) * 255 if black_and_white else faces  # cubic weights overshoot here
    assert np.array_equal(fit(torch.from_numpy(faces), side).numpy(), by_pillow(faces, side))


@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (3, 200)])
def test_large_tiny_and_narrow_faces_too(shape):
    faces = np.random.default_rng(0).integers(0, 256, (1, *shape), dtype=np.uint8)
    assert np.array_equal(fit(torch.from_numpy(faces), 48).numpy(), by_pillow(faces, 48))


def test_a_face_of_this_size_stays_as_it_is():
    faces = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fit(faces, 48), faces.float())


COLOURED = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def pillow(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def test_grey_of_colour_is_that_of_pillow():
    expected = [np.asarray(pillow(picture).convert("L")) for picture in COLOURED]
    np.testing.assert_array_equal(grey(COLOURED)[:, 0], np.array(expected))


@pytest.mark.parametrize("side", [48, 30, 17])
def test_a_picture_is_reduced_as_pillow_reduces_floats(side):
    for picture in COLOURED[:, 0].float():
        expected = Image.fromarray(picture.numpy()).resize((side, side), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(reduced(picture[None, None], side)[0, 0], np.asarray(expected), atol=1e-3)


def test_gradients_pass_through_the_rounding():
    pictures = COLOURED.double().requires_grad_()
    fit(grey(pictures), 48).sum().backward()
    weights = pictures.grad.sum(dim=(0, 2, 3))
    torch.testing.assert_close(weights / weights.sum(), torch.tensor([0.299, 0.587, 0.114]).double(), rtol=1e-4, atol=0)
