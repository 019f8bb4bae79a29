"""The study: its trials are asked for and told by many processes, of which any may die; studies of older versions."""

import json
import shutil
from pathlib import Path

import optuna
import pytest
from hydra_plugins.fer_search.sweeper import read_space
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from small_searches import rows

from fer_lightning.cli import settings_of
from fer_lightning.errors import InputError
from fer_lightning.search.results import best_trials
from fer_lightning.search.samplers import build_pruner, build_sampler
from fer_lightning.search.study import Outcome, Study
from fer_lightning.settings import VERSION, TrainSettings

STUDY_V1 = Path(__file__).parent / "study_v1"
"""Written by the code before settings had a version: two trials done, the third killed in its second fold."""


def test_a_trial_whose_process_died_is_the_next_one_as_itself(open_study, tmp_path):
    dead = open_study(tmp_path)
    trial = dead.ask()
    assert open_study(tmp_path).ask().number == 1  # while the first is alive
    dead.locks.close()
    alive = open_study(tmp_path)
    again = alive.ask()
    assert (again.number, again.params, again.user_attrs["tries"]) == (0, trial.params, 2)
    assert [other.number for other in alive.elsewhere()] == [1]


@pytest.mark.parametrize("first", [[], [{"optimizer.lr": 0.5}], [{"model.dropout": 0.5}]])
@pytest.mark.parametrize("drawn", [0, 1, 2])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_trial_whose_process_died_while_it_asked_gets_the_settings_it_would_have_had(
    open_study, tmp_path, sampler, drawn, first
):
    settings = {"sampler": sampler, "first": first, "storage": "journal"}
    expected = open_study(tmp_path / "whole", **settings).ask().params
    torn = open_study(tmp_path / "torn", **settings)
    torn.study.sampler = build_sampler(torn.settings, 0)
    torn.study.ask(dict(list(torn.space.dimensions.items())[:drawn]))  # killed after so many of its settings
    again = open_study(tmp_path / "torn", **settings).ask()
    assert (again.number, again.params) == (0, expected)


def test_a_trial_that_kills_its_process_each_time_is_given_up(open_study, tmp_path):
    for _ in range(3):
        study = open_study(tmp_path, retries=2)
        assert study.ask().number == 0
        study.locks.close()
    study = open_study(tmp_path, retries=2)
    assert study.ask().number == 1
    failed = study.trials()[0]
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs["reason"] == "its process died, 3 times"


def test_a_trial_stopped_on_purpose_has_not_died(open_study, tmp_path):
    study = open_study(tmp_path, retries=0)
    for _ in range(3):
        trial = study.ask()
        assert trial.number == 0
        study.leave(trial, died=False)


def test_a_study_has_one_space_and_one_set_of_settings(
    open_study, tmp_path, train_settings, search_settings, space, compose
):
    assert open_study(tmp_path).study.user_attrs["search"]["settings_version"] == VERSION
    other = read_space({"optimizer.lr": "interval(0.1, 1)", "model.dropout": "interval(0, 1)"}, [])
    with pytest.raises(InputError, match=r"space.optimizer.lr was .*FloatDistribution.* in the study"):
        Study(tmp_path, search_settings(), other, train_settings)
    with pytest.raises(InputError, match=r"objectives was \['accuracy'\] in the study .* and is \['loss'\] now"):
        Study(tmp_path, search_settings(objectives=["loss"]), space, train_settings)
    longer = settings_of(compose("model=fc", "trainer.max_epochs=31"), TrainSettings)
    with pytest.raises(InputError, match=r"trainer.max_epochs was 30 in the study .* and is 31 now"):
        Study(tmp_path, search_settings(), space, longer)
    free = settings_of(compose("model=fc", "draw.every=0", "checkpoint_minutes=1", "data.cache_dir=c"), TrainSettings)
    Study(tmp_path, search_settings(), space, free).close()


@pytest.mark.parametrize(
    ("objectives", "values", "best"),
    [
        (["accuracy"], [[0.3], [0.5], [0.4]], [1, 2, 0]),
        (["loss"], [[0.3], [0.5], [0.4]], [0, 2, 1]),
        (["accuracy", "parameters"], [[0.3, 10], [0.5, 30], [0.3, 20], [0.4, 20]], [1, 3, 0]),
    ],
)
def test_the_best_trials_are_those_of_the_first_objective_or_the_pareto_front(
    open_study, tmp_path, objectives, values, best
):
    study = open_study(tmp_path, objectives=objectives, pruner="none", storage="journal")
    for value in values:
        study.tell(study.ask(), Outcome("COMPLETE", value))
    study.tell(study.ask(), Outcome("FAIL"))
    assert [trial.number for trial in best_trials(study)] == best


def test_trials_without_their_study_are_not_mixed_with_new_ones(open_study, tmp_path):
    shutil.copytree(STUDY_V1 / "trial-0000", tmp_path / "trial-0000")
    with pytest.raises(InputError, match="holds trials of a study that is not in the storage"):
        open_study(tmp_path)


@pytest.mark.parametrize("sampler", ["cmaes", "gp", "random", "tpe"])
def test_a_sampler_draws_by_seed_and_trial_number(search_settings, sampler):
    if sampler == "cmaes":
        pytest.importorskip("cmaes", reason="the package cmaes is not installed")

    def drawn(seed: int, number: int) -> float:
        sampler_of_trial = build_sampler(search_settings(sampler=sampler, seed=seed), number)
        return optuna.create_study(sampler=sampler_of_trial).ask({"lr": FloatDistribution(0, 1)}).params["lr"]

    assert drawn(0, 0) == drawn(0, 0)
    assert len({drawn(0, 0), drawn(0, 1), drawn(1, 0)}) == 3


def test_a_pruner_refuses_options_that_it_does_not_have(search_settings):
    settings = search_settings(pruner="median", pruner_options={"n_warm": 3})
    with pytest.raises(InputError, match=r"hydra.sweeper.pruner_options=\{'n_warm': 3\}: median: .*n_warm"):
        build_pruner(settings, folds=5, epochs=10)


def test_a_study_of_an_older_version_goes_on_with_the_scores_that_it_would_have_had(train, tmp_path):
    folder = tmp_path / "study"  # the study's name
    shutil.copytree(STUDY_V1, folder)
    expected = json.loads((folder / "expected.json").read_text())
    result = train(*expected["command"], f"hydra.sweep.dir={folder}")
    assert result.code == 0, result.err
    assert "3 trials were begun before; going on" in result.out
    for row, trial in zip(rows(folder), expected["trials"], strict=True):
        losses = trial.pop("fold_losses")
        assert {key: row[key] for key in trial} == trial
        files = [folder / row["folder"] / f"fold-{number}" / "metrics.json" for number in (1, 2)]
        assert [json.loads(file.read_text())["val/loss"] for file in files] == pytest.approx(losses, rel=1e-4)
