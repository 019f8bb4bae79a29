"""Plots of a search as PNGs: history, importance of each setting, score over each setting, parallel coordinates."""

import warnings
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from fer_lightning.search.settings import OBJECTIVES
from fer_lightning.search.study import Study

DONE, BEST, PRUNED = "#1f77b4", "#d62728", "#9a9a9a"
IN_PERCENT = ("accuracy", "macro_f1")


def draw_plots(study: Study) -> list[str]:
    """Draw `plots/KIND.png` for the first objective and `plots/KIND-OBJECTIVE.png` for others, as the trials allow."""
    trials = study.trials()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    varied = [key for key in study.space.dimensions if len({str(trial.params[key]) for trial in complete}) > 1]
    if len(complete) < 2 or not varied:
        return []
    folder = study.folder / "plots"
    folder.mkdir(exist_ok=True)
    kinds: dict[str, Callable[[Study, int, list[FrozenTrial], list[str]], Figure | None]] = {
        "history": history,
        "importances": importances,
        "slice": slices,
        "parallel_coordinates": parallel_coordinates,
    }
    drawn = []
    plt.switch_backend("agg")
    for number, name in enumerate(study.settings["objectives"]):
        for kind, draw in kinds.items():
            figure = draw(study, number, trials, varied)
            if figure is not None:
                file = f"{kind}.png" if number == 0 else f"{kind}-{name}.png"
                figure.savefig(folder / file, dpi=120, bbox_inches="tight")
                drawn.append(file)
        plt.close("all")
    return drawn


def history(study: Study, number: int, trials: Sequence[FrozenTrial], varied: list[str]) -> Figure:
    """The score of each trial with the standard deviation of its folds, pruned ones by what they had, and the best."""
    figure, axes = plt.subplots(figsize=(7.5, 4))
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    numbers, values = [trial.number for trial in complete], [trial.values[number] for trial in complete]
    scores = study.settings["objectives"][number] == "accuracy"
    deviations = [trial.user_attrs["cv/std"] for trial in complete] if scores else None
    axes.errorbar(numbers, values, deviations, fmt="o", color=DONE, ecolor="#b5cde3", label="mean ± sd of the folds")
    if scores and (stopped := stopped_early(trials)):
        axes.plot(*zip(*stopped, strict=True), "x", color=PRUNED, label="pruned: mean so far")
    upwards = OBJECTIVES[study.settings["objectives"][number]].direction == "maximize"
    best = (np.maximum if upwards else np.minimum).accumulate(values)
    ends = [*numbers, max(trial.number for trial in trials)]
    axes.step(ends, [*best, best[-1]], where="post", color=BEST, linewidth=1.2, label="best so far")
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_scores(axes, study, number)
    axes.legend(frameon=False, fontsize=9)
    return figure


def importances(study: Study, number: int, trials: Sequence[FrozenTrial], varied: list[str]) -> Figure | None:
    """The share of the scores' variance that each setting explains (fANOVA), from four complete trials on."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    alone = optuna.create_study(direction=OBJECTIVES[study.settings["objectives"][number]].direction)
    for trial in complete:
        value, params, distributions = trial.values[number], trial.params, trial.distributions
        alone.add_trial(optuna.trial.create_trial(value=value, params=params, distributions=distributions))
    try:
        with warnings.catch_warnings(action="ignore"):
            shares = optuna.importance.get_param_importances(alone, params=varied)
    except (ValueError, RuntimeError):
        return None  # too few trials, or all scores the same
    figure, axes = plt.subplots(figsize=(6.5, 0.5 * len(shares) + 1))
    names = list(shares)[::-1]
    bars = axes.barh(names, [shares[name] for name in names], color=DONE, height=0.6)
    axes.bar_label(bars, [f"{shares[name]:.0%}" for name in names], padding=4)
    axes.set_xlim(0, 1.08 * max(shares.values()))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_xlabel(f"share of the variance of {study.settings['objectives'][number]} between {len(complete)} trials")
    tidy(axes)
    return figure


def slices(study: Study, number: int, trials: Sequence[FrozenTrial], varied: list[str]) -> Figure:
    """The score over each setting; the best trial in red, pruned ones by what they had."""
    columns = min(len(varied), 4)
    rows = -(-len(varied) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(3.4 * columns + 0.6, 3.2 * rows), sharey=True, squeeze=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    upwards = OBJECTIVES[study.settings["objectives"][number]].direction == "maximize"
    best = (max if upwards else min)(complete, key=lambda trial: trial.values[number])
    stopped = dict(stopped_early(trials)) if study.settings["objectives"][number] == "accuracy" else {}
    for place, axes in enumerate(grid.flat):
        if place >= len(varied):
            axes.set_visible(False)
            continue
        dimension = study.space.dimensions[varied[place]]
        cut = [trial for trial in trials if trial.number in stopped]
        axes.plot(positions(dimension, cut, varied[place]), [stopped[trial.number] for trial in cut], "x", color=PRUNED)
        axes.plot(
            positions(dimension, complete, varied[place]), [trial.values[number] for trial in complete], "o", color=DONE
        )
        axes.plot(positions(dimension, [best], varied[place]), [best.values[number]], "o", color=BEST, markersize=8)
        scale(axes, dimension, "x")
        axes.set_xlabel(varied[place])
        label_scores(axes, study, number, name=place % columns == 0)
    figure.subplots_adjust(wspace=0.08, hspace=0.45)
    return figure


def parallel_coordinates(study: Study, number: int, trials: Sequence[FrozenTrial], varied: list[str]) -> Figure:
    """A line a complete trial through all settings to its score, the better the darker, the best in red."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    upwards = OBJECTIVES[study.settings["objectives"][number]].direction == "maximize"
    complete.sort(key=lambda trial: trial.values[number], reverse=not upwards)
    figure, host = plt.subplots(figsize=(2.1 * len(varied) + 2.5, 4))
    heights = []
    all_axes = [host.twinx() for _ in varied] + [host.twinx()]
    for axes, key in zip(all_axes, varied, strict=False):
        dimension = study.space.dimensions[key]
        scale(axes, dimension, "y")
        heights.append([axes.transData.transform((0, y))[1] for y in positions(dimension, complete, key)])
    values = [trial.values[number] for trial in complete]
    margin = 0.04 * (max(values) - min(values)) or 0.01
    all_axes[-1].set_ylim(min(values) - margin, max(values) + margin)
    label_scores(all_axes[-1], study, number, name=False)
    heights.append([all_axes[-1].transData.transform((0, y))[1] for y in values])
    host.set(xlim=(-0.1, len(varied) + 0.1), ylim=(0, 1))
    points = host.transData.inverted()
    for rank, line in enumerate(zip(*heights, strict=True)):
        last = rank == len(complete) - 1
        color = BEST if last else colormaps["Blues"](0.25 + 0.65 * rank / max(len(complete) - 1, 1))
        host.plot(
            range(len(line)), [points.transform((0, y))[1] for y in line], color=color, linewidth=2.4 if last else 1.2
        )
    for place, axes in enumerate(all_axes):
        axes.spines[["top", "bottom", "left"]].set_visible(False)
        axes.spines["right"].set(position=("data", place), visible=True)
        axes.patch.set_visible(False)
        axes.grid(False)
    host.set_xticks(range(len(varied) + 1), [*varied, study.settings["objectives"][number]])
    host.xaxis.set_ticks_position("top")
    host.tick_params(length=0)
    host.set_yticks([])
    host.spines[:].set_visible(False)
    return figure


def stopped_early(trials: Sequence[FrozenTrial]) -> list[tuple[int, float]]:
    """Number and mean accuracy so far of each pruned trial that finished a fold or reported an epoch."""
    found = []
    for trial in trials:
        reported = list(trial.intermediate_values.values())
        folds = [fold["val/accuracy"] for fold in trial.user_attrs.get("folds", [])]
        if trial.state == TrialState.PRUNED and (folds or reported):
            found.append((trial.number, float(np.mean(folds)) if folds else reported[-1]))
    return found


def positions(dimension: BaseDistribution, trials: Sequence[FrozenTrial], key: str) -> list[float]:
    """Where the trials' values of a setting lie on its axis: a choice by its place among the choices."""
    values = [trial.params[key] for trial in trials]
    return [dimension.choices.index(value) for value in values] if is_choice(dimension) else values  # type: ignore


def is_choice(dimension: BaseDistribution) -> bool:
    return isinstance(dimension, CategoricalDistribution)


def scale(axes: Axes, dimension: BaseDistribution, which: str) -> None:
    """Lay an axis out for a dimension: its whole range, by the logarithm where it is drawn so, choices by name."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    limits, steps = (axes.set_xlim, axes.set_xscale) if which == "x" else (axes.set_ylim, axes.set_yscale)
    if isinstance(dimension, CategoricalDistribution):
        names = [name if len(name) < 18 else name[:16] + "…" for name in map(str, dimension.choices)]
        axis.set_ticks(range(len(names)), names)
        if which == "x" and sum(map(len, names)) > 24:
            axes.tick_params(axis="x", rotation=40)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
        limits(-0.4, len(names) - 0.6)
        return
    assert isinstance(dimension, FloatDistribution | IntDistribution)
    if dimension.log:
        steps("log")
        axis.set_major_locator(LogLocator(numticks=5))
        axis.set_minor_formatter(NullFormatter())
        limits(dimension.low / 1.3, dimension.high * 1.3)
        return
    room = 0.04 * (dimension.high - dimension.low) or 0.5
    axis.set_major_locator(
        MaxNLocator(5)
        if isinstance(dimension, FloatDistribution)
        else FixedLocator(sorted(set(np.linspace(dimension.low, dimension.high, 5).round().tolist())))
    )
    limits(dimension.low - room, dimension.high + room)


def label_scores(axes: Axes, study: Study, number: int, name: bool = True) -> None:
    objective = study.settings["objectives"][number]
    if objective in IN_PERCENT:
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    if name:
        axes.set_ylabel({"latency": "latency, ms"}.get(objective, objective))
    tidy(axes)


def tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
