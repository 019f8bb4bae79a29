"""FaceDataModule: statistics of the training part alone, cached HOG, unique faces, folds, and the real set."""

import numpy as np
import pytest
import torch
from skimage.feature import hog as reference_hog
from small_sets import csv_text, encoded, in_csv_order, pictures

from fer_lightning.cli import settings_of
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import TEST, TRAIN, VAL, stratified_share, unique_training_rows
from fer_lightning.data.sources import open_faces
from fer_lightning.errors import InputError
from fer_lightning.networks.preprocessing import Preprocessing
from fer_lightning.settings import TrainSettings


@pytest.fixture
def opened(compose):
    def module(*overrides: str, with_hog: bool = False) -> FaceDataModule:
        datamodule = FaceDataModule(settings_of(compose(*overrides), TrainSettings).data, with_hog)
        datamodule.setup()
        return datamodule

    return module


def test_mean_and_deviation_are_those_of_the_training_part_alone(opened):
    datamodule = opened("data.images=280", with_hog=True)
    train = datamodule.tensors.images[datamodule.rows[TRAIN]].numpy().astype(np.float64)
    mean, std, hog_mean, hog_std = datamodule.statistics()
    np.testing.assert_allclose(mean, train.mean(axis=0), atol=1e-3)
    assert float(std) == pytest.approx((train - train.mean(axis=0)).std(), rel=1e-5)
    features = datamodule.tensors.hog[0, datamodule.rows[TRAIN]].numpy()
    np.testing.assert_allclose(hog_mean, features.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(hog_std, features.std(axis=0).clip(1e-3), atol=1e-4)
    everything = datamodule.tensors.images.numpy().mean(axis=0)
    assert np.abs(everything - mean.numpy()).max() > 0.1


def test_a_network_that_resizes_subtracts_the_mean_of_the_resized_training_faces(opened):
    datamodule = opened("data.images=140", "data.size=64")
    preprocessing = Preprocessing(datamodule.settings.inputs, with_hog=False)
    preprocessing.set_statistics(*datamodule.statistics())
    images, _ = preprocessing(datamodule.tensors.images[datamodule.rows[TRAIN]])
    assert images.shape[1:] == (1, 64, 64)
    torch.testing.assert_close(images.mean(dim=0), torch.zeros(1, 64, 64), atol=1e-3, rtol=0)


def test_a_fold_takes_its_statistics_from_its_own_training_part(opened):
    datamodule = opened("data.images=280")
    rows = datamodule.rows[TRAIN].numpy()
    fold = datamodule.fold(rows[:100], rows[100:])
    expected = datamodule.tensors.images[rows[:100]].float().mean(dim=0)
    torch.testing.assert_close(fold.statistics()[0].float(), expected, atol=1e-3, rtol=0)
    assert fold.split_sizes == {"train": 100, "val": len(rows) - 100}
    with pytest.raises(InputError, match="no image in the split 'test'"):
        fold.test_dataloader()


def test_cached_hog_is_scikit_images_for_both_orientations(opened):
    datamodule = opened(
        "data.images=140", "data.hog={orientations: 6, pixels_per_cell: 12, cells_per_block: 1}", with_hog=True
    )
    for row in range(0, 140, 20):
        face = datamodule.tensors.images[row, 0].numpy()
        for orientation, picture in enumerate((face, np.fliplr(face))):
            expected = reference_hog(picture, 6, (12, 12), (1, 1))
            np.testing.assert_allclose(datamodule.tensors.hog[orientation, row], expected, atol=1e-6)


def test_a_network_without_hog_does_not_make_it_compute_any(opened, monkeypatch):
    monkeypatch.setattr("fer_lightning.data.sources.hog", pytest.fail)
    assert next(iter(opened("data.images=140").val_dataloader())).hog is None


def test_unique_faces_are_those_that_a_plain_count_keeps(opened):
    datamodule = opened("data.images=210")
    faces = datamodule.faces
    groups, split = faces.copy_groups.copy(), faces.split
    train, val = faces.rows(TRAIN), faces.rows(VAL)
    groups[train[1]] = groups[train[0]]  # a copy within train
    groups[train[2]] = groups[val[0]]  # a leak
    held_out, kept = set(groups[split != TRAIN]), []
    for row in train:
        if groups[row] not in held_out and groups[row] not in {groups[other] for other in kept}:
            kept.append(row)
    rows, held_out, repeated = unique_training_rows(groups, split)
    np.testing.assert_array_equal(rows, kept)
    assert (held_out, repeated) == (1, 1)
    assert len(kept) == len(train) - 2


def test_unique_training_says_what_it_leaves_out(opened, tmp_path):
    made = in_csv_order(pictures(counts=(4, 2, 1)))
    made[1] = made[1]._replace(jpeg=made[0].jpeg)  # a copy within train
    made[30] = made[30]._replace(
        jpeg=encoded(np.ascontiguousarray(made[2].pixels[:, ::-1]), "PNG")
    )  # val mirrors train
    made[45] = made[45]._replace(jpeg=made[3].jpeg)  # test holds a copy of train
    path = tmp_path / "copied.csv"
    path.write_text(csv_text(made))
    source = ["data=fer2013", f"data.path={path}", "data.check_counts=false"]
    unique, plainly = opened(*source, "data.unique=true"), opened(*source)
    expected = [row for row in range(28) if row not in (1, 2, 3)]
    assert unique.rows[TRAIN].tolist() == expected
    assert unique.split_sizes == {"train": 25, "val": 14, "test": 7}
    assert (
        "data.unique: 3 of 28 training images are left out: 2 copies of val or test images, 1 further copies."
        in unique.notes
    )
    assert plainly.split_sizes["train"] == 28
    assert not any("unique" in note for note in plainly.notes)
    torch.testing.assert_close(
        unique.statistics()[0].float(), unique.tensors.images[expected].float().mean(dim=0), atol=1e-3, rtol=0
    )


def test_a_missing_split_is_named_with_those_that_are_there(opened):
    datamodule = opened("data.images=140")
    datamodule.rows[TEST] = torch.empty(0, dtype=torch.int64)
    with pytest.raises(InputError, match="no image in the split 'test'; the data holds: train"):
        datamodule.test_dataloader()


def test_fer2013_without_a_path_says_where_it_is_obtained(compose):
    with pytest.raises(InputError, match=r"kaggle\.com/datasets/msambare/fer2013.*data\.download=true"):
        open_faces(settings_of(compose("data=fer2013"), TrainSettings).data)


def test_synthetic_faces_take_no_path(compose):
    with pytest.raises(InputError, match="did you mean data=fer2013"):
        open_faces(settings_of(compose("data.path=fer2013.zip"), TrainSettings).data)


def test_the_real_set_has_the_official_splits_and_leaks(fer2013, opened):
    datamodule = opened("data=fer2013", f"data.path={fer2013}")
    assert datamodule.split_sizes["train"] == 28709
    assert datamodule.split_sizes["val"] == 3589
    images = datamodule.tensors.images
    train = {image.numpy().tobytes() for image in images[datamodule.rows[TRAIN]]}
    leaked = sum(image.numpy().tobytes() in train for image in images[datamodule.rows[VAL]])
    assert leaked == 280  # of 3,589 PublicTest images


def test_unique_training_on_the_real_set_leaves_no_copy_on_either_side(fer2013, opened):
    datamodule = opened("data=fer2013", f"data.path={fer2013}", "data.unique=true")
    images = datamodule.tensors.images[:, 0].numpy()
    keys = [min(image.tobytes(), image[:, ::-1].tobytes()) for image in images]
    train = [keys[row] for row in datamodule.rows[TRAIN].tolist()]
    assert len(set(train)) == len(train)
    assert not set(train) & {keys[row] for row in datamodule.rows[VAL].tolist()}


def test_a_share_of_the_training_images_is_stratified_seeded_and_within_the_larger_ones(opened):
    labels = np.repeat(np.arange(7), [3, 10, 20, 50, 100, 7, 1])
    tenth, third, whole = (stratified_share(labels, share, seed=5) for share in (0.1, 0.3, 1.0))
    assert np.bincount(labels[tenth]).tolist() == [1, 1, 2, 5, 10, 1, 1]
    assert np.bincount(labels[third]).tolist() == [1, 3, 6, 15, 30, 2, 1]
    assert set(tenth) < set(third)
    assert whole.tolist() == list(range(len(labels)))
    assert stratified_share(labels, 0.1, 5).tolist() == tenth.tolist() != stratified_share(labels, 0.1, 6).tolist()
    assert len(stratified_share(labels[:0], 0.5, 0)) == 0
    part, everything = opened("data.images=280", "data.train_fraction=0.25"), opened("data.images=280")
    assert set(part.rows[TRAIN].tolist()) < set(everything.rows[TRAIN].tolist())
    assert part.class_counts().tolist() == [round(0.25 * count) for count in everything.class_counts().tolist()]
    assert part.split_sizes["val"] == everything.split_sizes["val"]
    used = part.split_sizes["train"]
    assert f"data.train_fraction=0.25: {used} of 224 training images are used." in part.notes
    assert not torch.equal(part.statistics()[0], everything.statistics()[0])
