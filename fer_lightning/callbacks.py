"""When something is drawn or checked during training. The drawing itself is in `visualize`."""

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.visualize.confusion import confusion_figure
from fer_lightning.visualize.filters import filter_grid


class Diverged(InputError):
    """The loss is no longer a number."""


class StopWhenDiverged(Callback):
    """Raise `Diverged` at the first step whose loss is NaN or infinite, before a checkpoint could keep the damage.

    On a GPU the losses of an epoch are looked at together, every `every` steps, so that the device is not waited for.
    """

    def __init__(self, every: int = 50):
        self.every = every
        self.losses: list[torch.Tensor] = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        self.losses.append(outputs["loss"].detach())
        if len(self.losses) == self.every or self.losses[-1].device.type == "cpu":
            self._look(trainer)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._look(trainer)

    def _look(self, trainer: lightning.Trainer) -> None:
        if not self.losses:
            return
        finite = torch.isfinite(torch.stack(self.losses)).tolist()
        first = trainer.global_step - len(finite) + 1
        self.losses = []
        if not all(finite):
            raise Diverged(
                f"the loss became NaN or infinite at step {first + finite.index(False)} "
                f"(epoch {trainer.current_epoch}). The checkpoints of the epochs before are kept. "
                "A smaller optimizer.lr, or trainer.gradient_clip_val=1, usually helps"
            )


class DrawConfusion(Callback):
    """Validation confusion matrix to TensorBoard, every `every` epochs."""

    def __init__(self, every: int = 1):
        self.every = every

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        board = tensorboard(trainer)
        if board is None or trainer.sanity_checking or trainer.current_epoch % self.every:
            return
        assert isinstance(pl_module, ExpressionClassifier)
        matrix = pl_module.val_confusion.compute().cpu().numpy()
        figure = confusion_figure(matrix, EXPRESSIONS, f"val, epoch {trainer.current_epoch}")
        board.experiment.add_figure("confusion_matrix/val", figure, trainer.current_epoch)


class DrawFilters(Callback):
    """The first conv layer's filters to TensorBoard, every `every` epochs."""

    def __init__(self, every: int = 1):
        self.every = every

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        board = tensorboard(trainer)
        if board is None or trainer.current_epoch % self.every:
            return
        convs = [(name, module) for name, module in pl_module.named_modules() if isinstance(module, nn.Conv2d)]
        if convs:
            name = convs[0][0].removeprefix("network.features.").removesuffix(".conv")
            board.experiment.add_image(f"filters/{name}", filter_grid(convs[0][1].weight), trainer.current_epoch)


def tensorboard(trainer: lightning.Trainer) -> TensorBoardLogger | None:
    """The run's TensorBoard logger, on the process that writes."""
    if not trainer.is_global_zero:
        return None
    return next((logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)
