"""Plots of a search: history, importances, slices and parallel coordinates, by Optuna, as PNGs."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import matplotlib.pyplot as plt
import optuna
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

from fer_lightning.search.settings import OBJECTIVES
from fer_lightning.search.study import Study

KINDS: dict[str, Callable[..., Any]] = {
    "history": plots.plot_optimization_history,
    "importances": plots.plot_param_importances,
    "slice": plots.plot_slice,
    "parallel_coordinates": plots.plot_parallel_coordinate,
}


def draw_plots(study: Study) -> list[str]:
    """History, importances, slices and parallel coordinates as PNGs in plots/, as far as the trials suffice."""
    folder = study.folder / "plots"
    folder.mkdir(exist_ok=True)
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
        for kind, draw in KINDS.items():
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
