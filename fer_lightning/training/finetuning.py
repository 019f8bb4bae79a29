"""Fine-tuning: the head alone first, and batch normalisation below it as it was in pretraining."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.nn.modules.batchnorm import _BatchNorm

from fer_lightning.settings import FinetuneSettings
from fer_lightning.training.classifiers import classifier_of


class FineTuning(Callback):
    """Which layers are trained in which epoch. It follows from the epoch alone, so a resumed run is exact.

    While the head alone is trained, batch normalisation below it keeps its statistics: they are of the weights.
    """

    def __init__(self, settings: FinetuneSettings):
        self.settings = settings

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._choose_layers(pl_module, self.settings.head_epochs)  # before parameters are given to other processes

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._choose_layers(pl_module, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._choose_layers(pl_module, trainer.current_epoch)

    def _choose_layers(self, module: LightningModule, epoch: int) -> None:
        head_alone, norm = epoch < self.settings.head_epochs, self.settings.norm
        for layer in (layer for stage in classifier_of(module).network.stages for layer in stage):
            layer.requires_grad_(not head_alone)
            for inner in layer.modules():
                if isinstance(inner, _BatchNorm):
                    inner.train(norm == "train" and not head_alone)
                    inner.requires_grad_(norm != "frozen" and not head_alone)
