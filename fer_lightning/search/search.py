"""A search from its first check to its results: asks the study for trials and has them run, until all are done."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.trial import TrialState
from rich.console import Console

from fer_lightning.commands import Stopped
from fer_lightning.cross_validation import assign_folds, open_faces
from fer_lightning.data.faces import TRAIN
from fer_lightning.errors import InputError
from fer_lightning.progress import duration
from fer_lightning.run import fit
from fer_lightning.search.results import (
    best_trials,
    draw_plots,
    hydra_text,
    print_results,
    score_of,
    settings_of,
    write_best,
    write_trials,
)
from fer_lightning.search.settings import check_settings
from fer_lightning.search.space import Space
from fer_lightning.search.study import Study, root

Compose = Callable[..., dict[str, Any]]
Launch = Callable[[Sequence[list[str]], int], Sequence[dict[str, Any]]]


def search(
    folder: Path, settings: dict[str, Any], space: Space, compose: Compose, launch: Launch
) -> list[float] | None:
    """Run the study in `folder` until it has `n_trials`, with whatever other processes work on it; the best values.

    settings: conf/hydra/sweeper/study.yaml. compose: the checked, plain config of some overrides, with
    `alone` without the sweep's. launch: runs jobs by
    their overrides, the first of that number, and returns how each trial ended. Raises InputError before any training
    where the settings, the space or the data do not allow the search.
    """
    console = Console(highlight=False)
    config = check(settings, space, compose)
    study = Study(folder, settings, space, config)
    settings["study_name"] = study.name
    console.print(
        f"study {study.name}: {study.total} trials of {config['cv']['folds']} folds; {settings['sampler']} over"
    )
    for key, dimension in space.dimensions.items():
        console.print(f"  {key}: {dimension}", markup=False, soft_wrap=True)
    while trials := [trial for _ in range(settings["jobs"]) if (trial := study.ask())]:
        began = time.perf_counter()
        jobs = [
            [
                *space.overrides(trial.params),
                f"hydra.sweep.dir={hydra_text(str(folder))}",
                f"hydra.sweep.subdir=trial-{root(trial):04}",
                f"hydra.sweeper.study_name={hydra_text(study.name)}",
                f"hydra.sweeper.trial={trial._trial_id}",
            ]
            for trial in trials
        ]
        try:
            outcomes = launch(jobs, root(trials[0]))
        except Stopped:
            for trial in trials:
                study.put_back(trial)
            raise
        for trial, outcome in zip(trials, outcomes, strict=True):
            study.tell(trial, outcome)
            say(console, study, root(trial), time.perf_counter() - began)
    with FileLock(folder / "locks" / "results.lock"):
        write_trials(study)
        best = write_best(study, compose)
        draw_plots(study)
        print_results(console, study)
        if best and settings["refit"]:
            console.print("refit: training on the whole training part with the best setting")
            begun = (folder / "refit").exists()
            fit({**best, "resume": begun}, folder / "refit", console)
    leading = best_trials(study)
    return list(leading[0].values) if leading else None


def check(settings: dict[str, Any], space: Space, compose: Compose) -> dict[str, Any]:
    """The config of a first trial, after every end of the space was composed and the folds were made."""
    check_settings(settings)
    configs = [compose(space.overrides(values)) for values in space.extremes()]
    config = configs[0]
    if not config["cv"]["folds"]:
        raise InputError("cv.folds=0: a search chooses by cross-validation; give cv.folds=5, say")
    datamodule = open_faces(config)
    assert datamodule.faces is not None
    rows = datamodule.rows[TRAIN].numpy()
    labels, groups = datamodule.faces.labels[rows], datamodule.faces.copy_groups[rows]
    for folds in {each["cv"]["folds"] for each in configs}:
        assign_folds(labels, groups, folds, config["cv"]["seed"])
    return config


def say(console: Console, study: Study, number: int, seconds: float) -> None:
    """One line: how a trial ended, the best so far, what else is at work and about how long the rest will take."""
    trials = study.trials()
    trial = next(trial for trial in trials if root(trial) == number)
    states = [each.state for each in trials]
    running = states.count(TrialState.RUNNING)
    left = study.total - len(trials) + running + states.count(TrialState.WAITING)
    spent = [each.user_attrs["wall_seconds"] for each in trials if "wall_seconds" in each.user_attrs] or [seconds]
    best = next(iter(best_trials(study)), None)
    line = f"trial {number}: {score_of(trial, study)}  {settings_of(trial, study)}"
    if trial.state == TrialState.FAIL:
        line += f"\n  {trial.user_attrs.get('reason', '')}"
    line += f"\n  {study.total - left} of {study.total} done"
    line += f", {states.count(TrialState.PRUNED)} pruned, {running} running elsewhere"
    if best is not None:
        line += f"; best {score_of(best, study)} (trial {root(best)})"
    if left:
        line += f"; about {duration(left * sum(spent) / len(spent) / (running + 1))} left"
    console.print(line, markup=False, soft_wrap=True)
