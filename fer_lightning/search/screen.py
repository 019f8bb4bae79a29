"""What a search shows on the screen: a line a trial, on a terminal a table of the running ones, the best at the end."""

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table

from fer_lightning.search.results import BEST, HPARAMS, TRIALS, best_trials
from fer_lightning.search.space import hydra_text
from fer_lightning.search.study import FOLDS, WORKER, Study

UNITS = {"parameters": "{:,.0f} parameters", "latency": "{:.2f} ms", "seconds": "{:.0f} s", "macro_f1": "F1 {:.3f}"}
MOST = 10
"""Trials in a table."""


def opening(study: Study, folds: int) -> str:
    """What is searched and how, and how much of it was done before."""
    settings, done = study.settings, len(study.trials())
    lines = [
        f"study {study.name}: {study.total} trials of {folds} folds, sampler {settings.sampler}, "
        f"pruner {settings.pruner}, for {' and '.join(settings.objectives)}; searched:",
        *(f"  {key} = {text}" for key, text in study.space.texts.items()),
    ]
    return "\n".join(lines + [f"{done} trials were begun before; going on"] * (done > 0))


def workers_line(gpus: Sequence[str | None], folder: Path) -> str:
    """How many worker processes run the trials, on which GPUs, and where they print to."""
    names = [gpu for gpu in gpus if gpu is not None]
    place = f"on GPU {', '.join(names)}" if names else "that share this machine's device"
    shared = f" ({len(set(names))} GPUs, shared in turn)" if len(set(names)) < len(names) else ""
    return f"{len(gpus)} workers {place}{shared}; what they print is in {folder}/worker-1.log to -{len(gpus)}.log"


def ending(study: Study, number: int) -> str:
    """How a trial ended: its score, its settings, and why it failed."""
    trial = next(trial for trial in study.trials() if trial.number == number)
    settings = " ".join(map("=".join, zip(names_of(study), values_of(trial, study), strict=True)))
    reason = f"\n  {trial.user_attrs.get('reason', '')}" if trial.state == TrialState.FAIL else ""
    return f"trial {number}: {score_of(trial, study)}  {settings}{reason}"


def state(study: Study) -> str:
    """`12 of 30 done, 5 pruned, 2 running; best 41.20% ± 0.80% (trial 3); about 0:03:10 left`."""
    trials = study.trials()
    count = Counter(trial.state for trial in trials)
    running, done = count[TrialState.RUNNING], len(trials) - count[TrialState.RUNNING]
    failed = f", {count[TrialState.FAIL]} failed" if count[TrialState.FAIL] else ""
    text = f"{done} of {study.total} done, {count[TrialState.PRUNED]} pruned{failed}, {running} running"
    if best := best_trials(study):
        text += f"; best {score_of(best[0], study)} (trial {best[0].number})"
    spent = [trial.user_attrs["wall_seconds"] for trial in trials if "wall_seconds" in trial.user_attrs]
    if spent and done < study.total:
        seconds = (study.total - done) * sum(spent) / len(spent) / max(running, 1)
        text += f"; about {timedelta(seconds=round(seconds))} left"
    return text


def overview(study: Study) -> RenderableType:
    """A table of the running trials and the best ones, and a bar. Never raises: a thread draws it beside the search."""
    with contextlib.suppress(Exception):
        running = [trial for trial in study.trials() if trial.state == TrialState.RUNNING]
        done = len(study.trials()) - len(running)
        title = f"{study.name}  {time.strftime('%H:%M')}"
        table = table_of([*running[:MOST], *best_trials(study)[: MOST // 2]], study, title)
        return Group(table, state(study), ProgressBar(study.total, done, width=40))
    return ""


def print_results(console: Console, study: Study) -> None:
    """The best trials in a table, how many ended how, why some failed, and where everything is."""
    best, trials = best_trials(study), study.trials()
    title = "the Pareto front" if len(study.settings.objectives) > 1 else "the best"
    if best:
        console.print(table_of(best[:MOST], study, f"{study.name}: {title} of {len(trials)} trials"), soft_wrap=False)
    ended = Counter(trial.state.name.lower() for trial in trials)
    console.print(", ".join(f"{count} {name}" for name, count in sorted(ended.items())))
    for trial in trials:
        if trial.state == TrialState.FAIL:
            console.print(f"  trial {trial.number} failed: {trial.user_attrs.get('reason', 'unknown')}")
    for name in (TRIALS, BEST, "plots"):
        if (study.folder / name).exists():
            console.print(f"  {study.folder / name}")
    console.print(f"  tensorboard --logdir {study.folder / HPARAMS}")


def table_of(trials: list[FrozenTrial], study: Study, title: str) -> Table:
    """Number, score and settings of some trials."""
    table = Table(title=title, title_justify="left")
    for heading in ("trial", "cross-validation", *names_of(study)):
        table.add_column(heading, overflow="fold")
    for trial in trials:
        table.add_row(str(trial.number), score_of(trial, study), *values_of(trial, study))
    return table


def names_of(study: Study) -> list[str]:
    """What is searched, by the last part of its key."""
    return [key.rpartition(".")[2] for key in study.space.dimensions]


def values_of(trial: FrozenTrial, study: Study) -> list[str]:
    """The values of a trial, numbers with four digits."""
    values = [trial.params.get(key, "") for key in study.space.dimensions]
    short = [f"{value:.4g}" if isinstance(value, float) else value for value in values]
    return [value if isinstance(value, str) else hydra_text(value) for value in short]


def score_of(trial: FrozenTrial, study: Study) -> str:
    """`41.20% ± 0.80%` of a complete trial, with the other objectives; of another one, its state and its folds."""
    kept = trial.user_attrs
    if trial.state != TrialState.COMPLETE:
        folds = " ".join(f"{fold['val/accuracy']:.1%}" for fold in kept.get(FOLDS, []))
        worker = kept.get(WORKER) if trial.state == TrialState.RUNNING else None
        return trial.state.name.lower() + f" by worker {worker}" * bool(worker) + f", folds {folds}" * bool(folds)
    others = [
        UNITS.get(name, name + " {:.4g}").format(value)
        for name, value in zip(study.settings.objectives, trial.values, strict=True)
        if name != "accuracy"
    ]
    return ", ".join([f"{kept['cv/mean']:.2%} ± {kept['cv/std']:.2%}", *others])
