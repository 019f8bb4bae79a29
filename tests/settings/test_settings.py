"""The settings models and conf/ hold the same keys; each range refuses what is outside of it, in one clear message."""

import inspect
import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import hydra
import lightning
import pydantic
import pytest
from omegaconf import OmegaConf

from fer_lightning.errors import InputError
from fer_lightning.settings import (
    CONF,
    REFUSED,
    AuditSettings,
    EvaluateSettings,
    SearchSettings,
    Settings,
    TrainerSettings,
    TrainSettings,
    VisualizeSettings,
    dump,
    flatten,
    parse,
)

COMMANDS: dict[str, tuple[type[Settings], list[str]]] = {
    "config": (TrainSettings, []),
    "evaluate": (EvaluateSettings, ["checkpoint=x"]),
    "visualize": (VisualizeSettings, ["checkpoint=x"]),
    "audit": (AuditSettings, []),
}
"""Model of each command's config, and what must be given to it."""

GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "logger")
KINDS = {"conv", "hybrid", "fc", "alexnet", "vgg16", "resnet18"}
CHOICES = [f"{group}={file.stem}" for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


@cache
def composed(name: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        values: Any = OmegaConf.to_container(hydra.compose(name, list(overrides)), resolve=True)
    return values


@pytest.fixture(scope="module")
def values() -> dict[str, dict[str, Any]]:
    """The composed config of each command, plain, and the search's."""
    found = {name: composed(name, *needed) for name, (_, needed) in COMMANDS.items()}
    study: Any = OmegaConf.to_container(OmegaConf.load(CONF / "hydra/sweeper/study.yaml"))
    return found | {"search": {key: value for key, value in study.items() if key not in ("_target_", "_recursive_")}}


def unset(settings: Settings, prefix: str = "") -> Iterator[str]:
    """Fields that have the model's default, not a value that was given."""
    for name in type(settings).model_fields:
        if name not in settings.model_fields_set:
            yield prefix + name
        elif isinstance(value := getattr(settings, name), Settings):
            yield from unset(value, f"{prefix}{name}.")


def assert_same_keys(model: type[Settings], given: dict[str, Any]) -> None:
    settings = parse(model, given)  # refuses a key without a field, and a field without a key unless it has a default
    assert flatten(dump(settings)) == flatten(given)
    for name in unset(settings):
        group, _, argument = name.partition(".")
        assert group == "trainer", f"{name} is set in no file of conf/"
        assert argument in inspect.signature(lightning.Trainer).parameters


@pytest.mark.parametrize("name", [*COMMANDS, "search"])
def test_the_config_of_each_command_has_the_fields_of_its_model(name, values):
    assert_same_keys(COMMANDS[name][0] if name in COMMANDS else SearchSettings, values[name])


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choice_of_each_group_has_the_fields_of_its_model(choice):
    assert_same_keys(TrainSettings, composed("config", choice, "data.size=64"))  # alexnet takes no smaller ones


@pytest.mark.parametrize("data", ["synthetic", "fer2013", "ferplus"])
@pytest.mark.parametrize("name", ["evaluate", "visualize", "audit"])
def test_each_set_of_faces_goes_with_each_command(name, data):
    model, needed = COMMANDS[name]
    assert parse(model, composed(name, *needed, f"data={data}")).data.name == data
    if model.DATA_KEYS is not None:
        assert set(model.DATA_KEYS) <= {key for choice in CHOICES[:3] for key in composed("config", choice)["data"]}


@pytest.mark.parametrize("group", GROUPS)
def test_the_names_that_a_model_knows_are_the_files_of_its_group(group):
    """`name` chooses the model in every group but `model`, where any name goes, and `trainer`, which has none."""
    if group in ("model", "trainer"):
        assert group == "trainer" or kinds(TrainSettings.model_fields["model"].annotation) == KINDS
        return
    assert kinds(TrainSettings.model_fields[group].annotation) == {file.stem for file in (CONF / group).glob("*.yaml")}


def kinds(annotation: Any) -> set[str]:
    """The tags of a union of models."""
    tag = "kind" if any("kind" in model.model_fields for model in get_args(annotation)) else "name"
    return {name for model in get_args(annotation) for name in get_args(model.model_fields[tag].annotation)}


def test_each_argument_of_lightnings_trainer_is_a_field_or_refused_for_a_reason(values):
    arguments = set(inspect.signature(lightning.Trainer).parameters)
    assert not set(REFUSED) & set(TrainerSettings.model_fields)
    assert arguments == set(TrainerSettings.model_fields) | set(REFUSED)
    for name, reason in REFUSED.items():
        with pytest.raises(InputError) as refused:
            parse(TrainSettings, put(values["config"], f"trainer.{name}", None))
        assert str(refused.value) == f"trainer.{name}: without effect here: {reason}"
        assert "\n" not in reason


@pytest.mark.parametrize("more", [{"devices": 2}, {"devices": [0, 1]}, {"devices": -1}, {"devices": "0,1"},
                                  {"devices": "-1"}, {"num_nodes": 2}], ids=str)  # fmt: skip
def test_folds_take_one_device(more, values):
    """Lightning starts the command once more for each device; each copy would run trials of its own."""
    several = values["config"]
    for name, value in more.items():
        several = put(several, f"trainer.{name}", value)
    parse(TrainSettings, several)
    with pytest.raises(InputError, match=r"^trainer.devices=.*one process on one device.*hydra.sweeper.workers=auto"):
        parse(TrainSettings, put(several, "cv.folds", 2))


@pytest.mark.parametrize("devices", [1, "1", [1], "3,", "auto"], ids=str)
def test_one_device_may_be_named_and_auto_is_one(devices, values):
    of_folds = put(put(values["config"], "cv.folds", 2), "trainer.devices", devices)
    assert parse(TrainSettings, of_folds).trainer.devices == (1 if devices == "auto" else devices)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"trainer.min_epochs": 2, "trainer.max_steps": 5}, "trainer.min_epochs: not together with trainer.max_steps"),
        ({"trainer.min_steps": 2, "trainer.max_time": "00:00:01:00"}, "trainer.min_steps: not together with"),
        ({"trainer.max_time": "00:00:01:00", "schedule.name": "cosine"}, "schedule.name=cosine: it needs the number"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(more, said, values):
    for name, value in more.items():
        values = {"config": put(values["config"], name, value)}
    with pytest.raises(InputError, match=f"^{re.escape(said)}"):
        parse(TrainSettings, values["config"])


def put(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of nested settings with one value changed."""
    name, dot, rest = key.partition(".")
    return {**values, name: put(values.get(name, {}), rest, value) if dot else value}


CONV, FC, PLATEAU, ADAM = {"conv", "hybrid"}, {"fc"}, {"plateau"}, {"adam", "adamw"}
SEED = ([-1, 2**32, 1.5, True, "1", None], [0, 2**32 - 1], "a whole number from 0 to 4294967295")
TRUTH = ([0, 1, "true", None], [True, False], "true or false")
SHARE = ([-0.1, 1, "0", True, None], [0, 0.0, 0.99], "a number of at least 0 and below 1")
TEXT = ([3, None, ["x"], True], ["x"], "text")
OPTIONAL_TEXT = ([3, ["x"], True], ["x", None], "text, or null")
FROM_1 = ([0, -3, 1.5, True, "1", None], [1, 10**6], "a whole number of 1 or more")
FROM_0 = ([-1, 1.5, True, "1", None], [0, 10**6], "a whole number of 0 or more")
FROM_1_OR_NULL = ([0, 1.5, True], [1, None], "a whole number of 1 or more, or null")
FROM_0_OR_NULL = ([-1, 1.5, True], [0, None], "a whole number of 0 or more, or null")
POSITIVE = ([0, -1.0, "1", True, None], [1e-9, 3], "a number above 0")
AT_LEAST_0 = ([-1e-9, "1", True, None], [0, 0.5, 100], "a number of at least 0")
TRAINER = ("benchmark", "detect_anomaly", "inference_mode", "sync_batchnorm")
BATCHES = (["x", [1], 0, 0.0, 1.5, -1], [3, 0.5, 1.0, None], "a number of batches, 1 or more, or a share")

RANGES: dict[str, dict[str, tuple[list[Any], list[Any], str]]] = {
    "config": {
        "seed": SEED,
        "resume": TRUTH,
        "memory_format": (["x", None, 1], ["auto", "channels_last", "contiguous"], "'auto', 'channels_last' or"),
        "compile": (["x", None, 1], ["auto", True, False], "auto, true or false"),
        "checkpoint_minutes": ([-1, "5", True], [0, 0.5, None], "a number of at least 0, or null"),
        "early_stopping.patience": FROM_1_OR_NULL,
        "ema.decay": SHARE,
        "finetune.head_epochs": FROM_0,
        "finetune.layer_decay": ([0, 1.1, "1", None], [1e-3, 1], "a number above 0, at most 1"),
        "finetune.norm": (["fixed", True, None], ["train", "statistics", "frozen"], "'train', 'statistics' or"),
        "draw.every": FROM_0,
        "draw.share": AT_LEAST_0,
        "draw.deepdream": TRUTH,
        "draw.embedding": FROM_0,
        "cv.folds": ([1, -1, 101, 2.5, True, None], [0, 2, 100], "0 (off) or a whole number from 2 to 100"),
        "cv.seed": SEED,
        "cv.workers": ([0, -1, "all", 1.5, None], ["auto", 1, 4], "auto or a whole number of 1 or more"),
        "data.cache_dir": OPTIONAL_TEXT,
        "data.batch_size": ([1, 0, 2.5, True, None], [2, 4096], "a whole number of 2 or more"),
        "data.unique": TRUTH,
        "data.train_fraction": ([0, 1.1, "1", None], [0.01, 1], "a number above 0, at most 1"),
        "data.soft_labels": (
            [3, [], ["a.npz", 3], True, ""],
            ["a.npz", ["a.npz", "b.npz"], None],
            "a file, or several as in '[a.npz,b.npz]', or null",
        ),
        "data.soft_weight": ([-0.1, 1.1, "x", None], [0, 1], "a number from 0 to 1"),
        "data.grow": ([24, [4], [24.5], None], [[], [8], [24, 48]], "a list of sides in pixels, 8 to 512 each"),
        "data.channels": ([0, 2, 4, "3", None], [1, 3], "1 or 3"),
        "data.size": ([7, 513, 48.5, None], [8, 512], "a whole number from 8 to 512"),
        "data.augment.flip": ([-0.1, 1.1, "x", None], [0, 1], "a number from 0 to 1"),
        "data.augment.shift": ([-1, 24.5, None], [0, 24], "a number from 0 to 24"),
        "data.augment.rotate": ([-1, 181, None], [0, 180], "a number from 0 to 180"),
        "data.augment.scale": ([-0.1, 0.91, None], [0, 0.9], "a number from 0 to 0.9"),
        "data.augment.brightness": ([-0.1, 1.1, "x", None], [0, 1], "a number from 0 to 1"),
        "data.augment.contrast": ([-0.1, 1.1, None], [0, 1], "a number from 0 to 1"),
        "data.augment.saturation": ([-0.1, 1.1, None], [0], "a number from 0 to 1"),
        "data.augment.hue": ([-1, 181, None], [0], "a number from 0 to 180"),
        "data.augment.erase": ([-0.1, 1.1, None], [0, 1], "a number from 0 to 1"),
        "data.augment.mixup": ([-0.1, 101, None], [0, 100], "a number from 0 to 100"),
        "data.hog.orientations": ([0, 19, 9.0, True, None], [1, 18], "a whole number from 1 to 18"),
        "data.hog.pixels_per_cell": ([0, 49, None], [1, 48], "a whole number from 1 to 48"),
        "data.hog.cells_per_block": ([0, 49, None], [1, 48], "a whole number from 1 to 48"),
        "data.hog.block_norm": (
            ["L3", 2, None],
            ["L1", "L1-sqrt", "L2", "L2-Hys"],
            "'L1', 'L1-sqrt', 'L2' or 'L2-Hys'",
        ),
        "data.path": OPTIONAL_TEXT,
        "data.images": ([69, 70.5, None], [70, 10**6], "a whole number of 70 or more"),
        "data.seed": SEED,
        "data.label_noise": SHARE,
        "model.name": TEXT,
        "model.hidden": (
            ["256", [0], [1.5], [True], 256, None],
            [[], [1, 1024]],
            "a list of widths, whole numbers of 1",
        ),
        "model.batch_norm": TRUTH,
        "model.dropout": SHARE,
        "model.label_smoothing": SHARE,
        "model.class_weights": TRUTH,
        "model.weights": OPTIONAL_TEXT,
        "model.new_head": TRUTH,
        "optimizer.lr": POSITIVE,
        "optimizer.weight_decay": AT_LEAST_0,
        "optimizer.momentum": SHARE,
        "trainer.max_epochs": FROM_1,
        "trainer.accelerator": TEXT,
        "trainer.devices": ([1.5, None, ["0"]], [1, -1, "1,2", [0, 1]], "a number of devices, a list of their"),
        "trainer.precision": ([1.5, None, ["x"]], ["auto", 16, "bf16-mixed"], "auto, or one of Lightning's precisions"),
        "trainer.deterministic": (["x", 1, None], [True, False, "warn"], "true, false or warn"),
        "trainer.gradient_clip_val": ([-1, "x", True], [0, 1.5, None], "a number of at least 0, or null"),
        "trainer.accumulate_grad_batches": FROM_1,
        **{f"trainer.{name}": ([1, "x"], [True, False, None], "true, false or null") for name in TRAINER},
        "trainer.gradient_clip_algorithm": (["x", 1], ["norm", "value", None], "'norm' or 'value'"),
        "trainer.limit_train_batches": BATCHES,
        "trainer.limit_val_batches": BATCHES,
        "trainer.max_steps": ([-2, 0, 1.5], [-1, 10, None], "a whole number of 1 or more, or -1"),
        "trainer.max_time": ([3, [1]], ["00:01:00:00", {"hours": 3}, None], "a time such as 00:12:00:00"),
        "trainer.min_epochs": FROM_0_OR_NULL,
        "trainer.min_steps": FROM_0_OR_NULL,
        "trainer.num_nodes": FROM_1_OR_NULL,
        "trainer.profiler": (["x", 1], ["simple", "advanced", "pytorch", None], "simple, advanced, pytorch"),
        "trainer.strategy": (["fsdp", 1], ["auto", "ddp", None], "auto, ddp or null"),
    },
    "evaluate": {
        "checkpoint": ([None, "", [], [""], 3], ["a.ckpt", ["a.ckpt", "b.ckpt"]], "a checkpoint, or several as in"),
        "split": (["training", None], ["train", "val", "test"], "'train', 'val' or 'test'"),
        "tta": (["mirror", None, True], ["none", "flip", "tencrop"], "'none', 'flip' or 'tencrop'"),
        "temperature": ([0, -1, "test", True], ["val", 0.5, 3, None], "val, a number above 0, or null"),
        "compare": ([3, ["x"]], ["x", None], "the path of an evaluation.json, or null"),
        "device": (["gpu", 0, None], ["auto", "cpu", "cuda"], "'auto', 'cpu' or 'cuda'"),
    },
    "visualize": {
        "checkpoint": ([None, ["x"], 3], ["a.ckpt"], "a checkpoint such as runs/R/checkpoints/best.ckpt"),
        "layer": OPTIONAL_TEXT,
        "channel": FROM_0_OR_NULL,
        "images": FROM_1,
        "data.path": OPTIONAL_TEXT,
        "data.cache_dir": OPTIONAL_TEXT,
        "dream.start": (["joy", None], ["own", "angry", "neutral"], "'own', 'angry', 'disgust'"),
        "dream.octaves": ([0, 6, None], [1, 5], "a whole number from 1 to 5"),
        "dream.steps": FROM_1,
        "dream.rate": POSITIVE,
        "dream.jitter": ([-1, 17, None], [0, 16], "a whole number from 0 to 16"),
        "dream.smoothness": AT_LEAST_0,
    },
    "audit": {
        "threshold": ([0, 1.01, "x", None], [0.001, 1], "a number above 0, at most 1"),
        "pages": FROM_0_OR_NULL,
    },
    "search": {
        "n_trials": FROM_1,
        "workers": ([0, -1, 1.5, "all", True, None], ["auto", 1, 8], "auto or a whole number of 1 or more"),
        "jobs": FROM_1,
        "objectives": ([[], ["f1"], "loss", None], [["loss"], ["macro_f1"]], ""),
        "sampler": (
            ["tpee", None],
            ["tpe", "random", "grid", "gp", "cmaes"],
            "'tpe', 'random', 'grid', 'gp' or 'cmaes'",
        ),
        "pruner": (["off", None], ["none", "wilcoxon", "median", "hyperband"], "'none', 'wilcoxon', 'median' or"),
        "pruner_options": (["x", None, [1]], [{}, {"p_threshold": 0.2}], ""),
        "seed": FROM_0,
        "retries": FROM_0,
        "refit": TRUTH,
        "storage": TEXT,
        "study_name": OPTIONAL_TEXT,
        "first": (["x", None, [1]], [[], [{"optimizer.lr": 0.1}]], ""),
        "params": (["x", None, [1]], [{}, {"optimizer.lr": "range(3)"}], ""),
        "trial": (["x", 1.5], [3, None], ""),
    },
}
"""For each command and key: values that are refused, values that are taken, part of the message."""

OF_OTHER_CHOICES: dict[str, tuple[str, tuple[list[Any], list[Any], str]]] = {
    "data.check_counts": ("data=fer2013", TRUTH),
    "data.download": ("data=ferplus", TRUTH),
    "data.votes": ("data=ferplus", OPTIONAL_TEXT),
    "data.labels": (
        "data=fer2013",
        ([3, [1], "there/is/none.yaml", {1: "joy"}, {"a": 3}], [None, {1: "surprise", "contempt": None}], ""),
    ),
    "data.soft": ("data=ferplus", TRUTH),
    "model.input": ("model=fc", (["hogg", None], ["hog", "pixels"], "'hog' or 'pixels'")),
    "optimizer.betas": (
        "optimizer=adam",
        ([[0.9], [0.9, 1], [0.9, 0.9, 0.9], 0.9, None], [[0, 0.5]], "two numbers of at least 0 and below 1"),
    ),
    "optimizer.sgd_lr": ("optimizer=muon", ([0, -1, "x", None], [0.5], "a number above 0")),
    "schedule.patience": ("schedule=plateau", FROM_1),
    "logger.experiment": ("logger=mlflow", TEXT),
    "logger.tracking_uri": ("logger=mlflow", OPTIONAL_TEXT),
    "logger.project": ("logger=wandb", TEXT),
    "logger.offline": ("logger=wandb", TRUTH),
}
TAGS = {"data.name", "model.kind", "optimizer.name", "schedule.name", "logger.name"}


def assert_range(
    model: type[Settings], given: dict[str, Any], key: str, bad: list[Any], good: list[Any], said: str
) -> None:
    for value in good:
        assert flatten(dump(parse(model, put(given, key, value)))) == flatten(put(given, key, value))
    for value in [*bad, math.nan, math.inf, -math.inf]:
        with pytest.raises(InputError) as refused:
            parse(model, put(given, key, value))
        message = str(refused.value)
        assert message.startswith((f"{key}=", f"{key}[", f"{key}.")), message
        assert f"expected {said}" in message, message
        assert "\n" not in message


@pytest.mark.parametrize(("command", "key"), [(command, key) for command, keys in RANGES.items() for key in keys])
def test_what_is_outside_of_a_range_is_refused_and_its_ends_are_not(command, key, values):
    bad, good, said = RANGES[command][key]
    model = COMMANDS[command][0] if command in COMMANDS else SearchSettings
    assert_range(model, values[command], key, bad, good, said)


@pytest.mark.parametrize("key", OF_OTHER_CHOICES)
def test_so_are_the_ranges_of_other_choices(key):
    choice, (bad, good, said) = OF_OTHER_CHOICES[key]
    assert_range(TrainSettings, composed("config", choice), key, bad, good, said)


def test_the_tables_of_ranges_hold_every_field(values):
    fields = {key for choice in CHOICES for key in flatten(composed("config", choice))}
    fields |= {f"trainer.{name}" for name in TrainerSettings.model_fields}
    assert fields == {*RANGES["config"], *OF_OTHER_CHOICES, *TAGS, "model.conv"}
    for name in ("evaluate", "visualize", "audit", "search"):
        own = {key for key in values[name] if key not in ("data", "dream")}
        assert own <= set(RANGES[name]), name


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            [{"filter": 8}],
            r"model.conv[0].filter: no such setting. Did you mean filters? Keys: filters, kernel, stride",
        ),
        ([{"kernel": 3}], "model.conv[0].filters is missing"),
        ([{"filters": 8}, {"filters": 0}], "model.conv[1].filters=0: expected a whole number of 1 or more"),
        ([{"filters": 8, "kernel": 0}], "model.conv[0].kernel=0: expected a whole number of 1 or more"),
        ([{"filters": 8, "stride": 0}], "model.conv[0].stride=0: expected a whole number of 1 or more"),
        ([{"filters": 8, "padding": -1}], "model.conv[0].padding=-1: expected a whole number of 0 or more, or null"),
        ([{"filters": 8, "pool": 0}], "model.conv[0].pool=0: expected a whole number of 1 or more"),
        ([{"filters": 8, "batch_norm": 1}], "model.conv[0].batch_norm=1: expected true or false"),
        ([{"filters": 8, "dropout": 1.0}], "model.conv[0].dropout=1.0: expected a number of at least 0 and below 1"),
        ([32, 64], "model.conv[0]=32: expected a group of settings"),
        ([], "model.conv=[]: expected a list of at least 1"),
        (7, "model.conv=7: expected a list"),
    ],
)
def test_a_conv_layer_that_is_none_is_told_by_its_place(layers, said, values):
    with pytest.raises(InputError) as refused:
        parse(TrainSettings, put(values["config"], "model.conv", layers))
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "optimizer.lrr",
            0.1,
            "optimizer.lrr: no such setting. Did you mean lr? Keys: lr, weight_decay, name, momentum",
        ),
        ("optimizr", {}, "optimizr: no such setting. Did you mean optimizer? Keys: data, model"),
        ("data.augment.flp", 1, "data.augment.flp: no such setting. Did you mean flip? Keys: flip, shift"),
        ("data.hog.orient", 1, "data.hog.orient: no such setting. Did you mean orientations? Keys: orientations"),
        (
            "trainer.epochs",
            3,
            "trainer.epochs: no such setting. Did you mean max_epochs or min_epochs? Keys: max_epochs",
        ),
        ("model.input", "hog", "model.input: no such setting. Keys: name, hidden"),
        (
            "optimizer.name",
            "adma",
            "optimizer.name='adma': No such choice. Did you mean adam? Choices: sgd, adam, adamw, muon",
        ),
        ("schedule.name", "cosin", "schedule.name='cosin': No such choice. Did you mean cosine? Choices: constant"),
        ("model.kind", "hybird", "model.kind='hybird': No such choice. Did you mean hybrid? Choices: conv, hybrid, fc"),
        ("data", None, "data=null: expected a group of settings"),
        ("data", "fer2013", "data=fer2013: expected a group of settings"),
        ("data", {}, "data.name is missing"),
        ("draw", {"every": 1}, "draw.share is missing"),
        ("ema", 0.9, "ema=0.9: expected a group of settings"),
        ("cv", None, "cv=null: expected a group of settings"),
        ("model._target_", "os.system", "model._target_: settings are values; nothing here is built from a _target_"),
        (3, 4, "3: no such setting"),
    ],
)
def test_an_unknown_key_or_choice_is_told_with_near_misses_and_what_is_valid(key, value, said, values):
    given = put(values["config"], key, value) if isinstance(key, str) else {**values["config"], key: value}
    with pytest.raises(InputError) as refused:
        parse(TrainSettings, given)
    assert str(refused.value).startswith(said)


def test_a_key_that_is_missing_is_told(values):
    given = {key: value for key, value in values["config"].items() if key != "seed"}
    with pytest.raises(InputError, match=r"^somewhere: seed is missing$"):
        parse(TrainSettings, given, prefix="somewhere: ")


def test_settings_nested_without_end_are_refused(values):
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InputError, match="settings are nested too deep"):
        parse(TrainSettings, put(values["config"], "ema", deep))


@pytest.mark.parametrize("name", [*COMMANDS, "search"])
def test_settings_are_frozen_at_every_level(name, values):
    def frozen(settings: Settings) -> None:
        for field in type(settings).model_fields:
            with pytest.raises(pydantic.ValidationError, match="frozen"):
                setattr(settings, field, None)
            if isinstance(value := getattr(settings, field), Settings):
                frozen(value)

    frozen(parse(COMMANDS[name][0] if name in COMMANDS else SearchSettings, values[name]))


def test_whole_numbers_are_taken_as_numbers_but_nothing_else_is_converted(values):
    settings = parse(TrainSettings, put(values["config"], "optimizer.lr", 1))
    assert settings.optimizer.lr == 1
    assert parse(TrainSettings, dump(settings)) == settings


@pytest.mark.parametrize(
    "data", [None, 3, "x", [1], {"name": ["synthetic"]}, {"name": "x"}, {"name": None}, {"pth": 1}]
)
def test_the_faces_of_visualize_are_checked_whether_they_have_a_name_or_not(data, values):
    with pytest.raises(InputError, match=r"^data"):
        parse(VisualizeSettings, put(values["visualize"], "data", data))
