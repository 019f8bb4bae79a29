"""ExpressionClassifier: the LightningModule around a network, with loss, metrics, optimiser and schedule."""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

from fer_lightning.data.loader import Batch, Batches
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.networks import build_network
from fer_lightning.seeding import DROPOUT, stream_seed
from fer_lightning.settings import PlateauSettings, TrainSettings, dump
from fer_lightning.training.growth import require_sides, side_in
from fer_lightning.training.optimizers import SCHEDULES, build_optimizer

CLASSES = len(EXPRESSIONS)


class MacroF1(MulticlassF1Score):
    """The mean of the F1 of those classes that occur in the labels; torchmetrics' own counts predicted ones too."""

    def compute(self) -> Tensor:
        f1: Tensor = super().compute()
        return f1[cast(Tensor, self.tp) + cast(Tensor, self.fn) > 0].mean()


class ExpressionClassifier(LightningModule):
    """Trains `network`; the settings that rebuild the network are saved in the checkpoint as hyper-parameters."""

    def __init__(self, settings: TrainSettings):
        super().__init__()
        self.settings = settings
        self.network = build_network(settings.model, settings.data.inputs)
        require_sides(self.network, settings.data.grow)
        self.is_compiled = False
        """Whether training steps run the network through torch.compile; may be set until training begins."""
        self._compiled: Callable[..., Tensor] | None = None  # of a method: as a module it would rename the weights
        self.class_weights: Tensor
        self.register_buffer("class_weights", torch.ones(CLASSES))
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_accuracy = MulticlassAccuracy(CLASSES, average="micro")
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.val_metrics = MetricCollection(
            {
                "val/accuracy": MulticlassAccuracy(CLASSES, average="micro"),
                "val/macro_f1": MacroF1(CLASSES, average="none"),
            }
        )
        self.val_confusion = MulticlassConfusionMatrix(CLASSES)
        self.plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self.pretrained: dict[str, str] | None = None
        """What `networks.pretrained` says of the weights that training began with; None: random ones."""
        groups = {name: dump(getattr(settings, name)) for name in ("model", "optimizer", "schedule")}
        self.save_hyperparameters({**groups, "inputs": dump(settings.data.inputs), "seed": settings.seed}, logger=False)

    def set_class_weights(self, class_counts: Tensor) -> None:
        """Weight each class's loss by the inverse of its number of training images (7,)."""
        weights = class_counts.sum() / ((class_counts > 0).sum() * class_counts.clamp_min(1))
        self.class_weights.copy_(weights.where(class_counts > 0, 0))  # an expression without images counts nowhere

    def forward(self, faces: Tensor, hog: Tensor | None = None) -> Tensor:
        """Logits (B, 7) of faces (B, C, H, H), 0 to 255."""
        logits: Tensor = self.network(faces, hog)
        return logits

    def on_train_epoch_start(self) -> None:
        batches_of(self.trainer).set_epoch(self.current_epoch)
        self.seed_dropout()

    def seed_dropout(self) -> None:
        """Seed the global generator, from which dropout alone draws, by (seed, epoch): see `seeding`."""
        stream = self.current_epoch * self.trainer.world_size + self.trainer.global_rank
        torch.manual_seed(stream_seed(self.settings.seed, stream, DROPOUT))

    @property
    def side(self) -> int | None:
        """Side of the pictures that the network is trained on in this epoch, pixels; None: that of `data.size`."""
        data = self.settings.data
        if not data.grow:
            return None
        steps = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        epochs = math.ceil(int(self.trainer.estimated_stepping_batches) / steps)
        return side_in(self.current_epoch, epochs, data.grow, data.size)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        logits = (self._compiled or self.network)(batch.images, batch.hog, self.side)
        loss = F.cross_entropy(
            logits,
            batch.targets,
            weight=self.class_weights if self.settings.model.class_weights else None,
            label_smoothing=self.settings.model.label_smoothing,
        )
        labels = batch.targets if batch.targets.ndim == 1 else batch.targets.argmax(dim=1)
        loss, of_batch, images = self.over_processes(loss, batch.targets)
        self.train_loss.update(of_batch, weight=images)
        self.train_accuracy.update(logits.detach(), labels)
        metrics = {"train/loss": self.train_loss, "train/accuracy": self.train_accuracy}
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(labels))
        return {"loss": loss, "of_batch": of_batch, "logits": logits.detach(), "labels": labels}

    def over_processes(self, loss: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From the mean loss over a process's part of a batch to that over the whole batch.

        Returns what has to be averaged over the processes, as their gradients are; the loss of the whole batch, the
        same in all processes; and the images that one process stands for. Parts need not be equally large, nor equal in
        the weights of their classes.
        """
        count = loss.new_full((), len(targets))  # filled there: a GPU would wait for a number that is sent to it
        if (world := self.trainer.world_size) == 1:
            return loss, loss.detach(), count
        weighted = self.settings.model.class_weights and targets.ndim == 1
        own = self.class_weights[targets].sum() if weighted else count
        sums = torch.stack([own, count, (own * loss).detach()])
        torch.distributed.all_reduce(sums)
        whole, images, total = sums
        return loss * own * world / whole, total / whole, images / world

    def on_train_epoch_end(self) -> None:
        self.log("step", float(self.current_epoch))  # TensorBoard's horizontal axis, for every scalar: epochs
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if len(batch.images):  # the last batch of a process may be empty, where several share the images
            logits = self(batch.images, batch.hog)
            self.val_loss.update(F.cross_entropy(logits.float(), batch.targets), weight=len(logits))
            self.val_metrics.update(logits, batch.targets)
            self.val_confusion.update(logits, batch.targets)
        self.log("val/loss", self.val_loss, batch_size=len(batch.images))
        self.log_dict(self.val_metrics, batch_size=len(batch.images))

    def on_validation_epoch_end(self) -> None:
        self.log("step", float(self.current_epoch))
        if self.plateau is not None:
            self.plateau.step(float(self.trainer.callback_metrics["val/loss"]))

    def on_validation_epoch_start(self) -> None:
        self.val_confusion.reset()  # not at the end: callbacks read it after the epoch

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.network, self.settings.optimizer, self.settings.finetune.layer_decay)
        schedule = self.settings.schedule
        if isinstance(schedule, PlateauSettings):
            # stepped by hand: Lightning would step it after the epoch's checkpoint, and a resumed run would differ
            self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=schedule.patience)
            return optimizer
        factor, total = SCHEDULES[schedule.name], int(self.trainer.estimated_stepping_batches)
        by_progress = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(min(step / max(total, 1), 1.0)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_progress, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.plateau is not None:
            checkpoint["plateau"] = self.plateau.state_dict()
        if self.pretrained is not None:
            checkpoint["pretrained"] = self.pretrained

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._plateau_state = checkpoint.get("plateau")
        self.pretrained = checkpoint.get("pretrained")

    def on_train_start(self) -> None:
        if self.is_compiled:
            self._compiled = torch.compile(self.network.forward, dynamic=False)
        if self.plateau is not None and self._plateau_state is not None:
            self.plateau.load_state_dict(self._plateau_state)


def batches_of(trainer: Trainer) -> Batches:
    """The training batches of a run."""
    batches = trainer.train_dataloader
    assert isinstance(batches, Batches)
    return batches


def classifier_of(module: LightningModule) -> ExpressionClassifier:
    """The module that Lightning hands to a callback, as what it is."""
    assert isinstance(module, ExpressionClassifier)
    return module
