"""Whole batches straight from memory: order, flips, augmentation, cached HOG. No worker process, no single images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.data.augmentation import draw_flips, erase, flip, mixup, recolour, warp
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.seeding import AUGMENTATION, ORDER, generator
from fer_lightning.settings import AugmentSettings


class Batch(NamedTuple):
    """What a network is trained or scored on.

    images: (B, C, H, H) float, values 0 to 255, C 1 or 3. targets: (B,) int64 labels, or (B, 7) shares of each
    expression under mixup and by votes. hog: (B, hog_length) float from the cache, or None where the network does not
    use it, or has to compute it from the changed pictures.
    """

    images: Tensor
    targets: Tensor
    hog: Tensor | None

    def share(self, rank: int, world: int) -> "Batch":
        """What one of `world` processes gets of this batch: every world-th image."""
        part = slice(rank, None, world)
        return Batch(self.images[part], self.targets[part], None if self.hog is None else self.hog[part])


@dataclass(frozen=True)
class FaceTensors:
    """All faces of a set on one device. images: (N, C, H, H) uint8, C 1 or 3; labels: (N,) int64.

    hog: (2, N, hog_length), plain and mirrored, or None. shares: (N, 7) float, trained on instead of labels, or None.
    """

    images: Tensor
    labels: Tensor
    hog: Tensor | None = None
    shares: Tensor | None = None

    def to(self, device: torch.device) -> "FaceTensors":
        """The same faces on another device."""
        hog, shares = (None if value is None else value.to(device) for value in (self.hog, self.shares))
        return FaceTensors(self.images.to(device), self.labels.to(device), hog, shares)


class Batches:
    """The faces of `rows` in whole batches, for one split: an iterable of `Batch`. Randomness follows (seed, epoch).

    With `augment` (a training split) the order is shuffled and a last incomplete batch is dropped, unless it is the
    only one. Of `world` processes, each gets its share of every training batch, which is drawn and augmented as
    for one process, and every world-th row of a split that is only scored; all take the same number of steps, though
    the last scored batch of some may be empty. `state_dict` tells how far the epoch is; after
    `load_state_dict` the next iteration begins there, with what the whole epoch would have gone on with.
    """

    def __init__(
        self,
        faces: FaceTensors,
        rows: Tensor,
        batch_size: int,
        seed: int = 0,
        augment: AugmentSettings | None = None,
        rank: int = 0,
        world: int = 1,
    ):
        self.faces, self.rows, self.batch_size, self.seed = faces, rows, batch_size, seed
        self.augment, self.rank, self.world = augment, rank, world
        self.epoch = self.done = 0
        """The epoch that is drawn, and how many of its batches were given."""

    def set_epoch(self, epoch: int) -> None:
        """Which epoch's order and augmentation the next iteration draws, from its first batch."""
        self.epoch, self.done = epoch, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.epoch, self.done = state_dict["epoch"], state_dict["done"]

    def __len__(self) -> int:
        if self.augment:
            return max(len(self.rows) // self.batch_size, 1)
        return math.ceil(math.ceil(len(self.rows) / self.world) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        device = self.faces.images.device
        rows = self.rows
        if self.augment:
            rows = rows[torch.randperm(len(rows), generator=generator(self.seed, self.epoch, ORDER))]
        else:
            rows = rows[self.rank :: self.world]
        rows = rows.to(device)
        random = generator(self.seed, self.epoch, AUGMENTATION, device)
        done = self.done if self.augment else 0
        for number in range(len(self)):
            chosen = rows[number * self.batch_size : (number + 1) * self.batch_size]
            if self.augment:
                batch = self._augmented(chosen, self.augment, random).share(self.rank, self.world)
            else:
                batch = self._plain(chosen)
            if number >= done:  # earlier ones are drawn all the same, so that the later ones are what they would be
                self.done = number + 1
                yield batch

    def _plain(self, rows: Tensor) -> Batch:
        hog = None if self.faces.hog is None else self.faces.hog[0, rows]
        return Batch(self.faces.images[rows].float(), self.faces.labels[rows], hog)

    def _augmented(self, rows: Tensor, augment: AugmentSettings, random: torch.Generator) -> Batch:
        targets = (self.faces.labels if self.faces.shares is None else self.faces.shares)[rows]
        flipped = draw_flips(len(rows), augment.flip, random)
        images = flip(self.faces.images[rows], flipped).float()
        if not augment.warps:  # a flipped face has the HOG of the flipped face
            hog = None if self.faces.hog is None else self.faces.hog[flipped.long(), rows]
            return Batch(images, targets, hog)
        images = recolour(warp(images, augment, random), augment, random)
        images = erase(images, augment.erase, random)
        if augment.mixup:
            shares = F.one_hot(targets, len(EXPRESSIONS)).float() if targets.ndim == 1 else targets
            images, targets = mixup(images, shares, augment.mixup, random)
        return Batch(images, targets, None)
