"""The study: which trial is next, which has ended and whose process died, for all processes that work on it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from fer_lightning.errors import InputError
from fer_lightning.search.samplers import build_sampler
from fer_lightning.search.space import Space, suggest
from fer_lightning.search.storage import ASKING, JOB_LOCK, OWNER_LOCK, open_storage
from fer_lightning.settings import VERSION, SearchSettings, Settings, TrainSettings, dump, require_same, restore

optuna.logging.set_verbosity(optuna.logging.WARNING)

DEFINITION = "search"
"""User attribute of the study: objectives, space and training settings."""

ATTEMPTS, FIRST, HOST, WORKER, FOLDS = "tries", "first", "host", "worker", "folds"
"""User attributes of a trial: how often it was begun, names of the values given to it, its machine, the number of its
worker process there, folds' metrics."""

FOLDER = "trial-{:04}"
"""A trial's folder in the sweep folder."""


class Objective(NamedTuple):
    """direction: Optuna's. of_fold: the entry of a fold's metrics; of_trial: that of the cross-validation's."""

    direction: Literal["maximize", "minimize"]
    of_fold: str
    of_trial: str


OBJECTIVES = {
    "accuracy": Objective("maximize", "val/accuracy", "cv/mean"),
    "macro_f1": Objective("maximize", "val/macro_f1", "cv/macro_f1"),
    "loss": Objective("minimize", "val/loss", "cv/loss"),
    "parameters": Objective("minimize", "parameters", "parameters"),
    "latency": Objective("minimize", "latency", "latency"),
    "seconds": Objective("minimize", "seconds", "seconds"),
}


class Definition(Settings):
    """What all processes of a study must have in common beside the training settings. space: distributions as JSON."""

    objectives: list[str]
    space: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. values: of the objectives, for a complete one. attributes: what else is kept of it."""

    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    values: list[float] | None = None
    attributes: dict[str, float | str] = field(default_factory=dict)


def attempts(trial: Trial | FrozenTrial) -> int:
    """How often a trial was begun, or resumed after its process died."""
    return int(trial.user_attrs.get(ATTEMPTS, 0))


def open_trial(study: optuna.Study, storage: BaseStorage, number: int) -> Trial:
    """A trial of any process, to report to and to complete."""
    identity = storage.get_study_id_from_name(study.study_name)
    return Trial(study, storage.get_trial_id_from_study_id_trial_number(identity, number))


class Study:
    """An Optuna study in a sweep folder, asked and told by one process at a time.

    A running trial has locks of its own, which end with the processes that hold them. A trial that is running by the
    storage and whose locks are free lost its process: the next process that asks resumes it. Raises InputError where
    the storage cannot be opened, or holds a study of this name with another space, other objectives or other settings.
    """

    def __init__(self, folder: Path, settings: SearchSettings, space: Space, train: TrainSettings):
        self.folder, self.space = folder, space
        self.name = settings.study_name or folder.name
        self.settings = settings.model_copy(update={"study_name": self.name})
        self.grid = space.grid() if settings.sampler == "grid" else []
        self.total = min(settings.n_trials, len(self.grid)) if self.grid else settings.n_trials
        build_sampler(settings, 0, self.grid)
        folder.mkdir(parents=True, exist_ok=True)
        self.storage, self.locks = open_storage(self.settings, folder)
        try:
            with self.locks.locked(ASKING):
                directions = [OBJECTIVES[name].direction for name in settings.objectives]
                self.study = optuna.create_study(
                    storage=self.storage, study_name=self.name, directions=directions, load_if_exists=True
                )
                self._keep_or_compare(train)
                self._enqueue(settings.first)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release all locks and connections."""
        self.locks.close()
        if isinstance(self.storage, RDBStorage):
            self.storage.engine.dispose()

    def _keep_or_compare(self, train: TrainSettings) -> None:
        """Keep what the study is with it, or compare that with what is kept."""
        space = {key: distribution_to_json(dimension) for key, dimension in self.space.dimensions.items()}
        now = Definition(objectives=list(self.settings.objectives), space=space)
        kept = self.study.user_attrs.get(DEFINITION)
        if kept is None:
            if any(self.folder.glob("trial-*/cross_validation.json")):
                raise InputError(
                    f"{self.folder} holds trials of a study that is not in the storage. "
                    "Give its storage, or another hydra.sweep.dir"
                )
            content = {**dump(now), "settings_version": VERSION, "config": dump(train)}
            self.study.set_user_attr(DEFINITION, content)
            return
        what = f"the study {self.name!r} in {self.folder}"
        require_same(Definition(objectives=kept["objectives"], space=kept["space"]), now, what)
        require_same(restore(TrainSettings, kept["config"], kept.get("settings_version", 1), what), train, what)

    def _enqueue(self, first: list[dict[str, Any]]) -> None:
        """Put the settings to begin with before all others, once, as far as the space has them."""
        if self.grid or self.study.get_trials(deepcopy=False):
            return
        for values in map(self.space.known, first):
            if values:
                self.study.enqueue_trial(values, user_attrs={FIRST: list(values)})

    def trials(self) -> list[FrozenTrial]:
        """All that were begun, by number."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]

    def ended(self) -> list[FrozenTrial]:
        """Those that are complete, pruned or failed."""
        return [trial for trial in self.trials() if trial.state.is_finished()]

    def elsewhere(self) -> list[FrozenTrial]:
        """The trials that other processes are running."""
        running = [trial for trial in self.trials() if trial.state == TrialState.RUNNING]
        return [trial for trial in running if OWNER_LOCK.format(trial.number) not in self.locks.held]

    def ask(self) -> Trial | None:
        """The next trial to run, one whose process died first; None when all are done or run elsewhere."""
        with self.locks.locked(ASKING):
            trial = self._abandoned() or self._new()
            if trial is not None:
                self.locks.acquire(OWNER_LOCK.format(trial.number))
                trial.set_user_attr(ATTEMPTS, attempts(trial) + 1)
            return trial

    def _abandoned(self) -> Trial | None:
        for trial in self.elsewhere():
            if all(self.locks.is_free(lock.format(trial.number)) for lock in (OWNER_LOCK, JOB_LOCK)):
                self.study.sampler = build_sampler(self.settings, trial.number, self.grid)
                again = open_trial(self.study, self.storage, trial.number)
                if attempts(trial) <= self.settings.retries:
                    return self._draw(again)
                again.set_user_attr("reason", f"its process died, {attempts(trial)} times")
                self.study.tell(trial.number, state=TrialState.FAIL)
        return None

    def _new(self) -> Trial | None:
        trials = self.study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        if len(trials) - len(waiting) >= self.total:
            return None
        self.study.sampler = build_sampler(self.settings, min(waiting, default=len(trials)), self.grid)
        return self._draw(self.study.ask())

    def _draw(self, trial: Trial) -> Trial:
        """Draw the values that a trial lacks: all, or those that its process did not come to, as it would have."""
        drawn, given = trial.distributions, trial.user_attrs.get(FIRST, [])
        for name, dimension in self.space.dimensions.items():
            alone = name in drawn and name not in given and name not in trial.relative_params
            if alone and not drawn[name].single():  # repeat the draw, since the next one follows it
                frozen = self.study.get_trials(deepcopy=False)[trial.number]
                self.study.sampler.sample_independent(self.study, frozen, name, drawn[name])
            suggest(trial, name, dimension)
        return trial

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Record how a trial ended."""
        with self.locks.locked(ASKING):
            for name, value in outcome.attributes.items():
                trial.set_user_attr(name, value)
            self.study.tell(trial.number, outcome.values, TrialState[outcome.state])
            self.locks.release(OWNER_LOCK.format(trial.number))

    def leave(self, trial: Trial, died: bool) -> None:
        """Release a trial that has not ended, for the next process that asks. died: this counts as an attempt."""
        if not died:
            trial.set_user_attr(ATTEMPTS, attempts(trial) - 1)
        self.locks.release(OWNER_LOCK.format(trial.number))
