"""Every setting with its range, as frozen pydantic models: the one validator, wherever settings come from.

Defaults and comments stand in conf/*.yaml alone. A command's composed config must hold every key; settings kept in a
file (checkpoint, card, study) may lack keys that are newer than the file, which then have the default of conf/.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, WrapValidator
from pydantic_core import ErrorDetails, PydanticCustomError

from fer_lightning.errors import InputError, near_misses

_PACKAGE = Path(__file__).resolve().parent
CONF = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())
"""The config tree: inside an installed package, beside it in a checkout."""

VERSION = 2
"""Of the settings kept in files. 1 (files without a version): networks took normalised pictures, see weight_files."""

MAY_CHANGE = frozenset({"resume", "checkpoint_minutes", "data.path", "data.votes", "data.cache_dir", "draw", "logger"})
"""Settings, or groups of them, that do not change what is trained: they may differ when something is resumed."""


def expected(words: str, holds: Callable[[Any], bool] = lambda value: True) -> WrapValidator:
    """Validator whose message is `expected {words}`, for a wrong type as for a value that `holds` refuses."""

    def check(value: Any, validate: Callable[[Any], Any]) -> Any:
        try:
            valid = validate(value)
            if holds(valid):
                return valid
        except ValidationError:
            pass
        raise PydanticCustomError("expected", "expected {words}", {"words": words})  # type: ignore[misc]

    return WrapValidator(check)


def whole(least: int, most: float = math.inf, null: bool = False) -> WrapValidator:
    """A whole number between two bounds, both included; with `null`, None too."""
    words = f"a whole number of {least} or more" if most == math.inf else f"a whole number from {least} to {most}"
    return expected(words + ", or null" * null, lambda value: value is None or least <= value <= most)


def number(
    least: float = 0, most: float = math.inf, below: float = math.inf, above: bool = False, null: bool = False
) -> WrapValidator:
    """A number from `least` (above it with `above`) to `most`, or to below `below`; with `null`, None too."""
    words = f"a number {'above' if above else 'of at least'} {least:g}"
    words = f"a number from {least:g} to {most:g}" if most < math.inf and not above else words
    words += f", at most {most:g}" if most < math.inf and above else ""
    words += f" and below {below:g}" if below < math.inf else ""

    def holds(value: Any) -> bool:
        return value is None or (
            math.isfinite(value) and (value > least if above else value >= least) and value <= most and value < below
        )

    return expected(words + ", or null" * null, holds)


Seed: TypeAlias = Annotated[int, whole(0, 2**32 - 1)]
Switch: TypeAlias = Annotated[bool, expected("true or false")]
Text: TypeAlias = Annotated[str, expected("text")]
OptionalText: TypeAlias = Annotated[str | None, expected("text, or null")]


class Settings(BaseModel):
    """Strict and frozen: no conversion of types, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class HogSettings(Settings):
    """Histograms of oriented gradients, as `hog.hog` takes them."""

    orientations: Annotated[int, whole(1, 18)]
    pixels_per_cell: Annotated[int, whole(1, 48)]
    cells_per_block: Annotated[int, whole(1, 48)]
    block_norm: Literal["L1", "L1-sqrt", "L2", "L2-Hys"]


class AugmentSettings(Settings):
    """What is done to a training batch; 0 leaves an operation out."""

    flip: Annotated[float, number(0, 1)]
    shift: Annotated[float, number(0, 24)]
    rotate: Annotated[float, number(0, 180)]
    scale: Annotated[float, number(0, 0.9)]
    erase: Annotated[float, number(0, 1)]
    mixup: Annotated[float, number(0, 100)]

    @property
    def warps(self) -> bool:
        """Whether pictures change in another way than by flipping, so that cached HOG features no longer hold."""
        return any((self.shift, self.rotate, self.scale, self.erase, self.mixup))


class InputSettings(Settings):
    """What a network makes of a face before its first layer."""

    channels: Annotated[int, expected("1 or 3", lambda value: value in (1, 3))]
    size: Annotated[int, whole(8, 512)]
    hog: HogSettings


class _Data(InputSettings):
    path: OptionalText
    cache_dir: OptionalText
    batch_size: Annotated[int, whole(2)]
    unique: Switch
    augment: AugmentSettings

    @property
    def inputs(self) -> InputSettings:
        return InputSettings(channels=self.channels, size=self.size, hog=self.hog)


class SyntheticData(_Data):
    """conf/data/synthetic.yaml"""

    name: Literal["synthetic"]
    images: Annotated[int, whole(70)]
    seed: Seed
    label_noise: Annotated[float, number(0, below=1)]


class Fer2013Data(_Data):
    """conf/data/fer2013.yaml"""

    name: Literal["fer2013"]
    check_counts: Switch
    download: Switch


class FerPlusData(_Data):
    """conf/data/ferplus.yaml"""

    name: Literal["ferplus"]
    check_counts: Switch
    download: Switch
    votes: OptionalText
    soft: Switch


DataSettings: TypeAlias = Annotated[SyntheticData | Fer2013Data | FerPlusData, Field(discriminator="name")]


class ConvLayer(Settings):
    """One conv layer of `model.conv`; sizes in pixels. padding None keeps the size (odd kernel, stride 1)."""

    filters: Annotated[int, whole(1)]
    kernel: Annotated[int, whole(1)] = 3
    stride: Annotated[int, whole(1)] = 1
    padding: Annotated[int | None, whole(0, null=True)] = None
    pool: Annotated[int, whole(1)] = 1
    batch_norm: Switch = True
    dropout: Annotated[float, number(0, below=1)] = 0.0


Widths: TypeAlias = Annotated[
    list[Annotated[int, whole(1)]], expected("a list of widths, whole numbers of 1 or more, such as [256,512]")
]


class _Model(Settings):
    name: Text
    hidden: Widths
    batch_norm: Switch
    dropout: Annotated[float, number(0, below=1)]
    label_smoothing: Annotated[float, number(0, below=1)]
    class_weights: Switch


class ConvModel(_Model):
    """Conv layers, then hidden layers; kind hybrid puts the HOG vector beside the conv features."""

    kind: Literal["conv", "hybrid"]
    conv: Annotated[list[ConvLayer], Field(min_length=1)]


class FullyConnectedModel(_Model):
    """conf/model/fc.yaml: hidden layers alone, on HOG or on pixels."""

    kind: Literal["fc"]
    input: Literal["hog", "pixels"]


ModelSettings: TypeAlias = Annotated[ConvModel | FullyConnectedModel, Field(discriminator="kind")]


class _Optimizer(Settings):
    lr: Annotated[float, number(0, above=True)]
    weight_decay: Annotated[float, number(0)]


class SgdSettings(_Optimizer):
    """conf/optimizer/sgd.yaml"""

    name: Literal["sgd"]
    momentum: Annotated[float, number(0, below=1)]


class AdamSettings(_Optimizer):
    """conf/optimizer/adam.yaml and adamw.yaml"""

    name: Literal["adam", "adamw"]
    betas: Annotated[
        list[Annotated[float, number(0, below=1)]],
        expected("two numbers of at least 0 and below 1, as in [0.9,0.999]", lambda value: len(value) == 2),
    ]


OptimizerSettings: TypeAlias = Annotated[SgdSettings | AdamSettings, Field(discriminator="name")]


class ScheduleSettings(Settings):
    """A learning-rate schedule that is a function of the progress through the run."""

    name: Literal["constant", "cosine", "one_cycle", "linear", "steps"]


class PlateauSettings(Settings):
    """conf/schedule/plateau.yaml"""

    name: Literal["plateau"]
    patience: Annotated[int, whole(1)]


AnySchedule: TypeAlias = Annotated[ScheduleSettings | PlateauSettings, Field(discriminator="name")]


class TrainerSettings(Settings):
    """Lightning's own arguments. Those without a default in conf/trainer are passed on where they are given."""

    max_epochs: Annotated[int, whole(1)]
    accelerator: Text
    devices: Annotated[int | str | list[int], expected("a number of devices, a list of their numbers, or auto")]
    precision: Annotated[int | str, expected("auto, or one of Lightning's precisions, such as 32-true or bf16-mixed")]
    deterministic: Annotated[bool | Literal["warn"], expected("true, false or warn")]
    gradient_clip_val: Annotated[float | None, number(0, null=True)]
    accumulate_grad_batches: Annotated[int, whole(1)]
    benchmark: bool | None = None
    check_val_every_n_epoch: int | None = None
    detect_anomaly: bool | None = None
    fast_dev_run: int | bool | None = None
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    log_every_n_steps: int | None = None
    max_steps: int | None = None
    max_time: str | dict[str, int] | None = None
    min_epochs: int | None = None
    min_steps: int | None = None
    num_nodes: int | None = None
    overfit_batches: int | float | None = None
    profiler: str | None = None
    strategy: str | None = None
    sync_batchnorm: bool | None = None
    use_distributed_sampler: bool | None = None
    val_check_interval: int | float | str | dict[str, int] | None = None
    inference_mode: bool | None = None


class LocalLogger(Settings):
    """conf/logger/tensorboard.yaml and csv.yaml"""

    name: Literal["tensorboard", "csv"]


class MlflowLogger(Settings):
    """conf/logger/mlflow.yaml"""

    name: Literal["mlflow"]
    experiment: Text
    tracking_uri: OptionalText


class WandbLogger(Settings):
    """conf/logger/wandb.yaml"""

    name: Literal["wandb"]
    project: Text
    offline: Switch


LoggerSettings: TypeAlias = Annotated[LocalLogger | MlflowLogger | WandbLogger, Field(discriminator="name")]


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
    checkpoint_minutes: Annotated[float | None, number(0, null=True)]
    early_stopping: EarlyStoppingSettings
    ema: EmaSettings
    draw: DrawSettings
    cv: CrossValidationSettings


class EvaluateSettings(Settings):
    """conf/evaluate.yaml"""

    DATA_KEYS: ClassVar = {"path", "votes", "cache_dir", "check_counts", "download", "images", "seed", "label_noise"}
    """Keys of `data` that have an effect: size, channels and HOG are the checkpoint's, and nothing is augmented."""

    data: DataSettings
    checkpoint: Annotated[
        str | list[str],
        expected("a checkpoint, or several as in '[a.ckpt,b.ckpt]'", lambda value: bool(value) and all(value)),
    ]
    split: Literal["train", "val", "test"]
    tta: Literal["none", "flip", "tencrop"]
    temperature: Annotated[
        float | Literal["val"] | None,
        expected("val, a number above 0, or null", lambda value: value in (None, "val") or value > 0),
    ]
    compare: Annotated[str | None, expected("the path of an evaluation.json, or null")]
    device: Literal["auto", "cpu", "cuda"]


class AuditSettings(Settings):
    """conf/audit.yaml"""

    DATA_KEYS: ClassVar = {"path", "cache_dir", "check_counts", "download", "images", "seed", "label_noise"}
    """Keys of `data` that have an effect: every image is looked at as it stands in the source."""

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

    path: OptionalText
    cache_dir: OptionalText


class VisualizeSettings(Settings):
    """conf/visualize.yaml"""

    checkpoint: Annotated[str, expected("a checkpoint such as runs/R/checkpoints/best.ckpt")]
    layer: OptionalText
    channel: Annotated[int | None, whole(0, null=True)]
    images: Annotated[int, whole(1)]
    data: Annotated[
        Annotated[SyntheticData, Tag("synthetic")]
        | Annotated[Fer2013Data, Tag("fer2013")]
        | Annotated[FerPlusData, Tag("ferplus")]
        | Annotated[DataPlaces, Tag("places")],
        Discriminator(lambda data: data.get("name", "places") if isinstance(data, dict) else None),
    ]
    dream: DreamSettings


class SearchSettings(Settings):
    """conf/hydra/sweeper/study.yaml"""

    n_trials: Annotated[int, whole(1)]
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


class NetworkSettings(Settings):
    """What a checkpoint or a card says of its network: how to build it, and what it makes of a face."""

    model: ModelSettings
    inputs: InputSettings


class DataOnly(Settings):
    """What a checkpoint or a card says of the data that it was trained with."""

    data: DataSettings


S = TypeVar("S", bound=Settings)


def parse(model: type[S], values: Mapping[Any, Any], prefix: str = "") -> S:
    """Plain values as a settings model. Raises InputError with the key, the value, and what would be valid."""
    if targets := [key for key in flatten(values) if key.rpartition(".")[2] == "_target_"]:
        raise InputError(f"{prefix}{targets[0]}: settings are values; nothing here is built from a _target_")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(prefix + _message(model, error.errors()[0])) from None


def _message(model: type[Settings], error: ErrorDetails) -> str:
    """`optimizer.lr=-1: expected a number above 0`, from one of pydantic's errors."""
    key, siblings = _place(model, error["loc"])
    given = error["input"]
    match error["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key}: no such setting.{near_misses(error['loc'][-1], siblings)} Keys: {', '.join(siblings)}"
        case "union_tag_invalid" | "union_tag_not_found":
            tag = error["ctx"]["discriminator"].strip("'") if "(" not in error["ctx"]["discriminator"] else "name"
            if isinstance(given, Mapping):
                valid = error["ctx"].get("expected_tags", "").replace("'", "")
                hint = f" No such choice.{near_misses(given.get(tag), valid.split(', '))} Choices: {valid}"
                return f"{key}.{tag}={given[tag]!r}:{hint}" if tag in given else f"{key}.{tag} is missing"
    if error["type"] in ("model_type", "model_attributes_type", "dict_type") or "union_tag" in error["type"]:
        return f"{key}={'null' if given is None else given}: expected a group of settings"
    if error["type"] == "too_short":
        return f"{key}={given!r}: expected a list of at least {error['ctx']['min_length']}"
    return f"{key}={given!r}: {error['msg'].replace('Input should be', 'expected').replace('valid ', '')}"


def _place(model: type[Settings], location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """The dotted key of pydantic's location, and the keys that are valid beside it."""
    key, options, fields = "", [model], list(model.model_fields)
    for place in location:
        if isinstance(place, int):
            key += f"[{place}]"
        elif len(options) > 1:  # not a key, but which of several models was tried
            options = [option for option in options if place in _tags(option)] or options[:1]
        else:
            key += f".{place}" if key else place
            fields = list(options[0].model_fields) if options else []
            field = options[0].model_fields.get(place) if options else None
            options = _models(field.annotation) if field else []
    return key, fields


def _models(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _tags(model: type[Settings]) -> list[str]:
    names = [model.model_fields[name].annotation for name in ("name", "kind") if name in model.model_fields]
    return [tag for annotation in names for tag in get_args(annotation)] or ["places"]


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys: {"optimizer": {"lr": 0.1}} is {"optimizer.lr": 0.1}."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        leaves.update(flatten(value, f"{key}.") if isinstance(value, Mapping) and value else {key: value})
    return leaves


def dump(settings: Settings) -> dict[str, Any]:
    """Plain values of some settings, as `parse` takes them; Lightning's arguments only where they were given."""
    return settings.model_dump(exclude_unset=True)


def restore(model: type[S], values: Mapping[str, Any], version: int, where: str) -> S:
    """Settings that a file keeps, written by this version of the project or an earlier one.

    version: VERSION of the time when it was written. Keys that the file lacks get their default. Raises InputError,
    beginning with `where`, for anything that `parse` refuses.
    """
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise InputError(f"{where}: its settings have version {version!r}; this program reads 1 to {VERSION}")
    filled = _merge(_yaml(CONF / "config.yaml"), values) if model is TrainSettings else dict(values)
    for group in {"data", "model", "optimizer", "schedule", "trainer", "logger"} & filled.keys():
        if isinstance(given := filled[group], Mapping):
            filled[group] = _merge(defaults(group, given.get("name", "default")), given)
    return parse(model, filled, f"{where}: ")


def defaults(group: str, name: object) -> dict[str, Any]:
    """What conf/GROUP/NAME.yaml sets, what it inherits included; what all choices share for a name of the user's own."""
    names = {file.stem for file in (CONF / group).glob("*.yaml")}
    if name in names:
        return _yaml(CONF / group / f"{name}.yaml")
    return _yaml(shared) if (shared := CONF / "common" / f"{group}.yaml").exists() else {}


@cache
def _yaml(file: Path) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    parents = content.pop("defaults", [])
    merged: dict[str, Any] = {}
    for parent in parents if file.parent != CONF else ():
        if parent != "_self_":
            place = CONF / parent.removeprefix("/").removesuffix("@_here_") if "/" in parent else file.parent / parent
            merged = _merge(merged, _yaml(place.with_suffix(".yaml")))
    content.pop("hydra", None)
    return _merge(merged, content)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def require_same(before: Settings, now: Settings, what: str, may_change: frozenset[str] = MAY_CHANGE) -> None:
    """Raise InputError where settings differ that must not between what is resumed and this command.

    what: the thing that is resumed, as `the run in runs/mine`. may_change: keys, and groups by their name.
    """
    was, becomes = flatten(dump(before)), flatten(dump(now))
    for key in sorted(was.keys() | becomes.keys()):
        parts = key.split(".")
        free = any(".".join(parts[:length]) in may_change for length in range(1, len(parts) + 1))
        if not free and was.get(key) != becomes.get(key):
            raise InputError(
                f"{key} was {was.get(key)!r} in {what} and is {becomes.get(key)!r} now. "
                "Give the same settings, or another folder"
            )
