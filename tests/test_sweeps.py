"""The search: its space, that it is a total over processes and reruns, that it survives kills, and what it leaves."""

import csv
import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from forked_searches import forked
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from fer_lightning.checkpoints import read_checkpoint
from fer_lightning.commands import CONF, with_best
from fer_lightning.config import plain
from fer_lightning.errors import InputError
from fer_lightning.search import trial as trial_chapter
from fer_lightning.search.settings import SAMPLERS, build_sampler
from fer_lightning.search.space import dimension, hydra_text, read_space
from fer_lightning.search.study import Study

PROJECT = Path(__file__).resolve().parents[1]
SPACES = sorted((PROJECT / "sweeps").glob("*.yaml"))
SMALL = ["model=fc", "data.images=140", "data.batch_size=32", "trainer.max_epochs=1", "cv.folds=2"]
CPU = ["trainer.accelerator=cpu", "trainer.precision=32-true"]
QUICK = ["--multirun", "sweeps=lr_reg_hidden", *SMALL, *CPU, "model.hidden=choice([4], [8, 4])"]
LAUNCHERS = {
    "submitit_local": [],
    "ray": ["+hydra.launcher.ray.init.include_dashboard=false", "+hydra.launcher.ray.init.num_cpus=2"],
}
KILLED = ["hydra.sweeper.retries=100", "trainer.max_epochs=6"]
GRID = ["hydra.sweeper.sampler=grid", "optimizer.weight_decay=0", "model.hidden=[8]"]


def in_folder(folder: Path, trials: int) -> list[str]:
    return [f"hydra.sweep.dir={folder}", f"hydra.sweeper.n_trials={trials}"]


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))


def stored(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}").get_trials()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lr=interval(1e-4, 1e-1)", FloatDistribution(1e-4, 1e-1)),
        ("optimizer.lr=tag(log, interval(1e-4, 1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("data.batch_size=int(interval(16, 256))", IntDistribution(16, 256)),
        ("data.batch_size=tag(log, int(interval(16, 256)))", IntDistribution(16, 256, log=True)),
        ("data.batch_size=tag(int, log, interval(16, 256))", IntDistribution(16, 256, log=True)),
        ("data.batch_size=range(16, 64, 16)", IntDistribution(16, 48, step=16)),
        ("model.dropout=range(0.0, 0.5, 0.1)", FloatDistribution(0.0, 0.4, step=0.1)),
        ("model.dropout=0,0.3", CategoricalDistribution([0, 0.3])),
        ("model.hidden=choice([128], [256, 512])", CategoricalDistribution(["[128]", "[256,512]"])),
        ("model.batch_norm=true,false", CategoricalDistribution([True, False])),
        ("model=choice(fc, conv_deep)", CategoricalDistribution(["fc", "conv_deep"])),
        ("early_stopping.patience=null,3", CategoricalDistribution([None, 3])),
    ],
)
def test_every_sweep_override_is_a_dimension(override, expected):
    assert dimension(OverridesParser.create().parse_override(override)) == expected


def test_the_command_line_overrules_and_adds_to_the_space_of_the_file():
    params = {"optimizer.lr": "interval(0.1, 1)", "model.dropout": "choice(0, 0.5)"}
    space = read_space(params, ["optimizer.lr=0.2", "seed=1,2"])
    assert space.dimensions.keys() == {"model.dropout", "seed"}
    assert space.fixed == ["optimizer.lr=0.2"]
    assert space.overrides({"model.dropout": 0.5, "seed": 2}) == ["optimizer.lr=0.2", "model.dropout=0.5", "seed=2"]


def test_a_grid_is_every_combination_once():
    space = read_space({"seed": "range(0, 3)"}, ["model.dropout=0,0.5", "ema.decay=range(0.1, 0.4, 0.1)"])
    grid = space.grid()
    assert len(grid) == 3 * 2 * 3
    assert len({tuple(values.items()) for values in grid}) == len(grid)
    assert {values["ema.decay"] for values in grid} == {0.1, 0.2, 0.3}


@pytest.mark.parametrize("file", SPACES, ids=lambda file: file.stem)
def test_every_search_composes_at_every_end_of_its_space(file, compose):
    space = read_space(yaml.safe_load(file.read_text())["hydra"]["sweeper"]["params"], [f"sweeps={file.stem}"])
    for values in space.extremes():
        config = plain(compose(*space.overrides(values)))
        assert config["cv"]["folds"] > 1


def test_every_search_is_in_the_wheel():
    pyproject = (PROJECT / "pyproject.toml").read_text()
    assert SPACES
    for file in SPACES:
        assert f'"sweeps/{file.name}" = "hydra_plugins/fer_search/search_spaces/{file.name}"' in pyproject


def test_the_plugin_does_not_import_torch_at_hydras_start():
    code = "from hydra.core.plugins import Plugins; Plugins.instance(); import sys; print('torch' in sys.modules, "
    code += "'hydra_plugins.fer_search.sweeper' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert ran.stdout.split() == ["False", "True"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory, train):
    """A search of three trials, gone on with to four, and asked for once more."""
    folder = tmp_path_factory.mktemp("sweeps") / "lr"
    first = train(*QUICK, *in_folder(folder, 3))
    assert first.code == 0, first.err
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
    found = f"+best={folder / 'best.yaml'}"
    result = train(found, f"hydra.run.dir={tmp_path / 'one'}", "model.dropout=0.25")
    assert result.code == 0, result.err
    config = read_checkpoint(tmp_path / "one" / "checkpoints" / "best.ckpt")["config"]
    trial = read_checkpoint(folder / best["folder"] / "fold-1" / "checkpoints" / "best.ckpt")["config"]
    assert config["cv"]["folds"] == 0
    assert config["model"] == {**trial["model"], "dropout": 0.25}
    assert all(config[group] == trial[group] for group in ("optimizer", "data", "trainer", "schedule"))


def test_best_takes_only_what_a_search_wrote(tmp_path):
    (tmp_path / "other.yaml").write_text("lr: 1")
    for path in (tmp_path / "other.yaml", tmp_path / "none.yaml"):
        with pytest.raises(InputError, match=r"not the best.yaml of a search"):
            with_best([f"+best={path}"])


def test_plain_values_survive_hydras_grammar():
    value = [None, True, 3, 1e-07, "it's", {"filters": 8, "name": "a b"}]
    assert OverridesParser.create().parse_override(f"key={hydra_text(value)}").value() == value


def test_a_clearly_worse_trial_is_pruned_and_not_failed(train, tmp_path):
    options = [*GRID, "optimizer.lr=0.05,1e-9"]
    options += ["cv.folds=4", "trainer.max_epochs=10", "+hydra.sweeper.pruner_options.p_threshold=0.3"]
    result = train(*QUICK, *options, *in_folder(tmp_path, 9))
    assert result.code == 0, result.err
    assert [row["state"] for row in rows(tmp_path)] == ["COMPLETE", "PRUNED"]
    assert 2 <= len(rows(tmp_path)[1]["fold_scores"].split()) < 4
    assert not (tmp_path / "trial-0001" / "fold-4").exists()


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
    assert "the Pareto front of 2 trials" in result.out
    refit = json.loads((tmp_path / "refit" / "metrics.json").read_text())
    assert refit["split_sizes"]["train"] == 112
    assert refit["split_sizes"]["val"] == 14


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_sampler_draws_by_seed_and_trial_number(sampler):
    if sampler == "cmaes":
        pytest.importorskip("cmaes", reason="the package cmaes is not installed")
    space = {"lr": FloatDistribution(0, 1)}

    def drawn(seed: int, number: int) -> float:
        settings = {"sampler": sampler, "seed": seed}
        return optuna.create_study(sampler=build_sampler(settings, number)).ask(space).params["lr"]

    assert drawn(0, 0) == drawn(0, 0)
    assert len({drawn(0, 0), drawn(0, 1), drawn(1, 0)}) == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["optimizer.lrr=interval(0, 1)"], "optimizer.lrr: no such setting. Did you mean optimizer.lr"),
        (["optimizer.lr=interval(-1, 1)"], "optimizer.lr=-1.0: expected a number above 0"),
        (["optimizer.lr=interval(1, 0)"], "not a dimension that can be searched"),
        (["optimizer.lr=0.1", "optimizer.weight_decay=0", "model.hidden=[8]"], "the search space is empty"),
        (["sweeps=lr_reg"], "Did you mean lr_reg_hidden?"),
        (["cv.folds=90"], "cv.folds=90: the training part has"),
        (["cv.folds=0"], "cv.folds=0: a search chooses by cross-validation"),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: expected a whole number of 1 or more"),
        (["hydra.sweeper.sampler=tpee"], "hydra.sweeper.sampler=tpee: no such choice. Did you mean tpe?"),
        (["hydra.sweeper.sampler=grid"], "a grid needs choice(...) or range(...)"),
        (["hydra.sweeper.objectives=[accuracy,parameters]"], "pruning needs a single objective"),
        (["hydra.sweeper.storage=sqlite:////no/such/folder/study.db"], "cannot be opened"),
        (["hydra.sweeper.storage=mysterious"], "cannot be opened"),
    ],
)
def test_a_search_that_cannot_work_is_refused_before_any_training(train, tmp_path, overrides, said):
    changed = {word.partition("=")[0] for word in overrides}
    usual = [word for word in QUICK if word.partition("=")[0] not in changed]
    where = [word for word in in_folder(tmp_path / "sweep", 2) if word.partition("=")[0] not in changed]
    result = train(*usual, *where, *overrides)
    assert result.code == 2
    assert said in result.err
    assert len(result.err.strip().splitlines()) <= 3
    assert not list(tmp_path.rglob("*.ckpt"))


def test_an_interval_without_a_study_is_refused_and_with_one_is_a_space(train, tmp_path):
    words = ["--multirun", *SMALL, *CPU, "model.hidden=[4]", "optimizer.lr=interval(0.1, 1)", *in_folder(tmp_path, 2)]
    result = train(*(word for word in words if "n_trials" not in word))
    assert result.code == 2
    assert "hydra/sweeper=study" in result.err
    assert train(*words, "hydra/sweeper=study").code == 0
    assert all(0.1 <= float(row["optimizer.lr"]) <= 1 for row in rows(tmp_path))


def test_a_study_is_not_gone_on_with_in_another_space_or_with_other_settings(searched, train):
    folder, _ = searched
    result = train(*QUICK, *in_folder(folder, 9), "optimizer.lr=tag(log, interval(1e-3, 1))")
    assert result.code == 2
    assert "space optimizer.lr" in result.err
    result = train(*QUICK, *in_folder(folder, 9), "data.batch_size=64")
    assert result.code == 2
    assert "config data.batch_size = 32, and this command 64" in result.err
    assert len(stored(folder)) == 4


def a_study(folder: Path, **settings) -> Study:
    usual = yaml.safe_load((CONF / "hydra" / "sweeper" / "study.yaml").read_text())
    space = read_space({"optimizer.lr": "tag(log, interval(0.1, 1))", "model.dropout": "interval(0, 1)"}, [])
    return Study(folder, {**usual, "sampler": "random", **settings}, space, {})


def test_a_trial_whose_process_died_is_the_next_one_as_itself(tmp_path):
    dead = a_study(tmp_path)
    trial = dead.ask()
    assert a_study(tmp_path).ask().number == 1  # while the first is alive
    dead.locks.close()
    alive = a_study(tmp_path)
    again = alive.ask()
    assert (again.number, again.params, again.user_attrs["tries"]) == (0, trial.params, 2)
    assert [other.number for other in alive.elsewhere()] == [1]


@pytest.mark.parametrize("drawn", [0, 1, 2])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_trial_whose_process_died_while_it_asked_gets_the_settings_it_would_have_had(tmp_path, sampler, drawn):
    expected = a_study(tmp_path / "whole", sampler=sampler).ask().params
    torn = a_study(tmp_path / "torn", sampler=sampler)
    torn.study.sampler = build_sampler(torn.settings, 0)
    torn.study.ask(dict(list(torn.space.dimensions.items())[:drawn]))  # killed after so many of its settings
    again = a_study(tmp_path / "torn", sampler=sampler).ask()
    assert (again.number, again.params) == (0, expected)


def test_a_trial_that_kills_its_process_each_time_is_given_up(tmp_path):
    for _ in range(3):
        study = a_study(tmp_path, retries=2)
        assert study.ask().number == 0
        study.locks.close()
    study = a_study(tmp_path, retries=2)
    assert study.ask().number == 1
    failed = study.trials()[0]
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs["reason"] == "its process died, 3 times"


def test_a_trial_stopped_on_purpose_has_not_died(tmp_path):
    study = a_study(tmp_path, retries=0)
    for _ in range(3):
        trial = study.ask()
        assert trial.number == 0
        study.leave(trial, on_purpose=True)


def test_trials_without_their_study_are_not_mixed_with_new_ones(searched, tmp_path):
    folder, _ = searched
    shutil.copytree(folder / "trial-0000", tmp_path / "trial-0000")
    with pytest.raises(InputError, match="holds trials of a study that is not in the storage"):
        a_study(tmp_path)


def test_a_full_disk_stops_the_search_and_does_not_fail_its_trials(train, tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trial_chapter, "fold_metrics", full)
        result = train(*QUICK, *in_folder(tmp_path, 2))
    assert result.code == 2
    assert "No space left on device. The same command goes on with it" in result.err
    assert [trial.state for trial in stored(tmp_path)] == [TrialState.RUNNING]  # and not FAIL
    assert train(*QUICK, *in_folder(tmp_path, 2)).code == 0
    assert {row["state"] for row in rows(tmp_path)} == {"COMPLETE"}


def test_on_a_terminal_a_table_shows_what_is_at_work(train, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    result = train(*QUICK, *in_folder(tmp_path, 1))
    assert result.code == 0, result.err
    assert "0 of 1 done, 0 pruned, 0 running" in result.out
    assert "cross-validation" in result.out


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("launcher", ["submitit_local", "ray"])
def test_a_launcher_runs_the_trials_side_by_side(tmp_path, launcher):
    package = {"submitit_local": "hydra_plugins.hydra_submitit_launcher", "ray": "hydra_plugins.hydra_ray_launcher"}
    pytest.importorskip(package[launcher], reason=f"the launcher {launcher} is not installed")
    options = [f"hydra/launcher={launcher}", "hydra.sweeper.jobs=2", *LAUNCHERS[launcher]]
    command = [sys.executable, "-m", "fer_lightning.train", *QUICK, *options, *in_folder(tmp_path, 4)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [row["trial"] for row in rows(tmp_path)] == ["0", "1", "2", "3"]
    assert {row["state"] for row in rows(tmp_path)} == {"COMPLETE"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, train):
    """The four trials of a search that nobody stopped."""
    folder = tmp_path_factory.mktemp("sweeps") / "undisturbed"
    assert train(*QUICK, *KILLED, *in_folder(folder, 4)).code == 0
    return folder


def what_was_found(folder: Path) -> list[dict[str, str]]:
    return [{key: row[key] for key in row if key not in ("wall_seconds", "tries")} for row in rows(folder)]


@pytest.mark.parametrize(
    ("kills", "storage"),
    [(5, "sqlite"), *(pytest.param(20, storage, marks=pytest.mark.slow) for storage in ("sqlite", "journal"))],
)
def test_a_search_killed_at_random_ends_as_one_that_was_not(undisturbed, tmp_path, kills, storage):
    found = forked(kills, kills, "1", *QUICK, *KILLED, f"hydra.sweeper.storage={storage}", *in_folder(tmp_path, 4))
    assert what_was_found(tmp_path) == what_was_found(undisturbed)
    assert [row["trial"] for row in rows(tmp_path)] == ["0", "1", "2", "3"]
    if storage == "sqlite":
        assert [trial.number for trial in stored(tmp_path)] == list(range(4))
    assert found["changed"] == []
    assert sum(found["trained"].values()) - len(found["trained"]) <= kills  # an epoch that was under way, at each kill
    assert sum(int(row["tries"]) for row in rows(tmp_path)) > 4 + kills // 10  # many a kill hit a trial


@pytest.mark.parametrize(
    ("workers", "storage"),
    [
        (2, "sqlite"),
        pytest.param(3, "sqlite", marks=pytest.mark.slow),
        pytest.param(2, "journal", marks=pytest.mark.slow),
        pytest.param(3, "journal", marks=pytest.mark.slow),
    ],
)
def test_workers_share_the_trials_of_one_study(tmp_path, workers, storage):
    found = forked(0, 0, str(workers), *QUICK, f"hydra.sweeper.storage={storage}", *in_folder(tmp_path, 5))
    assert found["statuses"] == [0] * workers
    assert [row["trial"] for row in rows(tmp_path)] == [str(number) for number in range(5)]
    assert {row["tries"] for row in rows(tmp_path)} == {"1"}
    assert {row["state"] for row in rows(tmp_path)} <= {"COMPLETE", "PRUNED"}
    assert set(found["trained"].values()) == {1}


def test_a_worker_takes_over_the_trial_of_one_that_was_killed_and_stays_dead(tmp_path):
    found = forked(1, 3, "2,alone", *QUICK, *KILLED, *in_folder(tmp_path, 4))
    assert found["changed"] == []
    assert [row["trial"] for row in rows(tmp_path)] == ["0", "1", "2", "3"]
    assert sorted(row["tries"] for row in rows(tmp_path)) == ["1", "1", "1", "2"]
    assert sum(found["trained"].values()) - len(found["trained"]) <= 1
