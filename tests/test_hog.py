"""HOG in torch against scikit-image's, and what scikit-image cannot do: batches, gradients."""

import numpy as np
import pytest
import torch
from skimage.feature import hog as reference_hog

from fer_lightning.errors import InputError
from fer_lightning.hog import BLOCK_NORMS, hog, hog_length


def pictures(height: int, width: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    return {
        "noise": random.integers(0, 256, (height, width), dtype=np.uint8),
        "few levels": random.integers(0, 3, (height, width), dtype=np.uint8) * 100,
        "two levels": random.integers(0, 2, (height, width), dtype=np.uint8) * 255,
        "flat": np.full((height, width), 7, dtype=np.uint8),
        "diagonal ramp": (rows + columns).clip(0, 255).astype(np.uint8),
        "ramp": (2 * columns).clip(0, 255).astype(np.uint8),
    }


@pytest.mark.parametrize("block_norm", BLOCK_NORMS)
@pytest.mark.parametrize("orientations", range(1, 19))
def test_hog_equals_scikit_image_for_every_offered_parameter(orientations, block_norm):
    for (height, width), cell, block in [((48, 48), 8, 2), ((48, 48), 6, 3), ((48, 48), 16, 1), ((37, 50), 7, 2)]:
        images = pictures(height, width)
        ours = hog(torch.from_numpy(np.stack(list(images.values()))), orientations, cell, block, block_norm)
        assert ours.shape[1] == hog_length(height, width, orientations, cell, block, block_norm)
        for (name, image), features in zip(images.items(), ours.numpy(), strict=True):
            expected = reference_hog(image, orientations, (cell, cell), (block, block), block_norm)
            np.testing.assert_allclose(
                features, expected, atol=1e-6, err_msg=f"{name}, {height}x{width}, {cell}, {block}"
            )


def test_real_grey_values_give_scikit_images_hog_too():
    images = np.random.default_rng(1).random((20, 48, 48))
    ours = hog(torch.from_numpy(images)).numpy()
    expected = [reference_hog(image, 9, (8, 8), (2, 2)) for image in images]
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_a_48_pixel_face_has_a_vector_of_900():
    assert hog_length(48, 48) == 900


def test_a_batch_gives_what_its_images_give_one_by_one():
    images = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (300, 48, 48), dtype=np.uint8))
    torch.testing.assert_close(hog(images), torch.cat([hog(image[None]) for image in images]), rtol=0, atol=1e-7)


def test_gradient_with_respect_to_the_image_is_that_of_finite_differences():
    image = torch.rand(1, 16, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: hog(x, pixels_per_cell=8, cells_per_block=1), image, eps=1e-7, atol=1e-5)


def test_a_flat_image_has_a_finite_gradient():
    image = torch.full((1, 48, 48), 100.0, requires_grad=True)
    hog(image).sum().backward()
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"orientations": 0}, "hog.orientations=0: expected a whole number from 1 to 18"),
        ({"orientations": 2.5}, "hog.orientations=2.5"),
        ({"pixels_per_cell": 49}, "hog.pixels_per_cell=49: expected a whole number from 1 to 48"),
        ({"cells_per_block": 7}, "holds 6x6 cells of 8 pixels, too few for a block of 7x7"),
        ({"block_norm": "L3"}, "expected one of L1, L1-sqrt, L2, L2-Hys"),
    ],
)
def test_a_parameter_out_of_range_is_named_with_what_is_valid(setting, said):
    with pytest.raises(InputError, match=said):
        hog(torch.zeros(1, 48, 48), **setting)
