"""A search from its first check to its results: asks the study for trials and has them run, until all are done."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.trial import Trial
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from fer_lightning.cross_validation import assign_folds, open_faces
from fer_lightning.data.faces import TRAIN
from fer_lightning.errors import InputError
from fer_lightning.run import fit, new_classifier
from fer_lightning.search.plots import draw_plots
from fer_lightning.search.progress import SearchProgress, print_results
from fer_lightning.search.results import best_trials, write_best, write_trials
from fer_lightning.search.settings import check_settings
from fer_lightning.search.space import Space, hydra_text
from fer_lightning.search.study import RESULTS, Study, folder_of
from fer_lightning.search.trial import HOST, of_the_machine
from fer_lightning.stopping import Stopped

Compose = Callable[..., dict[str, Any]]
Launch = Callable[[Sequence[list[str]], int], Sequence[dict[str, Any]]]

PAUSE = 0.5
"""Seconds between two looks at the trials that other processes run."""


def search(
    folder: Path, settings: dict[str, Any], space: Space, compose: Compose, launch: Launch
) -> list[float] | None:
    """Run the study in `folder` until it has `n_trials`, with whatever other processes work on it; the best values.

    settings: conf/hydra/sweeper/study.yaml. compose: the checked, plain config of some overrides, with `alone` without
    the sweep's. launch: runs jobs by their overrides, the first of that number, and returns how each trial ended.
    Raises InputError before any training where the settings, the space or the data do not allow the search, and later
    where the machine or the storage does not let it go on.
    """
    console = Console(highlight=False)
    config = check(settings, space, compose)
    study = Study(folder, settings, space, config)
    try:
        with SearchProgress(console, study, config["cv"]["folds"]) as progress:
            run_all(study, launch, progress)
        with study.locks.alone(RESULTS):
            write_trials(study)
            best = write_best(study, compose)
            draw_plots(study)
        print_results(console, study)
        leading = best_trials(study)
        if not leading:
            raise InputError(f"no trial of {study.name} is complete, so there is no best setting: see {folder}")
        if best and settings["refit"]:
            refit(study, best, console)
    except (OSError, StorageInternalError, SQLAlchemyError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"the search stopped: {reason[:300]}. The same command goes on with it") from error
    finally:
        study.close()
    return list(leading[0].values)


def check(settings: dict[str, Any], space: Space, compose: Compose) -> dict[str, Any]:
    """The config of a first trial, after every end of the space was composed, its network built, and the folds made."""
    check_settings(settings)
    configs = [compose(space.overrides(values)) for values in space.extremes()]
    config = configs[0]
    if not all(each["cv"]["folds"] for each in configs):
        raise InputError("cv.folds=0: a search chooses by cross-validation; give cv.folds=5, say")
    for each in configs:
        new_classifier(each)
    datamodule = open_faces(config)
    assert datamodule.faces is not None
    rows = datamodule.rows[TRAIN].numpy()
    labels, groups = datamodule.faces.labels[rows], datamodule.faces.copy_groups[rows]
    for folds in {each["cv"]["folds"] for each in configs}:
        assign_folds(labels, groups, folds, config["cv"]["seed"])
    return config


def run_all(study: Study, launch: Launch, progress: SearchProgress) -> None:
    """Run trials, as many at a time as `jobs`, until the study has all; those that others run are waited for."""
    while True:
        trials: list[Trial] = []
        while len(trials) < study.settings["jobs"] and (trial := study.ask()):
            trials.append(trial)
        if trials:
            run_batch(study, trials, launch, progress)
        elif others := study.elsewhere():
            progress.waits_for(others)
            time.sleep(PAUSE)
        else:
            return


def run_batch(study: Study, trials: Sequence[Trial], launch: Launch, progress: SearchProgress) -> None:
    """Have a launcher run some trials, and tell the study how they ended. One whose process died stays unfinished."""
    try:
        outcomes = launch([command_line(study, trial) for trial in trials], trials[0].number)
    except BaseException as error:
        numbers = {trial.number for trial in trials}
        begun = any(HOST in other.user_attrs for other in study.trials() if other.number in numbers)
        on_purpose = isinstance(error, Stopped) or not begun
        for trial in trials:
            study.leave(trial, on_purpose)
        if not begun and isinstance(error, Exception):
            raise InputError(f"the launcher started no trial: {type(error).__name__}: {error}") from error
        if not isinstance(error, Exception) or of_the_machine(error):
            raise
        progress.say(f"the launcher lost {', '.join(f'trial {trial.number}' for trial in trials)}: {error}")
        return
    for trial, outcome in zip(trials, outcomes, strict=True):
        study.tell(trial, outcome)
        progress.ended(trial.number)
    with study.locks.alone(RESULTS):
        write_trials(study)


def command_line(study: Study, trial: Trial) -> list[str]:
    """The overrides that make a job run this trial."""
    return [
        *study.space.overrides(trial.params),
        f"hydra.sweep.dir={hydra_text(str(study.folder))}",
        f"hydra.sweep.subdir={folder_of(trial)}",
        f"hydra.sweeper.study_name={hydra_text(study.name)}",
        f"hydra.sweeper.trial={trial._trial_id}",
    ]


def refit(study: Study, best: dict[str, Any], console: Console) -> None:
    """Train on the whole training part with the best setting, validated on PublicTest, in the folder `refit`."""
    with study.locks.alone("refit"):
        folder = study.folder / "refit"
        console.print(f"refit: the best setting, on the whole training part, into {folder}", soft_wrap=True)
        metrics = fit({**best, "resume": folder.exists()}, folder, console)
        console.print(
            f"refit: {metrics['val/accuracy']:.2%} on the validation split, epoch {metrics['best_epoch'] + 1}"
        )
