"""Whole batches straight from memory: order, flips, augmentation, HOG. No worker process, no image one by one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.data.augmentation import Augmentation, draw_flips, erase, flip, mixup, warp
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.hog import hog
from fer_lightning.seeding import AUGMENTATION, ORDER, generator


class Batch(NamedTuple):
    """What a network is given.

    images: (B, channels, size, size) float, grey values 0 to 255. targets: (B,) int64 labels, or (B, 7) shares of each
    expression under mixup and by votes. hog: (B, hog_length) float, or None where the network does not use it.
    """

    images: Tensor
    targets: Tensor
    hog: Tensor | None


@dataclass(frozen=True)
class FaceTensors:
    """All faces of a set on one device. images: (N, 1, 48, 48) uint8; labels: (N,) int64.

    hog: (2, N, hog_length), plain and mirrored; hog_settings: the parameters of it. Both None when unused.
    shares: (N, 7) float, what is trained on instead of the labels, or None.
    """

    images: Tensor
    labels: Tensor
    hog: Tensor | None = None
    hog_settings: dict | None = None
    shares: Tensor | None = None


class Batches:
    """The faces of `rows` in whole batches, for one split: an iterable of `Batch`. Randomness follows (seed, epoch).

    With `augmentation` (a training split) the order is shuffled and a last incomplete batch is dropped, unless it is
    the only one. Of `world` processes, each gets every world-th row. `channels` repeats the grey picture, `size`
    resizes it (bilinear), for networks that want it so. `state_dict` tells how far the epoch is; after
    `load_state_dict` the next iteration begins there, with what the whole epoch would have gone on with.
    """

    def __init__(
        self,
        faces: FaceTensors,
        rows: Tensor,
        batch_size: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        channels: int = 1,
        size: int | None = None,
        rank: int = 0,
        world: int = 1,
    ):
        self.faces, self.rows, self.batch_size, self.seed, self.augmentation = (
            faces,
            rows,
            batch_size,
            seed,
            augmentation,
        )
        self.channels, self.size, self.rank, self.world = channels, size, rank, world
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
        rows = math.ceil(len(self.rows) / self.world)
        whole = rows // self.batch_size
        return max(whole, 1) if self.augmentation else math.ceil(rows / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        device = self.faces.images.device
        rows = self.rows
        if self.augmentation:
            rows = rows[torch.randperm(len(rows), generator=generator(self.seed, self.epoch, ORDER))]
        rows = rows[self.rank :: self.world].to(device)
        random = generator(self.seed, self.epoch * self.world + self.rank, AUGMENTATION, device)
        done = self.done if self.augmentation else 0
        for number in range(len(self)):
            chosen = rows[number * self.batch_size : (number + 1) * self.batch_size]
            batch = self._augmented(chosen, random) if self.augmentation else self._plain(chosen)
            if number >= done:  # those before are drawn all the same, so that the later ones are what they would be
                self.done = number + 1
                yield batch

    def _plain(self, rows: Tensor) -> Batch:
        images = self.faces.images[rows].float()
        features = None if self.faces.hog is None else self.faces.hog[0, rows]
        return Batch(self._shape(images), self.faces.labels[rows], features)

    def _augmented(self, rows: Tensor, random: torch.Generator) -> Batch:
        chosen = self.augmentation
        assert chosen is not None
        targets = (self.faces.labels if self.faces.shares is None else self.faces.shares)[rows]
        flipped = draw_flips(len(rows), chosen.flip, random)
        images = flip(self.faces.images[rows], flipped).float()
        if chosen.warps:
            images = erase(warp(images, chosen, random), chosen.erase, random)
            if chosen.mixup:
                shares = F.one_hot(targets, len(EXPRESSIONS)).float() if targets.ndim == 1 else targets
                images, targets = mixup(images, shares, chosen.mixup, random)
        features = None
        if self.faces.hog is not None:
            # a flipped face has the HOG of the flipped face; any other change needs the HOG of the changed picture
            settings = self.faces.hog_settings or {}
            features = hog(images[:, 0], **settings) if chosen.warps else self.faces.hog[flipped.long(), rows]
        return Batch(self._shape(images), targets, features)

    def _shape(self, images: Tensor) -> Tensor:
        if self.size is not None and self.size != images.shape[-1]:
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return images.expand(-1, self.channels, -1, -1) if self.channels > 1 else images
