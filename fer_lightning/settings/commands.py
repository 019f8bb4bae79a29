"""The settings of each command, and of a search; conf/*.yaml and conf/hydra/sweeper/study.yaml say what a key means."""

# ruff: noqa: D101

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from fer_lightning.settings.groups import (
    LEAST_SIDE,
    OPEN_ENDED,
    AnySchedule,
    DataSettings,
    Fer2013Data,
    FerPlusData,
    FilePath,
    FinetuneSettings,
    InputSettings,
    LoggerSettings,
    ModelSettings,
    OptimizerSettings,
    OptionalText,
    Seed,
    Switch,
    SyntheticData,
    Text,
)
from fer_lightning.settings.trainer_arguments import ONE_DEVICE, TrainerSettings
from fer_lightning.settings.validation import IS_PATH, Settings, conflict, expected, number, whole


def require_size(model: ModelSettings, size: int, key: str = "size") -> None:
    """Raise the error of a validator where a backbone's layers leave nothing of a picture of this size."""
    if size < (least := LEAST_SIDE.get(model.kind, 0)):
        remedy = "Give data.size=96" if key == "size" else "Leave the smaller ones out"
        raise conflict(f"data.{key}={size}: {model.kind} takes pictures of {least} pixels or more. {remedy}")


class EarlyStoppingSettings(Settings):
    patience: Annotated[int | None, whole(1, null=True)]


class EmaSettings(Settings):
    decay: Annotated[float, number(0, below=1)]


class DrawSettings(Settings):
    every: Annotated[int, whole(0)]
    share: Annotated[float, number(0)]
    deepdream: Switch
    embedding: Annotated[int, whole(0)]


class CrossValidationSettings(Settings):
    folds: Annotated[
        int, expected("0 (off) or a whole number from 2 to 100", lambda value: value == 0 or 2 <= value <= 100)
    ]
    seed: Seed
    workers: Annotated[
        int | Literal["auto"],
        expected("auto or a whole number of 1 or more", lambda value: value == "auto" or value >= 1),
    ]


class TrainSettings(Settings):
    """conf/config.yaml: everything that a training run is told."""

    data: DataSettings
    model: ModelSettings
    optimizer: OptimizerSettings
    schedule: AnySchedule
    trainer: TrainerSettings
    logger: LoggerSettings
    seed: Seed
    resume: Switch
    memory_format: Literal["auto", "channels_last", "contiguous"]
    compile: Annotated[bool | Literal["auto"], expected("auto, true or false")]
    checkpoint_minutes: Annotated[float | None, number(0, null=True)]
    early_stopping: EarlyStoppingSettings
    ema: EmaSettings
    finetune: FinetuneSettings
    draw: DrawSettings
    cv: CrossValidationSettings

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.cv.folds and not self.trainer.has_one_device:
            nodes = f" trainer.num_nodes={self.trainer.num_nodes}" * (self.trainer.num_nodes not in (None, 1))
            raise conflict(f"trainer.devices={self.trainer.devices}{nodes}: {ONE_DEVICE}")
        if self.trainer.max_time and self.schedule.name not in OPEN_ENDED:
            raise conflict(
                f"schedule.name={self.schedule.name}: it needs the number of steps, which trainer.max_time leaves "
                f"open. Give trainer.max_epochs or +trainer.max_steps, or schedule={' or '.join(OPEN_ENDED)}"
            )
        if self.data.grow and self.trainer.max_time:
            raise conflict("data.grow: it needs the number of epochs, which trainer.max_time leaves open")
        if self.data.grow and self.model.kind == "fc":
            raise conflict(f"data.grow: model={self.model.name} has no conv layers, and takes pictures of one size")
        return self

    @model_validator(mode="after")
    def _layers_can_be_trained_so(self) -> Self:
        require_size(self.model, self.data.size)
        if self.data.grow:
            require_size(self.model, min(self.data.grow), "grow")
        kind, finetune = self.model.kind, self.finetune
        if kind == "fc" and (finetune.head_epochs or finetune.layer_decay < 1):
            raise conflict("finetune: the layers of fc are all of its head. Give head_epochs=0 and layer_decay=1")
        if kind in ("fc", "alexnet", "vgg16") and finetune.norm != "train":
            raise conflict(f"finetune.norm={finetune.norm}: {kind} has no batch normalisation below its head")
        if finetune.head_epochs and not self.trainer.has_one_device:
            raise conflict("finetune.head_epochs: on one device alone. Give head_epochs=0, or trainer.devices=1")
        return self

    @model_validator(mode="after")
    def _folds_keep_their_images_apart(self) -> Self:
        if self.cv.folds and self.data.soft_labels:
            raise conflict(
                "cv.folds: not with data.soft_labels, whose predictions come from networks that were trained on the "
                "images that a fold validates. Give one of the two"
            )
        return self


class EvaluateSettings(Settings):
    DATA_KEYS = {"path", "labels", "votes", "cache_dir", "check_counts", "download", "images", "seed", "label_noise"}
    """Size, channels and HOG are the checkpoint's, and nothing is augmented."""

    data: DataSettings
    checkpoint: Annotated[
        str | list[str],
        expected("a checkpoint, or several as in '[a.ckpt,b.ckpt]'", lambda value: bool(value) and all(value)),
        IS_PATH,
    ]
    split: Literal["train", "val", "test"]
    tta: Literal["none", "flip", "tencrop"]
    temperature: Annotated[
        float | Literal["val"] | None,
        expected("val, a number above 0, or null", lambda value: value in (None, "val") or value > 0),
    ]
    compare: Annotated[str | None, expected("the path of an evaluation.json, or null"), IS_PATH]
    device: Literal["auto", "cpu", "cuda"]


class AuditSettings(Settings):
    DATA_KEYS = {
        "path", "labels", "cache_dir", "check_counts", "download", "images", "seed", "label_noise", "channels", "size",
    }  # fmt: skip
    """Every image is looked at as `channels` and `size` have it, before augmentation."""

    data: DataSettings
    threshold: Annotated[float, number(0, 1, above=True)]
    pages: Annotated[int | None, whole(0, null=True)]


class DreamSettings(Settings):
    """How `figures.deepdream.dream` changes a face. start: an emotion's name, or own (one face of each)."""

    start: Literal["own", "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    octaves: Annotated[int, whole(1, 5)]
    steps: Annotated[int, whole(1)]
    rate: Annotated[float, number(0, above=True)]
    jitter: Annotated[int, whole(0, 16)]
    smoothness: Annotated[float, number(0)]


class DataPlaces(Settings):
    """Where the data of a checkpoint's training is now; None: where it was."""

    path: FilePath
    cache_dir: FilePath


class VisualizeSettings(Settings):
    checkpoint: Annotated[str, expected("a checkpoint such as runs/R/checkpoints/best.ckpt"), IS_PATH]
    layer: OptionalText
    channel: Annotated[int | None, whole(0, null=True)]
    images: Annotated[int, whole(1)]
    data: Annotated[
        Annotated[SyntheticData, Tag("synthetic")]
        | Annotated[Fer2013Data, Tag("fer2013")]
        | Annotated[FerPlusData, Tag("ferplus")]
        | Annotated[DataPlaces, Tag("places")],
        Discriminator(
            lambda data: str(data.get("name", "places") if isinstance(data, dict) else getattr(data, "name", "places"))
        ),
    ]
    dream: DreamSettings


class SearchSettings(Settings):
    n_trials: Annotated[int, whole(1)]
    workers: Annotated[
        int | Literal["auto"],
        expected("auto or a whole number of 1 or more", lambda value: value == "auto" or value >= 1),
    ]
    jobs: Annotated[int, whole(1)]
    objectives: Annotated[
        list[Literal["accuracy", "macro_f1", "loss", "parameters", "latency", "seconds"]], Field(min_length=1)
    ]
    sampler: Literal["tpe", "random", "grid", "gp", "cmaes"]
    pruner: Literal["none", "wilcoxon", "median", "hyperband"]
    pruner_options: dict[str, Any]
    seed: Annotated[int, whole(0)]
    retries: Annotated[int, whole(0)]
    refit: Switch
    storage: Text
    study_name: OptionalText
    first: list[dict[str, Any]]
    params: dict[str, Any]
    trial: int | None

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.jobs > 1 and self.workers not in ("auto", 1):
            raise conflict(
                f"workers={self.workers}: each takes one trial at a time; with hydra.sweeper.jobs leave it at auto"
            )
        several, score = len(self.objectives) > 1, self.objectives[0] in ("accuracy", "macro_f1", "loss")
        if several and self.pruner != "none":
            raise conflict("objectives: pruning needs a single objective; add hydra.sweeper.pruner=none")
        if not score and self.pruner != "none":
            raise conflict(
                f"objectives={self.objectives}: pruning needs a score of each fold: accuracy, macro_f1 or loss; or add "
                "hydra.sweeper.pruner=none"
            )
        if several and self.sampler == "cmaes":
            raise conflict("sampler=cmaes: for a single objective. For several: tpe, gp, random, grid")
        return self


class NetworkSettings(Settings):
    """What a checkpoint or a card says of its network: how to build it, what it makes of a face, the run's seed."""

    model: ModelSettings
    inputs: InputSettings
    seed: Seed = 0

    @model_validator(mode="after")
    def _picture_is_large_enough(self) -> Self:
        require_size(self.model, self.inputs.size)
        return self


class DataOnly(Settings):
    """What a checkpoint or a card says of the data that it was trained with."""

    data: DataSettings
