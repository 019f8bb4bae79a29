"""Optuna's plots of a search: every trial at its place, pruned ones too; matplotlib is left as it was."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from optuna.trial import TrialState

from fer_lightning.search.plots import draw_history, draw_plots, draw_slices, of_one_objective, off_screen
from fer_lightning.search.study import FOLDS, Outcome

PRUNED = (3, 5)


@pytest.fixture
def study(open_study, tmp_path):
    """Seven trials: one failed, two pruned, the others complete."""
    study = open_study(tmp_path, n_trials=7, storage="journal")
    for number in range(7):
        trial = study.ask()
        score = 0.3 + 0.02 * number
        trial.set_user_attr(FOLDS, [{"val/accuracy": score - 0.1}, {"val/accuracy": score + 0.1}])
        if number == 2:
            study.tell(trial, Outcome("FAIL"))
        elif number in PRUNED:
            study.tell(trial, Outcome("PRUNED"))
        else:
            study.tell(trial, Outcome("COMPLETE", [score], {"cv/mean": score, "cv/std": 0.01}))
    return study


def test_each_plot_is_a_file_and_matplotlib_is_as_before(study):
    plt.switch_backend("svg")
    plt.figure("mine")
    before = plt.get_backend(), dict(plt.rcParams), plt.get_fignums()
    draw_plots(study)
    assert (plt.get_backend(), dict(plt.rcParams), plt.get_fignums()) == before
    plt.close("mine")
    plt.switch_backend("agg")
    names = {"history", "importances", "slice", "parallel_coordinates"}
    assert {path.stem for path in (study.folder / "plots").iterdir()} == names


def test_history_and_slices_show_complete_and_pruned_trials_and_no_failed_one(study):
    trials = of_one_objective(study, 0, with_pruned=True)
    ended = {trial.number: trial for trial in study.trials() if trial.state != TrialState.FAIL}
    with off_screen():
        history = draw_history(trials, "accuracy")
        scatters = [dots.get_offsets() for dots in history.collections if isinstance(dots, PathCollection)]
        places = np.concatenate([dots for dots in scatters if len(dots)])
        expected = {number: 0.3 + 0.02 * number for number in ended}
        assert {int(number): pytest.approx(score) for number, score in places} == expected
        slices = draw_slices(trials, "accuracy", ["optimizer.lr", "model.dropout"]).figure.axes[:2]
        for axes in slices:
            key = axes.get_xlabel()
            complete, pruned = (sorted(map(tuple, dots.get_offsets())) for dots in axes.collections)
            for drawn, numbers in ((complete, set(ended) - set(PRUNED)), (pruned, set(PRUNED))):
                assert drawn == sorted(
                    (ended[number].params[key], pytest.approx(expected[number])) for number in numbers
                )


def test_no_plot_without_two_complete_trials(open_study, tmp_path):
    study = open_study(tmp_path, storage="journal")
    study.tell(study.ask(), Outcome("COMPLETE", [0.5], {"cv/mean": 0.5, "cv/std": 0.0}))
    draw_plots(study)
    assert not (tmp_path / "plots").exists()
