"""The fast path trains as the plain one: ReLU before pooling, scikit-image's HOG, 32 bits, contiguous, a bare loop."""

import copy

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from skimage.feature import hog as reference_hog
from tiny_runs import NO_FINALE, run_fit
from torch import Tensor, nn
from torch.nn import functional as F

SETTINGS = [
    "data.images=140",
    "data.batch_size=28",
    "model.conv=[{filters: 8, kernel: 5, pool: 2}, {filters: 16, pool: 3}]",
    "model.hidden=[16]",
    "optimizer.lr=0.05",
    "optimizer.weight_decay=1e-3",
    "trainer.max_epochs=3",
    "trainer.accelerator=cpu",
    "draw.every=0",
    *NO_FINALE,
]


class Seen(Callback):
    """The network before its first step, and each step's batch and loss."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor]] = []
        self.losses: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module) -> None:
        self.network = copy.deepcopy(pl_module.network)

    def on_train_batch_end(self, trainer: Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        self.batches.append((batch.images.clone(), batch.targets.clone()))
        self.losses.append(float(outputs["loss"]))


def plain_logits(network: nn.Module, faces: Tensor) -> Tensor:
    """The network as the paper writes it, one operation after the other."""
    preprocessing = network.preprocessing
    maps = ((faces - preprocessing.mean) / preprocessing.std).contiguous()
    for block in network.features:
        maps = F.max_pool2d(F.relu(block.norm(block.conv(maps))), block.pool.kernel_size)
    values = maps.flatten(1)
    if network.uses_hog:
        hog = np.array([reference_hog(face, 9, (8, 8), (2, 2)) for face in faces[:, 0].numpy()], np.float32)
        values = torch.cat([values, (torch.from_numpy(hog) - preprocessing.hog_mean) / preprocessing.hog_std], dim=1)
    for block in network.head.hidden:
        values = F.relu(block.norm(block.linear(values)))
    return network.head.scores(values)


def plain_losses(network: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> list[float]:
    network = network.to(memory_format=torch.contiguous_format).train()
    weights = [one for one in network.parameters() if one.ndim > 1]
    others = [one for one in network.parameters() if one.ndim == 1]
    groups = [{"params": weights, "weight_decay": 1e-3}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True, foreach=False)
    losses = []
    for faces, labels in batches:
        loss = F.cross_entropy(plain_logits(network, faces), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-3), ("bf16-mixed", 0.05)])
@pytest.mark.parametrize(
    "augment", [[], ["data.augment={flip: 0.5, shift: 2, rotate: 10}"]], ids=["cached_hog", "warped"]
)
@pytest.mark.parametrize("model", ["conv_poster", "hybrid_poster"])
def test_a_run_loses_what_a_plain_loop_loses(model, augment, precision, tolerance, tmp_path):
    seen = Seen()
    run_fit(tmp_path, *SETTINGS, f"model={model}", f"trainer.precision={precision}", *augment, callbacks=[seen])
    expected = plain_losses(seen.network, seen.batches)
    assert len(expected) == 12
    assert min(expected) < expected[0] - 0.05
    np.testing.assert_allclose(seen.losses, expected, atol=tolerance)
