"""The search: takes trials of the study until all are done, or starts processes that do, and writes the results."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TypeAlias

from optuna.exceptions import StorageInternalError
from optuna.trial import Trial
from rich.console import Console
from rich.live import Live
from sqlalchemy.exc import SQLAlchemyError

from fer_lightning.errors import InputError
from fer_lightning.networks import build_network
from fer_lightning.search.plots import draw_plots
from fer_lightning.search.results import best_trials, write_best, write_trials
from fer_lightning.search.samplers import build_pruner
from fer_lightning.search.screen import ending, opening, overview, print_results, state, workers_line
from fer_lightning.search.space import Compose, Space, hydra_text
from fer_lightning.search.storage import RESULTS
from fer_lightning.search.study import FOLDER, HOST, Outcome, Study
from fer_lightning.search.trial import THREADS, is_environment_error
from fer_lightning.settings import SearchSettings, TrainSettings
from fer_lightning.signals import Stopped
from fer_lightning.training.cross_validation import folds_of, open_shared_faces
from fer_lightning.training.fit import fit
from fer_lightning.training.processes import assign_gpus, started, this_worker
from fer_lightning.training.ranks import require_started_processes

Launch: TypeAlias = Callable[[Sequence[list[str]], int], Sequence[Outcome]]
"""Runs jobs by their overrides, the first of that number, and returns how each trial ended."""

PAUSE = 0.5
"""Seconds between two looks at the trials that other processes run."""


def search(
    folder: Path,
    settings: SearchSettings,
    space: Space,
    extremes: Sequence[TrainSettings],
    compose: Compose,
    launch: Launch,
    command: Sequence[str],
) -> list[float]:
    """Run the study in `folder` until it has `n_trials`, with whatever other processes work on it; the best values.

    extremes: the training settings at the ends of the space. command: starts this search once more, as a worker. A
    worker runs trials and returns no values. Raises InputError before any training where the space or the data do not
    allow the search, and later where the machine, the storage or a worker does not let it go on.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not this_worker():
        require_started_processes(extremes[0].trainer)
        check(settings, extremes)
    study = Study(folder, settings, space, extremes[0])
    table = Live(console=console, get_renderable=partial(overview, study), refresh_per_second=1, transient=True)
    lost: list[str] = []
    try:
        if this_worker():
            run_trials(study, launch, console)
            return []
        console.print(opening(study, extremes[0].cv.folds))
        gpus = assign_gpus(settings.workers, extremes[0].trainer, study.total - len(study.ended()))
        if len(gpus) > 1:
            console.print(workers_line(gpus, folder))
        with table if console.is_terminal else nullcontext():
            if len(gpus) > 1:
                lost = run_workers(study, command, gpus, console)
            else:
                run_trials(study, launch, console)
        with study.locks.locked(RESULTS):
            write_trials(study)
            best = write_best(study, compose)
            draw_plots(study)
        print_results(console, study)
        if len(study.ended()) < study.total:
            raise InputError(f"{'; '.join(lost)}: {state(study)}. The same command goes on")
        if best is None:
            raise InputError(f"no trial of {study.name} is complete, so there is no best setting: see {folder}")
        if settings.refit:
            refit(study, best)
        if lost:
            raise InputError(f"{'; '.join(lost)}; the other workers have done all trials")
        return list(best_trials(study)[0].values)
    except (OSError, StorageInternalError, SQLAlchemyError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"the search stopped: {reason[:300]}. The same command goes on with it") from error
    finally:
        study.close()


def check(settings: SearchSettings, extremes: Sequence[TrainSettings]) -> None:
    """Raise InputError where a network, the folds or the pruner of the extremes are not possible."""
    if extremes[0].cv.workers not in ("auto", 1):
        raise InputError(
            f"cv.workers={extremes[0].cv.workers}: the folds of a trial are trained one after the other; a search runs "
            "trials side by side by hydra.sweeper.workers"
        )
    for each in extremes:
        build_network(each.model, each.data.inputs)
        build_pruner(settings, each.cv.folds, each.trainer.max_epochs)
    datamodule = open_shared_faces(extremes[0])
    for each in {each.cv.folds: each for each in extremes}.values():
        folds_of(each, datamodule)


def run_trials(study: Study, launch: Launch, console: Console) -> None:
    """Run trials, as many at a time as `jobs`, until the study has all; those that others run are waited for."""
    waiting = False
    while True:
        trials: list[Trial] = []
        while len(trials) < study.settings.jobs and (trial := study.ask()):
            trials.append(trial)
        if trials:
            run_batch(study, trials, launch, console)
        elif others := study.elsewhere():
            if not waiting:
                numbers = ", ".join(str(trial.number) for trial in others)
                console.print(f"nothing left to begin; waiting for trial {numbers} of another process")
            waiting = True
            time.sleep(PAUSE)
        else:
            return


def run_workers(study: Study, command: Sequence[str], gpus: Sequence[str | None], console: Console) -> list[str]:
    """Have worker processes run the trials, and say how each trial ended; returns which workers failed, and how."""
    shown = {trial.number for trial in study.ended()}
    lost: dict[int, str] = {}
    with started(command, gpus, max(1, THREADS // len(gpus)), study.folder) as workers:
        try:
            running = True
            while running:
                time.sleep(PAUSE)
                running = any(worker.process.poll() is None for worker in workers)
                for number in [trial.number for trial in study.ended() if trial.number not in shown]:
                    shown.add(number)
                    console.print(ending(study, number))
                    if not console.is_terminal:
                        console.print(f"  {state(study)}")
                for worker in workers:
                    if worker.number not in lost and (failure := worker.failure()):
                        lost[worker.number] = f"worker {worker.number} ended by {failure}, see {worker.log}"
                        lines = [f"worker {worker.number} ended by {failure}; its last lines:", *worker.last_lines()]
                        console.print("\n  ".join(lines))
        except Stopped:
            console.print("stopping: the workers save their trials")
            raise
    return list(lost.values())


def run_batch(study: Study, trials: Sequence[Trial], launch: Launch, console: Console) -> None:
    """Have a launcher run some trials, and tell the study how they ended. One whose process died stays unfinished."""
    try:
        outcomes = launch([overrides_of(study, trial) for trial in trials], trials[0].number)
    except BaseException as error:
        numbers = [trial.number for trial in trials]
        begun = any(HOST in other.user_attrs for other in study.trials() if other.number in numbers)
        for trial in trials:
            study.leave(trial, died=begun and not isinstance(error, Stopped))
        if not begun and isinstance(error, Exception):
            raise InputError(f"the launcher started no trial: {type(error).__name__}: {error}") from error
        if not isinstance(error, Exception) or is_environment_error(error):
            raise
        console.print(f"the launcher lost {', '.join(f'trial {number}' for number in numbers)}: {error}")
        return
    for trial, outcome in zip(trials, outcomes, strict=True):
        study.tell(trial, outcome)
        console.print(ending(study, trial.number))
    if not console.is_terminal:
        console.print(f"  {state(study)}")
    with study.locks.locked(RESULTS):
        write_trials(study)


def overrides_of(study: Study, trial: Trial) -> list[str]:
    """The overrides that make a job run this trial."""
    return [
        *study.space.overrides(trial.params),
        f"hydra.sweep.dir={hydra_text(str(study.folder))}",
        f"hydra.sweep.subdir={FOLDER.format(trial.number)}",
        f"hydra.sweeper.study_name={hydra_text(study.name)}",
        f"hydra.sweeper.trial={trial.number}",
    ]


def refit(study: Study, best: TrainSettings) -> None:
    """Train on the whole training part with the best setting, validated on PublicTest, in the folder `refit`."""
    console = Console(highlight=False)
    with study.locks.locked("refit"):
        folder = study.folder / "refit"
        console.print(f"refit: the best setting, on the whole training part, into {folder}", soft_wrap=True)
        metrics = fit(best.model_copy(update={"resume": folder.exists()}), folder, console)
        console.print(
            f"refit: {metrics['val/accuracy']:.2%} on the validation split, epoch {metrics['best_epoch'] + 1}"
        )
