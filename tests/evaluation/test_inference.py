"""Test-time augmentation against Pillow and scikit-image, and ensembles."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.feature import hog as reference_hog

from fer_lightning.errors import InputError
from fer_lightning.evaluation.inference import BATCH, load_ensemble, predict_probabilities, views

FACES = torch.randint(0, 256, (3, 1, 48, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_ten_crops_are_corners_and_centre_and_their_mirror_images():
    face = torch.arange(48 * 48.0).reshape(1, 1, 48, 48)
    crops = views(face, "tencrop")
    assert [view.shape for view in crops] == [(1, 1, 48, 48)] * 10
    for plain, mirrored in zip(crops[::2], crops[1::2], strict=True):
        assert torch.equal(plain.flip(-1), mirrored)
    for view, (top, left) in zip(crops[::2], [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)], strict=True):
        crop = Image.fromarray(face[0, 0, top : top + 44, left : left + 44].numpy())
        enlarged = np.asarray(crop.resize((48, 48), Image.Resampling.BILINEAR))
        assert np.allclose(view[0, 0].numpy(), enlarged, atol=1e-2)


def test_flip_is_the_mean_of_a_face_and_its_mirror_image_each_with_its_own_hog(checkpoint):
    (network,) = load_ensemble(str(checkpoint("hybrid")), "cpu").networks
    expected = []
    with torch.no_grad():
        for pictures in (FACES, FACES.flip(-1)):
            features = np.array([reference_hog(face[0], 9, (8, 8), (2, 2)) for face in pictures.numpy()])
            expected.append(network(pictures.float(), torch.from_numpy(features).float()).softmax(1))
    found = predict_probabilities([network], FACES, "flip")
    assert torch.allclose(found[0], (expected[0] + expected[1]) / 2, atol=1e-5)


def test_a_network_without_hog_computes_none(checkpoint, monkeypatch):
    def never(*arguments, **settings):
        raise AssertionError("HOG was computed")

    monkeypatch.setattr("fer_lightning.networks.preprocessing.hog", never)
    assert predict_probabilities(load_ensemble(str(checkpoint("conv0")), "cpu").networks, FACES).shape == (1, 3, 7)
    with pytest.raises(AssertionError, match="HOG was computed"):
        predict_probabilities(load_ensemble(str(checkpoint("hybrid")), "cpu").networks, FACES)


def test_probabilities_do_not_depend_on_the_batch(checkpoint):
    networks = load_ensemble([str(checkpoint("conv0")), str(checkpoint("conv1"))], "cpu").networks
    faces = FACES.repeat(BATCH // 3 + 2, 1, 1, 1)
    found = predict_probabilities(networks, faces)
    assert found.shape == (2, len(faces), 7)
    for number, network in enumerate(networks):
        alone = torch.cat([predict_probabilities([network], face[None])[0] for face in FACES])
        assert torch.allclose(found[number], alone.repeat(BATCH // 3 + 2, 1), atol=1e-6)
    assert torch.allclose(found.sum(2), torch.ones(2, len(faces)))


def test_a_fitted_temperature_in_a_network_lowers_its_confidence(checkpoint):
    networks = load_ensemble(str(checkpoint("conv0")), "cpu").networks
    before = predict_probabilities(networks, FACES)
    networks[0].temperature.fill_(2.0)
    after = predict_probabilities(networks, FACES)
    assert torch.allclose(after, (before.log() / 2).softmax(-1), atol=1e-5)


def test_an_ensemble_is_named_by_its_members(checkpoint):
    paths = [str(checkpoint(name)) for name in ("conv0", "hybrid", "conv1")]
    assert load_ensemble(paths, "cpu").name == "2 x conv_poster + hybrid_poster"
    assert load_ensemble(paths[0], "cpu").name == "conv_poster"


def test_an_ensemble_of_one_checkpoint_twice_is_refused(checkpoint):
    path = str(checkpoint("conv0"))
    with pytest.raises(InputError, match=r"best\.ckpt is given twice"):
        load_ensemble([path, path], "cpu")


def test_an_unknown_augmentation_and_a_missing_gpu_are_refused(checkpoint):
    with pytest.raises(ValueError, match="tta='fivecrop': expected none, flip or tencrop"):
        views(FACES, "fivecrop")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device=cuda: torch sees no CUDA GPU here"):
            load_ensemble(str(checkpoint("conv0")), "cuda")
