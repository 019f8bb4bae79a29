"""FaceDataModule: one set of faces, its splits, its mean image and its cached HOG, in memory and on the device."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.data.augmentation import Augmentation
from fer_lightning.data.batches import Batches, FaceTensors
from fer_lightning.data.cache import cached_arrays, write_array
from fer_lightning.data.cached_faces import CachedFaces
from fer_lightning.data.copies import unique_training_rows
from fer_lightning.data.faces import SPLITS, TEST, TRAIN, VAL
from fer_lightning.data.sources import open_source
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.hog import hog, hog_length

EVALUATION_BATCH = 512
"""Images in a validation batch: no gradients are kept, so more fit than in training."""


class Statistics(NamedTuple):
    """What is subtracted and divided by before a network sees a face, taken over the training part only.

    mean: (1, size, size) mean image, grey values; std: () of the mean-subtracted pixels; hog_mean, hog_std:
    (hog_length,), empty without HOG.
    """

    mean: Tensor
    std: Tensor
    hog_mean: Tensor
    hog_std: Tensor


class FaceDataModule(lightning.LightningDataModule):
    """Faces for training and evaluation, by the `data` group of the config.

    config: plain values of `conf/data`. with_hog: whether batches carry HOG features. seed: of order and augmentation.
    `setup` reads the cache (made where it is missing), draws nothing, and puts all faces on the trainer's device.
    """

    def __init__(self, config: Mapping[str, Any], with_hog: bool = False, seed: int = 0):
        super().__init__()
        self.config, self.with_hog, self.seed = config, with_hog, seed
        self.augmentation = Augmentation.from_config(dict(config["augment"]))
        self.hog_settings = dict(config["hog"])
        hog_length(48, 48, **self.hog_settings)
        self.faces: CachedFaces | None = None
        self.tensors: FaceTensors | None = None
        self.rows: dict[int, Tensor] = {}
        self.notes: tuple[str, ...] = ()
        """What the user should know of these faces, one sentence each."""

    def prepare_data(self) -> None:
        """Fill the cache; with several processes, Lightning calls this in one of them."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Open the cache, filling it where needed, and put the faces on the trainer's device."""
        if self.tensors is None:
            self._open()
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        assert self.tensors is not None
        if self.tensors.images.device != device:
            moved = {name: value.to(device) for name, value in vars(self.tensors).items() if isinstance(value, Tensor)}
            self.tensors = FaceTensors(**(vars(self.tensors) | moved))

    def _open(self) -> None:
        if self.tensors is not None:
            return
        self.faces = faces = open_source(self.config)
        features = torch.tensor(cached_hog(faces, self.hog_settings)) if self.with_hog else None
        images = torch.tensor(faces.images)[:, None]
        labels = torch.tensor(faces.labels).long()
        shares = None if faces.shares is None else torch.from_numpy(faces.shares)
        self.tensors = FaceTensors(images, labels, features, self.hog_settings if self.with_hog else None, shares)
        self.rows = {split: torch.from_numpy(faces.rows(split)) for split in (TRAIN, VAL, TEST)}
        self.notes = faces.notes
        if self.config["unique"]:
            kept, held_out, repeated = unique_training_rows(faces.copy_groups, faces.split)
            self.notes += (
                f"data.unique: {len(self.rows[TRAIN]) - len(kept):,} of {len(self.rows[TRAIN]):,} training images are "
                f"left out: {held_out:,} copies of val or test images, {repeated:,} further copies.",
            )
            self.rows[TRAIN] = torch.from_numpy(kept)

    def fold(self, train_rows: np.ndarray, val_rows: np.ndarray) -> "FaceDataModule":
        """The same faces in memory with other rows to train and validate on; there is no test split in a fold."""
        fold = copy.copy(self)
        empty = torch.empty(0, dtype=torch.int64)
        fold.rows = {TRAIN: torch.from_numpy(train_rows), VAL: torch.from_numpy(val_rows), TEST: empty}
        return fold

    @property
    def split_sizes(self) -> dict[str, int]:
        """Images by split name, splits without any left out."""
        return {SPLITS[split]: len(rows) for split, rows in self.rows.items() if len(rows)}

    def class_counts(self) -> Tensor:
        """(7,) training images of each expression."""
        return torch.bincount(self._loaded.labels[self.rows[TRAIN]], minlength=len(EXPRESSIONS))

    @property
    def _loaded(self) -> FaceTensors:
        assert self.tensors is not None, "call setup() first"
        return self.tensors

    def statistics(self) -> Statistics:
        """Mean image, pixel standard deviation and HOG mean and deviation of the training rows, on the CPU."""
        rows = self.rows[TRAIN].to(self._loaded.images.device)
        mean, variance = mean_and_variance(self._loaded.images, rows)
        size = self.config["size"]
        if size != mean.shape[-1]:  # resizing is linear: the resized mean is the mean of the resized faces
            mean = F.interpolate(mean[None], size=(size, size), mode="bilinear", align_corners=False)[0]
        hog_mean = hog_std = torch.empty(0)
        if self._loaded.hog is not None:
            hog_mean, hog_variance = mean_and_variance(self._loaded.hog[0], rows)
            hog_std = hog_variance.sqrt()
        std = variance.mean().sqrt().clamp_min(1e-6)
        return Statistics(*(value.float().cpu() for value in (mean, std, hog_mean, hog_std.clamp_min(1e-3))))

    def train_dataloader(self) -> Batches:
        if len(self.rows[TRAIN]) < 2:
            raise InputError(f"data.path={self.config['path']}: fewer than two training images")
        return self._batches(TRAIN, self.config["batch_size"], self.augmentation)

    def val_dataloader(self) -> Batches:
        return self._batches(VAL, EVALUATION_BATCH)

    def test_dataloader(self) -> Batches:
        return self._batches(TEST, EVALUATION_BATCH)

    def _batches(self, split: int, batch_size: int, augmentation: Augmentation | None = None) -> Batches:
        if not len(self.rows[split]):
            held = ", ".join(f"{name} {size}" for name, size in self.split_sizes.items())
            raise InputError(f"there is no image in the split {SPLITS[split]!r}; the data holds: {held}")
        return Batches(
            self._loaded,
            self.rows[split],
            batch_size,
            self.seed,
            augmentation,
            self.config["channels"],
            self.config["size"],
            self.trainer.global_rank if self.trainer else 0,
            self.trainer.world_size if self.trainer else 1,
        )


def mean_and_variance(values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over the chosen rows of (N, ...) values, each of the shape of one row, float64."""
    total = torch.zeros(values.shape[1:], dtype=torch.float64, device=values.device)
    squares = torch.zeros_like(total)
    for chunk in rows.split(256):  # so few that single precision adds up whole grey values and their squares exactly
        part = values[chunk].float()
        total += part.sum(0)
        squares += part.square_().sum(0)
    mean = total / len(rows)
    return mean, (squares / len(rows) - mean.square()).clamp_min(0)


def cached_hog(faces: CachedFaces, settings: Mapping[str, Any]) -> np.ndarray:
    """HOG of every face, (2, N, hog_length) float32, plain and mirrored, from the cache beside the faces or into it."""
    if faces.whole is not None:
        return cached_hog(faces.whole, settings)[:, faces.kept]
    name = "hog-" + "-".join(str(settings[key]) for key in sorted(settings))

    def build(folder: Path) -> None:
        images = torch.tensor(faces.images)
        shape = (2, len(faces), hog_length(*images.shape[1:], **settings))
        chunks = [chunk for orientation in (images, images.flip(-1)) for chunk in orientation.split(4096)]
        write_array(folder / "hog.npy", shape, np.float32, (hog(chunk, **settings).numpy() for chunk in chunks))

    return cached_arrays(faces.folder / name, faces.fingerprint, build)["hog"]
