"""FaceDataModule: one set of faces, its splits, its statistics and its cached HOG, in memory and on the device."""

import copy
from dataclasses import replace

import lightning
import numpy as np
import torch
from torch import Tensor

from fer_lightning.data.copy_notes import near_copies_that_remain, repeated_notes
from fer_lightning.data.faces import SPLITS, TEST, TRAIN, VAL, stratified_share, unique_training_rows
from fer_lightning.data.loader import Batches, FaceTensors
from fer_lightning.data.soft_labels import soft_targets
from fer_lightning.data.sources import CachedFaces, cached_hog, cached_near_pairs, open_faces
from fer_lightning.data.tensors import picture_tensor
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.settings import AugmentSettings, DataSettings

EVALUATION_BATCH = 512
"""Images in a validation batch: no gradients are kept, so more fit than in training."""


class FaceDataModule(lightning.LightningDataModule):
    """Faces for training and evaluation. with_hog: whether batches carry HOG. seed: of order and augmentation.

    `setup` opens the cache (filled where it is missing), draws nothing, and puts all faces on the trainer's device.
    """

    def __init__(self, settings: DataSettings, with_hog: bool = False, seed: int = 0):
        super().__init__()
        self.settings, self.with_hog, self.seed = settings, with_hog, seed
        self.faces: CachedFaces | None = None
        self.tensors: FaceTensors | None = None
        self.rows: dict[int, Tensor] = {}
        self._notes: tuple[str, ...] = ()

    def prepare_data(self) -> None:
        """Fill the cache; with several processes, Lightning calls this in one of them."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Open the cache, filling it where needed, and put the faces on the trainer's device."""
        self._open()
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if self.loaded.images.device != device:
            self.tensors = self.loaded.to(device)

    def _open(self) -> None:
        if self.tensors is not None:
            return
        self.faces = faces = open_faces(self.settings)
        features = torch.tensor(cached_hog(faces, self.settings.hog)) if self.with_hog else None
        shares = None if faces.shares is None else torch.from_numpy(faces.shares)
        images, labels = picture_tensor(faces.images), torch.tensor(faces.labels).long()
        self.tensors = FaceTensors(images, labels, features, shares)
        self.rows = {split: torch.from_numpy(faces.rows(split)) for split in (TRAIN, VAL, TEST)}
        self._notes = faces.notes
        if self.settings.unique:
            kept, held_out, repeated = unique_training_rows(faces.copy_groups, faces.split)
            self._notes += (
                f"data.unique: {len(self.rows[TRAIN]) - len(kept):,} of {len(self.rows[TRAIN]):,} training images are "
                f"left out: {held_out:,} copies of val or test images, {repeated:,} further copies.",
                near_copies_that_remain(faces, kept, cached_near_pairs(faces)),
            )
            self.rows[TRAIN] = torch.from_numpy(kept)
        if (fraction := self.settings.train_fraction) < 1:
            rows, count = self.rows[TRAIN].numpy(), len(self.rows[TRAIN])
            kept = rows[stratified_share(faces.labels[rows], fraction, self.seed)]
            self._notes += (f"data.train_fraction={fraction}: {len(kept):,} of {count:,} training images are used.",)
            self.rows[TRAIN] = torch.from_numpy(kept)
        self._notes += tuple(repeated_notes(faces, self.rows[TRAIN].numpy()))
        if self.settings.soft_labels:
            rows = self.rows[TRAIN].numpy()
            targets, note = soft_targets(faces, rows, self.settings.soft_labels, self.settings.soft_weight)
            self.tensors = replace(self.tensors, shares=torch.from_numpy(targets))
            self._notes += (note,)

    def fold(self, train_rows: np.ndarray, val_rows: np.ndarray) -> "FaceDataModule":
        """The same faces in memory with other rows to train and validate on; there is no test split in a fold."""
        fold = copy.copy(self)
        empty = torch.empty(0, dtype=torch.int64)
        fold.rows = {TRAIN: torch.from_numpy(train_rows), VAL: torch.from_numpy(val_rows), TEST: empty}
        return fold

    @property
    def loaded(self) -> FaceTensors:
        """The faces in memory, after `setup`."""
        assert self.tensors is not None, "call setup() first"
        return self.tensors

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of these faces, one sentence each."""
        augment = self.settings.augment
        if self.loaded.images.shape[1] == 1 and (augment.saturation or augment.hue):
            return (*self._notes, "data.augment.saturation and hue change nothing: all images are grey.")
        return self._notes

    @property
    def split_sizes(self) -> dict[str, int]:
        """Images by split name, splits without any left out."""
        return {SPLITS[split]: len(rows) for split, rows in self.rows.items() if len(rows)}

    def class_counts(self) -> Tensor:
        """(7,) training images of each expression."""
        return torch.bincount(self.loaded.labels[self.rows[TRAIN]], minlength=len(EXPRESSIONS))

    def statistics(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `Preprocessing.set_statistics` takes, over the training rows alone, on the CPU.

        Mean image (C, side, side); standard deviation of the mean-subtracted pixels, () of grey, (3,) of colour; mean
        and standard deviation of the HOG values, (hog_length,) each, empty without HOG.
        """
        rows = self.rows[TRAIN].to(self.loaded.images.device)
        mean, variance = mean_and_variance(self.loaded.images, rows)
        hog_mean = hog_std = torch.empty(0)
        if self.loaded.hog is not None:
            hog_mean, hog_variance = mean_and_variance(self.loaded.hog[0], rows)
            hog_std = hog_variance.sqrt().clamp_min(1e-3)
        std = torch.stack([channel.mean() for channel in variance]).squeeze(0).sqrt().clamp_min(1e-6)
        return mean.cpu(), std.cpu(), hog_mean.cpu(), hog_std.cpu()

    def train_dataloader(self) -> Batches:
        if len(self.rows[TRAIN]) < 2:
            held = ", ".join(f"{name} {size:,}" for name, size in self.split_sizes.items())
            raise InputError(
                f"data.path={self.settings.path}: there is no training part of two images or more; it holds: {held}"
            )
        batches = self._batches(TRAIN, self.settings.batch_size, self.settings.augment)
        if min(batches.batch_size, len(batches.rows)) < 2 * batches.world:
            raise InputError(
                f"data.batch_size={batches.batch_size}: a batch is divided among the {batches.world} processes, and "
                f"each needs two of its images; there are {len(batches.rows):,} in training"
            )
        return batches

    def val_dataloader(self) -> Batches:
        return self._batches(VAL, EVALUATION_BATCH)

    def test_dataloader(self) -> Batches:
        return self._batches(TEST, EVALUATION_BATCH)

    def _batches(self, split: int, batch_size: int, augment: AugmentSettings | None = None) -> Batches:
        if not len(self.rows[split]):
            held = ", ".join(f"{name} {size}" for name, size in self.split_sizes.items())
            raise InputError(f"there is no image in the split {SPLITS[split]!r}; the data holds: {held}")
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return Batches(self.loaded, self.rows[split], batch_size, self.seed, augment, rank, world)


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
