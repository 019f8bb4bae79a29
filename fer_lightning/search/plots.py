"""Plots of a search as PNGs, by Optuna: history, importances, score over each setting, parallel coordinates."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib.axis import Axis
from matplotlib.ticker import PercentFormatter
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.visualization import matplotlib as optuna_plots

from fer_lightning.search.study import FOLDS, OBJECTIVES, Study

LONGEST = 18
"""Characters of a choice at an axis."""


def draw_plots(study: Study) -> None:
    """Draw `plots/KIND.png` for the first objective and `plots/KIND-OBJECTIVE.png` for others, as the trials allow."""
    folder = study.folder / "plots"
    for number, name in enumerate(study.settings.objectives):
        complete = of_one_objective(study, number, with_pruned=False)
        shown = of_one_objective(study, number, with_pruned=name == "accuracy")
        trials = complete.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        varied = [key for key in study.space.dimensions if len({str(trial.params[key]) for trial in trials}) > 1]
        if len(trials) < 2 or not varied:
            continue
        folder.mkdir(exist_ok=True)
        with off_screen():
            axes = {
                "history": draw_history(shown, name),
                "slice": draw_slices(shown, name, varied),
                "parallel_coordinates": draw_parallel_coordinates(complete, name, varied),
                "importances": draw_importances(complete, name, varied),
            }
            for kind, drawn in axes.items():
                if drawn is not None:
                    file = f"{kind}.png" if number == 0 else f"{kind}-{name}.png"
                    drawn.figure.savefig(folder / file, dpi=120, bbox_inches="tight")


@contextmanager
def off_screen() -> Iterator[None]:
    """Draw without a screen; afterwards matplotlib's backend and style are as before, and the new figures closed."""
    backend, before = matplotlib.get_backend(), set(plt.get_fignums())
    plt.switch_backend("agg")
    try:
        with plt.style.context("default"), warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
            plt.rcParams["figure.figsize"] = (7, 4)
            yield
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
        with suppress(ImportError):
            plt.switch_backend(backend)


def early_score(trial: FrozenTrial) -> float | None:
    """Mean accuracy so far of a pruned trial that finished a fold or reported an epoch."""
    folds = [fold["val/accuracy"] for fold in trial.user_attrs.get(FOLDS, [])]
    reported = [float(np.mean(folds))] if folds else list(trial.intermediate_values.values())
    return reported[-1] if reported and trial.state == TrialState.PRUNED else None


def of_one_objective(study: Study, number: int, with_pruned: bool) -> optuna.Study:
    """The trials in memory, complete with one of their values, or failed.

    with_pruned: pruned trials are complete with what they had, and infeasible, which Optuna draws in grey.
    """
    copy = optuna.create_study(direction=OBJECTIVES[study.settings.objectives[number]].direction)
    for trial in study.trials():
        early = early_score(trial) if with_pruned else None
        value = trial.values[number] if trial.state == TrialState.COMPLETE else early
        copied = create_trial(
            state=TrialState.FAIL if value is None else TrialState.COMPLETE,
            value=value,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            constraints=None if early is None else {"pruned": 1.0},
        )
        copy.add_trial(copied)
    return copy


def draw_history(trials: optuna.Study, name: str) -> Any:
    """The value of each trial, with the standard deviation of its folds, and the best so far; returns the axes."""
    axes = tidy(optuna_plots.plot_optimization_history(trials, target_name=name), name)
    if name == "accuracy":
        complete = [trial for trial in trials.get_trials(states=(TrialState.COMPLETE,)) if not trial.constraints]
        numbers, values = [trial.number for trial in complete], [trial.value for trial in complete]
        deviations = [trial.user_attrs["cv/std"] for trial in complete]
        axes.errorbar(numbers, values, deviations, fmt="none", ecolor="tab:blue", alpha=0.4, label="sd of the folds")
        axes.scatter([], [], color="#cccccc", label="pruned: mean so far")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def draw_slices(trials: optuna.Study, name: str, varied: list[str]) -> Any:
    """The value over each setting, pruned trials in grey; returns the first axes."""
    all_axes = np.atleast_1d(optuna_plots.plot_slice(trials, params=varied, target_name=name))  # type: ignore[arg-type]
    for axes, key in zip(all_axes, sorted(varied), strict=True):  # sorted by Optuna
        if isinstance(trials.best_trial.distributions[key], CategoricalDistribution):
            shorten(axes.xaxis, rotation=40, horizontalalignment="right")
        tidy(axes, name)
    return all_axes[0]


def draw_parallel_coordinates(trials: optuna.Study, name: str, varied: list[str]) -> Any:
    """A line a complete trial, from its value through all settings, the better the darker; returns the first axes."""
    first: Any = optuna_plots.plot_parallel_coordinate(trials, params=varied, target_name=name)
    first.figure.set_size_inches(2.5 * len(varied) + 2.5, 4)
    first.set_xticks(first.get_xticks(), [name, *sorted(varied)], rotation=0)  # Optuna cuts long names
    for axes in first.figure.axes:
        axes.grid(False)
        if axes.get_yticklabels()[0].get_text().startswith("["):
            shorten(axes.yaxis)
    return tidy(first, name)


def draw_importances(trials: optuna.Study, name: str, varied: list[str]) -> Any:
    """How much of the differences between trials each setting explains; returns the axes, None for too few trials."""
    try:
        with warnings.catch_warnings(category=UserWarning, action="error"):
            return optuna_plots.plot_param_importances(trials, params=varied, target_name=name)
    except (ValueError, RuntimeError, UserWarning):
        return None


def tidy(axes: Any, name: str) -> Any:
    """Axes on white with a pale grid, accuracies in per cent."""
    axes.set_facecolor("white")
    axes.grid(color="0.9")
    if name in ("accuracy", "macro_f1"):
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return axes


def shorten(axis: Axis, **style: Any) -> None:
    """Choices at an axis: no quotes, nothing long, readable above lines."""
    texts = [label.get_text().strip("'") for label in axis.get_ticklabels()]
    shown = [text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in texts]
    axis.set_ticks(axis.get_ticklocs(), shown, bbox={"color": "white", "alpha": 0.8, "pad": 0}, **style)
