"""The study: which trial is next, which has ended and whose process died, for all processes that work on it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from fer_lightning.config import flat
from fer_lightning.errors import InputError
from fer_lightning.search.settings import GRID, OBJECTIVES, build_sampler, open_locks, open_storage
from fer_lightning.search.space import Space, hydra_text

MAY_CHANGE = {"resume", "checkpoint_minutes", "data.path", "data.cache_dir"}
"""Settings that may differ between two commands that work on one study, and all of `draw`."""

ASKING, RESULTS = "study", "results"


def in_hand(trial: Trial | FrozenTrial) -> str:
    """The lock that the process keeps which asked for a trial and will tell how it ended."""
    return f"trial-{trial.number:04}"


def at_work(trial: Trial | FrozenTrial) -> str:
    """The lock that the process keeps which trains the folds of a trial: the same one, or one of a launcher's."""
    return f"job-{trial.number:04}"


def folder_of(trial: Trial | FrozenTrial) -> str:
    """The name of a trial's folder in the sweep folder."""
    return f"trial-{trial.number:04}"


def tries(trial: Trial | FrozenTrial) -> int:
    """How often a trial was begun or gone on with after its process died."""
    return int(trial.user_attrs.get("tries", 0))


class Study:
    """An Optuna study in a sweep folder, asked and told by one process at a time.

    A running trial has locks of its own, which end with the processes that hold them. A trial that is running by the
    storage and whose locks are free lost its process: the next one that asks goes on with it. config: the settings that
    all trials share. Raises InputError where the storage cannot be opened, or holds a study of this name with another
    space, other objectives or other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], space: Space, config: Mapping[str, Any]):
        self.folder, self.space = folder, space
        self.name = settings["study_name"] or folder.name
        self.settings = {**settings, "study_name": self.name}
        self.grid = space.grid() if settings["sampler"] == GRID else []
        self.total = min(settings["n_trials"], len(self.grid)) if self.grid else settings["n_trials"]
        directions = [OBJECTIVES[name].direction for name in settings["objectives"]]
        build_sampler(settings, 0, self.grid)
        folder.mkdir(parents=True, exist_ok=True)
        self.storage: BaseStorage | None = None
        self.locks = open_locks(self.settings, folder)
        try:
            with self.locks.alone(ASKING):
                self.storage = open_storage(settings, folder)
                self.study = optuna.create_study(
                    storage=self.storage, study_name=self.name, directions=directions, load_if_exists=True
                )
                now = {"objectives": settings["objectives"], "space": space.described(), "config": dict(config)}
                self._compare(now)
                self._queue(settings["first"])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of all locks and connections."""
        self.locks.close()
        if isinstance(self.storage, RDBStorage):
            self.storage.engine.dispose()

    def _compare(self, now: dict[str, Any]) -> None:
        before = self.study.user_attrs.get("search")
        if before is None:
            if any(self.folder.glob("trial-*/cross_validation.json")):
                raise InputError(
                    f"{self.folder} holds trials of a study that is not in the storage. "
                    "Give its storage, or another hydra.sweep.dir"
                )
            self.study.set_user_attr("search", now)
            return
        for section in ("objectives", "space", "config"):
            was, becomes = flat({"": before[section]}), flat({"": json.loads(json.dumps(now[section]))})
            for key in sorted(was.keys() | becomes.keys()):
                name = key.removeprefix(".")
                same = was.get(key) == becomes.get(key) or name in MAY_CHANGE or name.startswith("draw.")
                if not same:
                    raise InputError(
                        f"the study {self.name!r} in {self.folder} has {section} {name} = {was.get(key, 'nothing')}, "
                        f"and this command {becomes.get(key, 'nothing')}. Give the same, or another hydra.sweep.dir"
                    )

    def _queue(self, first: list[Mapping[str, Any]]) -> None:
        """Put the settings to begin with before all others, once, as far as the space has them."""
        if self.grid or self.study.get_trials(deepcopy=False):
            return
        for setting in first:
            values = {
                key: hydra_text(value) if isinstance(value, list | dict) else value for key, value in setting.items()
            }
            known = {key: value for key, value in values.items() if holds(self.space.dimensions.get(key), value)}
            if known:
                self.study.enqueue_trial(known)

    def trials(self) -> list[FrozenTrial]:
        """All that were begun, by number."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]

    def elsewhere(self) -> list[FrozenTrial]:
        """The trials that other processes are running."""
        return [
            trial
            for trial in self.trials()
            if trial.state == TrialState.RUNNING and in_hand(trial) not in self.locks.held
        ]

    def ask(self) -> Trial | None:
        """The next trial to run, one whose process died first; None when all are done or at work elsewhere."""
        with self.locks.alone(ASKING):
            trial = self._lost() or self._new()
            if trial is None:
                return None
            self.locks.hold(in_hand(trial))
            trial.set_user_attr("tries", tries(trial) + 1)
            return trial

    def _lost(self) -> Trial | None:
        for trial in self.elsewhere():
            if not (self.locks.free(in_hand(trial)) and self.locks.free(at_work(trial))):
                continue
            if tries(trial) > self.settings["retries"]:
                again = Trial(self.study, trial._trial_id)
                again.set_user_attr("reason", f"its process died, {tries(trial)} times")
                self.study.tell(trial.number, state=TrialState.FAIL)
                continue
            return self._complete(trial)
        return None

    def _complete(self, trial: FrozenTrial) -> Trial:
        """A running trial, with the parameters that its process did not come to draw, as it would have drawn them."""
        self.study.sampler = sampler = build_sampler(self.settings, trial.number, self.grid)
        again = Trial(self.study, trial._trial_id)
        for name, dimension in self.space.dimensions.items():
            one_by_one = name not in again._fixed_params and name not in again.relative_params
            if name in trial.params and one_by_one and not dimension.single():
                sampler.sample_independent(self.study, trial, name, dimension)  # the draw before the next one
            again._suggest(name, dimension)
        return again

    def _new(self) -> Trial | None:
        trials = self.study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        if len(trials) - len(waiting) >= self.total:
            return None
        self.study.sampler = build_sampler(self.settings, min(waiting, default=len(trials)), self.grid)
        return self.study.ask(fixed_distributions=self.space.dimensions)

    def tell(self, trial: Trial, outcome: Mapping[str, Any]) -> None:
        """Record how a trial ended. outcome: `state`, and `values`, or `reason`, and what else is to be kept of it."""
        with self.locks.alone(ASKING):
            for name, value in outcome.items():
                if name not in ("state", "values"):
                    trial.set_user_attr(name, value)
            self.study.tell(trial.number, outcome.get("values"), TrialState[outcome["state"]])
            self.locks.drop(in_hand(trial))

    def leave(self, trial: Trial, on_purpose: bool) -> None:
        """Let go of a trial that has not ended, for whoever asks next. on_purpose: it does not count as a try."""
        if on_purpose:
            trial.set_user_attr("tries", tries(trial) - 1)
        self.locks.drop(in_hand(trial))


def holds(dimension: BaseDistribution | None, value: Any) -> bool:
    """Whether a value is one of a dimension's."""
    if dimension is None:
        return False
    try:
        return dimension._contains(dimension.to_internal_repr(value))
    except (TypeError, ValueError):
        return False
