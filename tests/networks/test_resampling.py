"""Faces of any size brought to 48 pixels, compared with Pillow, which the readers of data use."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fer_lightning.networks.resampling import fit


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
