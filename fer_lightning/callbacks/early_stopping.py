"""Stop when the validation accuracy no longer rises."""

import lightning
from lightning.pytorch.callbacks import EarlyStopping


class StopEarly(EarlyStopping):
    """Stop after `patience` epochs without a better validation accuracy.

    A run that was killed after it had stopped, but before it said so, stops again at once when it is resumed.
    """

    def __init__(self, patience: int):
        super().__init__("val/accuracy", mode="max", patience=patience, check_on_train_epoch_end=True, verbose=False)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True
