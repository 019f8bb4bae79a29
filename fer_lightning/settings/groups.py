"""The settings of each group of conf/ (data, model, optimizer, ...), whose files say what each key means."""

# ruff: noqa: D101

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from fer_lightning.settings.labels import Labels
from fer_lightning.settings.validation import IS_PATH, Settings, conflict, expected, number, whole

Seed: TypeAlias = Annotated[int, whole(0, 2**32 - 1)]
Switch: TypeAlias = Annotated[bool, expected("true or false")]
OptionalSwitch: TypeAlias = Annotated[bool | None, expected("true, false or null")]
Text: TypeAlias = Annotated[str, expected("text")]
OptionalText: TypeAlias = Annotated[str | None, expected("text, or null")]
FilePaths: TypeAlias = Annotated[
    str | list[str] | None,
    expected("a file, or several as in '[a.npz,b.npz]', or null", lambda value: value is None or all(value or [""])),
    IS_PATH,
]
Sides: TypeAlias = Annotated[list[Annotated[int, whole(8, 512)]], expected("a list of sides in pixels, 8 to 512 each")]
FilePath: TypeAlias = Annotated[str | None, expected("text, or null"), IS_PATH]


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
    brightness: Annotated[float, number(0, 1)]
    contrast: Annotated[float, number(0, 1)]
    saturation: Annotated[float, number(0, 1)]
    hue: Annotated[float, number(0, 180)]
    erase: Annotated[float, number(0, 1)]
    mixup: Annotated[float, number(0, 100)]

    @property
    def warps(self) -> bool:
        """Whether pictures change in another way than by flipping, so that cached HOG features no longer hold."""
        return self.recolours or any((self.shift, self.rotate, self.scale, self.erase, self.mixup))

    @property
    def recolours(self) -> bool:
        """Whether values change where they are."""
        return any((self.brightness, self.contrast, self.saturation, self.hue))


class InputSettings(Settings):
    """What a network makes of a face before its first layer."""

    channels: Annotated[int, expected("1 or 3", lambda value: value in (1, 3))]
    size: Annotated[int, whole(8, 512)]
    hog: HogSettings


class _Data(InputSettings):
    path: FilePath
    cache_dir: FilePath
    batch_size: Annotated[int, whole(2)]
    unique: Switch
    train_fraction: Annotated[float, number(0, 1, above=True)]
    soft_labels: FilePaths
    soft_weight: Annotated[float, number(0, 1)]
    grow: Sides
    augment: AugmentSettings

    @model_validator(mode="after")
    def _colours_are_changed_where_there_are_some(self) -> Self:
        for name in ("saturation", "hue"):
            if self.channels == 1 and (value := getattr(self.augment, name)):
                raise conflict(f"data.augment.{name}={value}: grey pictures have no {name}. Give 0, or data.channels=3")
        return self

    @model_validator(mode="after")
    def _pictures_grow_to_their_size(self) -> Self:
        if self.grow and max(self.grow) > self.size:
            raise conflict(f"grow={self.grow}: larger than data.size={self.size}, to which the pictures grow")
        return self

    @property
    def inputs(self) -> InputSettings:
        return InputSettings(channels=self.channels, size=self.size, hog=self.hog)


class SyntheticData(_Data):
    name: Literal["synthetic"]
    images: Annotated[int, whole(70)]
    seed: Seed
    label_noise: Annotated[float, number(0, below=1)]


class Fer2013Data(_Data):
    name: Literal["fer2013"]
    labels: Labels
    check_counts: Switch
    download: Switch


class FerPlusData(_Data):
    name: Literal["ferplus"]
    check_counts: Switch
    download: Switch
    votes: FilePath
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
    weights: FilePath
    new_head: Switch

    @model_validator(mode="after")
    def _weights_exist_for_this_network(self) -> Self:
        if self.weights == IMAGENET and not isinstance(self, BackboneModel):
            raise conflict(f"weights={IMAGENET}: published for {', '.join(LEAST_SIDE)} alone. Give a file, or null")
        return self


class ConvModel(_Model):
    """Conv layers, then hidden layers; kind hybrid puts the HOG vector beside the conv features."""

    kind: Literal["conv", "hybrid"]
    conv: Annotated[list[ConvLayer], Field(min_length=1)]


class FullyConnectedModel(_Model):
    """conf/model/fc.yaml: hidden layers alone, on HOG or on pixels."""

    kind: Literal["fc"]
    input: Literal["hog", "pixels"]


LEAST_SIDE = {"alexnet": 63, "vgg16": 32, "resnet18": 32}
"""Height and width of the smallest picture that each backbone takes, pixels."""

IMAGENET = "imagenet"
"""Value of `model.weights`: the weights that PyTorch publishes."""


class BackboneModel(_Model):
    """conf/model/{alexnet,vgg16,resnet18}.yaml: a published network with a head for expressions."""

    kind: Literal["alexnet", "vgg16", "resnet18"]


ModelSettings: TypeAlias = Annotated[ConvModel | FullyConnectedModel | BackboneModel, Field(discriminator="kind")]


class FinetuneSettings(Settings):
    """How the layers below the head are trained."""

    head_epochs: Annotated[int, whole(0)]
    layer_decay: Annotated[float, number(0, 1, above=True)]
    norm: Literal["train", "statistics", "frozen"]

    @property
    def holds_layers(self) -> bool:
        """Whether some layer is not trained, or not always."""
        return self.head_epochs > 0 or self.norm != "train"


class _Optimizer(Settings):
    lr: Annotated[float, number(0, above=True)]
    weight_decay: Annotated[float, number(0)]


class SgdSettings(_Optimizer):
    name: Literal["sgd"]
    momentum: Annotated[float, number(0, below=1)]


class AdamSettings(_Optimizer):
    name: Literal["adam", "adamw"]
    betas: Annotated[
        list[Annotated[float, number(0, below=1)]],
        expected("two numbers of at least 0 and below 1, as in [0.9,0.999]", lambda value: len(value) == 2),
    ]


class MuonSettings(_Optimizer):
    """lr: of the weights whose update is made orthogonal; sgd_lr: of all other parameters."""

    name: Literal["muon"]
    momentum: Annotated[float, number(0, below=1)]
    sgd_lr: Annotated[float, number(0, above=True)]


OptimizerSettings: TypeAlias = Annotated[SgdSettings | AdamSettings | MuonSettings, Field(discriminator="name")]


class ScheduleSettings(Settings):
    """A learning-rate schedule that is a function of the progress through the run."""

    name: Literal["constant", "cosine", "one_cycle", "linear", "steps"]


class PlateauSettings(Settings):
    name: Literal["plateau"]
    patience: Annotated[int, whole(1)]


OPEN_ENDED = ("constant", "plateau")
"""Schedules that do not depend on the number of steps of the run."""

AnySchedule: TypeAlias = Annotated[ScheduleSettings | PlateauSettings, Field(discriminator="name")]


class LocalLogger(Settings):
    name: Literal["tensorboard", "csv"]


class MlflowLogger(Settings):
    name: Literal["mlflow"]
    experiment: Text
    tracking_uri: OptionalText


class WandbLogger(Settings):
    name: Literal["wandb"]
    project: Text
    offline: Switch


LoggerSettings: TypeAlias = Annotated[LocalLogger | MlflowLogger | WandbLogger, Field(discriminator="name")]
