"""LightningModules for the conv, fully connected and hybrid networks: loss, metrics, optimiser and schedule."""

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

from fer_lightning.data.batches import Batch
from fer_lightning.data.datamodule import Statistics
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.hog import hog, hog_length
from fer_lightning.networks import ConvNetwork, FullyConnectedNetwork, HybridNetwork
from fer_lightning.networks.normalization import Normalization
from fer_lightning.optimization import PLATEAU, build_optimizer, lr_schedule
from fer_lightning.seeding import DROPOUT, stream_seed

CLASSES = len(EXPRESSIONS)


class ExpressionClassifier(lightning.LightningModule):
    """What all classifiers share. Subclasses build `network` and say what of a batch it is given.

    model, optimizer, schedule: plain values of the config groups of these names. inputs: what the network is fed,
    `{"channels": 1, "size": 48, "hog": {...}}`. All are kept in the checkpoint, so it can be loaded without the config.
    """

    uses_hog = False

    def __init__(
        self,
        model: Mapping[str, Any],
        inputs: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        schedule: Mapping[str, Any],
        seed: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.model, self.inputs, self.seed = model, inputs, seed
        self.optimizer_settings, self.schedule_settings = optimizer, schedule
        self.hog_length = hog_length(48, 48, **inputs["hog"]) if self.uses_hog else 0
        self.normalization = Normalization(inputs["size"], self.hog_length)
        self.class_weights: Tensor
        self.register_buffer("class_weights", torch.ones(CLASSES))
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_accuracy = MulticlassAccuracy(CLASSES, average="micro")
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.val_metrics = MetricCollection(
            {
                "val/accuracy": MulticlassAccuracy(CLASSES, average="micro"),
                "val/macro_f1": MulticlassF1Score(CLASSES, average="macro"),
            }
        )
        self.val_confusion = MulticlassConfusionMatrix(CLASSES)
        self.plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self.network: nn.Module

    def set_statistics(self, statistics: Statistics, class_counts: Tensor) -> None:
        """Take the training part's statistics and, with `model.class_weights`, weights inverse to the class counts."""
        for name, value in statistics._asdict().items():
            getattr(self.normalization, name).copy_(value)
        if self.model["class_weights"]:
            self.class_weights.copy_(class_counts.sum() / (CLASSES * class_counts.clamp_min(1)))

    def forward(self, images: Tensor, hog: Tensor | None = None) -> Tensor:
        """Logits (B, 7) of raw grey faces (B, channels, size, size), 0 to 255, and their HOG vectors where used."""
        raise NotImplementedError

    def classify(self, faces: Tensor) -> Tensor:
        """Logits (B, 7) of grey faces (B, 1, 48, 48), 0 to 255; size, channels and HOG are made as needed."""
        faces = faces.float()
        features = hog(faces[:, 0], **self.inputs["hog"]) if self.uses_hog else None
        size, channels = self.inputs["size"], self.inputs["channels"]
        if size != faces.shape[-1]:
            faces = F.interpolate(faces, size=(size, size), mode="bilinear", align_corners=False)
        return self(faces.expand(-1, channels, -1, -1), features)

    def on_train_epoch_start(self) -> None:
        self.trainer.train_dataloader.set_epoch(self.current_epoch)  # type: ignore[union-attr]
        self.seed_dropout()

    def seed_dropout(self) -> None:
        """Make dropout, the only draw from the global generator, follow (seed, epoch) alone: see `seeding`."""
        rank = self.trainer.global_rank
        torch.manual_seed(stream_seed(self.seed, self.current_epoch * self.trainer.world_size + rank, DROPOUT))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        logits = self(batch.images, batch.hog)
        loss = F.cross_entropy(
            logits,
            batch.targets,
            weight=self.class_weights if self.model["class_weights"] else None,
            label_smoothing=self.model["label_smoothing"],
        )
        labels = batch.targets if batch.targets.ndim == 1 else batch.targets.argmax(dim=1)
        self.train_loss.update(loss.detach(), weight=len(labels))
        self.train_accuracy.update(logits.detach(), labels)
        metrics = {"train/loss": self.train_loss, "train/accuracy": self.train_accuracy}
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(labels))
        return {"loss": loss, "logits": logits.detach(), "labels": labels}

    def on_train_epoch_end(self) -> None:
        self.log("step", float(self.current_epoch))  # TensorBoard's horizontal axis, for every scalar: epochs
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self(batch.images, batch.hog)
        self.val_loss.update(F.cross_entropy(logits.float(), batch.targets), weight=len(logits))
        self.val_metrics.update(logits, batch.targets)
        self.val_confusion.update(logits, batch.targets)
        self.log("val/loss", self.val_loss, batch_size=len(logits))
        self.log_dict(self.val_metrics, batch_size=len(logits))

    def on_validation_epoch_end(self) -> None:
        self.log("step", float(self.current_epoch))
        if self.plateau is not None:
            self.plateau.step(float(self.trainer.callback_metrics["val/loss"]))

    def on_validation_epoch_start(self) -> None:
        self.val_confusion.reset()  # here, so that callbacks can still read it after the epoch

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.network, self.optimizer_settings)
        if self.schedule_settings["name"] == PLATEAU:
            # stepped by hand: Lightning would step it after the epoch's checkpoint, and a resumed run would differ
            patience = self.schedule_settings["patience"]
            self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=patience)
            return optimizer
        factor, total = lr_schedule(self.schedule_settings["name"]), int(self.trainer.estimated_stepping_batches)
        by_progress = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(min(step / max(total, 1), 1.0)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_progress, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.plateau is not None:
            checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._plateau_state: dict[str, Any] | None = checkpoint.get("plateau")

    def on_train_start(self) -> None:
        state = getattr(self, "_plateau_state", None)
        if self.plateau is not None and state is not None:
            self.plateau.load_state_dict(state)


class ConvClassifier(ExpressionClassifier):
    """The conv network on pixels."""

    def __init__(self, **config: Any):
        super().__init__(**config)
        model, inputs = self.model, self.inputs
        self.network = ConvNetwork(
            model["conv"], model["hidden"], inputs["channels"], inputs["size"], model["batch_norm"], model["dropout"]
        )

    def forward(self, images: Tensor, hog: Tensor | None = None) -> Tensor:
        return self.network(self.normalization.images(images))


class HybridClassifier(ExpressionClassifier):
    """The conv network whose features are joined by HOG before the hidden layers."""

    uses_hog = True

    def __init__(self, **config: Any):
        super().__init__(**config)
        model, inputs = self.model, self.inputs
        self.network = HybridNetwork(
            model["conv"],
            model["hidden"],
            self.hog_length,
            channels=inputs["channels"],
            side=inputs["size"],
            batch_norm=model["batch_norm"],
            dropout=model["dropout"],
        )

    def forward(self, images: Tensor, hog: Tensor | None = None) -> Tensor:
        assert hog is not None, "a hybrid network needs HOG features"
        return self.network(self.normalization.images(images), self.normalization.hog(hog))


class FullyConnectedClassifier(ExpressionClassifier):
    """Hidden layers alone, on HOG or on pixels."""

    def __init__(self, **config: Any):
        source = config["model"]["input"]
        if source not in ("hog", "pixels"):
            raise InputError(f"model.input={source!r}: expected hog or pixels")
        self.uses_hog = source == "hog"
        super().__init__(**config)
        pixels = self.inputs["channels"] * self.inputs["size"] ** 2
        self.network = FullyConnectedNetwork(
            self.hog_length or pixels, self.model["hidden"], self.model["batch_norm"], self.model["dropout"]
        )

    def forward(self, images: Tensor, hog: Tensor | None = None) -> Tensor:
        if not self.uses_hog:
            return self.network(self.normalization.images(images))
        assert hog is not None, "this network needs HOG features"
        return self.network(self.normalization.hog(hog))


CLASSIFIERS: dict[str, type[ExpressionClassifier]] = {
    "conv": ConvClassifier,
    "hybrid": HybridClassifier,
    "fc": FullyConnectedClassifier,
}


def build_classifier(model: Mapping[str, Any], **others: Any) -> ExpressionClassifier:
    """The LightningModule for `model["kind"]`, one of CLASSIFIERS; the rest goes to its constructor."""
    if not isinstance(model["kind"], str) or model["kind"] not in CLASSIFIERS:
        raise InputError(f"model.kind={model['kind']!r}: expected one of {', '.join(CLASSIFIERS)}")
    return CLASSIFIERS[model["kind"]](model=model, **others)
