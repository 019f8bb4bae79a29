"""The study: which trial is next, which has ended and which has died, for all processes that work on it.

A trial whose process died is tried again as a new trial of Optuna's with the same values. The first of them is its
root; they share the root's folder, where the finished folds are, and count as one trial.
"""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, Trial, TrialState

from fer_lightning.config import flat
from fer_lightning.errors import InputError
from fer_lightning.search.settings import GRID, OBJECTIVES, build_sampler, open_storage
from fer_lightning.search.space import Space

MAY_CHANGE = {"resume", "draw.every", "data.path", "data.cache_dir"}
"""Settings that may differ between two commands that work on one study."""


def root(trial: Trial | FrozenTrial) -> int:
    """The number of the first try of a trial."""
    return int(trial.user_attrs.get("root", trial.number))


def attempt(trial: Trial | FrozenTrial) -> int:
    """1 for a trial's first try, 2 for the one after its process died or was stopped, and so on."""
    return int(trial.user_attrs.get("attempt", 1))


def deaths(trial: Trial | FrozenTrial) -> int:
    """How often the process that ran a trial has died so far."""
    return int(trial.user_attrs.get("deaths", 0))


class Study:
    """An Optuna study in a sweep folder, asked and told under a file lock.

    A running trial holds a lock file of its own; the kernel drops it when the process dies, however it dies. config:
    the settings that all trials share. Raises InputError where the storage cannot be opened, or holds a study with this
    name and another space, other objectives or other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], space: Space, config: Mapping[str, Any]):
        self.folder, self.settings, self.space = folder, settings, space
        self.name = settings["study_name"] or folder.name
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(folder / "locks" / "study.lock")
        self.held: dict[int, FileLock] = {}
        self.grid = space.grid() if settings["sampler"] == GRID else []
        self.total = min(settings["n_trials"], len(self.grid)) if self.grid else settings["n_trials"]
        directions = [OBJECTIVES[name].direction for name in settings["objectives"]]
        build_sampler(settings, 0)
        with self.lock:
            storage = open_storage(settings, folder)
            self.study = optuna.create_study(
                storage=storage, study_name=self.name, directions=directions, load_if_exists=True
            )
            self._compare({"objectives": settings["objectives"], "space": space.described(), "config": dict(config)})

    def _compare(self, now: dict[str, Any]) -> None:
        before = self.study.user_attrs.get("search")
        if before is None:
            self.study.set_user_attr("search", now)
            return
        for section in ("objectives", "space", "config"):
            was, becomes = flat({"": before[section]}), flat({"": json.loads(json.dumps(now[section]))})
            for key in sorted(was.keys() | becomes.keys()):
                name = key.removeprefix(".")
                if name not in MAY_CHANGE and was.get(key) != becomes.get(key):
                    raise InputError(
                        f"the study {self.name!r} in {self.folder} has {section} {name} = {was.get(key, 'nothing')}, "
                        f"and this command {becomes.get(key, 'nothing')}. Give the same, or another hydra.sweep.dir"
                    )

    def trials(self) -> list[FrozenTrial]:
        """The last try of each trial, by the number of its root."""
        latest: dict[int, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):
            latest[root(trial)] = trial
        return [latest[number] for number in sorted(latest)]

    def ask(self) -> Trial | None:
        """The next trial to run, one whose process died first; None when all are done or at work elsewhere."""
        with self.lock:
            self._retry_dead()
            trials = self.study.get_trials(deepcopy=False)
            if not any(trial.state == TrialState.WAITING for trial in trials):
                begun = len({root(trial) for trial in trials})
                if begun >= self.total:
                    return None
                if self.grid:
                    self.study.enqueue_trial(self.grid[begun])
            self.study.sampler = build_sampler(self.settings, len(trials))
            trial = self.study.ask(fixed_distributions=self.space.dimensions)
            trial.set_user_attr("host", platform.node())
            self.held[trial.number] = self._lock_of(trial.number)
            self.held[trial.number].acquire(timeout=60)
            return trial

    def tell(self, trial: Trial, outcome: Mapping[str, Any]) -> None:
        """Record how a trial ended. outcome: `state`, and `values`, or `reason`, and what else is to be kept of it."""
        with self.lock:
            for name, value in outcome.items():
                if name not in ("state", "values"):
                    trial.set_user_attr(name, value)
            self.study.tell(trial.number, outcome.get("values"), TrialState[outcome["state"]])
            self.held.pop(trial.number).release()

    def _lock_of(self, number: int) -> FileLock:
        return FileLock(self.folder / "locks" / f"{number:04}.lock")

    def _retry_dead(self) -> None:
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state != TrialState.RUNNING or trial.number in self.held:
                continue
            try:
                self._lock_of(trial.number).acquire(timeout=0).lock.release()
            except Timeout:
                continue
            died = deaths(trial) + 1
            self._queue_again(trial, died, died <= self.settings["retries"], f"its process died, {died} times so far")

    def put_back(self, trial: Trial) -> None:
        """Queue a trial again that was stopped on purpose."""
        with self.lock:
            self._queue_again(trial, deaths(trial), True, "stopped")
            self.held.pop(trial.number).release()

    def _queue_again(self, trial: Trial | FrozenTrial, died: int, allowed: bool, reason: str) -> None:
        # queued before it is marked as failed: a process killed between the two loses nothing, and nothing runs twice
        others = (other for other in self.study.get_trials(deepcopy=False) if root(other) == root(trial))
        if allowed and all(attempt(other) <= attempt(trial) for other in others):
            kept = {"root": root(trial), "attempt": attempt(trial) + 1, "deaths": died}
            self.study.enqueue_trial(dict(trial.params), user_attrs=kept)
        Trial(self.study, trial._trial_id).set_user_attr("reason", reason)
        self.study.tell(trial.number, state=TrialState.FAIL)
