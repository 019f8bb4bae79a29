"""What a search leaves: trials.csv, best.yaml, plots, and a table on the screen."""

import csv
import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import matplotlib.pyplot as plt
import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as plots
from rich.console import Console
from rich.table import Table

from fer_lightning.config import flat
from fer_lightning.history import write_whole
from fer_lightning.search.settings import OBJECTIVES
from fer_lightning.search.study import Study, attempt, root

BEST, TRIALS = "best.yaml", "trials.csv"
GROUPS = ("data", "model", "optimizer", "schedule")
OF_THE_SEARCH = ("cv.", "resume", "draw.")


def best_trials(study: Study) -> list[FrozenTrial]:
    """The complete trials, the best first by the first objective; of several objectives, the Pareto front alone."""
    complete = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if len(study.settings["objectives"]) > 1:
        front = {trial.number for trial in study.study.best_trials}
        complete = [trial for trial in complete if trial.number in front]
    upwards = OBJECTIVES[study.settings["objectives"][0]].direction == "minimize"
    return sorted(complete, key=lambda trial: trial.values[0] if upwards else -trial.values[0])


def write_trials(study: Study) -> None:
    """trials.csv: one row a trial, with its state, objectives, settings, the score of each fold, and why it failed."""
    table = io.StringIO()
    names = ["trial", "state", *study.settings["objectives"], *study.space.dimensions]
    writer = csv.writer(table)
    writer.writerow([*names, "cv/std", "fold_scores", "wall_seconds", "tries", "reason", "folder"])
    for trial in study.trials():
        kept = trial.user_attrs
        objectives = trial.values if trial.state == TrialState.COMPLETE else [""] * len(study.settings["objectives"])
        settings = [trial.params.get(key, "") for key in study.space.dimensions]
        scores = " ".join(f"{score:.6f}" for score in kept.get("scores", []))
        others = [kept.get("cv/std", ""), scores, kept.get("wall_seconds", ""), attempt(trial), kept.get("reason", "")]
        writer.writerow([root(trial), trial.state.name, *objectives, *settings, *others, f"trial-{root(trial):04}"])
    write_whole(study.folder / TRIALS, table.getvalue())


def write_best(study: Study, compose: Callable[..., dict[str, Any]]) -> dict[str, Any] | None:
    """best.yaml: the best setting as overrides, for `+best=PATH`; returns its config, or None without a complete trial.

    compose: the plain config of some overrides. best.yaml names the choice of each group, and each key that differs.
    """
    best = next(iter(best_trials(study)), None)
    if best is None:
        return None
    config = compose(study.space.overrides(best.params))
    groups = [f"{group}={config[group]['name']}" for group in GROUPS]
    usual, found = flat(compose(groups, alone=True)), flat(config)
    differing = [
        f"++{key}={hydra_text(value)}"
        for key, value in found.items()
        if (key not in usual or usual[key] != value) and not key.startswith(OF_THE_SEARCH)
    ]
    objectives = ", ".join(
        f"{name} {value:.6g}" for name, value in zip(study.settings["objectives"], best.values, strict=True)
    )
    head = (
        f"# Trial {root(best)}, the best of {len(study.trials())}: {objectives} ({config['cv']['folds']} folds).\n"
        f"#   python -m fer_lightning.train +best={study.folder / BEST}\n"
    )
    write_whole(
        study.folder / BEST, head + yaml.safe_dump({"overrides": groups + differing}, allow_unicode=True, width=200)
    )
    return config | {"cv": {**config["cv"], "folds": 0}, "resume": False}


def hydra_text(value: Any) -> str:
    """A plain value in Hydra's grammar for the right of `=`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case list():
            return "[" + ",".join(hydra_text(item) for item in value) + "]"
        case dict():
            return "{" + ",".join(f"{key}:{hydra_text(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def draw_plots(study: Study) -> list[str]:
    """History, importances, slices and parallel coordinates as PNGs in plots/, as far as the trials suffice."""
    folder = study.folder / "plots"
    folder.mkdir(exist_ok=True)
    kinds: dict[str, Callable[..., Any]] = {
        "history": plots.plot_optimization_history,
        "importances": plots.plot_param_importances,
        "slice": plots.plot_slice,
        "parallel_coordinates": plots.plot_parallel_coordinate,
    }
    drawn = []
    plt.switch_backend("agg")
    complete = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    varied = [key for key in study.space.dimensions if len({str(trial.params[key]) for trial in complete}) > 1]
    if len(complete) < 2 or not varied:
        return []
    for name, direction in ((name, OBJECTIVES[name].direction) for name in study.settings["objectives"]):
        number = study.settings["objectives"].index(name)
        alone = optuna.create_study(direction=direction)
        for trial in complete:
            single = optuna.trial.create_trial(
                value=trial.values[number], params=trial.params, distributions=trial.distributions
            )
            alone.add_trial(single)
        suffix = "" if number == 0 else f"-{name}"
        for kind, draw in kinds.items():
            with warnings.catch_warnings(action="ignore"), plt.rc_context(), suppress(ValueError, RuntimeError):
                only = {} if kind == "history" else {"params": varied}
                draw(alone, target_name=name, **only)
                figure = plt.gcf()
                if kind in ("slice", "parallel_coordinates"):
                    figure.set_size_inches(4 * len(varied) + 2, 4)
                figure.savefig(folder / f"{kind}{suffix}.png", dpi=110, bbox_inches="tight")
                drawn.append(f"{kind}{suffix}.png")
            plt.close("all")
    return drawn


def shown(value: Any) -> str:
    """A setting, short: 0.0123457 as 0.01235."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def settings_of(trial: FrozenTrial, study: Study) -> str:
    """`lr=0.01 hidden=[512]`: the settings of a trial by the last part of their keys."""
    pairs = ((key, trial.params.get(key)) for key in study.space.dimensions)
    return " ".join(f"{key.rpartition('.')[2]}={shown(value)}" for key, value in pairs)


def score_of(trial: FrozenTrial, study: Study) -> str:
    """`41.20 % ± 0.80` of a complete trial, or its state."""
    kept: Mapping[str, Any] = trial.user_attrs
    if trial.state != TrialState.COMPLETE:
        return trial.state.name.lower() + (f" after {len(kept['scores'])} folds" if kept.get("scores") else "")
    others = "".join(
        f", {name} {shown(value)}"
        for name, value in zip(study.settings["objectives"], trial.values, strict=True)
        if name != "accuracy"
    )
    return f"{kept['cv/mean']:.2%} ± {kept['cv/std']:.2%}{others}"


def print_results(console: Console, study: Study, most: int = 10) -> None:
    """The best trials in a table, how many ended how, and where everything is."""
    best, trials = best_trials(study), study.trials()
    table = Table(title=f"{study.name}: the best of {len(trials)} trials", title_justify="left")
    for heading in ("trial", "cross-validation", *(key for key in study.space.dimensions)):
        table.add_column(heading)
    for trial in best[:most]:
        values = [shown(trial.params.get(key)) for key in study.space.dimensions]
        table.add_row(str(root(trial)), score_of(trial, study), *values)
    if best:
        console.print(table)
    ended = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    console.print(", ".join(f"{count} {state.name.lower()}" for state, count in ended.items() if count))
    for trial in trials:
        if trial.state == TrialState.FAIL:
            console.print(f"  trial {root(trial)} failed: {trial.user_attrs.get('reason', 'unknown')}", markup=False)
    for name in (TRIALS, BEST, "plots"):
        if (study.folder / name).exists():
            console.print(f"  {study.folder / name}", soft_wrap=True)
