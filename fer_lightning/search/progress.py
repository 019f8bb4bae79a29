"""What a search says on the screen: a line a trial, on a terminal a table of all at work, and the best at the end."""

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fer_lightning.progress import duration
from fer_lightning.search.results import BEST, TRIALS, best_trials
from fer_lightning.search.space import hydra_text
from fer_lightning.search.study import Study

WITH_UNIT = {"parameters": "{:,.0f} parameters", "latency": "{:.2f} ms", "seconds": "{:.0f} s", "macro_f1": "F1 {:.3f}"}
MOST = 10
"""Trials in a table."""


class SearchProgress:
    """Says how a search gets on. `with SearchProgress(...) as progress`: on a terminal, a table below the lines."""

    def __init__(self, console: Console, study: Study, folds: int):
        self.console, self.study, self.folds = console, study, folds
        self.waited = False
        self.live = Live(console=console, get_renderable=self.picture, refresh_per_second=1, transient=True)

    def __enter__(self) -> "SearchProgress":
        settings = self.study.settings
        self.say(
            f"study {self.study.name}: {self.study.total} trials of {self.folds} folds, sampler {settings['sampler']}, "
            f"pruner {settings['pruner']}, for {' and '.join(settings['objectives'])}; searched:"
        )
        for key, text in self.study.space.texts.items():
            self.say(f"  {key} = {text}")
        done = len(self.study.trials())
        if done:
            self.say(f"{done} trials were begun before; going on")
        if self.console.is_terminal:
            self.live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.live.is_started:
            self.live.stop()

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def ended(self, number: int) -> None:
        """One line: how a trial ended, how many are done, and about how long the rest will take."""
        trial = next(trial for trial in self.study.trials() if trial.number == number)
        line = f"trial {trial.number}: {score_of(trial, self.study)}  {settings_of(trial, self.study)}"
        if trial.state == TrialState.FAIL:
            line += f"\n  {trial.user_attrs.get('reason', '')}"
        self.say(line if self.live.is_started else f"{line}\n  {self.state()}")

    def waits_for(self, others: Sequence[FrozenTrial]) -> None:
        """Said once: that nothing is left to begin, and what other processes are still running."""
        if not self.waited:
            numbers = ", ".join(str(trial.number) for trial in others)
            self.say(f"nothing left to begin; waiting for trial {numbers}, at work in another process")
        self.waited = True

    def state(self) -> str:
        """`12 of 30 done, 5 pruned, 2 running; best 41.20 % ± 0.80 % (trial 3); about 3:10 left`."""
        trials = self.study.trials()
        states = Counter(trial.state for trial in trials)
        running = states[TrialState.RUNNING]
        done = len(trials) - running
        parts = [f"{done} of {self.study.total} done", f"{states[TrialState.PRUNED]} pruned"]
        parts += [f"{states[TrialState.FAIL]} failed"] if states[TrialState.FAIL] else []
        text = ", ".join([*parts, f"{running} running"])
        if best := best_trials(self.study):
            text += f"; best {score_of(best[0], self.study)} (trial {best[0].number})"
        spent = [trial.user_attrs["wall_seconds"] for trial in trials if "wall_seconds" in trial.user_attrs]
        left = self.study.total - done
        if left and spent:
            text += f"; about {duration(left * sum(spent) / len(spent) / max(running, 1))} left"
        return text

    def picture(self) -> RenderableType:
        """The table of the running trials and the best ones, and a bar."""
        with contextlib.suppress(Exception):  # drawn by a thread of its own: the search must not stop for a picture
            trials = self.study.trials()
            running = [trial for trial in trials if trial.state == TrialState.RUNNING]
            table = Table(title=f"{self.study.name}  {time.strftime('%H:%M')}", title_justify="left")
            for heading in ("trial", "fold", "cross-validation", *self.study.space.dimensions):
                table.add_column(heading, overflow="fold")
            for trial in running[:MOST]:
                folds = trial.user_attrs.get("folds", [])
                so_far = " ".join(f"{fold['val/accuracy']:.1%}" for fold in folds)
                fold = f"{min(len(folds) + 1, self.folds)} of {self.folds}"
                table.add_row(str(trial.number), fold, so_far, *values_of(trial, self.study), style="bold")
            table.add_section()
            for trial in best_trials(self.study)[: MOST // 2]:
                table.add_row(str(trial.number), "", score_of(trial, self.study), *values_of(trial, self.study))
            done = len(trials) - len(running)
            line = Table.grid(padding=(0, 1))
            line.add_row(ProgressBar(self.study.total, done, width=20), Text(self.state()))
            return Group(table, line)
        return Text("")


def shown(value: Any) -> str:
    """A setting, short: 0.0123457 as 0.01235."""
    return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else hydra_text(value)


def values_of(trial: FrozenTrial, study: Study) -> list[str]:
    """The settings of a trial, in the order of the space."""
    return [shown(trial.params[key]) if key in trial.params else "" for key in study.space.dimensions]


def settings_of(trial: FrozenTrial, study: Study) -> str:
    """`lr=0.01 hidden=[512]`: the settings of a trial by the last part of their keys."""
    pairs = zip(study.space.dimensions, values_of(trial, study), strict=True)
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in pairs)


def score_of(trial: FrozenTrial, study: Study) -> str:
    """`41.20% ± 0.80%` of a complete trial, with the other objectives; of another one, its state."""
    kept = trial.user_attrs
    if trial.state != TrialState.COMPLETE:
        folds = len(kept.get("folds", []))
        return trial.state.name.lower() + (f" after {folds} fold{'s' * (folds > 1)}" if folds else "")
    others = [
        WITH_UNIT.get(name, name + " {:.4g}").format(value)
        for name, value in zip(study.settings["objectives"], trial.values, strict=True)
        if name != "accuracy"
    ]
    return ", ".join([f"{kept['cv/mean']:.2%} ± {kept['cv/std']:.2%}", *others])


def print_results(console: Console, study: Study) -> None:
    """The best trials in a table, how many ended how, and where everything is."""
    best, trials = best_trials(study), study.trials()
    title = "the Pareto front" if len(study.settings["objectives"]) > 1 else "the best"
    table = Table(title=f"{study.name}: {title} of {len(trials)} trials", title_justify="left")
    for heading in ("trial", "mean ± sd", *(key.rpartition(".")[2] for key in study.space.dimensions)):
        table.add_column(heading, overflow="fold")
    for trial in best[:MOST]:
        table.add_row(str(trial.number), score_of(trial, study), *values_of(trial, study))
    if best:
        console.print(table)
    ended = Counter(trial.state.name.lower() for trial in trials)
    console.print(", ".join(f"{count} {name}" for name, count in sorted(ended.items())))
    for trial in trials:
        if trial.state == TrialState.FAIL:
            reason = trial.user_attrs.get("reason", "unknown")
            console.print(f"  trial {trial.number} failed: {reason}", markup=False, soft_wrap=True)
    for name in (TRIALS, BEST, "plots"):
        if (study.folder / name).exists():
            console.print(f"  {study.folder / name}", soft_wrap=True)
    console.print(f"  tensorboard --logdir {study.folder / 'hparams'}", soft_wrap=True)
