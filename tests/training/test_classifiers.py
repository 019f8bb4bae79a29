"""The loss, its weights and the statistics of a classifier, by their formulas, in real training steps."""

import math

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, LambdaCallback
from sklearn.metrics import f1_score
from tiny_runs import FC, run_fit, settings_from
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.training.classifiers import ExpressionClassifier, MacroF1
from fer_lightning.training.fit import prepare


class Losses(Callback):
    """Each step's loss, and the logits and labels that it is of; without batch norm both modes give the same logits."""

    def __init__(self) -> None:
        self.steps: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def on_train_batch_start(self, trainer: Trainer, pl_module, batch, batch_idx: int) -> None:
        self.logits = pl_module(batch.images, batch.hog)

    def on_train_batch_end(self, trainer: Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        self.steps.append((outputs["loss"].detach(), self.logits, batch.targets))


@pytest.mark.parametrize(
    ("overrides", "smoothing", "is_weighted"),
    [([], 0.0, False), (["model.label_smoothing=0.3"], 0.3, False), (["model.class_weights=true"], 0.0, True)],
    ids=["plain", "label_smoothing", "class_weights"],
)
def test_the_loss_is_the_mean_of_log_softmax_with_smoothing_and_class_weights(
    overrides, smoothing, is_weighted, tmp_path
):
    """Smoothed targets, and a mean weighted by total / (7 * count of the class)."""
    seen = Losses()
    settings = [*FC, "model.batch_norm=false", "optimizer.lr=0.5", "trainer.max_epochs=2", "draw.every=0", *overrides]
    run_fit(tmp_path, *settings, callbacks=[seen])
    datamodule = FaceDataModule(settings_from(*settings).data)
    datamodule.setup()
    counts = datamodule.class_counts()
    assert len(set(counts.tolist())) > 1
    assert len(seen.steps) == 8
    for loss, logits, labels in seen.steps:
        targets = F.one_hot(labels, 7) * (1 - smoothing) + smoothing / 7
        class_weights = (counts.sum() / (7 * counts))[labels] if is_weighted else torch.ones(len(labels))
        losses = -(targets * logits.log_softmax(dim=1)).sum(dim=1)
        torch.testing.assert_close(loss, (losses * class_weights).sum() / class_weights.sum())
    assert abs(float(seen.steps[0][0]) - math.log(7)) < 1e-5  # the last layer begins at zero
    assert abs(float(seen.steps[-1][0]) - math.log(7)) > 0.01


def test_statistics_of_the_training_part_travel_in_the_network():
    settings = settings_from(*FC, "model=hybrid_poster", "model.conv=[{filters: 4, pool: 4}]")
    classifier, datamodule = ExpressionClassifier(settings), FaceDataModule(settings.data, with_hog=True)
    untouched = classifier.network.preprocessing.mean.clone()
    prepare(classifier, datamodule)
    preprocessing, statistics = classifier.network.preprocessing, datamodule.statistics()
    names = ("mean", "std", "hog_mean", "hog_std")
    for name, value in zip(names, statistics, strict=True):
        torch.testing.assert_close(getattr(preprocessing, name), value.float())
        assert f"network.preprocessing.{name}" in classifier.state_dict()
    assert not torch.equal(preprocessing.mean, untouched)
    mean, std, hog_mean, hog_std = (value.float() for value in statistics)
    batch = next(iter(datamodule.val_dataloader()))
    images, features = preprocessing(batch.images, batch.hog)
    torch.testing.assert_close(images, (batch.images - mean) / std)
    torch.testing.assert_close(features, (batch.hog - hog_mean) / hog_std)


def test_a_plateau_schedule_keeps_its_bad_epochs_in_the_checkpoint():
    settings = settings_from(*FC, "schedule=plateau")
    first, second, checkpoint = ExpressionClassifier(settings), ExpressionClassifier(settings), {}
    first.configure_optimizers()
    first.plateau.num_bad_epochs, first.plateau.best = 3, 0.125
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint)
    second.configure_optimizers()
    second.on_train_start()
    assert (second.plateau.num_bad_epochs, second.plateau.best) == (3, 0.125)


def test_a_plateau_schedule_follows_the_validation_loss_as_torchs_own(tmp_path):
    settings = [*FC, "schedule=plateau", "schedule.patience=1", "optimizer.lr=1.0", "draw.every=0"]
    rates, losses = [], []

    def record(trainer: Trainer, module: ExpressionClassifier) -> None:
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        losses.append(float(trainer.callback_metrics["val/loss"]))

    run_fit(tmp_path, *settings, "trainer.max_epochs=8", callbacks=[LambdaCallback(on_train_epoch_end=record)])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference, expected = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1), []
    for loss in losses:
        reference.step(loss)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx(expected)
    assert rates[-1] < 1.0


def test_macro_f1_is_over_the_expressions_that_the_labels_hold():
    generator = torch.Generator().manual_seed(0)
    labels, scores = torch.randint(0, 5, (80,), generator=generator), torch.rand((80, 7), generator=generator)
    metric = MacroF1(7, average="none")
    for part in (slice(0, 30), slice(30, 80)):
        metric.update(scores[part], labels[part])
    predicted = scores.argmax(dim=1)
    assert set(predicted.tolist()) == set(range(7))  # two are predicted that do not occur
    expected = f1_score(labels, predicted, labels=labels.unique(), average="macro")
    assert float(metric.compute()) == pytest.approx(expected)


def test_class_weights_are_finite_and_zero_for_an_expression_without_images():
    classifier = ExpressionClassifier(settings_from(*FC))
    classifier.set_class_weights(torch.tensor([10, 0, 20, 30, 0, 40, 100]))
    weights = classifier.class_weights
    assert weights.isfinite().all()
    assert weights[[1, 4]].tolist() == [0, 0]
    assert float((weights * torch.tensor([10, 0, 20, 30, 0, 40, 100])).sum()) == pytest.approx(200)
