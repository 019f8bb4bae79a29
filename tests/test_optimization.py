"""Loss, L2, schedules and the moving average against torch's own and against what the formulas say."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch.nn import functional as F

from fer_lightning.callbacks import StopEarly
from fer_lightning.config import plain
from fer_lightning.data.batches import Batch
from fer_lightning.errors import InputError
from fer_lightning.optimization import SCHEDULES, build_optimizer, lr_schedule
from fer_lightning.run import build, fit, new_classifier

SMALL = ["data.images=140", "model=fc", "model.hidden=[8]", "trainer.accelerator=cpu", "trainer.precision=32-true"]
STEPS = 40


def rates(scheduler_of, base: float = 0.5) -> list[float]:
    """The learning rate at each step of a torch schedule."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    scheduler = scheduler_of(optimizer)
    seen = []
    for _ in range(STEPS):
        seen.append(optimizer.param_groups[0]["lr"] / base)
        optimizer.step()
        scheduler.step()
    return seen


TORCH = {
    "constant": lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1),
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS),
    "linear": lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 1, 1e-12, STEPS),
    "steps": lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [STEPS // 2, STEPS * 3 // 4]),
}


@pytest.mark.parametrize("name", TORCH)
def test_a_schedule_is_the_one_of_torch(name):
    ours = [lr_schedule(name)(step / STEPS) for step in range(STEPS)]
    assert ours == pytest.approx(rates(TORCH[name]), abs=1e-9)


def test_the_one_cycle_schedule_rises_from_a_tenth_for_a_fifth_and_falls_along_a_cosine():
    ours = [lr_schedule("one_cycle")(step / STEPS) for step in range(STEPS)]
    rise = STEPS // 5
    assert ours[: rise + 1] == pytest.approx(torch.linspace(0.1, 1, rise + 1).tolist())
    falling = [lr_schedule("cosine")(step / (STEPS - rise)) for step in range(STEPS - rise)]
    assert ours[rise:] == pytest.approx(falling)


def test_an_unknown_schedule_or_optimizer_is_named_with_the_valid_ones():
    with pytest.raises(InputError, match=r"no such schedule. Did you mean cosine\? Valid: .*plateau"):
        lr_schedule("cosin")
    with pytest.raises(InputError, match="expected sgd, adam or adamw"):
        build_optimizer(torch.nn.Linear(1, 1), {"name": "lion", "weight_decay": 0})
    assert set(TORCH) | {"one_cycle"} == set(SCHEDULES)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_an_optimizer_steps_as_torchs_own_with_l2_on_weights_alone(name, compose):
    settings = plain(compose(*SMALL, f"optimizer={name}", "optimizer.weight_decay=0.3", "optimizer.lr=0.1"))[
        "optimizer"
    ]
    torch.manual_seed(0)
    networks = [torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)]
    networks[1].load_state_dict(networks[0].state_dict())
    groups = [{"params": [networks[1].weight], "weight_decay": 0.3}, {"params": [networks[1].bias], "weight_decay": 0}]
    torchs_own = {
        "sgd": lambda: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
        "adam": lambda: torch.optim.Adam(groups, lr=0.1, betas=(0.9, 0.999)),
        "adamw": lambda: torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.999)),
    }
    optimizers = [build_optimizer(networks[0], settings), torchs_own[name]()]
    for _ in range(5):
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.zero_grad()
            network(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
    assert all(torch.equal(ours, other) for ours, other in zip(*(n.parameters() for n in networks), strict=True))


@pytest.mark.parametrize(
    ("overrides", "smoothing", "weighted"),
    [([], 0.0, False), (["model.label_smoothing=0.3"], 0.3, False), (["model.class_weights=true"], 0.0, True)],
    ids=["plain", "label_smoothing", "class_weights"],
)
def test_the_loss_is_the_mean_of_log_softmax_with_smoothing_and_class_weights(overrides, smoothing, weighted, compose):
    """By the formulas: smoothed targets, and a mean weighted by total / (7 * count of the class)."""
    datamodule, classifier = build(plain(compose(*SMALL, *overrides)))
    torch.nn.init.normal_(classifier.network.scores.weight)
    classifier.log_dict = lambda *_, **__: None
    batch = next(iter(datamodule.train_dataloader()))
    targets = F.one_hot(batch.targets, 7) * (1 - smoothing) + smoothing / 7
    counts = datamodule.class_counts()
    weights = (counts.sum() / (7 * counts))[batch.targets] if weighted else torch.ones(len(targets))
    classifier.eval()  # batch normalisation then gives the same logits twice
    logits = classifier(batch.images, batch.hog)
    losses = -(targets * logits.log_softmax(dim=1)).sum(dim=1)
    told = classifier.training_step(Batch(*batch), 0)["loss"]
    torch.testing.assert_close(told, (losses * weights).sum() / weights.sum())


class Recorder(Callback):
    """The weights after each step."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append(pl_module.network.scores.weight.detach().clone())


@pytest.mark.filterwarnings("ignore")  # of Lightning, which the command silences
def test_the_moving_average_is_the_one_of_its_formula(compose, tmp_path):
    config = plain(compose(*SMALL, "ema.decay=0.7", "trainer.max_epochs=2", "draw.every=0", "data.batch_size=32"))
    recorder = Recorder()
    fit(config, tmp_path, Console(quiet=True), callbacks=[recorder])
    average = recorder.seen[0]
    for weights in recorder.seen[1:]:
        average = 0.7 * average + 0.3 * weights
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(kept["network.scores.weight"], average)
    assert not torch.allclose(average, recorder.seen[-1])


def test_statistics_of_the_training_part_travel_in_the_network(compose):
    config = plain(compose(*SMALL))
    datamodule, classifier = build(config)
    statistics = datamodule.statistics()
    for name, value in statistics._asdict().items():
        assert torch.equal(getattr(classifier.normalization, name), value), name
    untouched = new_classifier(config).normalization
    assert not torch.equal(classifier.normalization.mean, untouched.mean)
    batch = next(iter(datamodule.val_dataloader()))
    normalised = classifier.normalization.images(batch.images)
    torch.testing.assert_close(normalised, (batch.images - statistics.mean) / statistics.std)
    features = classifier.normalization.hog(batch.hog)
    torch.testing.assert_close(features, (batch.hog - statistics.hog_mean) / statistics.hog_std)


def test_a_plateau_schedule_remembers_its_bad_epochs_in_the_checkpoint(compose):
    config = plain(compose(*SMALL, "schedule=plateau"))
    first, second = new_classifier(config), new_classifier(config)
    checkpoint: dict = {}
    first.configure_optimizers()
    first.plateau.num_bad_epochs, first.plateau.best = 3, 0.125
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint)
    second.configure_optimizers()
    second.on_train_start()
    assert (second.plateau.num_bad_epochs, second.plateau.best) == (3, 0.125)


def test_early_stopping_waits_for_accuracy_to_rise():
    rising, falling = StopEarly(2), StopEarly(2)
    assert not any(rising._evaluate_stopping_criteria(torch.tensor(0.1 * epoch))[0] for epoch in range(8))
    stops = [falling._evaluate_stopping_criteria(torch.tensor(-0.1 * epoch))[0] for epoch in range(3)]
    assert stops == [False, False, True]
