"""What a network says of faces when it is used: one look at each, or the mean of several (test-time augmentation)."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.classifiers import ExpressionClassifier

CROP = 44
"""Side of the ten crops of a 48-pixel face, pixels."""

BATCH = 256
"""Faces classified at once."""


def plain(faces: Tensor) -> Iterator[Tensor]:
    """The faces themselves."""
    yield faces


def mirrored_too(faces: Tensor) -> Iterator[Tensor]:
    """The faces and their mirror images."""
    yield from (faces, faces.flip(-1))


def ten_crops(faces: Tensor) -> Iterator[Tensor]:
    """The four corners and the middle, CROP pixels wide, and their mirror images, each enlarged to the face's size.

    The ten crops of Krizhevsky et al. (NIPS 2012); enlarged (bilinear), because the networks' input has a fixed size.
    """
    height, width = faces.shape[-2:]
    far_y, far_x = height - CROP, width - CROP
    for top, left in ((0, 0), (0, far_x), (far_y, 0), (far_y, far_x), (far_y // 2, far_x // 2)):
        crop = faces[..., top : top + CROP, left : left + CROP]
        crop = F.interpolate(crop, size=(height, width), mode="bilinear", align_corners=False)
        yield from mirrored_too(crop)


VIEWS: dict[str, Callable[[Tensor], Iterator[Tensor]]] = {
    "none": plain,
    "flip": mirrored_too,
    "tencrop": ten_crops,
}
"""Test-time augmentations by name: (B, 1, 48, 48) faces to the pictures of them that the network is shown."""


@torch.inference_mode()
def probabilities(
    classifiers: Sequence[ExpressionClassifier],
    faces: Tensor,
    tta: str = "none",
    seen: Callable[[int], object] = lambda images: None,
) -> Tensor:
    """Probabilities (networks, N, 7) of grey faces (N, 1, 48, 48), 0 to 255: each network's mean over a face's views.

    tta: one of VIEWS. Views are mirrored and cropped as pictures, so HOG is that of the view. Results are on the CPU.
    `seen` is told after each batch how many faces were classified.
    """
    batches = []
    for batch in faces.split(BATCH):
        per_network = []
        for classifier in classifiers:
            on_device = batch.to(classifier.device).float()
            views = [classifier.classify(view).float().softmax(dim=1) for view in VIEWS[tta](on_device)]
            per_network.append(torch.stack(views).mean(dim=0).cpu())
        batches.append(torch.stack(per_network))
        seen(len(batch))
    return torch.cat(batches, dim=1)
