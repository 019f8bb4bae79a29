"""Searches by the command: what they leave, what is pruned or fails, and what is refused before any training."""

import errno
import json
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
import yaml
from optuna.trial import TrialState
from small_searches import CPU, QUICK, SMALL, in_folder, rows, stored
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from fer_lightning.networks.weight_files import read_checkpoint
from fer_lightning.search import trial as trial_module

GRID = ["hydra.sweeper.sampler=grid", "optimizer.weight_decay=0", "model.hidden=[8]"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory, train):
    """A search of three trials, gone on with to four, and asked for once more."""
    folder = tmp_path_factory.mktemp("sweeps") / "lr"
    backend, style = plt.get_backend(), dict(plt.rcParams)
    first = train(*QUICK, *in_folder(folder, 3))
    assert first.code == 0, first.err
    assert (plt.get_backend(), dict(plt.rcParams), plt.get_fignums()) == (backend, style, [])
    assert len(rows(folder)) == 3
    folds = {path: path.stat().st_mtime_ns for path in folder.glob("trial-*/fold-*/metrics.json")}
    assert train(*QUICK, *in_folder(folder, 4)).code == 0
    assert train(*QUICK, *in_folder(folder, 4)).code == 0
    assert folds == {path: path.stat().st_mtime_ns for path in folds}
    return folder, first


def test_n_trials_is_the_studys_total_over_reruns(searched):
    folder, _ = searched
    assert [row["trial"] for row in rows(folder)] == ["0", "1", "2", "3"]
    assert len(stored(folder)) == 4


def test_the_papers_setting_is_the_first_to_be_tried(searched):
    first = rows(searched[0])[0]
    assert (float(first["optimizer.lr"]), float(first["optimizer.weight_decay"])) == (0.01, 1e-7)


def test_each_trial_stands_in_tensorboards_hparams_with_its_score(searched):
    folder, _ = searched
    for row in rows(folder):
        events = EventAccumulator(str(folder / "hparams" / row["folder"])).Reload()
        assert events.Scalars("cv/mean")[0].value == pytest.approx(float(row["accuracy"]))
        assert events.Scalars("cv/std")[0].value == pytest.approx(float(row["cv/std"]))
        assert [f"{point.value:.6f}" for point in events.Scalars("fold/accuracy")] == row["fold_scores"].split()
        (plugin,) = (
            summary.metadata.plugin_data.content
            for event in EventFileLoader(next(str(p) for p in (folder / "hparams" / row["folder"]).iterdir())).Load()
            for summary in event.summary.value
            if summary.tag == "_hparams_/session_start_info"
        )
        settings = HParamsPluginData.FromString(plugin).session_start_info.hparams
        assert settings["optimizer.lr"].number_value == float(row["optimizer.lr"])


def test_trials_csv_holds_what_the_folds_scored(searched):
    folder, _ = searched
    for row in rows(folder):
        place = folder / row["folder"]
        scores = [json.loads((place / f"fold-{k}" / "metrics.json").read_text())["val/accuracy"] for k in (1, 2)]
        assert row["fold_scores"] == " ".join(f"{score:.6f}" for score in scores)
        assert float(row["accuracy"]) == pytest.approx(sum(scores) / 2)
        config = read_checkpoint(place / "fold-1" / "checkpoints" / "best.ckpt")["config"]
        assert config["optimizer"]["lr"] == float(row["optimizer.lr"])
        assert config["model"]["hidden"] == yaml.safe_load(row["model.hidden"])


def test_a_search_leaves_plots_and_says_what_it_found(searched):
    folder, first = searched
    plots = {path.stem for path in (folder / "plots").glob("*.png")}
    assert plots == {"history", "importances", "slice", "parallel_coordinates"}
    assert "the best of 3 trials" in first.out
    assert "3 of 3 done" in first.out


def test_the_best_setting_trains_from_best_yaml(searched, train, tmp_path):
    folder, _ = searched
    best = max(rows(folder), key=lambda row: float(row["accuracy"]))
    result = train(f"+best={folder / 'best.yaml'}", f"hydra.run.dir={tmp_path / 'one'}", "model.dropout=0.25")
    assert result.code == 0, result.err
    config = read_checkpoint(tmp_path / "one" / "checkpoints" / "best.ckpt")["config"]
    trial = read_checkpoint(folder / best["folder"] / "fold-1" / "checkpoints" / "best.ckpt")["config"]
    assert config["cv"]["folds"] == 0
    assert config["model"] == {**trial["model"], "dropout": 0.25}
    assert all(config[group] == trial[group] for group in ("optimizer", "data", "trainer", "schedule"))


def test_a_study_is_not_gone_on_with_in_another_space_or_with_other_settings(searched, train):
    folder, _ = searched
    result = train(*QUICK, *in_folder(folder, 9), "optimizer.lr=tag(log, interval(1e-3, 1))")
    assert result.code == 2
    assert "space.optimizer.lr was" in result.err
    result = train(*QUICK, *in_folder(folder, 9), "data.batch_size=64")
    assert result.code == 2
    assert "data.batch_size was 32 in the study 'lr'" in result.err
    assert len(stored(folder)) == 4


def test_a_clearly_worse_trial_is_pruned_between_folds_and_not_failed(train, tmp_path):
    options = [*GRID, "optimizer.lr=0.05,1e-9"]
    options += ["cv.folds=4", "trainer.max_epochs=10", "+hydra.sweeper.pruner_options.p_threshold=0.3"]
    result = train(*QUICK, *options, *in_folder(tmp_path, 9))
    assert result.code == 0, result.err
    assert [row["state"] for row in rows(tmp_path)] == ["COMPLETE", "PRUNED"]
    assert 2 <= len(rows(tmp_path)[1]["fold_scores"].split()) < 4
    assert not (tmp_path / "trial-0001" / "fold-4").exists()
    assert "2 of 2 done, 1 pruned, 0 running" in result.out


def test_a_trial_is_pruned_by_epochs_within_a_fold(train, tmp_path):
    options = [*GRID, "optimizer.lr=0.05,1e-9"]
    options += ["trainer.max_epochs=10", "hydra.sweeper.pruner=median"]
    options += [f"+hydra.sweeper.pruner_options.{key}" for key in ("n_startup_trials=1", "n_warmup_steps=2")]
    result = train(*QUICK, *options, *in_folder(tmp_path, 2))
    assert result.code == 0, result.err
    assert [row["state"] for row in rows(tmp_path)] == ["COMPLETE", "PRUNED"]
    assert not (tmp_path / "trial-0001" / "fold-2").exists()
    complete, pruned = stored(tmp_path)
    assert list(complete.intermediate_values) == list(range(1, 21))
    assert len(pruned.intermediate_values) < 10


def test_hyperband_prunes_by_epochs(train, tmp_path):
    options = [*GRID, "optimizer.lr=0.1,1e-9", "seed=range(0, 4)", "trainer.max_epochs=5"]
    options += ["hydra.sweeper.pruner=hyperband", "+hydra.sweeper.pruner_options.reduction_factor=2"]
    result = train(*QUICK, *options, *in_folder(tmp_path, 9))
    assert result.code == 0, result.err
    states = {row["trial"]: (float(row["optimizer.lr"]), row["state"]) for row in rows(tmp_path)}
    assert len(states) == 8
    assert (1e-9, "PRUNED") in states.values()
    assert (0.1, "COMPLETE") in states.values()


def test_a_diverging_trial_is_recorded_with_its_reason_and_the_search_goes_on(train, tmp_path):
    result = train(*QUICK, *GRID, "optimizer.lr=1e30,0.05", "trainer.max_epochs=4", *in_folder(tmp_path, 2))
    assert result.code == 0, result.err
    assert [row["state"] for row in rows(tmp_path)] == ["FAIL", "COMPLETE"]
    assert "the loss became NaN or infinite" in rows(tmp_path)[0]["reason"]
    assert "trial 0 failed" in result.out
    assert "Traceback" in (tmp_path / "trial-0000" / "failure.txt").read_text()


def test_several_objectives_and_a_refit(train, tmp_path):
    options = [
        "hydra.sweeper.objectives=[accuracy,parameters,latency]",
        "hydra.sweeper.pruner=none",
        "hydra.sweeper.refit=true",
    ]
    result = train(*QUICK, *options, *in_folder(tmp_path, 2))
    assert result.code == 0, result.err
    widths = {yaml.safe_load(row["model.hidden"])[0]: float(row["parameters"]) for row in rows(tmp_path)}
    assert all(parameters > 900 * width for width, parameters in widths.items())
    assert all(0 < float(row["latency"]) < 1000 for row in rows(tmp_path))
    assert {path.stem for path in (tmp_path / "plots").glob("slice*.png")} == {
        "slice",
        "slice-parameters",
        "slice-latency",
    }
    assert "the Pareto front of 2 trials" in result.out
    refit = json.loads((tmp_path / "refit" / "metrics.json").read_text())
    assert refit["split_sizes"]["train"] == 112
    assert refit["split_sizes"]["val"] == 14


REFUSED = [
    (["optimizer.lrr=interval(0, 1)"], "optimizer.lrr: no such setting. Did you mean optimizer.lr"),
    (["optimizer.lr=interval(-1, 1)"], "optimizer.lr=-1.0: expected a number above 0"),
    (["model.dropout=interval(0, 1.5)"], "model.dropout=1.5: expected a number of at least 0 and below 1"),
    (["optimizer.lr=interval(1, 0)"], "not a dimension that can be searched"),
    (["optimizer.lr=0.1", "optimizer.weight_decay=0", "model.hidden=[8]"], "the search space is empty"),
    (["sweeps=lr_reg"], "Did you mean lr_reg_hidden?"),
    (["cv.folds=0"], "cv.folds=0: a search chooses by cross-validation"),
    (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: expected a whole number of 1 or more"),
    (["hydra.sweeper.sampler=tpee"], "hydra.sweeper.sampler='tpee': expected 'tpe', 'random'"),
    (["hydra.sweeper.sampler=tpee"], "Did you mean tpe?"),
    (["hydra.sweeper.sampler=grid"], "a grid needs choice(...) or range(...)"),
    (["hydra.sweeper.objectives=[accuracy,parameters]"], "hydra.sweeper.objectives: pruning needs a single objective"),
    (["hydra.sweeper.objectives=[parameters]"], "pruning needs a score of each fold"),
    (["+hydra.sweeper.samplr=3"], "hydra.sweeper.samplr: no such setting. Did you mean sampler?"),
]
"""Overrides that are refused without torch, and what is said."""

REFUSED_LATER = [
    (["cv.folds=90"], "cv.folds=90: the training part has"),
    (["+hydra.sweeper.pruner_options.p=1"], "hydra.sweeper.pruner_options={'p': 1}: wilcoxon"),
    (["hydra.sweeper.storage=sqlite:////no/such/folder/study.db"], "cannot be opened"),
    (["hydra.sweeper.storage=mysterious"], "cannot be opened"),
]


def words_with(overrides: list[str], folder) -> list[str]:
    changed = {word.partition("=")[0] for word in overrides}
    return [*(word for word in [*QUICK, *in_folder(folder, 2)] if word.partition("=")[0] not in changed), *overrides]


@pytest.mark.parametrize(("overrides", "said"), [*REFUSED, *REFUSED_LATER])
def test_a_search_that_cannot_work_is_refused_before_any_training(train, tmp_path, overrides, said):
    result = train(*words_with(overrides, tmp_path / "sweep"))
    assert result.code == 2
    assert said in result.err
    assert len(result.err.strip().splitlines()) <= 3
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_search_is_refused_without_torch(tmp_path):
    code = "import sys; from hydra.core.global_hydra import GlobalHydra; from fer_lightning.train import main\n"
    code += f"for words in {[words_with(overrides, tmp_path) for overrides, _ in REFUSED]!r}:\n"
    code += "    GlobalHydra.instance().clear(); sys.argv = ['train', *words]\n    try: main()\n"
    code += "    except SystemExit as ended: assert ended.code == 2\n"
    code += "assert 'torch' not in sys.modules, words"
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def test_the_plugin_imports_nothing_heavy_at_hydras_start():
    code = "from hydra.core.plugins import Plugins; Plugins.instance(); import sys; print("
    code += "{'torch', 'optuna', 'lightning', 'numpy', 'hydra_plugins.fer_search.sweeper'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert ran.stdout.strip() == "{'hydra_plugins.fer_search.sweeper'}"


def test_an_interval_without_a_study_is_refused_and_with_one_is_a_space(train, tmp_path):
    words = ["--multirun", *SMALL, *CPU, "model.hidden=[4]", "optimizer.lr=interval(0.1, 1)", *in_folder(tmp_path, 2)]
    result = train(*(word for word in words if "n_trials" not in word))
    assert result.code == 2
    assert "hydra/sweeper=study" in result.err
    assert train(*words, "hydra/sweeper=study").code == 0
    assert all(0.1 <= float(row["optimizer.lr"]) <= 1 for row in rows(tmp_path))


def test_a_full_disk_stops_the_search_and_does_not_fail_its_trials(train, tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trial_module, "fold_metrics", full)
        result = train(*QUICK, *in_folder(tmp_path, 2))
    assert result.code == 2
    assert "No space left on device. The same command goes on with it" in result.err
    assert "Error executing job" not in result.err
    assert [trial.state for trial in stored(tmp_path)] == [TrialState.RUNNING]  # and not FAIL
    assert train(*QUICK, *in_folder(tmp_path, 2)).code == 0
    assert {row["state"] for row in rows(tmp_path)} == {"COMPLETE"}


def test_on_a_terminal_a_table_shows_the_running_trials(train, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    result = train(*QUICK, *in_folder(tmp_path, 1))
    assert result.code == 0, result.err
    assert "0 of 1 done, 0 pruned, 0 running" in result.out
    assert "cross-validation" in result.out
