"""Drawing: the share of an epoch's time that the default pictures take, with conv_poster.

One run trains as usual, each epoch with all its pictures (draw.share=1); what drawing took is counted as it happens,
beside the rest of the same epoch. The first epoch warms up. What is drawn once, at the end, is given in seconds.

python benchmarks/drawing.py [override ...]     # as of fer_lightning.train; default: FER2013, or without it
                                                # 3,000 synthetic faces
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hydra
import torch
from lightning.pytorch.callbacks import Callback
from record import fer2013, report, row
from rich.console import Console

from fer_lightning.cli import settings_of
from fer_lightning.settings import CONF, TrainSettings
from fer_lightning.training import tensorboard
from fer_lightning.training.fit import fit

DEFAULTS = ["model=conv_poster", "data.images=3000", "draw.share=1", "trainer.max_epochs=3"]
AT_END = ("draw_dreams", "draw_embedding")


class Timed(Callback):
    """Seconds of each epoch, and how many of them were spent drawing."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.drawn: list[float] = []

    def on_fit_start(self, trainer, pl_module) -> None:
        (network,) = (callback for callback in trainer.callbacks if isinstance(callback, tensorboard.DrawNetwork))
        self.pace = network.pace

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.began, self.spent = time.perf_counter(), self.pace.spent

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.epochs.append(time.perf_counter() - self.began)
        self.drawn.append(self.pace.spent - self.spent)


def timed_end() -> dict[str, float]:
    """Seconds that each drawing of the end takes, filled in when it has run."""
    seconds: dict[str, float] = {}

    def timed(name: str, draw: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments) -> None:
            begin = time.perf_counter()
            draw(*arguments)
            seconds[name] = time.perf_counter() - begin

        return call

    for name in AT_END:
        setattr(tensorboard, name, timed(name, getattr(tensorboard, name)))
    return seconds


def main() -> None:
    given, real = sys.argv[1:], fer2013()
    if not given and real:
        given = ["data=fer2013", f"data.path={real}"]
    defaults = [word for word in DEFAULTS if not (word.startswith("data.images") and "data=fer2013" in given)]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", [*defaults, *given]), TrainSettings)
    timed, at_end = Timed(), timed_end()
    with tempfile.TemporaryDirectory() as folder:
        metrics = fit(settings, Path(folder), Console(quiet=True), callbacks=[timed])
    shares = [drawn / (epoch - drawn) for drawn, epoch in zip(timed.drawn[1:], timed.epochs[1:], strict=True)]
    for drawn, epoch, share in zip(timed.drawn[1:], timed.epochs[1:], shares, strict=True):
        print(f"epoch of {epoch:.2f} s, {drawn:.2f} s of them drawing: {share:.1%} of the rest")
    for name, seconds in at_end.items():
        print(f"{name} at the end: {seconds:.1f} s")
    result = {
        "model": settings.model.name,
        "faces": metrics["split_sizes"],
        "seconds_drawing": statistics.median(timed.drawn[1:]),
        "seconds_epoch": statistics.median(timed.epochs[1:]),
        "share": statistics.median(shares),
        "seconds_at_end": at_end,
        "threads": torch.get_num_threads(),
    }
    rows = [
        row(
            "drawing, share of an epoch's time",
            result["share"],
            None,
            "",
            at_most=0.05 if settings.data.name == "fer2013" else None,
            of="ours",
        )
    ]
    report("drawing", rows, **result)


if __name__ == "__main__":
    main()
