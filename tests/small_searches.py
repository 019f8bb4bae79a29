"""Overrides of searches that take seconds, and what a search leaves."""

import csv
from pathlib import Path

import optuna

SMALL = ["model=fc", "data.images=140", "data.batch_size=32", "trainer.max_epochs=1", "cv.folds=2"]
CPU = ["trainer.accelerator=cpu", "trainer.precision=32-true"]
QUICK = ["--multirun", "sweeps=lr_reg_hidden", *SMALL, *CPU, "model.hidden=choice([4], [8, 4])"]


def in_folder(folder: Path, trials: int) -> list[str]:
    return [f"hydra.sweep.dir={folder}", f"hydra.sweeper.n_trials={trials}"]


def rows(folder: Path) -> list[dict[str, str]]:
    """trials.csv"""
    return list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))


def stored(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials in study.db."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
    try:
        return optuna.load_study(study_name=None, storage=storage).get_trials()
    finally:
        storage.engine.dispose()
